//! Breakpoints with their hits, and watches with their values.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use crate::{
    analysis::short_number,
    engine::NOT_YET,
    explorer::{State, questions::OfWatches},
    keys::Action,
    paint::{Theme, row, text},
    predicate::Predicate,
    printed::counted,
};

/// The panel beside the edits.
pub(in crate::explorer) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    if area.width < 3 || area.height < 3 {
        return;
    }
    let key = format!(" {}: change ", state.scene.key(Action::Stops));
    let block = theme
        .panel(false)
        .title(Line::from(Span::styled(" breakpoints and watches ", theme.title())))
        .title_bottom(Line::from(Span::styled(key, theme.dim())).right_aligned());
    let inner = block.inner(area);
    frame.render_widget(block, area);
    // watches change with every step, so they are not the ones that are left out
    let n = state.scene.stops.len();
    let first = n.saturating_sub(inner.height.into());
    for (number, y) in (first..n).zip(0..inner.height) {
        frame.render_widget(line(number, None, inner.width.into(), state, theme), row(inner, y));
    }
}

/// A line of the list: a breakpoint or, after those, a watch.
pub(in crate::explorer) fn line(
    number: usize,
    cursor: Option<usize>,
    width: usize,
    state: &State,
    theme: Theme,
) -> Line<'static> {
    let stops = &state.scene.stops;
    let (mark, text, right, dim) = if let Some(breakpoint) = stops.breakpoints.get(number) {
        let mark = match (breakpoint.on, breakpoint.logs) {
            (false, _) => "[ ] ",
            (true, false) => "[x] ",
            (true, true) => "log ",
        };
        let hits = match (&breakpoint.last, breakpoint.hits) {
            (_, 0) => String::new(),
            (Some(last), hits) => format!("{}, {} {}", counted(hits, "hit"), last.place, short_number(last.value)),
            (None, hits) => counted(hits, "hit"),
        };
        let hits = [hits, if breakpoint.logs { over_checkpoints(&breakpoint.predicate, state) } else { String::new() }];
        let hits = hits.into_iter().filter(|said| !said.is_empty()).collect::<Vec<_>>().join("; ");
        (mark, breakpoint.predicate.to_string(), hits, !breakpoint.on)
    } else if let Some(watch) = stops.watches.get(number - stops.breakpoints.len()) {
        (
            "  = ",
            watch.to_string(),
            value(number - stops.breakpoints.len(), room(&watch.to_string(), width), state, theme),
            false,
        )
    } else {
        return Line::default();
    };
    let style = match (cursor == Some(number), dim) {
        (true, _) => theme.selected(true),
        (false, true) => theme.dim(),
        (false, false) => Style::new(),
    };
    let right = text::cut(&right, room(&text, width), theme);
    let name = text::fit(&text, width.saturating_sub(MARK + 2 + right.width()), theme);
    Line::from(vec![Span::raw(mark), Span::styled(name, style), Span::raw("  "), Span::styled(right, theme.changed())])
}

/// Columns of a line's mark.
const MARK: usize = 4;

/// Columns for what a line says beside its text, which keeps half of the row.
fn room(text: &str, width: usize) -> usize {
    let room = width.saturating_sub(MARK + 2);
    room.saturating_sub(text.width().min(room / 2))
}

/// On how many of the visited checkpoints a logging breakpoint was true; empty if it was looked for on one alone.
fn over_checkpoints(when: &Predicate, state: &State) -> String {
    let Some(shown) = &state.scene.runs.shown else { return String::new() };
    match state.scene.checkpoints.logged(&shown.spec, when) {
        (_, 0 | 1, _) => String::new(),
        (0, all, _) => format!("at none of {all} steps"),
        (hits, all, first) => {
            let first = first.map_or_else(String::new, |step| format!(", first step {step}"));
            format!("at {hits} of {all} steps{first}")
        }
    }
}

/// The value of a watch at the selected hook or at the last one that is computed, a spark line of all its values, and one over the
/// visited checkpoints; as much of that as there is room for.
fn value(number: usize, room: usize, state: &State, theme: Theme) -> String {
    let scene = &state.scene;
    let ask = OfWatches(scene.stops.watches.clone());
    let values = match scene.seen(&ask) {
        None => return theme.ellipsis().into(),
        Some(Err(why)) => return why.into(),
        Some(Ok(all)) => match all.get(number) {
            Some(Ok(values)) => values,
            Some(Err(why)) => return why.clone(),
            None => return String::new(),
        },
    };
    let here = values.iter().rev().find(|found| found.place.point == scene.point());
    let Some(found) = here.or(values.last()) else { return NOT_YET.into() };
    let number_here = short_number(found.value);
    let all: Vec<f64> = values.iter().map(|found| found.value).collect();
    let along = (all.len() > 1).then(|| spark(&all, theme));
    let steps = match (&scene.runs.shown, scene.stops.watches.get(number)) {
        (Some(shown), Some(watch)) => scene.checkpoints.watched(&shown.spec, watch, found.place.point),
        (None, _) | (_, None) => vec![],
    };
    let steps = (steps.len() > 1).then(|| format!("steps {}", spark(&steps, theme)));
    let forms = [(&along, &steps), (&None, &steps), (&along, &None)].map(|(along, steps)| {
        [Some(&number_here), along.as_ref(), steps.as_ref()]
            .into_iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    });
    forms.into_iter().find(|form| form.width() <= room).unwrap_or(number_here)
}

/// Columns of a spark line.
const COLUMNS: usize = 16;

/// Values in order, the largest of those that share a column, from the least to the greatest of all.
fn spark(values: &[f64], theme: Theme) -> String {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (least, most) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let together = values.len().div_ceil(COLUMNS);
    let column = |values: &[f64]| {
        let most_here = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // the least is seen, too
        theme.bar(if most > least { 0.1 + 0.9 * (most_here - least) / (most - least) } else { 0.5 })
    };
    values.chunks(together).map(column).collect()
}
