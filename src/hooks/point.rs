use std::{fmt, str::FromStr};

use crate::{
    printed::escaped,
    suggest::{did_you_mean, nearest},
};

/// Declares the hooks from one list in execution order, so that whatever goes through all of them is complete.
macro_rules! hooks {
    (
        before the blocks: $($before:ident),*;
        in each block: $($inside:ident),*;
        after the blocks: $($after:ident),*;
    ) => {
        /// A hook within a block, named as TransformerLens names it below `blocks.N.`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum BlockHook {
            $($inside),*
        }

        impl BlockHook {
            /// Every hook of a block, in execution order.
            pub const ALL: [Self; [$(Self::$inside),*].len()] = [$(Self::$inside),*];
        }

        /// A place in the forward pass where an activation can be read and edited.
        ///
        /// Round-trips with its TransformerLens name: `name.parse::<HookPoint>()?.to_string() == name`.
        /// The derived order is execution order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum HookPoint {
            $($before,)*
            Block(usize, BlockHook),
            $($after),*
        }

        impl HookPoint {
            /// The hooks before the blocks, in execution order.
            pub const BEFORE: [Self; [$(Self::$before),*].len()] = [$(Self::$before),*];
            /// The hooks after the blocks, in execution order.
            pub const AFTER: [Self; [$(Self::$after),*].len()] = [$(Self::$after),*];
            /// The hooks outside the blocks, in execution order.
            pub const GLOBAL: [Self; Self::BEFORE.len() + Self::AFTER.len()] = [$(Self::$before,)* $(Self::$after),*];
        }
    };
}

// The facts about each are in its row in `facts`.
hooks! {
    before the blocks: Tokens, Embed;
    in each block:
        ResidPre, AttnIn, QInput, KInput, VInput, Ln1Scale, Ln1Normalized, Q, K, V, RotQ, RotK, AttnScores, Pattern, Z,
        Result, AttnOut, ResidMid, MlpIn, Ln2Scale, Ln2Normalized, MlpPre, MlpPost, MlpOut, ResidPost;
    after the blocks: LnFinalScale, LnFinalNormalized;
}

/// When the forward pass computes a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fires {
    Always,
    /// Only if turned on, by this flag of TransformerLens's configuration.
    OptIn(&'static str),
    /// Only in sequential blocks; in parallel ones it is derived, for display only.
    Sequential,
}

impl Fires {
    pub(super) fn is_opt_in(self) -> bool {
        matches!(self, Self::OptIn(_))
    }
}

impl BlockHook {
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The flag of TransformerLens's configuration that turns it on, if it is off by default.
    pub(crate) fn flag(self) -> Option<&'static str> {
        match self.row().fires {
            Fires::OptIn(flag) => Some(flag),
            Fires::Always | Fires::Sequential => None,
        }
    }

    /// Off unless enabled, as in TransformerLens.
    #[must_use]
    pub fn is_opt_in(self) -> bool {
        self.row().fires.is_opt_in()
    }
}

impl HookPoint {
    /// The block that contains it, if one does.
    #[must_use]
    pub fn block(self) -> Option<usize> {
        match self {
            Self::Block(block, _) => Some(block),
            Self::Tokens | Self::Embed | Self::LnFinalScale | Self::LnFinalNormalized => None,
        }
    }

    #[must_use]
    pub fn block_hook(self) -> Option<BlockHook> {
        match self {
            Self::Block(_, hook) => Some(hook),
            Self::Tokens | Self::Embed | Self::LnFinalScale | Self::LnFinalNormalized => None,
        }
    }

    /// Whether it has a number for each query and key: scores and patterns.
    #[must_use]
    pub fn is_square(self) -> bool {
        matches!(self.block_hook(), Some(BlockHook::AttnScores | BlockHook::Pattern))
    }

    /// The same hook in another block; hooks outside the blocks stay themselves.
    #[must_use]
    pub fn in_block(self, block: usize) -> Self {
        match self {
            Self::Block(_, hook) => Self::Block(block, hook),
            other => other,
        }
    }

    /// The part of the name below `blocks.N.`, or the whole name.
    #[must_use]
    pub fn short_name(self) -> &'static str {
        self.row().name
    }

    /// Whether every model computes it without enabling it.
    #[must_use]
    pub fn always_fires(self) -> bool {
        self.row().fires == Fires::Always
    }

    /// Off unless enabled, as in TransformerLens.
    #[must_use]
    pub fn is_opt_in(self) -> bool {
        self.row().fires.is_opt_in()
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(block, hook) => write!(f, "blocks.{block}.{}", hook.name()),
            other => f.write_str(other.short_name()),
        }
    }
}

/// A name that is not a hook point's, with the nearest names that are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no hook `{}`{}", escaped(.name), did_you_mean(.nearest))]
pub struct UnknownHook {
    pub name: String,
    pub nearest: Vec<String>,
}

