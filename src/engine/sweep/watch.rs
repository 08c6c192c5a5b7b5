//! Breakpoints in a sweep: where predicates hold in the run of a cell.

use std::{cell::RefCell, collections::BTreeMap, ops::ControlFlow};

use candle_core::Tensor;

use super::super::{
    Engine, Hit, Run,
    find::{Firings, show},
};
use crate::{
    hooks::{ActivationCache, HookPoint, Observer, RunError},
    predicate::{Match, Predicate, Program, Search},
};

/// A breakpoint that was true in the run of a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct CellHit {
    pub cell: usize,
    pub hit: Hit,
}

/// A breakpoint of a sweep, and the cells in whose runs it was true.
#[derive(Clone, Debug, PartialEq)]
pub struct CellBreakpoint {
    pub when: Predicate,
    /// It counts the cells, and lets the sweep go on.
    pub logs: bool,
    /// Cells in which it was true.
    pub cells: usize,
    /// The first of them in the map.
    pub first: Option<CellHit>,
}

impl CellBreakpoint {
    #[must_use]
    pub fn new(when: Predicate, logs: bool) -> Self {
        Self { when, logs, cells: 0, first: None }
    }

    /// Whether it is the same breakpoint, whatever it found.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (&self.when, self.logs) == (&other.when, other.logs)
    }

    pub(super) fn count(&mut self, hit: &CellHit) {
        self.cells += 1;
        if self.first.as_ref().is_none_or(|first| hit.cell < first.cell) {
            self.first = Some(hit.clone());
        }
    }
}

/// Shows what the rows of a pass compute to searches, one for each plan and breakpoint. What the pass did not compute, because
/// no plan changes it, is the baseline's.
pub(super) struct Watcher<'a> {
    engine: &'a Engine,
    programs: &'a [Program],
    baseline: &'a Run,
    /// Positions that the pass did not compute.
    past: usize,
    state: RefCell<State<'a>>,
}

struct State<'a> {
    /// By plan. A plan that is missing equals the first so far.
    rows: BTreeMap<usize, Row<'a>>,
    /// The last hook that was shown.
    shown: Option<HookPoint>,
    firings: Firings,
}

#[derive(Clone)]
struct Row<'a> {
    searches: Vec<Search<'a>>,
    hits: Vec<Option<Hit>>,
}

impl<'a> Watcher<'a> {
    pub fn new(engine: &'a Engine, programs: &'a [Program], baseline: &'a Run, past: usize) -> Self {
        let searches = programs.iter().map(|program| Search::new(program, &baseline.tokens)).collect();
        let first = Row { searches, hits: vec![None; programs.len()] };
        let state = State { rows: BTreeMap::from([(0, first)]), shown: None, firings: Firings::default() };
        Self { engine, programs, baseline, past, state: RefCell::new(state) }
    }

    /// The hits of each of `plans` plans, once the pass is at its end.
    pub fn finish(self, plans: usize) -> Result<Vec<Vec<Hit>>, RunError> {
        self.show_unchanged(None)?;
        let rows = self.state.into_inner().rows;
        let first = rows.get(&0);
        let hits =
            |plan| rows.get(&plan).or(first).map_or_else(Vec::new, |row| row.hits.iter().flatten().cloned().collect());
        Ok((0..plans).map(hits).collect())
    }

    fn unedited(&self, point: HookPoint) -> Result<Tensor, RunError> {
        let missing = || candle_core::Error::Msg(format!("the unedited run kept no {point}"));
        Ok(self.engine.activation(self.baseline, point)?.ok_or_else(missing)?)
    }

    /// Show the hooks that come before `until`, or all that are left, as they are in the baseline.
    fn show_unchanged(&self, until: Option<HookPoint>) -> Result<(), RunError> {
        let State { rows, shown, .. } = &mut *self.state.borrow_mut();
        let due =
            |point: &HookPoint| shown.is_none_or(|shown| *point > shown) && until.is_none_or(|until| *point < until);
        for point in self.engine.schema.points().into_iter().filter(|point| due(point) && self.wants(*point)) {
            let value = self.unedited(point)?;
            for row in rows.values_mut() {
                self.show(row, point, &value)?;
            }
        }
        *shown = until.or(*shown);
        Ok(())
    }

    fn show(&self, row: &mut Row<'a>, point: HookPoint, value: &Tensor) -> Result<(), RunError> {
        for (number, (program, search)) in self.programs.iter().zip(&mut row.searches).enumerate() {
            if !program.wants(point) {
                continue;
            }
            let before = if program.needs_baseline() { Some(self.unedited(point)?) } else { None };
            let hit = &mut row.hits[number];
            let mut found = |found: &Match| {
                let hit = hit.get_or_insert_with(|| Hit { breakpoint: number, first: found.clone(), places: 0 });
                hit.places += 1;
                ControlFlow::Continue(())
            };
            // it never breaks
            let _ = show(search, point, value, before.as_ref(), &mut found)?;
        }
        Ok(())
    }

    /// A row's value at every position.
    fn whole(&self, point: HookPoint, value: Tensor) -> Result<Tensor, RunError> {
        if self.past == 0 {
            return Ok(value);
        }
        let mut one = ActivationCache::default();
        one.insert(point, value);
        one.complete(|point| self.engine.activation(self.baseline, point), self.past, &self.engine.schema)?;
        let missing = || candle_core::Error::Msg(format!("no row of {point}"));
        Ok(one.get(point).ok_or_else(missing)?.clone())
    }
}

impl Observer for Watcher<'_> {
    fn wants(&self, point: HookPoint) -> bool {
        self.programs.iter().any(|program| program.wants(point))
    }

    fn see(&self, point: HookPoint, value: &Tensor, row_of_plan: &[usize]) -> Result<(), RunError> {
        self.show_unchanged(Some(point))?;
        let State { rows, firings, .. } = &mut *self.state.borrow_mut();
        if firings.fires_again(point, &self.engine.schema) {
            return Ok(());
        }
        let first = row_of_plan.first().copied().unwrap_or(0);
        for (plan, _) in row_of_plan.iter().enumerate().filter(|(_, row)| **row != first) {
            if !rows.contains_key(&plan)
                && let Some(so_far) = rows.get(&0).cloned()
            {
                rows.insert(plan, so_far);
            }
        }
        for (plan, row) in rows.iter_mut() {
            let at = row_of_plan.get(*plan).copied().unwrap_or(first);
            let value = self.whole(point, value.narrow(0, at, 1)?)?;
            self.show(row, point, &value)?;
        }
        Ok(())
    }
}
