//! The edit grammar, as a parser that tracks its column.

mod dictionary;
mod number;
mod seed;

use std::{ops::Range, str::FromStr};

use super::{
    Axis, AxisSelection, BlockHook, Blocks, Edit, Op, Operation, ParseError, Region, Selection, Slot, Target,
    features::INSIDE,
    op_facts::{Arguments, Takes},
    point::{block_hook, global_hook},
    vector::VectorName,
};
use crate::suggest::nearest;

pub(crate) use number::{NoNumber, read_number};

/// The syntax of every operation, for messages.
fn operations() -> String {
    let all = Operation::ALL.map(|operation| format!("`{}`", operation.syntax()));
    match all.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        Some(_) | None => all.concat(),
    }
}

/// Reads edits, and the hooks and selections of predicates.
pub(crate) struct Parser<'a> {
    line: &'a str,
    pub(crate) at: usize,
    /// Where the features of a dictionary were named.
    features: Option<Range<usize>>,
}

type Parsed<T> = Result<T, ParseError>;

impl<'a> Parser<'a> {
    pub(crate) fn new(line: &'a str) -> Self {
        Self { line: line.trim_end(), at: 0, features: None }
    }

    pub(super) fn edit(&mut self) -> Parsed<Edit> {
        let (sender, at) = self.region_or_features()?;
        self.spaces();
        if !self.eat("->") {
            let Region { target, selection } = sender;
            let features = self.features.take().is_some();
            return Ok(Edit { sender: None, features, target, selection, op: self.op()? });
        }
        if !sender.target.hook().sends() {
            let what = "a path starts at what writes to the residual stream: `hook_embed`, or in a block \
                        `attn.hook_result`, `hook_attn_out` or `hook_mlp_out`";
            let instead = sender.target.with_hook(BlockHook::its_writer);
            return self.fail(at, what, instead.map(|target| target.to_string()).into_iter().collect());
        }
        let (Region { target, selection }, at) = self.region()?;
        if !target.hook().receives() {
            let what = "a path ends at a reader's own input: `hook_q_input`, `hook_k_input`, `hook_v_input` or \
                        `hook_mlp_in` of a block, or the last block's `hook_resid_post`";
            let instead = target.with_hook(BlockHook::its_input);
            return self.fail(at, what, instead.map(|target| target.to_string()).into_iter().collect());
        }
        if let (Some(from), Some(to)) = (sender.target.first_block(), target.last_block())
            && from > to
        {
            let what =
                format!("a path goes from an earlier place to a later one, and block {from} comes after block {to}");
            return self.fail(at, what, vec![]);
        }
        Ok(Edit { sender: Some(sender), features: false, target, selection, op: self.op()? })
    }

    /// A target with its selection, and the position of the target.
    pub(crate) fn region(&mut self) -> Parsed<(Region, Range<usize>)> {
        let region = self.region_or_features()?;
        self.no_features()?;
        Ok(region)
    }

    fn region_or_features(&mut self) -> Parsed<(Region, Range<usize>)> {
        self.spaces();
        let start = self.at;
        let target = self.target()?;
        let at = start..self.at;
        self.spaces();
        let selection = if self.eat("[") { self.selection()? } else { Selection::default() };
        Ok((Region { target, selection }, at))
    }

    pub(crate) fn end(&mut self) -> Parsed<()> {
        self.spaces();
        if self.rest().is_empty() {
            Ok(())
        } else {
            self.fail(self.at..self.line.len(), "nothing more was expected here", vec![])
        }
    }

