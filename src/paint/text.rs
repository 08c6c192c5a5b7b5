//! Numbers and tokens as text of a known width.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Theme;
use crate::printed::is_printable;

pub(crate) use crate::analysis::short_number as number;

/// A number with `decimals` decimals; one that rounds to 0 has no sign.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|byte| matches!(byte, b'0' | b'.')) => rest.into(),
        _ => text,
    }
}

/// A probability in 6 columns.
pub(crate) fn percent(p: f64) -> String {
    if p.is_nan() { "  none".into() } else { format!("{:>5.1}%", p * 100.0) }
}

/// A number of bytes.
pub(crate) fn bytes(n: usize) -> String {
    #[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let size = n as f64;
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{:.1} KiB", size / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", size / 1_048_576.0),
        _ => format!("{:.1} GiB", size / 1_073_741_824.0),
    }
}

/// A token on one line: control characters made visible.
pub(crate) fn visible(token: &str, theme: Theme) -> String {
    token.chars().map(|c| Shown::of(c, theme)).fold(String::new(), |text, shown| match shown {
        Shown::Char(c) => text + c.encode_utf8(&mut [0; 4]),
        Shown::Escape(escape) => text + escape,
    })
}

/// How a character appears on the screen.
enum Shown {
    Char(char),
    /// If the terminal has no sign for it.
    Escape(&'static str),
}

impl Shown {
    fn of(c: char, theme: Theme) -> Self {
        match (c, theme.ascii) {
            ('\n', false) => Self::Char('⏎'),
            ('\t', false) => Self::Char('⇥'),
            ('\n', true) => Self::Escape("\\n"),
            ('\t', true) => Self::Escape("\\t"),
            (c, true) if !c.is_ascii() || !is_printable(c) => Self::Char('?'),
            (c, false) if !is_printable(c) || c.width().unwrap_or(0) == 0 => Self::Char('\u{fffd}'),
            (c, _) => Self::Char(c),
        }
    }
}

/// The columns of a character once it is made visible.
pub(crate) fn columns(c: char, theme: Theme) -> usize {
    match Shown::of(c, theme) {
        Shown::Char(c) => c.width().unwrap_or(0),
        Shown::Escape(escape) => escape.len(),
    }
}

/// The first parts that fit side by side; only the first can be cut.
pub(crate) fn joined(parts: &[String], between: &str, width: usize, theme: Theme) -> String {
    let Some((first, rest)) = parts.split_first() else { return String::new() };
    let mut line = cut(first, width, theme);
    for part in rest {
        if line.width() + between.width() + part.width() > width {
            break;
        }
        line += between;
        line += part;
    }
    line
}

/// The rows of a text, broken between words, or within a word that is wider than a row.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let fits = |row: &String, part: &str| row.width() + part.trim_end().width() <= width;
        if rows.last().is_some_and(|row| !row.is_empty() && !fits(row, word)) {
            rows.push(String::new());
        }
        for c in word.chars() {
            if rows
                .last()
                .is_some_and(|row| row.width() + c.width().unwrap_or(0) > width && !row.is_empty() && c != ' ')
            {
                rows.push(String::new());
            }
            if let Some(row) = rows.last_mut() {
                row.push(c);
            }
        }
    }
    rows
}

/// A formula with characters that the terminal can show.
pub(crate) fn plain(formula: &str, theme: Theme) -> String {
    if !theme.ascii {
        return formula.to_string();
    }
    let signs = [
        ("−", "-"),
        ("⊙", "*"),
        ("·", "."),
        ("√", "sqrt"),
        ("²", "^2"),
        ("³", "^3"),
        ("½", "1/2"),
        ("ε", "eps"),
        ("ᵀ", "^T"),
        ("Σ", "sum"),
        ("∞", "inf"),
        ("→", "->"),
        ("×", "x"),
    ];
    signs.iter().fold(formula.to_string(), |text, (sign, word)| text.replace(sign, word))
}

/// A token as a label, with its spaces made visible too.
pub(crate) fn label(token: &str, theme: Theme) -> String {
    visible(token, theme).replace(' ', &theme.space().to_string())
}

/// Cut to `width` columns, with an ellipsis if anything is lost.
pub(crate) fn cut(text: &str, width: usize, theme: Theme) -> String {
    if text.width() <= width {
        return text.to_string();
    }
    let ellipsis = theme.ellipsis();
    let room = width.saturating_sub(ellipsis.width());
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w > room {
            break;
        }
        used += w;
        out.push(c);
    }
    if width >= ellipsis.width() { out + ellipsis } else { out }
}

/// The end of `text` that fits in `width` columns, after an ellipsis if anything is lost.
pub(crate) fn cut_start(text: &str, width: usize, theme: Theme) -> String {
    if text.width() <= width {
        return text.to_string();
    }
    let ellipsis = theme.ellipsis();
    let room = width.saturating_sub(ellipsis.width());
    let fits = |(at, _): &(usize, char)| text[*at..].width() <= room;
    let from = text.char_indices().find(fits).map_or(text.len(), |(at, _)| at);
    if width >= ellipsis.width() { format!("{ellipsis}{}", &text[from..]) } else { text[from..].into() }
}

/// Cut or pad to exactly `width` columns, flush left.
pub(crate) fn fit(text: &str, width: usize, theme: Theme) -> String {
    let cut = cut(text, width, theme);
    let pad = width.saturating_sub(cut.width());
    cut + &" ".repeat(pad)
}
