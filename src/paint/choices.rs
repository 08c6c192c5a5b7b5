use ratatui::text::Span;
use unicode_width::UnicodeWidthStr;

use super::Theme;

/// A key and its choices, with brackets around the current one: `s [pattern] scores value-weighted`. If that is wider
/// than `room`, only the current one and its number: `s [pattern] 1/3`.
pub(crate) fn choices(key: &str, names: &[&str], present: usize, room: usize, theme: Theme) -> Vec<Span<'static>> {
    let chosen = names.get(present).copied().unwrap_or_default();
    let wide = key.width() + 3 + names.iter().map(|name| name.width() + 1).sum::<usize>();
    let mut spans = vec![Span::styled(format!("{key} "), theme.dim())];
    if wide <= room {
        for (number, name) in names.iter().enumerate() {
            let gap = if number == 0 { "" } else { " " };
            spans.push(match number == present {
                true => Span::styled(format!("{gap}[{name}]"), theme.accent()),
                false => Span::styled(format!("{gap}{name}"), theme.dim()),
            });
        }
    } else {
        spans.push(Span::styled(format!("[{chosen}]"), theme.accent()));
        spans.push(Span::styled(format!(" {}/{}", present + 1, names.len()), theme.dim()));
    }
    spans
}

/// A title followed by its choices, as far as there is room.
pub(crate) fn titled(title: String, all: &[(String, &[&str], usize)], room: usize, theme: Theme) -> Vec<Span<'static>> {
    let mut spans = vec![Span::styled(title, theme.title())];
    let mut left = room.saturating_sub(spans[0].width());
    for (number, (key, names, present)) in all.iter().enumerate() {
        // later choices need at least their short form
        let after: usize = all[number + 1..].iter().map(|(key, names, at)| 12 + key.width() + names[*at].width()).sum();
        let chosen = choices(key, names, *present, left.saturating_sub(3 + after), theme);
        let width: usize = chosen.iter().map(Span::width).sum::<usize>() + 3;
        if width > left {
            break;
        }
        left -= width;
        spans.push(Span::raw("   "));
        spans.extend(chosen);
    }
    spans
}
