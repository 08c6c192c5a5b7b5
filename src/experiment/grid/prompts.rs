//! The prompts of a grid.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{fs, printed::escaped};

/// The largest file of prompts.
const LIMIT: u64 = 256 << 20;

/// A prompt with what is measured on it. What it leaves out is the experiment's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GridPrompt {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Token ids, which override the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contrast: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contrast_tokens: Option<Vec<u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Empty to measure the target's logit alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distractor: Option<String>,
}

impl GridPrompt {
    /// About how many tokens it has, without a tokenizer: English has 4 bytes a token.
    pub(super) fn estimated_tokens(&self) -> usize {
        let of = |ids: &Option<Vec<u32>>, text: &Option<String>| match (ids, text) {
            (Some(ids), _) => ids.len(),
            (None, Some(text)) => text.len() / 4 + 1,
            (None, None) => 0,
        };
        of(&self.tokens, &self.prompt) + of(&self.contrast_tokens, &self.contrast)
    }
}

/// The prompts of a file: of `.jsonl` an object a line, of `.csv` a row with the columns of EAP-IG's tables, else a line each.
/// Empty lines are left out.
///
/// # Errors
/// The file can't be read, or a line holds no prompt: the line from 1, and why.
pub(super) fn read(path: &Path) -> Result<Vec<GridPrompt>, (Option<usize>, String)> {
    let text = fs::read_text(path, LIMIT).map_err(|reason| (None, reason.to_string()))?;
    let text = fs::without_mark(&text);
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    let prompts = match ending.as_deref() {
        Some("jsonl" | "ndjson") => lines(text).map(|(at, line)| object(line).map_err(|e| (Some(at), e))).collect(),
        Some("csv") => pairs(text),
        _ => {
            Ok(lines(text).map(|(_, line)| GridPrompt { prompt: Some(line.into()), ..GridPrompt::default() }).collect())
        }
    }?;
    if prompts.is_empty() { Err((None, "it holds no prompt".into())) } else { Ok(prompts) }
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.trim().is_empty())
}

fn object(line: &str) -> Result<GridPrompt, String> {
    const EXPECTED: &str = "expected {\"prompt\": TEXT, \"target\": TOKEN}";
    let prompt: GridPrompt = serde_json::from_str(line).map_err(|error| {
        let error = error.to_string();
        format!("{}; {EXPECTED}", escaped(error.split(" at line ").next().unwrap_or_default()))
    })?;
    match prompt {
        GridPrompt { prompt: None, tokens: None, .. } => Err(format!("no prompt; {EXPECTED}")),
        prompt => Ok(prompt),
    }
}

/// A line of EAP-IG's tables.
#[derive(Deserialize)]
struct Pair {
    clean: String,
    corrupted: String,
    correct_idx: u32,
    incorrect_idx: Option<u32>,
}

fn pairs(text: &str) -> Result<Vec<GridPrompt>, (Option<usize>, String)> {
    const EXPECTED: &str = "expected the columns clean, corrupted, correct_idx, incorrect_idx";
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    let pair = |row: Result<Pair, csv::Error>| {
        let row = row.map_err(|error| {
            let line = error.position().and_then(|at| usize::try_from(at.line()).ok());
            (line, format!("{}; {EXPECTED}", escaped(&error.to_string())))
        })?;
        Ok(GridPrompt {
            prompt: Some(row.clean),
            contrast: Some(row.corrupted),
            target: Some(format!("#{}", row.correct_idx)),
            distractor: Some(row.incorrect_idx.map_or_else(String::new, |id| format!("#{id}"))),
            ..GridPrompt::default()
        })
    };
    rows.deserialize().map(pair).collect()
}
