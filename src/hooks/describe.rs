//! Descriptions of each hook in a model: sentence, formula, axes and readers, from its row of facts.

use std::borrow::Cow;

use super::{Axis, BlockHook, Dims, HookPoint, Schema};

/// A sentence that says what the activation is.
#[must_use]
pub fn description(point: HookPoint, dims: &Dims) -> Cow<'static, str> {
    (point.row().about)(dims)
}

/// The formula in the field's notation. `folded` says whether LayerNorm's weights were folded into its readers.
#[must_use]
pub fn formula(point: HookPoint, dims: &Dims, folded: bool) -> String {
    (point.row().formula)(&Notation { dims, block: point.block().unwrap_or(0), folded })
}

/// The hooks that are computed directly from this one, in execution order. Empty if it feeds the logits, is derived, or
/// is bypassed by split inputs.
#[must_use]
pub fn readers(point: HookPoint, schema: &Schema) -> Vec<HookPoint> {
    (point.row().readers)(&At::of(point, schema))
}

impl Schema {
    /// The axes of an activation, without the batch axis.
    #[must_use]
    pub fn axes(&self, point: HookPoint) -> Vec<Axis> {
        (point.row().axes)(&At::of(point, self)).to_vec()
    }

    /// Whether nothing reads the hook, so that an edit there would have no effect: `hook_attn_in` beside a split input.
    #[must_use]
    pub fn is_unread(&self, point: HookPoint) -> bool {
        // the logits read the last one
        point != HookPoint::LnFinalNormalized && readers(point, self).is_empty()
    }
}

/// A block of a model with its opt-in hooks; for hooks outside the blocks, its number has no meaning.
pub(super) struct At<'a> {
    pub(super) schema: &'a Schema,
    pub(super) block: usize,
}

/// The parameters of a formula.
pub(super) struct Notation<'a> {
    pub(super) dims: &'a Dims,
    pub(super) block: usize,
    /// Whether LayerNorm's weights were folded into its readers.
    pub(super) folded: bool,
}

const SPLIT: [BlockHook; 3] = [BlockHook::QInput, BlockHook::KInput, BlockHook::VInput];
pub(super) const LN1: [BlockHook; 2] = [BlockHook::Ln1Scale, BlockHook::Ln1Normalized];
pub(super) const LN2: [BlockHook; 2] = [BlockHook::Ln2Scale, BlockHook::Ln2Normalized];

pub(super) fn scale(x: &str) -> String {
    format!("√(mean(({x} − mean({x}))²) + ε)")
}

impl Notation<'_> {
    pub(super) fn norm(&self, x: &str, ln: &str) -> String {
        let affine = if self.folded { String::new() } else { format!(" ⊙ {ln}.w + {ln}.b") };
        format!("({x} − mean({x})) / {ln}.scale{affine}")
    }

    pub(super) fn mlp_input(&self) -> &'static str {
        if self.dims.parallel { "resid_pre" } else { "resid_mid" }
    }
}

impl<'a> At<'a> {
    fn of(point: HookPoint, schema: &'a Schema) -> Self {
        Self { schema, block: point.block().unwrap_or(0) }
    }

    /// These hooks of the block.
    pub(super) fn hooks(&self, hooks: &[BlockHook]) -> Vec<HookPoint> {
        hooks.iter().map(|hook| HookPoint::Block(self.block, *hook)).collect()
    }

    pub(super) fn is_on(&self, hook: BlockHook) -> bool {
        self.schema.is_enabled(HookPoint::Block(self.block, hook))
    }

    pub(super) fn is_split(&self) -> bool {
        self.schema.is_split(self.block)
    }

    pub(super) fn is_parallel(&self) -> bool {
        self.schema.dims.parallel
    }

    /// The readers of the MLP's input.
    pub(super) fn mlp(&self) -> &'static [BlockHook] {
        if self.is_on(BlockHook::MlpIn) { &[BlockHook::MlpIn] } else { &LN2 }
    }

    pub(super) fn readers_of_resid_pre(&self) -> Vec<HookPoint> {
        let copies = [BlockHook::AttnIn].into_iter().chain(SPLIT);
        let mut all: Vec<BlockHook> = copies.filter(|hook| self.is_on(*hook)).collect();
        // the stream itself is read by readers without a copy of their own
        let copied =
            if self.is_split() { SPLIT.iter().all(|hook| self.is_on(*hook)) } else { self.is_on(BlockHook::AttnIn) };
        if !copied {
            all.extend(LN1);
        }
        if self.is_parallel() {
            all.extend(self.mlp());
            all.push(BlockHook::ResidPost);
        } else {
            all.push(BlockHook::ResidMid);
        }
        self.hooks(&all)
    }
}
