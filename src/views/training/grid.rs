//! The curves of a table that `grid` wrote: a mean over the training, with its spread over seeds.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    symbols::Marker,
    text::{Line, Span},
    widgets::{Axis, Chart, Dataset, GraphType},
};

use super::state::Training;
use crate::{
    analysis::cell,
    experiment::{Curve, Measured, Results, Spread},
    keys::Action,
    paint::{Region, Theme, axes_in_ascii, heatmap::around, row, say, text, titled},
    views::{Focus, Scene, Table, table::short},
};

/// The columns of the list, and the fewest that make a chart beside it worthwhile.
const LIST: u16 = 46;
const BESIDE: u16 = 34;
const GAP: u16 = 3;

/// The steps of the table as a list, and the mean over the seeds at each as a chart, between the least and the greatest.
///
/// ```text
/// effect on logit-diff, pythia-70m: mean of 9 seeds   s: [effect] edited baseline
///   step256     0.01   0.00 .. 0.02   │      ⢀⠤⠒•
/// > step512     0.24   0.11 .. 0.40   │   ⢀⠔⠁
/// ```
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Training,
    scene: &Scene,
    (curve, measured): (&Curve, Measured),
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let Some(results) = &scene.results else { return };
    let names: Vec<String> = results
        .curves
        .iter()
        .flat_map(|curve| {
            let several = results.curves.len() > 1;
            Measured::ALL.map(|of| if several { format!("{} {}", curve.family, of.name()) } else { of.name().into() })
        })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let choices = [(scene.key(Action::Switch), &names[..], view.choice)];
    frame.render_widget(
        Line::from(titled(title(curve, measured, results), &choices, area.width.into(), theme)),
        row(area, 0),
    );
    let body = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(1), ..area };
    let (steps, over) = if body.width >= LIST + BESIDE {
        let over = Rect { x: body.x + LIST + GAP, width: body.width - LIST - GAP, ..body };
        (Rect { width: LIST, ..body }, over)
    } else {
        let upper = if body.height < 10 { 0 } else { body.height.div_ceil(2) };
        (Rect { y: body.y + upper, height: body.height - upper, ..body }, Rect { height: upper, ..body })
    };
    list(frame, steps, view, scene, (curve, measured), hits, theme);
    if over.height >= 4 {
        chart(frame, over, view, (curve, measured), theme);
    }
}

/// What is charted.
pub(super) fn title(curve: &Curve, measured: Measured, results: &Results) -> String {
    let what = match measured {
        Measured::Effect => format!("effect on {}", results.metric),
        Measured::Value => format!("{} with the edits", results.metric),
        Measured::Baseline => format!("{} without edits", results.metric),
    };
    let seeds = curve.points.iter().map(|point| point.seeds.len()).max().unwrap_or(0);
    let seeds = if seeds == 1 { "1 seed".into() } else { format!("mean of {seeds} seeds") };
    format!("{what}, {}: {seeds}", curve.family)
}

fn hollow(theme: Theme) -> char {
    if theme.ascii { 'o' } else { '○' }
}

fn list(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Training,
    scene: &Scene,
    (curve, measured): (&Curve, Measured),
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let visible = around(view.cursor, area.height.into(), curve.points.len());
    for (line, at) in (0..area.height).zip(visible.clone()) {
        let point = &curve.points[at];
        let copies = point.seeds.iter().filter(|seed| seed.is_copy).count();
        let mut what = match point.spread(measured) {
            Some(Spread { mean, .. }) if point.seeds.len() - copies == 1 => format!("{:>8}", text::number(mean)),
            Some(Spread { mean, least, greatest }) => {
                format!("{:>8}  {} .. {}", text::number(mean), text::number(least), text::number(greatest))
            }
            None => "same weights later".into(),
        };
        if copies > 0 {
            what = format!("{what} {}", hollow(theme));
        }
        let is_selected = at == view.cursor;
        let style = if is_selected { theme.selected(scene.layout.focus == Focus::View) } else { Style::new() };
        let spans = vec![
            Span::styled(if is_selected { "> " } else { "  " }, theme.title()),
            Span::styled(format!("{:<10}", format!("step{}", point.step)), style),
            Span::raw(format!(" {what}")),
        ];
        frame.render_widget(Line::from(spans), row(area, line));
    }
    hits.push(Region::list(area, visible.collect()));
}

