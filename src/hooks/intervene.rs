//! Hooks of the forward pass, and the edits applied there.

mod features;

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Tensor};

use super::{
    ActivationCache, Capture, CorpusValues, Edit, EditError, FeatureEdits, HookPoint, Plan, Received, RunError, Step,
    apply::{Change, Sources, apply, first_order},
    cache::row_of,
    observe::{Hooks, Observer},
    path_deltas::{Written, added, received},
};

/// What an edit did in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Effect {
    /// The number of values it was applied to, over all its hook points.
    pub touched: usize,
    /// The number of those that differ afterwards.
    pub changed: usize,
    /// The L2 norm of the change at the moment it was applied.
    pub delta_l2: f64,
}

/// The runs that `freeze` and `patch` read from.
#[derive(Clone, Copy, Debug, Default)]
pub struct References<'a> {
    pub baseline: Option<&'a ActivationCache>,
    pub contrast: Option<&'a ActivationCache>,
    pub corpus: Option<&'a CorpusValues>,
}

impl<'a> References<'a> {
    /// The sources of values for an operation at a hook, in a row of the batch.
    pub(super) fn at(&self, point: HookPoint, row: usize) -> candle_core::Result<Sources<'a>> {
        let own = |cache: Option<&ActivationCache>| {
            let value = cache.and_then(|cache| cache.get(point));
            value.map(|value| value.narrow(0, row_of(row, value.dim(0)?), 1)).transpose()
        };
        Ok(Sources {
            baseline: own(self.baseline)?,
            contrast: own(self.contrast)?,
            corpus: self.corpus.map(|corpus| (corpus, row)),
        })
    }
}

impl References<'_> {
    /// The effect of a step on an objective to first order: the change that it makes to `value` times the gradient.
    ///
    /// # Shapes
    /// `value` and `gradient`: `[1, axes of the hook]`, f32.
    ///
    /// # Errors
    /// A value that the reference runs did not keep, tensor errors.
    pub fn first_order(&self, step: &Step, value: &Tensor, gradient: &Tensor) -> Result<f64, RunError> {
        first_order(value, gradient, step, &self.at(step.point, 0)?)
    }
}

/// Applies edits during a forward pass, and keeps the requested activations.
///
/// The batch has a row for each plan. A row joins only at the hook where its plan first differs from the first plan,
/// since until then it equals the first row. So what rows have in common is computed once.
pub struct Interventions<'a> {
    plans: &'a [Plan],
    references: References<'a>,
    capture: Capture,
    /// Scores and patterns are not kept unless an edit touches them.
    leaving_out: bool,
    d_vocab: usize,
    lines: &'a [Edit],
    cancel: Option<&'a AtomicBool>,
    progress: Option<&'a (dyn Fn(usize) + 'a)>,
    observer: Option<&'a (dyn Observer + 'a)>,
    /// The number of positions that are not computed.
    past: usize,
    dictionaries: Option<&'a dyn FeatureEdits>,
    /// What dictionaries read beside their hook.
    pub(super) before: ActivationCache,
    /// The plan of each row that has joined, in the order of joining.
    rows: Vec<usize>,
    /// The activations that `capture` names, after the edits.
    pub cache: ActivationCache,
    /// The values that arrived at hooks whose features are edited, where there is one plan.
    pub arrived: ActivationCache,
    /// What the senders of paths wrote.
    pub(super) written: Written,
    /// For each plan, what each edit did.
    pub effects: Vec<Vec<Effect>>,
    /// Rows of attention patterns whose scores were all -inf or NaN.
    pub undefined_rows: usize,
}

impl<'a> Interventions<'a> {
    /// Run a batch with one row for each plan; the plans refer to the edits in `lines` by number.
    #[must_use]
    pub fn new(
        plans: &'a [Plan],
        lines: &'a [Edit],
        capture: Capture,
        references: References<'a>,
        d_vocab: usize,
    ) -> Self {
        let effects = plans.iter().map(|plan| vec![Effect::default(); plan.edits]).collect();
        let cache = ActivationCache::default();
        Self {
            plans,
            references,
            capture,
            leaving_out: false,
            d_vocab,
            lines,
            cancel: None,
            progress: None,
            observer: None,
            past: 0,
            dictionaries: None,
            before: ActivationCache::default(),
            rows: vec![0],
            cache,
            arrived: ActivationCache::default(),
            written: Written::default(),
            effects,
            undefined_rows: 0,
        }
    }

