//! The values of the selected hook along two of its axes: as numbers, or as colours.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    Theme, attention,
    heatmap::{Heatmap, around, offset},
    put, row, say,
    scale::Scale,
    shape::waiting,
    text,
};
use crate::{
    analysis::exact_number,
    app::{Action, Hit, Region, State},
    engine::View,
    hooks::{Axis, BlockHook},
};

/// Columns of a number, its gap included.
const NUMBER: usize = 11;
/// Most columns of a row's label.
const LABEL: usize = 12;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, hits: &mut Vec<Region>, theme: Theme) {
    let (slice, keys) = (state.slice(), state.keymap());
    let mut title = vec![Span::styled(state.point().to_string(), theme.title())];
    if let Some((axis, at)) = slice.fixed.filter(|(axis, _)| *axis != Axis::One) {
        title.push(Span::styled(format!("[{axis}={at}]"), theme.title()));
        let change = format!(" {} {}", keys.key(Action::PreviousHead), keys.key(Action::NextHead));
        title.push(Span::styled(change, theme.dim()));
    }
    let axes = format!("   {} by {}", slice.rows, slice.columns);
    if slice.columns != Axis::One && area.width >= 60 {
        title.push(Span::styled(axes, theme.dim()));
    }
    frame.render_widget(Line::from(title), row(area, 0));
    match state.view() {
        Some(View::Values { .. }) => {}
        Some(View::Nothing(why)) => return say(frame, row(area, 1), why.clone(), theme),
        _ => return say(frame, row(area, 1), waiting(state), theme),
    }
    let Some((columns, values)) = state.matrix() else { return };
    if columns == 0 || values.is_empty() {
        return;
    }
    let (said, before) = under_cursor(state, theme);
    let fits = said.width() + before.as_ref().map_or(0, Span::width) <= usize::from(area.width);
    let (first, second) = match before {
        Some(before) if fits => (Line::from([said.spans, vec![before]].concat()), Line::default()),
        Some(before) => (said, Line::from(before)),
        None => (said, Line::default()),
    };
    frame.render_widget(first, row(area, 1));
    frame.render_widget(second, row(area, 2));
    let shown = Shown { columns, rows: values.len() / columns, values, order: state.column_order() };
    let below = Rect { y: area.y + 3.min(area.height), height: area.height.saturating_sub(4), ..area };
    let last = Rect { y: area.bottom().saturating_sub(1), height: u16::from(area.height > 5), ..area };
    if state.looks.colours {
        let scale = if state.point().block_hook() == Some(BlockHook::Pattern) {
            attention::scale(crate::engine::WhichAttention::Pattern, state.compare(), &shown.values)
        } else {
            Scale::around(&shown.values)
        };
        let labels = |axis| state.labels(axis).iter().map(|l| text::label(l, theme)).collect::<Vec<_>>();
        let (row_labels, column_labels) = (labels(slice.rows), labels(slice.columns));
        let map = Heatmap {
            values: &shown.values,
            rows: shown.rows,
            columns,
            row_labels: &row_labels,
            column_labels: &column_labels,
            scale,
            masked: (slice.rows == Axis::Query && slice.columns == Axis::Key).then_some(f32::NEG_INFINITY),
            order: shown.order.as_deref(),
            cursor: (state.index(slice.rows), state.index(slice.columns)),
            zoom: state.looks.zoom,
        };
        let pool = map.draw(frame.buffer_mut(), below, hits, theme);
        frame.render_widget(attention::legend(scale, pool, state, theme), last);
    } else {
        table(frame, below, &shown, state, hits, theme);
        let order = match state.looks.order {
            Some(at) => format!("columns by {} {at}, largest first", slice.rows),
            None => format!("{}: columns in order of a row", keys.key(Action::Order)),
        };
        let hint = format!("{order}   {}: colours   {}: extreme", keys.key(Action::Layout), keys.key(Action::Extreme));
        let hint = text::cut(&hint, area.width.into(), theme);
        frame.render_widget(Line::from(Span::styled(hint, theme.dim())), last);
    }
}

struct Shown {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
    order: Option<Vec<usize>>,
}

