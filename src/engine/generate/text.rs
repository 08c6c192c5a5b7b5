//! A text that grows token by token.

use std::{collections::BTreeSet, sync::atomic::AtomicBool};

use super::{
    super::{Engine, dictionaries::Unedited, host::rows},
    watched::Watched,
};
use crate::{
    hooks::{ActivationCache, Capture, Edit, HookPoint, Interventions, Plan, References, RunError},
    model::{Earlier, KeysAndValues, PassError, Past, Start},
};

/// A text that the model has read, with some edits.
///
/// Another token costs one position, since keys and values are kept, unless an edit lets earlier positions read later ones:
/// then the whole text is run again.
pub(super) struct Text {
    pub tokens: Vec<u32>,
    edits: Vec<Edit>,
    /// Tokens of the prompt, which the edits' positions count, and of the contrast prompt.
    pub prompt: usize,
    contrast: Option<usize>,
    /// None where the whole text is run again.
    kept: Option<KeysAndValues>,
    /// After the last token, `[vocab]`.
    pub logits: Vec<f32>,
    /// Attention rows without a finite score in what was run, set to 0.
    pub undefined_rows: usize,
    /// What breakpoints look at.
    pub watched: Watched,
}

/// What was kept of some positions.
#[derive(Default)]
pub(super) struct Kept {
    pub cache: ActivationCache,
    pub tokens: Vec<u32>,
}

impl Text {
    /// An empty text whose prompt will have `prompt` tokens.
    pub fn new(engine: &Engine, edits: &[Edit], prompt: usize, contrast: Option<usize>) -> Result<Self, RunError> {
        let model = &engine.loaded.model;
        // a token more, so that the prompt's own positions are not all that a selection could mean
        let plan = Plan::continued(edits, &engine.schema, prompt, prompt + 1, contrast)?;
        let kept = plan.is_causal().then(|| KeysAndValues::new(&model.config, &model.place())).transpose()?;
        Ok(Self {
            tokens: Vec::new(),
            edits: edits.to_vec(),
            prompt,
            contrast,
            kept,
            logits: Vec::new(),
            undefined_rows: 0,
            watched: Watched::default(),
        })
    }

    /// The same text, to go on differently.
    pub fn fork(&self) -> Result<Self, RunError> {
        let kept = self.kept.as_ref().map(|kept| kept.fork(self.tokens.len())).transpose()?;
        Ok(Self {
            tokens: self.tokens.clone(),
            edits: self.edits.clone(),
            logits: self.logits.clone(),
            watched: self.watched.clone(),
            kept,
            ..*self
        })
    }

    /// The same text, of which nothing is kept for breakpoints.
    pub fn unwatched(self) -> Self {
        Self { watched: Watched::default(), ..self }
    }

    /// Whether each token makes the whole text run again.
    pub fn reads_all_again(&self) -> bool {
        self.kept.is_none()
    }

    /// From now on run the whole text at each token.
    pub fn read_all_again(&mut self) {
        self.kept = None;
    }

    /// Forget every token, and from now on run the whole text at each.
    pub fn begin_again(&mut self) {
        self.read_all_again();
        self.tokens.clear();
        self.watched.cache = ActivationCache::default();
    }

    /// Keep every activation, except scores and patterns that no edit touches: those follow from queries and keys.
    pub fn keep_all(&mut self, engine: &Engine) -> Result<(), RunError> {
        let plan = Plan::continued(&self.edits, &engine.schema, self.prompt, self.prompt, self.contrast)?;
        let edited: BTreeSet<HookPoint> = plan.steps.iter().map(|step| step.point).collect();
        let follows = |point: &HookPoint| point.is_square() && !edited.contains(point);
        self.watched.points.extend(engine.schema.points().into_iter().filter(|point| !follows(point)));
        Ok(())
    }

    /// Read tokens, and return the activations that `capture` names with their tokens: of these positions, or of all where all
    /// are run again. Edits read `unedited`, of the same positions. After an error the text is as before.
    ///
    /// # Errors
    /// [`PassError::NotCausal`] where the whole text has to be run again; cancellation, tensor errors.
    pub fn read(
        &mut self,
        engine: &Engine,
        tokens: &[u32],
        unedited: (References<'_>, &Unedited),
        capture: &Capture,
        cancel: &AtomicBool,
    ) -> Result<Kept, PassError> {
        let (model, schema) = (&engine.loaded.model, &engine.schema);
        let past = if self.kept.is_some() { self.tokens.len() } else { 0 };
        let all = [self.tokens.as_slice(), tokens].concat();
        let mut plan = Plan::continued(&self.edits, schema, self.prompt, all.len(), self.contrast)
            .map_err(|error| PassError::Run(error.into()))?;
        if past > 0 {
            plan = plan.after_prompt(past);
        }
        let (plans, rows_of_tokens) = ([plan], [all[past..].to_vec()]);
        let (references, features) = unedited;
        let dictionaries = engine.dictionaries(&all[past..], features);
        let start = match &mut self.kept {
            Some(kept) => {
                kept.reserve(past, all.len())?;
                Start::Next { rows: &rows_of_tokens, past: Past { positions: past, from: Earlier::Text(kept) } }
            }
            None => Start::Tokens(&rows_of_tokens),
        };
        let kept = self.watched.with(capture);
        let hooks = Interventions::new(&plans, &self.edits, kept, references, schema.dims.d_vocab);
        let mut hooks = hooks.after(past).with_dictionaries(&dictionaries).cancelled_by(cancel);
        let normalized = model.pass(start, schema, &mut hooks, true)?;
        self.logits = rows(&model.unembed(&normalized)?)?.pop().unwrap_or_default();
        self.watched.add(&mut hooks.cache, capture, past, schema).map_err(RunError::from)?;
        self.undefined_rows = hooks.undefined_rows + if past > 0 { self.undefined_rows } else { 0 };
        let (cache, tokens) = (hooks.cache, all[past..].to_vec());
        self.tokens = all;
        Ok(Kept { cache, tokens })
    }
}
