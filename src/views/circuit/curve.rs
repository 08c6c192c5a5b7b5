//! Faithfulness over the number of edges.

use ratatui::{
    Frame,
    layout::Rect,
    symbols::Marker,
    text::Span,
    widgets::{Axis, Chart, Dataset, GraphType},
};

use super::parts::Scores;
use crate::paint::{Theme, axes_in_ascii, say, text};

/// The number of labels on the axis of edges.
const LABELS: u32 = 5;

/// The place of a number of edges on the axis: 0 for none, and logarithmic otherwise.
#[allow(clippy::cast_precision_loss, reason = "a place on a screen")]
fn place(edges: usize) -> f64 {
    (edges as f64).ln_1p()
}

/// The circuits of the strongest edges as a curve, with a vertical line at the chosen one.
#[allow(clippy::cast_precision_loss, reason = "places on a screen")]
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scores: &Scores, theme: Theme) {
    let known = scores.curve.iter().filter(|of| of.faithfulness.is_finite());
    let curve: Vec<(f64, f64)> = known.map(|of| (place(of.edges), of.faithfulness)).collect();
    if curve.is_empty() {
        let why = match &scores.circuit {
            Some(Err(why)) => why.as_str(),
            Some(Ok(_)) | None => "computing",
        };
        return say(frame, area, why, theme);
    }
    let all = place(scores.parts.len()).max(1.0);
    let least = curve.iter().map(|(_, y)| *y).fold(0.0, f64::min);
    let most = curve.iter().map(|(_, y)| *y).fold(1.0, f64::max);
    let [whole, none] = [1.0, 0.0].map(|y| [(0.0, y), (all, y)]);
    let circuit = scores.circuit.as_ref().and_then(|found| found.as_ref().ok());
    let here = circuit.map(|of| [(place(of.edges), least), (place(of.edges), most)]).unwrap_or_default();
    let point = circuit.map(|of| [(place(of.edges), of.faithfulness)]).unwrap_or_default();
    let marker = if theme.ascii { Marker::Custom('.') } else { Marker::Braille };
    let dot = if theme.ascii { Marker::Custom('*') } else { Marker::Dot };
    let line = |data, style| Dataset::default().data(data).graph_type(GraphType::Line).marker(marker).style(style);
    let dots = |data, style| Dataset::default().data(data).graph_type(GraphType::Scatter).marker(dot).style(style);
    let mut sets = vec![line(&whole, theme.dim()), line(&none, theme.dim())];
    if circuit.is_some() {
        sets.push(line(&here, theme.accent()));
    }
    sets.extend([line(&curve, theme.changed()), dots(&curve, theme.changed())]);
    if circuit.is_some() {
        sets.push(dots(&point, theme.accent()));
    }
    let label = |at: u32| Span::raw(format!("{:.0}", (all * f64::from(at) / f64::from(LABELS - 1)).exp_m1()));
    let edges = Axis::default().title("edges").bounds([0.0, all]).labels((0..LABELS).map(label)).style(theme.dim());
    let ends = [text::number(least), text::number(f64::midpoint(least, most)), text::number(most)];
    let faithfulness = Axis::default().title("faithfulness").bounds([least, most]);
    let faithfulness = faithfulness.labels(ends.map(Span::raw)).style(theme.dim());
    let chart = Chart::new(sets).x_axis(edges).y_axis(faithfulness).legend_position(None);
    frame.render_widget(chart, area);
    if theme.ascii {
        axes_in_ascii(frame, area);
    }
}
