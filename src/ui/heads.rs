use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::{
    Theme,
    heatmap::{bracket, offset},
    logits, say,
    shape::waiting,
};
use crate::{
    app::{Score, State},
    engine::View,
};

/// Rows below the map for the scores of the head under the cursor.
const LINES: u16 = 3;

/// Columns of the block names.
const NAMES: usize = 10;

/// Every head of the model, layers down and heads across, coloured by one of its scores.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let title = vec![
        Span::styled(format!("heads by {}", state.score.title()), theme.title()),
        Span::styled("   s: next score   Enter: look at the head", theme.dim()),
    ];
    frame.render_widget(Line::from(title), logits::row(area, 0));
    let Some(View::Heads(scores)) = state.view() else {
        return say(frame, logits::row(area, 1), waiting(state), theme);
    };
    let heads = state.schema.dims.n_heads;
    let room = usize::from(area.width).saturating_sub(NAMES);
    let width = (room / heads.max(1)).min(7);
    let rows = usize::from(area.height.saturating_sub(3 + LINES));
    if width < 1 || rows == 0 {
        return say(frame, logits::row(area, 1), "the panel is too narrow for all heads", theme);
    }
    let highest = match state.score {
        // shares are drawn on the scale of all that a head can give
        Score::Entropy => scores.iter().flatten().map(|s| s.entropy).fold(0.0, f64::max),
        _ => 1.0,
    };
    let first = state.block().saturating_sub(rows / 2).min(scores.len().saturating_sub(rows));
    for (y, (block, row)) in scores.iter().enumerate().skip(first).take(rows).enumerate() {
        let here_row = block == state.block();
        let style = if here_row { theme.title() } else { theme.dim() };
        let screen_y = offset(area.y, y + 2);
        frame.buffer_mut().set_string(area.x, screen_y, format!("{:<NAMES$}", format!("blocks.{block}")), style);
        for (head, scores) in row.iter().enumerate() {
            let value = state.score.of(scores);
            let here = here_row && head == state.head;
            let (content, style) = cell(value, highest, width, here, theme);
            let style = if here { style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED) } else { style };
            frame.buffer_mut().set_string(offset(area.x, NAMES + head * width), screen_y, content, style);
        }
    }
    if let Some(scores) = scores.get(state.block()).and_then(|row| row.get(state.head)) {
        let part = |score: &Score| format!("{} {:.3}", score.title(), score.of(scores));
        let all = Score::ALL.iter().map(part).collect::<Vec<_>>().join(theme.separator());
        let said = Paragraph::new(format!("L{}H{}  {all}", state.block(), state.head)).wrap(Wrap { trim: true });
        let lines = LINES.min(area.height);
        frame.render_widget(said, Rect { y: area.bottom() - lines, height: lines, ..area });
    }
}

fn cell(value: f64, highest: f64, width: usize, here: bool, theme: Theme) -> (String, Style) {
    let share = if highest > 0.0 { value / highest } else { 0.0 };
    let written = if width >= 5 { format!("{value:^width$.2}") } else { " ".repeat(width) };
    match theme.heat(share) {
        Some(_) if here && width == 1 => (" ".into(), Style::new().bg(Color::White)),
        Some(color) => {
            let ink = if share > 0.55 { Color::Black } else { Color::White };
            (bracket(&written, here), Style::new().bg(color).fg(ink))
        }
        None if width >= 5 => (bracket(&written, here), if here { theme.selected(true) } else { Style::new() }),
        None => {
            let shades = theme.shade(share).to_string().repeat(width);
            (shades, if here { theme.selected(true) } else { Style::new() })
        }
    }
}
