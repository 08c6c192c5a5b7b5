use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    Theme,
    heatmap::{around, offset},
    logits::{self, Columns},
    put, row, say,
    scale::{Paint, Scale},
    shape::waiting,
    text,
};
use crate::{
    app::{Action, Hit, LENS, LensBy, Region, State},
    engine::{Compare, LensCell, View, lens_points},
};

/// Columns of the layer names, and of a cell, its gap included.
const NAMES: usize = LENS.0;
const CELL: usize = LENS.1;

/// The logit lens: layers down, positions across, each cell the likeliest token coloured by its probability, by KL to the
/// final layer, or by KL from the baseline.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, hits: &mut Vec<Region>, theme: Theme) {
    let by = match (state.compare(), state.looks.lens_by) {
        (Compare::Difference, _) => "KL(baseline || edited)",
        (_, LensBy::Probability) => "probability",
        (_, LensBy::Kl) => "KL(final || here)",
    };
    let mut title = vec![Span::styled("logit lens", theme.title())];
    if !state.left_out_of_lens().is_empty() {
        title.push(Span::styled(" without the edits of ln_final", theme.changed()));
    }
    let switch = state.keymap().key(Action::Switch);
    title.push(Span::styled(format!("   {switch}: by {by}"), theme.dim()));
    frame.render_widget(Line::from(title), row(area, 0));
    let shown = state.compared();
    let Some(View::Lens { first: from, cells, .. }) = shown.as_deref() else {
        return say(frame, row(area, 1), waiting(state), theme);
    };
    let value = |cell: &LensCell| match (state.compare(), state.looks.lens_by) {
        (Compare::Difference, _) => cell.moved.unwrap_or(f64::NAN),
        (_, LensBy::Probability) => cell.top.first().map_or(f64::NAN, |p| p.prob),
        (_, LensBy::Kl) => cell.kl,
    };
    let scale = match (state.compare(), state.looks.lens_by) {
        (Compare::Edited | Compare::Baseline, LensBy::Probability) => Scale::From(0.0, 1.0),
        _ => Scale::From(0.0, cells.iter().flatten().map(value).filter(|x| x.is_finite()).fold(0.0, f64::max)),
    };
    let layers = cells.len();
    // the likeliest tokens of the cell under the cursor stay below the grid
    let wanted = match (state.looks.lens_list, area.height) {
        (true, height) => height.saturating_sub(6).clamp(4, 21),
        (false, 0..16) => 4,
        (false, _) => 7,
    };
    let details = wanted.min(area.height.saturating_sub(4));
    let grid = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(1 + details), ..area };
    let visible = state.lens_positions();
    let columns = visible.len();
    let rows = usize::from(grid.height).saturating_sub(1);
    if columns == 0 || rows == 0 {
        return;
    }
    let (layer, pos) = (state.lens_layer, state.cell.0);
    let visible_layers = around(layer, rows, layers);
    let (first_pos, first_layer) = (visible.start, visible_layers.start);
    for x in 0..columns {
        let label = text::label(&state.tokens[first_pos + x].text, theme);
        let style = if first_pos + x == pos { theme.title() } else { theme.dim() };
        let at = offset(grid.x, NAMES + x * CELL);
        put(frame.buffer_mut(), at, grid.y, text::cut(&label, CELL - 1, theme), style);
    }
    for y in 0..rows.min(layers - first_layer) {
        let name = row_name(first_layer + y, layers);
        let style = if first_layer + y == layer { theme.title() } else { theme.dim() };
        let screen_y = offset(grid.y, y + 1);
        put(frame.buffer_mut(), grid.x, screen_y, format!("{name:>8} "), style);
        for x in 0..columns {
            let Some(cell) = cells[first_layer + y].get((first_pos + x).wrapping_sub(*from)) else { continue };
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
    hits.push(Region { area: grid_hits, rows: visible_layers.collect(), columns: screen_columns, hit: Hit::Lens });
    let below = Rect { y: grid.bottom(), height: details, ..area };
    if let Some(cell) = cells.get(layer).and_then(|row| row.get(pos.wrapping_sub(*from))) {
        detail(frame, below, cell, state, scale, theme);
    }
}

fn row_name(layer: usize, layers: usize) -> String {
    if layer + 1 == layers { "final".into() } else { format!("{layer} pre") }
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

fn detail(frame: &mut Frame<'_>, area: Rect, cell: &LensCell, state: &State, scale: Scale, theme: Theme) {
    let points = lens_points(state.schema.dims.n_layers);
    let point = points.get(state.lens_layer).map(ToString::to_string).unwrap_or_default();
    let token = state.tokens.get(state.cell.0).map(|t| text::visible(&t.text, theme)).unwrap_or_default();
    let moved = cell.moved.map(|kl| format!("   KL from baseline {}", text::number(kl))).unwrap_or_default();
    let head = format!("{point} after {} \"{token}\"   KL from final {}{moved}", state.cell.0, text::number(cell.kl));
    let head = text::cut(&head, area.width.into(), theme);
    let mut spans = vec![Span::styled(head, theme.dim()), Span::raw("   ")];
    spans.extend(scale.legend(theme));
    frame.render_widget(Line::from(spans), row(area, 0));
    if cell.top.is_empty() {
        frame.render_widget(Line::from(Span::styled("the logits are NaN", theme.error())), row(area, 1));
    }
    for (prediction, number) in cell.top.iter().zip(1..area.height) {
        let line = logits::line(prediction, area.width.into(), Columns { edited: false, logit: true }, theme);
        frame.render_widget(line, row(area, number));
    }
}
