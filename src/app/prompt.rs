//! The prompt and the contrast prompt, edited in place; their tokens are shown as one types.

use crossterm::event::{KeyCode, KeyEvent};
use tui_input::Input;

use super::{
    Effect, Focus, Overlay, Purpose, State, Tab,
    editing::drop_unfit,
    line,
    state::Prompts,
    update::{refuse, run_again, say},
};
use crate::experiment::Token;

/// The line editor for the prompt, and for the contrast prompt below it.
#[derive(Clone, Debug)]
pub struct PromptLine {
    /// The prompt, and the contrast prompt; an empty contrast prompt is none.
    pub lines: [TextLine; 2],
    /// Which of them is typed in.
    pub active: usize,
    /// Number of the earlier prompt that is shown, for Up and Down.
    at: usize,
    /// Enter was pressed: what is typed is run once its tokens are known.
    entered: bool,
}

/// A text and what it becomes.
#[derive(Clone, Debug)]
pub struct TextLine {
    pub input: Input,
    /// The tokens of a text, or why it can't be a prompt; of an earlier text while the answer is on its way.
    pub tokens: Result<Vec<Token>, String>,
    /// The text that `tokens` is of.
    of: Option<String>,
}

impl TextLine {
    /// A text whose tokens are known: they need not be those that the text would give, if some were appended.
    fn new(text: String, tokens: Vec<Token>) -> Self {
        Self { input: Input::new(text.clone()), tokens: Ok(tokens), of: Some(text) }
    }

    fn is_settled(&self) -> bool {
        self.of.as_deref() == Some(self.input.value())
    }
}

/// Open the lines on the present prompts, with the cursor in one of them.
pub(super) fn open(state: &mut State, active: usize) {
    let lines = [
        TextLine::new(state.prompts.now.clone(), state.tokens.clone()),
        TextLine::new(state.prompts.contrast.clone(), state.contrast.clone().unwrap_or_default()),
    ];
    let at = state.prompts.earlier.len();
    state.overlay = Some(Overlay::Prompt(PromptLine { lines, active, at, entered: false }));
}

/// The tokens of what is, or was, in one of the lines.
pub(super) fn typing(state: &mut State, contrast: bool, text: String, tokens: Result<Vec<Token>, String>) {
    let Some(Overlay::Prompt(mut open)) = state.overlay.take_if(|overlay| matches!(overlay, Overlay::Prompt(_))) else {
        // the lines were closed meanwhile
        return;
    };
    let line = &mut open.lines[usize::from(contrast)];
    line.tokens = match tokens {
        // no contrast prompt is as good as one
        Err(_) if contrast && text.is_empty() => Ok(vec![]),
        tokens => tokens,
    };
    line.of = Some(text);
    if open.entered { enter(state, open) } else { state.overlay = Some(Overlay::Prompt(open)) }
}

/// Run what is typed if its tokens are known, and close the lines.
fn enter(state: &mut State, mut open: PromptLine) {
    let [prompt, contrast] = &open.lines;
    if prompt.is_settled() && contrast.is_settled() {
        if let (Ok(tokens), Ok(contrast_tokens)) = (&prompt.tokens, &contrast.tokens) {
            let contrast_tokens = (!contrast_tokens.is_empty()).then(|| contrast_tokens.clone());
            let text = |line: &TextLine| line.input.value().to_string();
            return accept(state, (text(prompt), tokens.clone()), (text(contrast), contrast_tokens));
        }
        // why not is on the screen
        open.entered = false;
    }
    state.overlay = Some(Overlay::Prompt(open));
}

/// Run a prompt with the contrast prompt as it is.
pub(super) fn run(state: &mut State, text: String, tokens: Vec<Token>) {
    let contrast = (state.prompts.contrast.clone(), state.contrast.clone());
    accept(state, (text, tokens), contrast);
}

/// Run the prompt with another contrast prompt.
pub(super) fn run_contrast(state: &mut State, text: String, tokens: Vec<Token>) {
    let prompt = (state.prompts.now.clone(), state.tokens.clone());
    accept(state, prompt, (text, Some(tokens)));
}

pub(super) fn key(state: &mut State, mut open: PromptLine, key: &KeyEvent) -> Vec<Effect> {
    open.entered = key.code == KeyCode::Enter;
    let active = open.active;
    let changed = match key.code {
        KeyCode::Esc => return vec![],
        KeyCode::Enter => {
            // an answer that did not come is asked for again
            let effects = [0, 1].into_iter().flat_map(|line| open.ask(line)).collect();
            enter(state, open);
            return effects;
        }
        KeyCode::Tab | KeyCode::BackTab => {
            open.active = 1 - active;
            false
        }
        KeyCode::Up | KeyCode::Down => {
            open.recall(&state.prompts, key.code == KeyCode::Up);
            true
        }
        _ => line::typed(state, &mut open.lines[active].input, key, line::PROMPT),
    };
    let effects = if changed { open.ask(active) } else { vec![] };
    state.overlay = Some(Overlay::Prompt(open));
    effects
}

