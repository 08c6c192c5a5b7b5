use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    ask::{Directions, Sides, Weighed},
    state::{Weights, What, name_of_head},
    table::sides_of,
};
use crate::{
    engine::Compare,
    keys::Action,
    paint::{
        Region, Theme, below,
        heatmap::{Heatmap, around, legend, offset},
        row, say,
        scale::Scale,
        text, titled,
    },
    views::{Focus, Scene, View},
};

pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Weights,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let mut choices = vec![(scene.key(Action::Switch), &What::NAMES[..], view.what as usize)];
    let layout = scene.key(Action::ChangeLayout);
    match view.what {
        What::Qk => choices.push((layout, &["directions", "distances"][..], usize::from(view.by_distance))),
        What::Composition => choices.push((layout, &["queries", "keys", "values"][..], view.kind)),
        What::Ov | What::Neuron => {}
    }
    let (block, head) = Weights::head(scene);
    let title = match view.what {
        What::Ov | What::Qk => format!("L{block}H{head}"),
        What::Neuron => format!("block {block}"),
        What::Composition => "heads".into(),
    };
    frame.render_widget(Line::from(titled(title, &choices, area.width.into(), theme)), row(area, 0));
    let inside = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(1), ..area };
    match view.what {
        What::Ov | What::Qk => match view.directions(scene) {
            Some(Ok(found)) if view.by_distance && view.what == What::Qk => {
                distances(frame, inside, view, found, scene, hits, theme);
            }
            Some(Ok(found)) => directions(frame, inside, view, found, scene, hits, theme),
            Some(Err(why)) => say(frame, inside, why, theme),
            None => say(frame, inside, scene.waiting(), theme),
        },
        What::Neuron => match Weights::tokens(scene) {
            Some(Ok(found)) => neuron(frame, inside, found, scene, theme),
            Some(Err(why)) => say(frame, inside, why, theme),
            None => say(frame, inside, scene.waiting(), theme),
        },
        What::Composition => match view.scores(scene) {
            Some(Ok(scores)) => composition(frame, inside, view, scores, scene, hits, theme),
            Some(Err(why)) => say(frame, inside, why, theme),
            None => say(frame, inside, scene.waiting(), theme),
        },
    }
}

fn style(view: bool, scene: &Scene, theme: Theme) -> Style {
    if view { theme.selected(scene.layout.focus == Focus::View) } else { Style::new() }
}

/// An arrow from what is read to what is written.
fn to(theme: Theme) -> &'static str {
    if theme.ascii { "->" } else { "→" }
}

/// Columns of a bar beside a number.
const BAR: usize = 8;

/// Rows that the tokens of the chosen direction take: for each side its promoted and its suppressed ones.
const TOKENS: u16 = 5;

/// The singular directions, and the tokens of the one under the cursor.
fn directions(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Weights,
    found: &Directions,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let (left, right) = sides_of(view.what);
    let width = usize::from(area.width);
    let apart = (view.what == What::Qk).then(|| format!("query {} after its key", view.distance));
    let head = match found.relative {
        None => format!("   singular value     {left} {} {right}", to(theme)),
        Some(relative) => format!("between tokens, relative norm {}", text::number(relative)),
    };
    let head: Vec<String> = std::iter::once(head).chain(apart).collect();
    let head = text::joined(&head, ", ", width, theme);
    frame.render_widget(Span::styled(head, theme.dim()), row(area, 0));
    let rows = usize::from(area.height).saturating_sub(1 + usize::from(TOKENS)).clamp(1, found.directions.len().max(1));
    let list = Rect { y: area.y + 1.min(area.height), height: u16::try_from(rows).unwrap_or(0), ..area };
    let list = list.intersection(area);
    if found.directions.is_empty() {
        return say(frame, list, "the circuit is the same in both models", theme);
    }
    let visible = around(view.direction, list.height.into(), found.directions.len());
    let most = found.directions.first().map_or(0.0, |(value, ..)| *value);
    for (y, number) in visible.clone().enumerate() {
        let (value, read, written) = &found.directions[number];
        let share = if most > 0.0 { value / most } else { 0.0 };
        let first =
            |sides: &Sides| sides.promoted.first().map(|(token, _)| text::label(token, theme)).unwrap_or_default();
        let tokens = format!("{} {} {}", first(read), to(theme), first(written));
        let mut spans = vec![
            Span::styled(
                format!("{number:>2} {:>9}", text::number(*value)),
                style(number == view.direction, scene, theme),
            ),
            Span::raw(" "),
            Span::styled(text::fit(&theme.row_bar(share, BAR), BAR, theme), theme.accent()),
        ];
        spans.push(Span::raw(format!(" {}", text::cut(&tokens, width.saturating_sub(14 + BAR), theme))));
        frame.render_widget(Line::from(spans), Rect { y: offset(list.y, y), height: 1, ..list });
    }
    hits.push(Region::list(list, visible.collect()));
    let Some((_, read, written)) = found.directions.get(view.direction) else { return };
    let foot = below(area, list.bottom(), TOKENS);
    for (side, (name, sides)) in [(left, read), (right, written)].into_iter().enumerate() {
        for (line, (sign, tokens)) in [("+", &sides.promoted), ("-", &sides.suppressed)].into_iter().enumerate() {
            let named = if line == 0 { name } else { "" };
            let start = format!("{named:<6} {sign} ");
            let said = joined(tokens, width.saturating_sub(start.len()), theme);
            let line_at = u16::try_from(1 + side * 2 + line).unwrap_or(u16::MAX);
            let spans = vec![Span::styled(start, theme.dim()), Span::raw(said)];
            frame.render_widget(Line::from(spans), row(foot, line_at));
        }
    }
}

