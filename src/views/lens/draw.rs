use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::state::{CELL, Lens, LensBy, NAMES, left_out_edits, positions, shown_cells};
use crate::{
    engine::{Compare, LensCell},
    hooks::{BlockHook, HookPoint},
    keys::Action,
    paint::{
        Region, Theme,
        heatmap::{around, offset},
        put, row, say,
        scale::{Paint, Scale},
        text, titled,
    },
    views::{
        Scene,
        logits::{Columns, prediction_line},
    },
};

/// The logit lens: layers down, positions across, each cell the likeliest token coloured by its probability, by KL to the
/// final layer, or by KL from the baseline.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Lens,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let room = (usize::from(area.width), usize::from(area.height));
    let left_out = if left_out_edits(scene).is_empty() { "" } else { " without the edits of ln_final" };
    let seen = view.seen(scene, room);
    let lens = seen.map_or("logit", |grid| grid.about.name);
    let name = format!("{lens} lens{left_out}");
    let by = ["probability", "KL(final || here)"];
    let at = usize::from(view.by == LensBy::Kl);
    let choices = [(scene.key(Action::Switch), &by[..], at)];
    let mut title = match scene.compare() {
        Compare::Difference => titled(format!("{name} by {}", scene.kl_title()), &[], area.width.into(), theme),
        Compare::Edited | Compare::Baseline => titled(name, &choices, area.width.into(), theme),
    };
    if !left_out.is_empty() {
        title[0].style = theme.changed();
    }
    frame.render_widget(Line::from(title), row(area, 0));
    let Some(grid) = seen else {
        return say(frame, row(area, 1), scene.unanswered(&view.ask(scene, room)), theme);
    };
    let (from, cells, points) = (grid.first, shown_cells(grid, scene), &grid.about.rows);
    let value = |cell: &LensCell| match (scene.compare(), view.by) {
        (Compare::Difference, _) => cell.moved.unwrap_or(f64::NAN),
        (_, LensBy::Probability) => cell.top.first().map_or(f64::NAN, |p| p.prob),
        (_, LensBy::Kl) => cell.kl,
    };
    let scale = match (scene.compare(), view.by) {
        (Compare::Edited | Compare::Baseline, LensBy::Probability) => Scale::From(0.0, 1.0),
        _ => Scale::From(0.0, cells.iter().flatten().map(value).filter(|x| x.is_finite()).fold(0.0, f64::max)),
    };
    let layers = cells.len();
    // the likeliest tokens of the cell under the cursor stay below the grid
    let wanted = match (view.list, area.height) {
        (true, height) => height.saturating_sub(6).clamp(4, 21),
        (false, 0..16) => 4,
        (false, _) => 7,
    };
    let details = wanted.min(area.height.saturating_sub(4));
    let grid = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(1 + details), ..area };
    let visible = positions(scene, room);
    let columns = visible.len();
    let rows = usize::from(grid.height).saturating_sub(1);
    if columns == 0 || rows == 0 {
        return;
    }
    let (layer, pos) = (view.layer, scene.cursor.pos);
    let visible_layers = around(layer, rows, layers);
    let (first_pos, first_layer) = (visible.start, visible_layers.start);
    for x in 0..columns {
        let label = text::label(&scene.tokens()[first_pos + x].text, theme);
        let style = if first_pos + x == pos { theme.title() } else { theme.dim() };
        let at = offset(grid.x, NAMES + x * CELL);
        put(frame.buffer_mut(), at, grid.y, text::cut(&label, CELL - 1, theme), style);
    }
    for y in 0..rows.min(layers - first_layer) {
        let name = row_name(points, first_layer + y);
        let style = if first_layer + y == layer { theme.title() } else { theme.dim() };
        let screen_y = offset(grid.y, y + 1);
        put(frame.buffer_mut(), grid.x, screen_y, format!("{name:>8} "), style);
        for x in 0..columns {
            let Some(cell) = cells[first_layer + y].get((first_pos + x).wrapping_sub(from)) else { continue };
            let here = (first_layer + y, first_pos + x) == (layer, pos);
            let (content, style) = look(cell, scale.paint(value(cell), theme), here, theme);
            let at = offset(grid.x, NAMES + x * CELL);
            put(frame.buffer_mut(), at, screen_y, content, style);
            if here {
                // the cursor takes the gaps beside the cell, so that the token stays whole
                put(frame.buffer_mut(), at.saturating_sub(1), screen_y, "[", theme.title());
                put(frame.buffer_mut(), offset(at, CELL - 1), screen_y, "]", theme.title());
            }
        }
    }
    let screen_columns = visible.flat_map(|pos| std::iter::repeat_n(pos, CELL)).collect();
    let grid_hits = Rect { x: offset(grid.x, NAMES), y: grid.y + 1, ..grid }.intersection(grid);
    hits.push(Region::cells(grid_hits, visible_layers.collect(), screen_columns));
    let last = offset(grid.y, 1 + rows.min(layers));
    let y = offset(last, usize::from(last < grid.bottom()));
    let below = Rect { y, height: area.bottom().saturating_sub(y), ..area };
    if let Some(cell) = cells.get(layer).and_then(|row| row.get(pos.wrapping_sub(from))) {
        let point = points.get(layer).map(|(_, point)| point.to_string()).unwrap_or_default();
        detail(frame, below, cell, (&point, scene), scale, theme);
    }
}

