//! The prompt and the contrast prompt, edited in place; their tokens are updated while typing.

mod draw;
mod line;

use super::{line as text_line, open::Overlay};
use crate::{
    experiment::Token,
    explorer::{
        event::{Effect, Purpose},
        state::State,
    },
    keys::Action,
    printed::counted,
    views::{Focus, Tab},
};
use crossterm::event::{KeyCode, KeyEvent};

pub(super) use draw::draw;
pub use line::{PromptLine, TextLine};

/// Open the lines on the current prompts, with the cursor in one of them.
pub(in crate::explorer) fn open(state: &mut State, active: usize) {
    let lines = [
        TextLine::new(state.scene.prompts.text.clone(), state.scene.prompts.prompt().to_vec()),
        TextLine::new(
            state.scene.prompts.contrast_text.clone(),
            state.scene.prompts.contrast.clone().unwrap_or_default(),
        ),
    ];
    let at = state.scene.prompts.earlier.len();
    state.overlay = Some(Overlay::Prompt(PromptLine { lines, active, at, entered: false }));
}

/// Receive the tokens of a text in one of the lines.
pub(in crate::explorer) fn typing(state: &mut State, contrast: bool, text: String, tokens: Result<Vec<Token>, String>) {
    let Some(Overlay::Prompt(mut open)) = state.overlay.take_if(|overlay| matches!(overlay, Overlay::Prompt(_))) else {
        // the lines have been closed
        return;
    };
    let line = &mut open.lines[usize::from(contrast)];
    line.tokens = match tokens {
        // an empty contrast prompt means none
        Err(_) if contrast && text.is_empty() => Ok(vec![]),
        tokens => tokens,
    };
    line.of = Some(text);
    if open.entered { enter(state, open) } else { state.overlay = Some(Overlay::Prompt(open)) }
}

/// Run the typed text if its tokens are known, and close the lines.
fn enter(state: &mut State, mut open: PromptLine) {
    let [prompt, contrast] = &open.lines;
    if prompt.is_settled() && contrast.is_settled() {
        if let (Ok(tokens), Ok(contrast_tokens)) = (&prompt.tokens, &contrast.tokens) {
            let contrast_tokens = (!contrast_tokens.is_empty()).then(|| contrast_tokens.clone());
            let text = |line: &TextLine| line.input.value().to_string();
            return accept(state, (text(prompt), tokens.clone()), (text(contrast), contrast_tokens));
        }
        // the reason is on the screen
        open.entered = false;
    }
    state.overlay = Some(Overlay::Prompt(open));
}

/// Run a prompt, keeping the contrast prompt.
pub(in crate::explorer) fn run(state: &mut State, text: String, tokens: Vec<Token>) {
    let contrast = (state.scene.prompts.contrast_text.clone(), state.scene.prompts.contrast.clone());
    accept(state, (text, tokens), contrast);
}

/// Run the prompt with another contrast prompt.
pub(in crate::explorer) fn run_contrast(state: &mut State, text: String, tokens: Vec<Token>) {
    let prompt = (state.scene.prompts.text.clone(), state.scene.prompts.prompt().to_vec());
    accept(state, prompt, (text, Some(tokens)));
}

pub(super) fn key(state: &mut State, mut open: PromptLine, key: &KeyEvent) -> Vec<Effect> {
    open.entered = key.code == KeyCode::Enter;
    let active = open.active;
    let changed = match key.code {
        KeyCode::Esc => return vec![],
        KeyCode::Enter => {
            // a missing answer is requested again
            let effects = [0, 1].into_iter().flat_map(|line| ask(&open, line)).collect();
            enter(state, open);
            return effects;
        }
        KeyCode::Tab | KeyCode::BackTab => {
            open.active = 1 - active;
            false
        }
        KeyCode::Up | KeyCode::Down => {
            open.recall(&state.scene.prompts, key.code == KeyCode::Up);
            true
        }
        _ => text_line::typed(&mut state.scene, &mut open.lines[active].input, key, text_line::PROMPT),
    };
    let effects = if changed { ask(&open, active) } else { vec![] };
    state.overlay = Some(Overlay::Prompt(open));
    effects
}

/// Pasted text keeps its line breaks, which are tokens like any other.
pub(super) fn paste(state: &mut State, mut open: PromptLine, text: &str) -> Vec<Effect> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    open.entered = false;
    let active = open.active;
    let changed = text_line::pasted(&mut state.scene, &mut open.lines[active].input, &text, text_line::PROMPT);
    let effects = if changed { ask(&open, active) } else { vec![] };
    state.overlay = Some(Overlay::Prompt(open));
    effects
}

/// Request the tokens of a line that has none yet.
fn ask(open: &PromptLine, line: usize) -> Vec<Effect> {
    let text = &open.lines[line];
    let purpose = Purpose::Typing { contrast: line == 1 };
    if text.is_settled() { vec![] } else { vec![Effect::Tokenize(purpose, text.input.value().into())] }
}

