//! The explorer as an experiment: what is run and where one looks, to be written and opened again.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{Quantity, State, Tab, editing::change_edits, update::run_again};
use crate::{
    engine::{Compare, Map},
    experiment::{self, Distractor, EditLine, Line, Token, VERSION, View, text},
    hooks::{HookPoint, Op, Schema},
};

/// An experiment with the explorer's view.
pub type Experiment = experiment::Experiment<SavedView>;

/// What the explorer opens with, or goes on with.
pub type Setup = experiment::Setup<SavedView>;

/// What one looks at: the `[view]` table.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SavedView {
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

fn edited() -> Compare {
    Compare::Edited
}

fn zero() -> Map {
    Map::Ablate(Op::Set(0.0))
}

fn probability() -> Quantity {
    Quantity::Probability
}

impl View for SavedView {
    fn map(&self) -> Map {
        self.map
    }

    fn check(&self, schema: &Schema, n_pos: Option<usize>) -> Result<(), String> {
        if !schema.all_points().contains(&self.hook) {
            return Err(format!("this model has no `{}`", self.hook));
        }
        let heads = Some(schema.dims.n_heads);
        for (what, value, n) in
            [("head", self.head, heads), ("position", self.position, n_pos), ("key", self.key, n_pos)]
        {
            if let Some(n) = n.filter(|n| value >= *n) {
                return Err(format!("{what} {value} is out of range: expected 0 to {}", n.saturating_sub(1)));
            }
        }
        Ok(())
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
            metric: self.looks.written_metric(),
            target: self.target.as_ref().map(id),
            distractor: match &self.distractor {
                Distractor::Likeliest => None,
                Distractor::None => Some(spanned(String::new())),
                Distractor::Chosen(token) => Some(id(token)),
            },
            edit: self.edits.iter().map(line).collect(),
            view: Some(Spanned::new(
                0..0,
                SavedView {
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
        self.looks.chosen_metric = setup.metric;
        if let Some(view) = setup.view {
            self.tab = view.tab;
            self.tree.reveal(view.hook);
            (self.head, self.cell) = (view.head, (view.position, view.key));
            (self.looks.compare, self.looks.map) = (view.compare, view.map);
            self.training.quantity = view.number;
        }
        change_edits(self, |edits, at| (*edits, *at) = (setup.edits, 0));
        run_again(self);
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_does_not_exist_is_an_error_at_its_place() {
        let text = "version = 1\nmodel = 'demo'\n[view]\ntab = 'atention'\nhook = 'hook_embed'\n";
        let wrong = Experiment::parse(text).unwrap_err();
        assert_eq!(wrong.place(text), (4, 7));
        assert!(wrong.reason.contains("attention"), "{}", wrong.reason);
    }
}
