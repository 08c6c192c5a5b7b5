//! The order of the arguments, before they are parsed.

use std::{ffi::OsString, iter};

use clap::Command;

use crate::suggest::nearest;

/// Move options in front of a subcommand to just after its name, where clap takes them as the subcommand's own. Options
/// that are already there come later and win. A subcommand's name after `--` or after a prompt is text.
pub(super) fn subcommand_first(arguments: &mut [OsString], command: &Command) {
    let subcommand = find_subcommand(arguments, command);
    if let Some(before) = subcommand.and_then(|at| arguments.get_mut(1..=at)) {
        before.rotate_right(1);
    }
}

/// The index of the subcommand, if only known options come before it.
fn find_subcommand(arguments: &[OsString], command: &Command) -> Option<usize> {
    let mut at = 1;
    loop {
        let argument = arguments.get(at)?.to_string_lossy();
        let Some(option) = argument.strip_prefix("--") else {
            return command.find_subcommand(&*argument).map(|_| at);
        };
        let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let mut all = iter::once(command).chain(command.get_subcommands()).flat_map(Command::get_arguments);
        let known = all.find(|argument| argument.get_long() == Some(name))?;
        at += if known.get_action().takes_values() && value.is_none() { 2 } else { 1 };
    }
}

/// A word before a prompt that is nearly the name of a subcommand, with the names that it may stand for.
pub(super) fn mistyped_subcommand(arguments: &[OsString], command: &Command) -> Option<(String, Vec<String>)> {
    let mut words = arguments.iter().skip(1).map(|argument| argument.to_string_lossy());
    let first = words.find(|word| !word.starts_with('-'))?;
    // a prompt alone is a prompt, whatever it looks like
    words.find(|word| !word.starts_with('-'))?;
    let names = command.get_subcommands().map(Command::get_name);
    let nearest = nearest(&first, names);
    (!nearest.is_empty() && command.find_subcommand(&*first).is_none()).then(|| (first.into_owned(), nearest))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Args;

    #[test]
    fn a_mistyped_subcommand_is_recognised_before_a_prompt() {
        for (given, expected) in [
            (&["rn", "--model", "demo", "When Mary"][..], Some("run")),
            (&["swep", "Two tokens"], Some("sweep")),
            (&["rn"], None),
            (&["Two tokens"], None),
            (&["Two", "tokens"], None),
            (&["run", "x"], None),
        ] {
            let arguments: Vec<OsString> =
                iter::once("pythia-tui").chain(given.iter().copied()).map(OsString::from).collect();
            let found = mistyped_subcommand(&arguments, &Args::command()).map(|(_, names)| names.join(" "));
            assert_eq!(found.as_deref(), expected, "{given:?}");
        }
    }

    #[test]
    fn only_options_before_a_subcommand_move_after_it() {
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
            let mut arguments: Vec<OsString> =
                iter::once("pythia-tui").chain(given.split_whitespace()).map(OsString::from).collect();
            subcommand_first(&mut arguments, &Args::command());
            assert_eq!(arguments[1..].join(" ".as_ref()), expected, "{given}");
        }
    }
}
