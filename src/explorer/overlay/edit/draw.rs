use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};
use unicode_width::UnicodeWidthStr;

use super::editor::Editor;
use crate::{
    explorer::{overlay::completion, state::State},
    paint::{Theme, input_line, overlay, text},
    views::dose::vector_line,
};

/// The grammar in one line.
const GRAMMAR: &str = "HOOK[SELECTION] OPERATION, or a path: SENDER -> RECEIVER OPERATION";

/// The line being edited, what it selects or what is wrong with it, and its completions.
pub(in crate::explorer) fn draw(frame: &mut Frame<'_>, screen: Rect, editor: &Editor, state: &State, theme: Theme) {
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
    below.extend(preview(state, usize::from(inner.width), theme));
    below.extend(completion::lines(&editor.completions, inner.width, theme));
    let rows = u16::from(inner.height > 4);
    let last = Rect { y: inner.bottom() - rows, height: rows, ..inner };
    let grammar = text::cut(GRAMMAR, usize::from(inner.width).saturating_sub(2), theme);
    frame.render_widget(Line::from(Span::styled(format!("  {grammar}"), theme.dim())), last);
    let area = Rect { y: inner.y + 1, height: inner.height - 1 - rows, ..inner };
    frame.render_widget(Paragraph::new(below).wrap(Wrap { trim: false }), area);
}

/// The vector of the edit that is written, and the KL over its multiple as a line of bars; a bar for each amount.
fn preview(state: &State, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let Some(ask) = state.preview() else { return vec![] };
    let width = width.saturating_sub(4);
    let dim = |text: String| Line::from(Span::styled(format!("  {text}"), theme.dim()));
    let curve = match state.scene.seen(&ask) {
        Some(Ok(curve)) => curve,
        Some(Err(why)) => return vec![dim(text::cut(why, width, theme))],
        None => return vec![dim("KL over the multiple: computing".into())],
    };
    let kl = |point: &Option<crate::engine::DosePoint>| point.as_ref().map(|point| point.measure.kl);
    let points = &curve.curve.points;
    let most = points.iter().filter_map(kl).filter(|kl| kl.is_finite()).fold(0.0, f64::max);
    let share = |kl: Option<f64>| match kl {
        Some(kl) if most > 0.0 => theme.bar(kl.max(0.0) / most),
        Some(_) | None => ' ',
    };
    let bars: String = points.iter().map(|point| share(kl(point))).collect();
    let amounts = &ask.0.amounts;
    let [from, to] =
        [amounts.first(), amounts.last()].map(|amount| text::number(amount.copied().unwrap_or(0.0).into()));
    let chart = Line::from(vec![
        Span::styled(format!("  KL over the multiple, {from} "), theme.dim()),
        Span::styled(bars, theme.changed()),
        Span::styled(format!(" {to}, at most {}", text::number(most)), theme.dim()),
    ]);
    let vector = vector_line(&curve.steered, width, theme);
    if vector.is_empty() { vec![chart] } else { vec![dim(vector), chart] }
}
