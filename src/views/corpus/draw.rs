use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::state::Corpus;
use crate::{
    experiment::{Measured, Results},
    keys::Action,
    paint::{Region, Theme, heatmap::around, row, say, text, titled},
    views::{Focus, Scene},
};

/// The rows of the distribution, its axis included.
const TALL: u16 = 8;
const SHORT: u16 = 4;
/// The columns of a number in the list.
const NUMBER: usize = 10;

/// The distribution of a number over the rows, and the rows in its order.
///
/// ```text
/// effect on logit-diff   s: [effect] edited baseline
/// 1000 rows: mean -0.53, 95 % from -0.61 to -0.44, p = 0.001
///          ▂▅█▇▃▁
/// -3.2     ▲                     1.4
///    -3.2   When Mary and John went ...
/// >  -2.9   Then, Mary and ...
/// ```
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Corpus,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let Some(results) = &scene.results else {
        let open = scene.key(Action::Open);
        let how = "`pythia-tui grid` and `pythia-tui corpus` write tables of effects as Parquet";
        return say(
            frame,
            area,
            format!("No table is open. {how}; {open} opens one, and so does --grid FILE.parquet."),
            theme,
        );
    };
    let names = Measured::ALL.map(Measured::name);
    let at = Measured::ALL.iter().position(|measured| *measured == view.measured).unwrap_or(0);
    let what = match view.measured {
        Measured::Effect => format!("effect on {}", results.metric),
        Measured::Value => format!("{} with the edits", results.metric),
        Measured::Baseline => format!("{} without edits", results.metric),
    };
    let title = titled(what, &[(scene.key(Action::Switch), &names[..], at)], area.width.into(), theme);
    frame.render_widget(Line::from(title), row(area, 0));
    frame.render_widget(Line::from(Span::styled(summary(view, results, area.width.into()), theme.dim())), row(area, 1));
    if view.order.is_empty() {
        return say(frame, row(area, 2), "No row has a finite effect.", theme);
    }
    let tall = if area.height >= 24 { TALL } else { SHORT };
    let bars = Rect { y: area.y + 2.min(area.height), height: tall.min(area.height.saturating_sub(2)), ..area };
    if area.height > tall + 4 {
        distribution(frame, bars, view, results, theme);
        let top = 2 + tall;
        list(frame, Rect { y: area.y + top, height: area.height - top, ..area }, view, scene, results, hits, theme);
    } else {
        let rest = Rect { y: bars.y, height: area.height.saturating_sub(2), ..area };
        list(frame, rest, view, scene, results, hits, theme);
    }
}

/// The number of rows, their mean and its uncertainty.
#[allow(clippy::cast_precision_loss, reason = "a number of rows")]
fn summary(view: &Corpus, results: &Results, width: usize) -> String {
    let n = results.rows.len();
    let failed = if results.failed > 0 { format!(", {} without numbers", results.failed) } else { String::new() };
    let rows = format!("{n} {}{failed}", if n == 1 { "row" } else { "rows" });
    match (view.measured, results.mean) {
        (Measured::Effect, Some(mean)) => {
            let (low, high) = mean.interval;
            let [of, low, high, p] = [mean.mean, low, high, mean.p].map(text::number);
            let long = format!("{rows}: mean {of}, 95 % from {low} to {high}, p = {p}");
            if long.chars().count() <= width { long } else { format!("{n}: {of} [{low}, {high}] p {p}") }
        }
        (Measured::Effect | Measured::Value | Measured::Baseline, _) if n > 0 => {
            let mean = results.rows.iter().map(|row| row.of(view.measured)).sum::<f64>() / n as f64;
            format!("{rows}: mean {}", text::number(mean))
        }
        (Measured::Effect | Measured::Value | Measured::Baseline, _) => rows,
    }
}

