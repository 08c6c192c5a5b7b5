use std::collections::BTreeSet;

use ratatui::{
    Frame,
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use super::{BLOCK, HOOK, STRIP, bars::Bars, has_strip, number, picture};
use crate::{
    diagram::{Cell, Role},
    hooks::HookPoint,
    paint::{
        Region, Theme,
        heatmap::{around, offset},
        put, text,
    },
    views::{Focus, Scene},
};

/// The block in the middle of the room, with the changed hooks lit, and below it a strip of all blocks with their
/// changes.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
    let room = (usize::from(area.width), usize::from(area.height));
    let picture = picture(scene, room, theme.ascii);
    let changed = changed(scene);
    let edited = scene.edited();
    let lit = picture.lit(&changed);
    let late = picture.lit(&scene.schema.points().into_iter().filter(|point| scene.is_later(*point)).collect());
    let at = (
        offset(area.x, room.0.saturating_sub(picture.width) / 2),
        offset(area.y, room.1.saturating_sub(picture.height + if has_strip(room) { STRIP } else { 0 }) / 2),
    );
    for y in 0..picture.height {
        for x in 0..picture.width {
            let Some(cell) = picture.cell(x, y) else { continue };
            let style = style(cell, (&lit, &late), &edited, scene, theme);
            put(frame.buffer_mut(), offset(at.0, x), offset(at.1, y), cell.symbol.to_string(), style);
        }
    }
    let bars = Bars::new(scene);
    for place in &picture.places {
        let (x, y) = (offset(at.0, place.x), offset(at.1, place.y));
        if let Some((bar, style)) = bars.of(place.hook, theme) {
            // the bar replaces the mark
            put(frame.buffer_mut(), offset(at.0, place.mark), y, bar.to_string(), style);
        }
        let Some(number) = number(scene, place.hook) else { continue };
        let width = u16::try_from(place.width).unwrap_or(0);
        let hit = Rect { x, y, width, height: 1 }.intersection(area);
        hits.push(Region::cells(hit, vec![number], vec![HOOK; hit.width.into()]));
    }
    if has_strip(room) {
        let below = Rect { y: area.bottom() - 1, height: 1, ..area };
        strip(frame, below, &bars, scene, hits, theme);
    }
}

/// The hooks whose values the edits changed.
fn changed(scene: &Scene) -> BTreeSet<HookPoint> {
    let changes = scene.runs.shown.iter().flat_map(|shown| &shown.changes);
    changes.filter(|(_, change)| **change > 0.0).map(|(point, _)| *point).collect()
}

/// `lit` are wires that carry a change, `late` those that carry what is not computed yet.
fn style(
    cell: &Cell,
    (lit, late): (&[bool], &[bool]),
    edited: &BTreeSet<HookPoint>,
    scene: &Scene,
    theme: Theme,
) -> Style {
    if cell.hook == Some(scene.point()) && cell.role != Role::Shape {
        return theme.selected(scene.layout.focus == Focus::View);
    }
    let any = |wires: &[bool]| cell.wires.iter().any(|wire| wires.get(*wire).copied().unwrap_or(false));
    let is_lit = any(lit);
    let is_edited = cell.hook.is_some_and(|hook| edited.contains(&hook));
    match cell.role {
        Role::Hook if !is_edited && cell.hook.is_some_and(|hook| scene.is_later(hook)) => theme.dim(),
        Role::Stream | Role::Adder if any(late) => theme.dim(),
        Role::Hook | Role::Off | Role::Derived if is_edited => theme.changed().add_modifier(Modifier::BOLD),
        Role::Wire | Role::Stream | Role::Adder if is_lit => theme.changed(),
        Role::Wire | Role::Frame | Role::Off | Role::Derived | Role::Shape => theme.dim(),
        Role::Stream | Role::Adder => theme.accent(),
        Role::Blank | Role::Operation | Role::Hook => Style::new(),
        Role::Title => theme.title(),
    }
}

/// All blocks, each with the largest bar among its hooks; a click goes to one. For gradients, also the selected hook's
/// number and the largest.
fn strip(frame: &mut Frame<'_>, area: Rect, bars: &Bars<'_>, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
    const NAME: &str = "blocks ";
    const NUMBER: usize = 16;
    let (n, here) = (scene.schema.dims.n_layers, scene.block());
    let width = n.to_string().len() + 2;
    put(frame.buffer_mut(), area.x, area.y, NAME, theme.dim());
    let legends = bars.legends(scene, theme);
    // what the blocks leave, or as much as a number takes if there are many blocks, of which some are then hidden
    let left = usize::from(area.width).saturating_sub(NAME.len() + n * width + 1);
    let fits = legends.iter().find(|legend| legend.width() <= left).or(legends.last());
    let legend = fits.map(|legend| text::cut(legend, left.max(NUMBER), theme)).unwrap_or_default();
    if !legend.is_empty() {
        let line = Line::from(Span::styled(legend.clone(), theme.dim())).right_aligned();
        frame.render_widget(line, area);
    }
    let room = usize::from(area.width).saturating_sub(NAME.len() + legend.width()) / width;
    for (number, block) in around(here, room, n).enumerate() {
        let x = offset(area.x, NAME.len() + number * width);
        let style = if block == here { theme.title() } else { theme.dim() };
        put(frame.buffer_mut(), x, area.y, block.to_string(), style);
        if let Some((bar, style)) = bars.of_block(block, theme) {
            put(frame.buffer_mut(), offset(x, block.to_string().len()), area.y, bar.to_string(), style);
        }
        let hit = Rect { x, width: u16::try_from(width).unwrap_or(1), ..area }.intersection(area);
        hits.push(Region::cells(hit, vec![block], vec![BLOCK; hit.width.into()]));
    }
}
