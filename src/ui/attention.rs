use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{Theme, heatmap::Heatmap, row, say, scale::Scale, shape::waiting, text};
use crate::{
    analysis::exact_number,
    app::{Action, Region, State},
    engine::{Compare, View, WhichAttention},
    hooks::{BlockHook, HookPoint},
};

/// One head's pattern, scores or value-weighted pattern, with the value under the cursor.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, hits: &mut Vec<Region>, theme: Theme) {
    let mut title = vec![Span::styled(name(state, theme), theme.title())];
    let roomy = area.width >= 70;
    if roomy {
        let keys = state.keymap();
        let more = format!("   {}: {}", keys.key(Action::Switch), state.looks.which.title());
        title.push(Span::styled(more, theme.dim()));
    }
    frame.render_widget(Line::from(title), row(area, 0));
    let (values, baseline) = match state.view() {
        Some(View::Attention { values, baseline }) => (values, baseline.as_ref()),
        Some(View::Nothing(why)) => return say(frame, row(area, 1), why.clone(), theme),
        _ => return say(frame, row(area, 1), waiting(state), theme),
    };
    let n = state.tokens.len();
    let Some((_, shown)) = state.matrix().filter(|(_, shown)| shown.len() == n * n) else { return };
    let said = cell(state, roomy, values, baseline, theme);
    let lines = u16::try_from(said.len()).unwrap_or(1);
    for (text, number) in said.into_iter().zip(1..) {
        frame.render_widget(text, row(area, number));
    }
    let labels: Vec<String> = state.tokens.iter().map(|t| text::label(&t.text, theme)).collect();
    let scale = scale(state.looks.which, state.compare(), &shown);
    let masked = match (state.compare(), state.looks.which) {
        (Compare::Difference, _) | (_, WhichAttention::Pattern | WhichAttention::ValueWeighted) => 0.0,
        (_, WhichAttention::Scores) => f32::NEG_INFINITY,
    };
    let map = Heatmap {
        values: &shown,
        rows: n,
        columns: n,
        row_labels: &labels,
        column_labels: &labels,
        scale,
        masked: Some(masked),
        order: None,
        cursor: state.cell,
        zoom: state.looks.zoom,
    };
    let gap = lines + if area.height > 20 { 2 } else { 1 };
    let below = Rect { y: area.y + gap.min(area.height), height: area.height.saturating_sub(gap + 1), ..area };
    let pool = map.draw(frame.buffer_mut(), below, hits, theme);
    let last = Rect { y: area.bottom().saturating_sub(1), height: u16::from(area.height > 5), ..area };
    frame.render_widget(legend(scale, pool, state, theme), last);
}

/// The head as the edit grammar names it; the value-weighted pattern is no hook, but made of two.
fn name(state: &State, theme: Theme) -> String {
    let (block, head) = (state.block(), state.head);
    match state.looks.which {
        WhichAttention::ValueWeighted => {
            let pattern = HookPoint::Block(block, BlockHook::Pattern);
            let bars = if theme.ascii { ("|", "|") } else { ("‖", "‖") };
            format!("{pattern}[head={head}] x {}hook_v{}", bars.0, bars.1)
        }
        which => format!("{}[head={head}]", HookPoint::Block(block, which.hook())),
    }
}

/// The scale of a pattern is fixed, so that heads can be compared; of the rest, as wide as the values.
pub(super) fn scale(which: WhichAttention, compare: Compare, values: &[f32]) -> Scale {
    match (compare, which) {
        (Compare::Difference, _) => Scale::around(values),
        (_, WhichAttention::Pattern) => Scale::From(0.0, 1.0),
        (_, WhichAttention::Scores) => Scale::spanning(values),
        (_, WhichAttention::ValueWeighted) => match Scale::around(values) {
            Scale::Around(most) => Scale::From(0.0, most),
            other @ Scale::From(..) => other,
        },
    }
}

/// The value under the cursor, with the tokens it is between; the baseline's beside it, or below in a narrow panel.
fn cell(state: &State, roomy: bool, values: &[f32], baseline: Option<&Vec<f32>>, theme: Theme) -> Vec<Line<'static>> {
    let (query, key) = state.cell;
    let token = |pos: usize| {
        let quoted = state.tokens.get(pos).map(|t| text::visible(&t.text, theme)).unwrap_or_default();
        format!("{pos} \"{quoted}\"")
    };
    let at = query * state.tokens.len() + key;
    let value = values.get(at).copied().unwrap_or(f32::NAN);
    let arrow = if theme.ascii { "->" } else { "→" };
    let place = match roomy {
        true => format!("query {} {arrow} key {}  {} ", token(query), token(key), state.looks.which.title()),
        false => format!("{} {arrow} {}  ", token(query), token(key)),
    };
    let now = vec![Span::raw(place), Span::styled(exact_number(value), theme.title())];
    let Some(before) = baseline.and_then(|b| b.get(at)) else { return vec![Line::from(now)] };
    let style = if before.to_bits() == value.to_bits() { theme.dim() } else { theme.changed() };
    let before = Span::styled(format!("baseline {}", exact_number(*before)), style);
    match roomy {
        true => vec![Line::from([now, vec![Span::raw("  "), before]].concat())],
        false => vec![Line::from(now), Line::from(before)],
    }
}

/// The colour scale, and what a cell stands for where not every value has one.
pub(super) fn legend(scale: Scale, pool: (usize, usize), state: &State, theme: Theme) -> Line<'static> {
    let mut spans = scale.legend(theme);
    if pool != (1, 1) {
        let cross = if theme.ascii { "x" } else { "×" };
        let what = if matches!(scale, Scale::Around(_)) { "furthest from 0" } else { "max" };
        let note = format!("  cell: {what} of {} {cross} {}", pool.0, pool.1);
        spans.push(Span::styled(note, theme.changed()));
        spans.push(Span::styled(format!("  {}: zoom", state.keymap().key(Action::Enter)), theme.dim()));
    }
    Line::from(spans)
}
