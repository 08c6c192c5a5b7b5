//! A dose curve: the prediction over the number of one edit.

use std::ops::ControlFlow;

use super::{Control, Engine, Measure, Question, Spec, sweep::Rows};
use crate::{
    analysis::log_normaliser,
    hooks::{Edit, Op, RunError},
};

/// The prediction after the last position, with an amount as the number of an edit.
#[derive(Clone, Debug, PartialEq)]
pub struct DosePoint {
    pub amount: f32,
    /// The KL is from the run without edits.
    pub measure: Measure,
    /// The probabilities of chosen tokens.
    pub probs: Vec<f64>,
}

/// A dose curve to compute.
#[derive(Clone, Debug, PartialEq)]
pub struct Dose {
    /// The edits of the run, in order, and which of them has the varied number.
    pub edits: Vec<Edit>,
    pub varied: usize,
    pub amounts: Vec<f32>,
    pub question: Question,
    /// Tokens whose probabilities are wanted too.
    pub tokens: Vec<u32>,
}

/// A curve, while it is computed and once it is complete.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DoseCurve {
    /// The run without edits.
    pub unedited: Option<Measure>,
    /// In the order of the amounts; None for those to come.
    pub points: Vec<Option<DosePoint>>,
}

/// Evenly spaced amounts from one to another, both included.
#[must_use]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "numbers of edits are f32")]
pub fn amounts(from: f32, to: f32, points: usize) -> Vec<f32> {
    let (from, to, steps) = (f64::from(from), f64::from(to), points.saturating_sub(1).max(1) as f64);
    (0..points).map(|at| (from + (to - from) * at as f64 / steps) as f32).collect()
}

/// The amounts that a curve spans where none are named: from minus twice to twice the operation's number; from 0 for factors and noise.
/// None for an operation without a finite number.
#[must_use]
pub fn usual_amounts(op: Op) -> Option<(f32, f32)> {
    let number = op.number().filter(|number| number.is_finite())?;
    let most = if number == 0.0 { 1.0 } else { (2.0 * number.abs()).min(f32::MAX) };
    match op {
        Op::Scale(_) => Some((0.0, most.max(2.0))),
        Op::Noise { .. } => Some((0.0, most)),
        Op::Set(_) | Op::Add(_) | Op::Steer { .. } => Some((-most, most)),
        Op::Mean | Op::CorpusMean | Op::Resample { .. } | Op::Patch | Op::Freeze | Op::Project(_) => None,
    }
}

impl DoseCurve {
    /// Each point minus that of another model; a curve that is not complete on both sides has gaps.
    #[must_use]
    pub fn less(&self, other: &Self) -> Self {
        let less = |(a, b): (&DosePoint, &DosePoint)| DosePoint {
            amount: a.amount,
            measure: a.measure.less(b.measure),
            probs: a.probs.iter().zip(&b.probs).map(|(a, b)| a - b).collect(),
        };
        let points = self.points.iter().zip(&other.points);
        Self {
            unedited: self.unedited.zip(other.unedited).map(|(a, b)| a.less(b)),
            points: points.map(|(a, b)| a.as_ref().zip(b.as_ref()).map(less)).collect(),
        }
    }
}

impl Dose {
    /// The edits of the run with an amount; those that are given where the varied edit has no number.
    #[must_use]
    pub fn edits_with(&self, amount: f32) -> Vec<Edit> {
        let mut edits = self.edits.clone();
        if let Some(edit) = edits.get_mut(self.varied) {
            edit.op = edit.op.with_number(amount).unwrap_or(edit.op);
        }
        edits
    }
}

impl Engine {
    /// Compute a dose curve, many amounts at a time. `each` gets the curve as it fills in.
    ///
    /// # Errors
    /// An edit that this model or prompt can't carry out, cancellation, tensor errors.
    pub fn dose(
        &mut self,
        spec: &Spec,
        dose: &Dose,
        control: Control<'_>,
        each: &mut dyn FnMut(&DoseCurve),
    ) -> Result<DoseCurve, RunError> {
        let cells: Vec<Vec<Edit>> = dose.amounts.iter().map(|amount| dose.edits_with(*amount)).collect();
        // vectors are computed for the edits of the run
        let of_edits = Spec { edits: dose.edits.clone(), ..spec.clone() };
        self.ready(&of_edits, control)?;
        let unedited = Spec { edits: vec![], ..spec.clone() };
        let question = dose.question;
        let mut curve = DoseCurve { unedited: None, points: vec![None; cells.len()] };
        self.sweep_rows(&unedited, &cells, &[], control, &mut |rows| match rows {
            Rows::Begun { before, contrast: _ } => {
                curve.unedited = Some(question.measure(before, before));
                ControlFlow::Continue(())
            }
            Rows::Hits(_) => ControlFlow::Continue(()),
            Rows::Cells { before, numbers, logits } => {
                for (number, logits) in numbers.iter().zip(logits) {
                    let normaliser = log_normaliser(logits);
                    let prob = |id: &u32| {
                        let logit = logits.get(*id as usize).map_or(f64::NAN, |logit| f64::from(*logit));
                        (logit - normaliser).exp()
                    };
                    curve.points[*number] = Some(DosePoint {
                        amount: dose.amounts[*number],
                        measure: question.measure(before, logits),
                        probs: dose.tokens.iter().map(prob).collect(),
                    });
                }
                each(&curve);
                ControlFlow::Continue(())
            }
        })?;
        Ok(curve)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_include_both_ends() {
        assert_eq!(amounts(-1.0, 1.0, 5), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!(amounts(3.0, 3.0, 2), [3.0, 3.0]);
        assert_eq!(amounts(2.0, 8.0, 1), [2.0]);
        assert_eq!(amounts(0.0, 1.0, 0), [0.0; 0]);
    }
}
