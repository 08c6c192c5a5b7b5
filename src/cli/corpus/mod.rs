//! `corpus`: an experiment over every prompt of a file.

mod collected;
mod finished;
mod progress;
mod ranges;
mod reading;
mod report;
mod rows;
mod setup;
mod shards;
mod times;

use std::{sync::atomic::AtomicBool, time::Instant};

use anyhow::{Context, Result};

use super::{Usage, corpus_args::CorpusArgs, interrupted::Signals, run::note_undefined_rows};
use crate::{
    engine::{Batch, Control, CorpusMeans, Measured, Watch, WatchHeads, groups},
    experiment::{Entry, PromptParser, Shard},
    hooks::{CorpusValues, RunError},
};
use collected::Collected;
use progress::Progress;
use reading::{LeftOut, Surveyed, place};
use report::Report;
use rows::Rows;
use setup::Set;
use times::{Times, ms};

/// Prompts that are read before they are gathered into batches.
const AT_ONCE: usize = 1024;

pub(super) fn main(args: &CorpusArgs) -> Result<()> {
    let began = Instant::now();
    let shard = match args.shard {
        Some(choice) => choice.resolve(|name| std::env::var(name).ok()).map_err(Usage)?,
        None => Shard::default(),
    };
    let mut times = Times::default();
    let mut set = Set::new(args)?;
    times.load = ms(began);
    let reading = Instant::now();
    let signals = Signals::catch()?;
    let cancel = signals.stopped.clone();
    let surveyed = Surveyed::of(&set.corpus, &set.engine, &set.task, shard, &cancel);
    let surveyed = match surveyed {
        Err(error) if is_cancelled(&error) => return Err(signals.interrupted(", before any prompt was run").into()),
        surveyed => surveyed?,
    };
    times.read = ms(reading);
    let averaging = Instant::now();
    let means = match means(&mut set, &surveyed, &cancel) {
        Err(error) if is_cancelled(&error) => return Err(signals.interrupted(", before any prompt was run").into()),
        means => means?,
    };
    times.means = ms(averaging);
    let running = Instant::now();
    let mut rows = Rows::open(args, &set, &surveyed)?;
    let mut collected = Collected::open(args, &set, &surveyed)?;
    let stopped = match run(&mut set, &surveyed, &means, (&mut rows, &mut collected), &cancel) {
        Err(error) if is_cancelled(&error) => true,
        done => {
            done?;
            false
        }
    };
    collected.save()?;
    times.run = ms(running);
    times.total = ms(began);
    let complete = rows.len() == surveyed.prompts;
    note_undefined_rows(collected.undefined_rows());
    let left = (!complete).then(|| surveyed.prompts - rows.len());
    Report { set: &set, surveyed: &surveyed, rows: &rows, collected: &collected, complete, times }.print(args)?;
    if stopped && let Some(left) = left {
        let on = match (&args.out, &args.save_to) {
            (None, None) => "; with --out FILE a stopped run goes on where it was",
            (Some(_), _) | (None, Some(_)) => "; start the same command again to go on",
        };
        return Err(signals.interrupted(format!(" with {left} of {} prompts left{on}", surveyed.prompts)).into());
    }
    rows.finish()?;
    collected.finish()
}

fn is_cancelled(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(RunError::Cancelled))
}

/// What `= mean@corpus` takes, from a pass over the corpus without edits.
fn means(set: &mut Set, surveyed: &Surveyed, cancel: &AtomicBool) -> Result<CorpusValues> {
    let Set { corpus, engine, task, .. } = set;
    let Some(mut sums) = CorpusMeans::of(engine, task) else { return Ok(CorpusValues::default()) };
    let mut whole = Surveyed::default();
    (whole.prompts, whole.positions) = surveyed.all;
    let mut progress = Progress::new("means over the corpus", &whole, 0);
    let loaded = engine.loaded.tokenizer.clone();
    let config = engine.loaded.model.config.clone();
    let parser = PromptParser { tokenizer: &loaded, config: &config };
    let mut entries = corpus.open(parser)?;
    loop {
        let chunk = entries.by_ref().take(AT_ONCE).collect::<Result<Vec<Entry>, _>>()?;
        if chunk.is_empty() {
            break;
        }
        // the contrast prompts do not matter here
        let prompts = chunk.iter().map(|entry| &entry.prompt).enumerate();
        for group in groups(prompts, |length| engine.corpus_rows(task, length)) {
            let tokens: Vec<Vec<u32>> = group.iter().map(|at| chunk[*at].prompt.tokens.clone()).collect();
            sums.add(engine, task, &tokens, Control { cancel, progress: &|_, _| {} })?;
            progress.add(&tokens.iter().map(Vec::len).collect::<Vec<_>>());
        }
    }
    Ok(sums.finish(engine)?)
}

