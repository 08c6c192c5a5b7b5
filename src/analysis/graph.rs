//! The computational graph whose edges make up circuits: the components that write to the residual stream, and their
//! readers.
//!
//! Names are those of EAP-IG (Hanna et al., "Have Faith in Faithfulness", 2024): `input`, `a3.h2`, `m3`, `logits`, and edges such
//! as `a0.h1->a3.h2<q>` and `m0->logits`.

use std::{fmt, str::FromStr};

use crate::hooks::Dims;

/// A component that writes to the residual stream, or `logits`, which only reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    Input,
    Head { layer: usize, head: usize },
    Mlp(usize),
    Logits,
}

/// One of a head's three inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    Q,
    K,
    V,
}

/// A reader of the residual stream: a head through one of its inputs, an MLP, or the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receiver {
    pub node: Node,
    /// The head's input; None for an MLP and the logits.
    pub port: Option<Port>,
}

/// What one component reads from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    pub from: Node,
    pub to: Receiver,
}

/// The graph of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphShape {
    pub n_layers: usize,
    pub n_heads: usize,
    pub d_model: usize,
    /// Attention and MLP of a block read the same stream.
    pub parallel: bool,
}

/// Why a model has no such edge, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoEdge(String);

impl Port {
    pub const ALL: [Self; 3] = [Self::Q, Self::K, Self::V];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Q => "q",
            Self::K => "k",
            Self::V => "v",
        }
    }
}

impl From<Dims> for GraphShape {
    fn from(dims: Dims) -> Self {
        let Dims { n_layers, n_heads, d_model, parallel, .. } = dims;
        Self { n_layers, n_heads, d_model, parallel }
    }
}

impl GraphShape {
    /// Every component that writes to the stream, in execution order.
    #[must_use]
    pub fn senders(self) -> Vec<Node> {
        let block = |layer| (0..self.n_heads).map(move |head| Node::Head { layer, head }).chain([Node::Mlp(layer)]);
        [Node::Input].into_iter().chain((0..self.n_layers).flat_map(block)).collect()
    }

    /// The number of a sender in [`Self::senders`]; None for the logits and for what the model does not have.
    #[must_use]
    pub fn sender(self, node: Node) -> Option<usize> {
        match node {
            Node::Input => Some(0),
            Node::Head { layer, head } => {
                (layer < self.n_layers && head < self.n_heads).then(|| 1 + layer * (self.n_heads + 1) + head)
            }
            Node::Mlp(layer) => (layer < self.n_layers).then(|| 1 + layer * (self.n_heads + 1) + self.n_heads),
            Node::Logits => None,
        }
    }

    /// Every reader of the stream, in execution order: queries, keys and values of a block's heads, its MLP; the logits.
    #[must_use]
    pub fn receivers(self) -> Vec<Receiver> {
        let block = |layer| {
            let head =
                move |head| Port::ALL.map(|port| Receiver { node: Node::Head { layer, head }, port: Some(port) });
            (0..self.n_heads).flat_map(head).chain([Receiver { node: Node::Mlp(layer), port: None }])
        };
        let logits = Receiver { node: Node::Logits, port: None };
        (0..self.n_layers).flat_map(block).chain([logits]).collect()
    }

    /// The number of senders before a reader: the first ones of [`Self::senders`].
    #[must_use]
    pub fn before(self, receiver: Receiver) -> usize {
        let block = |layer: usize| 1 + layer * (self.n_heads + 1);
        match receiver.node {
            Node::Input => 0,
            Node::Head { layer, .. } => block(layer),
            Node::Mlp(layer) => block(layer) + if self.parallel { 0 } else { self.n_heads },
            Node::Logits => block(self.n_layers),
        }
    }

    /// Every edge, ordered by reader.
    pub fn edges(self) -> impl Iterator<Item = Edge> {
        let senders = self.senders();
        self.receivers().into_iter().flat_map(move |to| {
            let from: Vec<Node> = senders[..self.before(to)].to_vec();
            from.into_iter().map(move |from| Edge { from, to })
        })
    }

    /// The number of edges.
    #[must_use]
    pub fn edge_count(self) -> usize {
        self.receivers().into_iter().map(|to| self.before(to)).sum()
    }

    /// # Errors
    /// The model has no such edge: a component that does not exist, or a reader that comes before what it would read.
    pub fn check(self, edge: Edge) -> Result<(), NoEdge> {
        let has = format!("this model has {self}");
        let exists = |node: Node| node == Node::Logits || self.sender(node).is_some();
        if let Some(missing) = [edge.from, edge.to.node].into_iter().find(|node| !exists(*node)) {
            return Err(NoEdge(format!("`{edge}`: there is no `{missing}`; {has}")));
        }
        let Some(from) = self.sender(edge.from) else {
            return Err(NoEdge(format!(
                "`{edge}`: the logits write nothing; an edge goes from `input`, a head or an MLP"
            )));
        };
        if from < self.before(edge.to) {
            return Ok(());
        }
        let why = match (edge.from, edge.to.node, self.parallel) {
            (_, Node::Input, _) => "the input reads nothing".to_string(),
            (a, b, true) if a.layer() == b.layer() => {
                "attention and MLP of a parallel block read the same stream, so neither reads what is written in the block"
                    .into()
            }
            _ => format!("`{}` reads the stream before `{}` writes to it", edge.to.node, edge.from),
        };
        Err(NoEdge(format!("`{edge}`: {why}; an edge goes from an earlier component to a later one")))
    }
}

