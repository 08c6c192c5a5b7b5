use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use super::{Theme, heatmap::around, row, say, shape::waiting, text};
use crate::{
    analysis::{log_normaliser, undefined},
    app::{Action, Focus, Hit, Region, State},
    engine::{Compare, Prediction, View},
    experiment::Token,
};

/// The panel beside the edits: what the model says next, and what it said before the edits.
pub(super) fn draw_next(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    if area.width < 3 || area.height < 3 {
        return;
    }
    let mut block = theme.panel(false).title(Line::from(Span::styled(" next token ", theme.title())));
    if let Some(difference) = difference(state, usize::from(area.width).saturating_sub(4), theme) {
        block = block.title_bottom(difference.right_aligned());
    }
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let Some(shown) = &state.shown else { return say(frame, inner, waiting(state), theme) };
    let last = |rows: &[Vec<Prediction>]| rows.last().cloned().unwrap_or_default();
    let (top, was) = (last(&shown.summary.top), last(&shown.summary.was));
    let edited = !shown.spec.edits.is_empty();
    let mut inner = inner;
    if let Some(why) = undefined(&shown.summary.logits) {
        frame.render_widget(
            Line::from(Span::styled(text::cut(&why, inner.width.into(), theme), theme.error())),
            row(inner, 0),
        );
        inner = Rect { y: inner.y + 1, height: inner.height - 1, ..inner };
    }
    list(frame, inner, &top, &was, Columns { edited, logit: false }, theme);
}

/// The logit difference after the last position, and the baseline's.
fn difference(state: &State, width: usize, theme: Theme) -> Option<Line<'static>> {
    let (target, distractor) = state.answer()?;
    let summary = &state.shown.as_ref()?.summary;
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
    let name = format!(" logit {names} ");
    let name = if name.width() + numbers <= width { name } else { " logit difference ".into() };
    let name = if name.width() + numbers <= width { name } else { " diff ".into() };
    let mut spans = vec![Span::styled(name, theme.dim()), Span::raw(format!("{now:.3} "))];
    if let Some(before) = before {
        let style = if (before - now).abs() >= 5e-4 { theme.changed() } else { theme.dim() };
        spans.push(Span::styled(format!("{} {before:.3} ", if theme.ascii { "<" } else { "←" }), style));
    }
    Some(Line::from(spans))
}

