use std::str::FromStr;

use super::{scheduler, shard::Shard};

/// A share as `--shard` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardChoice {
    This(Shard),
    /// From the scheduler's variables.
    Auto,
}

impl ShardChoice {
    /// The share; `variable` reads the environment.
    ///
    /// # Errors
    /// No scheduler's variables are set, or they name no share.
    pub fn resolve(self, variable: impl Fn(&str) -> Option<String>) -> Result<Shard, String> {
        match self {
            Self::This(shard) => Ok(shard),
            Self::Auto => scheduler::shard(variable),
        }
    }
}

impl FromStr for ShardChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let parts = text.split_once('/');
        let parts = parts.and_then(|(at, of)| Some((at.parse::<usize>().ok()?, of.parse::<usize>().ok()?)));
        match parts {
            Some((at, of)) if 1 <= at && at <= of => Ok(Self::This(Shard { at: at - 1, of })),
            Some((_, of)) if of > 0 => Err(format!("expected 1/{of} to {of}/{of}")),
            _ => Err("expected I/N, such as 3/64, or auto".into()),
        }
    }
}
