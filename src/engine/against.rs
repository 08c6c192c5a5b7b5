//! Two models with the same prompt and edits: how far apart their activations and predictions are.

use std::sync::atomic::AtomicBool;

use candle_core::Tensor;
use rayon::prelude::*;

use super::{
    Control, Engine, HookChange, Outcome, Run, Spec, Summary,
    changes::relative_by_position,
    control::{each, go_on},
    host::{rows, with_values},
    next_tokens::beside,
};
use crate::{
    analysis::{Change, kl_divergence, log_normaliser},
    hooks::{BlockHook, Capture, HookPoint, RunError},
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

/// How two models read the new tokens of one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadByBoth {
    /// The probability of each in this model, and in that one.
    pub probs: [Vec<f64>; 2],
    /// `‖this − that‖ / ‖that‖` (L2) of the stream after each block, `[token][block]`.
    pub apart: Vec<Vec<f64>>,
}

impl Engine {
    /// Run a prompt with new tokens, and the edits of `spec`, in this model and in another with the same sizes.
    ///
    /// # Errors
    /// An edit that this prompt can't carry out, cancellation, tensor errors.
    pub fn read_by_both(
        &mut self,
        that: &mut Self,
        spec: &Spec,
        new: &[u32],
        control: Control<'_>,
    ) -> Result<ReadByBoth, RunError> {
        let prompt = spec.tokens.len();
        let tokens = [spec.tokens.as_slice(), new].concat();
        let spec = Spec { tokens, generated: new.len(), ..spec.clone() };
        let after = |block| HookPoint::Block(block, BlockHook::ResidPost);
        let points: Vec<HookPoint> = (0..self.schema.dims.n_layers).map(after).collect();
        let kept = Capture::Only(points.iter().copied().collect());
        let run = |engine: &mut Self| engine.run(&spec, &kept, spec.tokens.len(), control);
        let (here, there) = (run(self)?, run(that)?);
        let probs = |engine: &Self, run: &Run| -> Result<Vec<f64>, RunError> {
            let mut probs = Vec::new();
            for from in (0..new.len()).step_by(AT_ONCE) {
                go_on(control.cancel)?;
                let at = from..(from + AT_ONCE).min(new.len());
                // the token at a position is predicted before it
                let rows = rows(&engine.logits(run, prompt + at.start - 1..prompt + at.end - 1)?)?;
                let prob = |(row, id): (&Vec<f32>, &u32)| (f64::from(row[*id as usize]) - log_normaliser(row)).exp();
                probs.extend(rows.iter().zip(&new[at]).map(prob));
            }
            Ok(probs)
        };
        let probs = [probs(self, &here.run)?, probs(that, &there.run)?];
        // a run that begins at a later block is as its baseline before that
        let stream = |engine: &Self, of: &Outcome, point| -> Result<Option<Tensor>, RunError> {
            Ok(engine.activation(&of.run, point)?.or(engine.activation(&of.baseline, point)?))
        };
        let mut apart = vec![Vec::with_capacity(points.len()); new.len()];
        for point in points {
            let Some((here, there)) = stream(self, &here, point)?.zip(stream(that, &there, point)?) else { continue };
            let by_position = relative_by_position(&there, &here, prompt)?;
            apart.iter_mut().zip(by_position).for_each(|(token, relative)| token.push(relative));
        }
        Ok(ReadByBoth { probs, apart })
    }

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
