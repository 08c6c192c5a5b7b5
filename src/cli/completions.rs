//! Shell completions. The scripts ask the program itself, so cached models are completed too.

use std::{ffi::OsStr, io::Write};

use anyhow::{Context, Result};
use clap_complete::{
    Shell,
    engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter},
    env::{CompleteEnv, Shells},
};

use crate::{
    model::{Cache, pythia},
    printed::is_printable,
};

/// The environment variable with which a shell's script asks for completions.
const ASKED: &str = "PYTHIA_TUI_COMPLETE";

/// Write the script for a shell.
pub(super) fn main(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let name = env!("CARGO_PKG_NAME");
    let completer = shells.completer(&shell.to_string()).with_context(|| format!("no completions for {shell}"))?;
    completer.write_registration(ASKED, name, name, name, &mut script)?;
    std::io::stdout().write_all(&script)?;
    Ok(())
}

/// Answer and exit if a shell asks for completions.
pub(super) fn answer(command: fn() -> clap::Command) {
    CompleteEnv::with_factory(command).var(ASKED).complete();
}

fn matching(all: impl Iterator<Item = (String, String)>, typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let matching = all.filter(|(name, _)| name.starts_with(&*typed));
    matching.map(|(name, help)| CompletionCandidate::new(name).help(Some(help.into()))).collect()
}

/// For `--model`: the known sizes, what is in the cache, directories.
pub(super) fn models() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let cache = Cache::from_env();
        let demo = ("demo".into(), "in the program".into());
        let known = pythia::models().map(|name| {
            let here = !cache.revisions(&format!("EleutherAI/{name}")).is_empty();
            (name, if here { "in the cache" } else { "on the hub" }.into())
        });
        let cached = cache.models().into_keys().map(|repository| (repository, "in the cache".to_string()));
        let full = pythia::models().map(|name| (format!("EleutherAI/{name}"), String::new()));
        let full = full.filter(|_| typed.to_string_lossy().contains('/'));
        let mut all = matching(std::iter::once(demo).chain(known).chain(full).chain(cached), typed);
        all.dedup_by(|a, b| a.get_value() == b.get_value());
        all.extend(PathCompleter::dir().complete(typed));
        // the shell prints candidates unescaped
        all.retain(|candidate| candidate.get_value().to_string_lossy().chars().all(is_printable));
        all
    })
}

/// For `--device` and `--dtype`.
pub(super) fn words(words: &'static [&'static str]) -> ArgValueCompleter {
    ArgValueCompleter::new(move |typed: &OsStr| {
        matching(words.iter().map(|word| ((*word).to_string(), String::new())), typed)
    })
}

/// For `--revision`: the training steps of the suite.
pub(super) fn revisions() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let steps = pythia::steps().map(|step| (format!("step{step}"), String::new()));
        matching(std::iter::once(("main".into(), "the end of the training".into())).chain(steps), typed)
    })
}
