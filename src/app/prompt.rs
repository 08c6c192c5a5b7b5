//! The prompt and the contrast prompt, edited in place; their tokens are shown as one types.

use crossterm::event::{KeyCode, KeyEvent};
use tui_input::Input;

use super::{
    Effect, Focus, Overlay, Purpose, State, Tab, Token,
    editing::{drop_unfit, line_request},
    state::Prompts,
    update::{refuse, run_again, say},
};

/// The line editor for the prompt, and for the contrast prompt below it.
#[derive(Clone, Debug)]
pub struct PromptLine {
    /// The prompt, and the contrast prompt; an empty contrast prompt is none.
    pub lines: [TextLine; 2],
    /// Which of them is typed in.
    pub active: usize,
    /// Number of the earlier prompt that is shown, for Up and Down.
    at: usize,
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

const PURPOSES: [Purpose; 2] = [Purpose::Prompt, Purpose::Contrast];

/// Open the lines on the present prompts, with the cursor in one of them.
pub(super) fn open(state: &mut State, active: usize) {
    let lines = [
        TextLine::new(state.prompts.now.clone(), state.tokens.clone()),
        TextLine::new(state.prompts.contrast.clone(), state.contrast.clone().unwrap_or_default()),
    ];
    state.overlay = Some(Overlay::Prompt(PromptLine { lines, active, at: state.prompts.earlier.len() }));
}

/// The tokens of a text have come: for the open lines, or to be the prompt at once.
pub(super) fn tokenized(state: &mut State, purpose: Purpose, text: String, tokens: Result<Vec<Token>, String>) {
    let Some(Overlay::Prompt(open)) = &mut state.overlay else {
        return match tokens {
            Err(why) => refuse(state, why),
            Ok(tokens) if purpose == Purpose::Prompt => {
                let contrast = (state.prompts.contrast.clone(), state.contrast.clone());
                accept(state, (text, tokens), contrast);
            }
            Ok(tokens) => {
                let prompt = (state.prompts.now.clone(), state.tokens.clone());
                accept(state, prompt, (text, Some(tokens)));
            }
        };
    };
    let line = &mut open.lines[usize::from(purpose == Purpose::Contrast)];
    line.tokens = match tokens {
        // no contrast prompt is as good as one
        Err(_) if purpose == Purpose::Contrast && text.is_empty() => Ok(vec![]),
        tokens => tokens,
    };
    line.of = Some(text);
}

pub(super) fn key(state: &mut State, mut open: PromptLine, key: &KeyEvent) -> Vec<Effect> {
    match key.code {
        KeyCode::Esc => return vec![],
        KeyCode::Tab | KeyCode::BackTab => open.active = 1 - open.active,
        KeyCode::Enter if open.lines.iter().all(TextLine::is_settled) => {
            let [prompt, contrast] = &open.lines;
            if let (Ok(tokens), Ok(contrast_tokens)) = (&prompt.tokens, &contrast.tokens) {
                let contrast_tokens = (!contrast_tokens.is_empty()).then(|| contrast_tokens.clone());
                let text = |line: &TextLine| line.input.value().to_string();
                accept(state, (text(prompt), tokens.clone()), (text(contrast), contrast_tokens));
                return vec![];
            }
        }
        KeyCode::Up | KeyCode::Down => open.recall(&state.prompts, key.code == KeyCode::Up),
        _ => {
            if let Some(request) = line_request(key) {
                open.lines[open.active].input.handle(request);
            }
        }
    }
    changed(state, open)
}

/// Pasted text goes in whole, its line breaks too: they are tokens like any other.
pub(super) fn paste(state: &mut State, mut open: PromptLine, text: &str) -> Vec<Effect> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let line = &mut open.lines[open.active];
    let (value, at) = (line.input.value(), line.input.cursor());
    let before: String = value.chars().take(at).collect();
    let after: String = value.chars().skip(at).collect();
    line.input = Input::new(format!("{before}{text}{after}")).with_cursor(at + text.chars().count());
    changed(state, open)
}

/// Put the lines back, and ask for the tokens of a text that has none yet.
fn changed(state: &mut State, open: PromptLine) -> Vec<Effect> {
    let asked = open.lines.iter().zip(PURPOSES).filter(|(line, _)| !line.is_settled());
    let effects = asked.map(|(line, purpose)| Effect::Tokenize(purpose, line.input.value().into())).collect();
    state.overlay = Some(Overlay::Prompt(open));
    effects
}

impl PromptLine {
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
