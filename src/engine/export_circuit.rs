//! A circuit as a Python script that runs it with TransformerLens and asserts the number and the faithfulness computed here.

use std::{collections::BTreeSet, fmt::Write};

use super::{
    ExportError, Faithfulness, OfModel, Spec,
    export::{TOLERANCE, number, script, text},
};
use crate::{
    analysis::{Edge, Objective},
    hooks::{BlockHook, HookPoint, Schema},
};

/// The main part of a circuit's script.
const CIRCUIT: &str = include_str!("export_circuit.py");

/// The number of edges on a line of the script.
const ON_A_LINE: usize = 6;

/// What the script contains about a circuit besides its specification.
#[derive(Clone, Copy, Debug)]
pub struct RanCircuit<'a> {
    pub model: OfModel<'a>,
    pub objective: Objective,
    pub edges: &'a [Edge],
    /// The objective of the prompt, and of the contrast prompt.
    pub value: f64,
    pub contrast_value: f64,
    pub found: Faithfulness,
}

/// # Errors
/// As [`python`](super::python).
pub fn python_circuit(spec: &Spec, schema: &Schema, ran: &RanCircuit<'_>) -> Result<String, ExportError> {
    use BlockHook::{KInput, MlpIn, QInput, Result, VInput};
    let RanCircuit { model, objective, edges, value, contrast_value, found } = ran;
    let mut circuit = String::new();
    for line in edges.chunks(ON_A_LINE) {
        let names: Vec<String> = line.iter().map(|edge| text(&edge.to_string())).collect();
        let _ = writeln!(circuit, "    {},", names.join(", "));
    }
    let token = |id: Option<u32>| id.map_or("None".into(), |id| id.to_string());
    let (pos, target, distractor) = match *objective {
        Objective::LogitDiff { pos, target, distractor } => (Some(pos), Some(target), distractor),
        Objective::Prob { pos, target } => (Some(pos), Some(target), None),
        Objective::Kl { pos } => (Some(pos), None, None),
        Objective::Loss => (None, None, None),
    };
    let pos = pos.map_or("None".into(), |pos| pos.to_string());
    let facts = format!(
        "# the edges that run on the prompt; every other edge carries what the contrast run writes\n\
         CIRCUIT = [\n{circuit}]\n\
         METRIC = {}, {pos}, {}, {}      # its name, position, target and distractor\n\
         VALUE, CONTRAST_VALUE = {}, {}      # of the prompt, and of the contrast prompt\n\
         CIRCUIT_VALUE, FAITHFULNESS = {}, {}\n\
         TOLERANCE = {TOLERANCE}      # of the largest logit",
        text(objective.name()),
        token(target),
        token(distractor),
        number(*value),
        number(*contrast_value),
        number(found.value),
        number(found.faithfulness),
    );
    let own = |block| [QInput, KInput, VInput, Result, MlpIn].map(|hook| HookPoint::Block(block, hook));
    let enabled: BTreeSet<HookPoint> = (0..schema.dims.n_layers).flat_map(own).collect();
    let spec = Spec {
        enabled: spec.enabled.iter().copied().filter(|at| *at == HookPoint::Tokens).chain(enabled).collect(),
        ..spec.clone()
    };
    let doc = "Runs a circuit of pythia-tui {} with TransformerLens, and asserts how faithful it is.";
    script(&spec, schema, model, doc, &facts, CIRCUIT)
}
