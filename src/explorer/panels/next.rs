//! The panel beside the edits: the next token, and the baseline's.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use crate::{
    analysis::undefined,
    engine::Prediction,
    experiment::Token,
    paint::{Theme, row, say, text},
    views::{
        Scene,
        logits::{Columns, list},
    },
};

/// The panel beside the edits: the next token, and the baseline's.
pub(in crate::explorer) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene, theme: Theme) {
    if area.width < 3 || area.height < 3 {
        return;
    }
    let mut block = theme.panel(false).title(Line::from(Span::styled(" next token ", theme.title())));
    if let Some(difference) = difference(scene, usize::from(area.width).saturating_sub(4), theme) {
        block = block.title_bottom(difference.right_aligned());
    }
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let finished = scene.runs.shown.as_ref().filter(|shown| shown.held.is_none());
    let Some(shown) = finished else { return say(frame, inner, scene.waiting(), theme) };
    let last = |rows: &[Vec<Prediction>]| rows.last().cloned().unwrap_or_default();
    let (top, was) = (last(&shown.summary.top), last(&shown.summary.was));
    let edited = !shown.summary.baseline_logits.is_empty();
    let mut inner = inner;
    if let Some(why) = undefined(&shown.summary.logits) {
        frame.render_widget(
            Line::from(Span::styled(text::cut(&why, inner.width.into(), theme), theme.error())),
            row(inner, 0),
        );
        inner = Rect { y: inner.y + 1, height: inner.height - 1, ..inner };
    }
    if inner.height == 1 {
        return frame.render_widget(in_one_row(&top, inner.width.into(), theme), inner);
    }
    list(frame, inner, &top, &was, Columns { edited, logit: false }, theme);
}

/// As many of the likeliest tokens as fit in a row.
fn in_one_row(top: &[Prediction], width: usize, theme: Theme) -> Line<'static> {
    let mut line = Line::default();
    for prediction in top {
        let token = text::cut(&text::label(&prediction.text, theme), 12, theme);
        let prob = format!("{} ", text::percent(prediction.prob));
        if line.width() + token.width() + prob.len() > width {
            break;
        }
        line.push_span(Span::styled(token, theme.accent()));
        line.push_span(Span::raw(prob));
    }
    line
}

/// The logit difference after the last position, and the baseline's.
fn difference(scene: &Scene, width: usize, theme: Theme) -> Option<Line<'static>> {
    let (target, distractor) = scene.answer()?;
    let summary = &scene.runs.shown.as_ref()?.summary;
    let of = |logits: &[f32]| -> Option<f64> {
        let logit = |token: &Token| logits.get(token.id as usize).map(|x| f64::from(*x));
        Some(logit(&target)? - distractor.as_ref().map_or(Some(0.0), logit)?)
    };
    let now = of(&summary.logits)?;
    let token = |t: &Token| text::cut(&text::label(&t.text, theme), 12, theme);
    let minus = if theme.ascii { "-" } else { "−" };
    let names =
        distractor.as_ref().map_or_else(|| token(&target), |d| format!("{} {minus} {}", token(&target), token(d)));
    let before = of(&summary.baseline_logits);
    let numbers = 8 + if before.is_some() { 9 } else { 0 };
    let forms = [format!(" logit {names} "), format!(" {names} "), " logit difference ".into()];
    let name = forms.into_iter().find(|name| name.width() + numbers <= width).unwrap_or_else(|| " diff ".into());
    let mut spans = vec![Span::styled(name, theme.dim()), Span::raw(format!("{now:.3} "))];
    if let Some(before) = before {
        let style = if (before - now).abs() >= 5e-4 { theme.changed() } else { theme.dim() };
        spans.push(Span::styled(format!("{} {before:.3} ", theme.from()), style));
    }
    Some(Line::from(spans))
}
