//! The sizes of the model that a cache was taken from, judging by the shapes in it, and its activations under our names.

use candle_core::{Device, Tensor};

use super::{CacheFile, CachePart, Holds};
use crate::{
    hooks::{ActivationCache, Axis, BlockHook, Dims, HookPoint, Nonlinearity, Schema},
    model::{ACTIVATIONS, Config, ModelError, Processing, pythia},
};

/// The size of a head of every Pythia from 410m to 1.4b, for a cache that tells nothing about it.
const USUAL_HEAD: usize = 64;

/// For asking which axes a hook has.
const NO_SIZES: Dims = Dims {
    n_layers: 0,
    n_heads: 0,
    d_head: 0,
    d_model: 0,
    d_mlp: 0,
    d_vocab: 0,
    parallel: true,
    activation: Nonlinearity { name: "", formula: "" },
};

/// Sizes as far as they are known.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    n_layers: usize,
    n_heads: Option<usize>,
    d_head: Option<usize>,
    d_model: Option<usize>,
    d_mlp: Option<usize>,
    d_vocab: Option<usize>,
    sequential: bool,
}

impl CacheFile {
    /// The config of a model of which this could be a cache, and sentences about what the cache does not tell.
    ///
    /// # Errors
    /// There are no sizes that all tensors fit.
    pub fn config(&self, tokens: Option<&[u32]>) -> Result<(Config, Vec<String>), ModelError> {
        let mut sizes = Sizes::default();
        for part in &self.parts {
            sizes.learn(part);
        }
        // a list of hidden states has one more than there are blocks
        let states = self.parts.iter().filter_map(|part| match part.holds {
            Holds::HiddenState(number) => Some(number),
            Holds::Tokens | Holds::Hook(_) | Holds::FinalStream | Holds::Qkv(_) | Holds::Logits => None,
        });
        sizes.n_layers = sizes.n_layers.max(states.max().unwrap_or(0)).max(1);
        let mut guessed = Vec::new();
        let known = pythia::SIZES.iter().find(|size| {
            size.n_layers == sizes.n_layers
                && sizes.n_heads.is_none_or(|n| n == size.n_heads)
                && sizes.d_model.is_none_or(|n| n == size.d_model)
        });
        let mut guess = |what: &str, value: usize| {
            guessed.push(format!("{what} = {value}"));
            value
        };
        let product = sizes.n_heads.zip(sizes.d_head).map(|(n, d)| n * d);
        let d_model = match sizes.d_model.or(product).or(known.map(|size| size.d_model)) {
            Some(d_model) => d_model,
            None => guess("d_model", sizes.n_heads.unwrap_or(1) * USUAL_HEAD),
        };
        let of_head = sizes.d_head.filter(|d| *d > 0 && d_model.is_multiple_of(*d)).map(|d| d_model / d);
        let n_heads = match sizes.n_heads.or(of_head).or(known.map(|size| size.n_heads)) {
            Some(n_heads) => n_heads,
            None => guess("n_heads", if d_model.is_multiple_of(USUAL_HEAD) { d_model / USUAL_HEAD } else { 1 }),
        };
        let d_mlp = match sizes.d_mlp {
            Some(d_mlp) => d_mlp,
            None => guess("d_mlp", 4 * d_model),
        };
        let largest = tokens.into_iter().flatten().max().map_or(1, |id| *id as usize + 1);
        let d_vocab =
            sizes.d_vocab.unwrap_or_else(|| guess("d_vocab", known.map_or(largest, |size| size.d_vocab.max(largest))));
        if n_heads == 0 || !d_model.is_multiple_of(n_heads) || d_model == 0 || d_mlp == 0 || d_vocab == 0 {
            return Err(self.misfit(format!(
                "its tensors are of no one model: d_model would be {d_model} and n_heads {n_heads}; name the model with --model"
            )));
        }
        let activation = ACTIVATIONS.first().ok_or_else(|| self.misfit("there is no activation function".into()))?;
        let config = Config {
            n_layers: sizes.n_layers,
            n_heads,
            d_model,
            d_head: d_model / n_heads,
            d_mlp,
            d_vocab,
            context: self.n_pos().unwrap_or(1).max(tokens.map_or(1, <[u32]>::len)),
            // these play no part in what a cache shows
            rotary_dims: d_model / n_heads / 4,
            rotary_base: 10_000.0,
            layer_norm_eps: 1e-5,
            activation,
            parallel: !sizes.sequential,
            tied: false,
            bos: 0,
            eos: vec![],
        };
        let notes = match guessed.is_empty() {
            true => vec![],
            false => vec![format!("the cache does not tell every size; assumed: {}", guessed.join(", "))],
        };
        Ok((config, notes))
    }

    /// Whether the residual stream is centred, as that of a processed model is; None if the cache has no stream.
    ///
    /// # Errors
    /// The stream can't be read.
    pub fn processing(&self) -> Result<Option<Processing>, ModelError> {
        /// The mean of a centred vector as a share of its root mean square: rounding, even in 16 bits.
        const CENTRED: f64 = 2e-3;
        let stream = self.parts.iter().find(|part| {
            matches!(
                part.holds,
                Holds::Hook(HookPoint::Embed | HookPoint::Block(_, BlockHook::ResidPre | BlockHook::ResidPost))
                    | Holds::HiddenState(0)
            )
        });
        let Some(part) = stream else { return Ok(None) };
        let (values, width) = (self.read(part)?, part.shape.last().copied().unwrap_or(1).max(1));
        let centred = values.chunks(width).all(|row| {
            let sum: f64 = row.iter().map(|x| f64::from(*x)).sum();
            let square: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
            #[allow(clippy::cast_precision_loss, reason = "the width of a model")]
            let n = row.len() as f64;
            (sum / n).abs() <= CENTRED * (square / n).sqrt()
        });
        Ok(Some(if centred { Processing::Folded } else { Processing::None }))
    }

