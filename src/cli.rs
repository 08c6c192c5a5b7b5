//! The command line: raw arguments, lowered to a validated configuration, and the headless subcommands.

mod args;
mod autosave;
mod bench;
mod colors;
mod completions;
mod config;
mod encoder;
mod explore;
mod files;
mod hooks;
mod models;
mod opening;
mod prepare;
mod progress;
mod run;
mod structure;
mod subject;
mod sweep;
mod travel;
mod words;

use std::{ffi::OsString, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::{
    engine::{ExportError, in_pool},
    experiment::ExperimentError,
    hooks::RunError,
    model::ModelError,
    panics, printed,
};
use args::{Args, Command};

/// A mistake in how the program was called: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Parse, run, and report; the process's exit code: 0 done, 1 failed, 2 usage.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    panics::keep_expected_ones_quiet();
    completions::answer(Args::command);
    let mut words: Vec<OsString> = args.into_iter().collect();
    words::subcommand_first(&mut words, &Args::command());
    let args = match Args::try_parse_from(&words) {
        Ok(args) => args,
        Err(error) => return explain(error, &words),
    };
    let result = set_up(&args).and_then(|()| match args.command {
        Some(Command::Hooks(args)) => hooks::main(&args),
        Some(Command::Run(args)) => in_pool(|| run::main(&args)),
        Some(Command::Sweep(args)) => in_pool(|| sweep::main(&args)),
        Some(Command::Bench(args)) => in_pool(|| bench::main(&args)),
        Some(Command::Structure(args)) => structure::main(&args),
        Some(Command::Models(args)) => models::main(&args),
        Some(Command::Completions { shell }) => completions::main(shell),
        None => explore::main(&args.explore),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // whoever read our output has had enough of it
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            printed::note(format_args!("{error:#}"));
            ExitCode::from(if is_usage(&error) { 2 } else { 1 })
        }
    }
}

/// What holds for the whole process: signals, threads, and the log.
fn set_up(args: &Args) -> Result<()> {
    // a file that reaches its size limit is an error where it is written, and no end
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).context("catching SIGXFSZ")?;
    let model = match &args.command {
        Some(Command::Hooks(args)) => &args.model,
        Some(Command::Run(args)) => &args.model,
        Some(Command::Sweep(args)) => &args.model,
        Some(Command::Bench(args)) => &args.model,
        Some(Command::Structure(args)) => &args.model,
        Some(Command::Models(_) | Command::Completions { .. }) => return Ok(()),
        None => &args.explore.model,
    };
    if let Some(threads) = model.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global().context("--threads")?;
    }
    if let Some(path) = &model.log {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("--log {}", printed::path(path)))?;
        env_logger::Builder::new()
            .parse_filters("info,pythia_tui=debug")
            .target(env_logger::Target::Pipe(Box::new(printed::Printed::new(file))))
            .try_init()
            .context("--log")?;
        log::info!("pythia-tui {} {:?}", env!("CARGO_PKG_VERSION"), std::env::args().skip(1).collect::<Vec<_>>());
    }
    Ok(())
}

/// Whether a text can be a configuration file, for fuzzing.
///
/// # Errors
/// Why not.
#[doc(hidden)]
pub fn check_settings(text: &str) -> Result<(), String> {
    config::Config::parse(text).map(drop).map_err(|(_, reason)| reason)
}

/// Help, or what is wrong with the arguments. clap repeats them as they are beside its own colours, so that what is not
/// printable is escaped before it sees them.
fn explain(error: clap::Error, words: &[OsString]) -> ExitCode {
    let words = words.iter().map(|word| printed::escaped(&word.to_string_lossy()).into_owned());
    // arguments that are only right once they are escaped were not UTF-8, and then clap repeats nothing
    let error = Args::try_parse_from(words).err().unwrap_or(error);
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(2),
    }
}

fn is_usage(error: &anyhow::Error) -> bool {
    error.is::<Usage>()
        || error.downcast_ref().is_some_and(ModelError::is_usage)
        || error.downcast_ref().is_some_and(ExperimentError::is_usage)
        || error.downcast_ref().is_some_and(RunError::is_usage)
        || error.is::<ExportError>()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe))
}
