//! The runs of both prompts that attributions and circuits compare, and which edits they can have.

use std::{collections::BTreeSet, sync::Arc};

use super::{AttributionError, Control, Engine, Method, Run, Spec, base::Base};
use crate::{
    analysis::Objective,
    hooks::{BlockHook, Capture, Edit, HookPoint, Plan, Target},
};

/// The largest number of steps of integrated gradients.
const MOST_STEPS: usize = 10_000;

/// The runs that an attribution compares.
pub(super) struct Compared {
    pub plan: Plan,
    pub base: Base,
    pub run: Arc<Run>,
    pub contrast: Arc<Run>,
    pub value: f64,
    pub contrast_value: f64,
}

/// The hooks at which components write.
pub(super) fn writers(n_layers: usize) -> BTreeSet<HookPoint> {
    let block = |block| [BlockHook::Z, BlockHook::MlpOut].map(|hook| HookPoint::Block(block, hook));
    [HookPoint::Embed].into_iter().chain((0..n_layers).flat_map(block)).collect()
}

impl Engine {
    /// Both prompts' runs, and the objective of each.
    pub(super) fn compared(
        &mut self,
        spec: &Spec,
        objective: Objective,
        method: Method,
        control: Control<'_>,
    ) -> Result<Compared, AttributionError> {
        let contrast = spec.contrast.as_ref().ok_or(AttributionError::NoContrast)?;
        if contrast.len() != spec.tokens.len() {
            return Err(AttributionError::Lengths { prompt: spec.tokens.len(), contrast: contrast.len() });
        }
        if let Method::EapIg { steps } = method
            && !(1..=MOST_STEPS).contains(&steps)
        {
            return Err(AttributionError::Steps { most: MOST_STEPS });
        }
        if matches!((method, objective), (Method::Eap, Objective::Kl { .. })) && spec.edits.is_empty() {
            return Err(AttributionError::FlatKl);
        }
        let (plan, base, run) = self.run_whole(spec, objective, control)?;
        let first = objective.positions(contrast.len()).start.min(contrast.len() - 1);
        let contrast = self.unedited(contrast, &Capture::Only(writers(self.schema.dims.n_layers)), first, control)?;
        let value = self.objective(objective, &run, &base.baseline)?;
        // the objective after patching everything: a loss is measured on the prompt's tokens
        let contrast_value = self.objective_on(&spec.tokens, objective, &contrast, &base.baseline)?;
        Ok(Compared { plan, base, run, contrast, value, contrast_value })
    }
}

/// The specification for attributing edges, without opt-in hooks. Edits of the sums that readers read are refused,
/// unless they add a constant, which belongs to no component.
pub(super) fn with_whole_streams(spec: &Spec) -> Result<Spec, AttributionError> {
    match spec.edits.iter().find(|edit| edits_sum(edit) && !adds_to_stream(edit)) {
        Some(edit) => Err(AttributionError::EditedStream(edit.to_string())),
        None => Ok(without_opt_in(spec)),
    }
}

/// The same without the edits beside which edges can't be attributed, and those edits.
#[must_use]
pub fn without_stream_edits(spec: &Spec) -> (Spec, Vec<Edit>) {
    let (left_out, edits) = spec.edits.iter().cloned().partition(|edit| edits_sum(edit) && !adds_to_stream(edit));
    (Spec { edits, ..spec.clone() }, left_out)
}

/// The specification without opt-in hooks.
pub(super) fn without_opt_in(spec: &Spec) -> Spec {
    Spec { enabled: spec.enabled.iter().copied().filter(|point| *point == HookPoint::Tokens).collect(), ..spec.clone() }
}

/// Whether an edit is at a sum of what components write, or at a reader's copy of one.
pub(super) fn edits_sum(edit: &Edit) -> bool {
    use BlockHook::{
        AttnIn, AttnOut, AttnScores, K, KInput, Ln1Normalized, Ln1Scale, Ln2Normalized, Ln2Scale, MlpIn, MlpOut,
        MlpPost, MlpPre, Pattern, Q, QInput, ResidMid, ResidPost, ResidPre, Result, RotK, RotQ, V, VInput, Z,
    };
    match &edit.target {
        Target::Global(_) => false,
        Target::Block(_, hook) => match hook {
            ResidPre | AttnIn | QInput | KInput | VInput | Result | AttnOut | ResidMid | MlpIn | ResidPost => true,
            Ln1Scale | Ln1Normalized | Q | K | V | RotQ | RotK | AttnScores | Pattern | Z | Ln2Scale
            | Ln2Normalized | MlpPre | MlpPost | MlpOut => false,
        },
    }
}

/// Whether an edit adds constants to the stream that all readers share.
fn adds_to_stream(edit: &Edit) -> bool {
    let shared = match &edit.target {
        Target::Global(_) => false,
        Target::Block(_, hook) => {
            matches!(hook, BlockHook::ResidPre | BlockHook::AttnOut | BlockHook::ResidMid | BlockHook::ResidPost)
        }
    };
    shared && edit.sender.is_none() && !edit.features && edit.op.adds()
}
