//! The objective to differentiate, from arguments and experiment.

use std::ops::Range;

use anyhow::{Context, Result};

use super::{Usage, args::ObjectiveArgs};
use crate::{
    analysis::{Objective, ObjectiveKind},
    engine::Engine,
    experiment::{Distractor, PromptParser, Setup},
};

/// The objective that the arguments name, completed from the experiment.
///
/// # Errors
/// The metric needs a target and there is none; a token or a position does not exist.
pub(super) fn objective<V>(args: &ObjectiveArgs, setup: &Setup<V>, engine: &Engine) -> Result<Objective> {
    let parser = PromptParser::from(&engine.loaded);
    let token = |name: &str, text: &Option<String>| -> Result<Option<u32>> {
        let token = text.as_ref().map(|text| parser.token(text).context(format!("--{name}")));
        Ok(token.transpose()?.map(|token| token.id))
    };
    let kind = args.metric.or(setup.metric.map(ObjectiveKind::from)).unwrap_or_default();
    let pos = position(args.pos.unwrap_or(-1), setup.prompt.1.len())?;
    let target = token("target", &args.target)?.or(setup.target.as_ref().map(|token| token.id));
    let distractor = token("distractor", &args.distractor)?.or(match &setup.distractor {
        Distractor::Chosen(token) => Some(token.id),
        Distractor::Likeliest | Distractor::None => None,
    });
    let what = if kind == ObjectiveKind::Prob { "probability" } else { "logit" };
    let needed = || Usage(format!("--metric {kind} needs --target TOKEN: the token whose {what} is measured"));
    Ok(kind.of(pos, target, distractor).ok_or_else(needed)?)
}

/// The number in words, with the tokens that it is of.
pub(super) fn described(objective: Objective, engine: &Engine) -> String {
    let token = |id: u32| format!("{:?}", engine.loaded.tokenizer.token(id));
    let name = objective.name();
    match objective {
        Objective::LogitDiff { target, distractor: Some(other), .. } => {
            format!("{name} of {} - {}", token(target), token(other))
        }
        Objective::LogitDiff { target, distractor: None, .. } | Objective::Prob { target, .. } => {
            format!("{name} of {}", token(target))
        }
        Objective::Kl { .. } | Objective::Loss => name.into(),
    }
}

/// The positions to report: one that was named, all for a script, else the last.
pub(super) fn positions(at: Option<i64>, all: bool, n_pos: usize) -> Result<Range<usize>, Usage> {
    let first = match at {
        Some(at) => position(at, n_pos)?,
        None if all => return Ok(0..n_pos),
        None => n_pos.saturating_sub(1),
    };
    Ok(first..(first + 1).min(n_pos))
}

/// A position of the prompt, negative ones counted from its end.
pub(super) fn position(at: i64, n_pos: usize) -> Result<usize, Usage> {
    let length = i64::try_from(n_pos).unwrap_or(i64::MAX);
    let counted = if at < 0 { at + length } else { at };
    usize::try_from(counted).ok().filter(|pos| *pos < n_pos).ok_or_else(|| {
        let last = n_pos.saturating_sub(1);
        Usage(format!("position {at}: expected 0 to {last}, or -{n_pos} to -1; the prompt has {n_pos} tokens"))
    })
}
