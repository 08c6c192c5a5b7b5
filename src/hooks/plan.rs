//! The edits of a run, resolved against a model and a prompt.

use super::{
    Axis, Edit, EditError, HookError, HookPoint, Indices, Needs, Op, Schema, Selection, path, steering::vector_at,
    vector::Values,
};

/// One edit at one hook point, its selection resolved against the prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The number of the edit in the list.
    pub edit: usize,
    pub point: HookPoint,
    /// It is of the features of the dictionary there.
    pub features: bool,
    pub indices: Indices,
    /// For `patch`, the same selection resolved against the contrast prompt.
    pub contrast: Option<Indices>,
    pub op: Op,
    /// The numbers of the operation's vector there; None also where they are still to be computed.
    pub vector: Option<Values>,
    /// The sender of a path; `point` is then the receiver, and the operation applies to what the sender writes.
    pub sent: Option<Sent>,
}

/// A sender's hook, its selection resolved against the prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    pub point: HookPoint,
    pub indices: Indices,
}

/// The edits of one run (one row of a batch), resolved against a model and a prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// The number of edits that it was made from.
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
            corpus_needs(edit, &line, schema)?;
            if let Some(sender) = &edit.sender {
                for from in sender.target.points(&schema.dims).map_err(in_edit)? {
                    for to in edit.target.points(&schema.dims).map_err(in_edit)? {
                        path::check(&line, from, to, schema)?;
                        let at = Layout { schema, point: from, d_sae: None };
                        let (indices, contrast) = selected(edit, &sender.selection, &line, &at, (n_pos, contrast))?;
                        let vector = vector_at(edit, &line, schema, from, &indices)?;
                        let sent = Some(Sent { point: from, indices });
                        let receiver = edit.selection.resolve(&line, to, &schema.axes(to), &schema.shape(to, n_pos))?;
                        let (edit, features, op) = (number, false, edit.op);
                        steps.push(Step { edit, point: to, features, indices: receiver, contrast, op, vector, sent });
                    }
                }
                continue;
            }
            for point in edit.target.points(&schema.dims).map_err(in_edit)? {
                schema.check(point).map_err(in_edit)?;
                if schema.is_unread(point) {
                    return Err(in_edit(HookError::Unread(point)));
                }
                let d_sae = schema.dictionaries().get(&point).copied();
                if edit.features && d_sae.is_none() {
                    return Err(EditError::NoDictionary { edit: line, hook: point });
                }
                let at = Layout { schema, point, d_sae: d_sae.filter(|_| edit.features) };
                let (indices, contrast) = selected(edit, &edit.selection, &line, &at, (n_pos, contrast))?;
                let vector = vector_at(edit, &line, schema, point, &indices)?;
                let (edit, features, op) = (number, edit.features, edit.op);
                steps.push(Step { edit, point, features, indices, contrast, op, vector, sent: None });
            }
        }
        Ok(Self { steps, edits: edits.len() })
    }

    /// The hook points whose unedited values the plan reads.
    pub fn frozen(&self) -> impl Iterator<Item = HookPoint> {
        let own = |step: &&Step| step.sent.is_none() && step.op.needs() == Some(Needs::Baseline);
        // what senders wrote before the block where a pass resumes
        let sent = self.steps.iter().filter_map(|step| step.sent.as_ref()).map(|sent| sent.point);
        self.steps.iter().filter(own).map(|step| step.point).chain(sent)
    }

    /// The hook points whose values in the contrast run the plan reads.
    pub fn patched(&self) -> impl Iterator<Item = HookPoint> {
        self.steps.iter().filter(|step| step.op.needs() == Some(Needs::Contrast)).map(Step::source)
    }

    /// The steps that take values from a corpus.
    pub fn of_corpus(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.op.needs() == Some(Needs::Corpus))
    }

    /// Whether it edits the features of dictionaries.
    #[must_use]
    pub fn has_features(&self) -> bool {
        self.steps.iter().any(|step| step.features)
    }

    /// Whether it reads the features of an unedited run.
    #[must_use]
    pub fn reads_features(&self, of: Needs) -> bool {
        self.steps.iter().any(|step| step.features && step.op.needs() == Some(of))
    }

    /// The earliest block that an edit touches: everything before it is as in the unedited run. `None` if an edit comes
    /// before the blocks; `n_layers` if all edits come after them, or there are none.
    #[must_use]
    pub fn first_block(&self, n_layers: usize) -> Option<usize> {
        let block = |point| match point {
            HookPoint::Tokens | HookPoint::Embed => None,
            HookPoint::Block(block, _) => Some(block),
            HookPoint::LnFinalScale | HookPoint::LnFinalNormalized => Some(n_layers),
        };
        self.steps.iter().map(|step| block(step.point)).min().unwrap_or(Some(n_layers))
    }

    /// The first position that an edit touches: at earlier ones everything is as in the unedited run. `n_pos` if there
    /// are no edits.
    #[must_use]
    pub fn first_position(&self, n_pos: usize) -> usize {
        let first = |step: &Step| match step.indices.axes.iter().position(|axis| axis.is_causal()) {
            Some(axis) if step.op.row().is_local => {
                step.indices.along[axis].as_ref().map_or(0, |along| along.first().copied().unwrap_or(0))
            }
            // the operation reads values at all positions
            Some(_) | None => 0,
        };
        self.steps.iter().map(first).min().unwrap_or(n_pos)
    }
}