/// The likeliest tokens after one position, with their logits; above them the target, the distractor and the token that
/// was looked for.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, hits: &mut Vec<Region>, theme: Theme) {
    let pos = state.cell.0;
    let token = state.tokens.get(pos).map(|t| text::visible(&t.text, theme)).unwrap_or_default();
    let shown = state.compared();
    let Some(View::Logits { top, kl, logits, baseline, .. }) = shown.as_deref() else {
        return say(frame, area, waiting(state), theme);
    };
    let keys = state.keymap();
    let kl = kl.map(|kl| format!("   KL {}", text::number(kl))).unwrap_or_default();
    let keys = [(Action::Target, "target"), (Action::Distractor, "distractor"), (Action::FindToken, "find a token")]
        .map(|(action, what)| format!("   {}: {what}", keys.key(action)));
    let mut head = Line::from(vec![
        Span::styled(format!("after {pos} \"{token}\""), theme.title()),
        Span::styled(kl, theme.changed()),
    ]);
    head.spans.push(Span::styled(keys.concat(), theme.dim()));
    frame.render_widget(head, row(area, 0));
    let why = undefined(logits);
    if let Some(why) = why.as_ref().filter(|_| top.is_empty()) {
        return frame.render_widget(Line::from(Span::styled(why.clone(), theme.error())), row(area, 1));
    }
    let columns = Columns { edited: baseline.is_some() && state.compare() != Compare::Baseline, logit: true };
    let names = format!(
        "{:>5} {:<width$} {:>7}   prob{}",
        "rank",
        "token",
        "logit",
        if columns.edited { "  before" } else { "" },
        width = columns.name(usize::from(area.width).saturating_sub(6))
    );
    frame.render_widget(Line::from(Span::styled(names, theme.dim())), row(area, 1));
    let mut y = 2;
    if let Some(why) = why {
        frame.render_widget(
            Line::from(Span::styled(text::cut(&why, area.width.into(), theme), theme.error())),
            row(area, y),
        );
        y += 1;
    }
    let above = y;
    for (what, token) in pinned(state) {
        let prediction = prediction(&token, logits, baseline.as_deref());
        let rank = rank(logits, token.id);
        let mut line = ranked(rank, &prediction, false, area.width.into(), columns, theme);
        // the whole word at the end where there is room, else its letter before the rank
        if line.width() + what.len() < usize::from(area.width) {
            line.spans.push(Span::styled(format!(" {what}"), theme.title()));
        } else if let Some(first) = line.spans.first_mut() {
            first.content = format!("{}{:>4} ", &what[..1], ordinal(rank)).into();
            first.style = theme.title();
        }
        frame.render_widget(line, row(area, y));
        y += 1;
    }
    if y > above {
        y += 1;
    }
    let (first_row, list) = (y, top);
    let room = usize::from(area.height.saturating_sub(y));
    let visible = around(state.logits_row, room, list.len());
    for number in visible.clone() {
        let here = number == state.logits_row && state.focus == Focus::View;
        let rank =
            if state.compare() == Compare::Difference { rank(logits, list[number].id) } else { Some(number + 1) };
        let line = ranked(rank, &list[number], here, area.width.into(), columns, theme);
        frame.render_widget(line, row(area, y));
        y += 1;
    }
    let area = Rect { y: area.y + first_row.min(area.height), height: area.height.saturating_sub(first_row), ..area };
    hits.push(Region {
        area,
        rows: visible.collect(),
        columns: vec![0; area.width.into()],
        hit: |row, _| Hit::Row(row),
    });
}

/// The tokens that are told wherever they stand.
fn pinned(state: &State) -> Vec<(&'static str, Token)> {
    let answer = state.answer();
    let distractor = answer.as_ref().and_then(|(_, distractor)| distractor.clone());
    let all =
        [("target", answer.map(|(target, _)| target)), ("distractor", distractor), ("found", state.sought.clone())];
    all.into_iter().filter_map(|(what, token)| Some((what, token?))).collect()
}

/// How many tokens are likelier, from 1 for none; None for NaN.
fn rank(logits: &[f32], id: u32) -> Option<usize> {
    let of = logits.get(id as usize).filter(|x| !x.is_nan())?;
    Some(1 + logits.iter().filter(|x| *x > of).count())
}

fn ordinal(rank: Option<usize>) -> String {
    rank.map_or_else(|| "-".into(), |rank| rank.to_string())
}

fn prediction(token: &Token, logits: &[f32], baseline: Option<&[f32]>) -> Prediction {
    let at = token.id as usize;
    let prob = |logits: &[f32]| logits.get(at).map_or(f64::NAN, |x| (f64::from(*x) - log_normaliser(logits)).exp());
    Prediction {
        id: token.id,
        text: token.text.clone(),
        logit: logits.get(at).copied().unwrap_or(f32::NAN),
        prob: prob(logits),
        baseline_prob: prob(baseline.unwrap_or(logits)),
    }
}

fn ranked(
    rank: Option<usize>,
    p: &Prediction,
    here: bool,
    width: usize,
    columns: Columns,
    theme: Theme,
) -> Line<'static> {
    let mut line = line(p, width.saturating_sub(6), columns, theme);
    if let Some(name) = line.spans.first_mut().filter(|_| here) {
        name.style = theme.selected(true);
    }
    line.spans.insert(0, Span::styled(format!("{:>5} ", ordinal(rank)), theme.dim()));
    line
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
    let room = width.saturating_sub(used + if columns.logit { 12 } else { 1 }).min(40);
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a bar's length"
    )]
    let eighths = (p.prob.clamp(0.0, 1.0) * room as f64 * 8.0).round() as usize;
    spans.push(Span::styled(format!(" {}", theme.row_bar(eighths)), theme.accent()));
    Line::from(spans)
}
