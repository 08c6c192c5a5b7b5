//! Numbers and tokens as text of a known width.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Theme;
use crate::printed::is_printable;

pub(super) use crate::analysis::short_number as number;

/// A probability in 6 columns.
pub(super) fn percent(p: f64) -> String {
    if p.is_nan() { "  none".into() } else { format!("{:>5.1}%", p * 100.0) }
}

/// A number of bytes.
pub(super) fn bytes(n: usize) -> String {
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
pub(super) fn visible(token: &str, theme: Theme) -> String {
    token.chars().map(|c| shown(c, theme)).collect()
}

/// What stands for a character on the screen.
fn shown(c: char, theme: Theme) -> char {
    match c {
        '\n' if !theme.ascii => '⏎',
        '\t' if !theme.ascii => '⇥',
        c if !is_printable(c) || c.width().unwrap_or(0) == 0 => {
            if theme.ascii {
                '?'
            } else {
                '�'
            }
        }
        c if theme.ascii && !c.is_ascii() => '?',
        c => c,
    }
}

/// The columns that a character takes once it is visible.
pub(super) fn columns(c: char, theme: Theme) -> usize {
    shown(c, theme).width().unwrap_or(0)
}

/// The rows of a text that is broken between words, or within one that is wider than a row.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
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

/// A formula with the signs that the terminal can show.
pub(super) fn plain(formula: &str, theme: Theme) -> String {
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
    ];
    signs.iter().fold(formula.to_string(), |text, (sign, word)| text.replace(sign, word))
}

/// A token as a label: visible, and its spaces too.
pub(super) fn label(token: &str, theme: Theme) -> String {
    visible(token, theme).replace(' ', &theme.space().to_string())
}

/// Cut to `width` columns, with an ellipsis if anything is lost.
pub(super) fn cut(text: &str, width: usize, theme: Theme) -> String {
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

/// Cut or pad to exactly `width` columns, flush left.
pub(super) fn fit(text: &str, width: usize, theme: Theme) -> String {
    let cut = cut(text, width, theme);
    let pad = width.saturating_sub(cut.width());
    cut + &" ".repeat(pad)
}
