use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{Theme, heatmap::Heatmap, say, shape::waiting, text};
use crate::{
    app::State,
    engine::{View, WhichAttention},
    hooks::HookPoint,
};

/// One head's pattern or scores, with the value under the cursor.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let block = state.block();
    let which = match state.which {
        WhichAttention::Pattern => "pattern",
        WhichAttention::Scores => "scores",
    };
    let name = HookPoint::Block(block, state.which.hook());
    let mut title = vec![Span::styled(format!("{name}[head={}]", state.head), theme.title())];
    if area.width >= 70 {
        let more = format!("   {} heads   s: {}", state.schema.dims.n_heads, other(state.which));
        title.push(Span::styled(more, theme.dim()));
    }
    frame.render_widget(Line::from(title), line(area, 0));
    let (values, baseline) = match state.view() {
        Some(View::Attention { values, baseline }) => (values, baseline.as_ref()),
        Some(View::Nothing(why)) => return say(frame, line(area, 1), why.clone(), theme),
        _ => return say(frame, line(area, 1), waiting(state), theme),
    };
    let n = state.tokens.len();
    if values.len() != n * n {
        return;
    }
    let said = cell(state, (area.width >= 70).then_some(which), values, baseline, theme);
    let lines = u16::try_from(said.len()).unwrap_or(1);
    for (text, number) in said.into_iter().zip(1..) {
        frame.render_widget(text, line(area, number));
    }
    let labels: Vec<String> = state.tokens.iter().map(|t| text::label(&t.text, theme)).collect();
    let (range, blank) = match state.which {
        WhichAttention::Pattern => ((0.0, 1.0), 0.0),
        WhichAttention::Scores => (finite_range(values), f32::NEG_INFINITY),
    };
    let map = Heatmap { values, n, labels: &labels, range, blank, cursor: state.cell };
    let gap = lines + if area.height > 20 { 2 } else { 1 };
    let below = Rect { y: area.y + gap.min(area.height), height: area.height.saturating_sub(gap + 1), ..area };
    let pool = map.draw(frame.buffer_mut(), below, theme);
    let last = Rect { y: area.bottom().saturating_sub(1), height: u16::from(area.height > 5), ..area };
    frame.render_widget(legend(range, pool, theme), last);
}

fn other(which: WhichAttention) -> &'static str {
    match which {
        WhichAttention::Pattern => "scores",
        WhichAttention::Scores => "pattern",
    }
}

fn line(area: Rect, number: u16) -> Rect {
    Rect { y: area.y + number.min(area.height), height: u16::from(number < area.height), ..area }
}

/// The value under the cursor, with the tokens it is between; the baseline's beside it, or below in a narrow panel.
fn cell(
    state: &State,
    which: Option<&str>,
    values: &[f32],
    baseline: Option<&Vec<f32>>,
    theme: Theme,
) -> Vec<Line<'static>> {
    let (query, key) = state.cell;
    let token = |pos: usize| {
        let quoted = state.tokens.get(pos).map(|t| text::visible(&t.text, theme)).unwrap_or_default();
        format!("{pos} \"{quoted}\"")
    };
    let at = query * state.tokens.len() + key;
    let value = values.get(at).copied().unwrap_or(f32::NAN);
    let arrow = if theme.ascii { "->" } else { "→" };
    let place = match which {
        Some(which) => format!("query {} {arrow} key {}  {which} ", token(query), token(key)),
        None => format!("{} {arrow} {}  ", token(query), token(key)),
    };
    let now = vec![Span::raw(place), Span::styled(exact(value), theme.title())];
    let Some(before) = baseline.and_then(|b| b.get(at)) else { return vec![Line::from(now)] };
    let style = if before.to_bits() == value.to_bits() { theme.dim() } else { theme.changed() };
    let before = Span::styled(format!("baseline {}", exact(*before)), style);
    match which {
        Some(_) => vec![Line::from([now, vec![Span::raw("  "), before]].concat())],
        None => vec![Line::from(now), Line::from(before)],
    }
}

/// A value with every digit that f32 has.
fn exact(value: f32) -> String {
    if value == 0.0 || (1e-4..1e6).contains(&value.abs()) || !value.is_finite() {
        format!("{value}")
    } else {
        format!("{value:e}")
    }
}

fn finite_range(values: &[f32]) -> (f64, f64) {
    let finite = values.iter().copied().filter(|x| x.is_finite());
    let (low, high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    if low <= high { (low.into(), high.into()) } else { (0.0, 1.0) }
}

/// The colour scale, and what a cell stands for where not every value has one.
fn legend(range: (f64, f64), pool: (usize, usize), theme: Theme) -> Line<'static> {
    const STEPS: u32 = 12;
    let mut spans = vec![Span::styled(format!("{} ", text::number(range.0)), theme.dim())];
    for step in 0..STEPS {
        let share = f64::from(step) / f64::from(STEPS - 1);
        spans.push(match theme.heat(share) {
            Some(color) => Span::styled(" ", ratatui::style::Style::new().bg(color)),
            None => Span::raw(theme.shade(share).to_string()),
        });
    }
    spans.push(Span::styled(format!(" {}", text::number(range.1)), theme.dim()));
    if pool != (1, 1) {
        let cross = if theme.ascii { "x" } else { "×" };
        let note = format!("  cell: max of {} queries {cross} {} keys", pool.0, pool.1);
        spans.push(Span::styled(note, theme.changed()));
    }
    Line::from(spans)
}