impl Step {
    /// The hook whose values the operation applies to: for a path, its sender.
    #[must_use]
    pub fn source(&self) -> HookPoint {
        self.sent.as_ref().map_or(self.point, |sent| sent.point)
    }
}

/// Refuse what a corpus would have to give and does not.
fn corpus_needs(edit: &Edit, line: &str, schema: &Schema) -> Result<(), EditError> {
    if edit.op.needs() != Some(Needs::Corpus) {
        return Ok(());
    }
    let line = || line.to_string();
    if !schema.has_corpus() {
        return Err(EditError::NoCorpus { edit: line() });
    }
    let target = edit.sender.as_ref().map_or(&edit.target, |sender| &sender.target);
    let square = |point: &HookPoint| schema.axes(*point).first() != Some(&Axis::Pos) || *point == HookPoint::Tokens;
    let points = target.points(&schema.dims).map_err(|reason| EditError::Hook { edit: line(), reason })?;
    match points.into_iter().find(square) {
        Some(hook) if edit.op == Op::CorpusMean && !edit.features => {
            Err(EditError::NoCorpusMean { edit: line(), hook })
        }
        _ => Ok(()),
    }
}

/// What is selected from: the activation at a hook, or the features of the dictionary there.
struct Layout<'a> {
    schema: &'a Schema,
    point: HookPoint,
    d_sae: Option<usize>,
}

impl Layout<'_> {
    fn axes(&self) -> Vec<Axis> {
        match self.d_sae {
            Some(_) => vec![Axis::Pos, Axis::DSae],
            None => self.schema.axes(self.point),
        }
    }

    fn shape(&self, n_pos: usize) -> Vec<usize> {
        match self.d_sae {
            Some(d_sae) => vec![n_pos, d_sae],
            None => self.schema.shape(self.point, n_pos),
        }
    }
}

/// The selection of an edit at a hook and, for a patch, the places in the contrast run.
fn selected(
    edit: &Edit,
    selection: &Selection,
    line: &str,
    at: &Layout<'_>,
    (n_pos, contrast): (usize, Option<usize>),
) -> Result<(Indices, Option<Indices>), EditError> {
    if edit.op.needs() == Some(Needs::Contrast) {
        let (to, from) = patch_indices(selection, line, at, n_pos, contrast)?;
        return Ok((to, Some(from)));
    }
    Ok((selection.resolve(line, at.point, &at.axes(), &at.shape(n_pos))?, None))
}

/// The selection of a patch: where it writes, and the places in the contrast run from which it reads, in the same
/// order.
///
/// Negative indices count from the end of each prompt, so `pos=-1` patches the last position from the last.
fn patch_indices(
    selection: &Selection,
    line: &str,
    at: &Layout<'_>,
    n_pos: usize,
    contrast: Option<usize>,
) -> Result<(Indices, Indices), EditError> {
    let n_contrast = contrast.ok_or_else(|| EditError::NoContrast { edit: line.to_string() })?;
    let (axes, point) = (at.axes(), at.point);
    let (here, there) = (at.shape(n_pos), at.shape(n_contrast));
    let length = |axis| EditError::ContrastLength { edit: line.to_string(), prompt: n_pos, contrast: n_contrast, axis };
    let mut to = selection.resolve(line, point, &axes, &here)?;
    // places that exist in only one of the prompts are a matter of their lengths
    let too_short = |error| match error {
        EditError::OutOfRange { axis, .. } | EditError::Empty { axis, .. } => length(axis),
        other => other,
    };
    let mut from = selection.resolve(line, point, &axes, &there).map_err(too_short)?;
    for (i, &axis) in axes.iter().enumerate() {
        let Some(selected) = selection.0.iter().find(|selected| selected.axis == axis) else {
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
