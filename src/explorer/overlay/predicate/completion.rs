//! Completions of predicates, and of the expressions of watches.

use crate::{
    explorer::overlay::completion::{in_selection, names, starting, target_axes, target_points},
    hooks::{Axis, BlockHook, HookPoint, Schema},
    predicate::{Comparison, Function},
};

/// What can follow at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    /// A function, a hook or, in a predicate, `not`.
    Quantity,
    /// A condition, after a quantity that is complete.
    Condition,
    /// `over`, after what a function is of.
    Over,
    /// An axis, after `over`.
    Axis,
    /// What a value is, after `is`.
    Is,
    /// `and` or `or`, after a condition.
    And,
    /// A number: nothing can be offered.
    Number,
    /// The end of a function, after an axis.
    Close,
}

/// A parenthesis that is open.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Open {
    Function(Function),
    Group,
}

/// A line up to the word that is being typed.
struct Before<'a> {
    open: Vec<Open>,
    next: Next,
    /// The hook that the innermost function is of.
    target: &'a str,
}

/// Lines that begin with `line`: functions and hooks where a quantity can begin, then axes, conditions, `and` and `or`. An
/// expression has no conditions.
pub(super) fn completions(line: &str, schema: &Schema, is_predicate: bool) -> Vec<String> {
    let begins = |(_, c): &(usize, char)| c.is_whitespace() || *c == '(';
    let word = |end: usize| {
        let before = line[..end].char_indices().rev().find(begins);
        before.map_or(0, |(at, c)| at + c.len_utf8())
    };
    if let Some(open) = line.rfind('[').filter(|open| line.rfind(']').is_none_or(|close| close < *open)) {
        let target = word(open);
        let is_score = Before::read(&line[..target]).is_some_and(|before| before.is_score());
        let mut axes = target_axes(&line[target..open], schema);
        axes.retain(|axis| !is_score || *axis == Axis::Head);
        return in_selection(line, &axes);
    }
    let at = match line.chars().next_back() {
        // a selection may have spaces
        Some(']') => line.rfind('[').map_or(0, word),
        Some(')') => line.len(),
        Some(_) | None => word(line.len()),
    };
    let (text, typed) = line.split_at(at);
    let Some(before) = Before::read(text) else { return vec![] };
    let innermost = before.open.last().copied();
    let within = match innermost {
        Some(Open::Function(function)) => Some(function),
        Some(Open::Group) | None => None,
    };
    // after a parenthesis, a word needs a space
    let gap = if text.ends_with(')') { format!("{text} ") } else { text.to_string() };
    let words = |all: &[&str]| starting(&gap, typed, all.iter().map(ToString::to_string));
    let closes = |lines: Vec<String>| -> Vec<String> {
        let close = within.filter(|_| !typed.is_empty()).map(|_| format!("{line})"));
        close.into_iter().chain(lines).collect()
    };
    match before.next {
        Next::Quantity => {
            let functions = Function::ALL.into_iter().filter(|function| may_be_in(*function, within));
            let functions = functions.map(|function| format!("{}(", function.name()));
            let not = (is_predicate && within.is_none()).then(|| "not ".to_string());
            let functions = starting(text, typed, functions.chain(not));
            let is_score = before.is_score();
            let works = |point: HookPoint| {
                schema.check(point).is_ok() && (!is_score || point.block_hook() == Some(BlockHook::Pattern))
            };
            let hooks = if typed.contains('[') { vec![] } else { names(typed, works) };
            let hooks = hooks.into_iter().map(|name| format!("{text}{name}")).collect();
            // inside a function, a hook is likelier than another function
            let all = if within.is_some() { [hooks, functions] } else { [functions, hooks] }.concat();
            if target_points(typed, schema).is_empty() { all } else { closes(all) }
        }
        Next::Over => {
            let over = if within.is_some_and(Function::reduces) { words(&["over "]) } else { vec![] };
            let close = text.ends_with(')').then(|| format!("{line})"));
            close.into_iter().chain(over).collect()
        }
        Next::Axis => {
            let axes = target_axes(before.target, schema);
            let done = typed == "all" || axes.iter().any(|axis| axis.name() == typed);
            let axes: Vec<&str> = axes.into_iter().map(Axis::name).chain(["all"]).collect();
            if done { closes(vec![]) } else { words(&axes) }
        }
        Next::Condition if !is_predicate => vec![],
        Next::Condition => {
            let signs = Comparison::ALL.map(|comparison| format!("{} ", comparison.sign()));
            starting(&gap, typed, signs.into_iter().chain(["is nan", "is inf"].map(String::from)))
        }
        Next::Is => words(&["nan", "inf"]),
        Next::And => words(&["and ", "or "]),
        Next::Number | Next::Close => vec![],
    }
}

