//! The view's request: parts of the model by strength, their exact effects, and the faithfulness of circuits.

use std::{collections::BTreeMap, sync::atomic::AtomicBool};

use crate::{
    analysis::{Edge, GraphShape, Node, Objective},
    engine::{
        Ask, Attributed, AttributionError, Compare, Control, Faithfulness, FeatureNode, Finished, Method, Needs, Reads,
        Spec, Unseen, circuit_sizes, patch_edge, patch_feature, patch_node, without_stream_edits,
    },
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    fn edge(self) -> Option<Edge> {
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

/// Scores, the strongest first, and exact effects as far as they are computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// The objective of the prompt and of the contrast prompt.
    pub value: f64,
    pub contrast_value: f64,
    /// Part, estimate, and the exact effect once it is known.
    pub parts: Vec<(Part, f64, Option<f64>)>,
    /// The number of exact effects and circuits still to come.
    pub left: usize,
    /// The circuit once it has run, or why it can't.
    pub circuit: Option<Result<Faithfulness, String>>,
    /// Circuits of the strongest edges, by their number.
    pub curve: Vec<Faithfulness>,
    /// Edits that the run does not have.
    pub left_out: Vec<Edit>,
}

/// The results for a run's parts so far.
struct Known {
    value: f64,
    contrast_value: f64,
    parts: Vec<(Part, f64, Option<f64>)>,
    /// Circuits of the strongest edges.
    strongest: BTreeMap<usize, Faithfulness>,
    listed: Vec<(Vec<Edge>, Faithfulness)>,
    /// Why no circuit can be run.
    refused: Option<String>,
    /// The edits that the run leaves out.
    left_out: Vec<Edit>,
}

impl Ask for OfParts {
    type Answer = Scores;

    fn needs(&self) -> Needs {
        Needs::Pass
    }

    fn reads(&self) -> Reads {
        Reads::Weights
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Scores),
    ) -> Result<Scores, Unseen> {
        let key = (self.what, self.method, self.objective);
        let (spec, left_out) = self.attributed(&finished.outcome.spec);
        let mut known = match finished.take(&key) {
            Some(known) => known,
            None => Known { left_out, ..self.rank(&spec, finished, cancel)? },
        };
        tell(known.answer(self));
        let result = self.go_on(&mut known, &spec, finished, cancel, tell);
        let answer = known.answer(self);
        finished.keep(key, known);
        result.map(|()| answer)
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        match self.compare {
            Compare::Edited => self.answer(this, cancel, tell),
            Compare::Baseline => self.answer(that, cancel, tell),
            Compare::Difference => Err(Unseen::Nothing("a circuit is of one model: show this or that".into())),
        }
    }
}

impl OfParts {
    /// The run that the parts are of, and the edits that it leaves out: edges are parts of sums, which such an edit changes.
    fn attributed(&self, spec: &Spec) -> (Spec, Vec<Edit>) {
        match self.what {
            What::Nodes | What::Features => (spec.clone(), vec![]),
            What::Edges => without_stream_edits(spec),
        }
    }

    /// Every part, the strongest by estimate first.
    fn rank(&self, spec: &Spec, finished: &mut Finished<'_>, cancel: &AtomicBool) -> Result<Known, Unseen> {
        let engine = &mut *finished.engine;
        let control = Control { cancel, progress: &|_, _| {} };
        let method = match (self.method, self.objective) {
            // the gradient of a KL is 0 at the baseline
            (Method::Exact, Objective::Kl { .. }) => Method::EapIg { steps: Method::STEPS },
            (Method::Exact, Objective::LogitDiff { .. } | Objective::Prob { .. } | Objective::Loss) => Method::Eap,
            (method @ (Method::Eap | Method::EapIg { .. }), _) => method,
        };
        let known = match self.what {
            What::Nodes => engine
                .attribute_nodes(spec, self.objective, method, control)
                .map(|found| Known::new(&found, Part::Node)),
            What::Edges => engine
                .attribute_edges(spec, self.objective, method, control)
                .map(|found| Known::new(&found, Part::Edge)),
            What::Features => engine
                .attribute_features(spec, self.objective, method, control)
                .map(|found| Known::new(&found, Part::Feature)),
        };
        known.map_err(Unseen::from_attribution)
    }

