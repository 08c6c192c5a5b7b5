use super::parts::{OfParts, Part, Scores, What};
use crate::{
    analysis::{Edge, Objective, ObjectiveKind},
    engine::{Compare, Faithfulness, Method},
    experiment::{self, ChosenEdges},
    keys::Action,
    views::Scene,
};

#[derive(Clone, Debug)]
pub struct Circuit {
    pub(super) what: What,
    pub(super) layout: Layout,
    /// The method that orders the parts.
    pub(super) method: Method,
    pub(super) metric: ObjectiveKind,
    /// The position whose prediction is measured, counted as in Python; by default the last.
    pub(super) pos: Option<i64>,
    /// The row of the list under the cursor.
    pub(super) row: usize,
    /// The number of the strongest parts that are drawn; for edges, they are the circuit.
    pub(super) drawn: usize,
    /// The circuit's edges, if they are not the strongest.
    pub(super) listed: Option<Vec<Edge>>,
    /// Whether the circuit was chosen, so that it belongs to the experiment whatever view is shown.
    pub(super) is_chosen: bool,
}

/// The layout of the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    List,
    Graph,
    Scatter,
    /// Faithfulness over the number of edges.
    Curve,
}

impl Layout {
    pub(super) const ALL: [Self; 4] = [Self::List, Self::Graph, Self::Scatter, Self::Curve];
}

impl Default for Circuit {
    fn default() -> Self {
        Self {
            what: What::Nodes,
            layout: Layout::List,
            method: Method::Eap,
            metric: ObjectiveKind::LogitDiff,
            pos: None,
            row: 0,
            drawn: 12,
            listed: None,
            is_chosen: false,
        }
    }
}

/// A circuit that has run.
pub struct RunCircuit {
    pub objective: Objective,
    pub edges: Vec<Edge>,
    pub value: f64,
    pub contrast_value: f64,
    pub found: Faithfulness,
}

impl Circuit {
    /// Score nodes, edges or features; faithfulness needs edges.
    pub(super) fn what(&self) -> What {
        if self.layout == Layout::Curve { What::Edges } else { self.what }
    }

    /// Whether it shows edges, and therefore a circuit.
    #[must_use]
    pub fn shows_edges(&self) -> bool {
        self.what() == What::Edges
    }

    /// The circuit's edges.
    pub(super) fn edges(&self) -> ChosenEdges {
        self.listed.clone().map_or(ChosenEdges::Strongest(self.drawn), ChosenEdges::Listed)
    }

    pub(super) fn ask(&self, scene: &Scene) -> Option<OfParts> {
        let (target, distractor) = scene.answer()?;
        let n_pos = scene.tokens().len();
        let counted = |pos: i64| usize::try_from(if pos < 0 { pos + i64::try_from(n_pos).ok()? } else { pos }).ok();
        // a shorter prompt may not have that position
        let pos = self.pos.and_then(counted).filter(|pos| *pos < n_pos).unwrap_or(n_pos.saturating_sub(1));
        let what = self.what();
        Some(OfParts {
            compare: scene.compared_models(),
            what,
            method: self.method,
            objective: self.metric.of(pos, Some(target.id), distractor.map(|token| token.id))?,
            circuit: (what == What::Edges).then(|| self.edges()),
            curve: self.layout == Layout::Curve,
        })
    }

    pub(super) fn seen<'a>(&self, scene: &'a Scene) -> Option<Result<&'a Scores, &'a str>> {
        scene.seen(&self.ask(scene)?)
    }

    /// The part under the cursor.
    pub(super) fn chosen(&self, scene: &Scene) -> Option<Part> {
        let scores = self.seen(scene)?.ok()?;
        scores.parts.get(self.row).map(|(part, ..)| *part)
    }

    /// Whether a row of the list is drawn; for an edge, whether it is in the circuit.
    pub(super) fn draws(&self, row: usize, part: Part) -> bool {
        match (part, &self.listed) {
            (Part::Edge(edge), Some(edges)) => edges.contains(&edge),
            (Part::Node(_) | Part::Feature(_), _) | (Part::Edge(_), None) => row < self.drawn,
        }
    }

    /// The circuit that an experiment keeps: one that was chosen, or that is on the screen.
    #[must_use]
    pub fn kept(&self, is_shown: bool) -> Option<experiment::Circuit> {
        let is_kept = self.is_chosen || is_shown && self.what() == What::Edges;
        is_kept.then(|| experiment::Circuit {
            method: self.method,
            metric: Some(self.metric),
            pos: self.pos,
            edges: Some(self.edges()),
        })
    }

    /// Continue with an experiment's circuit, or without one; `metric` is the experiment's own metric.
    pub fn open(&mut self, circuit: Option<experiment::Circuit>, metric: Option<ObjectiveKind>) {
        let Some(experiment::Circuit { method, metric: own, pos, edges }) = circuit else {
            *self = Self { what: self.what, layout: self.layout, ..Self::default() };
            return;
        };
        let (drawn, listed, layout) = match edges {
            Some(ChosenEdges::Strongest(top)) => (top, None, Layout::Graph),
            Some(ChosenEdges::Listed(edges)) => (edges.len(), Some(edges), Layout::Graph),
            None => (Self::default().drawn, None, Layout::Curve),
        };
        let metric = own.or(metric).unwrap_or_default();
        *self = Self { what: What::Edges, layout, method, metric, pos, row: 0, drawn, listed, is_chosen: true };
    }

    /// The circuit of the run on the screen.
    ///
    /// # Errors
    /// It has not run yet, or can't.
    pub fn run_circuit(&self, scene: &Scene) -> Result<RunCircuit, String> {
        if scene.compared_models() != Compare::Edited {
            return Err(format!("a script repeats this model's circuit: {} shows it", scene.key(Action::Compare)));
        }
        let unknown = || "this circuit has not run yet: wait until its faithfulness is shown".to_string();
        let ask = self.ask(scene).filter(|ask| ask.what == What::Edges).ok_or_else(unknown)?;
        let scores = scene.seen(&ask).ok_or_else(unknown)??;
        let found = scores.circuit.clone().ok_or_else(unknown)??;
        let edges = match self.edges() {
            ChosenEdges::Listed(edges) => edges,
            ChosenEdges::Strongest(size) => {
                let edge = |(part, ..): &(Part, f64, Option<f64>)| match part {
                    Part::Edge(edge) => Some(*edge),
                    Part::Node(_) | Part::Feature(_) => None,
                };
                scores.parts.iter().take(size).filter_map(edge).collect()
            }
        };
        let Scores { value, contrast_value, .. } = *scores;
        Ok(RunCircuit { objective: ask.objective, edges, value, contrast_value, found })
    }
}
