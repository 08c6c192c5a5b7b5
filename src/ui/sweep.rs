//! A map of interventions, as it fills in.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::{Theme, grid::Grid, row, say, scale::Scale, shape::waiting, text};
use crate::{
    app::{Action, Hit, Region, State},
    engine::{Column, Filling, Metric, View},
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, hits: &mut Vec<Region>, theme: Theme) {
    let keys = state.keymap();
    let metric = state.looks.metric();
    let mut title = vec![Span::styled(state.looks.map.name(), theme.title())];
    if area.width >= 60 {
        let more = format!("   {}: map   {}: metric", keys.key(Action::Switch), keys.key(Action::Layout));
        title.push(Span::styled(more, theme.dim()));
    }
    if state.shown.as_ref().is_some_and(|shown| !shown.spec.edits.is_empty()) {
        title.push(Span::styled("   on top of the edits", theme.changed()));
    }
    frame.render_widget(Line::from(title), row(area, 0));
    let filling = match state.view() {
        Some(View::Sweep(filling)) => filling,
        Some(View::Nothing(why)) => return say(frame, row(area, 1), why.clone(), theme),
        _ => return say(frame, row(area, 1), waiting(state), theme),
    };
    frame.render_widget(Line::from(Span::styled(unit(metric, filling, state, theme), theme.dim())), row(area, 1));
    let columns = filling.grid.columns.len();
    let value = |y: usize, x: usize| filling.value(y * columns + x, metric);
    let most = (0..filling.measures.len()).filter_map(|i| filling.value(i, metric)).filter(|x| x.is_finite());
    let most = most.fold(0.0f64, |most, x| most.max(x.abs()));
    let scale = if metric == Metric::Kl { Scale::From(0.0, most) } else { Scale::Around(most) };
    let label = |column: &Column| match column {
        Column::Head(head) => head.to_string(),
        Column::Mlp => "mlp".into(),
        Column::Position(pos) => state.tokens.get(*pos).map(|t| text::label(&t.text, theme)).unwrap_or_default(),
    };
    let rows: Vec<String> = filling.grid.rows.iter().map(|row| row.name()).collect();
    let labels: Vec<String> = filling.grid.columns.iter().map(label).collect();
    let grid = Grid {
        rows: &rows,
        columns: &labels,
        apart: filling.grid.columns.iter().position(|column| *column == Column::Mlp),
        value: &value,
        scale,
        cursor: Some(state.swept),
        hit: Hit::Cell,
    };
    let details = details(filling, scale, state, theme);
    // below a map there is room for lines that are wider than the view
    let needs: usize = details.iter().map(|line| text::wrap(&line.to_string(), area.width.into()).len()).sum();
    let foot = u16::try_from(needs).unwrap_or(4).min(area.height.saturating_sub(3));
    let below = Rect { y: area.y + 2.min(area.height), height: area.height.saturating_sub(2 + foot), ..area };
    grid.draw(frame, below, hits, theme);
    let foot = Rect { y: area.bottom().saturating_sub(foot), height: foot, ..area };
    frame.render_widget(Paragraph::new(details).wrap(Wrap { trim: false }), foot);
}

/// What the numbers are.
fn unit(metric: Metric, filling: &Filling, state: &State, theme: Theme) -> String {
    let token = |t: &crate::experiment::Token| format!("\"{}\"", text::visible(&t.text, theme));
    let answer = state.answer();
    let target = answer.as_ref().map(|(target, _)| token(target)).unwrap_or_default();
    let minus = if theme.ascii { "-" } else { "−" };
    let of = match answer.as_ref().and_then(|(_, distractor)| distractor.as_ref()) {
        Some(distractor) => format!("{target} {minus} {}", token(distractor)),
        None => target.clone(),
    };
    match (metric, filling.contrast.is_some()) {
        (Metric::Kl, _) => "KL(without || with), nats, after the last position".into(),
        (Metric::LogitDiff, true) => format!("logit {of}: 0 as in the prompt, 1 as in the contrast prompt"),
        (Metric::LogitDiff, false) => format!("change of logit {of}"),
        (Metric::Prob, _) => format!("change of the probability of {target}"),
    }
}

/// The tokens that a patch of the position under the cursor lies between: the prompt's, and the contrast prompt's.
fn alignment(filling: &Filling, state: &State, theme: Theme) -> Option<Line<'static>> {
    let Some(Column::Position(pos)) = filling.grid.columns.get(state.swept.1) else { return None };
    let (here, there) = (state.tokens.get(*pos)?, state.contrast.as_ref()?.get(*pos)?);
    let shown = |token: &crate::experiment::Token| format!("{:?}", text::visible(&token.text, theme));
    let from = if theme.ascii { "<-" } else { "←" };
    Some(Line::from(match here.id == there.id {
        true => Span::styled(format!("position {pos}: {} in both prompts", shown(here)), theme.dim()),
        false => Span::styled(format!("position {pos}: {} {from} {}", shown(here), shown(there)), theme.changed()),
    }))
}

/// The cell under the cursor by every metric, how far the map is, and random heads to judge it by.
fn details(filling: &Filling, scale: Scale, state: &State, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let cell = state.swept.0 * filling.grid.columns.len() + state.swept.1;
    if let Some(edit) = filling.grid.edit(cell) {
        let part = |metric: &Metric| {
            let value = filling.value(cell, *metric).map_or_else(|| theme.ellipsis().into(), text::number);
            format!("   {} {value}", metric.name())
        };
        let all: String = Metric::ALL.iter().map(part).collect();
        lines.push(Line::from(vec![Span::styled(edit.to_string(), theme.title()), Span::raw(all)]));
    }
    lines.extend(alignment(filling, state, theme));
    let (done, all) = (filling.done(), filling.measures.len());
    let keys = state.keymap();
    if done < all {
        let left = filling.left.map(|left| format!(", {left:.0} s left")).unwrap_or_default();
        let (stop, on) = (keys.key(Action::Escape), keys.key(Action::Rerun));
        let said = format!("{done} of {all} runs{left}; {stop} stops it, {on} goes on");
        lines.push(Line::from(Span::styled(said, theme.changed())));
    } else if let Some(c) = &filling.comparison {
        let (mean, sd) = c.spread();
        let names: Vec<String> = c.heads.iter().map(|(layer, head)| format!("L{layer}H{head}")).collect();
        let plus_minus = if theme.ascii { "+-" } else { "±" };
        let (effect, mean, sd, n) = (text::number(c.effect), text::number(mean), text::number(sd), c.random.len());
        lines.push(Line::from(format!(
            "{} together: KL {effect}; random heads of the same layers {mean} {plus_minus} {sd} ({n} seeds)",
            names.join(" ")
        )));
    }
    let mut legend = scale.legend(theme);
    legend.push(Span::styled(format!("   {}: go there and make the edit", keys.key(Action::Enter)), theme.dim()));
    lines.push(Line::from(legend));
    lines
}
