use std::collections::{BTreeMap, BTreeSet};

use super::{Axis, BlockHook, Dims, HookError, HookPoint, Target, UnknownHook, point::Fires, vector::Vectors};

/// The hook points of one model, with the opt-in ones that are enabled, and the vectors that edits can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    pub dims: Dims,
    enabled: BTreeSet<HookPoint>,
    vectors: Vectors,
    /// The number of features of the dictionary at a hook.
    d_sae: BTreeMap<HookPoint, usize>,
    /// Whether edits can take values from a corpus.
    corpus: bool,
}

impl Schema {
    #[must_use]
    pub fn new(dims: Dims) -> Self {
        Self { dims, enabled: BTreeSet::new(), vectors: Vectors::default(), d_sae: BTreeMap::new(), corpus: false }
    }

    /// Replace the dictionaries: the number of features at each hook that has one.
    pub fn set_dictionaries(&mut self, d_sae: BTreeMap<HookPoint, usize>) {
        self.d_sae = d_sae;
    }

    /// Let edits take values from a corpus.
    pub fn set_corpus(&mut self) {
        self.corpus = true;
    }

    /// Whether edits can take values from a corpus.
    #[must_use]
    pub fn has_corpus(&self) -> bool {
        self.corpus
    }

    /// The number of features of the dictionary at each hook that has one.
    #[must_use]
    pub fn dictionaries(&self) -> &BTreeMap<HookPoint, usize> {
        &self.d_sae
    }

    /// Turn on opt-in hooks: `hook_tokens`, `attn.hook_result` (in every block) or `blocks.2.attn.hook_result`.
    ///
    /// # Errors
    /// An unknown name, a block that does not exist, or a hook that is always on.
    pub fn enable(&mut self, name: &str) -> Result<(), HookError> {
        let everywhere = BlockHook::ALL
            .into_iter()
            .filter(|hook| hook.is_opt_in())
            .find(|hook| hook.name() == name || hook.name().strip_prefix("attn.") == Some(name));
        if name.is_empty() {
            return Err(HookError::Unknown(UnknownHook {
                name: String::new(),
                nearest: vec!["attn.hook_result".into()],
            }));
        }
        let points = match everywhere {
            Some(hook) => (0..self.dims.n_layers).map(|block| HookPoint::Block(block, hook)).collect(),
            None => name.parse::<Target>()?.points(&self.dims)?,
        };
        if let Some(point) = points.iter().find(|point| !point.is_opt_in()) {
            return Err(HookError::NotOptIn(*point));
        }
        self.enabled.extend(points);
        Ok(())
    }

    /// The opt-in hooks that are on.
    #[must_use]
    pub fn enabled(&self) -> &BTreeSet<HookPoint> {
        &self.enabled
    }

    /// Turn on these opt-in hooks and no others.
    pub fn set_enabled(&mut self, points: BTreeSet<HookPoint>) {
        self.enabled = points;
    }

    #[must_use]
    pub fn vectors(&self) -> &Vectors {
        &self.vectors
    }

    pub fn vectors_mut(&mut self) -> &mut Vectors {
        &mut self.vectors
    }

    #[must_use]
    pub fn is_enabled(&self, point: HookPoint) -> bool {
        self.enabled.contains(&point)
    }

    /// Whether the forward pass computes a hook, so that it can be edited.
    ///
    /// # Errors
    /// The reason why not: no such block, opt-in and off, or derived.
    pub fn check(&self, point: HookPoint) -> Result<(), HookError> {
        match (point.block(), point.row().fires) {
            (Some(block), _) if block >= self.dims.n_layers => {
                Err(HookError::NoBlock { point: point.to_string(), block, n_layers: self.dims.n_layers })
            }
            _ if self.is_derived(point) => Err(HookError::Derived(point)),
            (_, Fires::OptIn(_)) if !self.is_enabled(point) => Err(HookError::Off(point)),
            (_, Fires::Always | Fires::OptIn(_) | Fires::Sequential) => Ok(()),
        }
    }

    /// Whether the forward pass never computes it, so that it is derived for display: hooks that only sequential blocks
    /// have.
    #[must_use]
    pub fn is_derived(&self, point: HookPoint) -> bool {
        self.dims.parallel && point.row().fires == Fires::Sequential
    }

    /// Every hook point that fires, in execution order.
    #[must_use]
    pub fn points(&self) -> Vec<HookPoint> {
        self.all_points().into_iter().filter(|point| self.check(*point).is_ok()).collect()
    }

    /// Every hook point that can be shown: those that fire, those that are off, and the derived ones.
    #[must_use]
    pub fn all_points(&self) -> Vec<HookPoint> {
        let blocks = (0..self.dims.n_layers).flat_map(|block| BlockHook::ALL.map(|hook| HookPoint::Block(block, hook)));
        HookPoint::BEFORE.into_iter().chain(blocks).chain(HookPoint::AFTER).collect()
    }

    /// Whether `ln1` of a block gets one input per head: with `hook_attn_in` or a split q, k, v input on.
    #[must_use]
    pub fn ln1_per_head(&self, block: usize) -> bool {
        self.is_enabled(HookPoint::Block(block, BlockHook::AttnIn)) || self.is_split(block)
    }

    /// Whether queries, keys and values of a block read separate residual streams.
    #[must_use]
    pub fn is_split(&self, block: usize) -> bool {
        let on = |hook| self.is_enabled(HookPoint::Block(block, hook));
        [BlockHook::QInput, BlockHook::KInput, BlockHook::VInput].into_iter().any(on)
    }

    /// The size of one axis for a prompt of `n_pos` tokens.
    #[must_use]
    pub fn size(&self, axis: Axis, n_pos: usize) -> usize {
        match axis {
            Axis::Pos | Axis::Query | Axis::Key => n_pos,
            Axis::Head => self.dims.n_heads,
            Axis::DHead => self.dims.d_head,
            Axis::DModel => self.dims.d_model,
            Axis::DMlp => self.dims.d_mlp,
            Axis::Vocab => self.dims.d_vocab,
            // the dictionaries of several hooks differ
            Axis::DSae => self.d_sae.values().copied().max().unwrap_or(0),
            Axis::One => 1,
        }
    }

    /// The shape of an activation, without the batch axis, for a prompt of `n_pos` tokens.
    #[must_use]
    pub fn shape(&self, point: HookPoint, n_pos: usize) -> Vec<usize> {
        self.axes(point).into_iter().map(|axis| self.size(axis, n_pos)).collect()
    }
}
