use std::sync::atomic::AtomicBool;

use crate::{
    engine::{
        Ask, CellBreakpoint, Column, Compare, Filling, Finished, Map, Metric, Needs, Patch, Question, Reads, Row,
        Unseen,
    },
    hooks::{Edit, Op},
    keys::Action,
    paint::Hit,
    views::{Destination, Scene},
};

#[derive(Clone, Debug)]
pub struct Sweep {
    pub map: Map,
    /// The metric that is shown, if one was chosen.
    pub chosen_metric: Option<Metric>,
    /// The row and column under the cursor.
    pub(super) cell: Hit,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { map: Map::Ablate(Op::Set(0.0)), chosen_metric: None, cell: (0, 0) }
    }
}

/// A map of interventions, answered while it fills in.
#[derive(Clone, Debug, PartialEq)]
pub struct OfMap {
    pub map: Map,
    pub question: Question,
    /// Looked for in the run of every cell.
    pub breakpoints: Vec<CellBreakpoint>,
    /// Which of two models it is of.
    pub compare: Compare,
}

impl Ask for OfMap {
    type Answer = Filling;

    fn needs(&self) -> Needs {
        Needs::Pass
    }

    fn reads(&self) -> Reads {
        Reads::Weights
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Filling),
    ) -> Result<Filling, Unseen> {
        Ok(finished.sweep(self.map, self.question, &self.breakpoints, cancel, tell)?)
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        match self.compare {
            Compare::Edited => self.answer(this, cancel, tell),
            Compare::Baseline => self.answer(that, cancel, tell),
            Compare::Difference => {
                let (this, that) = (self.answer(this, cancel, &mut |_| {})?, self.answer(that, cancel, &mut |_| {})?);
                Ok(this.less(&that))
            }
        }
    }
}

/// The maps that can be swept; patching maps need a contrast prompt.
pub(super) fn maps(contrast: bool) -> Vec<Map> {
    let ablations = [Op::Set(0.0), Op::Mean].map(Map::Ablate);
    let patches = [Map::Ablate(Op::Patch)].into_iter().chain(Patch::ALL.map(Map::Patch));
    ablations.into_iter().chain(patches.filter(|_| contrast)).collect()
}

impl Sweep {
    pub(super) fn metric(&self) -> Metric {
        self.chosen_metric.unwrap_or(Metric::Kl)
    }

    /// The metric that an experiment has to state: one that was chosen, or one that is not the default of its map.
    #[must_use]
    pub fn written_metric(&self) -> Option<Metric> {
        Some(self.metric()).filter(|metric| self.chosen_metric.is_some() || *metric != self.map.usual_metric())
    }

    pub(super) fn ask(&self, scene: &Scene) -> Option<OfMap> {
        let (target, distractor) = scene.answer()?;
        let question = Question { target: target.id, distractor: distractor.map(|token| token.id) };
        let on = scene.stops.breakpoints.iter().filter(|breakpoint| breakpoint.on);
        let breakpoints =
            on.map(|breakpoint| CellBreakpoint::new(breakpoint.predicate.clone(), breakpoint.logs)).collect();
        Some(OfMap { map: self.map, question, breakpoints, compare: scene.compared_models() })
    }

    /// Move the cursor to cell number `cell` of a map with `columns` columns.
    pub fn select(&mut self, cell: usize, columns: usize) {
        self.cell = (cell / columns.max(1), cell % columns.max(1));
    }

    /// What the map shows, as far as it is filled in; None while it is on its way.
    #[must_use]
    pub fn seen<'a>(&self, scene: &'a Scene) -> Option<Result<&'a Filling, &'a str>> {
        scene.seen(&self.ask(scene)?)
    }

    /// The intervention under the cursor.
    pub(super) fn edit(&self, scene: &Scene) -> Option<Edit> {
        let grid = self.map.grid(&scene.schema, scene.tokens().len());
        grid.edit(self.cell.0 * grid.columns.len() + self.cell.1)
    }

    /// Make the edit under the cursor, and go to its hook.
    pub(super) fn make_edit(&self, scene: &mut Scene) -> Option<Destination> {
        let grid = self.map.grid(&scene.schema, scene.tokens().len());
        let (edit, column, row) = (self.edit(scene)?, *grid.columns.get(self.cell.1)?, *grid.rows.get(self.cell.0)?);
        let Row { head: row_head, .. } = row;
        if let Some(hook) = edit.target.points(&scene.schema.dims).ok().and_then(|points| points.first().copied()) {
            scene.select(hook);
        }
        let destination = match (column, row_head) {
            (Column::Head(head), _) | (Column::Mlp | Column::Position(_), Some(head)) => {
                scene.cursor.head = head;
                Destination::Head
            }
            (Column::Mlp | Column::Position(_), None) => Destination::Values,
        };
        if let Column::Position(pos) = column {
            scene.cursor.pos = pos;
        }
        scene.say(format!("made the edit {edit}; {} undoes it", scene.key(Action::Undo)));
        scene.add_edit(edit);
        Some(destination)
    }
}
