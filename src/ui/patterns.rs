//! Attention of many heads at once: those of a block beside each other, or every head of the model.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    ColorDepth, Theme, attention,
    heatmap::{DENSE, around, halves, offset},
    put, row, say,
    scale::Scale,
    shape::waiting,
};
use crate::{
    app::{Action, Extent, HEAD_NAMES, Hit, Region, State},
    engine::{Thumbnails, View},
};

/// Colours of a picture that is to be seen at a glance.
const STEPS: f64 = 12.0;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, hits: &mut Vec<Region>, theme: Theme) {
    let what = match state.looks.extent {
        Extent::Block => format!("blocks.{}: every head", state.block()),
        _ => "every head".into(),
    };
    let mut title = vec![Span::styled(format!("{what}, {}", state.looks.which.title()), theme.title())];
    if area.width >= 70 {
        let keys = state.keymap();
        let more = format!("   {}: look at L{}H{}", keys.key(Action::Enter), state.block(), state.head);
        title.push(Span::styled(more, theme.dim()));
    }
    frame.render_widget(Line::from(title), row(area, 0));
    let thumbnails = match state.view() {
        Some(View::Patterns(thumbnails)) => thumbnails,
        Some(View::Nothing(why)) => return say(frame, row(area, 1), why.clone(), theme),
        _ => return say(frame, row(area, 1), waiting(state), theme),
    };
    let all: Vec<f32> = thumbnails.heads.iter().flatten().flatten().copied().collect();
    let scale = attention::scale(state.looks.which, state.compare(), &all);
    let below = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(2), ..area };
    let inks = if state.looks.extent == Extent::Block {
        draw_block(frame, below, thumbnails, scale, state, hits, theme);
        theme
    } else {
        draw_model(frame, below, thumbnails, scale, state, hits, theme)
    };
    let last = Rect { y: area.bottom().saturating_sub(1), height: u16::from(area.height > 3), ..area };
    let mut legend = scale.legend(inks);
    if thumbnails.pool > 1 {
        let what = if matches!(scale, Scale::Around(_)) { "furthest from 0" } else { "max" };
        let note = format!("  cell: {what} of {0} x {0}", thumbnails.pool);
        legend.push(Span::styled(note, theme.changed()));
    }
    frame.render_widget(Line::from(legend), last);
}

/// The heads of one block, as many beside each other as fit.
fn draw_block(
    frame: &mut Frame<'_>,
    area: Rect,
    thumbnails: &Thumbnails,
    scale: Scale,
    state: &State,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let Some(heads) = thumbnails.heads.first() else { return };
    let tiles = state.tiles(thumbnails.side);
    let down = usize::from(area.height) / (tiles.height + 1);
    let rows = around(state.head / tiles.across, down, heads.len().div_ceil(tiles.across));
    for (y, grid_row) in rows.enumerate() {
        for x in 0..tiles.across {
            let head = grid_row * tiles.across + x;
            let Some(values) = heads.get(head) else { break };
            let place = (offset(area.x, x * (tiles.width + 1)), offset(area.y, y * (tiles.height + 1)));
            let style = if head == state.head { theme.selected(true) } else { theme.dim() };
            let name = format!("{:<width$}", format!("H{head}"), width = tiles.width.min(4));
            put(frame.buffer_mut(), place.0, place.1, name, style);
            let whole = rect((place.0, place.1), (tiles.width, tiles.height + 1)).intersection(area);
            let grid = rect((place.0, place.1 + 1), (tiles.width, tiles.height)).intersection(area);
            thumbnail(frame, grid, values, (thumbnails.side, tiles.zoom), scale, theme, area.right());
            hits.push(one_head(whole, state.block(), head));
        }
    }
}

/// Every head: blocks down, heads across, scrolled so that the chosen one is in sight. Returns the inks it was drawn in.
fn draw_model(
    frame: &mut Frame<'_>,
    area: Rect,
    thumbnails: &Thumbnails,
    scale: Scale,
    state: &State,
    hits: &mut Vec<Region>,
    theme: Theme,
) -> Theme {
    let (blocks, heads) = (thumbnails.heads.len(), thumbnails.heads.first().map_or(0, Vec::len));
    let room = (usize::from(area.width).saturating_sub(HEAD_NAMES), usize::from(area.height).saturating_sub(1));
    let tiles = state.tiles(thumbnails.side);
    let (width, height) = (tiles.width + 1, tiles.height + tiles.gap);
    let columns = around(state.head, (room.0 + 1) / width, heads);
    let rows = around(state.block(), (room.1 + tiles.gap) / height, blocks);
    // very many small cells: in the palette's colours, which take half the bytes
    let dense = columns.len() * rows.len() * tiles.width * tiles.height > DENSE && theme.depth == ColorDepth::True;
    let inks = if dense { Theme { depth: ColorDepth::Ansi256, ..theme } } else { theme };
    for (x, head) in columns.clone().enumerate() {
        let here = head == state.head;
        // numbers over narrow columns only where they do not touch
        if width >= 4 || here || (head % 5 == 0 && state.head.abs_diff(head) > 2) {
            let style = if here { theme.title() } else { theme.dim() };
            put(frame.buffer_mut(), offset(area.x, HEAD_NAMES + x * width), area.y, head.to_string(), style);
        }
    }
    for (y, block) in rows.enumerate() {
        let style = if block == state.block() { theme.title() } else { theme.dim() };
        let top = offset(area.y, 1 + y * height);
        put(frame.buffer_mut(), area.x, top, format!("L{block}"), style);
        for (x, head) in columns.clone().enumerate() {
            let Some(values) = thumbnails.heads[block].get(head) else { continue };
            let grid =
                rect((offset(area.x, HEAD_NAMES + x * width), top), (tiles.width, tiles.height)).intersection(area);
            thumbnail(frame, grid, values, (thumbnails.side, tiles.zoom), scale, inks, area.right());
            if (block, head) == (state.block(), state.head) {
                frame_around(frame, grid, area, theme);
            }
            hits.push(one_head(grid, block, head));
        }
    }
    inks
}

fn rect(at: (u16, u16), size: (usize, usize)) -> Rect {
    let small = |n: usize| u16::try_from(n).unwrap_or(0);
    Rect { x: at.0, y: at.1, width: small(size.0), height: small(size.1) }
}

fn one_head(area: Rect, block: usize, head: usize) -> Region {
    Region { area, rows: vec![block; area.height.into()], columns: vec![head; area.width.into()], hit: Hit::Head }
}

/// Brackets at the sides of the chosen head, in the gaps.
fn frame_around(frame: &mut Frame<'_>, grid: Rect, area: Rect, theme: Theme) {
    for y in grid.y..grid.bottom().min(area.bottom()) {
        put(frame.buffer_mut(), grid.x.saturating_sub(1), y, "[", theme.title());
        if grid.right() < area.right() {
            put(frame.buffer_mut(), grid.right(), y, "]", theme.title());
        }
    }
}

/// One head of `side` rows and columns, each value `zoom` columns and as many half rows (or rows, where colours can't
/// halve them).
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
            super::heatmap::halve(cell, paint(0).and_then(|p| p.color), paint(1).and_then(|p| p.color));
        }
        // a gap that keeps the ink before it needs no change of colour
        if let Some(last) = area.width.checked_sub(1).filter(|_| area.right() < end) {
            let y = offset(area.y, y);
            let ink = frame.buffer_mut()[(area.x + last, y)].fg;
            frame.buffer_mut()[(area.right(), y)].set_fg(ink);
        }
    }
}
