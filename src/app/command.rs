//! The `:` line: every action by its name, and commands that take words.

use crossterm::event::{KeyCode, KeyEvent};
use tui_input::Input;

use super::{
    BINDINGS, Editor, Effect, Overlay, Purpose, State, Tab,
    actions::act,
    editing::{drop_unfit, push_edit},
    editor,
    line::{LINE, pasted, typed},
    navigate::stepped,
    prompt, training,
    update::{refuse, run_again, say},
};
use crate::{hooks::HookPoint, names::nearest};

/// The line, and how it could go on.
#[derive(Clone, Debug)]
pub struct CommandLine {
    pub input: Input,
    /// Whole lines with what each does, best first.
    pub completions: Vec<(String, &'static str)>,
    pub cursor: usize,
}

/// Commands that take words, the words, and what they do.
const COMMANDS: [(&str, &str, &str); 14] = [
    ("hook", "NAME", "go to a hook"),
    ("view", "NAME", "show a view"),
    ("head", "N", "go to a head"),
    ("position", "N", "go to a position"),
    ("edit", "LINE", "add an edit, and run"),
    ("enable", "NAME", "turn on an opt-in hook, in every block or in one"),
    ("prompt", "TEXT", "run another prompt"),
    ("contrast", "TEXT", "set the contrast prompt, which `= patch` takes from"),
    ("target", "TOKEN", "set the target of the logit difference; a leading space counts: `target \" Mary\"`"),
    ("distractor", "TOKEN", "set the distractor"),
    ("token", "TOKEN", "the rank of a token among the next ones"),
    ("save", "FILE", "save the view as .svg, .csv or .npz, the experiment as .toml, a script as .py"),
    ("open", "FILE", "open an experiment"),
    ("step", "N", "go to the training checkpoint of a step"),
];

pub(super) fn open(state: &mut State, text: &str) {
    state.overlay = Some(Overlay::Command(CommandLine::new(state, text)));
}

pub(super) fn key(state: &mut State, mut line: CommandLine, key: &KeyEvent) -> Vec<Effect> {
    match key.code {
        KeyCode::Esc => return vec![],
        KeyCode::Backspace if line.input.value().is_empty() => return vec![],
        KeyCode::Enter => return carry_out(state, line.input.value()),
        KeyCode::Up => line.cursor = stepped(line.cursor, -1, line.completions.len()),
        KeyCode::Down => line.cursor = stepped(line.cursor, 1, line.completions.len()),
        KeyCode::Tab => {
            if let Some((text, _)) = line.completions.get(line.cursor) {
                line = CommandLine::new(state, text);
            }
        }
        _ => {
            if typed(state, &mut line.input, key, LINE) {
                line.refresh(state);
            }
        }
    }
    state.overlay = Some(Overlay::Command(line));
    vec![]
}

/// Pasted text, of one line.
pub(super) fn paste(state: &mut State, mut line: CommandLine, text: &str) {
    if pasted(state, &mut line.input, text, LINE) {
        line.refresh(state);
    }
    state.overlay = Some(Overlay::Command(line));
}

impl CommandLine {
    fn new(state: &State, text: &str) -> Self {
        Self { input: Input::new(text.into()), completions: completions(state, text), cursor: 0 }
    }

