//! Breakpoints of the command line.

use anyhow::Result;

use super::Usage;
use crate::{
    engine::{Engine, Spec},
    predicate::Predicate,
    printed::escaped,
};

/// The predicates of `--break`, checked against the model and texts of up to `n_pos` tokens.
///
/// # Errors
/// No predicate, or one that does not fit.
pub(super) fn given_breakpoints(
    texts: &[String],
    engine: &mut Engine,
    spec: &Spec,
    n_pos: usize,
) -> Result<Vec<Predicate>> {
    let wrong = |text: &str, why: String| Usage(format!("--break `{}`: {why}", escaped(text)));
    let parsed = |text: &String| -> Result<Predicate> {
        let predicate: Predicate = text.parse().map_err(|error| Usage(format!("--break: {error}")))?;
        match engine.check_breakpoint(spec, &predicate, n_pos) {
            Ok(()) => Ok(predicate),
            Err(error) if error.is_usage() => Err(wrong(text, error.to_string()).into()),
            Err(error) => Err(error.into()),
        }
    };
    texts.iter().map(parsed).collect()
}
