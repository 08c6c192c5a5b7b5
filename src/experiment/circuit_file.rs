//! Circuits as files: the graph JSON of EAP-IG, read and written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    analysis::{Edge, GraphShape, NoEdge},
    fs::{self, ReadError},
    printed,
};

/// A graph of a model of 12b's size has 3 million edges of less than 64 bytes.
const LIMIT: u64 = 512 << 20;

/// Why a file holds no circuit of this model.
#[derive(Debug, thiserror::Error)]
pub enum CircuitFileError {
    #[error("can't read {}: {reason}", printed::path(.path))]
    Read { path: PathBuf, reason: ReadError },
    #[error("{}, line {line}, column {column}: {reason}; expected the graph JSON of EAP-IG: `cfg`, `nodes`, `edges`", printed::path(.path))]
    Json { path: PathBuf, line: usize, column: usize, reason: String },
    #[error("{} is a circuit of a model with {found}; expected {expected}, as this model has", printed::path(.path))]
    OtherModel { path: PathBuf, found: GraphShape, expected: GraphShape },
    #[error("{}: {reason}", printed::path(.path))]
    Edge { path: PathBuf, reason: NoEdge },
}

/// What the file says about the model.
#[derive(Deserialize)]
struct Shape {
    n_layers: usize,
    n_heads: usize,
    parallel_attn_mlp: bool,
    d_model: usize,
}

#[derive(Deserialize)]
struct InGraph {
    in_graph: bool,
}

#[derive(Deserialize)]
struct Graph {
    cfg: Shape,
    edges: BTreeMap<String, InGraph>,
}

/// The edges that a file marks as in the circuit, in the graph's order.
///
/// # Errors
/// It can't be read, is not graph JSON, is for another model, or names an edge that the model does not have.
pub fn read_circuit(path: &Path, shape: GraphShape) -> Result<Vec<Edge>, CircuitFileError> {
    let path_buf = || path.to_path_buf();
    let text = fs::read_text(path, LIMIT).map_err(|reason| CircuitFileError::Read { path: path_buf(), reason })?;
    let graph: Graph = serde_json::from_str(fs::without_mark(&text)).map_err(|error| {
        // serde's message ends with the position, which is reported separately
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        let (line, column) = (error.line(), error.column());
        CircuitFileError::Json { path: path_buf(), line, column, reason: printed::escaped(reason).into_owned() }
    })?;
    let Shape { n_layers, n_heads, parallel_attn_mlp: parallel, d_model } = graph.cfg;
    let found = GraphShape { n_layers, n_heads, d_model, parallel };
    if found != shape {
        return Err(CircuitFileError::OtherModel { path: path_buf(), found, expected: shape });
    }
    let mut edges = BTreeSet::new();
    for (name, edge) in graph.edges {
        let read = name.parse::<Edge>().and_then(|edge| shape.check(edge).map(|()| edge));
        let known = read.map_err(|reason| CircuitFileError::Edge { path: path_buf(), reason })?;
        if edge.in_graph {
            edges.insert(known);
        }
    }
    Ok(shape.edges().filter(|edge| edges.contains(edge)).collect())
}

/// Every edge with its score, as EAP-IG's graph JSON. The edges of `circuit`, and the components at their ends, are
/// marked as in the graph.
#[must_use]
pub fn circuit_json(shape: GraphShape, scores: &[(Edge, f64)], circuit: &BTreeSet<Edge>) -> String {
    let GraphShape { n_layers, n_heads, d_model, parallel } = shape;
    let mut out = format!(
        "{{\"cfg\": {{\"n_layers\": {n_layers}, \"n_heads\": {n_heads}, \"parallel_attn_mlp\": {parallel}, \"d_model\": {d_model}}},\n\
         \"nodes\": {{"
    );
    let ends: BTreeSet<_> = circuit.iter().flat_map(|edge| [edge.from, edge.to.node]).collect();
    let nodes = shape.senders().into_iter().chain([crate::analysis::Node::Logits]);
    for (number, node) in nodes.enumerate() {
        let comma = if number == 0 { "" } else { ", " };
        // writing to a string can't fail
        let _ = write!(out, "{comma}\"{node}\": {{\"in_graph\": {}}}", ends.contains(&node));
    }
    out.push_str("},\n\"edges\": {");
    for (number, (edge, score)) in scores.iter().enumerate() {
        let comma = if number == 0 { "\n" } else { ",\n" };
        let score = if score.is_finite() { score.to_string() } else { "null".into() };
        let _ = write!(out, "{comma}\"{edge}\": {{\"score\": {score}, \"in_graph\": {}}}", circuit.contains(edge));
    }
    out.push_str("}}\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_graph_reads_back() {
        let shape = GraphShape { n_layers: 2, n_heads: 2, d_model: 8, parallel: true };
        let scores: Vec<(Edge, f64)> = shape.edges().zip((0u16..).map(|i| f64::from(i) - 7.5)).collect();
        let circuit: BTreeSet<Edge> = shape.edges().step_by(3).collect();
        let text = circuit_json(shape, &scores, &circuit);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("graph.json");
        std::fs::write(&path, &text).unwrap();
        assert_eq!(read_circuit(&path, shape).unwrap(), shape.edges().step_by(3).collect::<Vec<_>>());
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["edges"]["input->a0.h0<q>"], serde_json::json!({"score": -7.5, "in_graph": true}));
        assert_eq!(json["cfg"]["parallel_attn_mlp"], true);

        let other = GraphShape { n_layers: 3, parallel: false, ..shape };
        let error = read_circuit(&path, other).unwrap_err().to_string();
        assert!(
            error.contains(
                "2 layers of 2 heads, d_model 8, parallel; expected 3 layers of 2 heads, d_model 8, sequential"
            ),
            "{error}"
        );
        std::fs::write(&path, text.replace("input->a0.h0<q>", "m1->a0.h0<q>")).unwrap();
        assert!(read_circuit(&path, shape).unwrap_err().to_string().contains("an earlier component to a later one"));
        std::fs::write(&path, "{\"nodes\": {}}").unwrap();
        let error = read_circuit(&path, shape).unwrap_err().to_string();
        assert!(
            error.contains("line 1") && error.contains("missing field `cfg`") && error.contains("EAP-IG"),
            "{error}"
        );
        assert!(read_circuit(&directory.path().join("none"), shape).unwrap_err().to_string().contains("can't read"));
    }
}
