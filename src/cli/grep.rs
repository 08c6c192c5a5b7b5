//! `grep`: the places of runs where a predicate holds.

use std::{cmp::Ordering, ops::ControlFlow, path::Path, sync::atomic::AtomicBool};

use anyhow::{Context, Result};

use super::{
    Usage,
    grep_args::{GrepArgs, Order},
    grep_output::{Listed, Output, Searched},
    prepare,
    progress::Bar,
    run::note_undefined_rows,
};
use crate::{
    analysis::descending,
    engine::{Control, Engine},
    experiment::{self, ExperimentError, File, Given, PromptParser, Setup},
    explorer::SavedView,
    fs,
    predicate::{Match, Predicate},
    printed,
};

/// Nothing was found: exit code 1, as grep's.
#[derive(Debug, thiserror::Error)]
#[error("nothing was found")]
pub(super) struct NothingFound;

pub(super) fn main(args: &GrepArgs) -> Result<()> {
    let predicate: Predicate = args.predicate.parse().map_err(|error| Usage(format!("the predicate: {error}")))?;
    let (mut engine, mut prompts) = prepared(args)?;
    // before anything is printed
    for Searched { line, spec, .. } in &prompts {
        let checked = engine.check_search(spec, &predicate);
        placed(args, *line, checked)?;
    }
    let mut output = Output::new(args, &engine, &predicate);
    let found = search(args, &mut engine, &predicate, &mut prompts, &mut output);
    let all = found.and_then(|()| Ok(output.finish(&prompts)?))?;
    if all == 0 { Err(NothingFound.into()) } else { Ok(()) }
}

fn search(
    args: &GrepArgs,
    engine: &mut Engine,
    predicate: &Predicate,
    prompts: &mut [Searched],
    output: &mut Output,
) -> Result<()> {
    let cancel = AtomicBool::new(false);
    let control = Control { cancel: &cancel, progress: &|_, _| {} };
    let most = args.first.unwrap_or(u64::MAX);
    let mut sorted = args.sort.map(|order| Sorted { order, most, listed: vec![] });
    let (mut all, mut undefined, mut failed) = (0, 0, None);
    for (number, prompt) in prompts.iter_mut().enumerate() {
        let Searched { line, spec, count } = prompt;
        let mut found = |found: &Match| {
            *count += 1;
            all += 1;
            let listed = || Listed { prompt: number, line: *line, found: found.clone() };
            let written = match &mut sorted {
                Some(sorted) => {
                    sorted.push(listed());
                    return ControlFlow::Continue(());
                }
                None if args.count => Ok(()),
                None => output.place(&listed()),
            };
            failed = written.err();
            if failed.is_some() || all >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let searched = engine.find(spec, predicate, &mut found, control);
        undefined += placed(args, *line, searched)?.undefined_rows;
        if let Some(error) = failed.take() {
            return Err(error.into());
        }
        if sorted.is_none() && all >= most {
            break;
        }
    }
    note_undefined_rows(undefined);
    for listed in sorted.into_iter().flat_map(Sorted::finish) {
        output.place(&listed)?;
    }
    Ok(())
}

/// Places in the order that was asked for; no more than are printed, and some.
struct Sorted {
    order: Order,
    most: u64,
    listed: Vec<Listed>,
}

impl Sorted {
    fn push(&mut self, listed: Listed) {
        /// Places that may be kept beside those that are printed.
        const SPARE: u64 = 1 << 16;
        self.listed.push(listed);
        if self.listed.len() as u64 >= self.most.saturating_add(SPARE) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let order = |a: &Listed, b: &Listed| -> Ordering {
            let (a, b) = (a.found.value, b.found.value);
            match self.order {
                Order::Descending => descending(a, b),
                Order::Ascending => a.is_nan().cmp(&b.is_nan()).then(a.total_cmp(&b)),
            }
        };
        // of equal values, the earlier place stays first
        self.listed.sort_by(order);
        self.listed.truncate(usize::try_from(self.most).unwrap_or(usize::MAX));
    }

    fn finish(mut self) -> Vec<Listed> {
        self.cut();
        self.listed
    }
}

/// The model, and what is searched.
fn prepared(args: &GrepArgs) -> Result<(Engine, Vec<Searched>)> {
    let file: Option<File<SavedView>> = args.edits.experiment.as_deref().map(File::read).transpose()?;
    let given = prepare::given(&args.prompt, &args.edits);
    let texts = args.prompts.as_deref().map(prompts).transpose()?;
    let with = |text: &str| Given { prompt: Some(text.into()), ..given.clone() };
    let (first, rest) = match texts.as_deref() {
        Some([(line, text), rest @ ..]) => ((Some(*line), with(text)), rest),
        Some([]) | None => ((None, given.clone()), &[][..]),
    };
    let bar = &mut Bar::on_stderr().into_callback();
    let prepared = experiment::prepare(&(&args.model).into(), &first.1, file.as_ref(), None, bar, &|| true);
    // what is wrong with the model has no line
    let line = first.0.filter(|_| matches!(prepared, Err(ExperimentError::Prompt { .. })));
    let prepared: prepare::Prepared = placed(args, line, prepared)?;
    prepare::print_notes(&prepared.engine.loaded.notes);
    let mut all = vec![Searched { line: first.0, spec: prepared.setup.spec(), count: 0 }];
    for (line, text) in rest {
        let given = Given { d_sae: prepared.engine.schema.dictionaries().clone(), ..with(text) };
        let setup = Setup::new(PromptParser::from(&prepared.engine.loaded), &given, file.as_ref());
        all.push(Searched { line: Some(*line), spec: placed(args, Some(*line), setup)?.spec(), count: 0 });
    }
    Ok((prepared.engine, all))
}

/// The lines of a file that hold a prompt, by number from 1.
fn prompts(path: &Path) -> Result<Vec<(usize, String)>> {
    let wrong = |reason: String| Usage(format!("--prompts {}: {reason}", printed::path(path)));
    let text = fs::read_text(path, fs::TEXT_LIMIT).map_err(|e| wrong(e.to_string()))?;
    let lines = fs::without_mark(&text).lines().enumerate().map(|(i, line)| (i + 1, line.to_string()));
    let prompts: Vec<(usize, String)> = lines.filter(|(_, line)| !line.trim().is_empty()).collect();
    if prompts.is_empty() {
        return Err(wrong("it holds no prompt; expected one a line".into()).into());
    }
    Ok(prompts)
}

/// An error with the line of the prompt that it is about.
fn placed<T, E: std::error::Error + Send + Sync + 'static>(
    args: &GrepArgs,
    line: Option<usize>,
    result: Result<T, E>,
) -> Result<T> {
    match (line, &args.prompts) {
        (Some(line), Some(path)) => result.with_context(|| format!("{}, line {line}", printed::path(path))),
        _ => Ok(result?),
    }
}
