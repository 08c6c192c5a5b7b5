//! The number of colours of a terminal, from its environment variables.

use crate::paint::ColorDepth;

/// The colour depth of a terminal with the environment `variable`.
///
/// `FORCE_COLOR` (0 to 3) and `CLICOLOR_FORCE` override `NO_COLOR` (<https://no-color.org>: present and not empty), which
/// overrides `COLORTERM`, `TERM_PROGRAM` and `TERM`.
pub(super) fn depth(variable: impl Fn(&str) -> Option<String>) -> ColorDepth {
    const DEPTHS: [ColorDepth; 4] = [ColorDepth::None, ColorDepth::Ansi16, ColorDepth::Ansi256, ColorDepth::True];
    let term = variable("TERM").unwrap_or_default();
    let is_any = |name: &str, values: &[&str]| variable(name).is_some_and(|value| values.contains(&value.as_str()));
    let forced = match variable("FORCE_COLOR").as_deref() {
        Some("" | "true") => 1,
        Some("false") => 0,
        Some(level) => level.parse::<usize>().unwrap_or(1),
        None => usize::from(variable("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0")),
    };
    let direct = is_any("COLORTERM", &["truecolor", "24bit"]) || is_any("TERM_PROGRAM", &["iTerm.app"]);
    if forced > 0 {
        *DEPTHS.get(forced).unwrap_or(&ColorDepth::True)
    } else if variable("NO_COLOR").is_some_and(|value| !value.is_empty()) || matches!(term.as_str(), "" | "dumb") {
        ColorDepth::None
    } else if direct || term.ends_with("direct") || term.ends_with("truecolor") {
        ColorDepth::True
    } else if is_any("TERM_PROGRAM", &["Apple_Terminal"]) || term.ends_with("256color") || term.ends_with("256") {
        ColorDepth::Ansi256
    } else {
        ColorDepth::Ansi16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forced_colour_overrides_no_color_which_overrides_the_terminal() {
        for (variables, expected) in [
            (&[][..], ColorDepth::None),
            (&[("TERM", "dumb"), ("COLORTERM", "truecolor")], ColorDepth::None),
            (&[("TERM", "linux")], ColorDepth::Ansi16),
            (&[("TERM", "xterm-256color")], ColorDepth::Ansi256),
            (&[("TERM", "xterm-direct")], ColorDepth::True),
            (&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "Apple_Terminal")], ColorDepth::Ansi256),
            (&[("TERM", "xterm"), ("COLORTERM", "24bit")], ColorDepth::True),
            (&[("TERM", "xterm"), ("COLORTERM", "24bit"), ("NO_COLOR", "")], ColorDepth::True),
            (&[("TERM", "xterm"), ("COLORTERM", "24bit"), ("NO_COLOR", "0")], ColorDepth::None),
            (&[("TERM", "xterm"), ("COLORTERM", "24bit"), ("NO_COLOR", "1")], ColorDepth::None),
            (&[("TERM", "xterm"), ("FORCE_COLOR", "3"), ("NO_COLOR", "1")], ColorDepth::True),
            (&[("TERM", "xterm"), ("FORCE_COLOR", "99")], ColorDepth::True),
            (&[("TERM", "xterm"), ("FORCE_COLOR", "")], ColorDepth::Ansi16),
            (&[("TERM", "xterm-256color"), ("FORCE_COLOR", "0")], ColorDepth::Ansi256),
            (&[("TERM", "dumb"), ("CLICOLOR_FORCE", "1")], ColorDepth::Ansi16),
        ] {
            let variable =
                |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_string());
            assert_eq!(depth(variable), expected, "{variables:?}");
        }
    }
}
