//! Attention of many heads at once: those of a block beside each other, or every head of the model.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    Theme, attention, comparison,
    heatmap::{around, halves, offset},
    row, say,
    scale::Scale,
    shape::waiting,
};
use crate::{
    app::{Action, Extent, Hit, Region, State},
    engine::{Thumbnails, View},
};

/// Columns of the block names.
const NAMES: usize = 4;

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
    title.extend(comparison(state, theme));
    frame.render_widget(Line::from(title), row(area, 0));
    let thumbnails = match state.view() {
        Some(View::Patterns(thumbnails)) => thumbnails,
        Some(View::Nothing(why)) => return say(frame, row(area, 1), why.clone(), theme),
        _ => return say(frame, row(area, 1), waiting(state), theme),
    };
    let all: Vec<f32> = thumbnails.heads.iter().flatten().flatten().copied().collect();
    let scale = attention::scale(state.looks.which, state.compare(), &all);
    let below = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(2), ..area };
    if state.looks.extent == Extent::Block {
        draw_block(frame, below, thumbnails, scale, state, hits, theme);
    } else {
        draw_model(frame, below, thumbnails, scale, state, hits, theme);
    }
    let last = Rect { y: area.bottom().saturating_sub(1), height: u16::from(area.height > 3), ..area };
    let mut legend = scale.legend(theme);
    if thumbnails.pool > 1 {
        let note = format!("  cell: max of {0} x {0}", thumbnails.pool);
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
    let (width, height) = (thumbnails.side + 1, thumbnails.side.div_ceil(halves(theme)) + 1);
    let across = ((usize::from(area.width) + 1) / width).max(1);
    let down = (usize::from(area.height) / height).max(1);
    let rows = around(state.head / across, down, heads.len().div_ceil(across));
    for (y, grid_row) in rows.clone().enumerate() {
        for x in 0..across {
            let head = grid_row * across + x;
            let Some(values) = heads.get(head) else { break };
            let place = (offset(area.x, x * width), offset(area.y, y * height));
            let style = if head == state.head { theme.selected(true) } else { theme.dim() };
            let name = format!("{:<width$}", format!("H{head}"), width = thumbnails.side.min(4));
            if place.1 < area.bottom() {
                frame.buffer_mut().set_string(place.0, place.1, name, style);
            }
            let grid = Rect { x: place.0, y: place.1 + 1, width: u16::try_from(thumbnails.side).unwrap_or(0), height: u16::try_from(height - 1).unwrap_or(0) };
            thumbnail(frame, grid.intersection(area), values, thumbnails.side, scale, theme);
            let block = state.block();
            let all = Rect { y: place.1, height: grid.height + 1, ..grid }.intersection(area);
            hits.push(one_head(all, block, head));
        }
    }
}

/// Every head: blocks down, heads across, scrolled so that the chosen one is in sight.
fn draw_model(
    frame: &mut Frame<'_>,
    area: Rect,
    thumbnails: &Thumbnails,
    scale: Scale,
    state: &State,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let heads = thumbnails.heads.first().map_or(0, Vec::len);
    let (width, height) = (thumbnails.side + 1, thumbnails.side.div_ceil(halves(theme)) + usize::from(thumbnails.side > 4));
    let across = (usize::from(area.width).saturating_sub(NAMES) + 1) / width;
    let down = usize::from(area.height).saturating_sub(1) / height;
    let columns = around(state.head, across, heads);
    let rows = around(state.block(), down, thumbnails.heads.len());
    for (x, head) in columns.clone().enumerate() {
        let here = head == state.head;
        // numbers over narrow columns only where they do not touch
        if width >= 4 || here || (head % 5 == 0 && state.head.abs_diff(head) > 2) {
            let style = if here { theme.title() } else { theme.dim() };
            frame.buffer_mut().set_string(offset(area.x, NAMES + x * width), area.y, head.to_string(), style);
        }
    }
    for (y, block) in rows.clone().enumerate() {
        let style = if block == state.block() { theme.title() } else { theme.dim() };
        let top = offset(area.y, 1 + y * height);
        frame.buffer_mut().set_string(area.x, top, format!("L{block}"), style);
        for (x, head) in columns.clone().enumerate() {
            let grid = Rect {
                x: offset(area.x, NAMES + x * width),
                y: top,
                width: u16::try_from(thumbnails.side).unwrap_or(0),
                height: u16::try_from(thumbnails.side.div_ceil(halves(theme))).unwrap_or(0),
            };
            let Some(values) = thumbnails.heads[block].get(head) else { continue };
            thumbnail(frame, grid.intersection(area), values, thumbnails.side, scale, theme);
            if (block, head) == (state.block(), state.head) {
                frame_around(frame, grid, area, theme);
            }
            hits.push(one_head(grid.intersection(area), block, head));
        }
    }
}

fn one_head(area: Rect, block: usize, head: usize) -> Region {
    Region { area, rows: vec![block; area.height.into()], columns: vec![head; area.width.into()], hit: Hit::Head }
}

/// Brackets at the sides of the chosen head, in the gaps.
fn frame_around(frame: &mut Frame<'_>, grid: Rect, area: Rect, theme: Theme) {
    for y in grid.y..grid.bottom().min(area.bottom()) {
        frame.buffer_mut().set_string(grid.x.saturating_sub(1), y, "[", theme.title());
        if grid.right() < area.right() {
            frame.buffer_mut().set_string(grid.right(), y, "]", theme.title());
        }
    }
}

/// One head, a column a value, and two values to a row where colours can halve it.
fn thumbnail(frame: &mut Frame<'_>, area: Rect, values: &[f32], side: usize, scale: Scale, theme: Theme) {
    let halves = halves(theme);
    for y in 0..usize::from(area.height) {
        for x in 0..usize::from(area.width).min(side) {
            let paint = |half: usize| {
                let value = values.get((y * halves + half) * side + x).copied().filter(|_| y * halves + half < side);
                value.filter(|v| !v.is_nan()).map(|value| scale.paint(value.into(), theme))
            };
            let Some(cell) = frame.buffer_mut().cell_mut((offset(area.x, x), offset(area.y, y))) else { continue };
            if halves == 1 {
                let paint = paint(0);
                cell.set_char(paint.map_or(' ', |p| p.shade)).set_style(paint.map_or(Style::new(), |p| p.shade_style));
                continue;
            }
            match (paint(0).and_then(|p| p.color), paint(1).and_then(|p| p.color)) {
                (Some(upper), Some(lower)) => cell.set_char('▀').set_fg(upper).set_bg(lower),
                (Some(upper), None) => cell.set_char('▀').set_fg(upper),
                (None, Some(lower)) => cell.set_char('▄').set_fg(lower),
                (None, None) => cell.set_char(' '),
            };
        }
    }
}
