//! The numbers of an activation of a finished run: its values, or gradients with respect to it.

use std::{collections::BTreeMap, sync::atomic::AtomicBool};

use candle_core::{DType, Tensor};

use super::{
    Compare, Control, Factor, Numbers, Unseen, WithBaseline, control::go_on, finished::Finished, host::with_values,
    no_change, slopes::Which, values::off,
};
use crate::hooks::{Capture, HookPoint};

/// A total for each hook: the L2 norm of a gradient, or the sum of a product.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HookTotals(pub BTreeMap<HookPoint, f64>);

impl Finished<'_> {
    /// The numbers of an activation: of the run and, if it has edits, of the baseline.
    ///
    /// # Shapes
    /// `[1, axes of the hook]`; a gradient and its products are f32.
    ///
    /// # Errors
    /// The hook is off or has no gradient, a contrast prompt that can't be compared, cancellation, tensor errors.
    pub(super) fn numbers(
        &mut self,
        point: HookPoint,
        numbers: Numbers,
        cancel: &AtomicBool,
    ) -> Result<WithBaseline<Tensor>, Unseen> {
        let edited = self.outcome.unedited().is_some();
        let run = self.numbers_in(Which::Run, point, numbers, cancel)?;
        let baseline = edited.then(|| self.numbers_in(Which::Baseline, point, numbers, cancel)).transpose()?;
        Ok(WithBaseline { run, baseline })
    }

    fn numbers_in(
        &mut self,
        which: Which,
        point: HookPoint,
        numbers: Numbers,
        cancel: &AtomicBool,
    ) -> Result<Tensor, Unseen> {
        let outcome = self.outcome;
        let run = match which {
            Which::Run => &outcome.run,
            Which::Baseline => &outcome.baseline,
        };
        let Numbers::Gradients { of, times } = numbers else {
            return self.engine.activation(run, point)?.ok_or_else(|| off(point));
        };
        self.check(point, times)?;
        let control = Control { cancel, progress: &|_, _| {} };
        let gradients = self.memo.slopes.of((outcome, which), of, &[point], self.engine, control)?;
        let gradient = self.engine.gradient(gradients, point, control)?.ok_or_else(|| off(point))?;
        let found = |value: Option<Tensor>| -> Result<Tensor, Unseen> {
            Ok(value.ok_or_else(|| off(point))?.to_dtype(DType::F32)?)
        };
        let factor = match times {
            Factor::One => return Ok(gradient),
            Factor::Value => found(self.engine.activation(run, point)?)?,
            Factor::Change => {
                let tokens = outcome.spec.contrast.as_deref().unwrap_or_default();
                let contrast = self.engine.unedited(tokens, &Capture::All, outcome.first, control)?;
                let there = found(self.engine.activation(&contrast, point)?)?;
                (there - found(self.engine.activation(run, point)?)?)?
            }
        };
        // a masked score is infinite, and nothing depends on it
        let product = (&gradient * factor)?;
        Ok(gradient.eq(0.0f32)?.where_cond(&gradient, &product)?)
    }

    /// Refuse a hook without a gradient, and a change without a comparable contrast prompt.
    fn check(&self, point: HookPoint, times: Factor) -> Result<(), Unseen> {
        let spec = &self.outcome.spec;
        if times == Factor::Change
            && let Some(why) = no_change(spec.tokens.len(), spec.contrast.as_ref().map(Vec::len))
        {
            return Err(Unseen::Nothing(why));
        }
        let schema = &self.engine.schema;
        let why = match () {
            () if schema.is_derived(point) => {
                format!("a parallel block never computes {point}, so it has no gradient")
            }
            () if schema.check(point).is_err() => return Err(off(point)),
            () if point == HookPoint::Tokens => format!("{point} holds whole numbers, which have no gradient"),
            () => return Ok(()),
        };
        Err(Unseen::Nothing(why))
    }

    /// The total at every hook of the run or, with the run of another model, of the difference of both; hooks without a gradient are
    /// left out.
    ///
    /// # Errors
    /// Too little memory for all gradients at once, a contrast prompt that can't be compared, cancellation, tensor
    /// errors.
    pub fn totals(
        &mut self,
        numbers: Numbers,
        mut less: Option<&mut Finished<'_>>,
        cancel: &AtomicBool,
    ) -> Result<HookTotals, Unseen> {
        self.all_slopes(numbers, cancel)?;
        if let Some(other) = &mut less {
            other.all_slopes(numbers, cancel)?;
        }
        let mut totals = BTreeMap::new();
        for point in self.engine.schema.points().into_iter().filter(|point| *point != HookPoint::Tokens) {
            go_on(cancel)?;
            let value = self.numbers_in(Which::Run, point, numbers, cancel)?;
            let total = match &mut less {
                None => with_values(&value, |all| total(all, numbers))?,
                Some(other) => {
                    let other = other.numbers_in(Which::Run, point, numbers, cancel)?;
                    with_values(&value, |this| with_values(&other, |that| total(&less_than(this, that), numbers)))??
                }
            };
            totals.insert(point, total);
        }
        Ok(HookTotals(totals))
    }

    /// Have every gradient of the run from one pass.
    fn all_slopes(&mut self, numbers: Numbers, cancel: &AtomicBool) -> Result<(), Unseen> {
        if let Numbers::Gradients { of, .. } = numbers {
            let control = Control { cancel, progress: &|_, _| {} };
            self.memo.slopes.of((self.outcome, Which::Run), of, &[], self.engine, control)?;
        }
        Ok(())
    }
}

fn less_than(this: &[f32], that: &[f32]) -> Vec<f32> {
    this.iter().zip(that).map(|(this, that)| Compare::Difference.of(*this, *that)).collect()
}

/// The L2 norm of the finite values or, for products, the sum.
fn total(values: &[f32], numbers: Numbers) -> f64 {
    let norm = || values.iter().filter(|x| x.is_finite()).map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    match numbers {
        Numbers::Values | Numbers::Gradients { times: Factor::One, .. } => norm(),
        Numbers::Gradients { times: Factor::Value | Factor::Change, .. } => values.iter().map(|x| f64::from(*x)).sum(),
    }
}
