//! An experiment as text: everything that decides a run, and where one looked at it. TOML, versioned, to be edited by hand.

use std::{collections::BTreeSet, fmt::Display, ops::Range, str::FromStr};

use serde::{Deserialize, Serialize};
use toml::{Spanned, de::DeTable};

use super::{Distractor, EditLine, Quantity, State, Tab, Token, editing::change_edits, update::run_again};
use crate::{
    engine::{Compare, Map, Metric, Spec},
    hooks::{Edit, HookPoint},
    model::Processing,
    printed::escaped,
};

/// The version of the format that is written, and the latest that is read.
pub const VERSION: i64 = 1;

/// What stands above the experiment in its file.
const HEADING: &str = "# An experiment of pythia-tui. `pythia-tui --experiment FILE` explores it, `pythia-tui run --experiment FILE` runs it.\n";

/// What a file holds. Keys that are left out have their usual values.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Experiment {
    pub version: i64,
    /// As `--model` takes it.
    pub model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    #[serde(default = "processed", with = "text")]
    pub processing: Processing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The ids that are run, as `--tokens` takes them; without them, those of the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Spanned<Vec<u32>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast_tokens: Option<Spanned<Vec<u32>>>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub prepend_bos: bool,
    /// Opt-in hooks that are on, as `--enable` takes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enable: Vec<Spanned<String>>,
    /// What a sweep measures.
    #[serde(default = "kl", with = "text")]
    pub metric: Metric,
    /// As `--target` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Spanned<String>>,
    /// As `--distractor` takes it; empty where the target's logit is looked at alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distractor: Option<Spanned<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edit: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<Spanned<Place>>,
}

/// An edit of the list.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub line: Spanned<String>,
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub on: bool,
}

/// What one looked at.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    #[serde(with = "text")]
    pub tab: Tab,
    #[serde(with = "text")]
    pub hook: HookPoint,
    #[serde(default)]
    pub head: usize,
    #[serde(default)]
    pub position: usize,
    #[serde(default)]
    pub key: usize,
    #[serde(default = "edited", with = "text")]
    pub compare: Compare,
    #[serde(default = "zero", with = "text")]
    pub map: Map,
    /// What Training draws.
    #[serde(default = "probability", with = "text")]
    pub number: Quantity,
}

fn processed() -> Processing {
    Processing::Folded
}

fn kl() -> Metric {
    Metric::Kl
}

fn edited() -> Compare {
    Compare::Edited
}

fn zero() -> Map {
    Map::Ablate(crate::hooks::Op::Set(0.0))
}

fn probability() -> Quantity {
    Quantity::Probability
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_true(value: &bool) -> bool {
    *value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Values that are written as they are displayed, and read by their parser.
mod text {
    use super::{Display, FromStr};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|error: T::Err| D::Error::custom(error.to_string().lines().next().unwrap_or_default()))
    }
}

/// What is wrong with a file, and where: bytes of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub at: Range<usize>,
    pub reason: String,
}

impl Wrong {
    /// Line and column of the place, from 1.
    #[must_use]
    pub fn place(&self, text: &str) -> (usize, usize) {
        let before = text.get(..self.at.start).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }
}

