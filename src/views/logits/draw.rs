use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use super::state::{After, Logits, shown};
use crate::{
    analysis::{log_normaliser, undefined},
    engine::{Compare, NextTokens, Prediction},
    experiment::Token,
    keys::Action,
    paint::{Region, Theme, heatmap::around, row, say, text},
    views::{Focus, Scene},
};

/// The likeliest tokens after one position, with their logits; above them the target, the distractor and the token that
/// was searched for.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Logits,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let pos = scene.cursor.pos;
    let token = scene.tokens().get(pos).map(|t| text::visible(&t.text, theme)).unwrap_or_default();
    let Some(shown) = shown(scene) else {
        return say(frame, area, scene.unanswered(&After(pos)), theme);
    };
    let NextTokens { top, kl, logits, baseline, .. } = &*shown;
    let keys = &scene.keys;
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
    let columns = Columns { edited: baseline.is_some() && scene.compare() != Compare::Baseline, logit: true };
    let names = format!(
        "{:>5} {:<width$} {:>7}   prob{}",
        "rank",
        "token",
        "logit",
        if !columns.edited {
            ""
        } else if scene.against.is_some() {
            "     that"
        } else {
            "   before"
        },
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
    for (what, token) in pinned(view, scene) {
        let prediction = prediction(&token, logits, baseline.as_deref());
        let rank = rank(logits, token.id);
        let mut line = ranked(rank, &prediction, false, area.width.into(), columns, theme);
        // the whole word at the end if there is room, else its first letter before the rank
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
    let visible = around(view.row, room, list.len());
    for number in visible.clone() {
        let here = number == view.row && scene.layout.focus == Focus::View;
        let rank =
            if scene.compare() == Compare::Difference { rank(logits, list[number].id) } else { Some(number + 1) };
        let line = ranked(rank, &list[number], here, area.width.into(), columns, theme);
        frame.render_widget(line, row(area, y));
        y += 1;
    }
    let area = Rect { y: area.y + first_row.min(area.height), height: area.height.saturating_sub(first_row), ..area };
    hits.push(Region::list(area, visible.collect()));
}

/// The tokens that are shown wherever they rank.
fn pinned(view: &Logits, scene: &Scene) -> Vec<(&'static str, Token)> {
    let answer = scene.answer();
    let distractor = answer.as_ref().and_then(|(_, distractor)| distractor.clone());
    let all =
        [("target", answer.map(|(target, _)| target)), ("distractor", distractor), ("found", view.sought.clone())];
    all.into_iter().filter_map(|(what, token)| Some((what, token?))).collect()
}

/// A token's rank, 1 for the likeliest; None for NaN.
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
    let mut line = prediction_line(p, width.saturating_sub(6), columns, theme);
    if let Some(name) = line.spans.first_mut().filter(|_| here) {
        name.style = theme.selected(true);
    }
    line.spans.insert(0, Span::styled(format!("{:>5} ", ordinal(rank)), theme.dim()));
    line
}
/// The optional columns of a list of tokens.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    pub edited: bool,
    pub logit: bool,
}

impl Columns {
    /// Columns of the token's name in a panel of `width`.
    fn name(self, width: usize) -> usize {
        let numbers = 7 + if self.logit { 8 } else { 0 } + if self.edited { 9 } else { 0 };
        width.saturating_sub(numbers + 3).clamp(4, if self.logit { 18 } else { 12 })
    }
}

/// As many tokens as fit; the baseline's likeliest is always among them, at the end if nowhere else.
pub(crate) fn list(
    frame: &mut Frame<'_>,
    area: Rect,
    top: &[Prediction],
    was: &[Prediction],
    columns: Columns,
    theme: Theme,
) {
    let height = usize::from(area.height);
    let mut rows: Vec<&Prediction> = top.iter().take(height).collect();
    if let Some(first) = was.first().filter(|_| columns.edited && height > 1)
        && !rows.iter().any(|p| p.id == first.id)
    {
        rows.truncate(height - 1);
        rows.push(first);
    }
    for (number, prediction) in (0..area.height).zip(rows) {
        frame.render_widget(prediction_line(prediction, area.width.into(), columns, theme), row(area, number));
    }
}

pub(crate) fn prediction_line(p: &Prediction, width: usize, columns: Columns, theme: Theme) -> Line<'static> {
    let token = text::fit(&text::label(&p.text, theme), columns.name(width), theme);
    let mut spans = vec![Span::raw(token)];
    if columns.logit {
        spans.push(Span::styled(format!(" {:>7.3}", p.logit), theme.dim()));
    }
    spans.push(Span::raw(format!(" {}", text::percent(p.prob))));
    if columns.edited {
        let moved = p.prob - p.baseline_prob;
        let style = if moved.abs() >= 0.0005 { theme.changed() } else { theme.dim() };
        let arrow = theme.from();
        spans.push(Span::styled(format!(" {arrow:>2}{}", text::percent(p.baseline_prob)), style));
    }
    let used: usize = spans.iter().map(|s| s.content.width()).sum();
    let room = width.saturating_sub(used + if columns.logit { 12 } else { 1 }).min(40);
    spans.push(Span::styled(format!(" {}", theme.row_bar(p.prob, room)), theme.accent()));
    Line::from(spans)
}
