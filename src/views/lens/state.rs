use std::{ops::Range, sync::atomic::AtomicBool};

use crate::{
    engine::{Ask, Compare, Finished, LensCell, LensGrid, LensRack, Needs, Reads, Unseen, left_out, lens_points},
    hooks::{Edit, HookPoint},
    views::{Room, Scene},
};

/// Columns of the screen for the names of the rows, and for each position, its gap included.
pub(super) const NAMES: usize = 9;
pub(super) const CELL: usize = 9;

/// Positions are requested a chunk at a time, so most cursor moves need no new request.
pub(super) const CHUNK: usize = 8;

#[derive(Clone, Debug)]
pub struct Lens {
    /// Number of the block that the stream enters, or of blocks for the last one's output. Large at first: the last.
    pub(super) layer: usize,
    pub(super) by: LensBy,
    /// The list of the likeliest tokens takes the room of the grid.
    pub(super) list: bool,
    pub(super) layout: LensLayout,
    /// The number of the lens that the grid shows.
    pub(super) chosen: usize,
}

/// What is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LensLayout {
    /// One lens: layers down, positions across.
    Grid,
    /// One position: layers down, lenses across.
    Rack,
    /// The target's probability and rank at one position, in the same rows and columns.
    Chart,
}

impl LensLayout {
    pub(super) const ALL: [Self; 3] = [Self::Grid, Self::Rack, Self::Chart];
}

/// What the cells are coloured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LensBy {
    Probability,
    /// KL(final layer || here).
    Kl,
}

impl Default for Lens {
    fn default() -> Self {
        Self { layer: usize::MAX, by: LensBy::Probability, list: false, layout: LensLayout::Grid, chosen: 0 }
    }
}

/// A lens of the engine, by number, at `count` positions from `first` on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtPositions {
    pub lens: usize,
    pub first: usize,
    pub count: usize,
}

impl Ask for AtPositions {
    type Answer = LensGrid;

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
        _tell: &mut dyn FnMut(LensGrid),
    ) -> Result<LensGrid, Unseen> {
        Ok(finished.lens(self.lens, self.first..self.first + self.count, None, cancel)?)
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        let positions = self.first..self.first + self.count;
        Ok(this.lens(self.lens, positions, Some((&*that.engine, that.outcome)), cancel)?)
    }
}

/// Every lens at a position, and the rank of the target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtPosition {
    pub pos: usize,
    pub target: Option<u32>,
}

impl Ask for AtPosition {
    type Answer = LensRack;

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
        _tell: &mut dyn FnMut(LensRack),
    ) -> Result<LensRack, Unseen> {
        Ok(finished.lens_rack(self.pos, self.target, None, cancel)?)
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        Ok(this.lens_rack(self.pos, self.target, Some((&*that.engine, that.outcome)), cancel)?)
    }
}

/// The positions that there is room for, around the cursor.
pub(super) fn positions(scene: &Scene, room: Room) -> Range<usize> {
    let room = (room.0.saturating_sub(NAMES + 1) / CELL).max(1);
    let (at, n) = (scene.cursor.pos, scene.tokens().len());
    let first = at.saturating_sub(room / 2).min(n.saturating_sub(room));
    first..(first + room).min(n)
}

/// The cells on the screen: of a difference those of the edited run, coloured by how far each moved.
pub(super) fn shown_cells<'a>(grid: &'a LensGrid, scene: &Scene) -> &'a [Vec<LensCell>] {
    match (scene.compare(), &grid.cells.baseline) {
        (Compare::Baseline, Some(before)) => before,
        (Compare::Edited | Compare::Difference | Compare::Baseline, _) => &grid.cells.run,
    }
}

/// The edits of the run that have no part in the lens on the screen.
pub(super) fn left_out_edits(scene: &Scene) -> Vec<&Edit> {
    let shown = scene.runs.shown.iter().filter(|_| scene.compare() != Compare::Baseline);
    shown.flat_map(|shown| &shown.spec.edits).filter(|edit| left_out(edit)).collect()
}

impl Lens {
    pub(super) fn ask(&self, scene: &Scene, room: Room) -> AtPositions {
        let visible = positions(scene, room);
        let first = visible.start / CHUNK * CHUNK;
        let end = visible.end.next_multiple_of(CHUNK).min(scene.tokens().len());
        AtPositions { lens: self.chosen, first, count: end - first }
    }

    pub(super) fn ask_all(scene: &Scene) -> AtPosition {
        AtPosition { pos: scene.cursor.pos, target: scene.answer().map(|(target, _)| target.id) }
    }

    pub(super) fn seen<'a>(&self, scene: &'a Scene, room: Room) -> Option<&'a LensGrid> {
        scene.seen(&self.ask(scene, room))?.ok()
    }

    /// The hook under the cursor: of the lens that the grid shows, once it was seen.
    pub(super) fn point(&self, scene: &Scene) -> Option<HookPoint> {
        match self.seen(scene, scene.layout.room()) {
            Some(grid) if self.layout == LensLayout::Grid => grid.about.rows.get(self.layer).map(|(_, point)| *point),
            _ => lens_points(scene.schema.dims.n_layers).get(self.layer).copied(),
        }
    }

    /// How many rows there are.
    pub(super) fn rows(&self, scene: &Scene) -> usize {
        let all = scene.schema.dims.n_layers + 1;
        match self.seen(scene, scene.layout.room()) {
            Some(grid) if self.layout == LensLayout::Grid => grid.about.rows.len(),
            _ => all,
        }
    }
}