    pub(super) fn target(&mut self) -> Parsed<Target> {
        self.spaces();
        let start = self.at;
        let name = self.word(|c| !c.is_whitespace() && !"[]=+()<>!".contains(c));
        // a sign that follows without a space ends the name: `hook_embed->`, `hook_embed*= 2`
        let name = name.strip_suffix('-').filter(|_| self.rest().starts_with('>')).unwrap_or(name);
        let name = name.strip_suffix('*').filter(|_| self.rest().starts_with('=')).unwrap_or(name);
        self.at = start + name.len();
        let name = match name.split_once(INSIDE) {
            Some((hook, inside)) => self.of_dictionary(hook, inside, start..start + name.len())?,
            None => name,
        };
        let span = start..start + name.len();
        if name.is_empty() {
            return self.fail(span, "an edit starts with a hook name, such as `blocks.0.attn.hook_z`", vec![]);
        }
        let no_such =
            |me: &Self, span, name: &str, nearest| me.fail(span, format!("there is no hook `{name}`"), nearest);
        let Some(rest) = name.strip_prefix("blocks.") else {
            return match global_hook(name) {
                Ok(point) => Ok(Target::Global(point)),
                Err(nearest) => no_such(self, span, name, nearest),
            };
        };
        let blocks_start = start + "blocks.".len();
        let Some((blocks, hook)) = rest.split_once('.') else {
            return self.fail(span, "a hook name should follow the block number, as in `blocks.0.attn.hook_z`", vec![]);
        };
        let blocks_span = blocks_start..blocks_start + blocks.len();
        let blocks_parsed = self.blocks(blocks, blocks_span)?;
        match block_hook(blocks, hook) {
            Ok(hook) => Ok(Target::Block(blocks_parsed, hook)),
            Err(nearest) => no_such(self, span.end - hook.len()..span.end, name, nearest),
        }
    }

    pub(crate) fn blocks(&self, text: &str, span: Range<usize>) -> Parsed<Blocks> {
        if text == "*" {
            return Ok(Blocks::All);
        }
        let number = |s: &str| s.parse::<usize>().ok().filter(|_| s.bytes().all(|b| b.is_ascii_digit()));
        let range = |part: &str| match part.split_once('-') {
            None => number(part).map(|n| (n, n)),
            Some((first, last)) => Some((number(first)?, number(last)?)).filter(|(a, b)| a <= b),
        };
        match text.split(',').map(range).collect() {
            Some(ranges) => Ok(Blocks::These(ranges)),
            None => self.fail(span, "blocks are `*`, `N`, `A-B` with A at most B, or a list such as `0,2,5`", vec![]),
        }
    }

    pub(crate) fn selection(&mut self) -> Parsed<Selection> {
        let mut axes: Vec<AxisSelection> = Vec::new();
        loop {
            self.spaces();
            if self.eat("]") {
                break;
            }
            let start = self.at;
            let name = self.word(|c| c.is_alphanumeric() || c == '_');
            let span = start..self.at;
            if name.is_empty() {
                let what = if self.rest().is_empty() {
                    "the selection has no closing `]`"
                } else {
                    "an axis was expected, as in `head=3`"
                };
                return self.fail(span, what, vec![]);
            }
            let Some(axis) = Axis::from_name(name) else {
                let names = Axis::SELECTABLE.iter().map(|axis| axis.name());
                return self.fail(span, format!("there is no axis `{name}`"), nearest(name, names));
            };
            if axes.iter().any(|a| a.axis == axis) {
                return self.fail(
                    span,
                    format!("`{axis}` is selected twice; list the indices, as in `{axis}=0,2:4`"),
                    vec![],
                );
            }
            if !self.eat("=") {
                return self.fail(
                    self.at..self.at + 1,
                    format!("`=` and indices should follow `{axis}`, as in `{axis}=0,2:4`"),
                    vec![],
                );
            }
            axes.push(AxisSelection { axis, slots: self.slots()? });
        }
        if axes.is_empty() {
            let at = self.at;
            return self.fail(
                at - 1..at,
                "the selection is empty; leave the brackets out to take the whole activation",
                vec![],
            );
        }
        Ok(Selection(axes))
    }

    fn slots(&mut self) -> Parsed<Vec<Slot>> {
        let mut slots = Vec::new();
        loop {
            let start = self.at;
            let text = self.word(|c| !c.is_whitespace() && c != ',' && c != ']');
            let bound = |s: &str| match s {
                "" => Some(None),
                s => s.parse::<i64>().ok().map(Some),
            };
            let slot = match text.split_once(':') {
                None => text.parse().ok().map(Slot::Index),
                Some((a, b)) => bound(a).zip(bound(b)).map(|(a, b)| Slot::Slice(a, b)),
            };
            match slot {
                Some(slot) => slots.push(slot),
                None if text.contains('=') => {
                    return self.fail(start..self.at, "axes are separated by spaces: `head=0 query=13`", vec![]);
                }
                None => return self.fail(start..self.at, "an index or a slice `a:b` was expected", vec![]),
            }
            if !self.eat(",") {
                return Ok(slots);
            }
        }
    }