/// The mean over the steps, which are spaced as in the list, with a bar from the least to the greatest seed at each.
#[allow(clippy::cast_precision_loss, reason = "places in a list")]
fn chart(frame: &mut Frame<'_>, area: Rect, view: &Training, (curve, measured): (&Curve, Measured), theme: Theme) {
    let all = curve.points.iter().enumerate();
    let spread: Vec<(f64, Spread)> = all.filter_map(|(at, point)| Some((at as f64, point.spread(measured)?))).collect();
    if spread.is_empty() {
        return say(frame, area, "Every step has the weights of a later one.", theme);
    }
    let mean: Vec<(f64, f64)> = spread.iter().map(|(x, of)| (*x, of.mean)).collect();
    let apart = spread.iter().filter(|(_, of)| of.least < of.greatest);
    let bars: Vec<[(f64, f64); 2]> = apart.map(|(x, of)| [(*x, of.least), (*x, of.greatest)]).collect();
    let of_seeds = |is_copy: bool| -> Vec<(f64, f64)> {
        let all = curve.points.iter().enumerate();
        let seeds = all.flat_map(|(at, point)| point.seeds.iter().map(move |seed| (at as f64, seed)));
        seeds.filter(|(_, seed)| seed.is_copy == is_copy).map(|(x, seed)| (x, seed.of(measured))).collect()
    };
    let (seeds, copies) = (of_seeds(false), of_seeds(true));
    let all = || seeds.iter().chain(&copies).map(|(_, y)| *y);
    let (low, high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
    let (low, high) = if high - low > 1e-12 { (low, high) } else { (low - 0.5, high + 0.5) };
    let last = (curve.points.len() - 1) as f64;
    let bounds = if last > 0.0 { [0.0, last] } else { [-1.0, 1.0] };
    let line = if theme.ascii { Marker::Custom('.') } else { Marker::Braille };
    let dot = if theme.ascii { Marker::Custom('*') } else { Marker::Dot };
    let set = |data, style: Style, graph: GraphType, marker: Marker| {
        Dataset::default().data(data).style(style).graph_type(graph).marker(marker)
    };
    let mut sets: Vec<Dataset<'_>> = bars.iter().map(|bar| set(&bar[..], theme.dim(), GraphType::Line, line)).collect();
    sets.push(set(&seeds, theme.dim(), GraphType::Scatter, line));
    // lines in ASCII would hide the dots
    if !theme.ascii {
        sets.push(set(&mean, theme.changed(), GraphType::Line, line));
    }
    sets.push(set(&mean, theme.changed(), GraphType::Scatter, dot));
    sets.push(set(&copies, theme.changed(), GraphType::Scatter, Marker::Custom(hollow(theme))));
    let here: Vec<(f64, f64)> = mean.iter().copied().filter(|(x, _)| (*x - view.cursor as f64).abs() < 0.5).collect();
    let mark = Marker::Custom(if theme.ascii { '@' } else { '◆' });
    sets.push(set(&here, theme.title(), GraphType::Scatter, mark));
    let axis = |bounds: [f64; 2], labels: Vec<String>| {
        let labels = labels.into_iter().map(|label| Span::styled(label, theme.dim()));
        Axis::default().bounds(bounds).labels(labels).style(theme.dim())
    };
    let step = |at: usize| curve.points.get(at).map_or_else(String::new, |point| format!("step{}", point.step));
    let spaced = if area.width > 60 { "(as in the list)" } else { "" };
    let steps = match curve.points.len() {
        1 => vec![String::new(), step(0), String::new()],
        n => vec![step(0), spaced.into(), step(n - 1)],
    };
    let values = [low, f64::midpoint(low, high), high].map(text::number).to_vec();
    let legend = u16::from(!copies.is_empty() || !bars.is_empty());
    let within = Rect { height: area.height - legend, ..area };
    frame.render_widget(Chart::new(sets).x_axis(axis(bounds, steps)).y_axis(axis([low, high], values)), within);
    if theme.ascii {
        axes_in_ascii(frame, within);
    }
    let mut said = Vec::new();
    let is_wide = area.width > 60;
    if !copies.is_empty() {
        let what = if is_wide { "same weights as a later step   " } else { "same weights later" };
        said.push(Span::styled(format!("{} {what}", hollow(theme)), theme.changed()));
    }
    if !bars.is_empty() && (is_wide || copies.is_empty()) {
        said.push(Span::styled("bars: least to greatest seed", theme.dim()));
    }
    if legend > 0 {
        frame.render_widget(Line::from(said).right_aligned(), row(area, area.height - 1));
    }
}

/// The curve as text and numbers.
pub(super) fn table(curve: &Curve, measured: Measured) -> Table {
    let spread: Vec<Option<Spread>> = curve.points.iter().map(|point| point.spread(measured)).collect();
    let rows = curve.points.iter().zip(&spread).map(|(point, spread)| {
        let seeds = point.seeds.iter().filter(|seed| !seed.is_copy).count();
        let of = |of: fn(&Spread) -> f64| spread.as_ref().map_or_else(String::new, |spread| cell(of(spread)));
        vec![point.step.to_string(), seeds.to_string(), of(|s| s.mean), of(|s| s.least), of(|s| s.greatest)]
    });
    let array = |name: &str, of: fn(&Spread) -> f64| {
        let values: Vec<f32> = spread.iter().map(|spread| short(spread.as_ref().map_or(f64::NAN, of))).collect();
        (name.to_string(), vec![values.len()], values)
    };
    #[allow(clippy::cast_precision_loss, reason = "steps are below 2^24")]
    let steps: Vec<f32> = curve.points.iter().map(|point| point.step as f32).collect();
    Table {
        header: ["step", "seeds", measured.name(), "least", "greatest"].map(String::from).to_vec(),
        rows: rows.collect(),
        arrays: vec![
            ("step".into(), vec![steps.len()], steps),
            array("mean", |s| s.mean),
            array("least", |s| s.least),
            array("greatest", |s| s.greatest),
        ],
    }
}
