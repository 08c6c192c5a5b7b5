//! Parts of the model, the request for their scores, and the answer.

use crate::{
    analysis::{Edge, Node, Objective},
    engine::{Compare, Faithfulness, FeatureNode, Method, patch_edge, patch_feature, patch_node},
    experiment::ChosenEdges,
    hooks::Edit,
};

/// The number of parts whose exact effect is computed, the strongest by estimate; all parts if they are ordered by it.
const EXACT: usize = 48;

/// What is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Nodes,
    Edges,
    /// The features of dictionaries, and what these leave out.
    Features,
}

impl What {
    pub(super) const ALL: [Self; 3] = [Self::Nodes, Self::Edges, Self::Features];
}

/// A component, an edge, or a feature of a dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Node(Node),
    Edge(Edge),
    Feature(FeatureNode),
}

impl Part {
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Node(node) => node.to_string(),
            Self::Edge(edge) => edge.to_string(),
            Self::Feature(feature) => feature.to_string(),
        }
    }

    /// The edit that takes it from the contrast prompt; None for an error term.
    #[must_use]
    pub fn edit(self, n_layers: usize) -> Option<Edit> {
        match self {
            Self::Node(node) => patch_node(node),
            Self::Edge(edge) => patch_edge(edge, n_layers),
            Self::Feature(feature) => patch_feature(feature),
        }
    }

    pub(super) fn edge(self) -> Option<Edge> {
        match self {
            Self::Node(_) | Self::Feature(_) => None,
            Self::Edge(edge) => Some(edge),
        }
    }

    /// Whether its exact effect can be computed.
    pub(super) fn has_edit(self) -> bool {
        match self {
            Self::Node(_) | Self::Edge(_) => true,
            Self::Feature(FeatureNode { feature, .. }) => feature.is_some(),
        }
    }
}

/// Parts of the model by the effect of patching them from the contrast prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct OfParts {
    pub what: What,
    /// The method that orders them.
    pub method: Method,
    pub objective: Objective,
    /// For edges, the circuit to run.
    pub circuit: Option<ChosenEdges>,
    /// Whether to run circuits of every size, too.
    pub curve: bool,
    /// Which of two models it is of.
    pub compare: Compare,
}

/// A part, its estimate, and the exact effect once it is known.
pub type Scored = (Part, f64, Option<f64>);

/// Scores, the strongest first, and exact effects as far as they are computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// The objective of the prompt and of the contrast prompt.
    pub value: f64,
    pub contrast_value: f64,
    pub parts: Vec<Scored>,
    /// The number of exact effects and circuits still to come.
    pub left: usize,
    /// The circuit once it has run, or why it can't.
    pub circuit: Option<Result<Faithfulness, String>>,
    /// Circuits of the strongest edges, by their number.
    pub curve: Vec<Faithfulness>,
    /// Edits that the run does not have.
    pub left_out: Vec<Edit>,
}

impl OfParts {
    /// What results depend on.
    pub(super) fn key(&self) -> (What, Method, Objective) {
        (self.what, self.method, self.objective)
    }

    /// The number of parts that are patched.
    pub(super) fn patched(&self) -> usize {
        if self.method == Method::Exact { usize::MAX } else { EXACT }
    }

    /// The number of parts that are patched together.
    pub(super) fn at_once(&self) -> usize {
        if self.method == Method::Exact { 32 } else { 8 }
    }
}

impl Scores {
    /// Estimate and exact effect of the parts for which both are known.
    #[must_use]
    pub fn pairs(&self) -> Vec<(f64, f64)> {
        self.parts.iter().filter_map(|(_, estimate, exact)| Some((*estimate, (*exact)?))).collect()
    }
}
