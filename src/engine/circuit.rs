//! Circuits: the edges of a circuit carry what the prompt's run writes, and every other edge what the contrast run
//! wrote (Hanna et al., "Have Faith in Faithfulness", 2024).

use std::collections::BTreeSet;

use candle_core::{DType, Tensor};

use super::{
    AttributionError, Control, Engine, Method, Run, Spec,
    circuit_edits::port_at,
    compared::{Compared, edits_sum, without_opt_in},
    control::go_on,
    edge_scores::Writes,
};
use crate::{
    analysis::{Edge, GraphShape, Node, Objective, Receiver},
    hooks::{BlockHook, Capture, Edit, HookPoint, Hooks, Interventions, RunError, Target},
    model::Start,
};

/// The result of running a circuit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faithfulness {
    /// The number of edges in the circuit.
    pub edges: usize,
    pub value: f64,
    /// `(value - contrast's) / (prompt's - contrast's)`: 1 with every edge, 0 with none.
    pub faithfulness: f64,
}

/// Circuits of one prompt, with the objective of both prompts.
#[derive(Clone, Debug, PartialEq)]
pub struct Circuits {
    pub value: f64,
    pub contrast_value: f64,
    /// One for each requested circuit.
    pub circuits: Vec<Faithfulness>,
}

/// The numbers of edges on a curve: 0, 1, 2, 5, 10, 20, 50 and so on, and all.
#[must_use]
pub fn circuit_sizes(all: usize) -> Vec<usize> {
    let decades = std::iter::successors(Some(1usize), |n| n.checked_mul(10));
    let steps = decades.take_while(|n| *n < all).flat_map(|n| [n, 2 * n, 5 * n]).filter(|n| *n < all);
    [0].into_iter().chain(steps).chain([all]).collect()
}

/// Values that differ by less than this, relative to the larger, count as equal.
const APART: f64 = 1e-5;

impl Engine {
    /// Run each of `circuits`, a set of edges, with the edits of `spec`; the contrast run has none. Calls `tell` with
    /// each result.
    ///
    /// # Errors
    /// An edit that circuits can't run with, an edge that the model does not have, prompts that can't be compared or
    /// that have the same objective.
    pub fn circuits(
        &mut self,
        spec: &Spec,
        objective: Objective,
        circuits: &[&[Edge]],
        control: Control<'_>,
        tell: &mut dyn FnMut(Faithfulness),
    ) -> Result<Circuits, AttributionError> {
        if let Some(edit) = spec.edits.iter().find(|edit| !fits_circuit(edit)) {
            return Err(AttributionError::EditedCircuit(edit.to_string()));
        }
        let spec = &without_opt_in(spec);
        let shape = GraphShape::from(self.schema.dims);
        circuits.iter().flat_map(|edges| edges.iter()).try_for_each(|edge| shape.check(*edge))?;
        let compared = self.compared(spec, objective, Method::Exact, control)?;
        let Compared { value, contrast_value, .. } = compared;
        let gap = value - contrast_value;
        if gap.abs() <= APART * value.abs().max(contrast_value.abs()) || !gap.is_finite() {
            return Err(AttributionError::NothingBetween { metric: objective.name(), value });
        }
        let writes = Writes::new(self, &compared.contrast.cache)?;
        let mut all = vec![];
        for edges in circuits {
            go_on(control.cancel)?;
            let run = self.circuit(spec, edges, &writes, &compared, control)?;
            let value = self.objective(objective, &run, &compared.base.baseline)?;
            let found = Faithfulness { edges: edges.len(), value, faithfulness: (value - contrast_value) / gap };
            tell(found);
            all.push(found);
        }
        Ok(Circuits { value, contrast_value, circuits: all })
    }

    /// Run one circuit.
    fn circuit(
        &self,
        spec: &Spec,
        edges: &[Edge],
        writes: &Writes,
        compared: &Compared,
        control: Control<'_>,
    ) -> Result<Run, AttributionError> {
        use BlockHook::{KInput, MlpIn, QInput, Result, VInput};
        let mut schema = self.schema.clone();
        let own = |block| [QInput, KInput, VInput, Result, MlpIn].map(|hook| HookPoint::Block(block, hook));
        let enabled: BTreeSet<HookPoint> = (0..self.schema.dims.n_layers).flat_map(own).collect();
        schema.set_enabled(enabled);
        let shape = GraphShape::from(self.schema.dims);
        let plans = std::slice::from_ref(&compared.plan);
        let (references, d_vocab) = (compared.base.references(), self.schema.dims.d_vocab);
        let dictionaries = self.dictionaries(&spec.tokens, &compared.base.features);
        let edits =
            Interventions::new(plans, &spec.edits, Capture::None, references, d_vocab).with_dictionaries(&dictionaries);
        let edges = edges.iter().copied().collect();
        let mut hooks = Rewired { edits, shape, edges, writes, changes: vec![], control };
        let tokens = [spec.tokens.clone()];
        let passed = self.loaded.model.pass(Start::Tokens(&tokens), &schema, &mut hooks, false);
        let normalized = passed.map_err(|error| AttributionError::Run(error.into()))?;
        Ok(self.run_of(&spec.tokens, normalized)?)
    }
}

