use std::{fmt, str::FromStr};

use super::{BlockHook, Dims, HookError, HookPoint, ParseError, parse::Parser};

/// The blocks a target names.
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
    /// The hook points it stands for in a model, in execution order, each once.
    ///
    /// # Errors
    /// A block that the model does not have.
    pub fn points(&self, dims: &Dims) -> Result<Vec<HookPoint>, HookError> {
        let (blocks, hook) = match self {
            Self::Global(point) => return Ok(vec![*point]),
            Self::Block(blocks, hook) => (blocks, *hook),
        };
        let numbers: Vec<usize> = match blocks {
            Blocks::All => (0..dims.n_layers).collect(),
            Blocks::These(ranges) => {
                let last = ranges.iter().map(|(_, last)| *last).max().unwrap_or(0);
                if last >= dims.n_layers {
                    return Err(HookError::NoBlock { point: self.to_string(), block: last, n_layers: dims.n_layers });
                }
                let named = |block: &usize| ranges.iter().any(|(first, last)| (first..=last).contains(&block));
                (0..dims.n_layers).filter(named).collect()
            }
        };
        Ok(numbers.into_iter().map(|block| HookPoint::Block(block, hook)).collect())
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

impl FromStr for Target {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser::new(text);
        let target = parser.target()?;
        parser.end()?;
        Ok(target)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global(point) => write!(f, "{point}"),
            Self::Block(Blocks::All, hook) => write!(f, "blocks.*.{}", hook.name()),
            Self::Block(Blocks::These(ranges), hook) => {
                f.write_str("blocks.")?;
                for (i, (first, last)) in ranges.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    if first == last {
                        write!(f, "{comma}{first}")?;
                    } else {
                        write!(f, "{comma}{first}-{last}")?;
                    }
                }
                write!(f, ".{}", hook.name())
            }
        }
    }
}