    fn go_on(
        &self,
        known: &mut Known,
        spec: &Spec,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Scores),
    ) -> Result<(), Unseen> {
        if self.method != Method::Exact {
            self.run_circuits(known, spec, finished, cancel, tell)?;
        }
        self.patch(known, spec, finished, cancel, tell)?;
        if self.method == Method::Exact {
            known.sort(|(_, _, exact)| exact.unwrap_or(f64::NAN));
            self.run_circuits(known, spec, finished, cancel, tell)?;
        }
        Ok(())
    }

    /// The number of parts that are patched.
    fn patched(&self) -> usize {
        if self.method == Method::Exact { usize::MAX } else { EXACT }
    }

    /// Patch the strongest parts, a few at a time.
    fn patch(
        &self,
        known: &mut Known,
        spec: &Spec,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Scores),
    ) -> Result<(), Unseen> {
        let engine = &mut *finished.engine;
        let control = Control { cancel, progress: &|_, _| {} };
        let n_layers = GraphShape::from(engine.schema.dims).n_layers;
        let patched = known.parts.iter().take(self.patched()).enumerate();
        let missing: Vec<usize> =
            patched.filter(|(_, part)| part.2.is_none() && part.0.has_edit()).map(|(at, _)| at).collect();
        for some in missing.chunks(if self.method == Method::Exact { 32 } else { 8 }) {
            let edits: Vec<Option<Edit>> = some.iter().map(|at| known.parts[*at].0.edit(n_layers)).collect();
            let effects = engine.effects_of(spec, &edits, self.objective, control).map_err(Unseen::from_attribution)?;
            for (at, effect) in some.iter().zip(effects) {
                known.parts[*at].2 = Some(effect);
            }
            tell(known.answer(self));
        }
        Ok(())
    }

    /// The sizes of circuits of the strongest edges that are still to run.
    fn missing(&self, known: &Known) -> Vec<usize> {
        let own = match &self.circuit {
            Some(ChosenEdges::Strongest(size)) => vec![*size.min(&known.parts.len())],
            Some(ChosenEdges::Listed(_)) | None => vec![],
        };
        let curve = if self.curve { circuit_sizes(known.parts.len()) } else { vec![] };
        let mut missing: Vec<usize> = vec![];
        for size in own.into_iter().chain(curve) {
            if !known.strongest.contains_key(&size) && !missing.contains(&size) {
                missing.push(size);
            }
        }
        missing
    }

    /// Run the circuit, and circuits of every size.
    fn run_circuits(
        &self,
        known: &mut Known,
        spec: &Spec,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Scores),
    ) -> Result<(), Unseen> {
        if self.what != What::Edges || known.refused.is_some() {
            return Ok(());
        }
        let engine = &mut *finished.engine;
        let control = Control { cancel, progress: &|_, _| {} };
        let listed = match &self.circuit {
            Some(ChosenEdges::Listed(edges)) if known.of_listed(edges).is_none() => Some(edges),
            Some(ChosenEdges::Listed(_) | ChosenEdges::Strongest(_)) | None => None,
        };
        let edges: Vec<Edge> = known.parts.iter().filter_map(|(part, ..)| part.edge()).collect();
        let missing = self.missing(known);
        let sets: Vec<&[Edge]> =
            listed.into_iter().map(Vec::as_slice).chain(missing.iter().map(|size| &edges[..*size])).collect();
        if sets.is_empty() {
            return Ok(());
        }
        let mut is_listed = listed;
        let mut told = |found: Faithfulness| {
            match is_listed.take() {
                Some(edges) => known.listed.push((edges.clone(), found)),
                None => drop(known.strongest.insert(found.edges, found)),
            }
            tell(known.answer(self));
        };
        match engine.circuits(spec, self.objective, &sets, control, &mut told) {
            Ok(_) => Ok(()),
            Err(AttributionError::Run(error)) => Err(Unseen::Run(error)),
            Err(other) => {
                known.refused = Some(other.to_string());
                Ok(())
            }
        }
    }
}

impl Known {
    fn new<T: Copy>(found: &Attributed<T>, part: fn(T) -> Part) -> Self {
        let mut known = Self {
            value: found.value,
            contrast_value: found.contrast_value,
            parts: found.scores.iter().map(|(of, score)| (part(*of), *score, None)).collect(),
            strongest: BTreeMap::new(),
            listed: vec![],
            refused: None,
            left_out: vec![],
        };
        known.sort(|(_, estimate, _)| *estimate);
        known
    }

    /// The strongest first, NaN last.
    fn sort(&mut self, score: impl Fn(&(Part, f64, Option<f64>)) -> f64) {
        let size = |part: &_| if score(part).is_nan() { -1.0 } else { score(part).abs() };
        self.parts.sort_by(|a, b| size(b).total_cmp(&size(a)));
    }

    fn of_listed(&self, edges: &[Edge]) -> Option<Faithfulness> {
        self.listed.iter().find(|(of, _)| of == edges).map(|(_, found)| *found)
    }

    fn answer(&self, ask: &OfParts) -> Scores {
        let circuit = match &ask.circuit {
            Some(ChosenEdges::Strongest(size)) => self.strongest.get(size.min(&self.parts.len())).copied(),
            Some(ChosenEdges::Listed(edges)) => self.of_listed(edges),
            None => None,
        };
        let runs = match (ask.what, &self.refused) {
            (What::Nodes | What::Features, _) | (_, Some(_)) => 0,
            (What::Edges, None) => {
                let is_missing = matches!(ask.circuit, Some(ChosenEdges::Listed(_))) && circuit.is_none();
                ask.missing(self).len() + usize::from(is_missing)
            }
        };
        let patched = self.parts.iter().take(ask.patched());
        let effects = patched.filter(|(part, _, exact)| exact.is_none() && part.has_edit()).count();
        Scores {
            value: self.value,
            contrast_value: self.contrast_value,
            parts: self.parts.clone(),
            left: effects + runs,
            circuit: circuit.map(Ok).or(self.refused.clone().map(Err)),
            curve: if ask.curve { self.strongest.values().copied().collect() } else { vec![] },
            left_out: self.left_out.clone(),
        }
    }
}

impl Scores {
    /// Estimate and exact effect of the parts for which both are known.
    #[must_use]
    pub fn pairs(&self) -> Vec<(f64, f64)> {
        self.parts.iter().filter_map(|(_, estimate, exact)| Some((*estimate, (*exact)?))).collect()
    }
}
