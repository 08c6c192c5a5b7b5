//! Breakpoints and watches of an experiment: the tables `[[breakpoint]]` and `[[watch]]`.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{
    flags::{is_false, is_true, yes},
    wrong::Wrong,
};
use crate::{
    hooks::{ParseError, Schema},
    predicate::{Predicate, Program, Quantity},
    printed::escaped,
    suggest::did_you_mean,
};

/// A breakpoint as text.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BreakpointTable {
    /// A predicate.
    pub when: Spanned<String>,
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub on: bool,
    /// It counts the places, and lets the pass go on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub log: bool,
}

/// A watch as text.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WatchTable {
    /// An expression.
    pub value: Spanned<String>,
}

/// A breakpoint, as an experiment keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptBreakpoint {
    pub when: Predicate,
    pub on: bool,
    pub log: bool,
}

impl BreakpointTable {
    /// The breakpoint, checked against a model and a prompt.
    ///
    /// # Errors
    /// No predicate, or one that does not fit.
    pub fn check(&self, schema: &Schema, n_pos: usize) -> Result<KeptBreakpoint, Wrong> {
        let when: Predicate = self.when.get_ref().parse().map_err(|error| misread(&self.when, &error))?;
        Program::new(&when, schema, n_pos).map_err(|error| misfit(&self.when, &error))?;
        Ok(KeptBreakpoint { when, on: self.on, log: self.log })
    }
}

impl WatchTable {
    /// The expression, checked against a model and a prompt.
    ///
    /// # Errors
    /// No expression, or one that does not fit.
    pub fn check(&self, schema: &Schema, n_pos: usize) -> Result<Quantity, Wrong> {
        let value: Quantity = self.value.get_ref().parse().map_err(|error| misread(&self.value, &error))?;
        value.sites(self.value.get_ref(), schema, n_pos).map_err(|error| misfit(&self.value, &error))?;
        Ok(value)
    }
}

fn misread(text: &Spanned<String>, error: &ParseError) -> Wrong {
    let span = text.span();
    // behind the quotation mark
    let start = (span.start + 1 + error.span.start).min(span.end);
    Wrong { at: start..span.end, reason: format!("{}{}", escaped(&error.message), did_you_mean(&error.nearest)) }
}

fn misfit(text: &Spanned<String>, error: &impl std::fmt::Display) -> Wrong {
    Wrong { at: text.span(), reason: error.to_string() }
}
