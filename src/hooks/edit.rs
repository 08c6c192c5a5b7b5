use std::{fmt, str::FromStr};

use super::{Axis, AxisSelection, HookPoint, Op, ParseError, Selection, Slot, Target, parse::Parser};

/// One line of the edit grammar: `TARGET [ '[' SELECTION ']' ] OP`.
///
/// Parsing checks the names; whether blocks, axes and indices exist is checked against a model and a prompt.
/// `Display` writes the canonical form, which parses to an equal edit.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    pub target: Target,
    pub selection: Selection,
    pub op: Op,
}

impl Edit {
    /// An edit of one hook, at one index along each of the axes that are given.
    #[must_use]
    pub fn at(point: HookPoint, places: &[(Axis, usize)], op: Op) -> Self {
        let slot = |at: usize| Slot::Index(i64::try_from(at).unwrap_or(i64::MAX));
        let along = |(axis, at): &(Axis, usize)| AxisSelection { axis: *axis, slots: vec![slot(*at)] };
        Self { target: point.into(), selection: Selection(places.iter().map(along).collect()), op }
    }
}

impl FromStr for Edit {
    type Err = ParseError;

    fn from_str(line: &str) -> Result<Self, ParseError> {
        let mut parser = Parser::new(line);
        let edit = parser.edit()?;
        parser.end()?;
        Ok(edit)
    }
}

impl FromStr for Op {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser::new(text);
        let op = parser.op()?;
        parser.end()?;
        Ok(op)
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.target)?;
        if !self.selection.0.is_empty() {
            write!(f, "[{}]", self.selection)?;
        }
        write!(f, " {}", self.op)
    }
}
