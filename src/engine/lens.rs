use std::{ops::Range, sync::atomic::AtomicBool};

use candle_core::Tensor;
use rayon::prelude::*;

use super::{
    Engine, Outcome, Prediction, Run, WithBaseline,
    control::{each, go_on},
    host::{rows, values, with_values},
};
use crate::{
    analysis::{HeadScores, TokenRank, head_scores, kl_divergence, log_normaliser, token_rank, top_k},
    hooks::{ActivationCache, BlockHook, Capture, Edit, HookPoint, Interventions, References, RunError, Target},
    model::{Lens, LensKind, LensRow, Start, Unprocessed},
};

/// What a lens says of the residual stream at one place.
#[derive(Clone, Debug, PartialEq)]
pub struct LensCell {
    /// The likeliest next tokens; `baseline_prob` is what the final layer gives them.
    pub top: Vec<Prediction>,
    /// KL(final layer || here) in nats.
    pub kl: f64,
    /// KL(baseline || edited) in nats of the same stream, where there are edits.
    pub moved: Option<f64>,
    /// What the unprocessed model's logits here have more than these, which are centred by processing.
    pub shift: f32,
    /// Of the token that was asked for.
    pub target: Option<TokenRank>,
}

/// A lens at one position: a cell for each of its layers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LensColumn {
    pub cells: Vec<LensCell>,
    /// The baseline's; empty without edits.
    pub baseline: Vec<LensCell>,
}

/// A lens of the engine: its name, and the hooks it reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LensAbout {
    pub name: &'static str,
    /// With the layers' numbers in the lens's own count.
    pub rows: Vec<(usize, HookPoint)>,
}

impl From<&Lens> for LensAbout {
    fn from(lens: &Lens) -> Self {
        Self { name: lens.kind.name(), rows: lens.rows.iter().map(|row| (row.layer, row.point)).collect() }
    }
}

/// Every lens of the engine at one position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LensRack {
    pub lenses: Vec<(LensAbout, LensColumn)>,
}

/// A lens at some positions, `[layer][pos]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LensGrid {
    pub about: LensAbout,
    /// How many lenses the engine has.
    pub lenses: usize,
    /// The position of the first column.
    pub first: usize,
    pub cells: WithBaseline<Vec<Vec<LensCell>>>,
}

impl LensGrid {
    pub(super) fn new(about: LensAbout, lenses: usize, first: usize, columns: &[&LensColumn]) -> Self {
        let rows = |of: fn(&LensColumn) -> &[LensCell]| -> Vec<Vec<LensCell>> {
            let layers = columns.first().map_or(0, |column| of(column).len());
            (0..layers).map(|layer| columns.iter().filter_map(|c| of(c).get(layer).cloned()).collect()).collect()
        };
        let baseline = Some(rows(|column| &column.baseline)).filter(|rows| !rows.is_empty());
        Self { about, lenses, first, cells: WithBaseline { run: rows(|column| &column.cells), baseline } }
    }
}

/// What is asked of a lens.
#[derive(Clone, Debug, PartialEq)]
pub struct LensQuestion {
    pub positions: Range<usize>,
    /// Tokens listed for each cell.
    pub top: usize,
    /// The token whose rank is asked for.
    pub target: Option<u32>,
}

/// The streams that the lens reads: what enters each block, and what leaves the last.
#[must_use]
pub fn lens_points(n_layers: usize) -> Vec<HookPoint> {
    let last = HookPoint::Block(n_layers.saturating_sub(1), BlockHook::ResidPost);
    (0..n_layers).map(|block| HookPoint::Block(block, BlockHook::ResidPre)).chain([last]).collect()
}

/// Whether the lens ignores an edit: an edit of the final LayerNorm.
#[must_use]
pub fn left_out(edit: &Edit) -> bool {
    matches!(edit.target, Target::Global(HookPoint::LnFinalScale | HookPoint::LnFinalNormalized))
}

impl Outcome {
    /// The scores of every head, `[layer][head]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn heads(&self, engine: &Engine) -> Result<WithBaseline<Vec<Vec<HeadScores>>>, RunError> {
        let map = |run: &Run| engine.head_map(run);
        Ok(WithBaseline { run: map(&self.run)?, baseline: self.unedited().map(map).transpose()? })
    }
}

/// The logits at a layer, by position, and what the unprocessed model's have more.
struct Read {
    logits: Vec<Vec<f32>>,
    shifts: Vec<f32>,
}

/// Reads the streams of one run.
struct LensReader<'a> {
    engine: &'a Engine,
    run: &'a Run,
    unprocessed: Unprocessed<'a>,
}

impl<'a> LensReader<'a> {
    fn new(engine: &'a Engine, run: &'a Run) -> Result<Self, RunError> {
        let unprocessed = engine.loaded.model.unprocessed(&run.tokens, &run.cache)?;
        Ok(Self { engine, run, unprocessed })
    }

    fn rows(&self, lens: &Lens, positions: &Range<usize>, cancel: &AtomicBool) -> Result<Vec<Read>, RunError> {
        let part = |t: &Tensor| t.narrow(1, positions.start, positions.len());
        let row = |row: &LensRow| -> Result<Read, RunError> {
            go_on(cancel)?;
            let Some(stream) = self.run.cache.get(row.point) else { return Err(not_kept(row.point)) };
            // the final LayerNorm takes out what processing did
            let stream = match lens.kind {
                LensKind::Logit => part(stream)?,
                LensKind::Tuned | LensKind::Jacobian => {
                    let mapped = row.map(&part(&self.unprocessed.at(row.point, stream)?)?)?;
                    mapped.to_dtype(stream.dtype())?
                }
            };
            let normalized = self.engine.normalized(&stream)?;
            let logits = self.engine.loaded.model.unembed(&normalized)?;
            let shifts = match self.unprocessed.logit_shift(&normalized)? {
                Some(shift) => values(&shift)?,
                None => vec![0.0; positions.len()],
            };
            Ok(Read { logits: rows(&logits)?, shifts })
        };
        lens.rows.iter().map(row).collect()
    }
}

