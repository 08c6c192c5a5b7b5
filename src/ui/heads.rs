use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::{Theme, grid::Grid, row, say, scale::Scale, shape::waiting};
use crate::{
    analysis::{Score, ScoreUnit},
    app::{Action, Hit, Region, State},
    engine::{Compare, View},
};

/// Rows below the map for the scores of the head under the cursor.
const LINES: u16 = 3;

/// Every head of the model, layers down and heads across, coloured by one of its scores.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, hits: &mut Vec<Region>, theme: Theme) {
    let keys = state.keymap();
    let title = vec![
        Span::styled(format!("heads by {}", state.looks.score.title()), theme.title()),
        Span::styled(format!("   {}: next score", keys.key(Action::Switch)), theme.dim()),
    ];
    frame.render_widget(Line::from(title), row(area, 0));
    let shown = state.compared();
    let Some(View::Heads { scores, .. }) = shown.as_deref() else {
        return say(frame, row(area, 1), waiting(state), theme);
    };
    let heads = state.schema.dims.n_heads;
    let value = |block: usize, head: usize| {
        scores.get(block).and_then(|row| row.get(head)).map_or(f64::NAN, |s| state.looks.score.of(s))
    };
    let all = || (0..scores.len()).flat_map(|b| (0..heads).map(move |h| (b, h))).map(|(b, h)| value(b, h).abs());
    let scale = match (state.compare(), state.looks.score.unit()) {
        (Compare::Difference, _) => Scale::Around(all().fold(0.0, f64::max)),
        (Compare::Edited | Compare::Baseline, ScoreUnit::Nats) => Scale::From(0.0, all().fold(0.0, f64::max)),
        // shares are drawn on the scale of all that a head can give
        (Compare::Edited | Compare::Baseline, ScoreUnit::Share) => Scale::From(0.0, 1.0),
    };
    let rows: Vec<String> = (0..scores.len()).map(|block| format!("blocks.{block}")).collect();
    let columns: Vec<String> = (0..heads).map(|head| head.to_string()).collect();
    let grid = Grid {
        rows: &rows,
        columns: &columns,
        apart: None,
        value: &|block, head| Some(value(block, head)),
        scale,
        cursor: Some((state.block(), state.head)),
        hit: Hit::Head,
    };
    let below = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(2 + LINES), ..area };
    grid.draw(frame, below, hits, theme);
    if let Some(scores) = scores.get(state.block()).and_then(|row| row.get(state.head)) {
        let part = |score: &Score| format!("{} {:.3}", score.title(), score.of(scores));
        let all = Score::ALL.iter().map(part).collect::<Vec<_>>().join(theme.separator());
        let said = Paragraph::new(format!("L{}H{}  {all}", state.block(), state.head)).wrap(Wrap { trim: true });
        let lines = LINES.min(area.height);
        frame.render_widget(said, Rect { y: area.bottom() - lines, height: lines, ..area });
    }
}
