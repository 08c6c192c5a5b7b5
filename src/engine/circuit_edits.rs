//! Components and edges of the graph as edits.

use crate::{
    analysis::{Edge, Node, Port},
    hooks::{Axis, BlockHook, Edit, HookPoint, Op, Region},
};

/// The hooks of a head's inputs.
pub(super) const PORTS: [(Port, BlockHook); 3] =
    [(Port::Q, BlockHook::QInput), (Port::K, BlockHook::KInput), (Port::V, BlockHook::VInput)];

/// The input of a head that a hook holds, if it holds one.
pub(super) fn port_at(hook: BlockHook) -> Option<Port> {
    PORTS.into_iter().find(|(_, own)| *own == hook).map(|(port, _)| port)
}

/// The edit that takes what a component writes (for a head, its `hook_z`) from the contrast prompt. None for the
/// logits, which write nothing.
#[must_use]
pub fn patch_node(node: Node) -> Option<Edit> {
    match node {
        Node::Input => Some(Edit::at(HookPoint::Embed, &[], Op::Patch)),
        Node::Head { layer, head } => {
            Some(Edit::at(HookPoint::Block(layer, BlockHook::Z), &[(Axis::Head, head)], Op::Patch))
        }
        Node::Mlp(layer) => Some(Edit::at(HookPoint::Block(layer, BlockHook::MlpOut), &[], Op::Patch)),
        Node::Logits => None,
    }
}

/// The edit that takes what one component reads from another from the contrast prompt.
#[must_use]
pub fn patch_edge(edge: Edge, n_layers: usize) -> Option<Edit> {
    let Edit { target, selection, .. } = match edge.from {
        Node::Head { layer, head } => {
            Edit::at(HookPoint::Block(layer, BlockHook::Result), &[(Axis::Head, head)], Op::Patch)
        }
        other @ (Node::Input | Node::Mlp(_) | Node::Logits) => patch_node(other)?,
    };
    let (receiver, head) = match (edge.to.node, edge.to.port) {
        (Node::Head { layer, head }, Some(port)) => {
            let (_, hook) = PORTS.into_iter().find(|(own, _)| *own == port)?;
            (HookPoint::Block(layer, hook), Some((Axis::Head, head)))
        }
        (Node::Mlp(layer), _) => (HookPoint::Block(layer, BlockHook::MlpIn), None),
        (Node::Logits, _) => (HookPoint::Block(n_layers.checked_sub(1)?, BlockHook::ResidPost), None),
        (Node::Head { .. }, None) | (Node::Input, _) => return None,
    };
    let places: Vec<(Axis, usize)> = head.into_iter().collect();
    Some(Edit { sender: Some(Region { target, selection }), ..Edit::at(receiver, &places, Op::Patch) })
}
