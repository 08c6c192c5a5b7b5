//! Direct logit attribution: what each component of the residual stream gives the target's logit.

use ratatui::{
    Frame,
    layout::Rect,
    style::Modifier,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use super::{
    Theme, comparison,
    heatmap::{around, bracket, offset},
    put, row, say,
    scale::Scale,
    shape::waiting,
    text,
};
use crate::{
    app::{Action, Component, Hit, Region, State},
    engine::{Attribution, Compare, View},
};

/// Columns of a component's name.
const NAME: usize = 20;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, hits: &mut Vec<Region>, theme: Theme) {
    let Some((target, distractor)) = state.answer() else { return say(frame, area, waiting(state), theme) };
    let token = |text: &str| format!("\"{}\"", text::visible(text, theme));
    let minus = if theme.ascii { "-" } else { "−" };
    let of = match &distractor {
        Some(distractor) => format!("{} {minus} {}", token(&target.text), token(&distractor.text)),
        None => token(&target.text),
    };
    let mut title = vec![Span::styled(format!("logit of {of}"), theme.title())];
    let after = state.tokens.get(state.cell.0).map(|t| token(&t.text)).unwrap_or_default();
    title.push(Span::styled(format!("   after {} {after}", state.cell.0), theme.dim()));
    title.extend(comparison(state, theme));
    frame.render_widget(Line::from(title), row(area, 0));
    let (parts, baseline) = match state.view() {
        Some(View::Attribution { parts, baseline }) => (parts, baseline.as_ref()),
        Some(View::Nothing(why)) => return say(frame, row(area, 1), why.clone(), theme),
        _ => return say(frame, row(area, 1), waiting(state), theme),
    };
    frame.render_widget(sum(parts, area.width.into(), theme), row(area, 1));
    let below = Rect { y: area.y + 3.min(area.height), height: area.height.saturating_sub(4), ..area };
    if state.looks.map {
        map(frame, below, parts, state, hits, theme);
    } else {
        bars(frame, below, parts, baseline, state, hits, theme);
    }
    let keys = state.keymap();
    let hint = format!(
        "{}: {}   {}: go to it   {}: ablate it",
        keys.key(Action::Layout),
        if state.looks.map { "bars" } else { "map" },
        keys.key(Action::Enter),
        keys.key(Action::Ablate)
    );
    let last = Rect { y: area.bottom().saturating_sub(1), height: u16::from(area.height > 5), ..area };
    frame.render_widget(Line::from(Span::styled(text::cut(&hint, area.width.into(), theme), theme.dim())), last);
}

/// That the parts sum to the logit, in numbers.
fn sum(parts: &Attribution, width: usize, theme: Theme) -> Line<'static> {
    let n = |x: f64| format!("{x:.4}");
    let past = Component::all(parts).contains(&Component::Remainder);
    let rest = if past { parts.remainder() } else { 0.0 };
    let off = (parts.remainder() - rest).abs();
    let long = format!("components {} + unembedding's bias {}", n(parts.sum()), n(parts.constant));
    let long = if past { format!("{long} + past the components {}", n(rest)) } else { long };
    let short = format!("{} + {}", n(parts.sum()), n(parts.constant));
    let short = if past { format!("{short} + {}", n(rest)) } else { short };
    let exact = |name: &str| format!(" = {name}{}", n(parts.logit));
    let off = format!("   off by {off:.1e}");
    let (sum, exact, off) = if long.len() + exact("logit ").len() + off.len() <= width {
        (long, exact("logit "), off)
    } else {
        (short, exact("logit "), String::new())
    };
    Line::from(vec![Span::raw(sum), Span::styled(exact, theme.title()), Span::styled(off, theme.dim())])
}

/// The components, the largest first, as bars to the left and right of 0.
fn bars(
    frame: &mut Frame<'_>,
    area: Rect,
    parts: &Attribution,
    baseline: Option<&Attribution>,
    state: &State,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let all = state.components();
    let Some(chosen) = state.chosen_component() else { return };
    let at = all.iter().position(|c| *c == chosen).unwrap_or(0);
    let visible = around(at, area.height.into(), all.len());
    let most = all.first().map_or(0.0, |c| state.attributed(*c).abs());
    let baseline = baseline.filter(|_| state.compare() == Compare::Edited);
    let numbers = 9 + if baseline.is_some() { 12 } else { 0 };
    let half = usize::from(area.width).saturating_sub(NAME + numbers + 3) / 2;
    for (y, number) in visible.clone().enumerate() {
        let component = all[number];
        let value = state.attributed(component);
        let style = if component == chosen { theme.selected(true) } else { ratatui::style::Style::new() };
        let name = text::fit(&component.name(), NAME, theme);
        let mut spans = vec![Span::styled(name, style), Span::raw(format!(" {value:>8.4}"))];
        if let Some(before) = baseline.map(|before| component.of(before)) {
            let style = if (before - component.of(parts)).abs() > 5e-5 { theme.changed() } else { theme.dim() };
            let arrow = if theme.ascii { "<" } else { "←" };
            spans.push(Span::styled(format!(" {arrow} {before:>8.4}"), style));
        }
        if half > 2 && most > 0.0 {
            spans.extend(bar(value / most, half, theme));
        }
        frame.render_widget(Line::from(spans), Rect { y: offset(area.y, y), height: 1, ..area });
        let region = Rect { y: offset(area.y, y), height: 1, ..area }.intersection(area);
        hits.push(hit(region, component));
    }
}

