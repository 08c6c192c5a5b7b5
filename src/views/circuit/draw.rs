use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    curve, graph,
    parts::{Part, Scores, What},
    scatter,
    state::{Circuit, Layout},
};
use crate::{
    analysis::{ObjectiveKind, rank_correlation},
    engine::{Compare, Method},
    experiment::ChosenEdges,
    keys::Action,
    paint::{
        Region, Theme,
        heatmap::{around, scroll_mark},
        row, say, text, titled,
    },
    views::{Focus, Scene, View},
};

/// The columns of a part's name, and of a number.
const NAME: usize = 20;
const NUMBER: usize = 10;

/// The purpose of the view, shown while there is no contrast prompt.
const PURPOSE: &str = "This view finds the parts of the model that tell two prompts apart: the prompt, and a contrast prompt of \
                       the same number of tokens, such as the same sentence with another name.";

pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Circuit,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let kinds = if scene.schema.dictionaries().is_empty() { 2 } else { 3 };
    let choices = [
        (scene.key(Action::Switch), &["nodes", "edges", "features"][..kinds], view.what() as usize),
        (scene.key(Action::ChangeLayout), &["list", "graph", "scatter", "curve"][..], view.layout as usize),
        (scene.key(Action::SortColumns), &Method::ALL.map(Method::name)[..], order(view.method)),
    ];
    frame.render_widget(Line::from(titled("circuit".into(), &choices, area.width.into(), theme)), row(area, 0));
    let below = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(1), ..area };
    if view.unavailable(scene).is_some() {
        let key = scene.key(Action::Contrast);
        return say(frame, below, format!("{PURPOSE} {key} opens a line for the contrast prompt."), theme);
    }
    let scores = match view.seen(scene) {
        Some(Ok(scores)) => scores,
        Some(Err(why)) => return say(frame, below, why, theme),
        None => return say(frame, row(area, 1), scene.waiting_for_answer(), theme),
    };
    let width = area.width.into();
    frame.render_widget(summary(view.metric, scores, width, theme), row(area, 1));
    let mut used = 2;
    if view.what() == What::Edges {
        let said = circuit(view, scores, scene.compared_models(), width, theme);
        frame.render_widget(Line::from(Span::styled(said, theme.accent())), row(area, 2));
        used = 3;
    }
    let inside = Rect { y: area.y + used.min(area.height), height: area.height.saturating_sub(used), ..area };
    match view.layout {
        Layout::List => list(frame, inside, view, scores, scene, hits, theme),
        // features are no parts of the graph
        Layout::Graph if view.what() == What::Features => list(frame, inside, view, scores, scene, hits, theme),
        Layout::Graph => graph::draw(frame, inside, view, scores, scene, theme),
        Layout::Scatter => scatter::draw(frame, inside, scores, theme),
        Layout::Curve => curve::draw(frame, inside, scores, theme),
    }
}

/// The number of a method in [`Method::ALL`].
fn order(method: Method) -> usize {
    match method {
        Method::Eap => 0,
        Method::EapIg { .. } => 1,
        Method::Exact => 2,
    }
}

/// The edges of the circuit, and its faithfulness.
fn circuit(view: &Circuit, scores: &Scores, compare: Compare, width: usize, theme: Theme) -> String {
    let all = scores.parts.len();
    let own = match compare {
        Compare::Edited | Compare::Baseline => "",
        Compare::Difference => "each model's own ",
    };
    let which = match view.edges() {
        ChosenEdges::Strongest(size) => format!("{own}{} of {all} edges", size.min(all)),
        ChosenEdges::Listed(edges) => format!("{} chosen of {all} edges", edges.len()),
    };
    match &scores.circuit {
        Some(Ok(found)) => {
            let (faithfulness, value) = (found.faithfulness, text::number(found.value));
            let faithfulness = format!("{which}: faithfulness {faithfulness:.3}");
            text::joined(&[faithfulness, format!("{} {value}", measured(view.metric))], ", ", width, theme)
        }
        Some(Err(why)) => text::cut(&format!("{which}: {why}"), width, theme),
        None => text::cut(&format!("{which}: {}", theme.ellipsis()), width, theme),
    }
}

/// The metric, in words.
fn measured(metric: ObjectiveKind) -> &'static str {
    match metric {
        ObjectiveKind::LogitDiff => "logit difference",
        ObjectiveKind::Prob => "probability",
        ObjectiveKind::Kl => "KL",
        ObjectiveKind::Loss => "loss",
    }
}

/// The metric, and how good the estimates are.
fn summary(metric: ObjectiveKind, scores: &Scores, width: usize, theme: Theme) -> Line<'static> {
    let pairs = scores.pairs();
    let (value, contrast) = (text::number(scores.value), text::number(scores.contrast_value));
    // edits that change a sum of what components write
    let left_out: Vec<String> = scores.left_out.iter().map(|edit| format!("`{edit}`")).collect();
    let left_out = (!left_out.is_empty()).then(|| format!("without {}", left_out.join(", ")));
    let mut said: Vec<String> = left_out.into_iter().collect();
    said.push(format!("{} {value}, contrast {contrast}", measured(metric)));
    if pairs.len() > 1 {
        let of = rank_correlation(&pairs);
        said.push(format!("estimate and exact: rank correlation {of:.3} of {}", pairs.len()));
    }
    if scores.left > 0 {
        said.push(format!("{} to come", scores.left));
    }
    Line::from(Span::styled(text::joined(&said, "   ", width, theme), theme.dim()))
}

fn list(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Circuit,
    scores: &Scores,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let head = format!("{:<NAME$} {:>NUMBER$} {:>NUMBER$}", "patched", "estimate", "exact");
    frame.render_widget(Line::from(Span::styled(head, theme.dim())), row(area, 0));
    let below = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(2), ..area };
    let visible = around(view.row, below.height.into(), scores.parts.len());
    let by_exact = view.method == Method::Exact;
    let score = |(_, estimate, exact): &(Part, f64, Option<f64>)| match exact {
        Some(exact) if by_exact => *exact,
        Some(_) | None => *estimate,
    };
    let most = scores.parts.iter().map(|part| score(part).abs()).filter(|x| x.is_finite()).fold(0.0, f64::max);
    let room = usize::from(area.width).saturating_sub(NAME + 2 * NUMBER + 4);
    for (number, y) in visible.clone().zip(0..) {
        let (part, estimate, exact) = &scores.parts[number];
        let score = score(&scores.parts[number]);
        let here = number == view.row;
        let style = match here {
            true => theme.selected(scene.layout.focus == Focus::View),
            false => ratatui::style::Style::new(),
        };
        let unknown = if part.has_edit() { theme.ellipsis() } else { "" };
        let exact = exact.map_or_else(|| unknown.into(), text::number);
        let share = if most > 0.0 { score.abs() / most } else { 0.0 };
        let bar = if score < 0.0 { theme.accent() } else { theme.changed() };
        let line = Line::from(vec![
            Span::styled(text::fit(&part.name(), NAME, theme), style),
            Span::raw(format!(" {:>NUMBER$} {exact:>NUMBER$}  ", text::number(*estimate))),
            Span::styled(theme.row_bar(share, room), bar),
        ]);
        frame.render_widget(line, row(below, y));
    }
    if let Some(mark) = scroll_mark(&visible, scores.parts.len()) {
        let last = Rect { y: area.bottom().saturating_sub(1), height: area.height.min(1), ..area };
        frame.render_widget(Line::from(Span::styled(mark, theme.dim())).right_aligned(), last);
    }
    hits.push(Region::list(below, visible.collect()));
}
