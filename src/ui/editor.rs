use ratatui::{
    Frame,
    layout::{Position, Rect},
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};
use unicode_width::UnicodeWidthStr;

use super::{Theme, overlay, text};
use crate::app::Editor;

/// The line that is edited, what it selects or what is wrong with it, and how it could go on.
pub(super) fn draw(frame: &mut Frame<'_>, screen: Rect, editor: &Editor, theme: Theme) {
    let title = if editor.replaces.is_some() { "change an edit" } else { "a new edit" };
    let inner = overlay(frame, screen, (100, 12), title, theme);
    if inner.height == 0 || inner.width < 4 {
        return;
    }
    let value = editor.input.value();
    let width = usize::from(inner.width).saturating_sub(3);
    let scroll = editor.input.visual_scroll(width);
    let shown: String = value.chars().skip(scroll).collect();
    let line = Line::from(vec![Span::styled("> ", theme.title()), Span::raw(shown)]);
    frame.render_widget(line, Rect { height: 1, ..inner });
    let column = 2 + editor.input.visual_cursor().saturating_sub(scroll);
    let column = u16::try_from(column).unwrap_or(0);
    frame.set_cursor_position(Position::new((inner.x + column).min(inner.right() - 1), inner.y));

    let mut below: Vec<Line<'_>> = Vec::new();
    match &editor.verdict {
        Ok((_, selected)) => below.push(Line::from(Span::styled(format!("  {selected}"), theme.accent()))),
        Err(problem) => {
            if let Some(column) = problem.column.and_then(|column| column.checked_sub(scroll)) {
                let before: String = value.chars().skip(scroll).take(column).collect();
                below.push(Line::from(Span::styled(format!("  {}^", " ".repeat(before.width())), theme.error())));
            }
            below.push(Line::from(Span::styled(format!("  {}", problem.message.replace('\n', " ")), theme.error())));
        }
    }
    let completions = editor.completions.iter().enumerate().map(|(i, line)| {
        let key = if i == 0 { "Tab " } else { "    " };
        let line = text::cut(line, usize::from(inner.width).saturating_sub(6), theme);
        Line::from(vec![Span::styled(format!("  {key}"), theme.title()), Span::styled(line, theme.dim())])
    });
    below.extend(completions);
    let area = Rect { y: inner.y + 1, height: inner.height - 1, ..inner };
    frame.render_widget(Paragraph::new(below).wrap(Wrap { trim: false }), area);
}
