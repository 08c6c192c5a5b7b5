//! The `[circuit]` table of an experiment: which edges run on the prompt while the others carry the contrast run.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{text, wrong::Wrong};
use crate::{
    analysis::{Edge, GraphShape, ObjectiveKind},
    engine::Method,
};

/// The table as written. Omitted keys have their defaults.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CircuitTable {
    /// The scoring method, as `--method` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text::option")]
    pub method: Option<Method>,
    /// The steps of `eap-ig`, as `--steps` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Spanned<usize>>,
    /// The metric, as `--metric` takes it, `loss` included.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text::option")]
    pub metric: Option<ObjectiveKind>,
    /// The position, as `--pos` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pos: Option<Spanned<i64>>,
    /// This many of the strongest edges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<Spanned<usize>>,
    /// These edges, by EAP-IG's names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edges: Option<Vec<Spanned<String>>>,
}

/// A circuit, checked against a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Circuit {
    pub method: Method,
    pub metric: Option<ObjectiveKind>,
    /// The position, counted as in Python.
    pub pos: Option<i64>,
    /// The edges; None stands for circuits of every size.
    pub edges: Option<ChosenEdges>,
}

/// The edges of a circuit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChosenEdges {
    /// This many of the strongest.
    Strongest(usize),
    /// These, in the graph's order.
    Listed(Vec<Edge>),
}

impl CircuitTable {
    /// # Errors
    /// An edge that the model does not have, a position that the prompt of `n_pos` tokens does not have, keys that
    /// exclude each other.
    pub(super) fn check(&self, shape: GraphShape, n_pos: Option<usize>) -> Result<Circuit, Wrong> {
        let method = match (self.method.unwrap_or_default(), &self.steps) {
            (Method::EapIg { .. }, Some(steps)) => Method::EapIg { steps: *steps.get_ref() },
            (Method::Eap | Method::Exact, Some(steps)) => {
                return Err(Wrong { at: steps.span(), reason: "`steps` needs `method = \"eap-ig\"`".into() });
            }
            (method, None) => method,
        };
        if let (Some(pos), Some(n_pos)) = (&self.pos, n_pos) {
            let n = i64::try_from(n_pos).unwrap_or(i64::MAX);
            if !(-n..n).contains(pos.get_ref()) {
                let reason = format!("position {} is out of range: expected -{n} to {}", pos.get_ref(), n - 1);
                return Err(Wrong { at: pos.span(), reason });
            }
        }
        let edges = match (&self.top, &self.edges) {
            (None, None) => None,
            (Some(top), None) => Some(ChosenEdges::Strongest(*top.get_ref())),
            (None, Some(names)) => Some(ChosenEdges::Listed(listed(names, shape)?)),
            (Some(top), Some(_)) => {
                let reason = "expected either `top`, for the strongest edges, or `edges`".into();
                return Err(Wrong { at: top.span(), reason });
            }
        };
        Ok(Circuit { method, metric: self.metric, pos: self.pos.as_ref().map(|pos| *pos.get_ref()), edges })
    }
}

/// The edges with these names, in the graph's order.
fn listed(names: &[Spanned<String>], shape: GraphShape) -> Result<Vec<Edge>, Wrong> {
    let mut edges = BTreeSet::new();
    for name in names {
        let known = name.get_ref().parse::<Edge>().and_then(|edge| shape.check(edge).map(|()| edge));
        edges.insert(known.map_err(|no| Wrong { at: name.span(), reason: no.to_string() })?);
    }
    Ok(shape.edges().filter(|edge| edges.contains(edge)).collect())
}

impl From<&Circuit> for CircuitTable {
    fn from(circuit: &Circuit) -> Self {
        fn spanned<T>(value: T) -> Spanned<T> {
            Spanned::new(0..0, value)
        }
        let Circuit { method, metric, pos, edges } = circuit;
        let steps = match method {
            Method::EapIg { steps } => Some(spanned(*steps)),
            Method::Eap | Method::Exact => None,
        };
        let (top, edges) = match edges {
            None => (None, None),
            Some(ChosenEdges::Strongest(top)) => (Some(spanned(*top)), None),
            Some(ChosenEdges::Listed(edges)) => {
                (None, Some(edges.iter().map(|edge| spanned(edge.to_string())).collect()))
            }
        };
        Self { method: Some(*method), steps, metric: *metric, pos: pos.map(spanned), top, edges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: GraphShape = GraphShape { n_layers: 2, n_heads: 2, d_model: 8, parallel: true };

    fn read(text: &str) -> Result<Circuit, (usize, String)> {
        let wrong = |e: toml::de::Error| (e.span().unwrap_or(0..0).start, e.message().to_string());
        let table: CircuitTable = toml::from_str(text).map_err(wrong)?;
        table.check(SHAPE, Some(5)).map_err(|wrong| (wrong.at.start, wrong.reason))
    }

    #[test]
    fn a_written_table_reads_back() {
        let edge = |name: &str| name.parse::<Edge>().unwrap();
        assert_eq!(read("").unwrap(), Circuit::default());
        let listed =
            read("edges = ['m0->logits', 'input->a0.h1<q>', 'm0->logits']\nmetric = 'loss'\npos = -5").unwrap();
        let edges = ChosenEdges::Listed(vec![edge("input->a0.h1<q>"), edge("m0->logits")]);
        assert_eq!((listed.edges.as_ref(), listed.metric), (Some(&edges), Some(ObjectiveKind::Loss)));
        let steps = read("method = 'eap-ig'\nsteps = 7\ntop = 0").unwrap();
        assert_eq!((steps.method, &steps.edges), (Method::EapIg { steps: 7 }, &Some(ChosenEdges::Strongest(0))));
        for circuit in [listed, steps, read("method = 'exact'").unwrap(), Circuit::default()] {
            let written = toml::to_string(&CircuitTable::from(&circuit)).unwrap();
            assert_eq!(read(&written).unwrap(), circuit, "{written}");
        }
    }

    #[test]
    fn errors_state_their_position() {
        let wrong = |text: &str, at: usize, reason: &str| {
            let (found, said) = read(text).unwrap_err();
            assert!(found == at && said.contains(reason), "{text}: {found} {said}");
        };
        wrong("top = 3\nedges = []", 6, "either `top`");
        wrong("edges = ['m0->m1', 'm1->m0']", 19, "earlier component to a later one");
        wrong("edges = ['m0->m7']", 9, "2 layers of 2 heads");
        wrong("edges = ['m0']", 9, "written as");
        wrong("method = 'eap'\nsteps = 5", 23, "eap-ig");
        wrong("method = 'eapig'", 9, "did you mean `eap-ig`");
        wrong("metric = 'logitdiff'", 9, "did you mean `logit-diff`");
        wrong("pos = 5", 6, "expected -5 to 4");
        wrong("top = -1", 6, "-1");
        wrong("size = 3", 0, "unknown field `size`");
    }
}
