use std::{borrow::Cow, sync::atomic::AtomicBool};

use super::axes;
use crate::{
    analysis::descending,
    engine::{Ask, Compare, Finished, Matrix, Needs, Numbers, Reads, Slice, Unseen, WithBaseline},
    hooks::HookPoint,
    paint::Hit,
    views::{AblationScope, Scene},
};

#[derive(Clone, Debug, Default)]
pub struct Values {
    /// Which two axes are rows and columns: number of the pair.
    pub(super) pair: usize,
    /// Colours rather than numbers.
    pub(super) colours: bool,
    /// How close the colours are looked at: 0 is all of them, then every value around the cursor, then with numbers.
    pub(super) zoom: u8,
    /// The row by whose values the columns are sorted.
    pub(super) sorted_by: Option<usize>,
    pub(super) scope: AblationScope,
}

/// Two axes of a hook, or of gradients with respect to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfSlice {
    pub point: HookPoint,
    pub slice: Slice,
    pub numbers: Numbers,
}

impl Ask for OfSlice {
    type Answer = Matrix;

    fn needs(&self) -> Needs {
        self.numbers.needs(self.point)
    }

    fn reads(&self) -> Reads {
        self.numbers.reads(Reads::Hooks(vec![self.point]))
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Matrix),
    ) -> Result<Matrix, Unseen> {
        finished.matrix(self.point, self.slice, self.numbers, cancel)
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        let (this, that) = (self.answer(this, cancel, &mut |_| {})?, self.answer(that, cancel, &mut |_| {})?);
        Ok(Matrix { values: WithBaseline::of_two(this.values, that.values), ..this })
    }
}

impl Values {
    /// The rows and columns that the selected hook's values are shown along.
    pub(super) fn slice(&self, scene: &Scene) -> Slice {
        let axes = scene.schema.axes(scene.point());
        let (rows, columns) = axes::pair(&axes, self.pair);
        let rest = axes.into_iter().find(|axis| *axis != rows && *axis != columns);
        Slice { rows, columns, fixed: rest.map(|axis| (axis, scene.cursor.index(axis))) }
    }

    pub(super) fn ask(&self, scene: &Scene) -> Option<OfSlice> {
        Some(OfSlice { point: scene.point(), slice: self.slice(scene), numbers: scene.numbers()? })
    }

    pub(super) fn seen<'a>(&self, scene: &'a Scene) -> Option<Result<&'a Matrix, &'a str>> {
        scene.seen(&self.ask(scene)?)
    }

    /// The number of columns, and the values with the comparison applied.
    pub(super) fn shown<'a>(&self, scene: &'a Scene) -> Option<(usize, Cow<'a, [f32]>)> {
        let matrix = self.seen(scene)?.ok()?;
        let values = match scene.compare() {
            Compare::Edited => Cow::Borrowed(matrix.values.run.as_slice()),
            compare @ (Compare::Difference | Compare::Baseline) => Cow::Owned(matrix.values.compared(compare)),
        };
        Some((matrix.columns, values))
    }

    /// The order that the columns are shown in, largest value of the chosen row first and NaN last; None as they are.
    pub(super) fn column_order(&self, scene: &Scene) -> Option<Vec<usize>> {
        let row = self.sorted_by?;
        let (columns, values) = self.shown(scene)?;
        let values = values.get(row * columns..(row + 1) * columns)?;
        let mut order: Vec<usize> = (0..columns).collect();
        order.sort_by(|a, b| descending(values[*a].into(), values[*b].into()));
        Some(order)
    }

    /// The row and column under the cursor.
    pub(super) fn place(&self, scene: &Scene) -> Hit {
        let slice = self.slice(scene);
        (scene.cursor.index(slice.rows), scene.cursor.index(slice.columns))
    }

    pub(super) fn go_to(&self, scene: &mut Scene, (row, column): Hit) {
        let slice = self.slice(scene);
        scene.cursor.set_index(slice.rows, row);
        scene.cursor.set_index(slice.columns, column);
    }
}
