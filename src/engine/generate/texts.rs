//! The texts of one sample: the edited one, the same without the edits, and the unedited continuation.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicBool},
};

use candle_core::Tensor;

use super::{
    super::{Engine, control::go_on, dictionaries::Unedited},
    text::{Kept, Text},
    watch::TokenBreakpoint,
};
use crate::{
    hooks::{ActivationCache, BlockHook, Capture, HookPoint, References, RunError},
    model::PassError,
};

/// The texts of one sample.
pub(super) struct Texts {
    pub(super) edited: Option<Text>,
    /// The same tokens as in the edited text, without the edits.
    pub(super) baseline: Text,
    /// The unedited continuation, once it has other tokens than the edited one.
    pub(super) unedited: Option<Text>,
    /// What edits read of the unedited run.
    pub(super) frozen: BTreeSet<HookPoint>,
    /// Where they read its features.
    pub(super) frozen_features: BTreeSet<HookPoint>,
    /// What edits read of the contrast prompt's run.
    pub(super) patched: Arc<ActivationCache>,
    pub(super) patched_features: Arc<BTreeMap<HookPoint, Tensor>>,
}

impl Texts {
    /// Keep what breakpoints look at and nothing else: of the text that they are about, and of the one that it is compared with.
    pub(super) fn watch(&mut self, points: &BTreeSet<HookPoint>) {
        for text in [self.edited.as_mut(), Some(&mut self.baseline)].into_iter().flatten() {
            text.watched.points.clone_from(points);
        }
    }

    /// The edited text or, without edits, the only one.
    pub(super) fn own(&mut self) -> &mut Text {
        self.edited.as_mut().unwrap_or(&mut self.baseline)
    }

    /// Look for breakpoints at the last token, number `token` of the new ones; whether one of them ends the sample.
    pub(super) fn look(
        &self,
        engine: &Engine,
        breakpoints: &mut [TokenBreakpoint],
        token: usize,
    ) -> Result<bool, RunError> {
        let text = self.edited.as_ref().unwrap_or(&self.baseline);
        let mut stops = false;
        for breakpoint in breakpoints {
            stops |= breakpoint.look(engine, text, &self.baseline, token)? && !breakpoint.logs;
        }
        Ok(stops)
    }

    pub(super) fn fork(&self) -> Result<Self, RunError> {
        Ok(Self {
            edited: self.edited.as_ref().map(Text::fork).transpose()?,
            baseline: self.baseline.fork()?,
            unedited: self.unedited.as_ref().map(Text::fork).transpose()?,
            frozen: self.frozen.clone(),
            frozen_features: self.frozen_features.clone(),
            patched: self.patched.clone(),
            patched_features: self.patched_features.clone(),
        })
    }

    pub(super) fn undefined_rows(&self) -> usize {
        let texts = [self.edited.as_ref(), Some(&self.baseline), self.unedited.as_ref()];
        texts.into_iter().flatten().map(|text| text.undefined_rows).sum()
    }

    /// Read the tokens with which each text begins after the prompt. Without those of the edited text, it is left out.
    pub(super) fn begin(
        &mut self,
        engine: &Engine,
        unedited: Option<&[u32]>,
        edited: Option<&[u32]>,
        cancel: &AtomicBool,
    ) -> Result<(), RunError> {
        if edited.is_none() {
            self.edited = None;
        }
        if let Some(own) = unedited.filter(|own| edited.is_some_and(|edited| edited != *own)) {
            let mut text = self.baseline.fork()?;
            read_unedited(&mut text, engine, own, cancel)?;
            self.unedited = Some(text);
        }
        self.read(engine, edited.or(unedited).unwrap_or_default(), cancel)
    }

