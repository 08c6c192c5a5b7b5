use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span, Text},
    widgets::Clear,
};
use unicode_width::UnicodeWidthStr;

use super::{Theme, text};
use crate::app::{Action, Binding, Focus, Key, Phase, State};

/// Rows that a message may take, upwards from the bottom line.
const ROWS: usize = 5;

/// A message, on as many rows as it needs.
fn say(frame: &mut Frame<'_>, area: Rect, said: &str, style: Style, theme: Theme) {
    let said = text::visible(said.lines().next().unwrap_or_default(), theme);
    let room = usize::from(area.width.saturating_sub(2));
    let mut rows = text::wrap(&said, room);
    if rows.len() > ROWS {
        rows.truncate(ROWS);
        rows[ROWS - 1].push_str(theme.ellipsis());
    }
    let above = u16::try_from(rows.len().saturating_sub(1)).unwrap_or(0).min(area.y);
    let place = Rect { y: area.y - above, height: area.height + above, ..area };
    frame.render_widget(Clear, place);
    let lines = rows.into_iter().map(|row| Line::from(Span::styled(format!(" {row}"), style)));
    frame.render_widget(Text::from(lines.collect::<Vec<_>>()), place);
}

/// The bottom line: a message if there is one, else the keys that matter most.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let width = usize::from(area.width);
    let said = match (&state.message, &state.phase) {
        (Some(message), _) => Some((message.text.clone(), if message.error { theme.error() } else { theme.accent() })),
        (None, Phase::Failed(message)) => Some((message.clone(), theme.error())),
        // the whole line of an edit that the panel may have cut, and why it does nothing
        (None, _) if state.focus == Focus::Edits => {
            let why = state.effect(state.edit_cursor).and_then(|effect| effect.idle.as_ref());
            let why = why.map(|why| format!("   no effect: {why}")).unwrap_or_default();
            state.edits.get(state.edit_cursor).map(|line| (format!("{}{why}", line.edit), theme.accent()))
        }
        (None, _) => None,
    };
    if let Some((said, style)) = said {
        return say(frame, area, &said, style, theme);
    }
    let mut spans: Vec<Span<'_>> = Vec::new();
    let mut used = 1;
    // as many as fit, of which help and quit always
    let hinted = || {
        let bound = |(binding, keys): (&'static Binding, &[Key])| Some((binding, keys.first()?.to_string()));
        state.keymap().bindings().filter(|(binding, _)| !binding.hint.is_empty()).filter_map(bound)
    };
    let size = |b: &Binding, key: &str| key.width() + b.hint.width() + 3;
    let needed = |b: &Binding| matches!(b.action, Action::Help | Action::Quit);
    let reserved: usize = hinted().filter(|(b, _)| needed(b)).map(|(b, key)| size(b, &key)).sum();
    used += reserved;
    for (binding, key) in hinted() {
        if !needed(binding) {
            if used + size(binding, &key) > width {
                continue;
            }
            used += size(binding, &key);
        }
        let hint = format!(" {} ", binding.hint);
        spans.extend([Span::raw(" "), Span::styled(key, theme.title()), Span::styled(hint, theme.dim())]);
    }
    frame.render_widget(Line::from(spans), area);
}
