//! What the forward pass calls at each hook point, and the edits carried out there.

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Tensor};

use super::{
    ActivationCache, BlockHook, Capture, Edit, EditError, HookError, HookPoint, Indices, Needs, Op, RunError, Schema,
    apply::{Sources, apply},
};

/// The forward pass's view of whoever watches it.
pub trait Hooks {
    /// The value computed at `point`; returns the value to go on with.
    ///
    /// # Shapes
    /// `value`: `[batch, axes of the hook]`; the result has the same shape.
    ///
    /// # Errors
    /// Whatever makes an edit impossible.
    fn at(&mut self, point: HookPoint, value: Tensor) -> Result<Tensor, RunError>;

    /// Whether [`Hooks::at`] does anything there; where it does not, a pass may leave out what nothing else needs.
    fn watches(&self, point: HookPoint) -> bool {
        let _ = point;
        true
    }

    /// Called in place of [`Hooks::at`] where a pass did without showing the value, since nobody watches it.
    fn skipped(&mut self, point: HookPoint) {
        let _ = point;
    }

    /// Called before each block.
    ///
    /// # Errors
    /// [`RunError::Cancelled`] stops the pass.
    fn entering(&mut self, block: usize) -> Result<(), RunError> {
        let _ = block;
        Ok(())
    }

    /// `rows` rows of a block's pattern had no finite score, so that their softmax is undefined; they were set to 0.
    fn undefined_rows(&mut self, block: usize, rows: usize) {
        let _ = (block, rows);
    }
}

/// One edit at one hook point, its selection resolved against the prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Number of the edit in the list.
    pub edit: usize,
    pub point: HookPoint,
    pub indices: Indices,
    /// For `patch`, the same selection resolved against the contrast prompt.
    pub contrast: Option<Indices>,
    pub op: Op,
}

/// The edits of one run (one row of a batch), resolved against a model and a prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// How many edits it was made from.
    pub edits: usize,
}

impl Plan {
    /// # Errors
    /// The first edit that this model or prompt can't carry out, and why.
    pub fn resolve(edits: &[Edit], schema: &Schema, n_pos: usize, contrast: Option<usize>) -> Result<Self, EditError> {
        let mut steps = Vec::new();
        for (number, edit) in edits.iter().enumerate() {
            let line = edit.to_string();
            let in_edit = |reason| EditError::Hook { edit: line.clone(), reason };
            for point in edit.target.points(&schema.dims).map_err(in_edit)? {
                schema.check(point).map_err(in_edit)?;
                if schema.is_unread(point) {
                    return Err(in_edit(HookError::Unread(point)));
                }
                let (indices, contrast) = if edit.op.needs() == Some(Needs::Contrast) {
                    let (to, from) = patch_indices(edit, &line, schema, point, n_pos, contrast)?;
                    (to, Some(from))
                } else {
                    let axes = schema.axes(point);
                    (edit.selection.resolve(&line, point, &axes, &schema.shape(point, n_pos))?, None)
                };
                steps.push(Step { edit: number, point, indices, contrast, op: edit.op });
            }
        }
        Ok(Self { steps, edits: edits.len() })
    }

    /// The hook points whose unedited values the plan reads.
    pub fn frozen(&self) -> impl Iterator<Item = HookPoint> {
        self.steps.iter().filter(|step| step.op.needs() == Some(Needs::Baseline)).map(|step| step.point)
    }

    /// The hook points whose values in the contrast run the plan reads.
    pub fn patched(&self) -> impl Iterator<Item = HookPoint> {
        self.steps.iter().filter(|step| step.op.needs() == Some(Needs::Contrast)).map(|step| step.point)
    }

    /// The earliest block that an edit touches: everything before it is as in the unedited run. `None` if an edit comes
    /// before the blocks; `n_layers` if all come after them (or there are none).
    #[must_use]
    pub fn first_block(&self, n_layers: usize) -> Option<usize> {
        let block = |point| match point {
            HookPoint::Tokens | HookPoint::Embed => None,
            HookPoint::Block(block, _) => Some(block),
            HookPoint::LnFinalScale | HookPoint::LnFinalNormalized => Some(n_layers),
        };
        self.steps.iter().map(|step| block(step.point)).min().unwrap_or(Some(n_layers))
    }

    /// The first position that an edit touches: at those before it everything is as in the unedited run. `n_pos` if there
    /// are no edits.
    #[must_use]
    pub fn first_position(&self, n_pos: usize) -> usize {
        let first = |step: &Step| match step.indices.axes.iter().position(|axis| axis.is_causal()) {
            Some(axis) if step.op.row().is_local => {
                step.indices.along[axis].as_ref().map_or(0, |along| along.first().copied().unwrap_or(0))
            }
            // it takes in values at all positions
            Some(_) | None => 0,
        };
        self.steps.iter().map(first).min().unwrap_or(n_pos)
    }
}

