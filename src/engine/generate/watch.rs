//! Breakpoints of continuations: where predicates become true as a text grows.

use std::ops::ControlFlow;

use super::{
    super::{Engine, find::show},
    text::Text,
};
use crate::{
    hooks::{HookPoint, RunError, Schema},
    predicate::{Match, Predicate, PredicateError, Program, Search},
};

/// A breakpoint of a continuation, and the new tokens at which it was true.
///
/// It is looked for in what each new token adds to the (edited) text: the places at its position, and places that have none.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenBreakpoint {
    pub when: Predicate,
    /// It counts the tokens, and lets the text go on.
    pub logs: bool,
    /// New tokens at which it was true.
    pub tokens: usize,
    /// The first of them.
    pub first: Option<TokenHit>,
}

/// Where a breakpoint was true first.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenHit {
    /// The number of the new token, from 0.
    pub token: usize,
    pub found: Match,
}

impl TokenBreakpoint {
    #[must_use]
    pub fn new(when: Predicate, logs: bool) -> Self {
        Self { when, logs, tokens: 0, first: None }
    }

    /// The hooks that it is about in texts of up to `n_pos` tokens.
    ///
    /// # Errors
    /// A hook, axis or index that does not exist.
    pub(super) fn points(&self, schema: &Schema, n_pos: usize) -> Result<Vec<HookPoint>, PredicateError> {
        let program = Program::new(&self.when, schema, n_pos)?;
        Ok(schema.points().into_iter().filter(|point| program.wants(*point)).collect())
    }

    /// Look for it at the last token of a text; `token` is its number among the new ones. Whether it is true there.
    pub(super) fn look(
        &mut self,
        engine: &Engine,
        text: &Text,
        baseline: &Text,
        token: usize,
    ) -> Result<bool, RunError> {
        let n_pos = text.tokens.len();
        // an index beyond the text so far
        let Ok(program) = Program::new(&self.when, &engine.schema, n_pos) else { return Ok(false) };
        let mut search = Search::new(&program, &text.tokens);
        let mut first: Option<Match> = None;
        let mut found = |found: &Match| {
            let position = found.place.at.iter().find(|(axis, _)| axis.is_causal());
            if position.is_none_or(|(_, at)| at + 1 == n_pos) {
                first = Some(found.clone());
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        for point in engine.schema.points().into_iter().filter(|point| program.wants(*point)) {
            let Some(now) = text.watched.cache.get(point) else { continue };
            let before = if std::ptr::eq(text, baseline) { None } else { baseline.watched.cache.get(point) };
            if show(&mut search, point, now, before, &mut found)?.is_break() {
                break;
            }
        }
        let Some(found) = first else { return Ok(false) };
        self.tokens += 1;
        self.first.get_or_insert(TokenHit { token, found });
        Ok(true)
    }
}
