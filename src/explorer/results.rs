//! A table of results in the explorer: shown, and its rows opened as prompts with their edits.

use std::sync::Arc;

use super::{
    event::{Effect, Purpose},
    overlay,
    state::State,
};
use crate::{
    experiment::{EditLine, Results, Token},
    printed::escaped,
    views::Tab,
};

impl State {
    /// Show a table of results.
    pub fn show_results(&mut self, results: Arc<Results>) {
        show(self, results);
    }

    /// Have a table of results that was opened before, and stay in the view.
    pub fn keep_results(&mut self, results: Arc<Results>) {
        self.scene.results = Some(results);
        self.views.training.show_results();
        self.views.corpus.reset(self.scene.results.as_deref());
    }
}

/// Show a table: over the training if it has steps, else its distribution.
pub(super) fn show(state: &mut State, results: Arc<Results>) {
    let (rows, failed) = (results.rows.len(), results.failed);
    let without = if failed > 0 { format!("; {failed} have no numbers") } else { String::new() };
    state.tab = if results.curves.is_empty() { Tab::Corpus } else { Tab::Training };
    state.scene.say(format!("{}: {rows} rows{without}", escaped(&results.path.display().to_string())));
    state.keep_results(results);
}

/// Open a row: find the tokens of its prompts first.
pub(super) fn open(state: &mut State, row: usize) -> Vec<Effect> {
    let Some(results) = &state.scene.results else { return vec![] };
    let Some(prompt) = results.rows.get(row).and_then(|row| results.prompts.get(row.prompt)) else { return vec![] };
    let tokens = |contrast: bool, ids: &Option<Vec<u32>>, text: &String| {
        let purpose = Purpose::Result { row, contrast };
        ids.clone().map_or_else(|| Effect::Tokenize(purpose, text.clone()), |ids| Effect::Name(purpose, ids))
    };
    // the run begins when the prompt arrives
    let contrast = prompt.contrast.as_ref().map(|text| tokens(true, &prompt.contrast_tokens, text));
    contrast.into_iter().chain([tokens(false, &prompt.tokens, &prompt.text)]).collect()
}

/// The tokens of a row's prompt arrived.
pub(super) fn tokens(state: &mut State, row: usize, contrast: bool, text: String, tokens: Vec<Token>) {
    if contrast {
        state.scene.prompts.contrast_text = text;
        state.scene.prompts.contrast = Some(tokens);
        return;
    }
    let Some(results) = state.scene.results.clone() else { return };
    let Some(found) = results.rows.get(row) else { return };
    let lines = results.prompts.get(found.prompt).and_then(|prompt| prompt.edits.as_deref()).unwrap_or_default();
    let edits: Result<Vec<EditLine>, _> =
        lines.lines().map(|line| line.parse().map(|edit| EditLine { edit, on: true })).collect();
    match edits {
        Ok(edits) => state.scene.edits.change(|lines, at| (*lines, *at) = (edits, 0)),
        Err(error) => return state.scene.refuse(format!("the row's edits can't be read: {}", escaped(&error.message))),
    }
    state.tab = Tab::Logits;
    overlay::prompt::run(state, text, tokens);
    let scene = &mut state.scene;
    let model = results.models.get(found.model).map_or("", String::as_str);
    let is_same = [&scene.model.source, &scene.model.name]
        .into_iter()
        .any(|name| name == model || model.ends_with(&format!("/{name}")));
    if !is_same && scene.message.is_none() {
        let at = found.revision.as_deref().map(|revision| format!(" at {revision}")).unwrap_or_default();
        scene.say(escaped(&format!("this row is of {model}{at}; the model here is {}", scene.model.name)));
    }
}