/// A bar from the middle: to the right above 0, to the left below.
fn bar(share: f64, half: usize, theme: Theme) -> Vec<Span<'static>> {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a bar's length"
    )]
    let length = (share.abs().min(1.0) * half as f64 * 8.0).round() as usize;
    let axis = Span::styled(if theme.ascii { "|" } else { "│" }, theme.dim());
    if share < 0.0 {
        // to the left a terminal has a whole column, its half and its eighth
        let end = match (theme.ascii, length % 8) {
            (_, 0) => "",
            (true, _) => "-",
            (false, 1..=2) => "▕",
            (false, 3..=5) => "▐",
            (false, _) => "█",
        };
        let full = end.to_string() + &if theme.ascii { "-" } else { "█" }.repeat(length / 8);
        let pad = " ".repeat(1 + half - full.width().min(half));
        return vec![Span::raw(pad), Span::styled(full, theme.changed()), axis];
    }
    vec![Span::raw(" ".repeat(1 + half)), axis, Span::styled(theme.row_bar(length), theme.accent())]
}

fn hit(area: Rect, component: Component) -> Region {
    let (rows, columns) = (area.height.into(), area.width.into());
    let region =
        |row: usize, column: usize, hit| Region { area, rows: vec![row; rows], columns: vec![column; columns], hit };
    match component {
        Component::Head(block, head) => region(block, head, |b, h| Hit::Component(Component::Head(b, h))),
        Component::Mlp(block) => region(block, 0, |b, _| Hit::Component(Component::Mlp(b))),
        Component::Embed => region(0, 0, |_, _| Hit::Component(Component::Embed)),
        Component::Bias => region(0, 0, |_, _| Hit::Component(Component::Bias)),
        Component::Constant => region(0, 0, |_, _| Hit::Component(Component::Constant)),
        Component::Remainder => region(0, 0, |_, _| Hit::Component(Component::Remainder)),
    }
}

/// Columns of the block names.
const NAMES: usize = 5;

/// Layers down, heads across, and the MLP at the end of its row.
fn map(frame: &mut Frame<'_>, area: Rect, parts: &Attribution, state: &State, hits: &mut Vec<Region>, theme: Theme) {
    let heads = state.schema.dims.n_heads;
    let chosen = state.chosen_component();
    let all = Component::all(parts);
    let values: Vec<f32> = all
        .iter()
        .filter(|c| matches!(c, Component::Head(..) | Component::Mlp(_)))
        .map(|c| to_f32(state.attributed(*c)))
        .collect();
    let scale = Scale::around(&values);
    let room = usize::from(area.width).saturating_sub(NAMES + 1);
    let width = (room / (heads + 1)).min(8);
    let down = usize::from(area.height).saturating_sub(3);
    if width == 0 || down == 0 {
        return say(frame, area, "the panel is too narrow for all heads", theme);
    }
    let block = match chosen {
        Some(Component::Head(block, _) | Component::Mlp(block)) => block,
        _ => 0,
    };
    let buffer = frame.buffer_mut();
    let columns = (0..=heads).map(|x| (x, if x == heads { NAMES + 1 + x * width } else { NAMES + x * width }));
    for (x, at) in columns.clone() {
        let label = if x == heads { "mlp".into() } else { format!("{x}") };
        if width >= 3 || x == heads || x % 5 == 0 {
            put(buffer, offset(area.x, at), area.y, text::cut(&label, width.max(3), theme), theme.dim());
        }
    }
    let rows = around(block, down, parts.heads.len());
    for (y, layer) in rows.enumerate() {
        let style = if layer == block { theme.title() } else { theme.dim() };
        let screen_y = offset(area.y, y + 1);
        put(buffer, area.x, screen_y, format!("L{layer}"), style);
        for (x, at) in columns.clone() {
            let component = if x == heads { Component::Mlp(layer) } else { Component::Head(layer, x) };
            let value = state.attributed(component);
            let here = chosen == Some(component);
            let paint = scale.paint(value, theme);
            let written = if width >= 6 { format!("{value:^width$.2}") } else { String::new() };
            let written = if written.len() == width { written } else { " ".repeat(width) };
            let (cell, style) = match paint.color {
                Some(_) => (bracket(&written, here), paint.background()),
                None if width >= 6 => (bracket(&written, here), paint.shade_style),
                None => (paint.shade.to_string().repeat(width), paint.shade_style),
            };
            let style = if here { style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED) } else { style };
            let place = offset(area.x, at);
            put(buffer, place, screen_y, &cell, style);
            if here && width < 6 {
                put(buffer, place, screen_y, if theme.ascii { "X" } else { "◆" }, style);
            }
            let region = Rect { x: place, y: screen_y, width: u16::try_from(width).unwrap_or(1), height: 1 };
            hits.push(hit(region.intersection(area), component));
        }
    }
    if let Some(chosen) = chosen {
        let said = format!("{}  {}", chosen.name(), text::number(state.attributed(chosen)));
        let line =
            Line::from([vec![Span::styled(said, theme.title()), Span::raw("   ")], scale.legend(theme)].concat());
        frame.render_widget(line, Rect { y: area.bottom().saturating_sub(1), height: 1, ..area });
    }
}

#[allow(clippy::cast_possible_truncation, reason = "for a colour")]
fn to_f32(x: f64) -> f32 {
    x as f32
}
