//! Finding an action or a command by its name or its description.

use nucleo_matcher::{
    Config, Matcher,
    pattern::{CaseMatching, Normalization, Pattern},
};

use super::line::Completion;

/// The entries of `all` that match a text, best first: by the beginning of the name, by a part of it, by its letters in
/// order, by words of the description.
pub(super) fn search(all: Vec<Completion>, text: &str) -> Vec<Completion> {
    let text = text.trim().to_lowercase();
    let pattern = Pattern::parse(&text, CaseMatching::Ignore, Normalization::Smart);
    let mut matcher = Matcher::new(Config::DEFAULT);
    let mut fuzzy = |name: &str| !pattern.match_list([name], &mut matcher).is_empty();
    let mut rank = |completion: &Completion| {
        let (name, doc) = (completion.line.trim_end(), completion.doc.to_lowercase());
        match () {
            () if name.starts_with(&text) => Some(0),
            () if name.contains(&text) => Some(1),
            () if text.split_whitespace().all(|word| name.contains(word) || doc.contains(word)) => Some(2),
            () if fuzzy(name) => Some(3),
            () => None,
        }
    };
    let mut found: Vec<(i32, Completion)> =
        all.into_iter().filter_map(|completion| Some((rank(&completion)?, completion))).collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, completion)| completion).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_before_letters_and_descriptions() {
        let completion = |line: &str, doc: &'static str| Completion { line: line.into(), keys: String::new(), doc };
        let all = || {
            vec![
                completion("next-head", "the next head"),
                completion("head ", "go to a head"),
                completion("heads", "every head by what it attends to"),
                completion("undo", "undo the last change"),
            ]
        };
        let lines = |text: &str| search(all(), text).into_iter().map(|c| c.line).collect::<Vec<_>>();
        assert_eq!(lines("head"), ["head ", "heads", "next-head"]);
        assert_eq!(lines("attends"), ["heads"]);
        assert_eq!(lines("nxh"), ["next-head"]);
        assert_eq!(lines("last change"), ["undo"]);
        assert!(lines("zero").is_empty());
        assert_eq!(lines("").len(), 4);
    }
}
