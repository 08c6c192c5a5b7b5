use std::borrow::Cow;

use ratatui::{Frame, layout::Rect, text::Line};

use super::state::Attention;
use crate::{
    analysis::exact_number,
    engine::{Compare, Reading, WhichAttention, WithBaseline},
    hooks::{BlockHook, Caution, Edit, HookPoint},
    keys::{Action, Motion},
    paint::{
        Hit, Region, Theme, below, compared_value,
        heatmap::{self, Heatmap},
        row, say,
        scale::Scale,
        text, titled,
    },
    views::Scene,
};

/// One head's pattern, scores or value-weighted pattern, with the value under the cursor.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Attention,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let title = titled(name(view, scene, area.width.into(), theme), &view.choices(scene), area.width.into(), theme);
    frame.render_widget(Line::from(title), row(area, 0));
    let head = match view.seen_head(scene) {
        Some(Ok(head)) => head,
        Some(Err(why)) => return say(frame, row(area, 1), why, theme),
        None => return say(frame, row(area, 1), scene.waiting_for_numbers(), theme),
    };
    let n = scene.tokens().len();
    let Some(shown) = view.matrix(scene).filter(|shown| shown.len() == n * n) else { return };
    let said = cell(view, scene, area.width.into(), head, theme);
    let lines = u16::try_from(said.len()).unwrap_or(1);
    for (text, number) in said.into_iter().zip(1..) {
        frame.render_widget(text, row(area, number));
    }
    let labels: Vec<String> = scene.tokens().iter().map(|t| text::label(&t.text, theme)).collect();
    let scale = scale_of(view.which, scene, &shown);
    let masked = match (scene.compare(), view.which, scene.reading) {
        (Compare::Edited | Compare::Baseline, WhichAttention::Scores, Reading::Value) => f32::NEG_INFINITY,
        (Compare::Edited | Compare::Difference | Compare::Baseline, ..) => 0.0,
    };
    let shown = without_masked(shown, n, masked, scene);
    let map = Heatmap {
        values: &shown,
        rows: n,
        columns: n,
        row_labels: &labels,
        column_labels: &labels,
        scale,
        masked: Some(masked),
        order: None,
        cursor: (scene.cursor.pos, scene.cursor.key),
        zoom: view.zoom,
    };
    let gap = lines + if area.height > 20 { 2 } else { 1 };
    let inside = Rect { y: area.y + gap.min(area.height), height: area.height.saturating_sub(gap + 1), ..area };
    let drawn = map.draw(frame.buffer_mut(), inside, hits, theme);
    let last = below(area, drawn.bottom, u16::from(area.height > 5));
    let zoom = scene.keys.key(Action::Move(Motion::Enter));
    frame.render_widget(heatmap::legend(scale, &drawn, &zoom, theme), last);
}

/// The matrix with the mask's own value wherever a key comes after the query, for gradients: a gradient there is of a value that
/// the mask takes out, unless an edit unmasks it.
fn without_masked<'a>(shown: Cow<'a, [f32]>, n: usize, masked: f32, scene: &Scene) -> Cow<'a, [f32]> {
    let unmasks =
        |edit: &Edit| scene.setting().plan(edit).ok().and_then(|plan| plan.caution()) == Some(Caution::Unmasks);
    if scene.reading == Reading::Value || scene.edits.active().iter().any(unmasks) {
        return shown;
    }
    let cell = |(at, value): (usize, &f32)| if at % n > at / n { masked } else { *value };
    shown.iter().enumerate().map(cell).collect()
}

/// The columns of the cell labels, and the rows around the map.
const LABELS: usize = 11;
const AROUND: usize = 5;

/// Whether a map of `n` tokens shows each value as a number in a view of this size.
pub(super) fn numbers_fit(n: usize, room: (usize, usize)) -> bool {
    room.0.saturating_sub(LABELS) >= 7 * n && room.1.saturating_sub(AROUND) >= n
}

/// The head as the edit grammar names it, shortened in a narrow view; the value-weighted pattern is not a hook, but
/// computed from two.
fn name(view: &Attention, scene: &Scene, room: usize, theme: Theme) -> String {
    let (block, head) = (scene.block(), scene.cursor.head);
    let name = match view.which {
        _ if room < 70 => format!("L{block}H{head}"),
        WhichAttention::ValueWeighted => {
            let pattern = HookPoint::Block(block, BlockHook::Pattern);
            let bars = if theme.ascii { ("|", "|") } else { ("‖", "‖") };
            format!("{pattern}[head={head}] x {}hook_v{}", bars.0, bars.1)
        }
        which @ (WhichAttention::Pattern | WhichAttention::Scores) => {
            format!("{}[head={head}]", HookPoint::Block(block, which.hook()))
        }
    };
    scene.title_of(&name, room, theme)
}

/// The scale of a pattern is fixed, so that heads can be compared; other matrices use the range of their values.
/// Differences and gradients have signs.
pub(super) fn scale_of(which: WhichAttention, scene: &Scene, values: &[f32]) -> Scale {
    if scene.is_signed() {
        return Scale::around(values);
    }
    match which {
        WhichAttention::Pattern => Scale::From(0.0, 1.0),
        WhichAttention::Scores => Scale::spanning(values),
        WhichAttention::ValueWeighted => match Scale::around(values) {
            Scale::Around(most) => Scale::From(0.0, most),
            other @ Scale::From(..) => other,
        },
    }
}

/// The value under the cursor with its two tokens, and the baseline's value beside it or, in a narrow panel, below.
fn cell(
    view: &Attention,
    scene: &Scene,
    width: usize,
    head: &WithBaseline<Vec<f32>>,
    theme: Theme,
) -> Vec<Line<'static>> {
    let hit = (scene.cursor.pos, scene.cursor.key);
    let at = hit.0 * scene.tokens().len() + hit.1;
    let value = head.run.get(at).copied().unwrap_or(f32::NAN);
    let before = head.baseline.as_ref().and_then(|b| b.get(at)).copied();
    let what = scene.title_of(view.which.title(), width, theme);
    let long = format!("query {} key {}  {what} ", token(scene, hit.0, theme), token(scene, hit.1, theme));
    let arrow = if theme.ascii { "->" } else { "→" };
    let short = format!("{} {arrow} {}  ", token(scene, hit.0, theme), token(scene, hit.1, theme));
    compared_value(&[long, short], value, before.map(|before| (scene.side(Compare::Baseline), before)), width, theme)
}

fn token(scene: &Scene, pos: usize, theme: Theme) -> String {
    let quoted = scene.tokens().get(pos).map(|t| text::visible(&t.text, theme)).unwrap_or_default();
    format!("{pos} \"{quoted}\"")
}

/// The value at a place, in one line.
pub(super) fn describe(view: &Attention, scene: &Scene, (query, key): Hit) -> Option<String> {
    let value = *view.matrix(scene)?.get(query * scene.tokens().len() + key)?;
    let token = |pos: usize| scene.tokens().get(pos).map(|t| format!("{pos} {:?}", t.text)).unwrap_or_default();
    Some(format!("query {} key {}: {}", token(query), token(key), exact_number(value)))
}
