//! The block that is drawn.

use super::glyphs::Signs;
use crate::hooks::Schema;

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub schema: &'a Schema,
    pub block: usize,
    /// The block represents all blocks, so both ends of the model are drawn at it.
    pub folded: bool,
    /// The prompt's length, for shapes; without it, shapes name the axes that depend on it.
    pub positions: Option<usize>,
}

impl Subject<'_> {
    /// Whether the model begins with this block.
    pub(super) fn starts(&self) -> bool {
        self.folded || self.block == 0
    }

    /// Whether the model ends with this block.
    pub(super) fn ends(&self) -> bool {
        self.folded || self.block + 1 >= self.schema.dims.n_layers
    }

    /// In words, such as `blocks.2, parallel: ...`
    #[must_use]
    pub fn title(&self, ascii: bool) -> String {
        let signs = Signs::new(ascii);
        let kind = match self.schema.dims.parallel {
            true => "parallel: attention and MLP read the same stream",
            false => "sequential: the MLP reads what attention wrote",
        };
        let n = self.schema.dims.n_layers;
        match (self.folded, n) {
            (false, _) => format!("blocks.{} {} {kind}", self.block, signs.dot),
            (true, 1) => format!("blocks.0 {} {kind}", signs.dot),
            (true, _) => format!("blocks.0{}{} {} {n} {} {kind}", signs.to, n - 1, signs.dot, signs.times),
        }
    }
}