/// Whether a function can be written inside another.
fn may_be_in(function: Function, outer: Option<Function>) -> bool {
    match outer {
        None => true,
        // they compare, or score, a hook as it is
        Some(Function::Delta) => false,
        Some(outer) => outer.score().is_none() && (outer != Function::Abs || function != Function::Abs),
    }
}

impl<'a> Before<'a> {
    /// None where no line like this can be completed.
    fn read(text: &'a str) -> Option<Self> {
        let mut before = Self { open: vec![], next: Next::Quantity, target: "" };
        let mut rest = text;
        loop {
            rest = rest.trim_start();
            let Some(first) = rest.chars().next() else { return Some(before) };
            let len = match first {
                '(' | ')' => 1,
                '<' | '>' | '=' | '!' => {
                    Comparison::ALL.into_iter().map(Comparison::sign).find(|sign| rest.starts_with(sign))?.len()
                }
                _ => word_len(rest),
            };
            let (word, after) = rest.split_at(len);
            // a function and its parenthesis are one
            let function = Function::ALL.into_iter().find(|function| function.name() == word);
            if let Some(function) = function.filter(|_| after.trim_start().starts_with('(')) {
                before.open.push(Open::Function(function));
                rest = after.trim_start().get(1..)?;
            } else {
                before.take(word)?;
                rest = after;
            }
        }
    }

    /// Go on over a word.
    fn take(&mut self, word: &'a str) -> Option<()> {
        self.next = match (self.next, word) {
            (Next::Quantity, "(") => {
                self.open.push(Open::Group);
                Next::Quantity
            }
            (Next::Quantity, "not") | (Next::And, "and" | "or") => Next::Quantity,
            (Next::Quantity, target) => {
                self.target = target;
                self.after_quantity()
            }
            (Next::Over, "over") => Next::Axis,
            (Next::Axis, _) => Next::Close,
            (Next::Over | Next::Close | Next::And, ")") => match self.open.pop()? {
                Open::Function(_) => self.after_quantity(),
                Open::Group => Next::And,
            },
            (Next::Condition, ")" | "(") | (Next::Over | Next::Close | Next::And, _) => return None,
            (Next::Condition, "is") => Next::Is,
            (Next::Condition, _) => Next::Number,
            (Next::Is | Next::Number, _) => Next::And,
        };
        Some(())
    }

    /// Whether the innermost function is a score of a head.
    fn is_score(&self) -> bool {
        matches!(self.open.last(), Some(Open::Function(function)) if function.score().is_some())
    }

    fn after_quantity(&self) -> Next {
        match self.open.last() {
            Some(Open::Function(_)) => Next::Over,
            Some(Open::Group) | None => Next::Condition,
        }
    }
}

