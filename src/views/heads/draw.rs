use ratatui::{
    Frame,
    layout::Rect,
    text::Line,
    widgets::{Paragraph, Wrap},
};

use super::state::{Heads, OfEveryHead, shown};
use crate::{
    analysis::{Score, ScoreUnit},
    engine::Compare,
    keys::Action,
    paint::{Region, Theme, below, grid::Grid, row, say, scale::Scale, titled},
    views::Scene,
};

/// Rows below the map for the scores of the head under the cursor.
const LINES: u16 = 3;

/// Every head of the model, layers down and heads across, coloured by one of its scores.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Heads,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let titles = Score::ALL.map(Score::title);
    let at = Score::ALL.iter().position(|score| *score == view.score).unwrap_or(0);
    let choices = [(scene.key(Action::Switch), &titles[..], at)];
    frame.render_widget(Line::from(titled("heads".into(), &choices, area.width.into(), theme)), row(area, 0));
    let Some(scores) = shown(scene) else {
        return say(frame, row(area, 1), scene.unanswered(&OfEveryHead), theme);
    };
    let heads = scene.schema.dims.n_heads;
    let value = |block: usize, head: usize| {
        scores.get(block).and_then(|row| row.get(head)).map_or(f64::NAN, |s| view.score.of(s))
    };
    let all = || (0..scores.len()).flat_map(|b| (0..heads).map(move |h| (b, h))).map(|(b, h)| value(b, h).abs());
    let scale = match (scene.compare(), view.score.unit()) {
        (Compare::Difference, _) => Scale::Around(all().fold(0.0, f64::max)),
        (Compare::Edited | Compare::Baseline, ScoreUnit::Nats) => Scale::From(0.0, all().fold(0.0, f64::max)),
        // shares use the whole range from 0 to 1
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
        cursor: Some((scene.block(), scene.cursor.head)),
    };
    let inside = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(2 + LINES), ..area };
    let bottom = grid.draw(frame, inside, hits, theme);
    let foot = below(area, bottom, LINES + 1);
    frame.render_widget(Line::from(scale.legend(theme)), Rect { height: foot.height.min(1), ..foot });
    if let Some(scores) = scores.get(scene.block()).and_then(|row| row.get(scene.cursor.head)) {
        let part = |score: &Score| format!("{} {:.3}", score.title(), score.of(scores));
        let all = Score::ALL.iter().map(part).collect::<Vec<_>>().join(theme.separator());
        let said = Paragraph::new(format!("L{}H{}  {all}", scene.block(), scene.cursor.head)).wrap(Wrap { trim: true });
        frame.render_widget(
            said,
            Rect { y: foot.y + foot.height.min(1), height: foot.height.saturating_sub(1), ..foot },
        );
    }
}
