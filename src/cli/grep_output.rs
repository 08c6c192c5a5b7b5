//! How `grep` prints: line by line, as places are found, or as one JSON object that is written piece by piece.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde_json::{Map, Value, json};

use super::grep_args::GrepArgs;
use crate::{
    analysis::short_number,
    engine::{Engine, Spec},
    model::Tokenizer,
    predicate::{Match, Predicate},
    printed::{self, Printed},
};

/// A prompt that is searched.
pub(super) struct Searched {
    /// Its line in the file of prompts, from 1.
    pub line: Option<usize>,
    pub spec: Spec,
    /// Places that were found.
    pub count: u64,
}

/// A place to be printed.
pub(super) struct Listed {
    /// Number of its prompt.
    pub prompt: usize,
    /// The prompt's line in the file of prompts.
    pub line: Option<usize>,
    pub found: Match,
}

pub(super) struct Output {
    to: Printed<BufWriter<StdoutLock<'static>>>,
    json: bool,
    /// Counts take the place of places.
    count: bool,
    /// What the JSON object says of the model.
    head: Map<String, Value>,
    tokenizer: std::sync::Arc<Tokenizer>,
    /// Places written.
    places: u64,
}

impl Output {
    pub(super) fn new(args: &GrepArgs, engine: &Engine, predicate: &Predicate) -> Self {
        let loaded = &engine.loaded;
        let head = [
            ("model", json!(loaded.name)),
            ("revision", json!(loaded.revision)),
            ("processing", json!(loaded.model.processing.name())),
            ("device", json!(loaded.model.place().to_string())),
            ("predicate", json!(predicate.to_string())),
        ];
        let head = head.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        let tokenizer = loaded.tokenizer.clone();
        Self { to: printed::stdout(), json: args.json, count: args.count, head, tokenizer, places: 0 }
    }

    /// Write a place: `blocks.3.attn.hook_pattern[head=2 query=13 key=0] 0.9731`.
    pub(super) fn place(&mut self, listed: &Listed) -> io::Result<()> {
        let Match { place, value } = &listed.found;
        if self.json {
            let begin = if self.places == 0 { self.begin() } else { ",".into() };
            write!(self.to, "{begin}{}", json(listed))?;
        } else {
            let line = listed.line.map(|line| format!("{line}:")).unwrap_or_default();
            writeln!(self.to, "{line}{place} {}", short_number(*value))?;
        }
        self.places += 1;
        Ok(())
    }

    /// The object up to its first place.
    fn begin(&self) -> String {
        let head = Value::Object(self.head.clone()).to_string();
        format!("{},\"matches\":[", head.trim_end_matches('}'))
    }

    /// Write what comes after the places; how many were found.
    pub(super) fn finish(mut self, prompts: &[Searched]) -> io::Result<u64> {
        let count: u64 = prompts.iter().map(|prompt| prompt.count).sum();
        if self.json {
            let text = |id: &u32| json!({"id": id, "text": self.tokenizer.token(*id)});
            let prompt = |Searched { line, spec, count }: &Searched| {
                let tokens: Vec<Value> = spec.tokens.iter().map(text).collect();
                json!({"line": line, "tokens": tokens, "count": count})
            };
            let prompts: Vec<Value> = prompts.iter().map(prompt).collect();
            if self.count {
                let head = Value::Object(self.head.clone()).to_string();
                write!(self.to, "{}", head.trim_end_matches('}'))?;
            } else {
                let begin = if self.places == 0 { self.begin() } else { String::new() };
                write!(self.to, "{begin}]")?;
            }
            writeln!(self.to, ",\"count\":{count},\"prompts\":{}}}", Value::Array(prompts))?;
        } else if self.count {
            for Searched { line, count, .. } in prompts {
                let line = line.map(|line| format!("{line}:")).unwrap_or_default();
                writeln!(self.to, "{line}{count}")?;
            }
        }
        self.to.flush()?;
        Ok(count)
    }
}

/// A place as JSON, which has no notation for numbers that are not finite.
fn json(listed: &Listed) -> Value {
    let Match { place, value } = &listed.found;
    let index: Map<String, Value> = place.at.iter().map(|(axis, at)| (axis.name().to_string(), json!(at))).collect();
    let mut json = json!({
        "prompt": listed.prompt,
        "hook": place.point.to_string(),
        "index": index,
        "place": place.to_string(),
        "value": value,
    });
    if !value.is_finite() {
        json["nonfinite"] = match value {
            value if value.is_nan() => "nan",
            value if *value > 0.0 => "inf",
            _ => "-inf",
        }
        .into();
    }
    json
}
