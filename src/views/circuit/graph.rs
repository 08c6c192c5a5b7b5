//! The components by layer, with the strongest edges between them.

use ratatui::{
    Frame,
    layout::Rect,
    style::Color,
    symbols::Marker,
    text::Span,
    widgets::canvas::{Canvas, Line},
};

use super::{
    parts::{Part, Scores},
    state::Circuit,
};
use crate::{
    analysis::{Edge, Node},
    paint::{Theme, row},
    views::Scene,
};

/// Rows from which on the colours are explained.
const LEGEND_FROM: u16 = 12;

/// The place of a component: across by its number in the layer, up by the layer; the input below, the logits above.
#[allow(clippy::cast_precision_loss, reason = "places on a screen")]
fn place(node: Node, n_layers: usize, n_heads: usize) -> (f64, f64) {
    let middle = n_heads as f64 / 2.0;
    match node {
        Node::Input => (middle, 0.0),
        Node::Head { layer, head } => (head as f64, layer as f64 + 1.0),
        Node::Mlp(layer) => (n_heads as f64, layer as f64 + 1.0),
        Node::Logits => (middle, n_layers as f64 + 1.0),
    }
}

/// The strongest nodes or edges as a graph; the one under the cursor is highlighted.
#[allow(clippy::cast_precision_loss, reason = "places on a screen")]
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, view: &Circuit, scores: &Scores, scene: &Scene, theme: Theme) {
    let (n_layers, n_heads) = (scene.schema.dims.n_layers, scene.schema.dims.n_heads);
    let at = |node: Node| place(node, n_layers, n_heads);
    let strongest: Vec<_> = scores
        .parts
        .iter()
        .enumerate()
        .filter(|(number, (part, ..))| *number == view.row || view.draws(*number, *part))
        .collect();
    let ink = |style: ratatui::style::Style| style.fg.unwrap_or(Color::Reset);
    let (up, down, here) = (ink(theme.changed()), ink(theme.accent()), ink(theme.error()));
    let color = |number: usize, estimate: f64| match () {
        () if number == view.row => here,
        () if estimate < 0.0 => down,
        () => up,
    };
    let edges: Vec<(Edge, Color)> = strongest
        .iter()
        .filter_map(|(number, (part, estimate, _))| match part {
            Part::Edge(edge) => Some((*edge, color(*number, *estimate))),
            Part::Node(_) | Part::Feature(_) => None,
        })
        .collect();
    let scored = |node: Node| {
        let of = strongest.iter().find_map(|(number, (part, estimate, _))| match part {
            Part::Node(other) if *other == node => Some(color(*number, *estimate)),
            Part::Edge(edge) if edge.from == node || edge.to.node == node => Some(color(*number, *estimate)),
            Part::Node(_) | Part::Edge(_) | Part::Feature(_) => None,
        });
        of.map_or(theme.dim(), |color| ratatui::style::Style::new().fg(color))
    };
    let heads = (0..n_layers).flat_map(|layer| (0..n_heads).map(move |head| Node::Head { layer, head }));
    let nodes: Vec<Node> = heads.chain((0..n_layers).map(Node::Mlp)).chain([Node::Input, Node::Logits]).collect();
    let marker = if theme.ascii { Marker::Custom('.') } else { Marker::Braille };
    let canvas = Canvas::default()
        .marker(marker)
        .x_bounds([-0.5, n_heads as f64 + 1.0])
        .y_bounds([-0.3, n_layers as f64 + 1.3])
        .paint(|context| {
            for (edge, color) in &edges {
                let ((x1, y1), (x2, y2)) = (at(edge.from), at(edge.to.node));
                context.draw(&Line { x1, y1, x2, y2, color: *color });
            }
            context.layer();
            for node in &nodes {
                let (x, y) = at(*node);
                context.print(x, y, ratatui::text::Line::from(Span::styled(node.to_string(), scored(*node))));
            }
        });
    let has_legend = area.height >= LEGEND_FROM;
    let key = [("raises the number  ", up), ("lowers it  ", down), ("under the cursor", here)];
    let key = key.map(|(said, color)| Span::styled(said, ratatui::style::Style::new().fg(color)));
    let rows = area.height - u16::from(has_legend);
    frame.render_widget(canvas, Rect { height: rows, ..area });
    if has_legend {
        frame.render_widget(ratatui::text::Line::from(key.to_vec()), row(area, rows));
    }
}
