//! A map of interventions, as it fills in.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use unicode_width::UnicodeWidthStr;

use super::state::{Sweep, maps};
use crate::{
    engine::{CellBreakpoint, CellHit, Column, Filling, Metric},
    experiment::Token,
    keys::{Action, Motion},
    paint::{Region, Theme, below, grid::Grid, row, say, scale::Scale, text, titled},
    printed::counted,
    views::Scene,
};

pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Sweep,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let keys = &scene.keys;
    let metric = view.metric();
    let (maps, metrics) = (maps(scene.prompts.contrast.is_some()), Metric::ALL.map(Metric::name));
    let names: Vec<String> = maps.iter().map(|map| map.name()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let choices = [
        (keys.key(Action::Switch), &names[..], maps.iter().position(|map| *map == view.map).unwrap_or(0)),
        (keys.key(Action::ChangeLayout), &metrics[..], Metric::ALL.iter().position(|m| *m == metric).unwrap_or(0)),
    ];
    let title = if scene.is_edited() { "with the edits" } else { "sweep" };
    let mut title = titled(title.into(), &choices, area.width.into(), theme);
    if scene.is_edited() {
        title[0].style = theme.changed();
    }
    frame.render_widget(Line::from(title), row(area, 0));
    let filling = match view.seen(scene) {
        Some(Ok(filling)) => filling,
        Some(Err(why)) => {
            let below = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(1), ..area };
            return say(frame, below, why, theme);
        }
        None => return say(frame, row(area, 1), scene.waiting_for_answer(), theme),
    };
    frame.render_widget(Line::from(Span::styled(unit(metric, filling, scene, theme), theme.dim())), row(area, 1));
    let columns = filling.grid.columns.len();
    let value = |y: usize, x: usize| filling.value(y * columns + x, metric);
    let most = (0..filling.measures.len()).filter_map(|i| filling.value(i, metric)).filter(|x| x.is_finite());
    let most = most.fold(0.0f64, |most, x| most.max(x.abs()));
    let scale = if metric == Metric::Kl { Scale::From(0.0, most) } else { Scale::Around(most) };
    let label = |column: &Column| match column {
        Column::Head(head) => head.to_string(),
        Column::Mlp => "mlp".into(),
        Column::Position(pos) => scene.tokens().get(*pos).map(|t| text::label(&t.text, theme)).unwrap_or_default(),
    };
    let rows: Vec<String> = filling.grid.rows.iter().map(|row| row.name()).collect();
    let labels: Vec<String> = filling.grid.columns.iter().map(label).collect();
    let grid = Grid {
        rows: &rows,
        columns: &labels,
        apart: filling.grid.columns.iter().position(|column| *column == Column::Mlp),
        value: &value,
        scale,
        cursor: Some(view.cell),
    };
    let details = details(filling, scale, view, scene, area.width.into(), theme);
    // below a map, lines that are wider than the view have room to wrap
    let needs: usize = details.iter().map(|line| text::wrap(&line.to_string(), area.width.into()).len()).sum();
    let foot = u16::try_from(needs).unwrap_or(4).min(area.height.saturating_sub(3));
    let inside = Rect { y: area.y + 2.min(area.height), height: area.height.saturating_sub(2 + foot), ..area };
    let bottom = grid.draw(frame, inside, hits, theme);
    let foot = below(area, bottom, foot);
    frame.render_widget(Paragraph::new(details).wrap(Wrap { trim: false }), foot);
}

/// The meaning of the numbers.
fn unit(metric: Metric, filling: &Filling, scene: &Scene, theme: Theme) -> String {
    let token = |t: &Token| format!("\"{}\"", text::visible(&t.text, theme));
    let answer = scene.answer();
    let target = answer.as_ref().map(|(target, _)| token(target)).unwrap_or_default();
    let minus = if theme.ascii { "-" } else { "−" };
    let of = match answer.as_ref().and_then(|(_, distractor)| distractor.as_ref()) {
        Some(distractor) => format!("{target} {minus} {}", token(distractor)),
        None => target.clone(),
    };
    match (metric, filling.contrast.is_some()) {
        (Metric::Kl, _) if scene.is_edited() => "KL from the run with the edits, in nats, at the end".into(),
        (Metric::Kl, _) => "KL from the baseline in nats, at the end".into(),
        (Metric::LogitDiff, true) => format!("logit {of}: 0 as in the prompt, 1 as in the contrast prompt"),
        (Metric::LogitDiff, false) => format!("change of logit {of}"),
        (Metric::Prob, _) => format!("change of the probability of {target}"),
    }
}

