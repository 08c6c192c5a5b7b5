use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Style},
    text::{Line, Span},
};

use super::{
    Theme,
    heatmap::offset,
    logits::{self, Columns},
    say,
    shape::waiting,
    text,
};
use crate::{
    app::State,
    engine::{LensCell, View, lens_points},
};

/// Columns of the layer names.
const NAMES: usize = 9;
/// Columns of a cell, its gap included.
const CELL: usize = 9;

/// The logit lens: layers down, positions across, each cell the likeliest token coloured by its probability.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let mut title = vec![Span::styled("logit lens", theme.title())];
    if area.width >= 66 {
        title.push(Span::styled("   the next token, were the model to end at that stream", theme.dim()));
    }
    frame.render_widget(Line::from(title), logits::row(area, 0));
    let Some(View::Lens(cells)) = state.view() else { return say(frame, logits::row(area, 1), waiting(state), theme) };
    let (layers, n) = (cells.len(), state.tokens.len());
    // the likeliest tokens of the cell under the cursor stay below the grid
    let details = 7.min(area.height.saturating_sub(4)).min(if area.height < 16 { 4 } else { 7 });
    let grid = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(1 + details), ..area };
    let columns = usize::from(grid.width).saturating_sub(NAMES + 1) / CELL;
    let rows = usize::from(grid.height).saturating_sub(1);
    if columns == 0 || rows == 0 {
        return;
    }
    let (layer, pos) = (state.lens_layer, state.cell.0);
    let first_pos = window(pos, columns, n);
    let first_layer = window(layer, rows, layers);
    for x in 0..columns.min(n - first_pos) {
        let label = text::label(&state.tokens[first_pos + x].text, theme);
        let style = if first_pos + x == pos { theme.title() } else { theme.dim() };
        let at = offset(grid.x, NAMES + x * CELL);
        frame.buffer_mut().set_string(at, grid.y, text::cut(&label, CELL - 1, theme), style);
    }
    for y in 0..rows.min(layers - first_layer) {
        let name = row_name(first_layer + y, layers);
        let style = if first_layer + y == layer { theme.title() } else { theme.dim() };
        let screen_y = offset(grid.y, y + 1);
        frame.buffer_mut().set_string(grid.x, screen_y, format!("{name:>8} "), style);
        for x in 0..columns.min(n - first_pos) {
            let Some(cell) = cells[first_layer + y].get(first_pos + x) else { continue };
            let here = (first_layer + y, first_pos + x) == (layer, pos);
            let (content, style) = look(cell, here, theme);
            let at = offset(grid.x, NAMES + x * CELL);
            frame.buffer_mut().set_string(at, screen_y, content, style);
            if here {
                // the cursor takes the gaps beside the cell, so that the token stays whole
                frame.buffer_mut().set_string(at.saturating_sub(1), screen_y, "[", theme.title());
                frame.buffer_mut().set_string(offset(at, CELL - 1), screen_y, "]", theme.title());
            }
        }
    }
    let below = Rect { y: grid.bottom(), height: details, ..area };
    if let Some(cell) = cells.get(layer).and_then(|row| row.get(pos)) {
        detail(frame, below, cell, state, theme);
    }
}

fn row_name(layer: usize, layers: usize) -> String {
    if layer + 1 == layers { "final".into() } else { format!("{layer} pre") }
}

/// First of `n` things shown, so that number `at` is among `room` of them.
fn window(at: usize, room: usize, n: usize) -> usize {
    at.saturating_sub(room / 2).min(n.saturating_sub(room))
}

fn look(cell: &LensCell, here: bool, theme: Theme) -> (String, Style) {
    let Some(first) = cell.top.first() else { return (String::new(), Style::new()) };
    let token = text::fit(&text::label(&first.text, theme), CELL - 1, theme);
    match theme.heat(first.prob) {
        Some(color) => {
            let ink = if first.prob > 0.55 { Color::Black } else { Color::White };
            (token, Style::new().bg(color).fg(ink))
        }
        None => (token, if here { theme.selected(true) } else { Style::new() }),
    }
}

fn detail(frame: &mut Frame<'_>, area: Rect, cell: &LensCell, state: &State, theme: Theme) {
    let points = lens_points(state.schema.dims.n_layers);
    let point = points.get(state.lens_layer).map(ToString::to_string).unwrap_or_default();
    let token = state.tokens.get(state.cell.0).map(|t| text::visible(&t.text, theme)).unwrap_or_default();
    let head = format!("KL from final {}   {point} at {} \"{token}\"", text::number(cell.kl), state.cell.0);
    let head = text::cut(&head, area.width.into(), theme);
    frame.render_widget(Line::from(Span::styled(head, theme.dim())), logits::row(area, 0));
    for (prediction, number) in cell.top.iter().zip(1..area.height) {
        let line = logits::line(prediction, area.width.into(), Columns { edited: false, logit: true }, theme);
        frame.render_widget(line, logits::row(area, number));
    }
}
