//! Every lens at one position: what each layer would predict, or the target through the layers.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    draw::row_name,
    state::{Lens, LensBy, LensLayout},
};
use crate::{
    analysis::cell,
    engine::{Compare, LensAbout, LensCell, LensColumn, LensRack, lens_points},
    experiment::Token,
    hooks::{BlockHook, HookPoint},
    keys::Action,
    paint::{
        Hit, Region, Theme,
        heatmap::{around, offset},
        put, row, say, text, titled,
    },
    views::{
        Scene, Table,
        table::{quoted, short},
    },
};

/// Columns for the names of the rows.
const NAMES: usize = 9;

/// How many blocks lie before a stream.
fn depth(point: HookPoint) -> usize {
    match point {
        HookPoint::Block(block, BlockHook::ResidPost) => block + 1,
        other => other.block().unwrap_or_default(),
    }
}

fn seen(scene: &Scene) -> Option<&LensRack> {
    scene.seen(&Lens::ask_all(scene))?.ok()
}

/// A lens's cell after `blocks` blocks, of the run that is shown. None where the lens has no such layer.
fn at<'a>((about, column): &'a (LensAbout, LensColumn), blocks: usize, scene: &Scene) -> Option<&'a LensCell> {
    let number = about.rows.iter().position(|(_, point)| depth(*point) == blocks)?;
    match scene.compare() {
        Compare::Baseline if !column.baseline.is_empty() => column.baseline.get(number),
        Compare::Edited | Compare::Difference | Compare::Baseline => column.cells.get(number),
    }
}

/// The probability of the target, and its rank from 1.
fn standing(cell: &LensCell) -> Option<(f64, usize)> {
    cell.target.map(|target| (target.prob, target.rank + 1))
}

fn content(cell: &LensCell, width: usize, view: &Lens, scene: &Scene, theme: Theme) -> String {
    if view.layout == LensLayout::Chart {
        let Some((prob, rank)) = standing(cell) else { return String::new() };
        let number = format!("{} #{rank}", text::percent(prob));
        let room = width.saturating_sub(17);
        return format!("{number:>15} {}", theme.row_bar(prob, room));
    }
    let Some(first) = cell.top.first() else { return "NaN".into() };
    let number = match (scene.compare(), view.by) {
        (Compare::Difference, _) => cell.moved.map(text::number).unwrap_or_default(),
        (_, LensBy::Probability) => text::percent(first.prob),
        (_, LensBy::Kl) => text::number(cell.kl),
    };
    let label = text::fit(&text::label(&first.text, theme), width.saturating_sub(9).max(4), theme);
    format!("{label} {number:>7}")
}

