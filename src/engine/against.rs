//! Two models with the same prompt and edits: how far apart their activations and predictions are.

use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use super::{
    Engine, HookChange, Run, Summary,
    control::{each, go_on},
    host::{rows, with_values},
    next_tokens::beside,
};
use crate::{
    analysis::{Change, kl_divergence},
    hooks::{HookPoint, RunError},
};

/// Positions whose logits are compared together.
const AT_ONCE: usize = 64;

/// How far a run of this model is from one of another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Apart {
    /// `‖this − that‖ / ‖that‖` (L2) at every hook that both runs kept, in execution order.
    pub hooks: Vec<HookChange>,
    /// KL(that || this) in nats, at each position.
    pub kl: Vec<f64>,
}

impl Engine {
    /// How far a run is from one of another model with the same sizes, of the same tokens.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    pub fn apart(&self, run: &Run, that: (&Self, &Run), cancel: &AtomicBool) -> Result<Apart, RunError> {
        let (n_pos, mut kl) = (run.tokens.len(), Vec::new());
        for from in (0..n_pos).step_by(AT_ONCE) {
            go_on(cancel)?;
            let at = from..(from + AT_ONCE).min(n_pos);
            let (this, that) = (rows(&self.logits(run, at.clone())?)?, rows(&that.0.logits(that.1, at)?)?);
            kl.par_extend(that.par_iter().zip(&this).map(|(that, this)| kl_divergence(that, this)));
        }
        Ok(Apart { hooks: self.distances(run, that, cancel)?, kl })
    }

    /// The distance at every hook that both runs kept, or can recompute.
    pub(super) fn distances(
        &self,
        run: &Run,
        that: (&Self, &Run),
        cancel: &AtomicBool,
    ) -> Result<Vec<HookChange>, RunError> {
        let both: Vec<HookPoint> = run.cache.points().intersection(&that.1.cache.points()).copied().collect();
        let distance = |at: usize| -> Result<Option<HookChange>, RunError> {
            go_on(cancel)?;
            let pair = self.activation(run, both[at])?.zip(that.0.activation(that.1, both[at])?);
            let Some((this, that)) = pair else { return Ok(None) };
            let change = with_values(&that, |that| with_values(&this, |this| Change::between(that, this)))??;
            Ok(Some(HookChange { point: both[at], relative: change.relative() }))
        };
        Ok(each(both.len(), run.logits.device().is_cpu(), distance)?.into_iter().flatten().collect())
    }

    /// The summary of a run beside that of another model's run: that one is in the place of the baseline.
    ///
    /// # Errors
    /// Cancellation, tensor errors.
    pub(super) fn summary_of_two(
        &self,
        (run, summary): (&Run, Summary),
        (engine, that, other): (&Self, &Run, Summary),
        cancel: &AtomicBool,
    ) -> Result<Summary, RunError> {
        let last = |mut rows: Vec<Vec<super::Prediction>>| rows.pop().unwrap_or_default();
        let (top, was) = beside((last(summary.top), &summary.logits), (last(other.top), &other.logits));
        Ok(Summary {
            kl: vec![kl_divergence(&other.logits, &summary.logits)],
            top: vec![top],
            was: vec![was],
            changes: self.distances(run, (engine, that), cancel)?,
            baseline_logits: other.logits,
            ..summary
        })
    }
}