impl fmt::Display for GraphShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if self.parallel { "parallel" } else { "sequential" };
        write!(f, "{} layers of {} heads, d_model {}, {form}", self.n_layers, self.n_heads, self.d_model)
    }
}

impl Node {
    /// The block that contains it.
    #[must_use]
    pub fn layer(self) -> Option<usize> {
        match self {
            Self::Head { layer, .. } | Self::Mlp(layer) => Some(layer),
            Self::Input | Self::Logits => None,
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input => f.write_str("input"),
            Self::Head { layer, head } => write!(f, "a{layer}.h{head}"),
            Self::Mlp(layer) => write!(f, "m{layer}"),
            Self::Logits => f.write_str("logits"),
        }
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}", self.from, self.to.node)?;
        self.to.port.map_or(Ok(()), |port| write!(f, "<{}>", port.name()))
    }
}

impl FromStr for Node {
    type Err = NoEdge;

    fn from_str(name: &str) -> Result<Self, NoEdge> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<usize>().ok().filter(|_| digits)
        };
        let head = || {
            let (layer, head) = name.strip_prefix('a')?.split_once(".h")?;
            Some(Self::Head { layer: number(layer)?, head: number(head)? })
        };
        let found = match name {
            "input" => Some(Self::Input),
            "logits" => Some(Self::Logits),
            _ => head().or_else(|| name.strip_prefix('m').and_then(number).map(Self::Mlp)),
        };
        found.ok_or_else(|| {
            let name = crate::printed::escaped(name);
            NoEdge(format!(
                "`{name}` is not a component; components are `input`, heads such as `a3.h2`, MLPs such as `m3`, and `logits`"
            ))
        })
    }
}

impl FromStr for Edge {
    type Err = NoEdge;

    fn from_str(name: &str) -> Result<Self, NoEdge> {
        let wrong = || {
            let name = crate::printed::escaped(name);
            NoEdge(format!(
                "`{name}` is not an edge; edges are written as `a0.h1->a3.h2<q>`, `m0->m3`, `a3.h2->logits`"
            ))
        };
        let (from, to) = name.split_once("->").ok_or_else(wrong)?;
        let (to, port) = match to.strip_suffix('>') {
            Some(to) => {
                let (to, port) = to.split_once('<').ok_or_else(wrong)?;
                (to, Some(Port::ALL.into_iter().find(|known| known.name() == port).ok_or_else(wrong)?))
            }
            None => (to, None),
        };
        let edge = Self { from: from.parse()?, to: Receiver { node: to.parse()?, port } };
        let is_head = matches!(edge.to.node, Node::Head { .. });
        if is_head == port.is_some() { Ok(edge) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_counted_and_named_as_in_eap_ig() {
        let of = |n_layers, n_heads, parallel| GraphShape { n_layers, n_heads, d_model: 8, parallel };
        // Pythia 410m; gpt2-small, whose 32 491 edges the paper names
        assert_eq!((of(24, 16, true).edge_count(), of(12, 12, false).edge_count()), (231_493, 32_491));
        for shape in [of(3, 2, true), of(3, 2, false)] {
            let edges: Vec<Edge> = shape.edges().collect();
            assert_eq!(edges.len(), shape.edge_count());
            for edge in edges {
                assert_eq!((edge.to_string().parse(), shape.check(edge)), (Ok(edge), Ok(())));
            }
            for (number, node) in shape.senders().into_iter().enumerate() {
                assert_eq!((shape.sender(node), node.to_string().parse()), (Some(number), Ok(node)));
            }
        }
    }

    #[test]
    fn an_impossible_edge_says_what_was_expected() {
        let why = |edge: &str, parallel| {
            let shape = GraphShape { n_layers: 3, n_heads: 2, d_model: 8, parallel };
            let checked = edge.parse::<Edge>().and_then(|edge| shape.check(edge));
            checked.map_err(|e| e.to_string()).err().unwrap_or_default()
        };
        assert_eq!(why("a1.h0->m1", false), "");
        assert!(why("a1.h0->m1", true).contains("parallel block"));
        assert!(why("m1->a1.h0<q>", true).contains("parallel block"));
        assert!(why("m2->a1.h0<q>", true).contains("`a1.h0` reads the stream before `m2` writes"));
        assert!(why("m1->a1.h0<q>", false).contains("earlier component to a later one"));
        assert!(why("a3.h0->logits", true).contains("3 layers of 2 heads"));
        assert!(why("logits->m1", true).contains("write nothing"));
        assert!(why("m0->input", true).contains("reads nothing"));
        for wrong in ["m0->a1.h0", "m0->m1<q>", "m0", "m0->a1.h0<x>", "m0->a1.hx<q>", "m+1->m2"] {
            assert!(
                why(wrong, true).contains("written as") || why(wrong, true).contains("is not a component"),
                "{wrong}"
            );
        }
    }
}
