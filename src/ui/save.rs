use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::{Theme, input_line, overlay};
use crate::app::SaveLine;

/// The line that asks where to save, what would be written, and what went wrong.
pub(super) fn draw(frame: &mut Frame<'_>, screen: Rect, line: &SaveLine, theme: Theme) {
    let inner = overlay(frame, screen, (100, 6), "save the view", theme);
    input_line(frame, inner, "> ", &line.input, true, theme);
    let what =
        line.format().map_or("expected a name that ends in .svg, .csv or .npz".into(), |what| format!("writes {what}"));
    let hint = format!("{what}   Tab: another format   Enter: save");
    let mut below = vec![Line::from(Span::styled(hint, theme.dim()))];
    below.extend(line.problem.as_ref().map(|why| Line::from(Span::styled(why.clone(), theme.error()))));
    let area = Rect { y: inner.y + 1.min(inner.height), height: inner.height.saturating_sub(1), ..inner };
    frame.render_widget(Paragraph::new(below).wrap(Wrap { trim: false }), area);
}