    /// Stop at the next block once `flag` is set.
    #[must_use]
    pub fn cancelled_by(mut self, flag: &'a AtomicBool) -> Self {
        self.cancel = Some(flag);
        self
    }

    /// If `so` is set, keep only the scores and patterns that edits touch, and note the others as left out.
    #[must_use]
    pub fn leaving_out(mut self, so: bool) -> Self {
        self.leaving_out = so;
        self
    }

    /// The pass computes only the positions from `past` on; no plan touches the earlier ones.
    #[must_use]
    pub fn after(mut self, past: usize) -> Self {
        self.past = past;
        self
    }

    /// Every plan has a row from the beginning, since the rows are different prompts.
    #[must_use]
    pub fn with_every_row(mut self) -> Self {
        self.rows = (0..self.plans.len()).collect();
        self
    }

    /// Call `report` with each block's number as the pass enters it.
    #[must_use]
    pub fn reporting(mut self, report: &'a (dyn Fn(usize) + 'a)) -> Self {
        self.progress = Some(report);
        self
    }

    /// Show activations to `observer`.
    #[must_use]
    pub fn observed_by(mut self, observer: &'a (dyn Observer + 'a)) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The row of the result that holds each plan.
    #[must_use]
    pub fn row_of_plan(&self) -> Vec<usize> {
        let row = |plan| self.rows.iter().position(|joined| *joined == plan);
        (0..self.plans.len()).map(|plan| row(plan).unwrap_or(0)).collect()
    }

    /// The plan of the first row.
    pub(super) fn plan(&self) -> &'a Plan {
        &self.plans[0]
    }

    fn is_edited(&self, point: HookPoint) -> bool {
        self.plans.iter().any(|plan| plan.steps.iter().any(|step| step.point == point))
    }

    fn keeps(&self, point: HookPoint) -> bool {
        self.capture.wants(point) && !(self.leaving_out && point.is_square() && !self.is_edited(point))
    }

    /// The plans that first differ from the first plan at `point`.
    fn joining(&self, point: HookPoint) -> Vec<usize> {
        let here = |plan: usize| self.plans[plan].steps.iter().filter(move |step| step.point == point);
        let differs = |plan: &usize| !self.rows.contains(plan) && !here(*plan).eq(here(0));
        (1..self.plans.len()).filter(differs).collect()
    }

    /// Apply the edits of a plan to its row of `value`.
    fn edit_row(&mut self, plan: usize, row: usize, point: HookPoint, value: Tensor) -> Result<Tensor, RunError> {
        let (mut value, plans) = (value, self.plans);
        for step in plans[plan].steps.iter().filter(|step| step.point == point) {
            let change;
            (value, change) = match &step.sent {
                Some(_) => {
                    let (delta, change) = self.delta(step, row)?;
                    (added(&value, &delta, &step.indices)?, change)
                }
                None if step.features => self.edit_features(&value, step, row)?,
                None if point == HookPoint::Tokens => {
                    self.edit_tokens(&value, step, self.references.at(point, row)?)?
                }
                None => apply(&value, step, &self.references.at(point, row)?, self.past)?,
            };
            self.tell(plan, step, change);
        }
        Ok(value)
    }

    /// What a path adds to its receiver's input.
    fn delta(&self, step: &Step, row: usize) -> Result<(Tensor, Change), RunError> {
        let Some(sent) = &step.sent else {
            return Err(candle_core::Error::Msg(format!("the edit of {} is not a path", step.point)).into());
        };
        self.written.delta(step, sent, &self.references.at(sent.point, row)?, row, self.past)
    }

    fn tell(&mut self, plan: usize, step: &Step, change: Change) {
        let effect = &mut self.effects[plan][step.edit];
        effect.touched += change.touched;
        effect.changed += change.changed;
        effect.delta_l2 = (effect.delta_l2.powi(2) + change.squared).sqrt();
    }

    /// Whether a path starts at `point`.
    fn starts(&self, point: HookPoint) -> bool {
        let starts = |step: &Step| step.sent.as_ref().is_some_and(|sent| sent.point == point);
        self.plans.iter().any(|plan| plan.steps.iter().any(starts))
    }

    /// Token ids are edited as numbers, and must still be token ids afterwards.
    fn edit_tokens(
        &self,
        value: &Tensor,
        step: &Step,
        sources: Sources<'_>,
    ) -> Result<(Tensor, super::apply::Change), RunError> {
        let float = |t: Option<Tensor>| t.map(|t| t.to_dtype(DType::F32)).transpose();
        let sources =
            Sources { baseline: float(sources.baseline)?, contrast: float(sources.contrast)?, corpus: sources.corpus };
        let (edited, change) = apply(&value.to_dtype(DType::F32)?, step, &sources, self.past)?;
        #[allow(clippy::cast_precision_loss, reason = "vocabularies are far below 2^24")]
        let valid = |x: f32| x.fract() == 0.0 && x >= 0.0 && x < self.d_vocab as f32;
        if let Some(&value) = edited.flatten_all()?.to_vec1::<f32>()?.iter().find(|x| !valid(**x)) {
            return Err(EditError::NotAToken { edit: self.line(step), value, d_vocab: self.d_vocab }.into());
        }
        Ok((edited.to_dtype(DType::U32)?, change))
    }
}

