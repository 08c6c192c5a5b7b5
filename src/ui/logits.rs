use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use super::{Theme, say, shape::waiting, text};
use crate::{
    app::State,
    engine::{Prediction, View},
};

/// The panel beside the edits: what the model says next, and what it said before the edits.
pub(super) fn draw_next(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    if area.width < 3 || area.height < 3 {
        return;
    }
    let block = theme.panel(false).title(Line::from(Span::styled(" next token ", theme.title())));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let Some(shown) = &state.shown else { return say(frame, inner, waiting(state), theme) };
    let last = |rows: &[Vec<Prediction>]| rows.last().cloned().unwrap_or_default();
    let (top, was) = (last(&shown.summary.top), last(&shown.summary.was));
    let edited = !shown.spec.edits.is_empty();
    list(frame, inner, &top, &was, Columns { edited, logit: false }, theme);
}

/// The likeliest tokens after one position, with their logits.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let pos = state.cell.0;
    let token = state.tokens.get(pos).map(|t| text::visible(&t.text, theme)).unwrap_or_default();
    let Some(View::Logits { top, was, kl }) = state.view() else {
        return say(frame, area, waiting(state), theme);
    };
    let kl = kl.map(|kl| format!("   KL {}", text::number(kl))).unwrap_or_default();
    let head = format!("after {pos} \"{token}\"{kl}   h l: another position");
    let head = text::cut(&head, area.width.into(), theme);
    frame.render_widget(Line::from(Span::styled(head, theme.dim())), row(area, 0));
    let edited = state.shown.as_ref().is_some_and(|s| !s.spec.edits.is_empty());
    let columns = Columns { edited, logit: true };
    let names = format!(
        "{:<width$} {:>7}   prob{}",
        "token",
        "logit",
        if edited { "  before" } else { "" },
        width = columns.name(area.width.into())
    );
    frame.render_widget(Line::from(Span::styled(names, theme.dim())), row(area, 1));
    let below = Rect { y: area.y + 2.min(area.height), height: area.height.saturating_sub(2), ..area };
    let first = state.logits_row.min(top.len().saturating_sub(usize::from(below.height)));
    list(frame, below, &top[first..], was, columns, theme);
}

pub(super) fn row(area: Rect, number: u16) -> Rect {
    Rect { y: area.y + number.min(area.height), height: u16::from(number < area.height), ..area }
}

/// Which columns a list of tokens has beside name, probability and bar.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    pub edited: bool,
    pub logit: bool,
}

impl Columns {
    /// Columns of the token's name in a panel of `width`.
    fn name(self, width: usize) -> usize {
        let numbers = 7 + if self.logit { 8 } else { 0 } + if self.edited { 8 } else { 0 };
        width.saturating_sub(numbers + 3).clamp(4, if self.logit { 18 } else { 12 })
    }
}

/// As many tokens as fit; what the baseline thought likeliest is among them, at the end if nowhere else.
fn list(frame: &mut Frame<'_>, area: Rect, top: &[Prediction], was: &[Prediction], columns: Columns, theme: Theme) {
    if top.first().is_some_and(|p| p.prob.is_nan()) {
        return frame.render_widget(Line::from(Span::styled("the logits are NaN", theme.error())), row(area, 0));
    }
    let height = usize::from(area.height);
    let mut rows: Vec<&Prediction> = top.iter().take(height).collect();
    if let Some(first) = was.first().filter(|_| columns.edited && height > 1)
        && !rows.iter().any(|p| p.id == first.id)
    {
        rows.truncate(height - 1);
        rows.push(first);
    }
    for (number, prediction) in (0..area.height).zip(rows) {
        frame.render_widget(line(prediction, area.width.into(), columns, theme), row(area, number));
    }
}

pub(super) fn line(p: &Prediction, width: usize, columns: Columns, theme: Theme) -> Line<'static> {
    let token = text::fit(&text::label(&p.text, theme), columns.name(width), theme);
    let mut spans = vec![Span::raw(token)];
    if columns.logit {
        spans.push(Span::styled(format!(" {:>7.3}", p.logit), theme.dim()));
    }
    spans.push(Span::raw(format!(" {}", text::percent(p.prob))));
    if columns.edited {
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
