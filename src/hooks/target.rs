use std::fmt;

use super::{BlockHook, Dims, HookError, HookPoint};

/// The blocks that a target names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// `*`
    All,
    /// A list of blocks and inclusive ranges: `3`, `2-4`, `0,2,5`.
    These(Vec<(usize, usize)>),
}

/// One hook, or the same hook in several blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A hook outside the blocks.
    Global(HookPoint),
    Block(Blocks, BlockHook),
}

impl Target {
    /// The hook points of a target in a model, in execution order, each once.
    ///
    /// # Errors
    /// A block that the model does not have.
    pub fn points(&self, dims: &Dims) -> Result<Vec<HookPoint>, HookError> {
        match self {
            Self::Global(point) => Ok(vec![*point]),
            Self::Block(blocks, hook) => {
                let numbers = blocks.numbers_in(self, dims)?;
                Ok(numbers.into_iter().map(|block| HookPoint::Block(block, *hook)).collect())
            }
        }
    }
}

impl Blocks {
    /// The named blocks of a model, in order, each once.
    ///
    /// # Errors
    /// A block that the model does not have.
    pub fn numbers(&self, dims: &Dims) -> Result<Vec<usize>, HookError> {
        self.numbers_in(&format_args!("blocks.{self}"), dims)
    }

    /// The same; `text` is quoted in the message.
    fn numbers_in(&self, text: &impl fmt::Display, dims: &Dims) -> Result<Vec<usize>, HookError> {
        let Self::These(ranges) = self else { return Ok((0..dims.n_layers).collect()) };
        let last = ranges.iter().map(|(_, last)| *last).max().unwrap_or(0);
        if last >= dims.n_layers {
            return Err(HookError::NoBlock { point: text.to_string(), block: last, n_layers: dims.n_layers });
        }
        let named = |block: &usize| ranges.iter().any(|(first, last)| (first..=last).contains(&block));
        Ok((0..dims.n_layers).filter(named).collect())
    }

    /// Whether they are more than one block given by number.
    #[must_use]
    pub fn are_several(&self) -> bool {
        match self {
            Self::All => true,
            Self::These(ranges) => ranges.len() > 1 || ranges.iter().any(|(first, last)| first != last),
        }
    }
}

impl Target {
    /// The hook that it names, in one of the blocks if it names several.
    pub(super) fn hook(&self) -> HookPoint {
        match self {
            Self::Global(point) => *point,
            Self::Block(_, hook) => HookPoint::Block(0, *hook),
        }
    }

    /// The same blocks with another hook, if there is one.
    pub(super) fn with_hook(&self, other: impl Fn(BlockHook) -> Option<BlockHook>) -> Option<Self> {
        match self {
            Self::Global(_) => None,
            Self::Block(blocks, hook) => Some(Self::Block(blocks.clone(), other(*hook)?)),
        }
    }

    /// The first of the blocks that it names by number.
    pub(super) fn first_block(&self) -> Option<usize> {
        self.ranges().iter().map(|(first, _)| *first).min()
    }

    /// The last of the blocks that it names by number.
    pub(super) fn last_block(&self) -> Option<usize> {
        self.ranges().iter().map(|(_, last)| *last).max()
    }

    fn ranges(&self) -> &[(usize, usize)] {
        match self {
            Self::Block(Blocks::These(ranges), _) => ranges,
            Self::Block(Blocks::All, _) | Self::Global(_) => &[],
        }
    }
}

impl From<HookPoint> for Target {
    fn from(point: HookPoint) -> Self {
        match point {
            HookPoint::Block(block, hook) => Self::Block(Blocks::These(vec![(block, block)]), hook),
            other => Self::Global(other),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global(point) => write!(f, "{point}"),
            Self::Block(blocks, hook) => write!(f, "blocks.{blocks}.{}", hook.name()),
        }
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::These(ranges) = self else { return f.write_str("*") };
        for (i, (first, last)) in ranges.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}