/// `3 pre`, `3 post`, and `final` for the last.
pub(super) fn row_name(rows: &[(usize, HookPoint)], at: usize) -> String {
    match rows.get(at) {
        Some(_) if at + 1 == rows.len() => "final".into(),
        Some((_, HookPoint::Block(block, BlockHook::ResidPost))) => format!("{block} post"),
        Some((_, point)) => format!("{} pre", point.block().unwrap_or_default()),
        None => String::new(),
    }
}

/// A cell's token on its colour; where there are no colours, a shade stands behind it.
fn look(cell: &LensCell, paint: Paint, here: bool, theme: Theme) -> (String, Style) {
    let Some(first) = cell.top.first() else { return (text::fit("NaN", CELL - 1, theme), theme.error()) };
    let label = text::label(&first.text, theme);
    if paint.color.is_some() {
        return (text::fit(&label, CELL - 1, theme), paint.background());
    }
    let token = text::fit(&label, CELL - 2, theme) + &paint.shade.to_string();
    (token, if here { theme.selected(true) } else { paint.shade_style })
}

fn detail(
    frame: &mut Frame<'_>,
    area: Rect,
    cell: &LensCell,
    (point, scene): (&str, &Scene),
    scale: Scale,
    theme: Theme,
) {
    let token = scene.tokens().get(scene.cursor.pos).map(|t| text::visible(&t.text, theme)).unwrap_or_default();
    let moved = cell
        .moved
        .map(|kl| format!("   KL from {} {}", scene.side(Compare::Baseline), text::number(kl)))
        .unwrap_or_default();
    let head =
        format!("{point} after {} \"{token}\"   KL from final {}{moved}", scene.cursor.pos, text::number(cell.kl));
    let head = text::cut(&head, area.width.into(), theme);
    let mut spans = vec![Span::styled(head, theme.dim()), Span::raw("   ")];
    spans.extend(scale.legend(theme));
    frame.render_widget(Line::from(spans), row(area, 0));
    if cell.top.is_empty() {
        frame.render_widget(Line::from(Span::styled("the logits are NaN", theme.error())), row(area, 1));
    }
    for (prediction, number) in cell.top.iter().zip(1..area.height) {
        let line = prediction_line(prediction, area.width.into(), Columns { edited: false, logit: true }, theme);
        frame.render_widget(line, row(area, number));
    }
}
