use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};
use unicode_width::UnicodeWidthStr;

use super::line::{For, PredicateLine, Written};
use crate::{
    explorer::overlay::completion,
    paint::{Theme, input_line, overlay, text},
};

/// The line, what is wrong with it, and what can be written.
pub(in crate::explorer) fn draw(frame: &mut Frame<'_>, screen: Rect, line: &PredicateLine, theme: Theme) {
    let title = match line.of {
        For::Breakpoint(None) => "a new breakpoint",
        For::Breakpoint(Some(_)) => "change a breakpoint",
        For::Watch(None) => "a new watch",
        For::Watch(Some(_)) => "change a watch",
        For::Search => "find places in this run",
    };
    let inner = overlay(frame, screen, (100, 13), title, theme);
    if inner.height == 0 || inner.width < 4 {
        return;
    }
    let scroll = input_line(frame, inner, "> ", &line.input, true, theme);
    let mut below: Vec<Line<'_>> = Vec::new();
    match &line.verdict {
        Ok(Written::Predicate(said)) => below.push(Line::from(Span::styled(format!("  {said}"), theme.accent()))),
        Ok(Written::Quantity(said)) => below.push(Line::from(Span::styled(format!("  {said}"), theme.accent()))),
        Err(problem) => {
            if let Some(column) = problem.column.and_then(|column| column.checked_sub(scroll)) {
                let before: String = line.input.value().chars().skip(scroll).take(column).collect();
                below.push(Line::from(Span::styled(format!("  {}^", " ".repeat(before.width())), theme.error())));
            }
            below.push(Line::from(Span::styled(format!("  {}", problem.message.replace('\n', " ")), theme.error())));
        }
    }
    let forms = match line.of {
        For::Breakpoint(_) | For::Search => {
            ["HOOK[SELECTION] > NUMBER, norm(HOOK) < NUMBER, blocks.* is nan", "A and B, A or B, not A"]
        }
        For::Watch(_) => [
            "HOOK[SELECTION], or a function of it such as norm(HOOK)",
            "norm(HOOK over AXIS), induction(blocks.*.attn.hook_pattern)",
        ],
    };
    below.extend(completion::lines(&line.completions, inner.width, theme));
    let rows = if inner.height > 6 { 2 } else { 0 };
    for (form, y) in forms.iter().zip(inner.bottom() - rows..inner.bottom()) {
        let form = text::cut(form, usize::from(inner.width).saturating_sub(2), theme);
        let area = Rect { y, height: 1, ..inner };
        frame.render_widget(Line::from(Span::styled(format!("  {form}"), theme.dim())), area);
    }
    let area = Rect { y: inner.y + 1, height: inner.height - 1 - rows, ..inner };
    frame.render_widget(Paragraph::new(below).wrap(Wrap { trim: false }), area);
}