/// The exact value, its place, and the baseline's.
fn under_cursor(state: &State, theme: Theme) -> (Line<'static>, Option<Span<'static>>) {
    let slice = state.slice();
    let (at_row, at_column) = (state.index(slice.rows), state.index(slice.columns));
    let Some(View::Values { columns, values, baseline, .. }) = state.view() else { return Default::default() };
    let flat = at_row * columns + at_column;
    let place = |axis: Axis, at: usize| match (axis, axis.is_position(), state.tokens.get(at)) {
        (Axis::One, ..) => String::new(),
        (_, true, Some(token)) => format!("{axis} {at} \"{}\"  ", text::visible(&token.text, theme)),
        _ => format!("{axis} {at}  "),
    };
    let value = values.get(flat).copied().unwrap_or(f32::NAN);
    let spans = vec![
        Span::raw(place(slice.rows, at_row) + &place(slice.columns, at_column)),
        Span::styled(exact_number(value), theme.title()),
    ];
    let before = baseline.as_ref().and_then(|b| b.get(flat)).map(|before| {
        let style = if before.to_bits() == value.to_bits() { theme.dim() } else { theme.changed() };
        Span::styled(format!("  baseline {}", exact_number(*before)), style)
    });
    (Line::from(spans), before)
}

/// Numbers in columns of one width, as many as fit around the cursor.
fn table(frame: &mut Frame<'_>, area: Rect, shown: &Shown, state: &State, hits: &mut Vec<Region>, theme: Theme) {
    let slice = state.slice();
    let (row_labels, column_labels) = (state.labels(slice.rows), state.labels(slice.columns));
    let row_label = |at: usize| {
        let text = row_labels.get(at).map(|l| text::label(l, theme)).unwrap_or_default();
        if slice.rows.is_position() { format!("{at} {text}") } else { text }
    };
    let across = (usize::from(area.width).saturating_sub(LABEL + 1) / NUMBER).max(1);
    let down = usize::from(area.height).saturating_sub(1);
    let cursor = (state.index(slice.rows), state.index(slice.columns));
    let order = shown.order.as_deref();
    let column = |drawn: usize| order.and_then(|order| order.get(drawn)).copied().unwrap_or(drawn);
    let drawn_cursor = order.and_then(|order| order.iter().position(|c| *c == cursor.1)).unwrap_or(cursor.1);
    let (rows, columns) = (around(cursor.0, down, shown.rows), around(drawn_cursor, across, shown.columns));
    let buffer = frame.buffer_mut();
    for (x, drawn) in columns.clone().enumerate() {
        let label = column_labels.get(column(drawn)).map(|l| text::label(l, theme)).unwrap_or_default();
        let label = if slice.columns == Axis::One { String::new() } else { text::cut(&label, NUMBER - 1, theme) };
        let style = if column(drawn) == cursor.1 { theme.title() } else { theme.dim() };
        let pad = (NUMBER - 1).saturating_sub(unicode_width::UnicodeWidthStr::width(label.as_str()));
        let at = offset(area.x, LABEL + 1 + x * NUMBER);
        put(buffer, at, area.y, format!("{}{label}", " ".repeat(pad)), style);
    }
    for (y, at_row) in rows.clone().enumerate() {
        let screen_y = offset(area.y, y + 1);
        let style = if at_row == cursor.0 { theme.title() } else { theme.dim() };
        let label = text::fit(&row_label(at_row), LABEL, theme);
        put(buffer, area.x, screen_y, label, style);
        for (x, drawn) in columns.clone().enumerate() {
            let value = shown.values[at_row * shown.columns + column(drawn)];
            let style = match (value.is_finite(), (at_row, column(drawn)) == cursor) {
                (_, true) => theme.selected(true),
                (true, _) => ratatui::style::Style::new(),
                (false, _) if value.is_nan() => theme.error(),
                (false, _) => theme.dim(),
            };
            let at = offset(area.x, LABEL + 1 + x * NUMBER);
            let text = format!("{:>width$}", text::number(value.into()), width = NUMBER - 1);
            put(buffer, at, screen_y, text, style);
        }
    }
    let drawn = columns.flat_map(|drawn| std::iter::repeat_n(column(drawn), NUMBER)).collect();
    let area = Rect {
        x: offset(area.x, LABEL + 1),
        y: area.y + 1.min(area.height),
        width: area.width.saturating_sub(13),
        height: area.height.saturating_sub(1),
    };
    hits.push(Region { area, rows: rows.collect(), columns: drawn, hit: Hit::Cell });
}
