use ratatui::{
    Frame,
    layout::Rect,
    symbols::Marker,
    text::{Line, Span},
    widgets::{Axis, Chart, Dataset, GraphType},
};

use super::{Theme, heatmap::around, row, say, text};
use crate::{
    app::{Action, Focus, Hit, Point, Quantity, Region, State},
    model::{Progress, Waiting},
};

/// Columns of the list, and as many as the chart is worth having beside it.
const LIST: u16 = 30;
const BESIDE: u16 = 34;
const GAP: u16 = 4;

/// The checkpoints of the model's training as a list, and a number over those that were visited as a chart.
///
/// ```text
/// probability of " Mary"   s: next number   Enter: go there
///   step256              0.01      │      ⢀⠤⠒•
/// > step512              0.24      │   ⢀⠔⠁
///   step1000   fetching 34 %       │•⠤⠊
/// ```
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, hits: &mut Vec<Region>, theme: Theme) {
    let training = &state.training;
    if training.steps.is_empty() {
        let none = "No training checkpoints found for this model. Those of the Pythia suite have 154 (step0 to step143000), \
                    and directories named step1000 or checkpoint-1000 beside each other are taken as one training.";
        return say(frame, area, none, theme);
    }
    let keys = state.keymap();
    let mut title = vec![Span::styled(state.quantity_title(), theme.title())];
    let along = format!("{} {}", keys.key(Action::PreviousCheckpoint), keys.key(Action::NextCheckpoint));
    let hints = [
        (keys.key(Action::Switch), "number"),
        (keys.key(Action::Tour), "visit all"),
        (keys.key(Action::Enter), "go there"),
        (along, "along"),
    ];
    title.extend(hints.map(|(key, what)| Span::styled(format!("   {key}: {what}"), theme.dim())));
    frame.render_widget(Line::from(title), row(area, 0));
    let body = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(1), ..area };
    let points = state.over_training();
    let (steps, over) = if body.width >= LIST + BESIDE {
        // apart from the list's numbers
        let over = Rect { x: body.x + LIST + GAP, width: body.width - LIST - GAP, ..body };
        (Rect { width: LIST, ..body }, over)
    } else {
        let upper = if body.height < 10 { 0 } else { body.height.div_ceil(2) };
        (Rect { y: body.y + upper, height: body.height - upper, ..body }, Rect { height: upper, ..body })
    };
    list(frame, steps, state, &points, hits, theme);
    if over.height < 4 {
        return;
    }
    if points.is_empty() {
        let what = match (state.training.quantity, training.at) {
            (Quantity::Kl, _) => "Without edits there is no KL.",
            (_, None) => "What is explored is none of these checkpoints; Enter goes to one.",
            _ => "Measuring ...",
        };
        return say(frame, over, what, theme);
    }
    chart(frame, over, state, &points, theme);
}

fn list(frame: &mut Frame<'_>, area: Rect, state: &State, points: &[Point], hits: &mut Vec<Region>, theme: Theme) {
    let training = &state.training;
    let visible = around(training.cursor, area.height.into(), training.steps.len());
    for (line, at) in (0..area.height).zip(visible.clone()) {
        let step = &training.steps[at];
        let what = match (training.fetching.get(&step.revision), points.iter().find(|point| point.at == at)) {
            (Some(Progress { waiting: Waiting::ForOther, .. }), _) => "waiting".into(),
            (Some(Progress { waiting: Waiting::ForHub(left), .. }), _) => format!("waits {} s", left.as_secs() + 1),
            (Some(progress), _) => {
                let size = usize::try_from(progress.total).unwrap_or(usize::MAX);
                format!("{} % of {}", progress.done * 100 / progress.total.max(1), text::bytes(size))
            }
            (None, Some(point)) => text::number(point.value),
            (None, None) if training.wanted == Some(at) => "loading".into(),
            (None, None) if step.here => "here".into(),
            (None, None) => String::new(),
        };
        let sign = if training.at == Some(at) { ">" } else { " " };
        let width = usize::from(area.width).saturating_sub(2).min(usize::from(LIST) - 2);
        let name = text::fit(&step.revision, width.saturating_sub(what.chars().count() + 1), theme);
        let style = match () {
            () if at == training.cursor => theme.selected(state.focus == Focus::View),
            () if training.at == Some(at) => theme.title(),
            () if step.here => ratatui::style::Style::new(),
            () => theme.dim(),
        };
        let spans = vec![
            Span::styled(format!("{sign} "), theme.title()),
            Span::styled(name, style),
            Span::styled(format!(" {what}"), if step.here { ratatui::style::Style::new() } else { theme.dim() }),
        ];
        frame.render_widget(Line::from(spans), row(area, line));
    }
    hits.push(Region {
        area,
        rows: visible.collect(),
        columns: vec![0; area.width.into()],
        hit: |row, _| Hit::Row(row),
    });
}