impl Experiment {
    /// # Errors
    /// No TOML, a version that is not known, a key that is not known or a value that it does not take, a line that is no
    /// edit.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let wrong =
            |e: toml::de::Error| Wrong { at: e.span().unwrap_or(0..0), reason: escaped(e.message()).into_owned() };
        // the version first: of a newer one, nothing else need be as it is here
        let table = DeTable::parse(text).map_err(wrong)?;
        let version = table.get_ref().get("version");
        let at = version.map_or(0..0, Spanned::span);
        let number = version.and_then(|v| v.get_ref().as_integer()).and_then(|v| v.as_str().parse::<i64>().ok());
        let reason = match number {
            Some(1..=VERSION) => None,
            Some(newer) if newer > VERSION => Some(format!(
                "this experiment is of version {newer} and this program reads up to {VERSION}: a newer pythia-tui reads it"
            )),
            _ => Some(format!("expected `version = {VERSION}`")),
        };
        if let Some(reason) = reason {
            return Err(Wrong { at, reason });
        }
        let experiment: Self = toml::from_str(text).map_err(wrong)?;
        experiment.edits()?;
        Ok(experiment)
    }

    /// The edits, each with its place.
    ///
    /// # Errors
    /// A line that is no edit.
    pub fn edits(&self) -> Result<Vec<(EditLine, Range<usize>)>, Wrong> {
        let edit = |line: &Line| {
            let span = line.line.span();
            match line.line.get_ref().parse::<Edit>() {
                Ok(edit) => Ok((EditLine { edit, on: line.on }, span)),
                Err(e) => {
                    // behind the quotation mark
                    let start = (span.start + 1 + e.span.start).min(span.end);
                    let nearest = e.nearest.first().map(|n| format!("; did you mean {n}?")).unwrap_or_default();
                    Err(Wrong { at: start..span.end, reason: format!("{}{nearest}", escaped(&e.message)) })
                }
            }
        };
        self.edit.iter().map(edit).collect()
    }
}

impl Display for Experiment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = toml::to_string(self).map_err(|_| std::fmt::Error)?;
        write!(f, "{HEADING}{body}")
    }
}

/// What an experiment comes to with a model: what the explorer opens with, or goes on with.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub prompt: (String, Vec<Token>),
    pub contrast: Option<(String, Vec<Token>)>,
    /// The beginning-of-sequence token stands before the prompts.
    pub prepend_bos: bool,
    pub enabled: BTreeSet<HookPoint>,
    pub edits: Vec<EditLine>,
    pub target: Option<Token>,
    pub distractor: Distractor,
    pub metric: Option<Metric>,
    pub view: Option<Place>,
}

impl Setup {
    /// What is to be run.
    #[must_use]
    pub fn spec(&self) -> Spec {
        let ids = |tokens: &[Token]| tokens.iter().map(|token| token.id).collect();
        Spec {
            tokens: ids(&self.prompt.1),
            contrast: self.contrast.as_ref().map(|(_, tokens)| ids(tokens)),
            edits: self.edits.iter().filter(|line| line.on).map(|line| line.edit.clone()).collect(),
            enabled: self.enabled.clone(),
        }
    }
}

impl State {
    /// Everything that decides what is on the screen, as text can hold it.
    #[must_use]
    pub fn experiment(&self) -> Experiment {
        let spanned = |text: String| Spanned::new(0..0, text);
        let ids = |tokens: &[Token]| {
            let skipped = usize::from(self.prepend_bos);
            Spanned::new(0..0, tokens.iter().skip(skipped).map(|token| token.id).collect())
        };
        let id = |token: &Token| spanned(format!("#{}", token.id));
        let line = |line: &EditLine| Line { line: spanned(line.edit.to_string()), on: line.on };
        Experiment {
            version: VERSION,
            model: self.model.source.clone(),
            revision: self.model.branch.clone().or_else(|| self.model.revision.clone()),
            processing: self.model.processing,
            prompt: Some(self.prompts.now.clone()),
            tokens: Some(ids(&self.tokens)),
            contrast: self.contrast.is_some().then(|| self.prompts.contrast.clone()),
            contrast_tokens: self.contrast.as_deref().map(ids),
            prepend_bos: self.prepend_bos,
            enable: self.schema.enabled().iter().map(|point| spanned(point.to_string())).collect(),
            metric: self.looks.metric,
            target: self.target.as_ref().map(id),
            distractor: match &self.distractor {
                Distractor::Likeliest => None,
                Distractor::None => Some(spanned(String::new())),
                Distractor::Chosen(token) => Some(id(token)),
            },
            edit: self.edits.iter().map(line).collect(),
            view: Some(Spanned::new(
                0..0,
                Place {
                    tab: self.tab,
                    hook: self.point(),
                    head: self.head,
                    position: self.cell.0,
                    key: self.cell.1,
                    compare: self.looks.compare,
                    map: self.looks.map,
                    number: self.training.quantity,
                },
            )),
        }
    }

