//! A finished run, from which requests are answered.

use std::{
    any::Any,
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, atomic::AtomicBool},
};

use super::{
    Control, Engine, Outcome, Run,
    lens::{LensAbout, LensColumn, LensGrid, LensQuestion, LensRack},
    slopes::Slopes,
    sweep::{CellBreakpoint, Filling, Map, Metric, Question},
};
use crate::{hooks::RunError, model::Lens};

/// Tokens listed for each cell of a lens.
const LENS_TOP: usize = 20;

/// Answers about the weights that are kept.
const OF_WEIGHTS: usize = 64;

/// Answers about one run, kept because they are as expensive as runs.
#[derive(Default)]
pub(super) struct Memo {
    /// Lenses, by number and position: each position is computed once, on demand.
    lens: BTreeMap<(usize, usize), LensColumn>,
    /// Maps, complete or partly swept: a stopped sweep resumes.
    sweeps: Vec<(Question, Filling)>,
    /// Answers that views keep, with their keys.
    kept: Vec<Box<dyn Any + Send>>,
    /// Gradients of the latest objective.
    pub(super) slopes: Slopes,
}

/// A finished run, and the engine that made it.
pub struct Finished<'a> {
    pub engine: &'a mut Engine,
    pub outcome: &'a Outcome,
    pub(super) memo: &'a mut Memo,
}

impl Finished<'_> {
    /// Take what an earlier answer about this run kept under this key.
    pub fn take<K: PartialEq + Send + 'static, T: Send + 'static>(&mut self, key: &K) -> Option<T> {
        let of = |kept: &Box<dyn Any + Send>| kept.downcast_ref::<(K, T)>().is_some_and(|(of, _)| of == key);
        let at = self.memo.kept.iter().position(of)?;
        self.memo.kept.swap_remove(at).downcast::<(K, T)>().ok().map(|kept| kept.1)
    }

    /// Keep an answer, as far as it is complete, for later questions about this run.
    pub fn keep<K: PartialEq + Send + 'static, T: Send + 'static>(&mut self, key: K, answer: T) {
        self.memo.kept.push(Box::new((key, answer)));
    }

    /// What `compute` takes from the model's weights, kept for later questions about any run of the model.
    ///
    /// # Errors
    /// Those of `compute`.
    pub fn of_weights<K: PartialEq + Send + Sync + 'static, T: Clone + Send + Sync + 'static>(
        &mut self,
        key: K,
        compute: impl FnOnce(&Engine) -> Result<T, RunError>,
    ) -> Result<T, RunError> {
        let known = self.engine.of_weights.iter().find_map(|kept| {
            kept.downcast_ref::<(K, T)>().filter(|(of, _)| *of == key).map(|(_, found)| found.clone())
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let found = compute(self.engine)?;
        if self.engine.of_weights.len() >= OF_WEIGHTS {
            self.engine.of_weights.remove(0);
        }
        self.engine.of_weights.push(Box::new((key, found.clone())));
        Ok(found)
    }

    /// The run that stands beside this one: of another model, else the baseline, if there are edits.
    fn before<'b>(&'b self, other: Option<(&'b Engine, &'b Outcome)>) -> Option<(&'b Engine, &'b Run)> {
        let baseline = || self.outcome.unedited().map(|run| (&*self.engine, run));
        other.map(|(engine, outcome)| (engine, &*outcome.run)).or_else(baseline)
    }

    /// One of the engine's lenses at some positions, computed once for each, beside
    /// the run of another model or the baseline. A lens that is not there is the logit lens.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    pub fn lens(
        &mut self,
        lens: usize,
        positions: Range<usize>,
        other: Option<(&Engine, &Outcome)>,
        cancel: &AtomicBool,
    ) -> Result<LensGrid, RunError> {
        let number = lens.min(self.engine.lenses.len().saturating_sub(1));
        let kept = &self.memo.lens;
        let missing: Vec<usize> = positions.clone().filter(|pos| !kept.contains_key(&(number, *pos))).collect();
        if let (Some(first), Some(last), Some(lens)) = (missing.first(), missing.last(), self.engine.lenses.get(number))
        {
            let question = LensQuestion { positions: *first..last + 1, top: LENS_TOP, target: None };
            let columns = self.engine.lens_beside(lens, self.outcome, self.before(other), &question, cancel)?;
            self.memo.lens.extend((*first..).map(|pos| (number, pos)).zip(columns));
        }
        let kept = &self.memo.lens;
        let columns: Vec<&LensColumn> = positions.clone().filter_map(|pos| kept.get(&(number, pos))).collect();
        let about = self.engine.lenses.get(number).map(|lens| LensAbout::from(&**lens)).unwrap_or_default();
        Ok(LensGrid::new(about, self.engine.lenses.len(), positions.start, &columns))
    }

    /// Every lens of the engine at one position, with the rank of a token.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    pub fn lens_rack(
        &self,
        pos: usize,
        target: Option<u32>,
        other: Option<(&Engine, &Outcome)>,
        cancel: &AtomicBool,
    ) -> Result<LensRack, RunError> {
        let question = LensQuestion { positions: pos..pos + 1, top: LENS_TOP, target };
        let lens = |lens: &Arc<Lens>| -> Result<(LensAbout, LensColumn), RunError> {
            let columns = self.engine.lens_beside(lens, self.outcome, self.before(other), &question, cancel)?;
            Ok((LensAbout::from(&**lens), columns.into_iter().next().unwrap_or_default()))
        };
        Ok(LensRack { lenses: self.engine.lenses.iter().map(lens).collect::<Result<_, _>>()? })
    }

    /// Sweep a map, resuming where it stopped.
    ///
    /// # Errors
    /// As [`Engine::fill`]; what was filled in is kept.
    pub fn sweep(
        &mut self,
        map: Map,
        question: Question,
        breakpoints: &[CellBreakpoint],
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Filling),
    ) -> Result<Filling, RunError> {
        let (spec, kept) = (&self.outcome.spec, &mut self.memo.sweeps);
        // cells that were run without a breakpoint were not looked through for it
        let same = |filling: &Filling| {
            let (old, new) = (&filling.breakpoints, breakpoints);
            new.is_empty() || (old.len() == new.len() && old.iter().zip(new).all(|(old, new)| old.is(new)))
        };
        let at = kept.iter().position(|(of, filling)| *of == question && filling.grid.map == map && same(filling));
        let new = || Filling::new(map, &self.engine.schema, spec.tokens.len());
        let mut filling = at.map_or_else(new, |at| kept.swap_remove(at).1);
        if at.is_none() || breakpoints.is_empty() {
            filling.breakpoints = breakpoints.to_vec();
        }
        let control = Control { cancel, progress: &|_, _| {} };
        let mut tell = |filling: &Filling| tell(filling.clone());
        let result = self.engine.fill(spec, question, Metric::Kl, &mut filling, control, &mut tell);
        kept.push((question, filling.clone()));
        result.map(|()| filling)
    }
}
