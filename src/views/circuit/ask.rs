//! The view's request: parts of the model by strength, their exact effects, and the faithfulness of circuits.

use std::sync::atomic::AtomicBool;

use super::known::{Known, strongest_first, unpatched};
use crate::{
    analysis::{Edge, GraphShape, Node, Objective},
    engine::{
        Ask, AttributionError, Compare, Control, Faithfulness, FeatureNode, Finished, Method, Needs, Reads, Spec,
        Unseen, circuit_sizes, patch_edge, patch_feature, patch_node, without_stream_edits,
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
        let spec = self.attributed(&finished.outcome.spec).0;
        let mut known = self.known(finished, cancel)?;
        tell(known.answer(self));
        let result = self.go_on(&mut known, &spec, finished, cancel, &mut |known| tell(known.answer(self)));
        let answer = known.answer(self);
        finished.keep(self.key(), known);
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
            Compare::Difference => self.difference(this, that, cancel, tell),
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

    /// What results depend on.
    fn key(&self) -> (What, Method, Objective) {
        (self.what, self.method, self.objective)
    }

    /// What is known of a run's parts: at least every estimate.
    fn known(&self, finished: &mut Finished<'_>, cancel: &AtomicBool) -> Result<Known, Unseen> {
        if let Some(known) = finished.take(&self.key()) {
            return Ok(known);
        }
        let (spec, left_out) = self.attributed(&finished.outcome.spec);
        Ok(Known { left_out, ..self.rank(&spec, finished, cancel)? })
    }

    /// The scores of this model less those of that one; the parts that differ most are patched in both.
    fn difference(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Scores),
    ) -> Result<Scores, Unseen> {
        let mut here = self.known(this, cancel)?;
        let mut there = match self.known(that, cancel) {
            Ok(there) => there,
            Err(why) => {
                this.keep(self.key(), here);
                return Err(why);
            }
        };
        tell(here.less(&there, self));
        let result = self.go_on_in_both((&mut here, this), (&mut there, that), cancel, tell);
        let answer = here.less(&there, self);
        this.keep(self.key(), here);
        that.keep(self.key(), there);
        result.map(|()| answer)
    }

    fn go_on_in_both(
        &self,
        (here, this): (&mut Known, &mut Finished<'_>),
        (there, that): (&mut Known, &mut Finished<'_>),
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Scores),
    ) -> Result<(), Unseen> {
        // both have the same prompts and edits
        let spec = self.attributed(&this.outcome.spec).0;
        let circuits_last = self.method == Method::Exact;
        for is_last in [false, true] {
            if is_last == circuits_last {
                self.run_circuits(here, &spec, this, cancel, &mut |here| tell(here.less(there, self)))?;
                self.run_circuits(there, &spec, that, cancel, &mut |there| tell(here.less(there, self)))?;
                continue;
            }
            let missing = unpatched(&here.less(there, self).parts, self);
            for some in missing.chunks(self.at_once()) {
                self.patch(here, some, &spec, this, cancel)?;
                self.patch(there, some, &spec, that, cancel)?;
                tell(here.less(there, self));
            }
            if circuits_last {
                for known in [&mut *here, &mut *there] {
                    strongest_first(&mut known.parts, |(_, _, exact)| exact.unwrap_or(f64::NAN));
                }
            }
        }
        Ok(())
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
        tell: &mut dyn FnMut(&Known),
    ) -> Result<(), Unseen> {
        if self.method != Method::Exact {
            self.run_circuits(known, spec, finished, cancel, tell)?;
        }
        for some in unpatched(&known.parts, self).chunks(self.at_once()) {
            self.patch(known, some, spec, finished, cancel)?;
            tell(known);
        }
        if self.method == Method::Exact {
            strongest_first(&mut known.parts, |(_, _, exact)| exact.unwrap_or(f64::NAN));
            self.run_circuits(known, spec, finished, cancel, tell)?;
        }
        Ok(())
    }

    /// The number of parts that are patched.
    pub(super) fn patched(&self) -> usize {
        if self.method == Method::Exact { usize::MAX } else { EXACT }
    }

    /// The number of parts that are patched together.
    fn at_once(&self) -> usize {
        if self.method == Method::Exact { 32 } else { 8 }
    }

    /// Patch some parts, one at a time, unless their exact effects are known.
    fn patch(
        &self,
        known: &mut Known,
        some: &[Part],
        spec: &Spec,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
    ) -> Result<(), Unseen> {
        let engine = &mut *finished.engine;
        let control = Control { cancel, progress: &|_, _| {} };
        let n_layers = GraphShape::from(engine.schema.dims).n_layers;
        let mut missing: Vec<&mut Scored> =
            known.parts.iter_mut().filter(|(part, _, exact)| exact.is_none() && some.contains(part)).collect();
        let edits: Vec<Option<Edit>> = missing.iter().map(|(part, ..)| part.edit(n_layers)).collect();
        if edits.is_empty() {
            return Ok(());
        }
        let effects = engine.effects_of(spec, &edits, self.objective, control).map_err(Unseen::from_attribution)?;
        for (part, effect) in missing.iter_mut().zip(effects) {
            part.2 = Some(effect);
        }
        Ok(())
    }

    /// The sizes of circuits of the strongest edges that are still to run.
    pub(super) fn missing(&self, known: &Known) -> Vec<usize> {
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
        tell: &mut dyn FnMut(&Known),
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
            tell(known);
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

impl Scores {
    /// Estimate and exact effect of the parts for which both are known.
    #[must_use]
    pub fn pairs(&self) -> Vec<(f64, f64)> {
        self.parts.iter().filter_map(|(_, estimate, exact)| Some((*estimate, (*exact)?))).collect()
    }
}
