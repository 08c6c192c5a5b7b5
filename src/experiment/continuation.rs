//! How texts are continued in an experiment: the table `[continuation]`.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{GenerationSetting, GenerationSettings, wrong::Wrong};
use crate::{
    engine::Sampling,
    model::{Config, ModelError},
};

/// The settings that differ from the defaults, under the names that `generate` has for them, and the branches.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ContinuationTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<Spanned<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<Spanned<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<Spanned<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<Spanned<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_new_tokens: Option<Spanned<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<Spanned<i64>>,
    /// Branches of the text without the edits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unedited: Vec<BranchTable>,
    /// Branches of the text with the edits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub edited: Vec<BranchTable>,
}

/// A branch: how the text begins after the prompt, up to the token that was chosen. It goes on as the settings say.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BranchTable {
    /// Token ids.
    pub tokens: Spanned<Vec<u32>>,
    /// The sample that it belongs to, from 1.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub sample: Spanned<u64>,
}

fn first() -> Spanned<u64> {
    Spanned::new(0..0, 1)
}

fn is_first(sample: &Spanned<u64>) -> bool {
    *sample.get_ref() == 1
}

/// A branch, as an experiment keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptBranch {
    /// From 0.
    pub sample: u64,
    /// Up to the token that was chosen; not empty.
    pub tokens: Vec<u32>,
}

/// How texts are continued, checked against a model and a prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Continuations {
    pub settings: GenerationSettings,
    /// The branches of the text without the edits, and of the one with them.
    pub branches: [Vec<KeptBranch>; 2],
}

impl ContinuationTable {
    /// The table of these continuations; None if nothing differs from the defaults.
    #[must_use]
    pub fn new(continuations: &Continuations) -> Option<Self> {
        let Continuations { settings, branches } = continuations;
        let default = GenerationSettings::default();
        let table = |branch: &KeptBranch| BranchTable {
            tokens: Spanned::new(0..0, branch.tokens.clone()),
            sample: Spanned::new(0..0, branch.sample + 1),
        };
        let [unedited, edited] = branches.each_ref().map(|branches| branches.iter().map(table).collect());
        let (Sampling { temperature, top_k, top_p, seed }, before) = (settings.sampling, default.sampling);
        let whole = |number: u64, default: u64| {
            let number = (number != default).then(|| i64::try_from(number).unwrap_or(i64::MAX));
            number.map(|number| Spanned::new(0..0, number))
        };
        let table = Self {
            temperature: (temperature > before.temperature).then(|| Spanned::new(0..0, temperature)),
            top_k: top_k.and_then(|k| whole(k as u64, 0)),
            top_p: top_p.map(|share| Spanned::new(0..0, share)),
            seed: whole(seed, before.seed),
            max_new_tokens: whole(settings.count as u64, default.count as u64),
            samples: whole(settings.samples, default.samples),
            unedited,
            edited,
        };
        (table != Self::default()).then_some(table)
    }

    /// The settings.
    ///
    /// # Errors
    /// A value that a setting does not take.
    fn settings(&self) -> Result<GenerationSettings, Wrong> {
        fn text<T: ToString>(value: Option<&Spanned<T>>) -> Option<(String, Range<usize>)> {
            value.map(|value| (value.get_ref().to_string(), value.span()))
        }
        let mut settings = GenerationSettings::default();
        for name in GenerationSetting::ALL {
            let given = match name {
                GenerationSetting::Temperature => text(self.temperature.as_ref()),
                GenerationSetting::TopK => text(self.top_k.as_ref()),
                GenerationSetting::TopP => text(self.top_p.as_ref()),
                GenerationSetting::Seed => text(self.seed.as_ref()),
                GenerationSetting::Count => text(self.max_new_tokens.as_ref()),
                GenerationSetting::Samples => text(self.samples.as_ref()),
            };
            if let Some((text, at)) = given {
                settings.set(name, &text).map_err(|reason| Wrong { at, reason })?;
            }
        }
        Ok(settings)
    }

    /// The settings and the branches, checked against a model and a prompt of `prompt` tokens; `is_edited` says whether an edit
    /// is on.
    ///
    /// # Errors
    /// A value that a setting does not take; a branch without tokens, with more than the context holds or with one outside the
    /// vocabulary, of a sample that can't be, or of an edited text where no edit is on.
    pub fn check(&self, prompt: usize, config: &Config, is_edited: bool) -> Result<Continuations, Wrong> {
        let branch = |table: &BranchTable| -> Result<KeptBranch, Wrong> {
            let (tokens, sample) = (table.tokens.get_ref(), *table.sample.get_ref());
            let wrong = |reason: String| Wrong { at: table.tokens.span(), reason };
            let room = config.context.saturating_sub(prompt);
            if tokens.is_empty() {
                return Err(wrong("expected the tokens of a branch, up to the one that was chosen".into()));
            }
            if tokens.len() > room {
                let (n, context) = (tokens.len(), config.context);
                return Err(wrong(format!(
                    "{prompt} tokens of the prompt and these {n} are more than the context of {context}"
                )));
            }
            if let Some(id) = tokens.iter().find(|id| **id as usize >= config.d_vocab) {
                return Err(wrong(ModelError::NoSuchToken { id: *id, d_vocab: config.d_vocab }.to_string()));
            }
            if !(1..=GenerationSettings::SAMPLES).contains(&sample) {
                let reason = format!("sample {sample}: expected 1 to {}", GenerationSettings::SAMPLES);
                return Err(Wrong { at: table.sample.span(), reason });
            }
            Ok(KeptBranch { sample: sample - 1, tokens: tokens.clone() })
        };
        let all = |tables: &[BranchTable]| tables.iter().map(branch).collect::<Result<Vec<_>, _>>();
        if let (Some(first), false) = (self.edited.first(), is_edited) {
            let reason =
                "no edit is on, so there is no edited text with branches: move them to `continuation.unedited`";
            return Err(Wrong { at: first.tokens.span(), reason: reason.into() });
        }
        Ok(Continuations { settings: self.settings()?, branches: [all(&self.unedited)?, all(&self.edited)?] })
    }
}
