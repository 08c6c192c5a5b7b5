//! The words of a call, before they are parsed.

use std::{ffi::OsString, iter};

use clap::Command;

/// Move the options that stand before a subcommand behind its name: it takes them as its own, and what follows there is
/// later and wins. A subcommand's name behind `--` or another prompt is text.
pub(super) fn subcommand_first(words: &mut [OsString], command: &Command) {
    let place = subcommand(words, command);
    if let Some(before) = place.and_then(|at| words.get_mut(1..=at)) {
        before.rotate_right(1);
    }
}

/// Where the subcommand stands, if nothing but options that are known stands before it.
fn subcommand(words: &[OsString], command: &Command) -> Option<usize> {
    let mut at = 1;
    loop {
        let word = words.get(at)?.to_string_lossy();
        let Some(option) = word.strip_prefix("--") else {
            return command.find_subcommand(&*word).map(|_| at);
        };
        let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let mut all = iter::once(command).chain(command.get_subcommands()).flat_map(Command::get_arguments);
        let known = all.find(|argument| argument.get_long() == Some(name))?;
        at += if known.get_action().takes_values() && value.is_none() { 2 } else { 1 };
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Args;

    #[test]
    fn options_are_moved_behind_a_subcommand_and_nothing_else_is() {
        for (given, expected) in [
            ("--model demo run x", "run --model demo x"),
            ("--model=demo --offline --json run x --top 3", "run --model=demo --offline --json x --top 3"),
            ("--model run run run", "run --model run run"),
            ("--tokens 1,2 hooks", "hooks --tokens 1,2"),
            ("run --model demo x", "run --model demo x"),
            ("--model demo -- run", "--model demo -- run"),
            ("-- run", "-- run"),
            ("--model demo text run", "--model demo text run"),
            ("--model run", "--model run"),
            ("--help run", "--help run"),
            ("--frobnicate run x", "--frobnicate run x"),
            ("-V run", "-V run"),
            ("--model", "--model"),
            ("", ""),
        ] {
            let mut words: Vec<OsString> =
                iter::once("pythia-tui").chain(given.split_whitespace()).map(OsString::from).collect();
            subcommand_first(&mut words, &Args::command());
            assert_eq!(words[1..].join(" ".as_ref()), expected, "{given}");
        }
    }
}
