//! Gradients of a finished run, kept with it: one backward pass for a run and a number.

use super::{Control, Engine, Gradients, Outcome, memory};
use crate::{
    analysis::Objective,
    hooks::{BlockHook, Capture, HookPoint, RunError},
};

/// One of an outcome's runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Run,
    Baseline,
}

/// The gradients of one number in an outcome's runs.
#[derive(Default)]
pub(super) struct Slopes(Vec<Kept>);

struct Kept {
    of: Objective,
    which: Which,
    gradients: Gradients,
}

impl Slopes {
    /// The gradients of an objective, computed if they are not kept: all of them or, if they don't fit in memory, those
    /// at `points`.
    ///
    /// # Errors
    /// All of them don't fit in memory and there are no `points`; cancellation, tensor errors.
    pub fn of(
        &mut self,
        (outcome, which): (&Outcome, Which),
        of: Objective,
        points: &[HookPoint],
        engine: &mut Engine,
        control: Control<'_>,
    ) -> Result<&Gradients, RunError> {
        let holds = |kept: &Kept| {
            let cache = &kept.gradients.cache;
            let has = |point: &HookPoint| cache.get(*point).is_some() || cache.is_left_out(*point);
            kept.which == which && points.iter().all(has)
        };
        // those of another objective are no longer needed
        self.0.retain(|kept| kept.of == of && (kept.which != which || holds(kept)));
        let at = if let Some(at) = self.0.iter().position(holds) {
            at
        } else {
            let keep = engine.gradients_to_keep(outcome.spec.tokens.len(), points)?;
            let gradients = engine.gradients_in(outcome, which, of, &keep, control)?;
            self.0.push(Kept { of, which, gradients });
            self.0.len() - 1
        };
        Ok(&self.0[at].gradients)
    }
}

impl Engine {
    /// All gradients if they fit in memory, else those at some hooks.
    fn gradients_to_keep(&self, n_pos: usize, points: &[HookPoint]) -> Result<Capture, RunError> {
        let leaving_out = self.leaves_out_scores(n_pos);
        match memory::room_for_gradients(&self.loaded.model, &self.schema, n_pos, leaving_out) {
            Ok(()) => Ok(Capture::All),
            Err(error) if points.is_empty() => Err(error),
            Err(_) => {
                // scores and patterns are recomputed from the gradient at hook_z
                let z = points.iter().filter_map(|p| p.block()).map(|block| HookPoint::Block(block, BlockHook::Z));
                Ok(Capture::Only(points.iter().copied().chain(z).collect()))
            }
        }
    }

    /// The backward pass from an objective of a finished run, or of its baseline, to every hook in `keep`.
    fn gradients_in(
        &mut self,
        outcome: &Outcome,
        which: Which,
        of: Objective,
        keep: &Capture,
        control: Control<'_>,
    ) -> Result<Gradients, RunError> {
        let edits = match which {
            Which::Run => outcome.spec.edits.as_slice(),
            Which::Baseline => &[],
        };
        let plan = self.plan(edits, &outcome.spec)?;
        let base = self.base(&outcome.spec, &Capture::All, outcome.first, &[&plan], control)?;
        let run = if edits.is_empty() { base.baseline.clone() } else { outcome.run.clone() };
        self.gradients_of((plan, base, run), of, keep, control)
    }
}
