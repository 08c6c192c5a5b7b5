use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::line::SaveLine;
use crate::paint::{Theme, input_line, overlay};

/// The line that asks where to save, what would be written, and the last error.
pub(in crate::explorer) fn draw(frame: &mut Frame<'_>, screen: Rect, line: &SaveLine, theme: Theme) {
    let inner = overlay(frame, screen, (100, 6), line.purpose(), theme);
    input_line(frame, inner, "> ", &line.input, true, theme);
    let what = line
        .format()
        .map_or("expected a name that ends in .svg, .csv, .npz, .toml or .py".into(), |what| format!("writes {what}"));
    let mut below = vec![Line::from(Span::styled(what, theme.dim()))];
    below.extend(line.problem.as_ref().map(|why| Line::from(Span::styled(why.clone(), theme.error()))));
    let area = Rect { y: inner.y + 1.min(inner.height), height: inner.height.saturating_sub(1), ..inner };
    frame.render_widget(Paragraph::new(below).wrap(Wrap { trim: false }), area);
}
