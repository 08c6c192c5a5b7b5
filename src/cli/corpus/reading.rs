//! The first pass over a corpus: how large it is, whether every prompt can be run, and which prompts others are resampled from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Result;

use crate::{
    analysis::ObjectiveKind,
    engine::{CorpusPrompt, CorpusTask, Engine},
    experiment::{Corpus, CorpusError, Dealer, PromptParser, Shard},
    hooks::{Op, Plan, RunError, random_bits},
};

/// What the first pass found.
#[derive(Default)]
pub(super) struct Surveyed {
    pub shard: Shard,
    /// The prompts of the shard, and their tokens.
    pub prompts: u64,
    pub positions: u64,
    /// The same of the whole corpus.
    pub all: (u64, u64),
    /// A SHA-256 over every prompt, in hexadecimal.
    pub digest: String,
    /// For each seed of `= resample`.
    donors: BTreeMap<u64, Donors>,
}

/// Prompts that others are resampled from, by their length.
#[derive(Default)]
struct Donors(BTreeMap<usize, Vec<Donor>>);

struct Donor {
    /// A random number, by which those that are kept are chosen.
    draw: u64,
    number: u64,
    tokens: Vec<u32>,
}

/// About how many tokens of donors of one length are kept for a seed; of each length at least [`FEWEST`].
const KEPT: usize = 16_384;
const FEWEST: usize = 8;

impl Donors {
    /// Keep a random sample of the prompts of each length.
    fn add(&mut self, seed: u64, number: u64, tokens: &[u32]) {
        let most = (KEPT / tokens.len().max(1)).max(FEWEST);
        let draw = random_bits(seed, number);
        let kept = self.0.entry(tokens.len()).or_default();
        if kept.len() == most && kept.last().is_some_and(|last| last.draw < draw) {
            return;
        }
        let at = kept.partition_point(|donor| donor.draw < draw);
        kept.insert(at, Donor { draw, number, tokens: tokens.to_vec() });
        kept.truncate(most);
    }

    /// Another prompt that is as long as the one with this number.
    fn other(&self, seed: u64, number: u64, length: usize) -> Option<&[u32]> {
        let kept = self.0.get(&length)?;
        let others = kept.iter().filter(|donor| donor.number != number);
        let count = others.clone().count() as u64;
        // not the bits that chose the sample
        let draw = random_bits(!seed, number).checked_rem(count)?;
        others.map(|donor| donor.tokens.as_slice()).nth(usize::try_from(draw).ok()?)
    }
}

impl Surveyed {
    /// Read the whole corpus once, of which a shard is to be run.
    ///
    /// # Errors
    /// A line that can't be read as a prompt; no prompt; an edit that some prompt can't carry out; cancellation.
    pub fn of(corpus: &Corpus, engine: &Engine, task: &CorpusTask, shard: Shard, cancel: &AtomicBool) -> Result<Self> {
        let mut found = Self { shard, ..Self::default() };
        let mut dealer = found.dealer();
        let edits = task.edits(&engine.schema.dims);
        let seeds: BTreeSet<u64> = edits.iter().filter_map(|edit| seed(edit.op)).collect();
        found.donors = seeds.into_iter().map(|seed| (seed, Donors::default())).collect();
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        let mut checked = BTreeSet::new();
        for entry in corpus.open(PromptParser::from(&engine.loaded))? {
            let entry = entry?;
            if cancel.load(Ordering::Relaxed) {
                return Err(RunError::Cancelled.into());
            }
            let CorpusPrompt { tokens, contrast, .. } = &entry.prompt;
            let contrast = contrast.as_ref().or(task.spec.contrast.as_ref()).map(Vec::len);
            // whether an edit fits depends on the lengths alone; vectors are computed later
            if checked.insert((tokens.len(), contrast)) {
                let fits = Plan::resolve(&edits, &engine.schema, tokens.len(), contrast);
                fits.map_err(|error| anyhow::Error::from(RunError::from(error)).context(place(corpus, entry.line)))?;
            }
            digest.update(format!("{:?}", entry.prompt).as_bytes());
            for (seed, donors) in &mut found.donors {
                donors.add(*seed, entry.number, tokens);
            }
            found.all.0 += 1;
            found.all.1 += tokens.len() as u64;
            if dealer.is_own(tokens.len()) {
                found.prompts += 1;
                found.positions += tokens.len() as u64;
            }
        }
        if found.all.0 == 0 {
            return Err(CorpusError::empty(&corpus.path).into());
        }
        found.digest = digest.finish().as_ref().iter().fold(String::new(), |mut hex, byte| {
            // writing to a string can't fail
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Ok(found)
    }

    /// Finds the prompts of the shard among those of the corpus, in their order.
    pub fn dealer(&self) -> Dealer {
        Dealer::new(self.shard)
    }

    /// For each seed, what a prompt is resampled from. None if no other prompt is as long.
    pub fn others<'a>(&'a self, number: u64, length: usize) -> Option<BTreeMap<u64, &'a [u32]>> {
        let other = |(seed, donors): (&u64, &'a Donors)| Some((*seed, donors.other(*seed, number, length)?));
        self.donors.iter().map(other).collect()
    }
}

fn seed(op: Op) -> Option<u64> {
    match op {
        Op::Resample { seed } => Some(seed),
        Op::Set(_)
        | Op::Scale(_)
        | Op::Add(_)
        | Op::Mean
        | Op::Patch
        | Op::Freeze
        | Op::Noise { .. }
        | Op::Steer { .. }
        | Op::Project(_)
        | Op::CorpusMean => None,
    }
}

/// A place in a corpus, for messages.
pub(super) fn place(corpus: &Corpus, line: u64) -> String {
    format!("{}, line {line}", crate::printed::path(&corpus.path))
}

/// Why a prompt has no metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftOut {
    NoNextToken,
    NoOther,
}

impl LeftOut {
    /// Why a prompt can't be measured; None if it can.
    pub fn of(prompt: &CorpusPrompt, number: u64, task: &CorpusTask, surveyed: &Surveyed) -> Option<Self> {
        let length = prompt.tokens.len();
        match () {
            () if task.question.metric == ObjectiveKind::Loss && length < 2 => Some(Self::NoNextToken),
            () if surveyed.others(number, length).is_none() => Some(Self::NoOther),
            () => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::NoNextToken => "no next token",
            Self::NoOther => "no other prompt of its length",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_prompt_of_the_length_is_chosen_at_random() {
        let mut donors = Donors::default();
        for number in 0..100u32 {
            donors.add(3, number.into(), &[number; 7]);
        }
        donors.add(3, 100, &[1; 8]);
        let all: Vec<u32> = (0..100).map(|number| donors.other(3, number, 7).unwrap()[0]).collect();
        assert!(all.iter().zip(0..).all(|(other, number): (&u32, u32)| *other != number));
        assert!(all.iter().collect::<BTreeSet<_>>().len() > 40, "{all:?}");
        assert!(donors.other(3, 100, 8).is_none(), "it is the only one of its length");
        assert!(donors.other(3, 0, 9).is_none());
    }

    #[test]
    fn the_sample_is_bounded_and_does_not_depend_on_the_order_of_the_lengths() {
        let mut donors = Donors::default();
        for number in 0..5000u32 {
            donors.add(0, number.into(), &[number; 1024]);
        }
        let kept = &donors.0[&1024];
        assert_eq!(kept.len(), KEPT / 1024);
        let mut draws: Vec<u64> = (0..5000).map(|number| random_bits(0, number)).collect();
        draws.sort_unstable();
        assert!(kept.iter().zip(draws).all(|(donor, draw)| donor.draw == draw));
    }
}
