//! The view's request: parts of the model by strength, their exact effects, and the faithfulness of circuits.

use std::sync::atomic::AtomicBool;

use super::{
    known::{Known, strongest_first, unpatched},
    parts::{OfParts, Part, Scored, Scores, What},
};
use crate::{
    analysis::{Edge, GraphShape, Objective},
    engine::{
        Ask, AttributionError, Compare, Control, Faithfulness, Finished, Method, Needs, Reads, Spec, Unseen,
        without_stream_edits,
    },
    experiment::ChosenEdges,
    hooks::Edit,
};

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
        let missing = known.missing(self);
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
