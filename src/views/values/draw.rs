//! The values of the selected hook along two of its axes: as numbers, or as colours.

use std::borrow::Cow;

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{axes, state::Values};
use crate::{
    analysis::exact_number,
    engine::{Compare, Matrix, Reading},
    hooks::{Axis, BlockHook},
    keys::{Action, Motion},
    paint::{
        ColorDepth, Hit, Region, Theme, below, compared_value,
        heatmap::{self, Heatmap, around, offset},
        put, row, say,
        scale::Scale,
        text, titled,
    },
    views::Scene,
};

/// Columns of a number, its gap included.
const NUMBER: usize = 11;
/// Most columns of a row's label.
const LABEL: usize = 12;

pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Values,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let (slice, keys) = (view.slice(scene), &scene.keys);
    let fixed = slice.fixed.filter(|(axis, _)| *axis != Axis::One);
    let fixed = fixed
        .map(|(axis, at)| format!("[{axis}={at}] {} {}", keys.key(Action::PreviousHead), keys.key(Action::NextHead)));
    let name = format!("{}{}", scene.point(), fixed.unwrap_or_default());
    let name = scene.title_of(&name, area.width.into(), theme);
    let pairs: Vec<String> = axes::pairs(&scene.schema.axes(scene.point())).into_iter().map(axes::title).collect();
    let pairs: Vec<&str> = pairs.iter().map(String::as_str).collect();
    let forms = (keys.key(Action::ChangeLayout), &["numbers", "colours"][..], usize::from(view.colours));
    let at = view.pair % pairs.len().max(1);
    let choices = [(keys.key(Action::Switch), &pairs[..], at), forms];
    let first = usize::from(pairs.len() < 2);
    frame.render_widget(Line::from(titled(name, &choices[first..], area.width.into(), theme)), row(area, 0));
    if let Some(Err(why)) = view.seen(scene) {
        return say(frame, row(area, 1), why, theme);
    }
    let Some((columns, values)) = view.shown(scene) else {
        return say(frame, row(area, 1), scene.waiting_for_numbers(), theme);
    };
    if columns == 0 || values.is_empty() {
        return;
    }
    for (line, number) in under_cursor(view, scene, area.width.into(), theme).into_iter().zip(1..=2) {
        frame.render_widget(line, row(area, number));
    }
    let shown = Shown { columns, rows: values.len() / columns, values, order: view.column_order(scene) };
    let inside = Rect { y: area.y + 3.min(area.height), height: area.height.saturating_sub(4), ..area };
    let last = Rect { y: area.bottom().saturating_sub(1), height: u16::from(area.height > 5), ..area };
    if view.colours {
        let scale = match (scene.point().block_hook(), scene.compare(), scene.reading) {
            // fixed, so that heads can be compared
            (Some(BlockHook::Pattern), Compare::Edited | Compare::Baseline, Reading::Value) => Scale::From(0.0, 1.0),
            _ => Scale::around(&shown.values),
        };
        let labels = |axis| scene.labels(axis).iter().map(|l| text::label(l, theme)).collect::<Vec<_>>();
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
            cursor: view.place(scene),
            zoom: view.zoom,
        };
        let drawn = map.draw(frame.buffer_mut(), inside, hits, theme);
        let last = below(area, drawn.bottom, last.height);
        frame.render_widget(heatmap::legend(scale, &drawn, &keys.key(Action::Move(Motion::Enter)), theme), last);
    } else {
        table(frame, inside, &shown, view, scene, hits, theme);
        let order = match view.sorted_by {
            Some(at) => format!("columns by {} {at}, largest first", slice.rows),
            None => format!("{}: sort the columns by this row", keys.key(Action::SortColumns)),
        };
        let hint = [order, format!("{}: extreme", keys.key(Action::Extreme))];
        let hint = text::joined(&hint, "   ", area.width.into(), theme);
        frame.render_widget(Line::from(Span::styled(hint, theme.dim())), last);
    }
}

struct Shown<'a> {
    rows: usize,
    columns: usize,
    values: Cow<'a, [f32]>,
    order: Option<Vec<usize>>,
}

/// The value under the cursor, its place, and the baseline's.
fn under_cursor(view: &Values, scene: &Scene, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let Some(Ok(Matrix { columns, values, .. })) = view.seen(scene) else { return vec![] };
    let (row, column) = view.place(scene);
    let at = row * columns + column;
    let value = values.run.get(at).copied().unwrap_or(f32::NAN);
    let before = values.baseline.as_ref().and_then(|b| b.get(at)).copied();
    compared_value(
        &[place_of(view, scene, (row, column), theme)],
        value,
        before.map(|before| (scene.side(Compare::Baseline), before)),
        width,
        theme,
    )
}

/// A place by its indices, with the tokens of positions.
fn place_of(view: &Values, scene: &Scene, (row, column): Hit, theme: Theme) -> String {
    let slice = view.slice(scene);
    let place = |axis: Axis, at: usize| match (axis, axis.is_position(), scene.tokens().get(at)) {
        (Axis::One, ..) => String::new(),
        (_, true, Some(token)) => format!("{axis} {at} \"{}\"  ", text::visible(&token.text, theme)),
        _ => format!("{axis} {at}  "),
    };
    place(slice.rows, row) + &place(slice.columns, column)
}

/// What is at a place, in one line.
pub(super) fn describe(view: &Values, scene: &Scene, hit: Hit) -> Option<String> {
    let (columns, values) = view.shown(scene)?;
    let value = *values.get(hit.0 * columns + hit.1)?;
    let theme = Theme { depth: ColorDepth::None, ascii: false, light: false, pixels: None };
    Some(format!("{}{}", place_of(view, scene, hit, theme), exact_number(value)))
}

/// Numbers in columns of one width, as many as fit around the cursor.
fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    shown: &Shown<'_>,
    view: &Values,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let slice = view.slice(scene);
    let (row_labels, column_labels) = (scene.labels(slice.rows), scene.labels(slice.columns));
    let digits = shown.rows.saturating_sub(1).to_string().len();
    let row_label = |at: usize| {
        let text = row_labels.get(at).map(|l| text::label(l, theme)).unwrap_or_default();
        match (slice.rows.is_position(), text.parse::<usize>()) {
            (true, _) => format!("{at:>digits$} {text}"),
            (false, Ok(_)) => format!("{text:>digits$}"),
            (false, Err(_)) => text,
        }
    };
    let across = (usize::from(area.width).saturating_sub(LABEL + 1) / NUMBER).max(1);
    let down = usize::from(area.height).saturating_sub(1);
    let cursor = view.place(scene);
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
    hits.push(Region::cells(area, rows.collect(), drawn));
}
