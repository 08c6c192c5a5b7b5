use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::{Theme, text};
use crate::{
    analysis::Stats,
    app::{Action, Phase, State, Tab},
    engine::View,
    hooks::{HookPoint, description, formula, readers},
    model::{module_of, sources},
};

/// What the selected hook is, and the statistics of what it holds. In a low panel the numbers come first.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let point = state.point();
    let (name, about) = (point.to_string(), description(point, &state.schema.dims));
    let name = Line::from(Span::styled(name, theme.title()));
    let (numbers, drawn) = numbers(area.width.into(), state, theme);
    let mut lines = vec![name];
    if area.height >= ROOMY {
        lines.push(Line::from(about));
        lines.push(Line::default());
        lines.extend(facts(state, theme));
        lines.push(Line::default());
        lines.extend(numbers);
        lines.push(Line::default());
    } else {
        let mut facts = facts(state, theme).into_iter();
        lines.extend(facts.next());
        lines.extend(numbers);
        lines.extend(facts);
        lines.push(Line::from(about));
    }
    if let Some(stats) = drawn {
        let room = usize::from(area.height).saturating_sub(lines.len());
        lines.extend(histogram(stats, area.width.into(), room, theme));
    }
    let text = Paragraph::new(lines).wrap(Wrap { trim: false });
    frame.render_widget(text.scroll((state.scroll, 0)), area);
}

/// Rows from which there is room for everything.
const ROOMY: u16 = 24;

/// Shape, size, formula and origin.
fn facts(state: &State, theme: Theme) -> Vec<Line<'static>> {
    let (point, schema) = (state.point(), &state.schema);
    let axes = schema.axes(point).iter().map(|a| a.name()).collect::<Vec<_>>().join(", ");
    let shape = schema.shape(point, state.tokens.len());
    let values: usize = shape.iter().product();
    let fact = |name: &str, value: String| {
        Line::from(vec![Span::styled(format!("{name:<9} "), theme.dim()), Span::raw(value)])
    };
    let sep = theme.separator();
    let size = match state.view() {
        Some(View::Hook { dtype, .. }) => format!("{values} values{sep}{}{sep}{dtype}", text::bytes(values * 4)),
        _ => format!("{values} values{sep}{}", text::bytes(values * 4)),
    };
    let mut lines = vec![
        fact("shape", format!("[{axes}] = {shape:?}")),
        fact("size", size),
        fact("formula", text::plain(&formula(point, &schema.dims, state.model.processing.is_folded()), theme)),
    ];
    lines.extend(made_with(point, state, theme));
    let reads: Vec<&str> = readers(point, schema).iter().map(|reader| reader.short_name()).collect();
    let reads = match (reads.is_empty(), point) {
        (false, _) => reads.join(", "),
        (true, HookPoint::LnFinalNormalized) => "the unembedding: the logits".into(),
        (true, _) => "nothing".into(),
    };
    lines.push(fact("read by", reads));
    let (module, role) = module_of(point);
    lines.push(fact("module", format!("{module}, {role}")));
    lines
}

/// The table of statistics, or why there is none; and the statistics that a histogram can be drawn of.
fn numbers(width: usize, state: &State, theme: Theme) -> (Vec<Line<'static>>, Option<&Stats>) {
    match state.view() {
        Some(View::Hook { stats, baseline, shape, .. }) => {
            (table(stats, baseline.as_ref(), shape, width, theme), (width >= 20).then_some(stats))
        }
        Some(View::Nothing(why)) => {
            let on = match state.point().is_opt_in() {
                true => format!("; {} turns it on", state.keymap().key(Action::Enable)),
                false => String::new(),
            };
            (vec![Line::from(Span::styled(format!("{why}{on}"), theme.dim()))], None)
        }
        _ => (vec![Line::from(Span::styled(waiting(state), theme.dim()))], None),
    }
}

/// Why there are no numbers yet.
pub(super) fn waiting(state: &State) -> String {
    match &state.phase {
        Phase::Failed(message) if state.shown.is_none() => message.clone(),
        _ if matches!(state.tab, Tab::Attribution | Tab::Sweep)
            && state.shown.is_some()
            && state.answer().is_none() =>
        {
            "the baseline's logits are NaN, so no token is the likeliest: choose a target among the logits".into()
        }
        _ => "computing".into(),
    }
}

/// The checkpoint tensors: one line each, those of one part together.
fn made_with(point: HookPoint, state: &State, theme: Theme) -> Vec<Line<'static>> {
    let mut lines: Vec<(String, String)> = Vec::new();
    for source in sources(point, &state.schema.dims, state.model.processing.is_folded(), None) {
        let (stem, kind) = source.tensor.rsplit_once('.').unwrap_or((&source.tensor, ""));
        let part = source.part.to_string();
        match lines.last_mut() {
            // weight and bias of one module, the same part of both
            Some((tensor, last)) if *last == part && tensor.starts_with(&format!("{stem}.")) => {
                *tensor = format!("{stem}.weight, .{kind}");
            }
            _ => lines.push((source.tensor.clone(), part)),
        }
    }
    let line = |(i, (tensor, part)): (usize, (String, String))| {
        let name = if i == 0 { "made with" } else { "" };
        let part = if part == "whole" { String::new() } else { format!("  {part}") };
        Line::from(vec![
            Span::styled(format!("{name:<9} "), theme.dim()),
            Span::raw(tensor),
            Span::styled(part, theme.dim()),
        ])
    };
    lines.into_iter().enumerate().map(line).collect()
}

