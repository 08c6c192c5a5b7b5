//! The edits of a text that grows beyond its prompt.

use super::{Axis, Caution, Edit, EditError, Indices, Needs, Op, Plan, Schema, Selection, Step};

impl Plan {
    /// As [`Self::resolve`] against a prompt, but for a text of `n_pos` tokens that begins with it. A selection of positions is
    /// of the prompt's; an edit that selects none is made at later ones too, except a patch, since the contrast prompt ends.
    ///
    /// # Errors
    /// The first edit that this model or prompt can't carry out, and why.
    pub fn continued(
        edits: &[Edit],
        schema: &Schema,
        prompt: usize,
        n_pos: usize,
        contrast: Option<usize>,
    ) -> Result<Self, EditError> {
        let mut plan = Self::resolve(edits, schema, prompt, contrast)?;
        for step in &mut plan.steps {
            let edit = &edits[step.edit];
            let is_patch = step.op.needs() == Some(Needs::Contrast);
            match (&mut step.sent, &edit.sender) {
                (Some(sent), Some(sender)) => {
                    grow(&mut sent.indices, &sender.selection, n_pos, is_patch);
                    grow(&mut step.indices, &edit.selection, n_pos, false);
                }
                _ => grow(&mut step.indices, &edit.selection, n_pos, is_patch),
            }
        }
        Ok(plan)
    }

    /// What is left of a continued plan where a pass computes the positions from `past` on, all of them after the prompt.
    #[must_use]
    pub fn after_prompt(mut self, past: usize) -> Self {
        self.steps.retain_mut(|step| {
            let sent = step.sent.as_mut().map(|sent| &mut sent.indices);
            [Some(&mut step.indices), sent].into_iter().flatten().all(|indices| is_made_from(indices, past))
        });
        self
    }

    /// Whether what lies at a position stays as it is when the text grows.
    #[must_use]
    pub fn is_causal(&self) -> bool {
        self.caution() != Some(Caution::Unmasks) && self.steps.iter().all(Step::is_causal)
    }
}

impl Step {
    fn is_causal(&self) -> bool {
        match self.op {
            // where the rows are longer, a place has other noise
            Op::Noise { .. } => !self.source().is_square(),
            Op::Set(_)
            | Op::Scale(_)
            | Op::Add(_)
            | Op::Mean
            | Op::Patch
            | Op::Freeze
            | Op::Steer { .. }
            | Op::Project(_)
            | Op::CorpusMean
            | Op::Resample { .. } => self.op.row().is_local,
        }
    }
}

/// Extend what is selected in a prompt to a text of `n_pos` tokens.
fn grow(indices: &mut Indices, selection: &Selection, n_pos: usize, in_prompt: bool) {
    let named = |axis: Axis| selection.0.iter().any(|selected| selected.axis == axis);
    let in_prompt = in_prompt || named(Axis::Query);
    for i in 0..indices.axes.len() {
        let (axis, prompt) = (indices.axes[i], indices.shape[i]);
        if !axis.is_position() {
            continue;
        }
        indices.shape[i] = n_pos;
        if n_pos > prompt && (in_prompt || named(axis)) {
            indices.along[i].get_or_insert_with(|| (0..prompt).collect());
        }
    }
}

/// Select the positions from `past` on where all are selected; false where only some are, which are the prompt's.
fn is_made_from(indices: &mut Indices, past: usize) -> bool {
    let Some(axis) = indices.axes.iter().position(|axis| axis.is_causal()) else { return true };
    if indices.along[axis].is_some() {
        return false;
    }
    indices.along[axis] = Some((past..indices.shape[axis]).collect());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hooks::Dims, model::ACTIVATIONS};

    fn schema() -> Schema {
        Schema::new(Dims {
            n_layers: 2,
            n_heads: 2,
            d_head: 4,
            d_model: 8,
            d_mlp: 16,
            d_vocab: 50,
            parallel: true,
            activation: ACTIVATIONS[0].words,
        })
    }

    type Along = Vec<Option<Vec<usize>>>;

    /// What an edit selects in a text of 5 tokens whose prompt has 3, and at position 4 alone.
    fn selected(line: &str) -> (Along, Option<Along>) {
        let plan = Plan::continued(&[line.parse().unwrap()], &schema(), 3, 5, Some(3)).unwrap();
        let whole = plan.steps[0].indices.along.clone();
        (whole, plan.after_prompt(4).steps.first().map(|step| step.indices.along.clone()))
    }

    #[test]
    fn only_edits_without_a_position_go_on_after_the_prompt() {
        let all = |range: std::ops::Range<usize>| Some(range.collect::<Vec<_>>());
        let z = "blocks.0.attn.hook_z";
        assert_eq!(selected(&format!("{z} = 0")), (vec![None; 3], Some(vec![all(4..5), None, None])));
        assert_eq!(selected(&format!("{z}[pos=-1] = 0")), (vec![all(2..3), None, None], None));
        // all positions of the prompt, named, are not all of the text
        assert_eq!(selected(&format!("{z}[pos=0:3] = 0")), (vec![all(0..3), None, None], None));
        assert_eq!(selected(&format!("{z} = patch")), (vec![all(0..3), None, None], None));
        let pattern = "blocks.0.attn.hook_pattern";
        assert_eq!(selected(&format!("{pattern}[key=-1] = 0")).1, Some(vec![None, all(4..5), all(2..3)]));
        assert_eq!(selected(&format!("{pattern}[query=1] = 0")), (vec![None, all(1..2), all(0..3)], None));
    }

    #[test]
    fn what_reads_later_positions_is_not_causal() {
        for (line, causal) in [
            ("blocks.0.attn.hook_z = 0", true),
            ("blocks.*.hook_mlp_out += noise 1", true),
            ("blocks.0.hook_mlp_out = mean", false),
            ("blocks.0.attn.hook_pattern *= 0.5", true),
            ("blocks.0.attn.hook_pattern += 1", false),
            ("blocks.0.attn.hook_attn_scores = 0", false),
            ("blocks.0.attn.hook_attn_scores += noise 1", false),
            ("blocks.0.hook_mlp_out = freeze", true),
            ("blocks.0.hook_mlp_out -> blocks.1.hook_mlp_in = mean", false),
        ] {
            let plan = Plan::continued(&[line.parse().unwrap()], &schema(), 3, 4, None).unwrap();
            assert_eq!(plan.is_causal(), causal, "{line}");
        }
    }
}
