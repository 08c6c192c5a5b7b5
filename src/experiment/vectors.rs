//! Vectors as text: `NAME=SOURCE`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use super::{ExperimentError, File, PromptParser, format::VectorLine, vector_file};
use crate::{
    fs,
    hooks::{Edit, HookPoint, ParseError, VectorDefinition, VectorDefinitions, VectorName, VectorSource},
    printed::{self, escaped},
    suggest::nearest,
};

/// What vectors are made with: the model's tokens, and the number of features of the dictionary at each hook.
#[derive(Clone, Copy)]
pub struct VectorParser<'a> {
    pub prompts: PromptParser<'a>,
    pub d_sae: &'a BTreeMap<HookPoint, usize>,
    pub prepend_bos: bool,
}

/// A vector as `--vector` takes it.
///
/// # Errors
/// What is wrong with it.
pub fn given_vector(parser: VectorParser<'_>, given: &str) -> Result<(VectorName, VectorDefinition), ExperimentError> {
    let wrong = |reason: String| ExperimentError::Vector { given: given.into(), reason };
    let parts = given.split_once('=');
    let (name, source) = parts.ok_or_else(|| wrong("expected NAME=SOURCE, such as happy=diff:glad|sad".into()))?;
    let name = name.trim().parse().map_err(|reason: String| wrong(escaped_reason(&reason)))?;
    Ok((name, definition(parser, source, Path::new("")).map_err(wrong)?))
}

/// A vector of a `[[vector]]` table.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn file_vector<V: super::View>(
    parser: VectorParser<'_>,
    file: &File<V>,
    line: &VectorLine,
) -> Result<(VectorName, VectorDefinition), ExperimentError> {
    let name = line.name.get_ref().parse();
    let name = name.map_err(|reason: String| file.wrong(line.name.span(), escaped_reason(&reason)))?;
    let read = definition(parser, line.source.get_ref(), file.directory());
    Ok((name, read.map_err(|reason| file.wrong(line.source.span(), reason))?))
}

fn escaped_reason(reason: &str) -> String {
    escaped(reason).into_owned()
}

/// An edit whose vector is among those that are defined.
///
/// # Errors
/// It is not.
pub(super) fn known_vector(line: &str, edit: Edit, vectors: &VectorDefinitions) -> Result<Edit, ParseError> {
    let Some(name) = edit.op.vector().filter(|name| !vectors.contains_key(name)) else { return Ok(edit) };
    let at = line.rfind(name.as_str()).unwrap_or(0);
    Err(ParseError {
        line: line.into(),
        span: at..at + name.as_str().len(),
        message: format!("there is no vector `{name}`; define it with --vector {name}=SOURCE"),
        nearest: nearest(name.as_str(), vectors.keys().map(VectorName::as_str)),
    })
}

/// What stands after a vector's name; paths are relative to `directory`.
fn definition(parser: VectorParser<'_>, text: &str, directory: &Path) -> Result<VectorDefinition, String> {
    let VectorParser { prompts: parser, d_sae, prepend_bos } = parser;
    let absolute = |path: &str| fs::absolute(&directory.join(fs::expanded(Path::new(path))));
    let token = |text: &str| parser.token(text).map(|token| token.id).map_err(|error| error.to_string());
    let prompt = |text: &str| -> Result<Vec<u32>, String> {
        let tokens = parser.prompt(text, prepend_bos).map_err(|error| format!("{:?}: {error}", escaped(text)))?;
        Ok(tokens.into_iter().map(|token| token.id).collect())
    };
    let mut written = text.to_string();
    let source = if let Some(prompts) = text.strip_prefix("diff:") {
        let (positive, negative) = prompts.split_once('|').ok_or("expected diff:POSITIVE|NEGATIVE, two prompts")?;
        if negative.contains('|') {
            return Err("more than one `|`: prompts that contain it come from a file, diff@FILE.jsonl".into());
        }
        VectorSource::Prompts { positive: vec![prompt(positive)?], negative: vec![prompt(negative)?] }
    } else if let Some(path) = text.strip_prefix("diff@") {
        let path = absolute(path);
        written = format!("diff@{}", path.display());
        pairs(&path, &prompt)?
    } else if let Some(text) = text.strip_prefix("unembed:") {
        VectorSource::Unembedding(token(text)?)
    } else if let Some(text) = text.strip_prefix("embed:") {
        VectorSource::Embedding(token(text)?)
    } else if let Some(text) = text.strip_prefix("sae:") {
        feature(text, d_sae)?
    } else {
        let (path, key) = text.rsplit_once('#').map_or((text, None), |(path, key)| (path, Some(key)));
        let path: PathBuf = absolute(path);
        written = path.display().to_string();
        if let Some(key) = key {
            written = format!("{written}#{key}");
        }
        VectorSource::Fixed(vector_file::read(&path, key)?.into())
    };
    Ok(VectorDefinition { source: Arc::new(source), text: written })
}

/// `HOOK#ID`, a feature of the dictionary at a hook.
fn feature(text: &str, d_sae: &BTreeMap<HookPoint, usize>) -> Result<VectorSource, String> {
    const EXPECTED: &str = "expected sae:HOOK#ID, a feature of the dictionary at a hook";
    let (name, id) = text.split_once('#').ok_or(EXPECTED)?;
    let hook = name.trim().parse::<HookPoint>().map_err(|error| escaped_reason(&error.to_string()))?;
    let known = || d_sae.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let Some(features) = d_sae.get(&hook) else {
        return Err(match d_sae.is_empty() {
            true => format!("there is no dictionary at {hook}: give --sae"),
            false => format!("there is no dictionary at {hook}, but at {}", known()),
        });
    };
    let found = id.trim().parse::<u32>().ok().filter(|id| (*id as usize) < *features);
    let last = features.saturating_sub(1);
    let wrong = || format!("`{}` is no feature of the dictionary at {hook}: expected 0 to {last}", escaped(id));
    Ok(VectorSource::Feature { hook, feature: found.ok_or_else(wrong)? })
}

/// A line of a file of prompts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    positive: Option<String>,
    negative: Option<String>,
}

/// Prompts of a JSONL file: each line has a positive one, a negative one, or both.
fn pairs(path: &Path, prompt: &dyn Fn(&str) -> Result<Vec<u32>, String>) -> Result<VectorSource, String> {
    const EXPECTED: &str = "expected {\"positive\": TEXT, \"negative\": TEXT}";
    let name = printed::path(path);
    let text = fs::read_text(path, fs::TEXT_LIMIT).map_err(|reason| format!("can't read {name}: {reason}"))?;
    let (mut positive, mut negative) = (vec![], vec![]);
    for (number, line) in fs::without_mark(&text).lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |reason: String| format!("{name}, line {}: {reason}", number + 1);
        let read: Pair = serde_json::from_str(line).map_err(|error| {
            let error = error.to_string();
            wrong(format!("{}; {EXPECTED}", escaped(error.split(" at line ").next().unwrap_or_default())))
        })?;
        if read.positive.is_none() && read.negative.is_none() {
            return Err(wrong(format!("no prompt; {EXPECTED}")));
        }
        for (texts, text) in [(&mut positive, read.positive), (&mut negative, read.negative)] {
            if let Some(text) = text {
                texts.push(prompt(&text).map_err(wrong)?);
            }
        }
    }
    if positive.is_empty() || negative.is_empty() {
        let lacks = if positive.is_empty() { "positive" } else { "negative" };
        return Err(format!("{name} has no {lacks} prompt; {EXPECTED} in each line"));
    }
    Ok(VectorSource::Prompts { positive, negative })
}
