//! What is known of a run's parts, and of the difference of two models' parts.

use std::collections::BTreeMap;

use super::parts::{OfParts, Part, Scored, Scores, What};
use crate::{
    analysis::Edge,
    engine::{Attributed, Faithfulness, Method, circuit_sizes},
    experiment::ChosenEdges,
    hooks::Edit,
};

/// The results for a run's parts so far.
pub(super) struct Known {
    pub value: f64,
    pub contrast_value: f64,
    pub parts: Vec<Scored>,
    /// Circuits of the strongest edges.
    pub strongest: BTreeMap<usize, Faithfulness>,
    pub listed: Vec<(Vec<Edge>, Faithfulness)>,
    /// Why no circuit can be run.
    pub refused: Option<String>,
    /// The edits that the run leaves out.
    pub left_out: Vec<Edit>,
}

impl Known {
    pub fn new<T: Copy>(found: &Attributed<T>, part: fn(T) -> Part) -> Self {
        let mut known = Self {
            value: found.value,
            contrast_value: found.contrast_value,
            parts: found.scores.iter().map(|(of, score)| (part(*of), *score, None)).collect(),
            strongest: BTreeMap::new(),
            listed: vec![],
            refused: None,
            left_out: vec![],
        };
        strongest_first(&mut known.parts, |(_, estimate, _)| *estimate);
        known
    }

    pub fn of_listed(&self, edges: &[Edge]) -> Option<Faithfulness> {
        self.listed.iter().find(|(of, _)| of == edges).map(|(_, found)| *found)
    }

    /// The sizes of circuits of the strongest edges that are still to run.
    pub fn missing(&self, ask: &OfParts) -> Vec<usize> {
        let own = match &ask.circuit {
            Some(ChosenEdges::Strongest(size)) => vec![*size.min(&self.parts.len())],
            Some(ChosenEdges::Listed(_)) | None => vec![],
        };
        let curve = if ask.curve { circuit_sizes(self.parts.len()) } else { vec![] };
        let mut missing: Vec<usize> = vec![];
        for size in own.into_iter().chain(curve) {
            if !self.strongest.contains_key(&size) && !missing.contains(&size) {
                missing.push(size);
            }
        }
        missing
    }

    /// The circuits still to run.
    fn runs_left(&self, ask: &OfParts) -> usize {
        match (ask.what, &self.refused) {
            (What::Nodes | What::Features, _) | (_, Some(_)) => 0,
            (What::Edges, None) => {
                let is_missing =
                    matches!(&ask.circuit, Some(ChosenEdges::Listed(edges)) if self.of_listed(edges).is_none());
                self.missing(ask).len() + usize::from(is_missing)
            }
        }
    }

    fn circuit(&self, ask: &OfParts) -> Option<Result<Faithfulness, String>> {
        let circuit = match &ask.circuit {
            Some(ChosenEdges::Strongest(size)) => self.strongest.get(size.min(&self.parts.len())).copied(),
            Some(ChosenEdges::Listed(edges)) => self.of_listed(edges),
            None => None,
        };
        circuit.map(Ok).or(self.refused.clone().map(Err))
    }

    pub fn answer(&self, ask: &OfParts) -> Scores {
        Scores {
            value: self.value,
            contrast_value: self.contrast_value,
            parts: self.parts.clone(),
            left: unpatched(&self.parts, ask).len() + self.runs_left(ask),
            circuit: self.circuit(ask),
            curve: if ask.curve { self.strongest.values().copied().collect() } else { vec![] },
            left_out: self.left_out.clone(),
        }
    }

    /// The scores of this model less those of another, the largest difference first. A feature that only one of them lists is 0 in
    /// the other. Each model runs the circuit of its own strongest edges.
    pub fn less(&self, that: &Self, ask: &OfParts) -> Scores {
        let mut others: BTreeMap<Part, (f64, Option<f64>)> =
            that.parts.iter().map(|(part, estimate, exact)| (*part, (*estimate, *exact))).collect();
        let mut parts: Vec<Scored> = vec![];
        for (part, estimate, exact) in &self.parts {
            let (other, other_exact) = others.remove(part).unwrap_or((0.0, Some(0.0)));
            parts.push((*part, estimate - other, exact.zip(other_exact).map(|(exact, other)| exact - other)));
        }
        parts.extend(others.into_iter().map(|(part, (estimate, exact))| (part, -estimate, exact.map(|exact| -exact))));
        strongest_first(&mut parts, |(_, estimate, _)| *estimate);
        let left = unpatched(&parts, ask).len();
        if ask.method == Method::Exact && left == 0 {
            strongest_first(&mut parts, |(_, _, exact)| exact.unwrap_or(f64::NAN));
        }
        let less = |this: &Faithfulness, that: &Faithfulness| Faithfulness {
            edges: this.edges,
            value: this.value - that.value,
            faithfulness: this.faithfulness - that.faithfulness,
        };
        let circuit = self.circuit(ask).zip(that.circuit(ask));
        let of_size = |(size, this): (&usize, &Faithfulness)| Some(less(this, that.strongest.get(size)?));
        Scores {
            value: self.value - that.value,
            contrast_value: self.contrast_value - that.contrast_value,
            parts,
            left: left + self.runs_left(ask) + that.runs_left(ask),
            circuit: circuit.map(|(this, that)| Ok(less(&this?, &that?))),
            curve: if ask.curve { self.strongest.iter().filter_map(of_size).collect() } else { vec![] },
            left_out: self.left_out.clone(),
        }
    }
}

/// The strongest first, NaN last.
pub(super) fn strongest_first(parts: &mut [Scored], score: impl Fn(&Scored) -> f64) {
    let size = |part: &_| if score(part).is_nan() { -1.0 } else { score(part).abs() };
    parts.sort_by(|a, b| size(b).total_cmp(&size(a)));
}

/// The parts whose exact effect is still to come.
pub(super) fn unpatched(parts: &[Scored], ask: &OfParts) -> Vec<Part> {
    let patched = parts.iter().take(ask.patched());
    patched.filter(|(part, _, exact)| exact.is_none() && part.has_edit()).map(|(part, ..)| *part).collect()
}
