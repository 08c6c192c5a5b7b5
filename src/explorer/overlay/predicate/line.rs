use tui_input::Input;

use super::completion::completions;
use crate::{
    explorer::overlay::Problem,
    hooks::ParseError,
    predicate::{Predicate, Program, Quantity},
    suggest::did_you_mean,
    views::Setting,
};

/// What a predicate, or the expression of a watch, is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// The number of the breakpoint that it changes; None for a new one.
    Breakpoint(Option<usize>),
    Watch(Option<usize>),
    /// A search of the run on the screen.
    Search,
}

/// A predicate or an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    Predicate(Predicate),
    Quantity(Quantity),
}

/// The line editor for a predicate, or for the expression of a watch.
#[derive(Clone, Debug)]
pub struct PredicateLine {
    pub input: Input,
    pub of: For,
    /// What it says, or what is wrong with it.
    pub verdict: Result<Written, Problem>,
    /// Completions at the end of the line, best first.
    pub completions: Vec<String>,
}

impl PredicateLine {
    pub(crate) fn open(text: &str, of: For, setting: Setting<'_>) -> Self {
        let verdict = Err(Problem { message: String::new(), column: None });
        let mut line = Self { input: Input::new(text.to_string()), of, verdict, completions: Vec::new() };
        line.refresh(setting);
        line
    }

    /// Check the line again, after it changed.
    pub(super) fn refresh(&mut self, setting: Setting<'_>) {
        let text = self.input.value();
        self.verdict = match self.of {
            For::Breakpoint(_) | For::Search => predicate(text, setting).map(Written::Predicate),
            For::Watch(_) => quantity(text, setting).map(Written::Quantity),
        };
        self.completions = completions(text, setting.schema, !matches!(self.of, For::Watch(_)));
    }

    /// Apply the first completion.
    pub(super) fn complete(&mut self, setting: Setting<'_>) {
        if let Some(first) = self.completions.first() {
            self.input = Input::new(first.clone());
            self.refresh(setting);
        }
    }
}

fn misread(error: &ParseError) -> Problem {
    Problem { message: format!("{}{}", error.message, did_you_mean(&error.nearest)), column: Some(error.column()) }
}

/// Parse a predicate, and check it against the model and the prompt.
pub(crate) fn predicate(text: &str, setting: Setting<'_>) -> Result<Predicate, Problem> {
    let predicate: Predicate = text.parse().map_err(|error| misread(&error))?;
    match Program::new(&predicate, setting.schema, setting.n_pos) {
        Ok(_) => Ok(predicate),
        Err(error) => Err(Problem { message: error.to_string(), column: None }),
    }
}

/// The same of the expression of a watch.
pub(crate) fn quantity(text: &str, setting: Setting<'_>) -> Result<Quantity, Problem> {
    let quantity: Quantity = text.parse().map_err(|error| misread(&error))?;
    match quantity.sites(text, setting.schema, setting.n_pos) {
        Ok(_) => Ok(quantity),
        Err(error) => Err(Problem { message: error.to_string(), column: None }),
    }
}
