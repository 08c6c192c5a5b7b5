//! The prompt, edited in place: its tokens are shown as one types.

use crossterm::event::{KeyCode, KeyEvent};
use tui_input::Input;

use super::{
    Effect, State, Token,
    editing::line_request,
    state::Prompts,
    update::{run_again, say},
};
use crate::hooks::Plan;

/// The line editor for the prompt.
#[derive(Clone, Debug)]
pub struct PromptLine {
    pub input: Input,
    /// The tokens of a text, or why it can't be a prompt; of an earlier text while the answer is on its way.
    pub tokens: Result<Vec<Token>, String>,
    /// The text that `tokens` is of.
    of: Option<String>,
    /// Number of the earlier prompt that is shown, for Up and Down.
    at: usize,
}

/// Open the line on the present prompt.
pub(super) fn open(state: &mut State) -> Vec<Effect> {
    let text = state.prompts.now.clone();
    let tokens = Ok(state.tokens.clone());
    let at = state.prompts.earlier.len();
    state.prompt = Some(PromptLine { input: Input::new(text.clone()), tokens, of: None, at });
    vec![Effect::Tokenize(text)]
}

/// The tokens of a text have come.
pub(super) fn tokenized(state: &mut State, text: String, tokens: Result<Vec<Token>, String>) {
    if let Some(line) = &mut state.prompt {
        line.tokens = tokens;
        line.of = Some(text);
    }
}

pub(super) fn key(state: &mut State, key: &KeyEvent) -> Vec<Effect> {
    let Some(mut line) = state.prompt.take() else { return vec![] };
    let before = line.input.value().to_string();
    match key.code {
        KeyCode::Esc => return vec![],
        KeyCode::Enter if line.of.as_deref() == Some(before.as_str()) => {
            if let Ok(tokens) = line.tokens {
                accept(state, before, tokens);
                return vec![];
            }
        }
        KeyCode::Up | KeyCode::Down => line.recall(&state.prompts, key.code == KeyCode::Up),
        _ => {
            if let Some(request) = line_request(key) {
                line.input.handle(request);
            }
        }
    }
    let now = line.input.value().to_string();
    state.prompt = Some(line);
    if now == before { vec![] } else { vec![Effect::Tokenize(now)] }
}

/// Pasted text goes in whole, its line breaks too: they are tokens like any other.
pub(super) fn paste(state: &mut State, text: &str) -> Vec<Effect> {
    let Some(line) = &mut state.prompt else { return vec![] };
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (value, at) = (line.input.value(), line.input.cursor());
    let before: String = value.chars().take(at).collect();
    let after: String = value.chars().skip(at).collect();
    let whole = format!("{before}{text}{after}");
    line.input = Input::new(whole.clone()).with_cursor(at + text.chars().count());
    vec![Effect::Tokenize(whole)]
}

impl PromptLine {
    fn recall(&mut self, prompts: &Prompts, back: bool) {
        let n = prompts.earlier.len();
        self.at = if back { self.at.saturating_sub(1) } else { (self.at + 1).min(n) };
        let text = prompts.earlier.get(self.at).unwrap_or(&prompts.now);
        self.input = Input::new(text.clone());
    }
}

/// Run the new prompt. Edits that do not fit it are switched off, and that is said.
fn accept(state: &mut State, text: String, tokens: Vec<Token>) {
    let earlier = std::mem::replace(&mut state.prompts.now, text);
    if tokens == state.tokens {
        return;
    }
    state.prompts.earlier.push(earlier);
    state.tokens = tokens;
    let last = state.tokens.len().saturating_sub(1);
    state.cell = (last, 0);
    // nothing on the screen may be of the prompt before
    state.shown = None;
    state.seen = None;
    let (n_pos, contrast) = (state.tokens.len(), state.contrast.as_ref().map(Vec::len));
    let mut unfit = 0;
    for line in state.edits.iter_mut().filter(|line| line.on) {
        let fits = Plan::resolve(std::slice::from_ref(&line.edit), &state.schema, n_pos, contrast).is_ok();
        unfit += usize::from(!fits);
        line.on = fits;
    }
    if unfit > 0 {
        say(state, format!("{unfit} of the edits do not fit this prompt and were switched off"));
    }
    run_again(state);
}