impl Hooks for Interventions<'_> {
    fn at(&mut self, point: HookPoint, value: Tensor) -> Result<Tensor, RunError> {
        let mut value = value;
        if self.is_edited(point) {
            self.note_arrival(point, &value);
            let joining = self.joining(point);
            self.rows.extend(joining);
            let have = value.dim(0)?;
            let rows = (0..self.rows.len())
                .map(|row| {
                    let before = value.narrow(0, row_of(row, have), 1)?;
                    self.edit_row(self.rows[row], row, point, before)
                })
                .collect::<Result<Vec<_>, RunError>>()?;
            value = match rows.as_slice() {
                [row] => row.clone(),
                rows => Tensor::cat(rows, 0)?,
            };
        }
        if self.starts(point) {
            self.written.insert(point, value.clone());
        }
        if self.notes(point) {
            self.before.insert(point, value.clone());
        }
        if let Some(observer) = self.observer.filter(|observer| observer.wants(point)) {
            let have = value.dim(0)?;
            let rows: Vec<usize> = self.row_of_plan().into_iter().map(|row| row_of(row, have)).collect();
            observer.see(point, &value, &rows)?;
        }
        if self.keeps(point) {
            self.cache.insert(point, value.clone());
        } else {
            self.skipped(point);
        }
        Ok(value)
    }

    fn sends(&self, point: HookPoint) -> bool {
        self.starts(point)
    }

    fn sent(&mut self, point: HookPoint, value: Tensor) {
        self.written.insert(point, value);
    }

    fn received(&mut self, point: HookPoint, stream: &Tensor) -> Result<Vec<Received>, RunError> {
        if !self.is_edited(point) {
            return Ok(vec![]);
        }
        let joining = self.joining(point);
        self.rows.extend(joining);
        let plans = self.plans;
        let mut all = vec![];
        for row in 0..self.rows.len() {
            let plan = self.rows[row];
            let own = stream.narrow(0, row_of(row, stream.dim(0)?), 1)?;
            all.extend(received(&plans[plan].steps, point, row, &own, &mut |step| {
                let (delta, change) = self.delta(step, row)?;
                self.tell(plan, step, change);
                Ok(delta)
            })?);
        }
        Ok(all)
    }

    fn aside(&self, point: HookPoint, row: usize, value: Tensor) -> Result<Tensor, RunError> {
        let mut value = value;
        let plan = self.rows.get(row).map_or(0, |plan| *plan);
        for step in self.plans[plan].steps.iter().filter(|step| step.point == point && step.sent.is_none()) {
            (value, _) = match step.features {
                true => self.edit_features(&value, step, row)?,
                false => apply(&value, step, &self.references.at(point, row)?, self.past)?,
            };
        }
        Ok(value)
    }

    fn skipped(&mut self, point: HookPoint) {
        if self.capture.wants(point) {
            self.cache.leave_out(point);
        }
    }

    fn watches(&self, point: HookPoint) -> bool {
        let observed = self.observer.is_some_and(|observer| observer.wants(point));
        observed || self.keeps(point) || self.is_edited(point) || self.notes(point)
    }

    fn entering(&mut self, block: usize) -> Result<(), RunError> {
        if self.cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(RunError::Cancelled);
        }
        if let Some(report) = self.progress {
            report(block);
        }
        Ok(())
    }

    fn undefined_rows(&mut self, _block: usize, rows: usize) {
        self.undefined_rows += rows;
    }
}