/// A word, with its selection, as far as the next parenthesis, comparison or space.
fn word_len(text: &str) -> usize {
    let mut selecting = false;
    let end = text.char_indices().find(|(_, c)| {
        match c {
            '[' => selecting = true,
            ']' => selecting = false,
            _ => {}
        }
        !selecting && (c.is_whitespace() || "()<>=!".contains(*c))
    });
    end.map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hooks::Dims,
        model::ACTIVATIONS,
        predicate::{Predicate, Quantity},
    };

    fn schema() -> Schema {
        Schema::new(Dims {
            n_layers: 4,
            n_heads: 4,
            d_head: 32,
            d_model: 128,
            d_mlp: 512,
            d_vocab: 960,
            parallel: true,
            activation: ACTIVATIONS[0].words,
        })
    }

    fn of(line: &str) -> Vec<String> {
        completions(line, &schema(), true)
    }

    #[test]
    fn completions_lead_from_nothing_to_a_predicate() {
        assert_eq!(of("nor")[0], "norm(");
        assert_eq!(of("norm(blocks.1.hook_mlp_o"), ["norm(blocks.1.hook_mlp_out"]);
        assert_eq!(of("norm(mlp_o"), ["norm(blocks.*.hook_mlp_out"]);
        assert_eq!(of("norm(blocks.1.hook_mlp_out"), ["norm(blocks.1.hook_mlp_out)"]);
        assert_eq!(of("norm(blocks.1.hook_mlp_out[p"), ["norm(blocks.1.hook_mlp_out[pos="]);
        assert_eq!(of("norm(blocks.1.hook_mlp_out[pos=-1"), ["norm(blocks.1.hook_mlp_out[pos=-1]"]);
        assert_eq!(of("norm(blocks.1.hook_mlp_out[pos=-1]"), ["norm(blocks.1.hook_mlp_out[pos=-1])"]);
        assert_eq!(of("norm(hook_embed "), ["norm(hook_embed over "]);
        assert_eq!(of("norm(hook_embed over p"), ["norm(hook_embed over pos"]);
        assert_eq!(of("norm(hook_embed over pos"), ["norm(hook_embed over pos)"]);
        assert_eq!(of("max(norm(hook_embed)"), ["max(norm(hook_embed))", "max(norm(hook_embed) over "]);
        assert_eq!(of("norm(hook_embed)")[0], "norm(hook_embed) >= ");
        assert_eq!(of("norm(hook_embed) i"), ["norm(hook_embed) is nan", "norm(hook_embed) is inf"]);
        assert_eq!(of("norm(hook_embed) is n"), ["norm(hook_embed) is nan"]);
        assert!(of("hook_embed > ").is_empty());
        assert_eq!(of("hook_embed > 1 a"), ["hook_embed > 1 and "]);
        assert_eq!(
            of("hook_embed > 1 and nor"),
            [
                "hook_embed > 1 and norm(",
                "hook_embed > 1 and blocks.*.ln1.hook_normalized",
                "hook_embed > 1 and blocks.*.ln2.hook_normalized",
                "hook_embed > 1 and ln_final.hook_normalized"
            ]
        );
        // a score is of patterns, of which heads are selected
        assert_eq!(of("induction("), ["induction(blocks.*.attn.hook_pattern"]);
        assert_eq!(of("induction(blocks.*.attn.hook_pattern["), ["induction(blocks.*.attn.hook_pattern[head="]);
        assert_eq!(of("(hook_embed > 1) "), ["(hook_embed > 1) and ", "(hook_embed > 1) or "]);
        // an expression has no condition
        assert!(completions("norm(hook_embed) ", &schema(), false).is_empty());
        assert!(of("hook_embed ) ").is_empty() && of("norm hook").is_empty() && of("\u{e9}(").is_empty());
    }

    /// Whatever is taken leads to a line that can be read, or that is right as far as it goes.
    #[test]
    fn every_way_through_the_completions_is_right() {
        let schema = schema();
        let mut seed = 7u64;
        let mut random = |n: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap() % n
        };
        let mut read = 0;
        for round in 0..2000 {
            let is_predicate = round % 2 == 0;
            let mut line = String::new();
            for _ in 0..random(14) {
                let all = completions(&line, &schema, is_predicate);
                line = match all.len() {
                    0 if line.ends_with(['>', '<', '=']) => format!("{line} 1"),
                    0 if line.ends_with("= ") || line.ends_with("> ") || line.ends_with("< ") => format!("{line}1"),
                    0 if line.ends_with(' ') => break,
                    0 => format!("{line} "),
                    n => all[random(n)].clone(),
                };
                if line.ends_with('=') {
                    line += if line.ends_with("_model=") { "1" } else { "-1" };
                }
                let error = match is_predicate {
                    true => line.parse::<Predicate>().map(drop),
                    false => line.parse::<Quantity>().map(drop),
                };
                read += u32::from(error.is_ok());
                if let Err(error) = error
                    && line.rfind('[') <= line.rfind(']')
                {
                    assert!(error.column() + 1 >= line.trim_end().chars().count(), "`{line}`: {error}");
                }
            }
        }
        assert!(read > 500, "{read}");
    }
}
