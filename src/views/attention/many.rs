//! Attention of many heads at once: those of a block side by side, or every head of the model.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    one::scale_of,
    state::{Attention, HeadScope},
    tiles::HEAD_NAMES,
};
use crate::{
    engine::{Reading, Thumbnails},
    paint::{
        Region, Theme,
        heatmap::{around, halve, halves, offset, scroll_mark},
        put, row, say,
        scale::Scale,
        titled,
    },
    views::{Room, Scene, Table},
};

/// The number of colours in a thumbnail.
const STEPS: f64 = 12.0;

pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Attention,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let room = (usize::from(area.width), usize::from(area.height));
    let which = view.which.title();
    let what = match (view.heads, scene.reading) {
        (HeadScope::Block, Reading::Value) => format!("blocks.{}: every head", scene.block()),
        (HeadScope::One | HeadScope::Model, Reading::Value) => "every head".into(),
        // names the matrix, if there is no room for the choices
        (HeadScope::Block, Reading::Gradient | Reading::TimesValue | Reading::TimesChange) => {
            format!("blocks.{} {which}", scene.block())
        }
        (HeadScope::One | HeadScope::Model, Reading::Gradient | Reading::TimesValue | Reading::TimesChange) => {
            format!("every head's {which}")
        }
    };
    let title = titled(scene.title_of(&what, area.width.into(), theme), &view.choices(scene), area.width.into(), theme);
    frame.render_widget(Line::from(title), row(area, 0));
    let thumbnails = match view.seen_heads(scene, room) {
        Some(Ok(thumbnails)) => thumbnails,
        Some(Err(why)) => return say(frame, row(area, 1), why, theme),
        None => return say(frame, row(area, 1), scene.waiting_for_numbers(), theme),
    };
    let all: Vec<f32> = thumbnails.heads.iter().flatten().flatten().copied().collect();
    let scale = scale_of(view.which, scene, &all);
    let below = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(2), ..area };
    let visible = match view.heads {
        HeadScope::Block => draw_block(frame, below, thumbnails, scale, (view, scene, room), hits, theme),
        HeadScope::One | HeadScope::Model => {
            draw_model(frame, below, thumbnails, scale, (view, scene, room), hits, theme)
        }
    };
    let last = Rect { y: area.bottom().saturating_sub(1), height: u16::from(area.height > 3), ..area };
    let mut legend = scale.legend(theme);
    if thumbnails.pool > 1 {
        let what = if matches!(scale, Scale::Around(_)) { "max |x|" } else { "max" };
        let note = format!("  cell: {what} of {0} x {0}", thumbnails.pool);
        legend.push(Span::styled(note, theme.changed()));
    }
    legend.extend(visible.into_iter().map(|mark| Span::styled(format!("  {mark}"), theme.dim())));
    frame.render_widget(Line::from(legend), last);
}

/// The heads of one block, as many side by side as fit; returns which are visible, if not all are.
fn draw_block(
    frame: &mut Frame<'_>,
    area: Rect,
    thumbnails: &Thumbnails,
    scale: Scale,
    (view, scene, room): (&Attention, &Scene, Room),
    hits: &mut Vec<Region>,
    theme: Theme,
) -> Vec<String> {
    let Some(heads) = thumbnails.heads.first() else { return vec![] };
    let tiles = view.tiles(thumbnails.side, scene, room);
    let down = usize::from(area.height) / (tiles.height + 1);
    let rows = around(scene.cursor.head / tiles.across, down, heads.len().div_ceil(tiles.across));
    let visible = rows.start * tiles.across..(rows.end * tiles.across).min(heads.len());
    for (y, grid_row) in rows.enumerate() {
        for x in 0..tiles.across {
            let head = grid_row * tiles.across + x;
            let Some(values) = heads.get(head) else { break };
            let place = (offset(area.x, x * (tiles.width + 1)), offset(area.y, y * (tiles.height + 1)));
            let style = if head == scene.cursor.head { theme.selected(true) } else { theme.dim() };
            let name = format!("{:<width$}", format!("H{head}"), width = tiles.width.min(4));
            put(frame.buffer_mut(), place.0, place.1, name, style);
            let whole = rect((place.0, place.1), (tiles.width, tiles.height + 1)).intersection(area);
            let grid = rect((place.0, place.1 + 1), (tiles.width, tiles.height)).intersection(area);
            thumbnail(frame, grid, values, (thumbnails.side, tiles.zoom), scale, theme, area.right());
            hits.push(one_head(whole, scene.block(), head));
        }
    }
    scroll_mark(&visible, heads.len()).map(|mark| format!("heads {mark}")).into_iter().collect()
}

