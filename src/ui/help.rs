use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{Theme, overlay};
use crate::app::{Action, State};

/// Every key, in an overlay that scrolls.
pub(super) fn draw(frame: &mut Frame<'_>, screen: Rect, scroll: u16, state: &State, theme: Theme) {
    let keys = |keys: &[crate::app::Key]| keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let bindings: Vec<(String, &str)> =
        state.keymap().bindings().map(|(binding, bound)| (keys(bound), binding.doc)).collect();
    let widest = bindings.iter().map(|(keys, _)| keys.chars().count()).max().unwrap_or(0);
    let lines: Vec<Line<'_>> = bindings
        .into_iter()
        .map(|(keys, doc)| Line::from(vec![Span::styled(format!("{keys:>widest$}  "), theme.title()), Span::raw(doc)]))
        .collect();
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let width = lines.iter().map(Line::width).max().unwrap_or(0);
    let size = (u16::try_from(width).unwrap_or(u16::MAX).saturating_add(2), rows.saturating_add(2));
    let scrolls = format!("keys ({} and {} scroll)", state.keymap().key(Action::Down), state.keymap().key(Action::Up));
    let title = if size.1 > screen.height { scrolls.as_str() } else { "keys" };
    let inner = overlay(frame, screen, size, title, theme);
    let scroll = scroll.min(rows.saturating_sub(inner.height));
    frame.render_widget(Paragraph::new(lines).scroll((scroll, 0)), inner);
}
