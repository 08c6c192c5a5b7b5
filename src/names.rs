//! Values by their names, with a guess where a name is none.

use crate::printed::escaped;

/// `; did you mean ...?`, to end a message with, for the name that is most like one that does not exist.
pub(crate) fn nearest<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> String {
    let likeness = |other: &&str| strsim::jaro_winkler(name, other);
    let best = all.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).filter(|best| likeness(best) > 0.7);
    best.map(|best| format!("; did you mean `{best}`?")).unwrap_or_default()
}

/// The value of a name.
///
/// # Errors
/// None has that name; the message lists those there are.
pub(crate) fn find<T: Copy>(what: &str, name: &str, all: &[T], names: impl Fn(T) -> &'static str) -> Result<T, String> {
    let found = all.iter().copied().find(|value| names(*value) == name);
    found.ok_or_else(|| {
        let list: Vec<&str> = all.iter().map(|value| names(*value)).collect();
        let nearest = nearest(name, list.iter().copied());
        format!("there is no {what} `{}`; there are {}{nearest}", escaped(name), list.join(", "))
    })
}