/// The hook called `name` in `blocks`, or the nearest names of any hook.
pub(super) fn block_hook(blocks: &str, name: &str) -> Result<BlockHook, Vec<String>> {
    BlockHook::ALL.into_iter().find(|hook| hook.name() == name).ok_or_else(|| nearest_hooks(blocks, name))
}

/// The hook called `name` outside the blocks, or the nearest names of any hook.
pub(super) fn global_hook(name: &str) -> Result<HookPoint, Vec<String>> {
    HookPoint::GLOBAL.into_iter().find(|point| point.short_name() == name).ok_or_else(|| nearest_hooks("*", name))
}

/// The hook of a component by a name that others use for it: `L1H2`, `a1.h2`, `m1`, `1_mlp_out`.
fn component(name: &str) -> Option<String> {
    let heads = [("L", "H"), ("l", "h"), ("a", ".h")];
    let number = |text: &str| text.parse::<usize>().ok();
    let head = heads.iter().find_map(|(before, between)| {
        let (block, head) = name.strip_prefix(before)?.split_once(between)?;
        Some(format!("blocks.{}.attn.hook_z[head={}]", number(block)?, number(head)?))
    });
    let mlp = || name.strip_prefix('m').or_else(|| name.strip_suffix("_mlp_out"));
    head.or_else(|| Some(format!("blocks.{}.hook_mlp_out", number(mlp()?)?)))
}

fn nearest_hooks(blocks: &str, name: &str) -> Vec<String> {
    if let Some(hook) = component(name) {
        return vec![hook];
    }
    let global: Vec<&str> = HookPoint::GLOBAL.iter().map(|point| point.short_name()).collect();
    let candidates = BlockHook::ALL.iter().map(|hook| hook.name()).chain(global.iter().copied());
    let whole =
        |found: String| if global.contains(&found.as_str()) { found } else { format!("blocks.{blocks}.{found}") };
    nearest(name, candidates).into_iter().map(whole).collect()
}

impl FromStr for HookPoint {
    type Err = UnknownHook;

    fn from_str(name: &str) -> Result<Self, UnknownHook> {
        let unknown = |nearest| UnknownHook { name: name.to_string(), nearest };
        let Some(rest) = name.strip_prefix("blocks.") else {
            return global_hook(name).map_err(unknown);
        };
        let (number, hook) = rest.split_once('.').unwrap_or((rest, ""));
        let canonical = !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
            && (number == "0" || !number.starts_with('0'));
        match number.parse::<usize>() {
            Ok(block) if canonical => block_hook(number, hook).map(|hook| Self::Block(block, hook)).map_err(unknown),
            _ => Err(unknown(vec!["blocks.N.HOOK with a block number N".to_string()])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_round_trips() {
        let blocks = [0, 7, 35].into_iter().flat_map(|b| BlockHook::ALL.map(|hook| HookPoint::Block(b, hook)));
        for point in HookPoint::GLOBAL.into_iter().chain(blocks) {
            assert_eq!(point.to_string().parse::<HookPoint>(), Ok(point));
        }
    }

    #[test]
    fn a_typo_suggests_the_nearest_name() {
        let suggested = |name: &str| name.parse::<HookPoint>().unwrap_err().nearest;
        assert_eq!(suggested("blocks.3.attn.hook_patern"), ["blocks.3.attn.hook_pattern"]);
        assert_eq!(suggested("blocks.3.hook_pattern"), ["blocks.3.attn.hook_pattern"]);
        assert_eq!(suggested("hook_embd"), ["hook_embed"]);
        for name in ["L3H12", "a3.h12"] {
            assert_eq!(suggested(name), ["blocks.3.attn.hook_z[head=12]"]);
        }
        for name in ["m3", "3_mlp_out"] {
            assert_eq!(suggested(name), ["blocks.3.hook_mlp_out"]);
        }
        assert!(suggested("attn.hook_z").contains(&"blocks.*.attn.hook_z".to_string()));
        assert!("blocks.03.attn.hook_z".parse::<HookPoint>().is_err());
        assert!("blocks.-1.attn.hook_z".parse::<HookPoint>().is_err());
    }

    #[test]
    fn order_is_execution_order() {
        assert!(HookPoint::Tokens < HookPoint::Embed);
        assert!(HookPoint::Embed < HookPoint::Block(0, BlockHook::ResidPre));
        assert!(HookPoint::Block(0, BlockHook::ResidPost) < HookPoint::Block(1, BlockHook::ResidPre));
        assert!(HookPoint::Block(99, BlockHook::ResidPost) < HookPoint::LnFinalScale);
        assert!(BlockHook::ALL.windows(2).all(|w| w[0] < w[1]));
    }
}