/// The tokens at the patched position, in the prompt and in the contrast prompt.
fn alignment(filling: &Filling, view: &Sweep, scene: &Scene, theme: Theme) -> Option<Line<'static>> {
    let Some(Column::Position(pos)) = filling.grid.columns.get(view.cell.1) else { return None };
    let (here, there) = (scene.tokens().get(*pos)?, scene.prompts.contrast.as_ref()?.get(*pos)?);
    let shown = |token: &Token| format!("{:?}", text::visible(&token.text, theme));
    let from = theme.from();
    Some(Line::from(match here.id == there.id {
        true => Span::styled(format!("position {pos}: {} in both prompts", shown(here)), theme.dim()),
        false => Span::styled(format!("position {pos}: {} {from} {}", shown(here), shown(there)), theme.changed()),
    }))
}

/// The cells in which a breakpoint was true.
fn found(breakpoint: &CellBreakpoint, filling: &Filling) -> Option<String> {
    let CellHit { cell, hit } = breakpoint.first.as_ref()?;
    let (name, cells) = (filling.grid.cell_name(*cell), counted(breakpoint.cells, "cell"));
    Some(format!("{}: true in {cells}, first {name} ({})", breakpoint.when, hit.first.place))
}

/// The cell under the cursor by every metric, the progress of the map, and random heads for comparison.
fn details(
    filling: &Filling,
    scale: Scale,
    view: &Sweep,
    scene: &Scene,
    width: usize,
    theme: Theme,
) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let cell = view.cell.0 * filling.grid.columns.len() + view.cell.1;
    if let Some(edit) = filling.grid.edit(cell) {
        let part = |metric: &Metric| {
            let value = filling.value(cell, *metric).map_or_else(|| theme.ellipsis().into(), text::number);
            let change = if *metric == Metric::Kl || filling.contrast.is_some() { "" } else { "change of " };
            format!("   {change}{} {value}", metric.name())
        };
        let all: String = Metric::ALL.iter().map(part).collect();
        let edit = edit.to_string();
        let beside = edit.width() + all.width() <= width;
        let edit = Span::styled(edit, theme.title());
        match beside {
            true => lines.push(Line::from(vec![edit, Span::raw(all)])),
            false => lines.extend([Line::from(edit), Line::from(all.trim_start().to_string())]),
        }
    }
    lines.extend(alignment(filling, view, scene, theme));
    let (done, all) = (filling.done(), filling.measures.len());
    let keys = &scene.keys;
    if done < all {
        let left = filling.left.map(|left| format!(", {left:.0} s left")).unwrap_or_default();
        let resumes = format!("{} resumes", keys.key(Action::Rerun));
        let said = match (filling.stopped_at(), scene.runs.stopped) {
            (Some(at), _) => format!("{done} of {all} runs; stopped at {at}; {resumes}"),
            (None, true) => format!("stopped at {done} of {all} runs; {resumes}"),
            (None, false) => format!("{done} of {all} runs{left}; {} stops", keys.key(Action::Escape)),
        };
        lines.push(Line::from(Span::styled(said, theme.changed())));
    } else if let Some(c) = &filling.comparison {
        let (mean, sd) = c.spread();
        let names: Vec<String> = c.heads.iter().map(|(layer, head)| format!("L{layer}H{head}")).collect();
        let plus_minus = if theme.ascii { "+-" } else { "±" };
        let (effect, mean, sd, n) = (text::number(c.effect), text::number(mean), text::number(sd), c.random.len());
        lines.push(Line::from(format!(
            "the strongest, {}, together: KL {effect}; as many random heads of the same layers: {mean} {plus_minus} {sd} ({n} seeds)",
            names.join(" ")
        )));
    }
    lines.extend(filling.breakpoints.iter().filter_map(|breakpoint| found(breakpoint, filling)).map(Line::from));
    let mut legend = scale.legend(theme);
    legend.push(Span::styled(format!("   {}: make this edit", keys.key(Action::Move(Motion::Enter))), theme.dim()));
    lines.push(Line::from(legend));
    lines
}