    fn refresh(&mut self, state: &State) {
        self.completions = completions(state, self.input.value());
        self.cursor = 0;
    }
}

/// Lines that begin with `text`.
fn completions(state: &State, text: &str) -> Vec<(String, &'static str)> {
    let Some((command, words)) = text.split_once(' ') else {
        let commands = COMMANDS.iter().map(|(name, _, doc)| (format!("{name} "), *doc));
        let actions = BINDINGS.iter().map(|b| (b.name.to_string(), b.doc));
        let mut all: Vec<_> = commands.chain(actions).filter(|(name, _)| name.contains(text)).collect();
        all.sort_by_key(|(name, _)| !name.starts_with(text));
        return all;
    };
    let all: Vec<String> = match command {
        "hook" => state.schema.all_points().iter().map(ToString::to_string).collect(),
        "view" => Tab::ALL.iter().map(ToString::to_string).collect(),
        "enable" => {
            let off = state.schema.all_points().into_iter().filter(|p| p.is_opt_in() && !state.schema.is_enabled(*p));
            let mut names: Vec<String> = off.map(|point| point.short_name().to_string()).collect();
            names.sort();
            names.dedup();
            names
        }
        "step" => state.training.steps.iter().map(|step| step.revision.clone()).collect(),
        "edit" => Editor::open(words, None, state.setting()).completions,
        _ => vec![],
    };
    let mut all: Vec<String> = all.into_iter().filter(|word| word.contains(words) || command == "edit").collect();
    all.sort_by_key(|word| !word.starts_with(words));
    all.into_iter().map(|word| (format!("{command} {word}"), "")).collect()
}

fn carry_out(state: &mut State, line: &str) -> Vec<Effect> {
    let (command, words) = line.split_once(' ').unwrap_or((line, ""));
    if let Some(binding) = BINDINGS.iter().find(|binding| binding.name == line.trim()) {
        return act(state, binding.action);
    }
    if std::path::Path::new(line.trim()).extension().is_some_and(|e| e == "toml")
        && !COMMANDS.iter().any(|(name, ..)| *name == command.trim())
    {
        // a name alone, where `open` was rubbed out with what stood behind it
        return open_experiment(state, line);
    }
    let Some((name, takes, _)) = COMMANDS.iter().find(|(name, ..)| *name == command.trim()) else {
        if !command.trim().is_empty() {
            let names = COMMANDS.iter().map(|(name, ..)| *name).chain(BINDINGS.iter().map(|b| b.name));
            refuse(state, format!("there is no command `{}`{}", command.trim(), nearest(command.trim(), names)));
        }
        return vec![];
    };
    if words.trim().is_empty() && *name != "contrast" {
        refuse(state, format!("{name} takes {takes}"));
        return vec![];
    }
    match *name {
        "hook" => match words.trim().parse::<HookPoint>() {
            Ok(point) if state.schema.all_points().contains(&point) => state.tree.reveal(point),
            Ok(point) => {
                refuse(state, format!("`{point}`: this model has blocks 0 to {}", state.schema.dims.n_layers - 1));
            }
            Err(error) => refuse(state, error.to_string()),
        },
        "view" => match words.trim().to_lowercase().parse() {
            Ok(tab) => state.tab = tab,
            Err(error) => refuse(state, error),
        },
        "head" => number(state, words, state.schema.dims.n_heads, |state, at| state.head = at),
        "position" => number(state, words, state.tokens.len(), |state, at| state.cell.0 = at),
        "edit" => match editor::judge(words, state.setting()) {
            Ok((edit, _)) => push_edit(state, edit),
            Err(problem) => refuse(state, problem.message),
        },
        "enable" => enable(state, words.trim()),
        "prompt" => return vec![Effect::Tokenize(Purpose::Prompt, words.into())],
        "contrast" if words.trim().is_empty() => prompt::no_contrast(state),
        "contrast" => return vec![Effect::Tokenize(Purpose::Contrast, words.into())],
        "target" => return vec![Effect::Tokenize(Purpose::Target, unquoted(words))],
        "distractor" => return vec![Effect::Tokenize(Purpose::Distractor, unquoted(words))],
        "token" => return vec![Effect::Tokenize(Purpose::Find, unquoted(words))],
        "open" => return open_experiment(state, words),
        "step" => return training::travel_to(state, words.trim()),
        _ => return super::save::begin(state, words.trim()),
    }
    vec![]
}

fn open_experiment(state: &mut State, path: &str) -> Vec<Effect> {
    state.opening = true;
    vec![Effect::Open(path.trim().into())]
}

/// A text as it is, or between quotation marks, of which the second may be missing.
fn unquoted(words: &str) -> String {
    let inside = words.strip_prefix('"').map(|rest| rest.strip_suffix('"').unwrap_or(rest));
    inside.unwrap_or(words).to_string()
}

fn number(state: &mut State, words: &str, n: usize, go: impl FnOnce(&mut State, usize)) {
    match words.trim().parse::<usize>() {
        Ok(at) if at < n => go(state, at),
        _ => refuse(state, format!("`{}`: expected a number from 0 to {}", words.trim(), n - 1)),
    }
}

fn enable(state: &mut State, name: &str) {
    let before = state.schema.clone();
    match state.schema.enable(name) {
        Ok(()) if state.schema != before => schema_changed(state, format!("{name} is on")),
        Ok(()) => say(state, format!("{name} was on")),
        Err(error) => refuse(state, error.to_string()),
    }
}

/// Turn the selected opt-in hook on, or off again; edits that need it go off with it.
pub(super) fn toggle_opt_in(state: &mut State) {
    let point = state.point();
    if !point.is_opt_in() {
        return refuse(state, format!("{point} is always computed; only opt-in hooks are turned on and off"));
    }
    let mut enabled = state.schema.enabled().clone();
    let on = enabled.insert(point);
    if !on {
        enabled.remove(&point);
    }
    state.schema.set_enabled(enabled);
    schema_changed(state, format!("{point} is {}", if on { "on" } else { "off" }));
}

/// Edits that no longer resolve are switched off; everything is run anew.
fn schema_changed(state: &mut State, said: String) {
    let off = drop_unfit(state);
    let also = if off > 0 { format!("; {off} of the edits no longer apply and were disabled") } else { String::new() };
    say(state, said + &also);
    run_again(state);
}

/// Open the line on the search for a token: most begin with a space.
pub(super) fn find_token(state: &mut State) {
    open(state, "token \" ");
}
