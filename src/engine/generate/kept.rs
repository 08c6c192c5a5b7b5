//! A continuation as a run, with every activation.

use std::time::Instant;

use super::{
    super::{Control, Engine, Run, memory},
    Generation,
};
use crate::hooks::{ActivationCache, Capture, HookPoint, RunError};

impl Generation {
    /// The prompt with these new tokens as a run of the edited text or, without edits, of the only one. It has the activations
    /// of [`Engine::run`] of the same text, and costs one pass over the new tokens where the prompt's activations were kept.
    ///
    /// # Errors
    /// More than fits in memory, cancellation, tensor errors.
    pub fn run(&self, engine: &Engine, new: &[u32], control: Control<'_>) -> Result<Run, RunError> {
        let (began, model) = (Instant::now(), &engine.loaded.model);
        let mut texts = self.texts.fork()?;
        let own = texts.own();
        let tokens = [own.tokens.as_slice(), new].concat();
        memory::check(model, &engine.schema, &Capture::All, 0, tokens.len(), true)?;
        own.keep_all(engine)?;
        // a kept score or pattern gains columns as the text grows, and an edit may change them
        let grows = own.watched.points.iter().any(|point| point.is_square());
        if self.keeps_prompt && !grows && model.is_exact_by_position() {
            texts.read_own(engine, new, control.cancel)?;
        } else {
            own.begin_again();
            texts.baseline.begin_again();
            texts.read_own(engine, &tokens, control.cancel)?;
        }
        let own = texts.own();
        let mut cache = std::mem::take(&mut own.watched.cache);
        for point in engine.schema.points().into_iter().filter(|point| point.is_square()) {
            if cache.get(point).is_none() {
                cache.leave_out(point);
            }
        }
        let missing = || candle_core::Error::Msg(format!("{} was not kept", HookPoint::LnFinalNormalized));
        let normalized = cache.get(HookPoint::LnFinalNormalized).ok_or_else(missing)?.to_dtype(model.dtype)?;
        let logits = model.unembed(&normalized.narrow(1, tokens.len() - 1, 1)?)?;
        let (undefined_rows, elapsed) = (own.undefined_rows, began.elapsed());
        let (arrived, captured) = (ActivationCache::default(), Capture::All);
        Ok(Run { tokens, cache, arrived, normalized, logits, undefined_rows, elapsed, captured })
    }
}
