use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};
use unicode_width::UnicodeWidthStr;

use super::{Theme, input_line, overlay, text};
use crate::app::Editor;

/// The line that is edited, what it selects or what is wrong with it, and how it could go on.
pub(super) fn draw(frame: &mut Frame<'_>, screen: Rect, editor: &Editor, theme: Theme) {
    let title = if editor.replaces.is_some() { "change an edit" } else { "a new edit" };
    let inner = overlay(frame, screen, (100, 12), title, theme);
    if inner.height == 0 || inner.width < 4 {
        return;
    }
    let value = editor.input.value();
    let scroll = input_line(frame, inner, "> ", &editor.input, true, theme);

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