/// Every head: blocks down, heads across, scrolled so that the chosen one is visible; returns which are visible, if not
/// all are.
fn draw_model(
    frame: &mut Frame<'_>,
    area: Rect,
    thumbnails: &Thumbnails,
    scale: Scale,
    (view, scene, room): (&Attention, &Scene, Room),
    hits: &mut Vec<Region>,
    theme: Theme,
) -> Vec<String> {
    let (blocks, heads) = (thumbnails.heads.len(), thumbnails.heads.first().map_or(0, Vec::len));
    let inner = (usize::from(area.width).saturating_sub(HEAD_NAMES), usize::from(area.height).saturating_sub(1));
    let tiles = view.tiles(thumbnails.side, scene, room);
    let (width, height) = (tiles.width + 1, tiles.height + tiles.gap);
    let columns = around(scene.cursor.head, (inner.0 + 1) / width, heads);
    let rows = around(scene.block(), (inner.1 + tiles.gap) / height, blocks);
    for (x, head) in columns.clone().enumerate() {
        let here = head == scene.cursor.head;
        // numbers over narrow columns only where they do not touch
        if width >= 4 || here || (head % 5 == 0 && scene.cursor.head.abs_diff(head) > 2) {
            let style = if here { theme.title() } else { theme.dim() };
            put(frame.buffer_mut(), offset(area.x, HEAD_NAMES + x * width), area.y, head.to_string(), style);
        }
    }
    let marks = [("blocks", &rows, blocks), ("heads", &columns, heads)];
    let marks = marks.map(|(name, visible, n)| scroll_mark(visible, n).map(|mark| format!("{name} {mark}")));
    for (y, block) in rows.enumerate() {
        let style = if block == scene.block() { theme.title() } else { theme.dim() };
        let top = offset(area.y, 1 + y * height);
        put(frame.buffer_mut(), area.x, top, format!("L{block}"), style);
        for (x, head) in columns.clone().enumerate() {
            let Some(values) = thumbnails.heads[block].get(head) else { continue };
            let grid =
                rect((offset(area.x, HEAD_NAMES + x * width), top), (tiles.width, tiles.height)).intersection(area);
            thumbnail(frame, grid, values, (thumbnails.side, tiles.zoom), scale, theme, area.right());
            if (block, head) == (scene.block(), scene.cursor.head) {
                frame_around(frame, grid, area, theme);
            }
            hits.push(one_head(grid, block, head));
        }
    }
    marks.into_iter().flatten().collect()
}

fn rect(at: (u16, u16), size: (usize, usize)) -> Rect {
    let small = |n: usize| u16::try_from(n).unwrap_or(0);
    Rect { x: at.0, y: at.1, width: small(size.0), height: small(size.1) }
}

fn one_head(area: Rect, block: usize, head: usize) -> Region {
    Region::cells(area, vec![block; area.height.into()], vec![head; area.width.into()])
}

/// Brackets on both sides of the chosen head, in the gaps.
fn frame_around(frame: &mut Frame<'_>, grid: Rect, area: Rect, theme: Theme) {
    for y in grid.y..grid.bottom().min(area.bottom()) {
        put(frame.buffer_mut(), grid.x.saturating_sub(1), y, "[", theme.title());
        if grid.right() < area.right() {
            put(frame.buffer_mut(), grid.right(), y, "]", theme.title());
        }
    }
}

/// One head of `side` rows and columns; each value takes `zoom` columns and as many half rows (or rows, if colours
/// can't halve them).
fn thumbnail(
    frame: &mut Frame<'_>,
    area: Rect,
    values: &[f32],
    (side, zoom): (usize, usize),
    scale: Scale,
    theme: Theme,
    end: u16,
) {
    let halves = halves(theme);
    for y in 0..usize::from(area.height) {
        for x in 0..usize::from(area.width) {
            let paint = |half: usize| {
                let row = (y * halves + half) / zoom;
                let value = values.get(row * side + x / zoom).copied().filter(|_| row < side);
                value.filter(|v| !v.is_nan()).map(|value| scale.paint_in(STEPS, value.into(), theme))
            };
            let Some(cell) = frame.buffer_mut().cell_mut((offset(area.x, x), offset(area.y, y))) else { continue };
            if halves == 1 {
                let paint = paint(0);
                cell.set_char(paint.map_or(' ', |p| p.shade)).set_style(paint.map_or(Style::new(), |p| p.shade_style));
                continue;
            }
            halve(cell, paint(0).and_then(|p| p.color), paint(1).and_then(|p| p.color));
        }
        // a gap that keeps the previous text colour needs no colour change
        if let Some(last) = area.width.checked_sub(1).filter(|_| area.right() < end) {
            let y = offset(area.y, y);
            let ink = frame.buffer_mut()[(area.x + last, y)].fg;
            frame.buffer_mut()[(area.right(), y)].set_fg(ink);
        }
    }
}

/// The heads as an array; a picture has no rows of words.
pub(super) fn table(thumbnails: &Thumbnails, furthest: bool) -> Table {
    let (blocks, heads) = (thumbnails.heads.len(), thumbnails.heads.first().map_or(0, Vec::len));
    let shape = vec![blocks, heads, thumbnails.side, thumbnails.side];
    let all = thumbnails.heads.iter().flatten().flatten().copied().collect();
    let what = if furthest { "furthest_from_0" } else { "max" };
    let name = if thumbnails.pool > 1 { format!("{what}_of_{0}x{0}", thumbnails.pool) } else { "values".into() };
    Table { arrays: vec![(name, shape, all)], ..Table::default() }
}