/// As many tokens as fit, each with its number where there is much room.
fn joined(tokens: &[Weighed], width: usize, theme: Theme) -> String {
    const MUCH: usize = 80;
    let one = |(token, x): &Weighed| match width >= MUCH {
        true => format!("{} {}", text::label(token, theme), text::number(f64::from(*x))),
        false => text::label(token, theme),
    };
    let between = if width >= MUCH { "  " } else { " " };
    text::joined(&tokens.iter().map(one).collect::<Vec<_>>(), between, width, theme)
}

/// A QK circuit's strength at each distance, and what the biases give there.
fn distances(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Weights,
    found: &Directions,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let head = format!("{:>8} {:>10} {:>10}", "distance", "norm", "biases");
    frame.render_widget(Span::styled(head, theme.dim()), row(area, 0));
    let list = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(1), ..area };
    let visible = around(view.distance, list.height.into(), found.distances.len());
    let most = found.distances.iter().map(|at| at.norm.abs()).fold(0.0, f64::max);
    let room = usize::from(area.width).saturating_sub(32).min(60);
    for (y, number) in visible.clone().enumerate() {
        let at = found.distances[number];
        let share = if most > 0.0 { at.norm.abs() / most } else { 0.0 };
        let color = if found.relative.is_some() && at.norm > 0.0 { theme.changed() } else { theme.accent() };
        let spans = vec![
            Span::styled(format!("{:>8}", at.distance), style(number == view.distance, scene, theme)),
            Span::raw(format!(" {:>10} {:>10}  ", text::number(at.norm), text::number(at.bias))),
            Span::styled(theme.row_bar(share, room), color),
        ];
        frame.render_widget(Line::from(spans), Rect { y: offset(list.y, y), height: 1, ..list });
    }
    hits.push(Region::list(list, visible.collect()));
}

/// The tokens that a neuron promotes and suppresses, side by side.
fn neuron(frame: &mut Frame<'_>, area: Rect, found: &Sides, scene: &Scene, theme: Theme) {
    let half = area.width / 2;
    let (what, names) = match scene.compared_models() {
        Compare::Edited | Compare::Baseline => ("what it adds to logits", ["promotes", "suppresses"]),
        Compare::Difference => ("what it adds to logits, this minus that", ["more here", "less here"]),
    };
    let said = format!("neuron {}: {what}", Weights::neuron(scene));
    frame.render_widget(Span::styled(text::cut(&said, area.width.into(), theme), theme.title()), row(area, 0));
    let most = found.promoted.iter().chain(&found.suppressed).map(|(_, x)| x.abs()).fold(0.0, f32::max);
    for (side, (name, tokens)) in names.iter().zip([&found.promoted, &found.suppressed]).enumerate() {
        let x = area.x + if side == 0 { 0 } else { half };
        let column = Rect { x, y: area.y + 1.min(area.height), width: half, height: area.height.saturating_sub(1) };
        frame.render_widget(Span::styled(*name, theme.dim()), row(column, 0));
        let room = usize::from(half).saturating_sub(1);
        let bar = if room >= 30 { BAR } else { 0 };
        for (y, (token, value)) in tokens.iter().enumerate().take(usize::from(column.height).saturating_sub(1)) {
            let share = if most > 0.0 { f64::from(value.abs() / most) } else { 0.0 };
            let color = if side == 0 { theme.changed() } else { theme.accent() };
            let name = text::fit(&text::label(token, theme), room.saturating_sub(10 + bar), theme);
            let spans = vec![
                Span::raw(format!("{name} {:>8} ", text::number(f64::from(*value)))),
                Span::styled(theme.row_bar(share, bar), color),
            ];
            frame.render_widget(Line::from(spans), row(column, u16::try_from(y + 1).unwrap_or(u16::MAX)));
        }
    }
}

/// The scores of all pairs of heads: senders down, receivers across.
fn composition(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Weights,
    scores: &[f32],
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let dims = scene.schema.dims;
    let n = dims.n_layers * dims.n_heads;
    let labels: Vec<String> = (0..n).map(|number| name_of_head(number, dims.n_heads)).collect();
    let most = f64::from(scores.iter().map(|score| score.abs()).fold(0.0, f32::max));
    let scale = match scene.compared_models() {
        Compare::Edited | Compare::Baseline => Scale::From(0.0, most),
        Compare::Difference => Scale::Around(most),
    };
    let map = Heatmap {
        values: scores,
        rows: n,
        columns: n,
        row_labels: &labels,
        column_labels: &labels,
        scale,
        masked: None,
        order: None,
        cursor: (view.sender, Weights::receiver(scene)),
        zoom: 0,
    };
    let into = ["queries", "keys", "values"][view.kind];
    let cursor = (view.sender, Weights::receiver(scene));
    let here = view.describe(scene, cursor).unwrap_or_default();
    let said = format!("{here}   rows write into the {into} of columns");
    frame.render_widget(Span::styled(text::cut(&said, area.width.into(), theme), theme.title()), row(area, 0));
    let inside = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(2), ..area };
    let drawn = map.draw(frame.buffer_mut(), inside, hits, theme);
    let foot = below(area, drawn.bottom, 1);
    frame.render_widget(legend(scale, &drawn, &scene.key(Action::Maximise), theme), foot);
}
