use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{Theme, overlay};
use crate::app::BINDINGS;

/// Every key, in an overlay that scrolls.
pub(super) fn draw(frame: &mut Frame<'_>, screen: Rect, scroll: u16, theme: Theme) {
    let widest = BINDINGS.iter().map(|b| b.keys().chars().count()).max().unwrap_or(0);
    let lines: Vec<Line<'_>> = BINDINGS
        .iter()
        .map(|b| {
            let keys = format!("{:>widest$}  ", b.keys());
            Line::from(vec![Span::styled(keys, theme.title()), Span::raw(b.doc)])
        })
        .collect();
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let width = lines.iter().map(Line::width).max().unwrap_or(0);
    let size = (u16::try_from(width).unwrap_or(u16::MAX).saturating_add(2), rows.saturating_add(2));
    let title = if size.1 > screen.height { "keys (j and k scroll)" } else { "keys" };
    let inner = overlay(frame, screen, size, title, theme);
    let scroll = scroll.min(rows.saturating_sub(inner.height));
    frame.render_widget(Paragraph::new(lines).scroll((scroll, 0)), inner);
}
