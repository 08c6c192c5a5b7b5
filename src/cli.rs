//! The command line: arguments, the headless subcommands, and the start of the explorer.

mod args;
mod argument_order;
mod attribute;
mod autosave;
mod bench;
mod breakpoints;
mod check_cache;
mod checkpoints;
mod circuit;
mod circuit_args;
mod colors;
mod completions;
mod config;
mod corpus;
mod corpus_args;
mod dictionary_args;
mod doctor;
mod dose;
mod dose_args;
mod encoder;
mod event_loop;
mod explain;
mod explore;
mod features;
mod generate;
mod generate_args;
mod generate_output;
mod grep;
mod grep_args;
mod grep_output;
mod grid;
mod grid_args;
mod grid_output;
mod hooks;
mod interrupted;
mod lens;
mod lens_args;
mod loaded_model;
mod merge;
mod message;
mod models;
mod objective;
mod open_experiment;
mod prepare;
mod progress;
mod run;
mod save;
mod session;
mod shared_args;
mod structure;
mod sweep;
mod weights;
mod weights_args;

use std::{ffi::OsString, io::Write as _, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::{
    engine::{AttributionError, ExplainError, ExportError, FindError, in_pool},
    experiment::{CircuitFileError, CorpusError, ExperimentError},
    hooks::RunError,
    model::ModelError,
    panics, printed,
    suggest::did_you_mean,
    table::{MergeError, TableError},
};
use args::{Args, Command};

/// A mistake in how the program was called; the exit code is 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Run the program with these arguments. Exit codes: 0 success, 1 failure, 2 usage mistake; of `grep` 0 found, 1 not found,
/// 2 failure; of `generate` and `corpus` 130 after Ctrl-C.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    panics::keep_expected_ones_quiet();
    completions::answer(Args::command);
    let mut arguments: Vec<OsString> = args.into_iter().collect();
    argument_order::subcommand_first(&mut arguments, &Args::command());
    let args = match Args::try_parse_from(&arguments) {
        Ok(args) => args,
        Err(error) => return explain(error, &arguments),
    };
    // as with grep
    let failure = if matches!(args.command, Some(Command::Grep(_))) { 2 } else { 1 };
    let result = set_up(&args).and_then(|()| match args.command {
        Some(Command::Hooks(args)) => hooks::main(&args),
        Some(Command::Run(args)) => in_pool(|| run::main(&args)),
        Some(Command::Sweep(args)) => in_pool(|| sweep::main(&args)),
        Some(Command::Dose(args)) => in_pool(|| dose::main(&args)),
        Some(Command::Attribute(args)) => in_pool(|| attribute::main(&args)),
        Some(Command::Circuit(args)) => in_pool(|| circuit::main(&args)),
        Some(Command::Explain(args)) => in_pool(|| explain::main(&args)),
        Some(Command::Lens(args)) => in_pool(|| lens::main(&args)),
        Some(Command::Features(args)) => in_pool(|| features::main(&args)),
        Some(Command::Weights(args)) => in_pool(|| weights::main(&args)),
        Some(Command::Generate(args)) => in_pool(|| generate::main(&args)),
        Some(Command::Grep(args)) => in_pool(|| grep::main(&args)),
        Some(Command::Corpus(args)) => in_pool(|| corpus::main(&args)),
        Some(Command::Grid(args)) => in_pool(|| grid::main(&args)),
        Some(Command::Merge(args)) => merge::main(&args),
        Some(Command::Bench(args)) => in_pool(|| bench::main(&args)),
        Some(Command::Structure(args)) => structure::main(&args),
        Some(Command::Models(args)) => models::main(&args),
        Some(Command::Doctor(args)) => in_pool(|| doctor::main(&args)),
        Some(Command::Completions { shell }) => completions::main(shell),
        None => explore::main(&args.explore),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // the reader of our output, such as `head`, has enough
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<grep::NothingFound>() => ExitCode::from(1),
        Err(error) => {
            log::error!("{error:#}");
            printed::note(format_args!("{error:#}"));
            ExitCode::from(match error {
                error if is_usage(&error) => 2,
                error => error.downcast_ref().map_or(failure, interrupted::Interrupted::exit_code),
            })
        }
    }
}

/// Set up what the whole process shares: signals, threads and the log.
fn set_up(args: &Args) -> Result<()> {
    // exceeding a file size limit is then a write error, and does not end the process
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).context("catching SIGXFSZ")?;
    let model = match &args.command {
        Some(Command::Hooks(args)) => &args.model,
        Some(Command::Run(args)) => &args.model,
        Some(Command::Sweep(args)) => &args.model,
        Some(Command::Dose(args)) => &args.model,
        Some(Command::Attribute(args)) => &args.model,
        Some(Command::Circuit(args)) => &args.model,
        Some(Command::Explain(args)) => &args.model,
        Some(Command::Lens(args)) => &args.model,
        Some(Command::Features(args)) => &args.model,
        Some(Command::Weights(args)) => &args.model,
        Some(Command::Generate(args)) => &args.model,
        Some(Command::Grep(args)) => &args.model,
        Some(Command::Corpus(args)) => &args.model,
        Some(Command::Grid(args)) => &args.model,
        Some(Command::Bench(args)) => &args.model,
        Some(Command::Structure(args)) => &args.model,
        Some(Command::Doctor(args)) => &args.model,
        Some(Command::Models(_) | Command::Merge(_) | Command::Completions { .. }) => return Ok(()),
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
            .format(|line, record| {
                let now = humantime::format_rfc3339_millis(std::time::SystemTime::now());
                writeln!(line, "{now} {:<5} {}: {}", record.level(), record.target(), record.args())
            })
            .target(env_logger::Target::Pipe(Box::new(printed::Printed::new(file))))
            .try_init()
            .context("--log")?;
        log::info!("pythia-tui {} {:?}", env!("CARGO_PKG_VERSION"), std::env::args().skip(1).collect::<Vec<_>>());
    }
    Ok(())
}

/// Check the text of a configuration file; for fuzzing.
///
/// # Errors
/// What is wrong with it.
#[doc(hidden)]
pub fn check_settings(text: &str) -> Result<(), String> {
    config::Config::parse(text).map(drop).map_err(|(_, reason)| reason)
}

/// Print help, or what is wrong with the arguments. clap quotes arguments unescaped, so it parses escaped ones again.
fn explain(error: clap::Error, arguments: &[OsString]) -> ExitCode {
    if error.kind() == ErrorKind::ArgumentConflict
        && let Some((word, names)) = argument_order::mistyped_subcommand(arguments, &Args::command())
    {
        let word = printed::escaped(&word);
        printed::note(format_args!("there is no command `{word}`{}", did_you_mean(&names)));
        return ExitCode::from(2);
    }
    let arguments = arguments.iter().map(|argument| printed::escaped(&argument.to_string_lossy()).into_owned());
    // escaping can make arguments valid only if they were not UTF-8; the first error then quotes none of them
    let error = Args::try_parse_from(arguments).err().unwrap_or(error);
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
        || error.downcast_ref().is_some_and(AttributionError::is_usage)
        || error.downcast_ref().is_some_and(ExplainError::is_usage)
        || error.downcast_ref().is_some_and(FindError::is_usage)
        || error.downcast_ref().is_some_and(TableError::is_usage)
        || error.downcast_ref().is_some_and(CorpusError::is_usage)
        || error.downcast_ref().is_some_and(MergeError::is_usage)
        || error.is::<CircuitFileError>()
        || error.is::<ExportError>()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe))
}