fn not_kept(point: HookPoint) -> RunError {
    candle_core::Error::Msg(format!("the run kept no {point}, which the lens reads")).into()
}

impl Engine {
    /// The logit lens (nostalgebraist, 2020): logits of a run's residual stream, as if the model ended there. Equal to
    /// TransformerLens's `accumulated_resid` with `apply_ln` on the cache of the same run, followed by the unembedding: each
    /// stream is normalised by a scale of its own, so edits of the final LayerNorm reach the logits alone, and are left out
    /// ([`left_out`]).
    ///
    /// # Shapes
    /// Returns `[1, pos, vocab]`, or None if the run did not keep that stream.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn lens_logits(&self, cache: &ActivationCache, stream: HookPoint) -> Result<Option<Tensor>, RunError> {
        let logits = |stream| Ok(self.loaded.model.unembed(&self.normalized(stream)?)?);
        cache.get(stream).map(logits).transpose()
    }

    /// What the unembedding reads of a residual stream at the end of the last block.
    fn normalized(&self, stream: &Tensor) -> Result<Tensor, RunError> {
        let start = Start::Residual { block: self.schema.dims.n_layers, stream: stream.clone(), past: None };
        let mut hooks = Interventions::new(&[], &[], Capture::None, References::default(), self.schema.dims.d_vocab);
        self.loaded.model.normalized(start, &self.schema, &mut hooks)
    }

    /// A lens at some positions, a column each. It reads unprocessed streams, whatever processing the run has.
    ///
    /// # Errors
    /// Cancellation, a run that kept too little, tensor errors.
    pub fn lens(
        &self,
        lens: &Lens,
        outcome: &Outcome,
        question: &LensQuestion,
        cancel: &AtomicBool,
    ) -> Result<Vec<LensColumn>, RunError> {
        self.lens_beside(lens, outcome, outcome.unedited().map(|run| (self, run)), question, cancel)
    }

    /// The same, beside another run in the place of the baseline, which may be another model's.
    ///
    /// # Errors
    /// As [`Self::lens`].
    pub(super) fn lens_beside(
        &self,
        lens: &Lens,
        outcome: &Outcome,
        other: Option<(&Self, &Run)>,
        question: &LensQuestion,
        cancel: &AtomicBool,
    ) -> Result<Vec<LensColumn>, RunError> {
        let LensQuestion { positions, .. } = question;
        let read = |reader: &LensReader<'_>| reader.rows(lens, positions, cancel);
        let now = read(&LensReader::new(self, &outcome.run)?)?;
        let before = other.map(|(engine, run)| read(&LensReader::new(engine, run)?)).transpose()?;
        let last = |(engine, run): (&Self, &Run)| rows(&engine.logits(run, positions.clone())?);
        let last_now = last((self, &outcome.run))?;
        let last_before = other.map(last).transpose()?;
        let column = |i: usize| {
            let cell = |row: &Read, last: &[f32]| self.lens_cell(&row.logits[i], row.shifts[i], last, question);
            let mut column = LensColumn::default();
            for (number, row) in now.iter().enumerate() {
                let earlier = before.as_ref().and_then(|rows| rows.get(number));
                let moved = earlier.map(|before| kl_divergence(&before.logits[i], &row.logits[i]));
                column.cells.push(LensCell { moved, ..cell(row, &last_now[i]) });
                let was = earlier.zip(last_before.as_ref());
                column.baseline.extend(was.map(|(before, last)| cell(before, &last[i])));
            }
            column
        };
        Ok((0..positions.len()).into_par_iter().map(column).collect())
    }

    fn lens_cell(&self, row: &[f32], shift: f32, last: &[f32], question: &LensQuestion) -> LensCell {
        let norm = log_normaliser(last);
        let predict = |ranked: crate::analysis::Ranked| Prediction {
            id: ranked.id,
            text: self.loaded.tokenizer.token(ranked.id),
            logit: ranked.logit,
            prob: ranked.prob,
            baseline_prob: (f64::from(last[ranked.id as usize]) - norm).exp(),
        };
        let top = top_k(row, question.top).into_iter().map(predict).collect();
        let target = question.target.and_then(|id| token_rank(row, id));
        LensCell { top, kl: kl_divergence(last, row), moved: None, shift, target }
    }

    /// The scores of every head, `[layer][head]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn head_map(&self, run: &Run) -> Result<Vec<Vec<HeadScores>>, RunError> {
        let tokens = match run.cache.get(HookPoint::Tokens) {
            // token ids may be edited
            Some(kept) => kept.flatten_all()?.to_vec1::<u32>()?,
            None => run.tokens.clone(),
        };
        let tokens = &tokens;
        let scores = |block: usize| -> Result<Vec<HeadScores>, RunError> {
            let score = |head| -> Result<Option<HeadScores>, RunError> {
                let pattern = self.attention(run, block, BlockHook::Pattern, Some((head, 0..tokens.len())))?;
                pattern.map(|pattern| with_values(&pattern, |all| head_scores(all, tokens))).transpose()
            };
            let heads = each(self.schema.dims.n_heads, run.logits.device().is_cpu(), score)?;
            Ok(heads.into_iter().flatten().collect())
        };
        // one block after the other: of a long prompt, patterns are made for this alone
        (0..self.schema.dims.n_layers).map(scores).collect()
    }
}
