//! Where paths can start and end.

use super::{BlockHook, EditError, HookError, HookPoint, Schema};

impl HookPoint {
    /// Whether a path can start there: it writes to the residual stream.
    #[must_use]
    pub fn sends(self) -> bool {
        match self {
            Self::Embed => true,
            Self::Block(_, hook) => matches!(hook, BlockHook::Result | BlockHook::AttnOut | BlockHook::MlpOut),
            Self::Tokens | Self::LnFinalScale | Self::LnFinalNormalized => false,
        }
    }

    /// Whether a path can end there: it is one reader's own input.
    #[must_use]
    pub fn receives(self) -> bool {
        use BlockHook::{KInput, MlpIn, QInput, ResidPost, VInput};
        matches!(self.block_hook(), Some(QInput | KInput | VInput | MlpIn | ResidPost))
    }
}

impl BlockHook {
    /// Where a path can start instead of a hook that does not write to the stream itself: the writer that its value
    /// goes into.
    pub(super) fn its_writer(self) -> Option<Self> {
        use BlockHook as B;
        match self {
            B::AttnIn | B::QInput | B::KInput | B::VInput | B::Ln1Scale | B::Ln1Normalized => Some(B::AttnOut),
            B::Q | B::K | B::V | B::RotQ | B::RotK | B::AttnScores | B::Pattern | B::Z => Some(B::Result),
            B::MlpIn | B::Ln2Scale | B::Ln2Normalized | B::MlpPre | B::MlpPost => Some(B::MlpOut),
            B::ResidPre | B::ResidMid | B::ResidPost | B::Result | B::AttnOut | B::MlpOut => None,
        }
    }

    /// Where a path can end instead of a hook that is not a reader's own input: the input that it is computed from.
    pub(super) fn its_input(self) -> Option<Self> {
        use BlockHook as B;
        match self {
            B::Q | B::RotQ | B::AttnScores | B::Pattern => Some(B::QInput),
            B::K | B::RotK => Some(B::KInput),
            B::V | B::Z | B::Result => Some(B::VInput),
            B::Ln2Scale | B::Ln2Normalized | B::MlpPre | B::MlpPost | B::MlpOut => Some(B::MlpIn),
            B::AttnIn
            | B::QInput
            | B::KInput
            | B::VInput
            | B::Ln1Scale
            | B::Ln1Normalized
            | B::AttnOut
            | B::MlpIn
            | B::ResidPre
            | B::ResidMid
            | B::ResidPost => None,
        }
    }
}

impl Schema {
    /// Whether a path can go from `sender` to `receiver`.
    #[must_use]
    pub fn has_path(&self, sender: HookPoint, receiver: HookPoint) -> bool {
        sender.sends() && receiver.receives() && check("", sender, receiver, self).is_ok()
    }
}

/// Whether there is a path from `sender` to `receiver` over the residual stream alone.
///
/// # Errors
/// There is none; says why, and what was expected.
pub(super) fn check(line: &str, sender: HookPoint, receiver: HookPoint, schema: &Schema) -> Result<(), EditError> {
    let wrong = |why: String| {
        let why = format!("there is no path from {sender} to {receiver}: {why}");
        Err(EditError::Path { edit: line.to_string(), why })
    };
    for point in [sender, receiver] {
        match schema.check(point) {
            // a path can use a hook whether it is on or off
            Ok(()) | Err(HookError::Off(_)) => {}
            Err(reason) => return Err(EditError::Hook { edit: line.to_string(), reason }),
        }
    }
    let (Some(to), Some(hook)) = (receiver.block(), receiver.block_hook()) else { return Ok(()) };
    let last = schema.dims.n_layers - 1;
    if hook == BlockHook::ResidPost && to != last {
        return wrong(format!("a path ends at the last block's hook_resid_post, blocks.{last}, which the logits read"));
    }
    let split = matches!(hook, BlockHook::QInput | BlockHook::KInput | BlockHook::VInput);
    if split && schema.ln1_per_head(to) && !schema.is_split(to) {
        return wrong("with hook_attn_in on, queries, keys and values have no inputs of their own: turn it off".into());
    }
    let Some(from) = sender.block() else { return Ok(()) };
    let within = from == to;
    if from > to {
        return wrong(format!("block {from} comes after block {to}; a path goes from an earlier place to a later one"));
    }
    // a sequential block's MLP reads what its attention writes; `hook_resid_post` comes after all writers of its block
    let after_attention =
        hook == BlockHook::MlpIn && !schema.dims.parallel && sender.block_hook() != Some(BlockHook::MlpOut);
    let reads = after_attention || hook == BlockHook::ResidPost;
    if within && !reads {
        let why = match schema.dims.parallel {
            true => "attention and MLP of a parallel block read the same stream, before either writes",
            false => "the reader comes before the writer in the block",
        };
        return wrong(format!("{why}; a path goes from an earlier place to a later one"));
    }
    Ok(())
}
