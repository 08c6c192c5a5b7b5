use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{Theme, heatmap::around, input_line, overlay, row, say, text};
use crate::app::CommandLine;

/// The `:` line and how it could go on.
pub(super) fn draw(frame: &mut Frame<'_>, screen: Rect, open: &CommandLine, theme: Theme) {
    let inner = overlay(frame, screen, (100, 16), "command", theme);
    input_line(frame, inner, ":", &open.input, true, theme);
    let list = Rect { y: inner.y + 1.min(inner.height), height: inner.height.saturating_sub(1), ..inner };
    if open.completions.is_empty() {
        return say(frame, list, "Enter carries it out", theme);
    }
    let widest = open.completions.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0).min(40);
    let visible = around(open.cursor, list.height.into(), open.completions.len());
    for (number, y) in visible.zip(0..) {
        let (line, doc) = &open.completions[number];
        let here = number == open.cursor;
        let style = if here { theme.selected(true) } else { ratatui::style::Style::new() };
        let key = if here { "Tab " } else { "    " };
        let doc = text::cut(doc, usize::from(list.width).saturating_sub(widest + 7), theme);
        let spans = vec![
            Span::styled(key, theme.title()),
            Span::styled(text::fit(line, widest, theme), style),
            Span::styled(format!("  {doc}"), theme.dim()),
        ];
        frame.render_widget(Line::from(spans), row(list, y));
    }
}
