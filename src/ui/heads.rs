use ratatui::{
    Frame,
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::{
    Theme, comparison,
    heatmap::{around, bracket, offset},
    put, row, say,
    scale::Scale,
    shape::waiting,
};
use crate::{
    analysis::HeadScores,
    app::{Action, Hit, Region, Score, State},
    engine::{Compare, View},
};

/// Rows below the map for the scores of the head under the cursor.
const LINES: u16 = 3;

/// Columns of the block names.
const NAMES: usize = 10;

/// Every head of the model, layers down and heads across, coloured by one of its scores.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, hits: &mut Vec<Region>, theme: Theme) {
    let keys = state.keymap();
    let mut title = vec![
        Span::styled(format!("heads by {}", state.looks.score.title()), theme.title()),
        Span::styled(format!("   {}: next score", keys.key(Action::Switch)), theme.dim()),
    ];
    title.extend(comparison(state, theme));
    frame.render_widget(Line::from(title), row(area, 0));
    let Some(View::Heads { scores, baseline }) = state.view() else {
        return say(frame, row(area, 1), waiting(state), theme);
    };
    let heads = state.schema.dims.n_heads;
    let room = usize::from(area.width).saturating_sub(NAMES);
    let width = (room / heads.max(1)).min(7);
    let rows = usize::from(area.height.saturating_sub(3 + LINES));
    if width < 1 || rows == 0 {
        return say(frame, row(area, 1), "the panel is too narrow for all heads", theme);
    }
    let score = |map: &[Vec<HeadScores>], block: usize, head: usize| {
        map.get(block).and_then(|row| row.get(head)).map_or(0.0, |s| state.looks.score.of(s))
    };
    let value = |block: usize, head: usize| match (state.compare(), baseline) {
        (Compare::Difference, Some(before)) => score(scores, block, head) - score(before, block, head),
        (Compare::Baseline, Some(before)) => score(before, block, head),
        _ => score(scores, block, head),
    };
    let all = || (0..scores.len()).flat_map(|b| (0..heads).map(move |h| (b, h))).map(|(b, h)| value(b, h).abs());
    let scale = match (state.compare(), state.looks.score) {
        (Compare::Difference, _) => Scale::Around(all().fold(0.0, f64::max)),
        (_, Score::Entropy) => Scale::From(0.0, all().fold(0.0, f64::max)),
        // shares are drawn on the scale of all that a head can give
        _ => Scale::From(0.0, 1.0),
    };
    for head in (0..heads).filter(|head| width >= 3 || head % 5 == 0) {
        let style = if head == state.head { theme.title() } else { theme.dim() };
        let at = offset(area.x, NAMES + head * width + width.saturating_sub(2) / 2);
        put(frame.buffer_mut(), at, area.y + 1.min(area.height), head.to_string(), style);
    }
    let visible = around(state.block(), rows, scores.len());
    for (y, block) in visible.clone().enumerate() {
        let here_row = block == state.block();
        let style = if here_row { theme.title() } else { theme.dim() };
        let screen_y = offset(area.y, y + 2);
        put(frame.buffer_mut(), area.x, screen_y, format!("{:<NAMES$}", format!("blocks.{block}")), style);
        for head in 0..heads {
            let here = here_row && head == state.head;
            let (content, style) = cell(value(block, head), scale, width, here, theme);
            let style = if here { style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED) } else { style };
            put(frame.buffer_mut(), offset(area.x, NAMES + head * width), screen_y, content, style);
        }
    }
    let columns = (0..heads).flat_map(|head| std::iter::repeat_n(head, width)).collect();
    let grid = Rect { x: offset(area.x, NAMES), y: area.y + 2, ..area }.intersection(area);
    hits.push(Region { area: grid, rows: visible.collect(), columns, hit: Hit::Head });
    if let Some(scores) = scores.get(state.block()).and_then(|row| row.get(state.head)) {
        let part = |score: &Score| format!("{} {:.3}", score.title(), score.of(scores));
        let all = Score::ALL.iter().map(part).collect::<Vec<_>>().join(theme.separator());
        let said = Paragraph::new(format!("L{}H{}  {all}", state.block(), state.head)).wrap(Wrap { trim: true });
        let lines = LINES.min(area.height);
        frame.render_widget(said, Rect { y: area.bottom() - lines, height: lines, ..area });
    }
}

fn cell(value: f64, scale: Scale, width: usize, here: bool, theme: Theme) -> (String, Style) {
    let written = if width >= 5 { format!("{value:^width$.2}") } else { " ".repeat(width) };
    let paint = scale.paint(value, theme);
    match paint.color {
        Some(_) if here && width < 5 => (format!("{:<width$}", "◆"), paint.background()),
        Some(_) => (bracket(&written, here), paint.background()),
        None if width >= 5 => (bracket(&written, here), if here { theme.selected(true) } else { paint.shade_style }),
        None => {
            let shades = paint.shade.to_string().repeat(width);
            (shades, if here { theme.selected(true) } else { paint.shade_style })
        }
    }
}