    pub(super) fn op(&mut self) -> Parsed<Op> {
        self.spaces();
        let start = self.at;
        let sign = Operation::ALL.iter().map(|operation| operation.row().sign).find(|sign| self.eat(sign));
        let Some(sign) = sign else {
            return self.fail(
                start..self.line.len().max(start + 1),
                format!("an operation was expected: {}", operations()),
                vec![],
            );
        };
        let start = self.at;
        let (word, span) = self.next_word();
        let rows = || Operation::ALL.into_iter().map(Operation::row).filter(|row| row.sign == sign);
        let row = match rows().find(|row| row.word == Some(word)) {
            Some(row) => row,
            None => match rows().find(|row| row.word.is_none()) {
                Some(row) => {
                    // what follows the sign is a number
                    self.at = start;
                    row
                }
                None => return self.no_operation(word, span, "an operation"),
            },
        };
        let with = match row.takes {
            Takes::Nothing => Arguments::default(),
            Takes::Number | Takes::Multiple => {
                self.spaces();
                let start = self.at;
                let number = self.word(|c| !c.is_whitespace() && c != '*');
                let number = self.number(number, start..self.at.max(start + 1))?;
                self.spaces();
                let multiple = rows().find(|row| row.takes == Takes::Multiple && self.rest().starts_with('*'));
                let Some(multiple) = multiple else {
                    return Ok((row.make)(Arguments { number, ..Arguments::default() }));
                };
                self.eat("*");
                return Ok((multiple.make)(Arguments { number, vector: self.vector()?, ..Arguments::default() }));
            }
            Takes::Deviation => self.deviation()?,
            Takes::Seed => self.perhaps_seed()?,
            Takes::Vector => Arguments { vector: self.vector()?, ..Arguments::default() },
        };
        Ok((row.make)(with))
    }

    fn vector(&mut self) -> Parsed<VectorName> {
        let (name, span) = self.next_word();
        match name.parse() {
            Ok(name) => Ok(name),
            Err(_) if name.is_empty() => self.fail(span, "the name of a vector is missing", vec![]),
            Err(why) => self.fail(span, why, vec![]),
        }
    }

    /// `text` is not a number or the word of an operation.
    fn no_operation<T>(&self, text: &str, span: Range<usize>, what: &str) -> Parsed<T> {
        let words = Operation::ALL.into_iter().filter_map(|operation| operation.row().word).chain(["inf", "-inf"]);
        self.fail(span, format!("`{text}` is not {what}; operations are {}", operations()), nearest(text, words))
    }

    fn number(&self, text: &str, span: Range<usize>) -> Parsed<f32> {
        match read_number(text) {
            Ok(number) => Ok(number),
            Err(NoNumber::Missing) => self.fail(span, format!("a value is missing: {}", operations()), vec![]),
            Err(NoNumber::Range(message)) => self.fail(span, message, vec![]),
            Err(NoNumber::Other) => self.no_operation(text, span, "a number"),
        }
    }

    fn next_word(&mut self) -> (&'a str, Range<usize>) {
        self.spaces();
        let start = self.at;
        let word = self.word(|c| !c.is_whitespace());
        (word, start..self.at.max(start + 1))
    }

    pub(crate) fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    pub(crate) fn spaces(&mut self) {
        self.at = self.line.len() - self.rest().trim_start().len();
    }

    pub(crate) fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    pub(crate) fn word(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let word = &rest[..rest.find(|c| !belongs(c)).unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    pub(crate) fn fail<T>(&self, span: Range<usize>, message: impl Into<String>, nearest: Vec<String>) -> Parsed<T> {
        Err(ParseError { line: self.line.to_string(), span, message: message.into(), nearest })
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

impl FromStr for Region {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser::new(text);
        let (region, _) = parser.region()?;
        parser.end()?;
        Ok(region)
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

impl FromStr for Target {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser::new(text);
        let target = parser.target()?;
        parser.no_features()?;
        parser.end()?;
        Ok(target)
    }
}

#[cfg(test)]
mod tests;