    /// Read the token that each continuation goes on with.
    pub(super) fn go_on(
        &mut self,
        engine: &Engine,
        unedited: Option<u32>,
        edited: Option<u32>,
        cancel: &AtomicBool,
    ) -> Result<(), RunError> {
        go_on(cancel)?;
        if self.unedited.is_none() && unedited.is_some() && self.edited.is_some() && unedited != edited {
            self.unedited = Some(self.baseline.fork()?.unwatched());
        }
        if let Some(token) = edited {
            self.read(engine, &[token], cancel)?;
        }
        match (unedited, &mut self.unedited) {
            (Some(token), Some(text)) => read_unedited(text, engine, &[token], cancel),
            (Some(token), None) if self.edited.is_none() => self.read(engine, &[token], cancel),
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// Read tokens in the edited text, and without the edits.
    pub(super) fn read(&mut self, engine: &Engine, tokens: &[u32], cancel: &AtomicBool) -> Result<(), RunError> {
        self.read_beside(true, engine, tokens, cancel)
    }

    /// Read tokens in the edited text, and the unedited text only if an edit reads it.
    pub(super) fn read_own(&mut self, engine: &Engine, tokens: &[u32], cancel: &AtomicBool) -> Result<(), RunError> {
        self.read_beside(!self.frozen.is_empty() || !self.frozen_features.is_empty(), engine, tokens, cancel)
    }

    fn read_beside(
        &mut self,
        baseline: bool,
        engine: &Engine,
        tokens: &[u32],
        cancel: &AtomicBool,
    ) -> Result<(), RunError> {
        let Some(edited) = &mut self.edited else {
            return read_unedited(&mut self.baseline, engine, tokens, cancel);
        };
        if tokens.is_empty() {
            return Ok(());
        }
        let end = edited.tokens.len() + tokens.len();
        loop {
            // where the edited text has to begin again, the other has read them
            let new = if self.baseline.tokens.len() < end { tokens } else { &[] };
            let mut kept: BTreeSet<HookPoint> = self.frozen.iter().map(|point| engine.kept_for(*point)).collect();
            if !self.frozen_features.is_empty() {
                // unprocessed activations are made of these
                let of = |block| [BlockHook::Z, BlockHook::MlpPost].map(|hook| HookPoint::Block(block, hook));
                kept.extend((0..engine.schema.dims.n_layers).flat_map(of));
            }
            let nothing = (References::default(), &Unedited::default());
            let read = match baseline {
                true => self.baseline.read(engine, new, nothing, &Capture::Only(kept), cancel),
                false => Ok(Kept::default()),
            };
            let read = read.and_then(|Kept { cache, tokens: of }| {
                let frozen = frozen(engine, cache, &self.frozen)?;
                let baseline = engine.features_at(&of, &frozen, self.frozen_features.clone())?;
                let features = Unedited { baseline, contrast: self.patched_features.clone() };
                let references = References { baseline: Some(&frozen), contrast: Some(&self.patched), corpus: None };
                edited.read(engine, tokens, (references, &features), &Capture::None, cancel)
            });
            match read {
                Err(PassError::NotCausal) => {
                    self.baseline.read_all_again();
                    edited.read_all_again();
                }
                read => return Ok(read.map(drop)?),
            }
        }
    }
}

fn read_unedited(text: &mut Text, engine: &Engine, tokens: &[u32], cancel: &AtomicBool) -> Result<(), RunError> {
    if tokens.is_empty() {
        return Ok(());
    }
    let nothing = (References::default(), &Unedited::default());
    let mut read = || text.read(engine, tokens, nothing, &Capture::None, cancel);
    let read = match read() {
        Err(PassError::NotCausal) => {
            text.read_all_again();
            text.read(engine, tokens, nothing, &Capture::None, cancel)
        }
        read => read,
    };
    Ok(read.map(drop)?)
}

/// What edits read of the unedited run; heads' results, where off, are made of `hook_z`.
fn frozen(
    engine: &Engine,
    mut kept: ActivationCache,
    points: &BTreeSet<HookPoint>,
) -> Result<ActivationCache, RunError> {
    for point in points.iter().filter(|point| kept.get(**point).is_none()).copied().collect::<Vec<_>>() {
        if let HookPoint::Block(block, BlockHook::Result) = point
            && let Some(z) = kept.get(engine.kept_for(point))
        {
            let result = engine.loaded.model.head_results(block, z)?;
            kept.insert(point, result);
        }
    }
    Ok(kept)
}