fn table(now: &Stats, before: Option<&Stats>, shape: &[usize], width: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if before.is_some() {
        let heads = format!("{:<9} {:>11} {:>11}", "", "edited", "baseline");
        lines.push(Line::from(Span::styled(heads, theme.dim())));
    }
    let mut row = |name: &str, of: &dyn Fn(&Stats) -> f64, note: String| {
        let mut spans =
            vec![Span::styled(format!("{name:<9} "), theme.dim()), Span::raw(format!("{:>11}", text::number(of(now))))];
        if let Some(before) = before {
            let same = of(before).to_bits() == of(now).to_bits();
            let style = if same { theme.dim() } else { theme.changed() };
            spans.push(Span::styled(format!(" {:>11}", text::number(of(before))), style));
        }
        let used: usize = spans.iter().map(Span::width).sum();
        if used + note.len() <= width {
            spans.push(Span::styled(note, theme.dim()));
        }
        lines.push(Line::from(spans));
    };
    let place =
        |extreme: Option<(f32, usize)>| extreme.map_or("none".into(), |(_, at)| format!("{:?}", place_of(at, shape)));
    let value = |extreme: Option<(f32, usize)>| extreme.map_or(f64::NAN, |(x, _)| f64::from(x));
    row("mean", &|s| s.mean, String::new());
    row("std", &|s| s.std, String::new());
    let places = |of: fn(&Stats) -> Option<(f32, usize)>| match before {
        Some(before) => format!("  at {}, baseline at {}", place(of(now)), place(of(before))),
        None => format!("  at {}", place(of(now))),
    };
    row("min", &|s| value(s.min), places(|s| s.min));
    row("max", &|s| value(s.max), places(|s| s.max));
    row("L2 norm", &|s| s.l2, String::new());
    #[allow(clippy::cast_precision_loss, reason = "a share")]
    let share = |part: usize, s: &Stats| {
        if s.count == 0 { 0.0 } else { part as f64 / s.count as f64 }
    };
    let zeros = |s: &Stats| text::percent(share(s.zeros, s)).trim_start().to_string();
    let mut count = |name: &str, of: &dyn Fn(&Stats) -> String, alarm: bool| {
        let style = if alarm { theme.error() } else { Style::new() };
        let mut spans =
            vec![Span::styled(format!("{name:<9} "), theme.dim()), Span::styled(format!("{:>11}", of(now)), style)];
        if let Some(before) = before {
            let style = if of(before) == of(now) { theme.dim() } else { theme.changed() };
            spans.push(Span::styled(format!(" {:>11}", of(before)), style));
        }
        lines.push(Line::from(spans));
    };
    count("zeros", &zeros, false);
    count("NaN", &|s| s.nan.to_string(), now.nan > 0);
    // a mask is no accident, but it is seen at once
    count("infinite", &|s| s.infinite.to_string(), now.infinite > 0);
    lines
}

/// Indices along each axis of a row-major flat index.
fn place_of(flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = flat;
    let mut place: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&n| {
            let at = rest % n.max(1);
            rest /= n.max(1);
            at
        })
        .collect();
    place.reverse();
    place
}

/// Bars for the distribution of the finite values, as many rows as there is room for, at most 8.
fn histogram(stats: &Stats, width: usize, room: usize, theme: Theme) -> Vec<Line<'static>> {
    let (Some((min, _)), Some((max, _))) = (stats.min, stats.max) else {
        return vec![];
    };
    let (rows, bins) = (room.saturating_sub(1).min(8), stats.histogram.len());
    let tallest = stats.histogram.iter().copied().max().unwrap_or(0);
    if rows == 0 || tallest == 0 || min.to_bits() == max.to_bits() {
        return vec![];
    }
    // bins in pairs where the panel is narrow
    let per_column = bins.div_ceil(width.saturating_sub(1).min(bins));
    let columns: Vec<usize> = stats.histogram.chunks(per_column).map(|c| c.iter().sum()).collect();
    let tallest = columns.iter().copied().max().unwrap_or(1);
    #[allow(clippy::cast_precision_loss, reason = "heights of bars")]
    let share = |count: usize, row: usize| (count as f64 / tallest as f64) * rows as f64 - row as f64;
    let mut lines: Vec<Line<'static>> = (0..rows)
        .rev()
        .map(|row| {
            // a bin with anything in it is never drawn empty
            let floor = |count: usize| if row == 0 && count > 0 { 0.05 } else { 0.0 };
            let bars: String =
                columns.iter().map(|&c| theme.bar(share(c, row).clamp(0.0, 1.0).max(floor(c)))).collect();
            Line::from(Span::styled(bars, theme.accent()))
        })
        .collect();
    let (low, high) = (text::number(min.into()), text::number(max.into()));
    let gap = columns.len().saturating_sub(low.len() + high.len()).max(1);
    lines.push(Line::from(Span::styled(format!("{low}{}{high}", " ".repeat(gap)), theme.dim())));
    lines
}
