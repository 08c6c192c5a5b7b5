//! The edit grammar, as a parser that knows the column it is at.

use std::ops::Range;

use super::{
    Axis, AxisSelection, Blocks, Edit, HookPoint, Op, Operation, ParseError, Selection, Slot, Target,
    op::{Arguments, Takes},
    point::{block_hook, global_hook, nearest},
};

/// Every operation as it is written, for messages.
fn operations() -> String {
    let all = Operation::ALL.map(|operation| format!("`{}`", operation.syntax()));
    match all.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        Some(_) | None => all.concat(),
    }
}

pub(super) struct Parser<'a> {
    line: &'a str,
    at: usize,
}

type Parsed<T> = Result<T, ParseError>;

impl<'a> Parser<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self { line: line.trim_end(), at: 0 }
    }

    pub(super) fn edit(&mut self) -> Parsed<Edit> {
        let target = self.target()?;
        self.spaces();
        let selection = if self.eat("[") { self.selection()? } else { Selection::default() };
        let op = self.op()?;
        Ok(Edit { target, selection, op })
    }

    pub(super) fn end(&mut self) -> Parsed<()> {
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
        let name = self.word(|c| !c.is_whitespace() && !"[]=+*".contains(c) || c == '*');
        // `*` ends a name where `*=` follows: `hook_embed*= 2`
        let name = name.strip_suffix('*').filter(|_| self.rest().starts_with('=')).unwrap_or(name);
        self.at = start + name.len();
        let span = start..self.at;
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

    fn blocks(&self, text: &str, span: Range<usize>) -> Parsed<Blocks> {
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

    fn selection(&mut self) -> Parsed<Selection> {
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
                None => return self.no_operation(word, span, "operation"),
            },
        };
        let with = match row.takes {
            Takes::Nothing => Arguments::default(),
            Takes::Number => {
                let (number, span) = self.next_word();
                Arguments { number: self.number(number, span)?, seed: 0 }
            }
            Takes::Deviation => self.deviation()?,
        };
        Ok((row.make)(with))
    }

    /// A standard deviation and perhaps a seed.
    fn deviation(&mut self) -> Parsed<Arguments> {
        let (sd, span) = self.next_word();
        let number = self.number(sd, span.clone())?;
        if !number.is_finite() || number < 0.0 {
            return self.fail(span, "a standard deviation is finite and not negative", vec![]);
        }
        self.spaces();
        if self.rest().is_empty() {
            return Ok(Arguments { number, seed: 0 });
        }
        let (word, span) = self.next_word();
        if word != "seed" {
            return self.fail(span, "only `seed N` can follow the standard deviation", vec![]);
        }
        let (seed, span) = self.next_word();
        match seed.parse() {
            Ok(seed) => Ok(Arguments { number, seed }),
            Err(_) => self.fail(span, "a seed is a whole number from 0", vec![]),
        }
    }

    /// `text` stands where a number or the word of an operation should.
    fn no_operation<T>(&self, text: &str, span: Range<usize>, what: &str) -> Parsed<T> {
        let words = Operation::ALL.into_iter().filter_map(|operation| operation.row().word).chain(["inf", "-inf"]);
        self.fail(span, format!("`{text}` is no {what}; operations are {}", operations()), nearest(text, words))
    }

    fn number(&self, text: &str, span: Range<usize>) -> Parsed<f32> {
        let wrong = |message: String| self.fail(span.clone(), message, vec![]);
        match text {
            "inf" | "+inf" => return Ok(f32::INFINITY),
            "-inf" => return Ok(f32::NEG_INFINITY),
            "" => return wrong(format!("a value is missing: {}", operations())),
            _ => {}
        }
        // Rust would also read `infinity` and `nan`; neither is in the grammar.
        match text.parse::<f32>() {
            Ok(0.0)
                if text.contains(|c: char| ('1'..='9').contains(&c))
                    && !text.trim_start_matches(['+', '-', '0', '.']).starts_with(['e', 'E']) =>
            {
                wrong(format!("{text} is too small for f32"))
            }
            Ok(x) if x.is_finite() && !text.contains(['n', 'N', 'y', 'Y']) => Ok(x),
            Ok(x) if x.is_infinite() && text.bytes().any(|b| b.is_ascii_digit()) => {
                wrong(format!("{text} is too large for f32"))
            }
            _ => self.no_operation(text, span.clone(), "number"),
        }
    }

    fn next_word(&mut self) -> (&'a str, Range<usize>) {
        self.spaces();
        let start = self.at;
        let word = self.word(|c| !c.is_whitespace());
        (word, start..self.at.max(start + 1))
    }

    fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    fn spaces(&mut self) {
        self.at = self.line.len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let word = &rest[..rest.find(|c| !belongs(c)).unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn fail<T>(&self, span: Range<usize>, message: impl Into<String>, nearest: Vec<String>) -> Parsed<T> {
        Err(ParseError { line: self.line.to_string(), span, message: message.into(), nearest })
    }
}

impl From<HookPoint> for Edit {
    /// Zero-ablation of a whole hook.
    fn from(point: HookPoint) -> Self {
        Edit { target: point.into(), selection: Selection::default(), op: Op::Set(0.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::BlockHook;

    #[test]
    fn the_designs_examples_round_trip() {
        for line in [
            "blocks.0.attn.hook_z[head=3] = 0",
            "blocks.*.attn.hook_z[head=0,2:4 pos=-1] *= 0.5",
            "blocks.2-4.hook_mlp_out = mean",
            "blocks.1.attn.hook_pattern[head=2 query=-1 key=0] = 0",
            "blocks.3.hook_resid_post[pos=1 d_model=17] += 4",
            "blocks.4.hook_resid_pre[pos=1] = patch",
            "blocks.*.ln1.hook_scale = freeze",
            "blocks.2.hook_mlp_out += noise 0.1 seed 7",
            "blocks.0,2,5.attn.hook_attn_scores[key=0] = -inf",
            "hook_embed[pos=1:] *= -2.5",
            "ln_final.hook_scale = inf",
        ] {
            let edit: Edit = line.parse().unwrap();
            assert_eq!(edit.to_string(), line);
        }
    }

    #[test]
    fn spaces_are_free_where_they_mean_nothing() {
        let tidy: Edit = "hook_embed[pos=1] *= 2".parse().unwrap();
        for line in ["hook_embed[pos=1]*=2", "  hook_embed [ pos=1 ]  *=  2 ", "hook_embed[pos=1] *=2"] {
            assert_eq!(line.parse::<Edit>().unwrap(), tidy, "{line}");
        }
        assert_eq!("hook_embed*= 2".parse::<Edit>().unwrap().op, Op::Scale(2.0));
        let all: Edit = "blocks.*.mlp.hook_post*=2".parse().unwrap();
        assert_eq!(all.target, Target::Block(Blocks::All, BlockHook::MlpPost));
    }

    #[test]
    fn errors_point_at_the_column_and_suggest() {
        let cases = [
            ("blocks.0.attn.hook_zz = 0", 9, "there is no hook", Some("blocks.0.attn.hook_z")),
            ("hook_embd = 0", 0, "there is no hook", Some("hook_embed")),
            ("blocks.0.attn.hook_z[haed=3] = 0", 21, "there is no axis", Some("head")),
            ("blocks.0.attn.hook_z[head=x] = 0", 26, "an index or a slice", None),
            ("blocks.0.attn.hook_z[head=1", 27, "no closing", None),
            ("blocks.0.attn.hook_z[head=1 head=2] = 0", 28, "twice", None),
            ("blocks.0.attn.hook_z[] = 0", 21, "empty", None),
            ("blocks.4-2.hook_mlp_out = 0", 7, "blocks are", None),
            ("blocks.x.hook_mlp_out = 0", 7, "blocks are", None),
            ("blocks.0.hook_mlp_out", 21, "an operation was expected", None),
            ("blocks.0.hook_mlp_out -= 1", 22, "an operation was expected", None),
            ("blocks.0.hook_mlp_out = maen", 24, "no number", Some("mean")),
            ("blocks.0.hook_mlp_out = nan", 24, "no number", None),
            ("blocks.0.hook_mlp_out = 1e99", 24, "too large", None),
            ("blocks.0.hook_mlp_out = 0 0", 26, "nothing more", None),
            ("blocks.0.hook_mlp_out += noise -1", 31, "not negative", None),
            ("blocks.0.hook_mlp_out += noise 1 sed 2", 33, "seed", None),
            ("blocks.0.hook_mlp_out =", 23, "missing", None),
            ("", 0, "starts with a hook name", None),
        ];
        for (line, column, message, suggestion) in cases {
            let error = line.parse::<Edit>().unwrap_err();
            assert_eq!(error.column(), column, "{error}");
            assert!(error.message.contains(message), "{error}");
            if let Some(suggestion) = suggestion {
                assert!(error.nearest.contains(&suggestion.to_string()), "{error}");
            }
        }
    }
}
