use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span, Text},
};

use super::state::{Number, Why};
use crate::{
    engine::Explained,
    keys::{Action, Motion},
    paint::{
        Region, Theme, below,
        heatmap::{self, Heatmap},
        row, say,
        scale::Scale,
        text, titled,
    },
    views::Scene,
};

/// The matrix of parts, its sum, and the strongest parts of either side.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, view: &Why, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
    let choices = [(scene.key(Action::Switch), &["score", "logit"][..], usize::from(view.of == Number::Logit))];
    let token = |pos: usize| {
        let text = scene.tokens().get(pos).map(|t| text::visible(&t.text, theme)).unwrap_or_default();
        format!("{pos} \"{text}\"")
    };
    let title = match view.of {
        Number::Score => format!("query {} key {}", token(scene.cursor.pos), token(scene.cursor.key)),
        Number::Logit => {
            let target = scene.answer().map(|(target, _)| text::visible(&target.text, theme)).unwrap_or_default();
            format!("logit of \"{target}\" after {}", token(scene.cursor.pos))
        }
    };
    frame.render_widget(Line::from(titled(title, &choices, area.width.into(), theme)), row(area, 0));
    let inside = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(1), ..area };
    if let Some(Err(why)) = view.seen(scene) {
        return say(frame, inside, why, theme);
    }
    let Some(shown) = view.shown(scene) else { return say(frame, inside, scene.waiting_for_answer(), theme) };
    for (line, number) in sum(view, &shown, area.width.into(), theme).into_iter().zip(1..=2) {
        frame.render_widget(line, row(area, number));
    }
    #[allow(clippy::cast_possible_truncation, reason = "colours")]
    let values: Vec<f32> = shown.matrix.iter().flatten().map(|x| *x as f32).collect();
    let scale = Scale::around(&values);
    let columns = match view.of {
        Number::Score => shown.columns.clone(),
        Number::Logit => scene.tokens().iter().map(|token| text::label(&token.text, theme)).collect(),
    };
    let map = Heatmap {
        values: &values,
        rows: shown.rows.len(),
        columns: shown.columns.len(),
        row_labels: &shown.rows,
        column_labels: &columns,
        scale,
        masked: None,
        order: None,
        cursor: view.cell,
        zoom: view.zoom,
    };
    let inside = Rect { y: area.y + 3.min(area.height), height: area.height.saturating_sub(6), ..area };
    let drawn = map.draw(frame.buffer_mut(), inside, hits, theme);
    let foot = below(area, drawn.bottom, 3);
    let zoom = scene.key(Action::Move(Motion::Enter));
    frame.render_widget(heatmap::legend(scale, &drawn, &zoom, theme), row(foot, 0));
    let rest = Rect { y: foot.y + 1.min(foot.height), height: area.bottom().saturating_sub(foot.y + 1), ..area };
    let said: Vec<Line<'_>> =
        strongest(view, &shown).iter().flat_map(|side| text::wrap(side, area.width.into())).map(Line::from).collect();
    frame.render_widget(Text::from(said), rest);
}

/// The cell under the cursor, and the sum of the matrix with its error: on one row if there is room.
fn sum(view: &Why, shown: &Explained, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let (row, column) = view.cell;
    let here = shown.matrix.get(row).and_then(|row| row.get(column)).copied().unwrap_or(f64::NAN);
    let name = |names: &[String], at: usize| names.get(at).cloned().unwrap_or_default();
    let place = format!("{} x {} {}", name(&shown.rows, row), name(&shown.columns, column), text::number(here));
    let off = (shown.score - shown.sum).abs();
    let sum = format!("sum {} = {}, error {off:.1e}", text::number(shown.sum), text::number(shown.score));
    let is_short = place.chars().count() + 3 + sum.chars().count() <= width;
    let place = Span::styled(text::cut(&place, width, theme), theme.title());
    let sum = Span::styled(text::cut(&sum, width, theme), theme.dim());
    if is_short {
        return vec![Line::from(vec![place, Span::raw("   "), sum])];
    }
    vec![Line::from(place), Line::from(sum)]
}

/// The strongest rows and columns by their sums.
fn strongest(view: &Why, shown: &Explained) -> [String; 2] {
    let top = |sums: Vec<f64>, names: &[String]| {
        let mut all: Vec<(f64, &String)> = sums.into_iter().zip(names).collect();
        all.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
        let part = |(x, name): &(f64, &String)| format!("{name} {}", text::number(*x));
        all.iter().take(3).map(part).collect::<Vec<_>>().join(", ")
    };
    let rows = top(shown.matrix.iter().map(|row| row.iter().sum()).collect(), &shown.rows);
    let column = |at: usize| shown.matrix.iter().map(|row| row.get(at).copied().unwrap_or(0.0)).sum();
    let columns = top((0..shown.columns.len()).map(column).collect(), &shown.columns);
    match view.of {
        Number::Score => [format!("query side: {rows}"), format!("key side: {columns}")],
        Number::Logit => [format!("components: {rows}"), format!("positions: {columns}")],
    }
}