/// The number over the steps, each as far from the next as in the list: the first doublings of the training have as much
/// room as its later thousands.
#[allow(clippy::cast_precision_loss, clippy::float_cmp, reason = "places in a list")]
fn chart(frame: &mut Frame<'_>, area: Rect, state: &State, points: &[Point], theme: Theme) {
    let pairs = |value: &dyn Fn(&Point) -> Option<f64>| -> Vec<(f64, f64)> {
        let finite = points.iter().filter_map(|point| Some((point.at as f64, value(point)?)));
        finite.filter(|(_, y)| y.is_finite()).collect()
    };
    let (run, baseline) = (pairs(&|point| Some(point.value)), pairs(&|point| point.baseline));
    let all = || run.iter().chain(&baseline).map(|(_, y)| *y);
    let (low, high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
    if low > high {
        return say(frame, area, "None of the numbers is finite.", theme);
    }
    // shares and divergences are seen from 0, as they are meant
    let from_zero = matches!(state.training.quantity, Quantity::Probability | Quantity::Kl | Quantity::Head(_));
    let low = if from_zero { low.min(0.0) } else { low };
    let (low, high) = if high - low > 1e-12 { (low, high) } else { (low - 0.5, high + 0.5) };
    let (first, last) = (points[0].at as f64, points[points.len() - 1].at as f64);
    let (first, last) = if first < last { (first, last) } else { (first - 1.0, last + 1.0) };
    let set = |data, style, graph: GraphType, sign: char| {
        let marker = match graph {
            _ if theme.ascii => Marker::Custom(sign),
            GraphType::Scatter => Marker::Dot,
            _ => Marker::Braille,
        };
        Dataset::default().data(data).style(style).graph_type(graph).marker(marker)
    };
    let mut sets = Vec::new();
    // an ASCII line would hide the dots
    let kinds = if theme.ascii { &[GraphType::Scatter][..] } else { &[GraphType::Line, GraphType::Scatter][..] };
    for kind in kinds {
        sets.push(set(&baseline, theme.dim(), *kind, '.'));
        sets.push(set(&run, if baseline.is_empty() { theme.accent() } else { theme.changed() }, *kind, '*'));
    }
    // where one is
    let here: Vec<(f64, f64)> =
        run.iter().copied().filter(|(x, _)| state.training.at.is_some_and(|at| at as f64 == *x)).collect();
    let mark = Marker::Custom(if theme.ascii { '@' } else { '◆' });
    sets.push(Dataset::default().data(&here).style(theme.title()).graph_type(GraphType::Scatter).marker(mark));
    let name = |at: usize| state.training.steps[at].revision.clone();
    let steps = if points.len() > 1 {
        vec![
            name(points[0].at),
            if area.width > 60 { "(as in the list)" } else { "" }.into(),
            name(points[points.len() - 1].at),
        ]
    } else {
        vec![String::new(), name(points[0].at), String::new()]
    };
    let middle = f64::midpoint(low, high);
    let values = [low, middle, high].map(text::number);
    let axis = |bounds: [f64; 2], labels: Vec<String>| {
        let labels = labels.into_iter().map(|label| Span::styled(label, theme.dim()));
        Axis::default().bounds(bounds).labels(labels).style(theme.dim())
    };
    let chart = Chart::new(sets).x_axis(axis([first, last], steps)).y_axis(axis([low, high], values.to_vec()));
    let legend = u16::from(!baseline.is_empty());
    let within = Rect { height: area.height - legend, ..area };
    frame.render_widget(chart, within);
    if theme.ascii {
        // the axes have no other set of lines
        for at in within.positions() {
            let cell = &mut frame.buffer_mut()[at];
            match cell.symbol() {
                "│" => cell.set_char('|'),
                "─" => cell.set_char('-'),
                "└" => cell.set_char('+'),
                _ => cell,
            };
        }
    }
    if legend > 0 {
        let said = vec![
            Span::styled(if theme.ascii { "* edited" } else { "edited" }, theme.changed()),
            Span::styled(if theme.ascii { "   . baseline" } else { "   baseline" }, theme.dim()),
        ];
        frame.render_widget(Line::from(said).right_aligned(), row(area, area.height - 1));
    }
}