/// Bars for the share of the rows in each part of the range, the bar of the selected row marked.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places on the screen"
)]
fn distribution(frame: &mut Frame<'_>, area: Rect, view: &Corpus, results: &Results, theme: Theme) {
    let value = |at: usize| view.order.get(at).map_or(f64::NAN, |row| results.rows[*row].of(view.measured));
    let (least, most) = (value(0), value(view.order.len() - 1));
    let bins = usize::from(area.width).clamp(1, 120);
    let bin = |x: f64| match most > least {
        true => (((x - least) / (most - least) * bins as f64) as usize).min(bins - 1),
        false => bins / 2,
    };
    let mut counts = vec![0_usize; bins];
    (0..view.order.len()).for_each(|at| counts[bin(value(at))] += 1);
    let tallest = counts.iter().copied().max().unwrap_or(1).max(1);
    let rows = area.height.saturating_sub(1);
    let selected = bin(value(view.cursor));
    for line in 0..rows {
        let level = f64::from(rows - 1 - line);
        let bar = |(at, count): (usize, &usize)| {
            let height = *count as f64 / tallest as f64 * f64::from(rows) - level;
            // a bar that is not empty is always visible
            let floor = if level == 0.0 && *count > 0 { 0.05 } else { 0.0 };
            let style = if at == selected { theme.changed() } else { theme.accent() };
            Span::styled(theme.bar(height.clamp(0.0, 1.0).max(floor)).to_string(), style)
        };
        let spans: Vec<Span<'_>> = counts.iter().enumerate().map(bar).collect();
        frame.render_widget(Line::from(spans), row(area, line));
    }
    let mut axis = vec![' '; bins];
    let mut write = |from: usize, text: &str| {
        text.chars().zip(axis.iter_mut().skip(from)).for_each(|(c, place)| *place = c);
    };
    let (low, high) = (text::number(least), text::number(most));
    // where the sign changes
    if least < 0.0 && most > 0.0 {
        let zero = bin(0.0);
        if zero > low.len() && zero + high.len() + 1 < bins {
            write(zero, "0");
        }
    }
    write(0, &low);
    write(bins.saturating_sub(high.len()), &high);
    let axis: String = axis.into_iter().collect();
    frame.render_widget(Line::from(Span::styled(axis, theme.dim())), row(area, rows));
}

fn list(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Corpus,
    scene: &Scene,
    results: &Results,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let visible = around(view.cursor, area.height.into(), view.order.len());
    let several = results.models.len() > 1 || results.curves.iter().any(|curve| curve.points.len() > 1);
    for (line, at) in (0..area.height).zip(visible.clone()) {
        let found = &results.rows[view.order[at]];
        let prompt = results.prompts.get(found.prompt).map_or("", |prompt| prompt.text.as_str());
        let model = results.models.get(found.model).map_or("", String::as_str);
        let model = model.rsplit('/').next().unwrap_or(model);
        let from = match &found.revision {
            Some(revision) if several => format!("{model} {revision}"),
            None if several => model.to_string(),
            Some(_) | None => String::new(),
        };
        let width = usize::from(area.width);
        let shown = if from.is_empty() { 0 } else { (width / 3).min(28) };
        let room = width.saturating_sub(NUMBER + 4 + shown + usize::from(shown > 0) * 2);
        let is_selected = at == view.cursor;
        let style = if is_selected { theme.selected(scene.layout.focus == Focus::View) } else { Style::new() };
        let mut spans = vec![
            Span::styled(if is_selected { "> " } else { "  " }, theme.title()),
            Span::styled(format!("{:>NUMBER$}", text::number(found.of(view.measured))), theme.accent()),
            Span::raw("  "),
        ];
        if shown > 0 {
            spans.push(Span::styled(text::fit(&shown_text(&from, theme), shown, theme), theme.dim()));
            spans.push(Span::raw("  "));
        }
        spans.push(Span::styled(text::fit(&shown_text(prompt, theme), room, theme), style));
        frame.render_widget(Line::from(spans), row(area, line));
    }
    hits.push(Region::list(area, visible.collect()));
}

/// The beginning of a text, as it can be drawn.
fn shown_text(text: &str, theme: Theme) -> String {
    const MOST: usize = 400;
    let end = text.char_indices().nth(MOST).map_or(text.len(), |(at, _)| at);
    text::visible(&text[..end], theme)
}