/// Run every prompt that is not done.
fn run(
    set: &mut Set,
    surveyed: &Surveyed,
    means: &CorpusValues,
    (rows, collected): (&mut Rows, &mut Collected),
    cancel: &AtomicBool,
) -> Result<()> {
    let (tokenizer, config) = (set.engine.loaded.tokenizer.clone(), set.engine.loaded.model.config.clone());
    let parser = PromptParser { tokenizer: &tokenizer, config: &config };
    let corpus = set.corpus.clone();
    let mut dealer = surveyed.dealer();
    let is_own =
        |entry: &Result<Entry, _>| entry.as_ref().map_or(true, |entry| dealer.is_own(entry.prompt.tokens.len()));
    let mut entries = corpus.open(parser)?.filter(is_own);
    let mut progress = Progress::new("", surveyed, rows.len());
    loop {
        let chunk = entries.by_ref().take(AT_ONCE).collect::<Result<Vec<Entry>, _>>()?;
        if chunk.is_empty() {
            return Ok(());
        }
        let missing = |(_, entry): &(usize, &Entry)| !(rows.contains(entry.number) && collected.contains(entry.number));
        let missing: Vec<(usize, &Entry)> = chunk.iter().enumerate().filter(missing).collect();
        let (mut left_out, mut runnable) = (vec![], vec![]);
        for (at, entry) in missing {
            match LeftOut::of(&entry.prompt, entry.number, &set.task, surveyed) {
                Some(why) => left_out.push((entry, why)),
                None => runnable.push((at, &entry.prompt)),
            }
        }
        for (entry, why) in left_out {
            rows.add(entry, Err(why))?;
            collected.add_nothing(entry.number);
        }
        for group in groups(runnable, |length| set.engine.corpus_rows(&set.task, length)) {
            let entries: Vec<&Entry> = group.iter().map(|at| &chunk[*at]).collect();
            let measured =
                batch(set, surveyed, means, &entries, collected, cancel).with_context(|| match entries.as_slice() {
                    [first, ..] => place(&corpus, first.line),
                    [] => String::new(),
                })?;
            for (entry, measured) in entries.iter().zip(measured) {
                rows.add(entry, Ok(measured))?;
            }
            collected.save_now_and_then()?;
            progress.add(&entries.iter().map(|entry| entry.prompt.tokens.len()).collect::<Vec<_>>());
        }
    }
}

/// Run prompts of equal length, and collect what is asked for.
fn batch(
    set: &mut Set,
    surveyed: &Surveyed,
    means: &CorpusValues,
    entries: &[&Entry],
    collected: &mut Collected,
    cancel: &AtomicBool,
) -> Result<Vec<Measured>> {
    let control = Control { cancel, progress: &|_, _| {} };
    let mut batch = Batch { prompts: entries.iter().map(|entry| &entry.prompt).collect(), ..Batch::default() };
    for entry in entries {
        for (seed, other) in surveyed.others(entry.number, entry.prompt.tokens.len()).unwrap_or_default() {
            batch.resampled.entry(seed).or_default().push(other);
        }
    }
    let heads = collected.wants_scores().then(|| WatchHeads::new(&batch.prompts));
    let observer = heads.as_ref().map(|heads| heads as _);
    let watch = Watch { keep: collected.keeps(&set.engine), observer, ..Watch::nothing() };
    let outcome = set.engine.run_batch(&set.task, &batch, means, &watch, control)?;
    let effects = set.engine.ablate_heads_of(&set.task, &batch, means, control)?;
    collected.add(&set.engine, entries, &outcome, heads, &effects)?;
    Ok(outcome.measured)
}
