//! What is collected over all prompts beside their metric, and the file that keeps it while a run goes on.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{
    super::corpus_args::CorpusArgs,
    ranges::Ranges,
    reading::Surveyed,
    rows::{made_of, out},
    setup::Set,
    shards::{Shard, Shards, name},
};
use crate::{
    engine::{BatchOutcome, Engine, HeadEffects, HeadSums, TopContexts, TopQuestion, WatchHeads},
    experiment::Entry,
    fs::{Readers, write_text},
    hooks::{Capture, HookPoint},
    printed,
    table::{TableError, fingerprint},
};

/// Sums and lists over the prompts so far.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// A hash of everything that they depend on.
    fingerprint: String,
    done: Ranges,
    scores: Option<HeadSums>,
    effects: Option<HeadEffects>,
    tops: Vec<TopContexts>,
    shards: Vec<Shard>,
    undefined_rows: usize,
}

pub(super) struct Collected {
    state: State,
    questions: Vec<TopQuestion>,
    shards: Option<Shards>,
    /// Where the state is kept; None if nothing is collected, or no file is written.
    path: Option<PathBuf>,
    kept: Instant,
}

/// The largest state that is read, in bytes.
const LARGEST: u64 = 1 << 32;

/// How often the state is kept.
const EVERY: Duration = Duration::from_secs(5);

impl Collected {
    /// What an earlier run collected, if anything.
    ///
    /// # Errors
    /// It is of another experiment, or can't be read.
    pub fn open(args: &CorpusArgs, set: &Set, surveyed: &Surveyed) -> Result<Self> {
        let dims = &set.engine.schema.dims;
        let asked = !set.tops.is_empty() || !set.saved.is_empty() || args.scores || set.task.ablation.is_some();
        let path = out(args).filter(|_| asked).map(|out| beside(&out));
        let made_of = format!(
            "1 {} {} {:?} {:?} {} {:?} {}",
            made_of(set, surveyed),
            args.scores,
            set.task.ablation,
            args.top_contexts,
            args.top,
            set.saved,
            name(args.save_dtype),
        );
        let state = State {
            fingerprint: fingerprint(&made_of),
            done: Ranges::default(),
            scores: args.scores.then(|| HeadSums::new(dims)),
            effects: set.task.ablation.is_some().then(|| HeadEffects::new(dims)),
            tops: set.tops.iter().map(|_| TopContexts::new(args.top.into())).collect(),
            shards: vec![],
            undefined_rows: 0,
        };
        let state = match &path {
            Some(path) => earlier(path, state)?,
            None => state,
        };
        let questions = set.tops.iter().map(|(_, question)| question.clone()).collect();
        let shards = args.save_to.as_deref().map(|directory| Shards::new(args, set, directory));
        Ok(Self { state, questions, shards, path, kept: Instant::now() })
    }

    fn is_nothing(&self) -> bool {
        self.questions.is_empty()
            && self.shards.is_none()
            && self.state.scores.is_none()
            && self.state.effects.is_none()
    }

    /// Whether a prompt is in what is collected.
    pub fn contains(&self, number: u64) -> bool {
        self.is_nothing() || self.state.done.contains(number)
    }

    pub fn wants_scores(&self) -> bool {
        self.state.scores.is_some()
    }

    /// What a run has to keep.
    pub fn keeps(&self, engine: &Engine) -> Capture {
        let tops = self.questions.iter().flat_map(|question| question.keeps(engine));
        let points: BTreeSet<HookPoint> = tops.chain(self.shards.iter().flat_map(Shards::points)).collect();
        if points.is_empty() { Capture::None } else { Capture::Only(points) }
    }

    /// A prompt that was not run.
    pub fn add_nothing(&mut self, number: u64) {
        self.state.done.insert(number);
    }

