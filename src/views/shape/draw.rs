use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::state::Shape;
use crate::{
    analysis::Stats,
    engine::Statistics,
    hooks::{HookPoint, description, formula, readers},
    keys::Action,
    model::{module_of, sources},
    paint::{ColorDepth, Theme, text},
    views::Scene,
};

/// What the selected hook is, and the statistics of its values, from line `scroll` on.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scroll: u16, scene: &Scene, theme: Theme) {
    let lines = lines((area.width.into(), area.height.into()), scene, theme);
    let text = Paragraph::new(lines).wrap(Wrap { trim: false });
    frame.render_widget(text.scroll((scroll, 0)), area);
}

/// The lines that do not fit in the view, in the character set that needs more of them.
pub(super) fn overflow(scene: &Scene) -> u16 {
    let room = scene.layout.room();
    let rows = |ascii| {
        let theme = Theme { depth: ColorDepth::None, ascii, light: false, pixels: None };
        let rows = |line: &Line<'_>| text::wrap(&line.to_string(), room.0).len();
        lines(room, scene, theme).iter().map(rows).sum::<usize>()
    };
    let most = rows(true).max(rows(false));
    u16::try_from(most.saturating_sub(room.1)).unwrap_or(u16::MAX)
}

/// The text for a number of columns and rows. In a low panel the numbers come first.
fn lines((width, height): (usize, usize), scene: &Scene, theme: Theme) -> Vec<Line<'static>> {
    let point = scene.point();
    let (name, about) = (point.to_string(), description(point, &scene.schema.dims));
    let name = Line::from(Span::styled(scene.title_of(&name, usize::MAX, theme), theme.title()));
    let (numbers, drawn) = numbers(width, scene, theme);
    let mut lines = vec![name];
    if height >= ROOMY {
        lines.push(Line::from(about));
        lines.push(Line::default());
        lines.extend(facts(scene, theme));
        lines.push(Line::default());
        lines.extend(numbers);
        lines.push(Line::default());
    } else {
        let mut facts = facts(scene, theme).into_iter();
        lines.extend(facts.next());
        lines.extend(numbers);
        lines.extend(facts);
        lines.push(Line::from(about));
    }
    if let Some(stats) = drawn {
        lines.extend(histogram(stats, width, height.saturating_sub(lines.len()), theme));
    }
    lines
}

/// The rows at which everything fits.
const ROOMY: usize = 24;

/// Shape, size, formula and origin.
fn facts(scene: &Scene, theme: Theme) -> Vec<Line<'static>> {
    let (point, schema) = (scene.point(), &scene.schema);
    let axes = schema.axes(point).iter().map(|a| a.name()).collect::<Vec<_>>().join(", ");
    let shape = schema.shape(point, scene.tokens().len());
    let values: usize = shape.iter().product();
    let fact = |name: &str, value: String| {
        Line::from(vec![Span::styled(format!("{name:<9} "), theme.dim()), Span::raw(value)])
    };
    let sep = theme.separator();
    let dtype = match Shape::seen(scene) {
        Some(Ok(Statistics { dtype, .. })) => format!("{sep}{dtype}"),
        Some(Err(_)) | None => String::new(),
    };
    let size = format!("{values} values{sep}{}{dtype}", text::bytes(values * 4));
    let mut lines = vec![
        fact("shape", format!("[{axes}] = {shape:?}")),
        fact("size", size),
        fact("formula", text::plain(&formula(point, &schema.dims, scene.model.processing.is_folded()), theme)),
    ];
    lines.extend(made_with(point, scene, theme));
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

/// The table of statistics, or why there is none; and the statistics for a histogram.
fn numbers(width: usize, scene: &Scene, theme: Theme) -> (Vec<Line<'static>>, Option<&Stats>) {
    match Shape::seen(scene) {
        Some(Ok(Statistics { stats, shape, .. })) => {
            let drawn = (width >= 20).then_some(&stats.run);
            (table(&stats.run, stats.baseline.as_ref(), shape, (scene.sides(), width), theme), drawn)
        }
        Some(Err(why)) => {
            let on = match scene.point().is_opt_in() {
                true => format!("; {} turns it on", scene.key(Action::Enable)),
                false => String::new(),
            };
            (vec![Line::from(Span::styled(format!("{why}{on}"), theme.dim()))], None)
        }
        None => (vec![Line::from(Span::styled(scene.waiting_for_numbers(), theme.dim()))], None),
    }
}

/// The checkpoint tensors: one line each, with the parts of a tensor together.
fn made_with(point: HookPoint, scene: &Scene, theme: Theme) -> Vec<Line<'static>> {
    let mut lines: Vec<(String, String)> = Vec::new();
    for source in sources(point, &scene.schema.dims, scene.model.processing.is_folded(), None) {
        let (stem, kind) = source.tensor.rsplit_once('.').unwrap_or((&source.tensor, ""));
        let part = source.part.to_string();
        match lines.last_mut() {
            // weight and bias of one module, with the same part of both
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

fn table(
    now: &Stats,
    before: Option<&Stats>,
    shape: &[usize],
    ([edited, _, baseline], width): ([&str; 3], usize),
    theme: Theme,
) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if before.is_some() {
        let heads = format!("{:<9} {edited:>11} {baseline:>11}", "");
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
        Some(before) => format!("  at {}, {baseline} at {}", place(of(now)), place(of(before))),
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
    // masked values are expected, but are still highlighted
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

/// Bars for the distribution of the finite values, as many rows as fit, at most 8.
fn histogram(stats: &Stats, width: usize, room: usize, theme: Theme) -> Vec<Line<'static>> {
    let (Some((min, _)), Some((max, _))) = (stats.min, stats.max) else {
        return vec![];
    };
    let (rows, bins) = (room.saturating_sub(1).min(8), stats.histogram.len());
    let tallest = stats.histogram.iter().copied().max().unwrap_or(0);
    if rows == 0 || tallest == 0 || min.to_bits() == max.to_bits() {
        return vec![];
    }
    // a narrow panel draws bins in pairs
    let per_column = bins.div_ceil(width.saturating_sub(1).min(bins));
    let columns: Vec<usize> = stats.histogram.chunks(per_column).map(|c| c.iter().sum()).collect();
    let tallest = columns.iter().copied().max().unwrap_or(1);
    #[allow(clippy::cast_precision_loss, reason = "heights of bars")]
    let share = |count: usize, row: usize| (count as f64 / tallest as f64) * rows as f64 - row as f64;
    let mut lines: Vec<Line<'static>> = (0..rows)
        .rev()
        .map(|row| {
            // a bin that is not empty is always visible
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
