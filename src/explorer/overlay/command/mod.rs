//! The `:` line: every action by its name, and commands with arguments.

mod draw;
mod line;
mod search;

use crossterm::event::{KeyCode, KeyEvent};
use tui_input::Input;

use super::{
    Answer,
    edit::{Editor, judge},
    line::{LINE, pasted, typed},
    open::Overlay,
    prompt,
};
use crate::{
    experiment::GenerationSetting,
    explorer::{
        checkpoints,
        event::{Effect, Purpose},
        navigate::jump_to,
        opt_in,
        state::State,
    },
    hooks::{BlockHook, Dims, HookPoint},
    suggest::{self, did_you_mean, nearest},
    views::{Scene, Tab, stepped},
};

pub(super) use draw::draw;
pub use line::{CommandLine, Completion};

use search::search;

/// A command with arguments.
struct Command {
    name: &'static str,
    /// Its arguments.
    takes: &'static str,
    doc: &'static str,
    /// Whether the arguments may be left out.
    optional: bool,
    /// Completions of the arguments.
    words: fn(&State, typed: &str) -> Vec<String>,
    run: fn(&mut State, words: &str) -> Vec<Effect>,
}

const fn command(
    (name, takes, doc): (&'static str, &'static str, &'static str),
    words: fn(&State, &str) -> Vec<String>,
    run: fn(&mut State, &str) -> Vec<Effect>,
) -> Command {
    Command { name, takes, doc, optional: false, words, run }
}

/// Every command with arguments, in the order in which the line offers them.
const COMMANDS: [Command; 16] = [
    command(
        ("hook", "NAME", "go to a hook"),
        |state, _| state.scene.schema.all_points().iter().map(ToString::to_string).collect(),
        go_to_hook,
    ),
    command(
        ("view", "NAME", "show a view"),
        |_, _| Tab::ALL.iter().map(ToString::to_string).collect(),
        |state, words| {
            match words.trim().to_lowercase().parse() {
                Ok(tab) => state.tab = tab,
                Err(why) => state.scene.refuse(why),
            }
            vec![]
        },
    ),
    command(("head", "N", "go to a head of this block, or with L.N to head N of block L"), no_words, go_to_head),
    command(("position", "N", "go to a position"), no_words, |state, words| {
        let n = state.scene.tokens().len();
        number(&mut state.scene, words, n, |scene, at| scene.cursor.pos = at)
    }),
    command(
        ("edit", "LINE", "add an edit, and run"),
        |state, words| Editor::open(words, None, state.scene.setting()).completions,
        |state, words| {
            match judge(words, state.scene.setting()) {
                Ok((edit, _)) => state.scene.edits.push(edit),
                Err(problem) => state.scene.refuse(problem.message),
            }
            vec![]
        },
    ),
    command(
        ("enable", "NAME", "turn on an opt-in hook, in every block or in one"),
        hooks_that_are_off,
        |state, words| {
            opt_in::enable(&mut state.scene, words.trim());
            vec![]
        },
    ),
    command(("prompt", "TEXT", "run another prompt"), no_words, |_, words| {
        vec![Effect::Tokenize(Purpose::Prompt, words.into())]
    }),
    Command {
        optional: true,
        ..command(
            ("contrast", "TEXT", "set the contrast prompt, which `= patch` takes from"),
            no_words,
            |state, words| {
                if words.trim().is_empty() {
                    prompt::no_contrast(state);
                    return vec![];
                }
                vec![Effect::Tokenize(Purpose::Contrast, words.into())]
            },
        )
    },
    command(
        ("target", "TOKEN", "set the target of the logit difference; a leading space counts: `target \" Mary\"`"),
        no_words,
        |_, words| vec![Effect::Tokenize(Purpose::Target, unquoted(words))],
    ),
    command(("distractor", "TOKEN", "set the distractor"), no_words, |_, words| {
        vec![Effect::Tokenize(Purpose::Distractor, unquoted(words))]
    }),
    command(("token", "TOKEN", "the rank of a token among the next ones"), no_words, |_, words| {
        vec![Effect::Tokenize(Purpose::Find, unquoted(words))]
    }),
    command(
        ("vector", "NAME=SOURCE", "make a vector for edits: of two prompts, a file, a token or a feature"),
        vector_sources,
        |_, words| vec![Effect::Define(words.trim_end().into())],
    ),
    command(
        ("sampling", "NAME VALUE", "set how Continue draws: `sampling temperature 0.8`"),
        |state, _| {
            let settings = state.views.continuation.settings;
            GenerationSetting::ALL.iter().map(|name| format!("{} {}", name.name(), settings.value(*name))).collect()
        },
        set_sampling,
    ),
    command(
        ("save", "FILE", "save the view as .svg, .csv or .npz, the experiment as .toml, a script as .py"),
        no_words,
        |state, words| super::save::begin(state, words.trim()),
    ),
    command(("open", "FILE", "open an experiment"), no_words, open_experiment),
    command(
        ("step", "N", "go to the training checkpoint of a step"),
        |state, _| state.scene.checkpoints.steps.iter().map(|step| step.revision.clone()).collect(),
        |state, words| checkpoints::travel_to(state, words.trim()),
    ),
];

pub(in crate::explorer) fn open(state: &mut State, text: &str) {
    state.overlay = Some(Overlay::Command(self::line(state, text)));
}

pub(super) fn key(state: &mut State, mut line: CommandLine, key: &KeyEvent) -> Answer {
    match key.code {
        KeyCode::Esc => return Answer::Effects(vec![]),
        KeyCode::Backspace if line.input.value().is_empty() => return Answer::Effects(vec![]),
        KeyCode::Enter => return carry_out(state, &line),
        KeyCode::Up => line.cursor = stepped(line.cursor, -1, line.completions.len()),
        KeyCode::Down => line.cursor = stepped(line.cursor, 1, line.completions.len()),
        KeyCode::Tab => {
            if let Some(completion) = line.completions.get(line.cursor) {
                line = self::line(state, &completion.line);
            }
        }
        _ => {
            if typed(&mut state.scene, &mut line.input, key, LINE) {
                refresh(state, &mut line);
            }
        }
    }
    state.overlay = Some(Overlay::Command(line));
    Answer::Effects(vec![])
}

/// Pasted text, of one line.
pub(super) fn paste(state: &mut State, mut line: CommandLine, text: &str) {
    if pasted(&mut state.scene, &mut line.input, text, LINE) {
        refresh(state, &mut line);
    }
    state.overlay = Some(Overlay::Command(line));
}

/// The line with a text and its completions.
fn line(state: &State, text: &str) -> CommandLine {
    CommandLine { input: Input::new(text.into()), completions: completions(state, text), cursor: 0 }
}

fn refresh(state: &State, line: &mut CommandLine) {
    line.completions = completions(state, line.input.value());
    line.cursor = 0;
}

/// The completions of a text: actions and commands, or a command with its arguments.
fn completions(state: &State, text: &str) -> Vec<Completion> {
    let command = text.split_once(' ').and_then(|(name, words)| Some((named(name)?, words)));
    let Some((command, words)) = command else { return search(everything(state), text) };
    let all = (command.words)(state, words);
    // an edit has its own completions
    let mut all: Vec<String> = all.into_iter().filter(|word| word.contains(words) || command.name == "edit").collect();
    all.sort_by_key(|word| !word.starts_with(words));
    let whole = |word| Completion { line: format!("{} {word}", command.name), keys: String::new(), doc: "" };
    all.into_iter().map(whole).collect()
}

/// Every action with its keys, and every command.
fn everything(state: &State) -> Vec<Completion> {
    let actions = state.scene.keys.bindings().map(|bound| Completion {
        line: bound.binding.name.into(),
        keys: bound.keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        doc: bound.binding.doc,
    });
    let commands = COMMANDS.iter().map(|command| Completion {
        line: format!("{} ", command.name),
        keys: String::new(),
        doc: command.doc,
    });
    actions.chain(commands).collect()
}

fn named(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// Run what is typed; if it is not a name, the selected completion.
fn carry_out(state: &mut State, open: &CommandLine) -> Answer {
    let typed = open.input.value();
    let text = match (is_whole(state, typed), open.completions.get(open.cursor)) {
        (false, Some(completion)) => completion.line.clone(),
        (true, _) | (false, None) => typed.to_string(),
    };
    let (name, words) = text.split_once(' ').unwrap_or((&text, ""));
    // a space after a name means the command of that name, which takes arguments
    let is_command = text.ends_with(' ') && named(name).is_some();
    let action = state.scene.keys.bindings().find(|bound| bound.binding.name == text.trim());
    if let Some(bound) = action.filter(|_| !is_command) {
        return Answer::Act(bound.binding.action);
    }
    if text != typed && words.is_empty() && named(name).is_some_and(|command| !command.optional) {
        // it was chosen, and its arguments are typed next
        self::open(state, &text);
        return Answer::Effects(vec![]);
    }
    Answer::Effects(run(state, name.trim(), words, &text))
}

/// Whether a text names an action or a command, rather than describing one; the name of an experiment file counts.
fn is_whole(state: &State, text: &str) -> bool {
    let name = text.split(' ').next().unwrap_or_default();
    let is_file = std::path::Path::new(text.trim()).extension().is_some_and(|e| e == "toml");
    is_file || named(name).is_some() || state.scene.keys.bindings().any(|bound| bound.binding.name == text.trim())
}

/// Run a command with arguments.
fn run(state: &mut State, name: &str, words: &str, line: &str) -> Vec<Effect> {
    let Some(command) = named(name) else {
        if std::path::Path::new(line.trim()).extension().is_some_and(|e| e == "toml") {
            // only a file name: `open` was deleted
            return open_experiment(state, line);
        }
        if state.scene.keys.bindings().any(|bound| bound.binding.name == name) {
            state.scene.refuse(format!("{name} takes no words"));
        } else if !name.is_empty() {
            let keys = &state.scene.keys;
            let names = COMMANDS.iter().map(|command| command.name).chain(keys.bindings().map(|b| b.binding.name));
            let suggestion = did_you_mean(&nearest(name, names));
            state.scene.refuse(format!("there is no command `{name}`{suggestion}"));
        }
        return vec![];
    };
    if words.trim().is_empty() && !command.optional {
        state.scene.refuse(format!("{name} takes {}", command.takes));
        return vec![];
    }
    (command.run)(state, words)
}

fn no_words(_: &State, _: &str) -> Vec<String> {
    vec![]
}

fn hooks_that_are_off(state: &State, _: &str) -> Vec<String> {
    let schema = &state.scene.schema;
    let off = schema.all_points().into_iter().filter(|p| p.is_opt_in() && !schema.is_enabled(*p));
    let mut names: Vec<String> = off.map(|point| point.short_name().to_string()).collect();
    names.sort();
    names.dedup();
    names
}

fn go_to_hook(state: &mut State, words: &str) -> Vec<Effect> {
    match words.trim().parse::<HookPoint>() {
        Ok(point) if state.scene.schema.all_points().contains(&point) => jump_to(state, point),
        Ok(point) => {
            let last = state.scene.schema.dims.n_layers - 1;
            state.scene.refuse(format!("`{point}`: this model has blocks 0 to {last}"));
        }
        Err(error) => state.scene.refuse(error.to_string()),
    }
    vec![]
}

/// `N`, a head of this block, or `L.N`, one of block `L`.
fn go_to_head(state: &mut State, words: &str) -> Vec<Effect> {
    let Some((block, head)) = words.trim().split_once('.') else {
        let n = state.scene.schema.dims.n_heads;
        return number(&mut state.scene, words, n, |scene, at| scene.cursor.head = at);
    };
    let Dims { n_layers, n_heads, .. } = state.scene.schema.dims;
    match (block.parse::<usize>(), head.parse::<usize>()) {
        (Ok(block), Ok(head)) if block < n_layers && head < n_heads => {
            jump_to(state, HookPoint::Block(block, BlockHook::Z));
            state.scene.cursor.head = head;
        }
        _ => {
            let (block, head) = (n_layers - 1, n_heads - 1);
            state.scene.refuse(format!(
                "`{}`: expected L.N, a block from 0 to {block} and a head from 0 to {head}",
                words.trim()
            ));
        }
    }
    vec![]
}

/// The kinds of sources of a vector, after its name; those of a dictionary only if there is one.
fn vector_sources(state: &State, typed: &str) -> Vec<String> {
    let name = typed.split_once('=').map_or(typed, |(name, _)| name).trim();
    if name.is_empty() {
        return vec![];
    }
    let features = state.scene.schema.dictionaries().keys().map(|hook| format!("sae:{hook}#"));
    let others = ["diff:", "diff@", "unembed: ", "embed: "].map(String::from);
    others.into_iter().chain(features).map(|source| format!("{name}={source}")).collect()
}

/// `NAME VALUE`, a setting of Continue.
fn set_sampling(state: &mut State, words: &str) -> Vec<Effect> {
    let (name, value) = words.trim().split_once(' ').unwrap_or((words.trim(), ""));
    let set = suggest::by_name("setting", name, &GenerationSetting::ALL, GenerationSetting::name)
        .and_then(|name| state.views.continuation.set_named(name, value.trim()));
    match set {
        Ok(said) => state.scene.say(said),
        Err(why) => state.scene.refuse(why),
    }
    vec![]
}

fn open_experiment(state: &mut State, path: &str) -> Vec<Effect> {
    state.opening = true;
    vec![Effect::Open(path.trim().into())]
}

/// A text as it is, or without its quotation marks; the closing one may be missing.
fn unquoted(words: &str) -> String {
    let inside = words.strip_prefix('"').map(|rest| rest.strip_suffix('"').unwrap_or(rest));
    inside.unwrap_or(words).to_string()
}

fn number(scene: &mut Scene, words: &str, n: usize, go: impl FnOnce(&mut Scene, usize)) -> Vec<Effect> {
    match words.trim().parse::<usize>() {
        Ok(at) if at < n => go(scene, at),
        Ok(_) | Err(_) => scene.refuse(format!("`{}`: expected a number from 0 to {}", words.trim(), n - 1)),
    }
    vec![]
}

/// Open the line on the token search; most tokens begin with a space.
pub(in crate::explorer) fn find_token(state: &mut State) {
    open(state, "token \" ");
}
