//! The grammar of predicates, on the parser that reads edits.

use std::{ops::Range, str::FromStr};

use super::{Call, Comparison, Condition, Function, Over, Predicate, Quantity, Subject, Test};
use crate::{
    hooks::{
        Axis, AxisSelection, BlockHook, Blocks, NoNumber, ParseError, Parser, Region, Selection, Target, read_number,
    },
    suggest::nearest,
};

/// Parentheses, functions and `not` inside each other.
const DEEPEST: usize = 50;

/// Tests of one predicate.
const MOST: usize = 50;

const CONDITIONS: &str = "`> NUMBER`, `<`, `>=`, `<=`, `==`, `!=`, `is nan` or `is inf`";

type Parsed<T> = Result<T, ParseError>;

pub(super) struct PredicateParser<'a> {
    text: Parser<'a>,
    depth: usize,
    tests: usize,
}

impl<'a> PredicateParser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text: Parser::new(text), depth: 0, tests: 0 }
    }

    pub(super) fn whole_predicate(&mut self) -> Parsed<Predicate> {
        let predicate = self.predicate()?;
        self.text.end()?;
        Ok(predicate)
    }

    pub(super) fn whole_quantity(&mut self) -> Parsed<Quantity> {
        let quantity = self.quantity()?;
        self.text.end()?;
        Ok(quantity)
    }

    fn predicate(&mut self) -> Parsed<Predicate> {
        let mut left = self.conjunction()?;
        while self.keyword("or") {
            left = Predicate::Or(Box::new(left), Box::new(self.conjunction()?));
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Parsed<Predicate> {
        let mut left = self.factor()?;
        while self.keyword("and") {
            left = Predicate::And(Box::new(left), Box::new(self.factor()?));
        }
        Ok(left)
    }

    fn factor(&mut self) -> Parsed<Predicate> {
        if self.keyword("not") {
            return self.deeper(|me| Ok(Predicate::Not(Box::new(me.factor()?))));
        }
        if !self.text.eat("(") {
            return self.test();
        }
        let predicate = self.deeper(Self::predicate)?;
        self.closed()?;
        Ok(predicate)
    }

    fn test(&mut self) -> Parsed<Predicate> {
        let start = self.text.at;
        self.tests += 1;
        if self.tests > MOST {
            return self.text.fail(start..start + 1, format!("a predicate has at most {MOST} comparisons"), vec![]);
        }
        let quantity = self.quantity()?;
        Ok(Predicate::Test(Test { quantity, condition: self.condition()? }))
    }

    fn quantity(&mut self) -> Parsed<Quantity> {
        self.text.spaces();
        let start = self.text.at;
        let name = self.text.word(|c| c.is_alphanumeric() || c == '_');
        let span = start..self.text.at;
        self.text.spaces();
        if name.is_empty() || !self.text.eat("(") {
            self.text.at = start;
            return Ok(Quantity { of: self.subject()?, calls: vec![] });
        }
        let Some(function) = Function::ALL.into_iter().find(|function| function.name() == name) else {
            let names = || Function::ALL.into_iter().map(Function::name);
            let all = names().collect::<Vec<_>>().join(", ");
            return self.text.fail(
                span,
                format!("there is no function `{name}`; there are {all}"),
                nearest(name, names()),
            );
        };
        let inside = self.text.at;
        let mut quantity = self.deeper(Self::quantity)?;
        if function == Function::Delta && !quantity.calls.is_empty() {
            let what = "`delta` compares the values of a hook with the unedited run's: `delta(HOOK)`";
            return self.text.fail(inside..self.text.at, what, vec![]);
        }
        if function.score().is_some() {
            self.pattern(function, &quantity, inside..self.text.at)?;
        }
        let over = self.over(function)?;
        self.closed()?;
        quantity.calls.push(Call { function, over });
        Ok(quantity)
    }

    /// Check that a score is of whole patterns of heads.
    fn pattern(&self, function: Function, of: &Quantity, span: Range<usize>) -> Parsed<()> {
        let name = function.name();
        let blocks = match &of.of {
            Subject::Hook(Region { target: Target::Block(_, BlockHook::Pattern), selection }) => {
                return match selection.0.iter().find(|selected| selected.axis != Axis::Head) {
                    _ if !of.calls.is_empty() => {
                        let what = format!("`{name}` is a score of a pattern as it is: `{name}(HOOK)`");
                        self.text.fail(span, what, vec![])
                    }
                    Some(AxisSelection { axis, .. }) => {
                        let what = format!("`{name}` is a score of a head's whole pattern: `{axis}` can't be selected");
                        self.text.fail(span, what, vec![])
                    }
                    None => Ok(()),
                };
            }
            Subject::Hook(Region { target: Target::Block(blocks, _), .. }) | Subject::Blocks(blocks, _) => blocks,
            Subject::Hook(Region { target: Target::Global(_), .. }) => &Blocks::All,
        };
        let instead = BlockHook::Pattern.name();
        let what = format!("`{name}` is a score of an attention pattern");
        self.text.fail(span, what, vec![format!("{name}(blocks.{blocks}.{instead})")])
    }

    fn over(&mut self, function: Function) -> Parsed<Over> {
        self.text.spaces();
        let start = self.text.at;
        if !self.keyword("over") {
            return Ok(Over::Last);
        }
        if !function.reduces() {
            let of = if function.score().is_some() { "a head's whole pattern" } else { "each value" };
            let what = format!("`{}` is of {of} and goes along no axis", function.name());
            return self.text.fail(start..self.text.at, what, vec![]);
        }
        self.text.spaces();
        let start = self.text.at;
        let name = self.text.word(|c| c.is_alphanumeric() || c == '_');
        if name == "all" {
            return Ok(Over::All);
        }
        if let Some(axis) = Axis::from_name(name) {
            return Ok(Over::Axis(axis));
        }
        let names = || Axis::SELECTABLE.iter().map(|axis| axis.name()).chain(["all"]);
        let all = names().collect::<Vec<_>>().join(", ");
        let what = match name {
            "" => format!("an axis should follow `over`: {all}"),
            name => format!("there is no axis `{name}`; there are {all}"),
        };
        self.text.fail(start..self.text.at.max(start + 1), what, nearest(name, names()))
    }

    fn subject(&mut self) -> Parsed<Subject> {
        let start = self.text.at;
        let name = self.text.word(|c| !c.is_whitespace() && !"[]()=<>!".contains(c));
        let span = start..self.text.at.max(start + 1);
        if name.is_empty() {
            let what = "a hook such as `blocks.3.hook_mlp_out` was expected, or a function of one such as `norm(...)`";
            return self.text.fail(span, what, vec![]);
        }
        match name.strip_prefix("blocks.") {
            Some(blocks) if !blocks.contains('.') => {
                let blocks = self.text.blocks(blocks, start + "blocks.".len()..span.end)?;
                self.text.spaces();
                let selection = if self.text.eat("[") { self.text.selection()? } else { Selection::default() };
                Ok(Subject::Blocks(blocks, selection))
            }
            Some(_) | None => {
                self.text.at = start;
                Ok(Subject::Hook(self.text.region()?.0))
            }
        }
    }

    fn condition(&mut self) -> Parsed<Condition> {
        self.text.spaces();
        let start = self.text.at;
        if self.keyword("is") {
            self.text.spaces();
            let start = self.text.at;
            return match self.text.word(char::is_alphanumeric) {
                "nan" => Ok(Condition::IsNan),
                "inf" => Ok(Condition::IsInf),
                other => {
                    let span = start..self.text.at.max(start + 1);
                    self.text.fail(
                        span,
                        "`nan` or `inf` should follow `is`",
                        nearest(other, ["nan", "inf"].into_iter()),
                    )
                }
            };
        }
        let Some(comparison) = Comparison::ALL.into_iter().find(|comparison| self.text.eat(comparison.sign())) else {
            let what = match self.text.rest().starts_with('=') {
                true => "`=` sets values in an edit; a predicate compares with `==`".into(),
                false => format!("a comparison was expected: {CONDITIONS}"),
            };
            return self.text.fail(start..start + 1, what, vec![]);
        };
        self.text.spaces();
        let start = self.text.at;
        let word = self.text.word(|c| !c.is_whitespace() && c != ')');
        let span = start..self.text.at.max(start + 1);
        let number = self.number(word, span)?;
        Ok(Condition::Compare(comparison, number))
    }

    fn number(&self, word: &str, span: Range<usize>) -> Parsed<f32> {
        let what = match read_number(word) {
            Ok(number) => return Ok(number),
            Err(NoNumber::Range(message)) => message,
            Err(NoNumber::Missing) => "a number should follow, such as `0.5`, `1e-3` or `-inf`".into(),
            Err(NoNumber::Other) if word.eq_ignore_ascii_case("nan") => "nothing equals NaN; write `is nan`".into(),
            Err(NoNumber::Other) => format!("`{word}` is not a number; expected one such as `0.5`, `1e-3` or `-inf`"),
        };
        self.text.fail(span, what, vec![])
    }

    fn closed(&mut self) -> Parsed<()> {
        self.text.spaces();
        if self.text.eat(")") {
            return Ok(());
        }
        let at = self.text.at;
        self.text.fail(at..at + 1, "`)` was expected here", vec![])
    }

    /// A word of the grammar, whole.
    fn keyword(&mut self, word: &str) -> bool {
        self.text.spaces();
        let rest = self.text.rest().strip_prefix(word);
        let whole = rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || "_.".contains(c)));
        whole && self.text.eat(word)
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > DEEPEST {
            let at = self.text.at;
            return self.text.fail(at..at + 1, format!("this is nested more than {DEEPEST} levels deep"), vec![]);
        }
        let read = read(self);
        self.depth -= 1;
        read
    }
}

impl FromStr for Predicate {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        PredicateParser::new(text).whole_predicate()
    }
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        PredicateParser::new(text).whole_quantity()
    }
}