/// The selection of a patch: where it writes, and the places in the contrast run that it reads, in the same order.
///
/// Negative indices count from the end of each prompt, so `pos=-1` patches the last position from the last.
fn patch_indices(
    edit: &Edit,
    line: &str,
    schema: &Schema,
    point: HookPoint,
    n_pos: usize,
    contrast: Option<usize>,
) -> Result<(Indices, Indices), EditError> {
    let n_contrast = contrast.ok_or_else(|| EditError::NoContrast { edit: line.to_string() })?;
    let axes = schema.axes(point);
    let (here, there) = (schema.shape(point, n_pos), schema.shape(point, n_contrast));
    let length = |axis| EditError::ContrastLength { edit: line.to_string(), prompt: n_pos, contrast: n_contrast, axis };
    let mut to = edit.selection.resolve(line, point, &axes, &here)?;
    // what is there in this prompt and not in the other is a matter of their lengths
    let too_short = |error| match error {
        EditError::OutOfRange { axis, .. } | EditError::Empty { axis, .. } => length(axis),
        other => other,
    };
    let mut from = edit.selection.resolve(line, point, &axes, &there).map_err(too_short)?;
    for (i, &axis) in axes.iter().enumerate() {
        let Some(selected) = edit.selection.0.iter().find(|selected| selected.axis == axis) else {
            if here[i] != there[i] {
                return Err(length(axis));
            }
            continue;
        };
        let (to_slots, from_slots) =
            (selected.slots(line, point, here[i])?, selected.slots(line, point, there[i]).map_err(too_short)?);
        if to_slots.len() != from_slots.len() {
            return Err(length(axis));
        }
        let mut pairs: Vec<(usize, usize)> = to_slots.into_iter().zip(from_slots).collect();
        pairs.sort_unstable();
        pairs.dedup();
        if pairs.windows(2).any(|w| w[0].0 == w[1].0) {
            return Err(length(axis));
        }
        to.along[i] = Some(pairs.iter().map(|(to, _)| *to).collect());
        from.along[i] = Some(pairs.into_iter().map(|(_, from)| from).collect());
    }
    Ok((to, from))
}

/// What an edit did in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Effect {
    /// Values it was applied to, over all its hook points.
    pub touched: usize,
    /// Of those, the values that differ afterwards.
    pub changed: usize,
    /// L2 norm of the change it made there, at the moment it was applied.
    pub delta_l2: f64,
}

/// The runs that `freeze` and `patch` read from.
#[derive(Clone, Copy, Debug, Default)]
pub struct References<'a> {
    pub baseline: Option<&'a ActivationCache>,
    pub contrast: Option<&'a ActivationCache>,
}

/// Carries out edits during a forward pass, and keeps what was asked for.
///
/// A row of the batch for each plan; but one joins only at the hook where its plan first differs from the first plan, since
/// until there it is as the first row. So what rows have in common is computed once.
pub struct Interventions<'a> {
    plans: &'a [Plan],
    references: References<'a>,
    capture: Capture,
    /// Scores and patterns are not kept where no edit touches them.
    leaving_out: bool,
    d_vocab: usize,
    lines: &'a [Edit],
    cancel: Option<&'a AtomicBool>,
    progress: Option<&'a (dyn Fn(usize) + 'a)>,
    /// Positions that are not computed.
    past: usize,
    /// The plan of each row that has joined, in the order in which they did.
    rows: Vec<usize>,
    /// The activations that `capture` asked for, as they were after the edits.
    pub cache: ActivationCache,
    /// For each plan, what each edit did.
    pub effects: Vec<Vec<Effect>>,
    /// Rows of attention patterns whose scores were all -inf or NaN.
    pub undefined_rows: usize,
}

impl<'a> Interventions<'a> {
    /// Run a batch of rows, one with the edits of each plan; `lines` are the edits that all plans number.
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
            past: 0,
            rows: vec![0],
            cache,
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

    /// Of scores and patterns keep only what edits touch, if so: the others are noted as left out.
    #[must_use]
    pub fn leaving_out(mut self, so: bool) -> Self {
        self.leaving_out = so;
        self
    }

    /// The pass computes only what comes after so many positions; no plan touches those.
    #[must_use]
    pub fn after(mut self, past: usize) -> Self {
        self.past = past;
        self
    }

