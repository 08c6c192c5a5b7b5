//! Sparse dictionaries as a run's edits reach them.

use candle_core::Tensor;

use super::{ActivationCache, BlockHook, HookPoint, Needs, RunError};

/// What `SAELens` calls the features of a dictionary, below the hook that it is at.
pub(super) const FEATURES: &str = ".hook_sae_acts_post";

/// How the names of a dictionary's other hooks begin.
pub(super) const INSIDE: &str = ".hook_sae_";

/// What an edit makes of features, `[1, pos, d_sae]`.
pub type ChangeFeatures<'a> = dyn FnMut(Tensor) -> Result<Tensor, RunError> + 'a;

/// The dictionaries of a run.
pub trait FeatureEdits {
    /// The value of a hook after a change of its features: what they write changes, and what the dictionary leaves out stays.
    ///
    /// # Shapes
    /// `value` and the result: `[1, axes of the hook]`. `before` has [`reads`] of the same pass, as far as it has come.
    ///
    /// # Errors
    /// There is no dictionary at the hook; tensor errors, and those of the change.
    fn edit(
        &self,
        point: HookPoint,
        value: &Tensor,
        before: &ActivationCache,
        change: &mut ChangeFeatures<'_>,
    ) -> Result<Tensor, RunError>;

    /// The features of an unedited run, `[1, pos, d_sae]`.
    fn unedited(&self, point: HookPoint, of: Needs) -> Option<&Tensor>;

    /// The gradient with respect to a value before a change of its features, from that with respect to the value after it.
    ///
    /// # Shapes
    /// `change` and `back` take and return `[1, pos, d_sae]`; `back` is the reverse of `change`, for gradients. `run` has the
    /// activations of the whole pass.
    ///
    /// # Errors
    /// There is no dictionary at the hook; tensor errors, and those of `change` and `back`.
    fn pull(
        &self,
        point: HookPoint,
        at: At<'_>,
        run: &ActivationCache,
        change: &mut ChangeFeatures<'_>,
        back: &mut ChangeFeatures<'_>,
    ) -> Result<Pulled, RunError>;
}

/// A value before a change of its features, and the gradient with respect to what it became: `[1, axes of the hook]`.
#[derive(Clone, Copy)]
pub struct At<'a> {
    pub value: &'a Tensor,
    pub gradient: &'a Tensor,
}

/// A gradient on its way back through a change of features.
pub struct Pulled {
    /// With respect to the value at the hook.
    pub gradient: Tensor,
    /// With respect to earlier activations that the dictionary read beside it.
    pub beside: Vec<(HookPoint, Tensor)>,
}

/// Whether unprocessed activations are computed from the value at a hook.
pub(super) fn reads(point: HookPoint) -> bool {
    point == HookPoint::Tokens || matches!(point.block_hook(), Some(BlockHook::Z | BlockHook::MlpPost))
}