    /// Add what a batch gave; `effects` has the ablation's, prompt by prompt.
    ///
    /// # Errors
    /// Tensor errors; the disk is full.
    pub fn add(
        &mut self,
        engine: &Engine,
        entries: &[&Entry],
        outcome: &BatchOutcome,
        heads: Option<WatchHeads<'_>>,
        effects: &[Vec<f64>],
    ) -> Result<()> {
        self.state.undefined_rows += outcome.undefined_rows;
        // a prompt whose row was lost is run again, and is in the sums already
        let new: Vec<usize> = (0..entries.len()).filter(|at| !self.contains(entries[*at].number)).collect();
        for (question, tops) in self.questions.iter().zip(&mut self.state.tops) {
            for at in &new {
                let entry = entries[*at];
                let activations = question.activations(engine, &entry.prompt, &outcome.cache, *at)?;
                tops.add(&entry.prompt.tokens, &activations, entry.number, entry.line);
            }
        }
        if let (Some(sums), Some(heads)) = (&mut self.state.scores, heads) {
            sums.add(heads, &new);
        }
        if let Some(all) = &mut self.state.effects {
            new.iter().filter_map(|at| effects.get(*at)).for_each(|effects| all.add(effects));
        }
        if let Some(shards) = &mut self.shards {
            shards.add(entries, &new, outcome)?;
        }
        for at in new {
            self.state.done.insert(entries[at].number);
        }
        Ok(())
    }

    /// Keep the state if that was some time ago or, where activations are saved, if there is a file of them.
    ///
    /// # Errors
    /// The disk is full.
    pub fn save_now_and_then(&mut self) -> Result<()> {
        let due = match &self.shards {
            Some(shards) => shards.is_full(),
            None => self.kept.elapsed() > EVERY,
        };
        if due { self.save() } else { Ok(()) }
    }

    /// Keep the state.
    ///
    /// # Errors
    /// The disk is full.
    pub fn save(&mut self) -> Result<()> {
        self.kept = Instant::now();
        if let Some(shards) = &mut self.shards {
            self.state.shards.extend(shards.write(self.state.shards.len())?);
            shards.write_index(&self.state.shards, false)?;
        }
        let Some(path) = &self.path else { return Ok(()) };
        Ok(write_text(path, Readers::AsBefore, &serde_json::to_string(&self.state)?)?)
    }

    /// All prompts are done: write the index of the shards, and remove the file that a second start would resume from.
    ///
    /// # Errors
    /// The disk fails.
    pub fn finish(self) -> Result<()> {
        if let Some(shards) = &self.shards {
            shards.write_index(&self.state.shards, true)?;
            if shards.overflows() > 0 {
                let count = shards.overflows();
                printed::note(format_args!("note: {count} numbers are too large for f16 and were saved as infinite"));
            }
        }
        if let Some(path) = &self.path {
            fs::remove_file(path).with_context(|| format!("removing {}", printed::path(path)))?;
        }
        Ok(())
    }

    pub fn scores(&self) -> Option<&HeadSums> {
        self.state.scores.as_ref()
    }

    pub fn effects(&self) -> Option<&HeadEffects> {
        self.state.effects.as_ref()
    }

    pub fn tops(&self) -> &[TopContexts] {
        &self.state.tops
    }

    pub fn undefined_rows(&self) -> usize {
        self.state.undefined_rows
    }

    /// The number of files of activations.
    pub fn files(&self) -> Option<usize> {
        self.shards.as_ref().map(|_| self.state.shards.len())
    }
}

/// The state beside a table.
fn beside(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_os_string();
    name.push(".state");
    out.with_file_name(name)
}

/// The state of an earlier run of the same experiment, else `new`.
fn earlier(path: &Path, new: State) -> Result<State> {
    if !path.exists() {
        return Ok(new);
    }
    let text =
        crate::fs::read_text(path, LARGEST).map_err(|reason| TableError::Open { path: path.to_path_buf(), reason })?;
    let found: State = serde_json::from_str(&text)
        .map_err(|error| TableError::Read { path: path.to_path_buf(), reason: error.to_string() })?;
    if found.fingerprint == new.fingerprint { Ok(found) } else { Err(TableError::OtherPart(path.to_path_buf()).into()) }
}