    /// Call `report` with each block's number as the pass enters it.
    #[must_use]
    pub fn reporting(mut self, report: &'a (dyn Fn(usize) + 'a)) -> Self {
        self.progress = Some(report);
        self
    }

    /// Which row of the result each plan's is.
    #[must_use]
    pub fn row_of_plan(&self) -> Vec<usize> {
        let row = |plan| self.rows.iter().position(|joined| *joined == plan);
        (0..self.plans.len()).map(|plan| row(plan).unwrap_or(0)).collect()
    }

    fn is_edited(&self, point: HookPoint) -> bool {
        self.plans.iter().any(|plan| plan.steps.iter().any(|step| step.point == point))
    }

    fn keeps(&self, point: HookPoint) -> bool {
        let square = matches!(point.block_hook(), Some(BlockHook::AttnScores | BlockHook::Pattern));
        self.capture.wants(point) && !(self.leaving_out && square && !self.is_edited(point))
    }

    /// The plans that differ from the first for the first time at `point`.
    fn joining(&self, point: HookPoint) -> Vec<usize> {
        let here = |plan: usize| self.plans[plan].steps.iter().filter(move |step| step.point == point);
        let differs = |plan: &usize| !self.rows.contains(plan) && !here(*plan).eq(here(0));
        (1..self.plans.len()).filter(differs).collect()
    }

    /// Apply the edits of a plan to its row of `value`.
    fn edit_row(&mut self, plan: usize, point: HookPoint, value: Tensor) -> Result<Tensor, RunError> {
        let sources = Sources {
            baseline: self.references.baseline.and_then(|cache| cache.get(point)),
            contrast: self.references.contrast.and_then(|cache| cache.get(point)),
        };
        let mut value = value;
        for step in self.plans[plan].steps.iter().filter(|step| step.point == point) {
            let (edited, change) = if point == HookPoint::Tokens {
                self.edit_tokens(&value, step, &sources)?
            } else {
                apply(&value, step, &sources, self.past)?
            };
            value = edited;
            let effect = &mut self.effects[plan][step.edit];
            effect.touched += change.touched;
            effect.changed += change.changed;
            effect.delta_l2 = (effect.delta_l2.powi(2) + change.squared).sqrt();
        }
        Ok(value)
    }

    /// Token ids are edited as numbers, and must still be token ids afterwards.
    fn edit_tokens(
        &self,
        value: &Tensor,
        step: &Step,
        sources: &Sources<'_>,
    ) -> Result<(Tensor, super::apply::Change), RunError> {
        let float = |t: Option<&Tensor>| t.map(|t| t.to_dtype(DType::F32)).transpose();
        let (baseline, contrast) = (float(sources.baseline)?, float(sources.contrast)?);
        let sources = Sources { baseline: baseline.as_ref(), contrast: contrast.as_ref() };
        let (edited, change) = apply(&value.to_dtype(DType::F32)?, step, &sources, self.past)?;
        #[allow(clippy::cast_precision_loss, reason = "vocabularies are far below 2^24")]
        let valid = |x: f32| x.fract() == 0.0 && x >= 0.0 && x < self.d_vocab as f32;
        if let Some(&value) = edited.flatten_all()?.to_vec1::<f32>()?.iter().find(|x| !valid(**x)) {
            let edit = self.lines.get(step.edit).map(ToString::to_string).unwrap_or_default();
            return Err(EditError::NotAToken { edit, value, d_vocab: self.d_vocab }.into());
        }
        Ok((edited.to_dtype(DType::U32)?, change))
    }
}

impl Hooks for Interventions<'_> {
    fn at(&mut self, point: HookPoint, value: Tensor) -> Result<Tensor, RunError> {
        let mut value = value;
        if self.is_edited(point) {
            let joining = self.joining(point);
            self.rows.extend(joining);
            let have = value.dim(0)?;
            let rows = (0..self.rows.len())
                .map(|row| {
                    let before = value.narrow(0, if row < have { row } else { 0 }, 1)?;
                    self.edit_row(self.rows[row], point, before)
                })
                .collect::<Result<Vec<_>, RunError>>()?;
            value = match rows.as_slice() {
                [row] => row.clone(),
                rows => Tensor::cat(rows, 0)?,
            };
        }
        if self.keeps(point) {
            self.cache.insert(point, value.clone());
        } else {
            self.skipped(point);
        }
        Ok(value)
    }

    fn skipped(&mut self, point: HookPoint) {
        if self.capture.wants(point) {
            self.cache.leave_out(point);
        }
    }

    fn watches(&self, point: HookPoint) -> bool {
        self.keeps(point) || self.is_edited(point)
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
