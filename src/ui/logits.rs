use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use super::{Theme, say, shape::waiting, text};
use crate::{app::State, engine::Prediction};

/// The panel beside the edits: what the model says next, and what it said before the edits.
pub(super) fn draw_next(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    if area.width < 3 || area.height < 3 {
        return;
    }
    let block = theme.panel(false).title(Line::from(Span::styled(" next token ", theme.title())));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    rows(frame, inner, state, theme, false);
}

/// The likeliest tokens after the last position, with their logits.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let Some(token) = state.tokens.last() else { return };
    let last = state.tokens.len() - 1;
    let head = format!("after position {last}, {:?}", text::visible(&token.text, theme));
    frame.render_widget(Line::from(Span::styled(head, theme.dim())), row(area, 0));
    let edited = state.shown.as_ref().is_some_and(|s| !s.spec.edits.is_empty());
    let columns = format!("{:<18} {:>7} {:>6}{}", "token", "logit", "prob", if edited { "  baseline" } else { "" });
    frame.render_widget(Line::from(Span::styled(columns, theme.dim())), row(area, 1));
    let below = Rect { y: area.y + 2.min(area.height), height: area.height.saturating_sub(2), ..area };
    rows(frame, below, state, theme, true);
}

pub(super) fn row(area: Rect, number: u16) -> Rect {
    Rect { y: area.y + number.min(area.height), height: u16::from(number < area.height), ..area }
}

fn rows(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme, with_logit: bool) {
    let Some(shown) = &state.shown else {
        return say(frame, area, waiting(state), theme);
    };
    let edited = !shown.spec.edits.is_empty();
    let top = shown.summary.top.last().map(Vec::as_slice).unwrap_or_default();
    for (number, prediction) in (0..area.height).zip(top) {
        let line = line(prediction, area.width.into(), edited, with_logit, theme);
        frame.render_widget(line, row(area, number));
    }
}

pub(super) fn line(p: &Prediction, width: usize, edited: bool, with_logit: bool, theme: Theme) -> Line<'static> {
    let name = if with_logit { 18 } else { 12.min(width.saturating_sub(16)) };
    let token = text::fit(&text::label(&p.text, theme), name, theme);
    let mut spans = vec![Span::raw(token)];
    if with_logit {
        spans.push(Span::styled(format!(" {:>7.3}", p.logit), theme.dim()));
    }
    spans.push(Span::raw(format!(" {}", text::percent(p.prob))));
    if edited {
        let moved = p.prob - p.baseline_prob;
        let style = if moved.abs() >= 0.0005 { theme.changed() } else { theme.dim() };
        let arrow = if theme.ascii { "<" } else { "←" };
        spans.push(Span::styled(format!(" {arrow}{}", text::percent(p.baseline_prob)), style));
    }
    let used: usize = spans.iter().map(|s| s.content.width()).sum();
    let room = width.saturating_sub(used + 1).min(40);
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a bar's length"
    )]
    let eighths = (p.prob.clamp(0.0, 1.0) * room as f64 * 8.0).round() as usize;
    spans.push(Span::styled(format!(" {}", bar(eighths, theme)), theme.accent()));
    Line::from(spans)
}

/// A bar of so many eighths of a column.
fn bar(eighths: usize, theme: Theme) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if theme.ascii { "#".repeat(eighths / 8) } else { "█".repeat(eighths / 8) + PARTS[eighths % 8] }
}
