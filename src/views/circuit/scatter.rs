//! Estimates beside exact effects.

use ratatui::{
    Frame,
    layout::Rect,
    symbols::Marker,
    text::Span,
    widgets::{Axis, Chart, Dataset, GraphType},
};

use super::parts::Scores;
use crate::paint::{Theme, axes_in_ascii, say, text};

/// Estimates against exact effects; on the diagonal they agree.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scores: &Scores, theme: Theme) {
    let pairs = scores.pairs();
    if pairs.is_empty() {
        return say(frame, area, "no exact effect is known yet", theme);
    }
    let most = pairs.iter().flat_map(|(a, b)| [a.abs(), b.abs()]).filter(|x| x.is_finite()).fold(1e-9, f64::max);
    let bounds = [-most, most];
    let diagonal = [(-most, -most), (most, most)];
    let marker = if theme.ascii { Marker::Custom('.') } else { Marker::Braille };
    let dot = if theme.ascii { Marker::Custom('*') } else { Marker::Dot };
    let sets = vec![
        Dataset::default().data(&diagonal).graph_type(GraphType::Line).marker(marker).style(theme.dim()),
        Dataset::default().data(&pairs).graph_type(GraphType::Scatter).marker(dot).style(theme.changed()),
    ];
    let axis = |title: &'static str| {
        let labels = [text::number(-most), "0".into(), text::number(most)];
        Axis::default().title(title).bounds(bounds).labels(labels.map(Span::raw)).style(theme.dim())
    };
    let chart = Chart::new(sets).x_axis(axis("estimate")).y_axis(axis("exact")).legend_position(None);
    frame.render_widget(chart, area);
    if theme.ascii {
        axes_in_ascii(frame, area);
    }
}