/// Layers down, lenses across.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Lens,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let token = scene.tokens().get(scene.cursor.pos).map(|t| text::visible(&t.text, theme)).unwrap_or_default();
    let after = format!("after {} \"{token}\"", scene.cursor.pos);
    let title = match (view.layout, scene.compare()) {
        (LensLayout::Chart, _) => {
            let target = scene.answer().map(|(target, _)| text::visible(&target.text, theme)).unwrap_or_default();
            titled(format!("probability and rank of \"{target}\" {after}"), &[], area.width.into(), theme)
        }
        (_, Compare::Difference) => {
            titled(format!("lenses {after} by {}", scene.kl_title()), &[], area.width.into(), theme)
        }
        (_, Compare::Edited | Compare::Baseline) => {
            let choices = (scene.key(Action::Switch), &["probability", "KL(final || here)"][..]);
            let choice = (choices.0, choices.1, usize::from(view.by == LensBy::Kl));
            titled(format!("lenses {after}"), &[choice], area.width.into(), theme)
        }
    };
    frame.render_widget(Line::from(title), row(area, 0));
    let Some(rack) = seen(scene) else {
        return say(frame, row(area, 1), scene.unanswered(&Lens::ask_all(scene)), theme);
    };
    let width = (usize::from(area.width).saturating_sub(NAMES) / rack.lenses.len().max(1)).clamp(14, 44);
    for (number, (about, _)) in rack.lenses.iter().enumerate() {
        let style = if number == view.chosen { theme.title() } else { theme.dim() };
        put(frame.buffer_mut(), offset(area.x, NAMES + number * width), area.y + 1, about.name, style);
    }
    let layers: Vec<(usize, HookPoint)> = lens_points(scene.schema.dims.n_layers).into_iter().enumerate().collect();
    let visible = around(view.layer, usize::from(area.height).saturating_sub(2), layers.len());
    for (line, layer) in visible.clone().enumerate() {
        let y = offset(area.y, line + 2);
        let here = layer == view.layer;
        let style = if here { theme.title() } else { theme.dim() };
        put(frame.buffer_mut(), area.x, y, format!("{:>8} ", row_name(&layers, layer)), style);
        for (number, lens) in rack.lenses.iter().enumerate() {
            let Some(cell) = at(lens, layer, scene) else { continue };
            let shown = text::cut(&content(cell, width, view, scene, theme), width - 1, theme);
            let style = if here && number == view.chosen { theme.selected(true) } else { ratatui::style::Style::new() };
            put(frame.buffer_mut(), offset(area.x, NAMES + number * width), y, shown, style);
        }
    }
    if view.layout == LensLayout::Chart && scene.answer().is_none() {
        frame.render_widget(Span::styled(scene.waiting_for_answer(), theme.dim()), row(area, 2));
    }
    let columns = (0..rack.lenses.len()).flat_map(|number| std::iter::repeat_n(number, width)).collect();
    let cells = Rect { x: offset(area.x, NAMES), y: offset(area.y, 2), ..area }.intersection(area);
    hits.push(Region::cells(cells, visible.collect(), columns));
}

pub(super) fn describe(scene: &Scene, (layer, lens): Hit) -> Option<String> {
    let lens = seen(scene)?.lenses.get(lens)?;
    let cell = at(lens, layer, scene)?;
    let first = cell.top.first()?;
    let target = standing(cell).map(|(prob, rank)| format!("; the target: probability {prob}, rank {rank}"));
    let target = target.unwrap_or_default();
    Some(format!(
        "{} lens: {:?}: probability {}, KL from final {}{target}",
        lens.0.name, first.text, first.prob, cell.kl
    ))
}

pub(super) fn token(view: &Lens, scene: &Scene) -> Option<Token> {
    let first = at(seen(scene)?.lenses.get(view.chosen)?, view.layer, scene)?.top.first()?;
    Some(Token { id: first.id, text: first.text.clone() })
}

/// A row for each lens and layer.
pub(super) fn table(scene: &Scene) -> Option<Table> {
    let rack = seen(scene)?;
    let header = ["lens", "stream", "token", "id", "probability", "kl from final", "target probability", "target rank"];
    let (mut rows, mut numbers) = (Vec::new(), Vec::new());
    for lens in &rack.lenses {
        for (_, point) in &lens.0.rows {
            let Some(here) = at(lens, depth(*point), scene) else { continue };
            let likeliest = here.top.first();
            let [token, id, prob] =
                likeliest.map(|p| [quoted(&p.text), p.id.to_string(), cell(p.prob)]).unwrap_or_default();
            let target = standing(here);
            let (of_target, rank) = target.map(|(prob, rank)| (cell(prob), rank.to_string())).unwrap_or_default();
            rows.push(vec![lens.0.name.into(), point.to_string(), token, id, prob, cell(here.kl), of_target, rank]);
            let prob = likeliest.map_or(f64::NAN, |p| p.prob);
            numbers.push([prob, here.kl, target.map_or(f64::NAN, |(prob, _)| prob)]);
        }
    }
    let array = |name: &str, which: usize| {
        (name.to_string(), vec![numbers.len()], numbers.iter().map(|row| short(row[which])).collect())
    };
    let arrays = vec![array("probability", 0), array("kl_from_final", 1), array("target_probability", 2)];
    Some(Table { header: header.map(String::from).to_vec(), rows, arrays })
}