/// Run without a contrast prompt.
pub(in crate::explorer) fn no_contrast(state: &mut State) {
    let prompt = (state.scene.prompts.text.clone(), state.scene.prompts.prompt().to_vec());
    accept(state, prompt, (String::new(), None));
}

/// Run new prompts.
fn accept(state: &mut State, (text, tokens): (String, Vec<Token>), contrast: (String, Option<Vec<Token>>)) {
    let prompts = &mut state.scene.prompts;
    let earlier = std::mem::replace(&mut prompts.text, text);
    prompts.contrast_text = contrast.0;
    if tokens == prompts.prompt() && contrast.1 == prompts.contrast {
        return;
    }
    if tokens != prompts.prompt() {
        prompts.earlier.push(earlier);
        prompts.appended = 0;
    }
    prompts.contrast = contrast.1;
    set_tokens(state, tokens);
    (state.scene.cursor.pos, state.scene.cursor.key) = (state.scene.tokens().len().saturating_sub(1), 0);
}

/// Run other tokens. Edits that do not fit them are switched off, and a message says so.
fn set_tokens(state: &mut State, tokens: Vec<Token>) {
    let scene = &mut state.scene;
    (scene.prompts.tokens, scene.prompts.generated) = (tokens, 0);
    // nothing of the previous prompt may stay on the screen
    scene.runs.clear();
    let unfit = scene.drop_unfit_edits();
    if unfit > 0 {
        scene.say(format!("{unfit} of the edits do not fit the prompts and were switched off"));
    }
}

/// Append the token selected in Logits, or else the likeliest after the last position. Of a continuation that is looked at, the
/// text up to the cursor becomes the prompt.
pub(in crate::explorer) fn append(state: &mut State) {
    let scene = &state.scene;
    // a token after another position is not the next one
    let at_end = scene.cursor.pos + 1 == scene.tokens().len();
    let choosing = state.tab == Tab::Logits && scene.layout.focus == Focus::View && at_end;
    if scene.prompts.generated > 0 && !choosing {
        return prompt_to_cursor(state);
    }
    let chosen = if choosing { state.view().token(scene) } else { None };
    let likeliest = || {
        let top = scene.runs.shown.as_ref()?.summary.top.last()?.first()?;
        Some(Token { id: top.id, text: top.text.clone() })
    };
    let Some(token) = chosen.or_else(likeliest) else {
        return state.scene.refuse("the next token is not known yet");
    };
    let context = scene.model.config.context;
    if scene.tokens().len() >= context {
        return state.scene.refuse(format!("the prompt already has {context} tokens, the most that this model takes"));
    }
    let take_back = scene.key(Action::TakeBack);
    state.scene.say(format!("appended {:?}; {take_back} takes it back", token.text));
    let prompts = &mut state.scene.prompts;
    // a continuation that is looked at becomes part of the prompt
    let generated: String = prompts.tokens[prompts.prompt().len()..].iter().map(|token| token.text.as_str()).collect();
    prompts.text.push_str(&generated);
    prompts.text.push_str(&token.text);
    prompts.appended += prompts.generated + 1;
    let tokens = [prompts.tokens.as_slice(), &[token]].concat();
    step(state, tokens);
}

/// Make the text up to the cursor the prompt; all of it where the cursor is before the continuation.
fn prompt_to_cursor(state: &mut State) {
    let scene = &mut state.scene;
    let prompts = &mut scene.prompts;
    let (prompt, at) = (prompts.prompt().len(), scene.cursor.pos);
    let end = if at < prompt { prompts.tokens.len() } else { at + 1 };
    let tokens = prompts.tokens[..end].to_vec();
    let new = &tokens[prompt..];
    prompts.text.extend(new.iter().map(|token| token.text.as_str()));
    prompts.appended += new.len();
    let (new, take_back) = (counted(new.len(), "token"), scene.key(Action::TakeBack));
    scene.say(format!("{new} of the continuation became part of the prompt; {take_back} takes the last back"));
    step(state, tokens);
}

/// Remove the last appended token.
pub(in crate::explorer) fn take_back(state: &mut State) {
    let prompts = &mut state.scene.prompts;
    if prompts.generated > 0 {
        let tokens = prompts.prompt().to_vec();
        return step(state, tokens);
    }
    if prompts.appended == 0 {
        return state.scene.refuse("no token was appended");
    }
    prompts.appended -= 1;
    let mut tokens = prompts.tokens.clone();
    if let Some(token) = tokens.pop() {
        let text = prompts.text.strip_suffix(&token.text).map(String::from);
        prompts.text = text.unwrap_or_else(|| tokens.iter().map(|t| t.text.as_str()).collect());
    }
    step(state, tokens);
}

/// Replace tokens at the end only; a cursor at the last position stays there.
fn step(state: &mut State, tokens: Vec<Token>) {
    let at_end = state.scene.cursor.pos + 1 == state.scene.tokens().len();
    set_tokens(state, tokens);
    if at_end {
        state.scene.cursor.pos = state.scene.tokens().len() - 1;
    }
    state.views.logits.to_top();
}
