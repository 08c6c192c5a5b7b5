//! A value beside that of another run. Neither is ever cut, since a cut number is a wrong number.

use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::{Theme, text};
use crate::analysis::{exact_number, short_number};

/// A value after the first description of its place that fits, with the value of another run beside it, or below if no form
/// fits. If even that is too wide, numbers are rounded to fewer digits.
pub(crate) fn compared_value(
    places: &[String],
    value: f32,
    other: Option<(&str, f32)>,
    width: usize,
    theme: Theme,
) -> Vec<Line<'static>> {
    let same = other.is_none_or(|(_, before)| before.to_bits() == value.to_bits());
    let style = if same { theme.dim() } else { theme.changed() };
    let line = |place: &str, write: fn(f32) -> String, below: bool| {
        let now = [Span::raw(place.to_string()), Span::styled(write(value), theme.title())];
        let gap = if below { "" } else { "  " };
        let before = other.map(|(name, before)| Span::styled(format!("{gap}{name} {}", write(before)), style));
        (now.to_vec(), before)
    };
    let columns = |spans: &[Span<'_>]| spans.iter().map(|span| span.content.width()).sum::<usize>();
    let short: fn(f32) -> String = |x| short_number(x.into());
    for write in [exact_number as fn(f32) -> String, short] {
        for place in places {
            let (now, before) = line(place, write, false);
            let all: Vec<_> = now.into_iter().chain(before).collect();
            if columns(&all) <= width {
                return vec![Line::from(all)];
            }
        }
        for place in places {
            let (now, before) = line(place, write, true);
            let before: Vec<_> = before.into_iter().collect();
            if columns(&now) <= width && columns(&before) <= width {
                return vec![Line::from(now), Line::from(before)];
            }
        }
    }
    // the place is cut, the number is not
    let number = short(value);
    let place = places.last().map(String::as_str).unwrap_or_default();
    let place = text::cut(place, width.saturating_sub(number.width()), theme);
    let before = other.map(|(_, before)| Line::from(Span::styled(short(before), style)));
    let now = Line::from(vec![Span::raw(place), Span::styled(number, theme.title())]);
    std::iter::once(now).chain(before).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::ColorDepth;

    #[test]
    fn a_number_is_rounded_rather_than_cut() {
        let theme = Theme { depth: ColorDepth::None, ascii: true, light: false, pixels: None };
        let places = ["query 3 \"in\" key 0 \"The\"  pattern ".to_string(), "3 \"in\" -> 0 \"The\"  ".into()];
        let (value, before) = (1.234_567_8e-5, Some(("baseline", 2.646_307_8e-9)));
        for width in 1..100 {
            let lines = compared_value(&places, value, before, width, theme);
            let all: String = lines.iter().map(|line| line.to_string() + "\n").collect();
            assert!(all.contains("e-9") || all.contains("e-09"), "{width}: {all}");
            assert!(width < 24 || lines.iter().all(|line| line.width() <= width), "{width}: {all}");
        }
        assert_eq!(compared_value(&places, 0.5, None, 80, theme).len(), 1);
    }
}
