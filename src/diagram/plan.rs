//! The rows and columns of a picture's parts in a room.

use super::{
    label::Labels,
    rows::{FEWEST, Form, Row},
};
use crate::hooks::{BlockHook as B, Schema};

/// The position of every part.
pub(super) struct Plan<'a> {
    pub labels: Labels<'a>,
    pub operations: bool,
    pub strip: bool,
    /// The lanes of queries, keys and values.
    pub lanes: [usize; 3],
    /// Columns from one lane to the next.
    pub spacing: usize,
    /// The residual stream.
    pub bus: usize,
    /// The lane of the MLP, if it is drawn as a column.
    pub mlp: usize,
    /// The right end of attention's frame.
    pub attn_end: usize,
    pub width: usize,
    pub height: usize,
    /// Whether there is a heading above the picture.
    pub header: bool,
    rows: Vec<(Row, usize)>,
}

/// The room in which every hook is readable.
pub const READABLE: (usize, usize) = (50, FEWEST);

const LANES: [B; 8] = [B::QInput, B::KInput, B::VInput, B::Q, B::K, B::V, B::RotQ, B::RotK];
const RIGHT: [B; 6] = [B::MlpIn, B::Ln2Scale, B::Ln2Normalized, B::MlpPre, B::MlpPost, B::MlpOut];
const STREAM: [B; 3] = [B::ResidPre, B::ResidMid, B::ResidPost];

/// What decides the columns: from the least that is needed to the most that is useful.
struct Columns<'a> {
    labels: Labels<'a>,
    block: usize,
    operations: bool,
    strip: bool,
}

impl Columns<'_> {
    /// The first lane.
    fn first(&self) -> usize {
        if self.operations { 5 } else { 1 }
    }

    fn name(&self, hook: B) -> usize {
        self.labels.longest(self.block, &[hook], false)
    }

    /// Columns from lane to lane: with room for names, or for shapes too.
    fn spacing(&self, shapes: bool) -> usize {
        let lane = self.labels.longest(self.block, &LANES, shapes) + 3;
        match self.operations {
            true => lane.max(13),
            // the scores stand between queries and keys
            false => lane.max(self.labels.longest(self.block, &[B::AttnScores], shapes) + 4),
        }
    }

    /// From the lane of the values to the end of attention's frame.
    fn values(&self, spacing: usize) -> usize {
        let needs = |shapes| self.labels.longest(self.block, &[B::VInput, B::V], shapes) + 3;
        needs(true).min(spacing.saturating_sub(3)).max(needs(false))
    }

    /// The stream's column for a given spacing.
    fn bus(&self, spacing: usize) -> usize {
        let values = if self.operations { self.values(spacing) + 3 } else { spacing };
        let bus = self.first() + 2 * spacing + values.max(self.name(B::AttnIn) + 5);
        if !self.strip {
            return bus;
        }
        let below: usize =
            [B::Ln2Normalized, B::MlpPre, B::MlpPost, B::MlpOut].map(|hook| self.name(hook) + 3).iter().sum();
        bus.max(below + 2)
    }

    /// The columns from the stream to the MLP's lane.
    fn to_mlp(&self) -> usize {
        if self.operations { 7 } else { 4 }
    }

    /// The width for a given spacing and room for the labels on the right.
    fn width(&self, spacing: usize, right: usize) -> usize {
        let bus = self.bus(spacing);
        match (self.strip, self.operations) {
            (true, _) => bus + 2 + right,
            (false, true) => bus + self.to_mlp() + 4 + right,
            (false, false) => bus + self.to_mlp() + 2 + right,
        }
    }

    /// Columns for the labels at the right: of names, or with shapes.
    fn right(&self, shapes: bool) -> usize {
        let stream = self.labels.longest(self.block, &STREAM, shapes);
        match self.strip {
            true => stream,
            false => self.labels.longest(self.block, &RIGHT, shapes).max(stream.saturating_sub(self.to_mlp())),
        }
    }
}

impl<'a> Plan<'a> {
    /// A plan for a room of at least [`READABLE`], using no more of it than helps.
    pub fn new(schema: &'a Schema, block: usize, positions: Option<usize>, (columns, rows): (usize, usize)) -> Self {
        let label = |long, spaced| Labels { schema, positions, long, spaced };
        let parallel = schema.dims.parallel;
        let mut form = Form::of(parallel, rows);
        let needs = |form: &Form, labels| {
            let by = Columns { labels, block, operations: form.operations, strip: form.strip };
            by.width(by.spacing(false), by.right(false))
        };
        if needs(form, label(false, false)) > columns {
            form = Form::of(parallel, FEWEST);
        }
        let long = needs(form, label(true, false)) <= columns;
        let columns_of =
            |spaced| Columns { labels: label(long, spaced), block, operations: form.operations, strip: form.strip };
        let spaced = {
            let by = columns_of(true);
            by.width(by.spacing(true), by.right(true)) <= columns
        };
        let by = columns_of(spaced);
        let (mut spacing, mut right) = (by.spacing(false), by.right(false));
        let wanted = by.right(true).max(right);
        right += columns.saturating_sub(by.width(spacing, right)).min(wanted - right);
        // a little air where there is room for all shapes
        let widest = by.spacing(true) + 4;
        while spacing < widest && by.width(spacing + 1, right) <= columns {
            spacing += 1;
        }
        let first = by.first();
        let header = form.rows() < rows;
        let (mut placed, mut height) = form.place(rows - usize::from(header));
        if header {
            for (_, y) in &mut placed {
                *y += 1;
            }
            height += 1;
        }
        let bus = by.bus(spacing);
        Self {
            labels: by.labels,
            operations: form.operations,
            strip: form.strip,
            lanes: [first, first + spacing, first + 2 * spacing],
            spacing,
            bus,
            mlp: bus + by.to_mlp(),
            attn_end: first + 2 * spacing + by.values(spacing),
            width: by.width(spacing, right),
            height,
            header,
            rows: placed,
        }
    }

    /// The row of a part; for a part that the block does not have, below the picture.
    pub fn y(&self, row: Row) -> usize {
        self.rows.iter().find(|(at, _)| *at == row).map_or(self.height, |(_, y)| *y)
    }
}