/// Pasted text goes in with its line breaks: they are tokens like any other.
pub(super) fn paste(state: &mut State, mut open: PromptLine, text: &str) -> Vec<Effect> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    open.entered = false;
    let active = open.active;
    let changed = line::pasted(state, &mut open.lines[active].input, &text, line::PROMPT);
    let effects = if changed { open.ask(active) } else { vec![] };
    state.overlay = Some(Overlay::Prompt(open));
    effects
}

impl PromptLine {
    /// Ask for the tokens of a line that has none yet.
    fn ask(&self, line: usize) -> Vec<Effect> {
        let text = &self.lines[line];
        let purpose = Purpose::Typing { contrast: line == 1 };
        if text.is_settled() { vec![] } else { vec![Effect::Tokenize(purpose, text.input.value().into())] }
    }

    fn recall(&mut self, prompts: &Prompts, back: bool) {
        let n = prompts.earlier.len();
        self.at = if back { self.at.saturating_sub(1) } else { (self.at + 1).min(n) };
        let text = prompts.earlier.get(self.at).unwrap_or(&prompts.now);
        self.lines[self.active].input = Input::new(text.clone());
    }
}

/// Run without a contrast prompt.
pub(super) fn no_contrast(state: &mut State) {
    let prompt = (state.prompts.now.clone(), state.tokens.clone());
    accept(state, prompt, (String::new(), None));
}

/// Run new prompts.
fn accept(state: &mut State, prompt: (String, Vec<Token>), contrast: (String, Option<Vec<Token>>)) {
    let earlier = std::mem::replace(&mut state.prompts.now, prompt.0);
    state.prompts.contrast = contrast.0;
    if prompt.1 == state.tokens && contrast.1 == state.contrast {
        return;
    }
    if prompt.1 != state.tokens {
        state.prompts.earlier.push(earlier);
        state.appended = 0;
    }
    state.contrast = contrast.1;
    set_tokens(state, prompt.1);
    let last = state.tokens.len().saturating_sub(1);
    state.cell = (last, 0);
}

/// Run other tokens. Edits that do not fit them are switched off, and that is said.
fn set_tokens(state: &mut State, tokens: Vec<Token>) {
    state.tokens = tokens;
    // nothing on the screen may be of the prompt before
    state.shown = None;
    state.seen = None;
    let unfit = drop_unfit(state);
    if unfit > 0 {
        say(state, format!("{unfit} of the edits do not fit the prompts and were switched off"));
    }
    run_again(state);
}

/// Append the token that is chosen in the logits, or else the likeliest after the last position.
pub(super) fn append(state: &mut State) {
    // one that follows another position is no next token
    let choosing = state.tab == Tab::Logits && state.focus == Focus::View && state.cell.0 + 1 == state.tokens.len();
    let chosen = choosing.then(|| state.token_under_cursor());
    let likeliest = || {
        let top = state.shown.as_ref()?.summary.top.last()?.first()?;
        Some(Token { id: top.id, text: top.text.clone() })
    };
    let Some(token) = chosen.flatten().or_else(likeliest) else {
        return refuse(state, "the next token is not known yet".into());
    };
    if state.tokens.len() >= state.model.config.context {
        return refuse(
            state,
            format!("the model takes {} tokens, and the prompt has as many", state.model.config.context),
        );
    }
    say(state, format!("appended {:?}; {} takes it back", token.text, state.keys.key(super::Action::TakeBack)));
    state.prompts.now.push_str(&token.text);
    state.appended += 1;
    let tokens = [state.tokens.as_slice(), &[token]].concat();
    step(state, tokens);
}

/// Take back the last token that was appended.
pub(super) fn take_back(state: &mut State) {
    if state.appended == 0 {
        return refuse(state, "no token was appended".into());
    }
    state.appended -= 1;
    let mut tokens = state.tokens.clone();
    if let Some(token) = tokens.pop() {
        let text = state.prompts.now.strip_suffix(&token.text).map(String::from);
        state.prompts.now = text.unwrap_or_else(|| tokens.iter().map(|t| t.text.as_str()).collect());
    }
    step(state, tokens);
}

/// Other tokens at the end only; a cursor at the last position stays at the last.
fn step(state: &mut State, tokens: Vec<Token>) {
    let at_end = state.cell.0 + 1 == state.tokens.len();
    set_tokens(state, tokens);
    if at_end {
        state.cell.0 = state.tokens.len() - 1;
    }
    state.logits_row = 0;
}