/// Whether a circuit can run with an edit: it has to change what a single component does. Paths belong to the circuit
/// itself; the sums of what components write are recomputed for each reader; `ln1` runs separately for each head's
/// queries, keys and values; and an edit after the last reader would also change a circuit without edges.
fn fits_circuit(edit: &Edit) -> bool {
    let is_inside = match &edit.target {
        Target::Global(HookPoint::LnFinalScale | HookPoint::LnFinalNormalized) => false,
        Target::Global(HookPoint::Tokens | HookPoint::Embed | HookPoint::Block(..)) => true,
        Target::Block(_, hook) => !matches!(hook, BlockHook::Ln1Scale | BlockHook::Ln1Normalized),
    };
    is_inside && edit.sender.is_none() && !edits_sum(edit)
}

/// Gives each reader what the contrast run wrote, for every sender whose edge is outside the circuit.
struct Rewired<'a> {
    edits: Interventions<'a>,
    shape: GraphShape,
    edges: BTreeSet<Edge>,
    /// What the contrast run wrote.
    writes: &'a Writes,
    /// The contrast run's writes minus this run's, as far as the pass has come: `[some senders, pos * d_model]` each.
    changes: Vec<Tensor>,
    control: Control<'a>,
}

impl Rewired<'_> {
    /// Note what some senders, from number `first` on, wrote in this run: `[sender, pos * d_model]`.
    fn wrote(&mut self, first: usize, own: &Tensor) -> candle_core::Result<()> {
        let own = own.to_dtype(DType::F32)?;
        self.changes.push((self.writes.narrow(first, own.dim(0)?)? - own)?);
        Ok(())
    }

    /// What to add to the input of some readers at one place: `[reader, pos * d_model]`; None for nothing.
    fn correction(&self, readers: &[Receiver], like: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let Some(first) = readers.first() else { return Ok(None) };
        let before = self.shape.before(*first);
        let senders = self.shape.senders();
        let outside = |to: Receiver, from: Node| if self.edges.contains(&Edge { from, to }) { 0.0f32 } else { 1.0 };
        let mask: Vec<f32> =
            readers.iter().flat_map(|to| senders[..before].iter().map(|from| outside(*to, *from))).collect();
        if mask.iter().all(|x| *x == 0.0) {
            return Ok(None);
        }
        let mask = Tensor::from_vec(mask, (readers.len(), before), like.device())?;
        let changes = Tensor::cat(&self.changes, 0)?.narrow(0, 0, before)?;
        mask.matmul(&changes)?.to_dtype(like.dtype()).map(Some)
    }
}

impl Hooks for Rewired<'_> {
    fn at(&mut self, point: HookPoint, value: Tensor) -> Result<Tensor, RunError> {
        let value = self.edits.at(point, value)?;
        let one = |node| [Receiver { node, port: None }];
        let row = |value: &Tensor| value.flatten_all()?.unsqueeze(0);
        let whole = |correction: Option<Tensor>| match correction {
            Some(correction) => Ok::<_, RunError>((&value + correction.reshape(value.shape())?)?),
            None => Ok(value.clone()),
        };
        let HookPoint::Block(layer, hook) = point else {
            if point == HookPoint::Embed {
                self.wrote(0, &row(&value)?)?;
            }
            return Ok(value);
        };
        if hook == BlockHook::Result || hook == BlockHook::MlpOut {
            let by_head = hook == BlockHook::Result;
            let node = if by_head { Node::Head { layer, head: 0 } } else { Node::Mlp(layer) };
            let rows = match by_head {
                true => value.squeeze(0)?.transpose(0, 1)?.contiguous()?.flatten_from(1)?,
                false => row(&value)?,
            };
            self.wrote(self.shape.sender(node).unwrap_or(0), &rows)?;
            return Ok(value);
        }
        if hook == BlockHook::MlpIn {
            return whole(self.correction(&one(Node::Mlp(layer)), &value)?);
        }
        if hook == BlockHook::ResidPost && layer + 1 == self.shape.n_layers {
            return whole(self.correction(&one(Node::Logits), &value)?);
        }
        let Some(port) = port_at(hook) else { return Ok(value) };
        let heads = (0..self.shape.n_heads).map(|head| Receiver { node: Node::Head { layer, head }, port: Some(port) });
        let Some(correction) = self.correction(&heads.collect::<Vec<_>>(), &value)? else { return Ok(value) };
        let (_, n_pos, heads, d_model) = value.dims4()?;
        let correction = correction.reshape((heads, n_pos, d_model))?.transpose(0, 1)?.unsqueeze(0)?;
        Ok((value + correction)?)
    }

    fn watches(&self, point: HookPoint) -> bool {
        // no component reads scores and patterns; an edit may change them
        self.edits.watches(point)
    }

    fn entering(&mut self, block: usize) -> Result<(), RunError> {
        (self.control.progress)(block, self.shape.n_layers);
        go_on(self.control.cancel)
    }
}
