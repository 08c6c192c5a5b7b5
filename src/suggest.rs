//! Looks values up by name, and suggests similar names for one that does not exist.

use crate::printed::escaped;

/// The candidates most similar to `name`, best first: at most three, and none if all are mostly different.
///
/// Similarity is the normalised Damerau-Levenshtein distance, of whole names and of the parts after the last dot, so that a
/// hook is found under the wrong module.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<String> {
    let tail = |name: &'a str| name.rsplit('.').next().unwrap_or(name);
    let name_tail = name.rsplit('.').next().unwrap_or(name);
    let similarity = |candidate: &'a str| {
        let whole = strsim::normalized_damerau_levenshtein(name, candidate);
        let tails = strsim::normalized_damerau_levenshtein(name_tail, tail(candidate));
        // with equal tails, the module still decides between candidates
        whole.max(0.9 * tails + 0.1 * whole)
    };
    let mut scored: Vec<(f64, &str)> = candidates.map(|c| (similarity(c), c)).filter(|(s, _)| *s > 0.6).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let best = scored.first().map_or(0.0, |s| s.0);
    scored.into_iter().take(3).filter(|(s, _)| best - s < 0.05).map(|(_, c)| c.to_string()).collect()
}

/// `; did you mean ...?` to end a message with; empty if there is nothing to suggest.
pub(crate) fn did_you_mean(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!("; did you mean {}?", names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" or ")),
    }
}

/// The value in `all` with the name `name`; `what` is the kind of value, for the message.
///
/// # Errors
/// No value has that name; the message lists the existing ones.
pub(crate) fn by_name<T: Copy>(
    what: &str,
    name: &str,
    all: &[T],
    name_of: impl Fn(T) -> &'static str,
) -> Result<T, String> {
    let found = all.iter().copied().find(|value| name_of(*value) == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|value| name_of(*value)).collect();
        let suggestion = did_you_mean(&nearest(name, names.iter().copied()));
        format!("there is no {what} `{}`; expected one of {}{suggestion}", escaped(name), names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggestion(name: &str, candidates: &[&str]) -> String {
        did_you_mean(&nearest(name, candidates.iter().copied()))
    }

    #[test]
    fn only_similar_names_are_suggested() {
        let types = ["f32", "f16", "bf16"];
        assert_eq!(suggestion("f61", &types), "; did you mean `f16`?");
        assert_eq!(suggestion("int8", &types), "");
        assert_eq!(suggestion("hook_z", &["attn.hook_z", "attn.hook_q"]), "; did you mean `attn.hook_z`?");
        assert_eq!(suggestion("heat", &["head", "heap"]), "; did you mean `head` or `heap`?");
        assert_eq!(suggestion("x", &[]), "");
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_names_that_exist() {
        let refused = by_name("type", "bf61", &["f32", "bf16"], |name| name).unwrap_err();
        assert_eq!(refused, "there is no type `bf61`; expected one of f32, bf16; did you mean `bf16`?");
        assert_eq!(by_name("type", "f32", &["f32", "bf16"], |name| name), Ok("f32"));
    }
}
