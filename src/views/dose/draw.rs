use ratatui::{
    Frame,
    layout::Rect,
    symbols::Marker,
    text::{Line, Span},
    widgets::{Axis, Chart, Dataset, GraphType},
};

use super::state::Doses;
use crate::{
    engine::{Metric, Steered},
    keys::Action,
    paint::{Region, Theme, axes_in_ascii, row, say, text, titled},
    views::{Scene, View},
};

/// The curve, with the edit's own number and the cursor marked; above it the vector, below it the numbers at the cursor.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Doses,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    if let Some(why) = view.unavailable(scene) {
        return say(frame, area, format!("There is {why}. {} writes one.", scene.key(Action::NewEdit)), theme);
    }
    let width = usize::from(area.width);
    let names = Metric::ALL.map(Metric::name);
    let at = Metric::ALL.iter().position(|metric| *metric == view.metric).unwrap_or(0);
    let edit = Doses::edit(scene).map(|edit| text::cut(&edit.to_string(), width.saturating_sub(24), theme));
    let title = titled(edit.unwrap_or_default(), &[(scene.key(Action::Switch), &names[..], at)], width, theme);
    frame.render_widget(Line::from(title), row(area, 0));
    let seen = match view.seen(scene) {
        Some(Ok(seen)) => seen,
        Some(Err(why)) => return say(frame, row(area, 1), why, theme),
        None => return say(frame, row(area, 1), scene.waiting_for_answer(), theme),
    };
    let said = vector_line(&seen.steered, width, theme);
    frame.render_widget(Span::styled(said, theme.dim()), row(area, 1));
    let chart_area = Rect { y: area.y + 2.min(area.height), height: area.height.saturating_sub(3), ..area };
    let point = seen.curve.points.get(view.cursor_point(scene)).and_then(Option::as_ref);
    let below = match point {
        Some(point) => {
            let [amount, kl, diff] =
                [point.amount.into(), point.measure.kl, point.measure.logit_diff].map(text::number);
            let prob = text::percent(point.measure.prob);
            let was = seen.curve.unedited.filter(|_| view.metric != Metric::Kl);
            let was = was.map_or_else(String::new, |m| format!(" (without {})", text::number(view_value(view, &m))));
            format!("at {amount}: KL {kl}   logit diff {diff}   prob {}{was}", prob.trim())
        }
        None => scene.waiting(),
    };
    let last = Rect { y: chart_area.bottom(), height: u16::from(area.height > 2), ..area };
    frame.render_widget(Span::styled(text::cut(&below, width, theme), theme.accent()), last);
    if chart_area.height >= 4 {
        chart(frame, chart_area, view, scene, hits, theme);
    }
}

fn view_value(view: &Doses, measure: &crate::engine::Measure) -> f64 {
    Doses::value(view, measure)
}

/// The norm of a vector, and its share of the stream's.
pub(crate) fn vector_line(steered: &[Steered], width: usize, theme: Theme) -> String {
    let Some(first) = steered.first() else { return String::new() };
    let share = |one: &Steered| text::percent(one.share).trim().to_string();
    let norm = text::number(first.norm);
    let least = steered.iter().map(|one| one.share).fold(f64::INFINITY, f64::min);
    let most = steered.iter().map(|one| one.share).fold(0.0, f64::max);
    let of = match steered {
        [one] => format!("{} of the norm of {}", share(one), one.point),
        several => {
            let [least, most] = [least, most].map(|share| text::percent(share).trim().to_string());
            format!("{least} to {most} of the norms at {} hooks", several.len())
        }
    };
    text::cut(&format!("{}: norm {norm}, {of}", first.name), width, theme)
}

fn chart(frame: &mut Frame<'_>, area: Rect, view: &Doses, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
    let (Some(Ok(seen)), Some((from, to))) = (view.seen(scene), view.range(scene)) else { return };
    let curve: Vec<(f64, f64)> = seen
        .curve
        .points
        .iter()
        .flatten()
        .map(|point| (f64::from(point.amount), view_value(view, &point.measure)))
        .filter(|(_, y)| y.is_finite())
        .collect();
    if curve.is_empty() {
        return say(frame, area, "None of the numbers is finite.", theme);
    }
    let unedited = seen.curve.unedited.filter(|_| view.metric != Metric::Kl).map(|m| view_value(view, &m));
    let values = || curve.iter().map(|(_, y)| *y).chain(unedited.filter(|y| y.is_finite()));
    let (mut low, mut high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if view.metric != Metric::LogitDiff {
        low = low.min(0.0);
    }
    if high - low <= 1e-12 {
        (low, high) = (low - 0.5, high + 0.5);
    }
    let ends = [f64::from(from), f64::from(to)];
    let line = |y: f64| [(ends[0], y), (ends[1], y)];
    let before = unedited.map(line).unwrap_or_default();
    let marker = if theme.ascii { Marker::Custom('.') } else { Marker::Braille };
    let dot = if theme.ascii { Marker::Custom('*') } else { Marker::Dot };
    let mut sets = vec![];
    if unedited.is_some() {
        sets.push(Dataset::default().data(&before).graph_type(GraphType::Line).marker(marker).style(theme.dim()));
    }
    if !theme.ascii {
        sets.push(Dataset::default().data(&curve).graph_type(GraphType::Line).marker(marker).style(theme.changed()));
    }
    sets.push(Dataset::default().data(&curve).graph_type(GraphType::Scatter).marker(dot).style(theme.changed()));
    let own = Doses::edit(scene).and_then(|edit| edit.op.number()).map(f64::from);
    let nearest = |x: f64| curve.iter().copied().min_by(|a, b| (a.0 - x).abs().total_cmp(&(b.0 - x).abs()));
    let at_own: Vec<(f64, f64)> =
        own.filter(|x| (ends[0]..=ends[1]).contains(x)).and_then(nearest).into_iter().collect();
    let mark = Marker::Custom(if theme.ascii { 'o' } else { '○' });
    sets.push(Dataset::default().data(&at_own).graph_type(GraphType::Scatter).marker(mark).style(theme.title()));
    let here = seen.curve.points.get(view.cursor_point(scene)).and_then(Option::as_ref);
    let here: Vec<(f64, f64)> =
        here.map(|point| (point.amount.into(), view_value(view, &point.measure))).into_iter().collect();
    let mark = Marker::Custom(if theme.ascii { '@' } else { '◆' });
    sets.push(Dataset::default().data(&here).graph_type(GraphType::Scatter).marker(mark).style(theme.title()));
    let labels = |numbers: [f64; 3]| numbers.map(|x| Span::styled(text::number(x), theme.dim()));
    let middle = |ends: [f64; 2]| [ends[0], f64::midpoint(ends[0], ends[1]), ends[1]];
    let x = Axis::default().bounds(ends).labels(labels(middle(ends))).style(theme.dim());
    let y = Axis::default().bounds([low, high]).labels(labels(middle([low, high]))).style(theme.dim());
    frame.render_widget(Chart::new(sets).x_axis(x).y_axis(y).legend_position(None), area);
    if theme.ascii {
        axes_in_ascii(frame, area);
    }
    // a click chooses the amount above which it is
    let n = seen.curve.points.len();
    let columns = usize::from(area.width).max(1);
    let rows = (0..columns).map(|x| (x * n / columns).min(n.saturating_sub(1)));
    for (x, point) in (area.x..area.right()).zip(rows) {
        hits.push(Region::cells(Rect { x, width: 1, ..area }, vec![point; area.height.into()], vec![0]));
    }
}