    /// Go on with another experiment on the same model. The prompt before can be recalled, and the edits undone.
    pub(super) fn set_up(&mut self, setup: Setup) {
        let earlier = std::mem::replace(&mut self.prompts.now, setup.prompt.0);
        if self.prompts.now != earlier && !self.tokens.is_empty() {
            self.prompts.earlier.push(earlier);
        }
        if self.tokens != setup.prompt.1 {
            // nothing on the screen may be of the prompt before
            (self.shown, self.seen) = (None, None);
        }
        self.cell = (setup.prompt.1.len().saturating_sub(1), 0);
        (self.tokens, self.appended) = (setup.prompt.1, 0);
        let (text, tokens) = setup.contrast.map_or_else(Default::default, |(text, ids)| (text, Some(ids)));
        (self.prompts.contrast, self.contrast) = (text, tokens);
        self.prepend_bos = setup.prepend_bos;
        self.schema.set_enabled(setup.enabled);
        (self.target, self.distractor) = (setup.target, setup.distractor);
        if let Some(metric) = setup.metric {
            self.looks.metric = metric;
        }
        if let Some(place) = setup.view {
            self.tab = place.tab;
            self.tree.reveal(place.hook);
            (self.head, self.cell) = (place.head, (place.position, place.key));
            (self.looks.compare, self.looks.map) = (place.compare, place.map);
            self.training.quantity = place.number;
        }
        change_edits(self, |edits, at| (*edits, *at) = (setup.edits, 0));
        run_again(self);
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> (usize, usize, String) {
        let wrong = Experiment::parse(text).unwrap_err();
        let (line, column) = wrong.place(text);
        (line, column, wrong.reason)
    }

    #[test]
    fn what_is_left_out_is_as_usual() {
        let least = Experiment::parse("version = 1\nmodel = 'demo'\n").unwrap();
        assert_eq!((least.processing, least.metric, least.edit.len()), (Processing::Folded, Metric::Kl, 0));
        let text = "version = 1\nmodel = 'demo'\n[[edit]]\nline = 'hook_embed=0'\n[[edit]]\nline = 'hook_embed = 1'\non = false\n";
        let edits = Experiment::parse(text).unwrap().edits().unwrap();
        assert_eq!(edits.iter().map(|(line, _)| line.on).collect::<Vec<_>>(), [true, false]);
        assert_eq!(&text[edits[1].1.clone()], "'hook_embed = 1'");
    }

    #[test]
    fn line_ends_of_a_prompt_are_written_so_that_they_stay() {
        let text = "version = 1\nmodel = 'demo'\nprompt = \"\"\"one\\r\ntwo\\r\\nthree\\r\"\"\"\n";
        let read = Experiment::parse(text).unwrap();
        assert_eq!(read.prompt.as_deref(), Some("one\r\ntwo\r\nthree\r"));
        let written = read.to_string();
        assert!(!written.contains('\r'), "{written:?}");
        assert_eq!(Experiment::parse(&written).unwrap().prompt, read.prompt);
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_column() {
        let with = |rest: &str| wrong(&format!("version = 1\nmodel = 'demo'\n{rest}\n"));
        assert_eq!(wrong("version = 7\nmodle = 'demo'\n").0, 1);
        assert!(wrong("version = 7\nnew-thing = true\n").2.contains("version 7"), "whatever else is in it");
        assert!(wrong("model = 'demo'").2.contains("version = 1"));
        assert!(wrong("version = 1\n").2.contains("model"));
        let (line, column, reason) = with("promt = 'x'");
        assert_eq!((line, column), (3, 1));
        assert!(reason.contains("unknown field `promt`") && reason.contains("`prompt`"), "{reason}");
        let (line, column, reason) = with("[[edit]]\nline = 'blocks.0.attn.hook_zz = 0'");
        assert_eq!((line, column), (4, 18), "{reason}");
        assert!(reason.contains("did you mean"), "{reason}");
        let (line, _, reason) = with("tokens = [1, -2]");
        assert_eq!(line, 3, "{reason}");
        let (line, column, reason) = with("[view]\ntab = 'atention'\nhook = 'hook_embed'");
        assert_eq!((line, column), (4, 7));
        assert!(reason.contains("attention"), "{reason}");
        assert_eq!(with("prompt = 'a").0, 3);
    }
}
