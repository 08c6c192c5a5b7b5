//! Scores of all edges at once: for each block, one matrix product of the changes of what every earlier component
//! writes with the gradients at every input of the block.

use candle_core::{DType, Tensor};

use super::{Engine, circuit_edits::port_at, compared::writers, host::values};
use crate::{
    analysis::{GraphShape, Node, Receiver},
    hooks::{ActivationCache, Backward, BlockHook, GradientHooks, HookPoint, RunError},
};

/// The change of what each sender writes to the stream: `[sender, pos * d_model]`, in the graph's order.
pub(super) struct Writes(Tensor);

impl Writes {
    /// From the changes of `hook_embed`, `hook_z` and `hook_mlp_out`, or from their values; other activations are
    /// ignored.
    pub fn new(engine: &Engine, changes: &ActivationCache) -> Result<Self, RunError> {
        let mut rows = vec![];
        for point in writers(engine.schema.dims.n_layers) {
            let missing = || candle_core::Error::Msg(format!("the run kept no {point}"));
            let change = changes.get(point).ok_or_else(missing)?;
            let n_pos = change.dim(1)?;
            rows.push(match point.block() {
                Some(block) if point.block_hook() == Some(BlockHook::Z) => {
                    let results = engine.loaded.model.head_results(block, change)?;
                    let heads = results.dim(2)?;
                    results.squeeze(0)?.transpose(0, 1)?.contiguous()?.reshape((heads, n_pos * results.dim(3)?))?
                }
                Some(_) | None => change.flatten_all()?.unsqueeze(0)?,
            });
        }
        Ok(Self(Tensor::cat(&rows, 0)?.to_dtype(DType::F32)?))
    }

    /// The rows of some senders.
    pub fn narrow(&self, first: usize, n: usize) -> candle_core::Result<Tensor> {
        self.0.narrow(0, first, n)
    }
}

/// Runs the backward pass, and multiplies the gradients at the inputs by the changes of what the senders write.
pub(super) struct EdgeScores<'a> {
    hooks: Backward<'a>,
    shape: GraphShape,
    writes: &'a Writes,
    /// By layer, from the last: by reader in the graph's order, the scores of its edges.
    layers: Vec<Layer>,
    /// Scores of the edges to the logits.
    logits: Vec<f64>,
}

/// Scores of a block's edges: of queries, keys and values by head, and of its MLP.
#[derive(Default)]
struct Layer {
    heads: [Vec<Vec<f64>>; 3],
    mlp: Vec<f64>,
}

impl<'a> EdgeScores<'a> {
    pub fn new(hooks: Backward<'a>, shape: GraphShape, writes: &'a Writes) -> Self {
        let layers = (0..shape.n_layers).map(|_| Layer::default()).collect();
        Self { hooks, shape, writes, layers, logits: vec![] }
    }

    /// The score of every edge, in the graph's order.
    pub fn scores(self) -> Vec<f64> {
        let mut all = Vec::with_capacity(self.shape.edge_count());
        for Layer { heads, mlp } in self.layers {
            for head in 0..self.shape.n_heads {
                for port in &heads {
                    all.extend(port.get(head).into_iter().flatten());
                }
            }
            all.extend(mlp);
        }
        all.extend(self.logits);
        all
    }

    /// The scores of the edges from the first senders to some readers.
    ///
    /// # Shapes
    /// `gradients`: `[reader, pos * d_model]`.
    fn edges(&self, to: Node, gradients: &Tensor) -> Result<Vec<Vec<f64>>, RunError> {
        let before = self.shape.before(Receiver { node: to, port: None });
        let scores = gradients.matmul(&self.writes.0.narrow(0, 0, before)?.t()?)?;
        let wide = |row: &[f32]| row.iter().map(|x| f64::from(*x)).collect();
        Ok(values(&scores)?.chunks(before.max(1)).map(wide).collect())
    }
}

impl GradientHooks for EdgeScores<'_> {
    fn at(&mut self, point: HookPoint, gradient: Tensor) -> Result<Tensor, RunError> {
        if point == HookPoint::Block(self.shape.n_layers.saturating_sub(1), BlockHook::ResidPost) {
            let one = gradient.to_dtype(DType::F32)?.flatten_all()?.unsqueeze(0)?;
            self.logits = self.edges(Node::Logits, &one)?.concat();
        }
        self.hooks.at(point, gradient)
    }

    fn pull(&self, point: HookPoint, gradient: Tensor) -> Result<Tensor, RunError> {
        self.hooks.pull(point, gradient)
    }

    fn again(&self, point: HookPoint, value: Tensor) -> Result<Tensor, RunError> {
        self.hooks.again(point, value)
    }

    fn watches(&self, point: HookPoint) -> bool {
        self.hooks.watches(point)
    }

    fn edits(&self, point: HookPoint) -> bool {
        self.hooks.edits(point)
    }

    fn asks_for_inputs(&self) -> bool {
        true
    }

    fn input(&mut self, point: HookPoint, gradient: &Tensor) -> Result<(), RunError> {
        let HookPoint::Block(layer, hook) = point else { return Ok(()) };
        let Some(port) = port_at(hook) else {
            let one = gradient.flatten_all()?.unsqueeze(0)?;
            self.layers[layer].mlp = self.edges(Node::Mlp(layer), &one)?.concat();
            return Ok(());
        };
        self.layers[layer].heads[port as usize] =
            self.edges(Node::Head { layer, head: 0 }, &gradient.flatten_from(1)?)?;
        Ok(())
    }

    fn entering(&mut self, block: usize) -> Result<(), RunError> {
        self.hooks.entering(block)
    }
}