    /// The activations under our names, and the logits `[1, pos, vocab]` if the file has them, all f32 on the CPU. What one tensor
    /// holds under several names is read once.
    ///
    /// # Errors
    /// A tensor that can't be read, or does not fit the schema and the number of tokens.
    pub fn activations(&self, schema: &Schema, n_pos: usize) -> Result<(ActivationCache, Option<Tensor>), ModelError> {
        let (mut cache, mut logits) = (ActivationCache::default(), None);
        let dims = &schema.dims;
        for part in &self.parts {
            let tensor = |shape: &[usize]| -> Result<Tensor, ModelError> {
                let what = format!("that of a model with {} blocks and {n_pos} tokens", dims.n_layers);
                self.check_shape(part, shape, &what)?;
                let with_batch = [&[1], shape].concat();
                Ok(Tensor::from_vec(self.read(part)?, with_batch, &Device::Cpu)?)
            };
            let point = match part.holds {
                Holds::Logits => {
                    logits = Some(tensor(&[n_pos, dims.d_vocab])?);
                    continue;
                }
                Holds::Qkv(block) if block < dims.n_layers => {
                    let all = tensor(&[n_pos, 3 * dims.d_model])?.reshape((1, n_pos, dims.n_heads, 3, dims.d_head))?;
                    for (which, hook) in [BlockHook::Q, BlockHook::K, BlockHook::V].into_iter().enumerate() {
                        let own = all.narrow(3, which, 1)?.squeeze(3)?.contiguous()?;
                        cache.insert(HookPoint::Block(block, hook), own);
                    }
                    continue;
                }
                // it has gone through the final LayerNorm
                Holds::HiddenState(number) if number == dims.n_layers => HookPoint::LnFinalNormalized,
                Holds::HiddenState(number) if number > dims.n_layers => continue,
                Holds::Hook(HookPoint::Tokens) | Holds::Tokens | Holds::Qkv(_) => continue,
                holds @ (Holds::Hook(_) | Holds::FinalStream | Holds::HiddenState(_)) => match holds.hook(dims) {
                    Some(point) if point.block().is_none_or(|block| block < dims.n_layers) => point,
                    Some(_) | None => continue,
                },
            };
            if cache.get(point).is_none() {
                cache.insert(point, tensor(&schema.shape(point, n_pos))?);
            }
        }
        share_streams(&mut cache, dims.n_layers);
        Ok((cache, logits))
    }

    /// The bytes of the activations as f32.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let count = |part: &CachePart| part.shape.iter().map(|n| *n as u64).product::<u64>();
        self.parts.iter().map(count).sum::<u64>() * 4
    }
}

/// The stream out of a block is the stream into the next one, and the embedding the one into the first.
fn share_streams(cache: &mut ActivationCache, n_layers: usize) {
    let at = |block, hook| HookPoint::Block(block, hook);
    let between = (1..n_layers).map(|block| (at(block - 1, BlockHook::ResidPost), at(block, BlockHook::ResidPre)));
    for (a, b) in between.chain([(HookPoint::Embed, at(0, BlockHook::ResidPre))]) {
        match (cache.get(a).cloned(), cache.get(b).cloned()) {
            (Some(value), None) => cache.insert(b, value),
            (None, Some(value)) => cache.insert(a, value),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
}

impl Sizes {
    /// Take what the shape of a tensor tells.
    fn learn(&mut self, part: &CachePart) {
        let from_end = |n: usize| part.shape.len().checked_sub(n).map(|at| part.shape[at]);
        let point = match part.holds {
            Holds::Tokens => return,
            Holds::Logits => {
                self.d_vocab = self.d_vocab.or(from_end(1));
                return;
            }
            Holds::FinalStream | Holds::HiddenState(_) => {
                self.d_model = self.d_model.or(from_end(1));
                return;
            }
            Holds::Qkv(block) => {
                self.n_layers = self.n_layers.max(block + 1);
                self.d_model = self.d_model.or(from_end(1).map(|n| n / 3));
                return;
            }
            Holds::Hook(point) => point,
        };
        if let Some(block) = point.block() {
            self.n_layers = self.n_layers.max(block + 1);
        }
        self.sequential |= point.block_hook() == Some(BlockHook::ResidMid);
        let axes = Schema::new(NO_SIZES).axes(point);
        // an axis of heads may be left out
        if part.shape.len() < axes.len() {
            return;
        }
        for (axis, size) in axes.iter().rev().zip(part.shape.iter().rev()) {
            let known = match axis {
                Axis::Head => &mut self.n_heads,
                Axis::DHead => &mut self.d_head,
                Axis::DModel => &mut self.d_model,
                Axis::DMlp => &mut self.d_mlp,
                Axis::Vocab => &mut self.d_vocab,
                Axis::Pos | Axis::Query | Axis::Key | Axis::DSae | Axis::One => continue,
            };
            *known = known.or(Some(*size));
        }
    }
}
