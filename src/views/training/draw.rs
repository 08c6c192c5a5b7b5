use ratatui::{
    Frame,
    layout::Rect,
    symbols::Marker,
    text::{Line, Span},
    widgets::{Axis, Chart, Dataset, GraphType},
};

use super::{
    quantity::{Point, Quantity},
    state::Training,
};
use crate::{
    engine::Compare,
    keys::Action,
    model::{Progress, Waiting},
    paint::{Region, Theme, axes_in_ascii, heatmap::around, row, say, text, titled},
    views::{Focus, Scene, View},
};

/// The columns of the list, and the fewest that make a chart beside it worthwhile.
const LIST: u16 = 30;
const BESIDE: u16 = 34;
const GAP: u16 = 4;

/// The checkpoints of the model's training as a list, and a number over the visited ones as a chart.
///
/// ```text
/// probability of " Mary"   s: next number   Enter: go there
///   step256              0.01      │      ⢀⠤⠒•
/// > step512              0.24      │   ⢀⠔⠁
///   step1000   fetching 34 %       │•⠤⠊
/// ```
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Training,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let training = &scene.checkpoints;
    if let Some(why) = view.unavailable(scene) {
        let known = "The models of the Pythia suite have 154 checkpoints (step0 to step143000), and directories named step1000 \
                     or checkpoint-1000 count as one training run if they are siblings.";
        return say(frame, area, format!("This model has {why}. {known}"), theme);
    }
    let names: Vec<&str> = Quantity::ALL.iter().map(|quantity| quantity.name()).collect();
    let at = Quantity::ALL.iter().position(|quantity| *quantity == view.quantity).unwrap_or(0);
    let choices = [(scene.key(Action::Switch), &names[..], at)];
    let title = titled(view.quantity.title_of(scene), &choices, area.width.into(), theme);
    frame.render_widget(Line::from(title), row(area, 0));
    let body = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(1), ..area };
    let points = view.quantity.over_training(scene);
    let (steps, over) = if body.width >= LIST + BESIDE {
        // separate from the list's numbers
        let over = Rect { x: body.x + LIST + GAP, width: body.width - LIST - GAP, ..body };
        (Rect { width: LIST, ..body }, over)
    } else {
        let upper = if body.height < 10 { 0 } else { body.height.div_ceil(2) };
        (Rect { y: body.y + upper, height: body.height - upper, ..body }, Rect { height: upper, ..body })
    };
    list(frame, steps, scene, &points, hits, theme);
    if over.height < 4 {
        return;
    }
    if points.is_empty() {
        let what = match (view.quantity, training.at) {
            (Quantity::Kl, _) => "Without edits there is no KL.",
            (_, None) => "The current model is none of these checkpoints; Enter goes to one.",
            _ => "Measuring ...",
        };
        return say(frame, over, what, theme);
    }
    chart(frame, over, view.quantity, scene, &points, theme);
}

/// The mark of a copy.
fn hollow(theme: Theme) -> char {
    if theme.ascii { 'o' } else { '○' }
}

fn list(frame: &mut Frame<'_>, area: Rect, scene: &Scene, points: &[Point], hits: &mut Vec<Region>, theme: Theme) {
    let training = &scene.checkpoints;
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
            (None, Some(point)) => match training.copy_of(at) {
                Some(_) => format!("{} {}", text::number(point.value), hollow(theme)),
                None => text::number(point.value),
            },
            (None, None) if training.wanted == Some(at) => "loading".into(),
            (None, None) if step.here => "here".into(),
            (None, None) => String::new(),
        };
        let sign = if training.at == Some(at) { ">" } else { " " };
        let width = usize::from(area.width).saturating_sub(2).min(usize::from(LIST) - 2);
        let name = text::fit(&step.revision, width.saturating_sub(what.chars().count() + 1), theme);
        let style = match () {
            () if at == training.cursor => theme.selected(scene.layout.focus == Focus::View),
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
    hits.push(Region::list(area, visible.collect()));
}

/// A number over the steps, which are spaced as in the list: the early doublings of the training take as much room as
/// its later thousands.
#[allow(clippy::cast_precision_loss, clippy::float_cmp, reason = "places in a list")]
fn chart(frame: &mut Frame<'_>, area: Rect, quantity: Quantity, scene: &Scene, points: &[Point], theme: Theme) {
    let pairs = |value: &dyn Fn(&Point) -> Option<f64>| -> Vec<(f64, f64)> {
        let finite = points.iter().filter_map(|point| Some((point.at as f64, value(point)?)));
        finite.filter(|(_, y)| y.is_finite()).collect()
    };
    let checkpoints = &scene.checkpoints;
    // a copy of another checkpoint tells nothing about its own step
    let own = |point: &Point| checkpoints.copy_of(point.at).is_none();
    let run = pairs(&|point| Some(point.value).filter(|_| own(point)));
    let baseline = pairs(&|point| point.baseline.filter(|_| own(point)));
    let copies = pairs(&|point| Some(point.value).filter(|_| !own(point)));
    let all = || run.iter().chain(&baseline).chain(&copies).map(|(_, y)| *y);
    let (low, high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
    if low > high {
        return say(frame, area, "None of the numbers is finite.", theme);
    }
    // shares and divergences are shown from 0
    let from_zero = matches!(quantity, Quantity::Probability | Quantity::Kl | Quantity::Head(_));
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
    // lines in ASCII would hide the dots
    let kinds = if theme.ascii { &[GraphType::Scatter][..] } else { &[GraphType::Line, GraphType::Scatter][..] };
    for kind in kinds {
        sets.push(set(&baseline, theme.dim(), *kind, '.'));
        sets.push(set(&run, if baseline.is_empty() { theme.accent() } else { theme.changed() }, *kind, '*'));
    }
    let marked = Dataset::default().data(&copies).style(theme.changed());
    sets.push(marked.graph_type(GraphType::Scatter).marker(Marker::Custom(hollow(theme))));
    // the current checkpoint
    let here: Vec<(f64, f64)> =
        run.iter().copied().filter(|(x, _)| checkpoints.at.is_some_and(|at| at as f64 == *x)).collect();
    let mark = Marker::Custom(if theme.ascii { '@' } else { '◆' });
    sets.push(Dataset::default().data(&here).style(theme.title()).graph_type(GraphType::Scatter).marker(mark));
    let name = |at: usize| checkpoints.steps[at].revision.clone();
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
    let mut others: Vec<&str> = points.iter().filter_map(|point| checkpoints.copy_of(point.at)).collect();
    others.dedup();
    let legend = u16::from(!baseline.is_empty() || !others.is_empty());
    let within = Rect { height: area.height - legend, ..area };
    frame.render_widget(chart, within);
    if theme.ascii {
        axes_in_ascii(frame, within);
    }
    if legend > 0 {
        let mut said = Vec::new();
        if !others.is_empty() {
            let other = if let [other] = others[..] { other } else { "another checkpoint" };
            said.push(Span::styled(format!("{} same weights as {other}   ", hollow(theme)), theme.changed()));
        }
        if !baseline.is_empty() {
            let (run, dot) = if theme.ascii { ("* ", ". ") } else { ("", "") };
            said.push(Span::styled(format!("{run}{}", scene.side(Compare::Edited)), theme.changed()));
            let beside = text::visible(scene.beside(), theme);
            said.push(Span::styled(format!("   {dot}{beside}"), theme.dim()));
        }
        frame.render_widget(Line::from(said).right_aligned(), row(area, area.height - 1));
    }
}
