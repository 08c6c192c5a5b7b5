use std::{fmt, str::FromStr};

use crate::printed::escaped;

/// A hook within a block, named as TransformerLens names it below `blocks.N.`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockHook {
    ResidPre,
    AttnIn,
    QInput,
    KInput,
    VInput,
    Ln1Scale,
    Ln1Normalized,
    Q,
    K,
    V,
    RotQ,
    RotK,
    AttnScores,
    Pattern,
    Z,
    Result,
    AttnOut,
    ResidMid,
    MlpIn,
    Ln2Scale,
    Ln2Normalized,
    MlpPre,
    MlpPost,
    MlpOut,
    ResidPost,
}

impl BlockHook {
    /// Every hook of a block, in execution order.
    pub const ALL: [Self; 25] = [
        Self::ResidPre,
        Self::AttnIn,
        Self::QInput,
        Self::KInput,
        Self::VInput,
        Self::Ln1Scale,
        Self::Ln1Normalized,
        Self::Q,
        Self::K,
        Self::V,
        Self::RotQ,
        Self::RotK,
        Self::AttnScores,
        Self::Pattern,
        Self::Z,
        Self::Result,
        Self::AttnOut,
        Self::ResidMid,
        Self::MlpIn,
        Self::Ln2Scale,
        Self::Ln2Normalized,
        Self::MlpPre,
        Self::MlpPost,
        Self::MlpOut,
        Self::ResidPost,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ResidPre => "hook_resid_pre",
            Self::AttnIn => "hook_attn_in",
            Self::QInput => "hook_q_input",
            Self::KInput => "hook_k_input",
            Self::VInput => "hook_v_input",
            Self::Ln1Scale => "ln1.hook_scale",
            Self::Ln1Normalized => "ln1.hook_normalized",
            Self::Q => "attn.hook_q",
            Self::K => "attn.hook_k",
            Self::V => "attn.hook_v",
            Self::RotQ => "attn.hook_rot_q",
            Self::RotK => "attn.hook_rot_k",
            Self::AttnScores => "attn.hook_attn_scores",
            Self::Pattern => "attn.hook_pattern",
            Self::Z => "attn.hook_z",
            Self::Result => "attn.hook_result",
            Self::AttnOut => "hook_attn_out",
            Self::ResidMid => "hook_resid_mid",
            Self::MlpIn => "hook_mlp_in",
            Self::Ln2Scale => "ln2.hook_scale",
            Self::Ln2Normalized => "ln2.hook_normalized",
            Self::MlpPre => "mlp.hook_pre",
            Self::MlpPost => "mlp.hook_post",
            Self::MlpOut => "hook_mlp_out",
            Self::ResidPost => "hook_resid_post",
        }
    }

    /// Off unless enabled, as in TransformerLens.
    #[must_use]
    pub fn is_opt_in(self) -> bool {
        matches!(self, Self::AttnIn | Self::QInput | Self::KInput | Self::VInput | Self::Result | Self::MlpIn)
    }
}

/// A place in the forward pass where an activation can be read and edited.
///
/// Round-trips with its TransformerLens name: `name.parse::<HookPoint>()?.to_string() == name`.
/// The derived order is execution order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookPoint {
    Tokens,
    Embed,
    Block(usize, BlockHook),
    LnFinalScale,
    LnFinalNormalized,
}

impl HookPoint {
    /// The hooks outside the blocks, in execution order.
    pub const GLOBAL: [Self; 4] = [Self::Tokens, Self::Embed, Self::LnFinalScale, Self::LnFinalNormalized];

    /// The block it belongs to, if it belongs to one.
    #[must_use]
    pub fn block(self) -> Option<usize> {
        match self {
            Self::Block(block, _) => Some(block),
            _ => None,
        }
    }

    #[must_use]
    pub fn block_hook(self) -> Option<BlockHook> {
        match self {
            Self::Block(_, hook) => Some(hook),
            _ => None,
        }
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
        match self {
            Self::Tokens => "hook_tokens",
            Self::Embed => "hook_embed",
            Self::Block(_, hook) => hook.name(),
            Self::LnFinalScale => "ln_final.hook_scale",
            Self::LnFinalNormalized => "ln_final.hook_normalized",
        }
    }

    /// Off unless enabled, as in TransformerLens.
    #[must_use]
    pub fn is_opt_in(self) -> bool {
        match self {
            Self::Tokens => true,
            Self::Block(_, hook) => hook.is_opt_in(),
            _ => false,
        }
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

/// A name that is no hook point, with the nearest names that are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no hook `{}`{}", escaped(.name), did_you_mean(.nearest))]
pub struct UnknownHook {
    pub name: String,
    pub nearest: Vec<String>,
}

pub(super) fn did_you_mean(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!("; did you mean {}?", names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" or ")),
    }
}

/// The candidates that look most like `name`, best first: at most three, none that is mostly different. Names are
/// compared whole and by their last part, so that a hook is found under the wrong module.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<String> {
    let tail = |name: &'a str| name.rsplit('.').next().unwrap_or(name);
    let name_tail = name.rsplit('.').next().unwrap_or(name);
    let similarity = |candidate: &'a str| {
        let whole = strsim::normalized_damerau_levenshtein(name, candidate);
        let tails = strsim::normalized_damerau_levenshtein(name_tail, tail(candidate));
        // equal last parts still leave the module to tell candidates apart
        whole.max(0.9 * tails + 0.1 * whole)
    };
    let mut scored: Vec<(f64, &str)> = candidates.map(|c| (similarity(c), c)).filter(|(s, _)| *s > 0.6).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let best = scored.first().map_or(0.0, |s| s.0);
    scored.into_iter().take(3).filter(|(s, _)| best - s < 0.05).map(|(_, c)| c.to_string()).collect()
}

/// The hook in `blocks` called `name`, or the nearest names of any hook.
pub(super) fn block_hook(blocks: &str, name: &str) -> Result<BlockHook, Vec<String>> {
    BlockHook::ALL.into_iter().find(|hook| hook.name() == name).ok_or_else(|| nearest_hooks(blocks, name))
}

/// The hook outside the blocks called `name`, or the nearest names of any hook.
pub(super) fn global_hook(name: &str) -> Result<HookPoint, Vec<String>> {
    HookPoint::GLOBAL.into_iter().find(|point| point.short_name() == name).ok_or_else(|| nearest_hooks("*", name))
}

fn nearest_hooks(blocks: &str, name: &str) -> Vec<String> {
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
