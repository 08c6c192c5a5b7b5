use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::prompts::GridPrompt;
use crate::{analysis::ObjectiveKind, experiment::text};

/// The table `[grid]` of an experiment, as written. What it leaves out is the experiment's.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GridTable {
    /// Models as `--model` takes them; `{seed}` in a name stands for each of `seeds`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Spanned<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revisions: Option<Spanned<Revisions>>,
    /// A file of prompts; its path is relative to the experiment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<Spanned<String>>,
    /// The metric, as `--metric` takes it, `loss` included.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text::option")]
    pub metric: Option<ObjectiveKind>,
    /// Prompts, before those of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompt: Vec<GridPrompt>,
}

/// Revisions by name, or `"all"` for the training checkpoints of the Pythia suite.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged, expecting = "expected a list of revisions, or \"all\" for the 154 checkpoints of the Pythia suite")]
pub enum Revisions {
    Listed(Vec<String>),
    All(All),
}

/// The word `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    All,
}
