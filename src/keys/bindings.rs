//! The only declaration of keys, which dispatch, hint line, help, command line and documentation use.

use crossterm::event::KeyCode;

use super::{
    action::{Action, Motion},
    key::{Key, ch, ctrl, key, key_with_alt, key_with_ctrl},
};

/// Groups of actions, in the order of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Walk,
    Step,
    Edits,
    Views,
    InView,
    Prompt,
    Training,
    Move,
    Screen,
    Files,
    Program,
}

impl Group {
    /// Its heading in the help.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Walk => "Walk the forward pass",
            Self::Step => "Step through a held pass",
            Self::Edits => "Edit",
            Self::Views => "Views",
            Self::InView => "In a view",
            Self::Prompt => "Prompt and generation",
            Self::Training => "Training checkpoints",
            Self::Move => "Move",
            Self::Screen => "Screen",
            Self::Files => "Copy and save",
            Self::Program => "Program",
        }
    }
}

/// An action with its name, its default keys and its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    pub action: Action,
    /// For the command line and the configuration file.
    pub name: &'static str,
    pub keys: &'static [Key],
    /// The description, for the help and the documentation.
    pub doc: &'static str,
}

pub(super) const fn bind(action: Action, name: &'static str, keys: &'static [Key], doc: &'static str) -> Binding {
    Binding { action, name, keys, doc }
}

/// Every binding except those of the views, which come first in [`Group::Views`].
pub(super) const BINDINGS: &[(Group, &[Binding])] = &[
    (
        Group::Walk,
        &[
            bind(Action::NextHook, "next-hook", &[ch(']')], "the next hook of the forward pass"),
            bind(Action::PreviousHook, "previous-hook", &[ch('[')], "the previous hook"),
            bind(Action::NextBlock, "next-block", &[ch('}')], "the same hook in the next block"),
            bind(Action::PreviousBlock, "previous-block", &[ch('{')], "the same hook in the previous block"),
            bind(
                Action::NextHead,
                "next-head",
                &[ch('>')],
                "the next head; in Values, the next index of the hidden axis; in Continue, the next branch",
            ),
            bind(Action::PreviousHead, "previous-head", &[ch('<')], "the previous head or index"),
            bind(Action::Find, "find", &[ch('/')], "find a hook by parts of its name: `3 pat`"),
            bind(Action::NextMatch, "next-match", &[ch('n')], "the next hook found"),
            bind(Action::PreviousMatch, "previous-match", &[ch('N')], "the previous hook found"),
            bind(
                Action::Back,
                "back",
                &[ctrl('o'), key_with_alt(KeyCode::Left)],
                "back to where you were before the last jump",
            ),
            bind(Action::Forward, "forward", &[key_with_alt(KeyCode::Right)], "forward again"),
            bind(
                Action::ModuleTree,
                "face",
                &[ch('f')],
                "switch the tree between TransformerLens's hooks and Hugging Face's modules",
            ),
            bind(
                Action::Enable,
                "enable-hook",
                &[ch('O')],
                "turn an opt-in hook on or off (`:enable NAME` for all blocks)",
            ),
        ],
    ),
    (
        Group::Step,
        &[
            bind(Action::Hold, "hold", &[ch('H')], "hold the pass at the selected hook: later hooks are not computed"),
            bind(Action::Step, "step", &[ch(';')], "compute the next hook"),
            bind(Action::StepOver, "step-over", &[ch('\'')], "go on to the end of the block"),
            bind(Action::StepOut, "step-out", &[ch('"')], "go on to the first hook after the module"),
            bind(Action::StepBack, "step-back", &[ch('R')], "back to the previous hook; nothing is computed again"),
            bind(Action::Continue, "continue", &[ch('U')], "continue to the next breakpoint, or to the end"),
            bind(
                Action::Breakpoint,
                "breakpoint",
                &[ch('b')],
                "a breakpoint on what is under the cursor: the pass is held where it is true",
            ),
            bind(
                Action::Watch,
                "watch",
                &[ch('M')],
                "watch what is under the cursor: its value is shown beside the edits",
            ),
            bind(Action::Stops, "breakpoints", &[ch('L')], "the list of breakpoints and watches"),
            bind(Action::Grep, "grep", &[ch('&')], "find every place of this run where a predicate holds"),
        ],
    ),
    (
        Group::Edits,
        &[
            bind(
                Action::Ablate,
                "ablate",
                &[ch('a')],
                "ablate the hook, or what is under the view's cursor; again, undo that",
            ),
            bind(
                Action::AblationScope,
                "grain",
                &[ch('A')],
                "choose what `a` ablates in Values and Attention: cell, row, column or all",
            ),
            bind(
                Action::ChangeEdit,
                "edit-selected",
                &[ch('e')],
                "edit what is selected, as a line of text; in the edits panel, change the selected edit",
            ),
            bind(
                Action::SetValue,
                "set-value",
                &[ch('#')],
                "Values: set the value under the cursor; with the cursor there, a digit, `-` or `.` also begins the number",
            ),
            bind(Action::NewEdit, "new-edit", &[ch('i')], "write a new edit"),
            bind(
                Action::NewVector,
                "new-vector",
                &[ch('^')],
                "make a vector for edits: of two prompts, a file, a token or a feature",
            ),
            bind(
                Action::More,
                "more",
                &[ch('+'), ch('=')],
                "raise the selected edit's number by a tenth; in Features, scale the feature up; in Continue, raise the setting",
            ),
            bind(Action::Less, "less", &[ch('-')], "lower it by a tenth"),
            bind(Action::ToggleEdit, "toggle-edit", &[ch(' ')], "switch the selected edit off or on"),
            bind(Action::DeleteEdit, "delete-edit", &[ch('x'), key(KeyCode::Delete)], "delete the selected edit"),
            bind(Action::EditUp, "edit-up", &[ch('K')], "move the selected edit up (edits apply in order)"),
            bind(Action::EditDown, "edit-down", &[ch('J')], "move it down"),
            bind(Action::Undo, "undo", &[ch('u')], "undo the last change to the edits"),
            bind(Action::Redo, "redo", &[ctrl('r')], "redo it"),
            bind(Action::Rerun, "rerun", &[ch('r')], "run again after a cancelled or failed run"),
        ],
    ),
    (
        Group::Views,
        &[
            bind(Action::PickView, "views", &[ch('v')], "choose a view from a list"),
            bind(Action::NextTab, "next-view", &[ch('V')], "the next view"),
            bind(Action::PreviousTab, "previous-view", &[], "the previous view"),
        ],
    ),
    (
        Group::InView,
        &[
            bind(
                Action::Switch,
                "switch",
                &[ch('s')],
                "change what is shown: pattern, scores or value-weighted; axes; probability or KL; score; map; number; setting",
            ),
            bind(
                Action::ChangeLayout,
                "layout",
                &[ch('m')],
                "change how it is shown: one head, the block's or all; numbers or colours; bars or map; metric",
            ),
            bind(
                Action::Compare,
                "compare",
                &[ch('d')],
                "with edits: cycle edited run, difference, baseline; with --against: this model, difference, that one",
            ),
            bind(
                Action::Gradient,
                "gradient",
                &[ch('B')],
                "Shape, Values, Attention, Diagram: cycle value, gradient of the logit difference, gradient x value, \
                 gradient x (contrast - prompt)",
            ),
            bind(Action::Extreme, "extreme", &[ch('*')], "Values, Attention: go to the value furthest from 0"),
            bind(
                Action::SortColumns,
                "order",
                &[ch('c')],
                "Values: sort the columns by the cursor's row, or restore their order; Circuit: by estimate or exact effect",
            ),
            bind(
                Action::Target,
                "set-target",
                &[ch('t')],
                "Logits, Lens: make this token the target of the logit difference",
            ),
            bind(
                Action::Distractor,
                "set-distractor",
                &[ch('D')],
                "make it the distractor; again, use the target alone",
            ),
            bind(Action::FindToken, "find-token", &[ch('F')], "the rank of any token among the next ones"),
        ],
    ),
    (
        Group::Prompt,
        &[
            bind(Action::Prompt, "edit-prompt", &[ch('p')], "edit the prompt"),
            bind(Action::Contrast, "edit-contrast", &[ch('P')], "edit the contrast prompt, the source of `= patch`"),
            bind(
                Action::Append,
                "append",
                &[ch('.')],
                "append the likeliest token, or the one selected in Logits; in a continuation, end the prompt here",
            ),
            bind(Action::TakeBack, "take-back", &[ch(',')], "remove the last appended token"),
        ],
    ),
    (
        Group::Training,
        &[
            bind(
                Action::NextCheckpoint,
                "next-checkpoint",
                &[key_with_ctrl(KeyCode::Right), ctrl('n')],
                "the next checkpoint of the model's training",
            ),
            bind(
                Action::PreviousCheckpoint,
                "previous-checkpoint",
                &[key_with_ctrl(KeyCode::Left), ctrl('p')],
                "the previous checkpoint",
            ),
            bind(
                Action::VisitCheckpoints,
                "visit-checkpoints",
                &[ch('W')],
                "visit every checkpoint on this machine, for the chart in Training; again, stop",
            ),
        ],
    ),
    (
        Group::Move,
        &[
            bind(Action::Move(Motion::Up), "up", &[ch('k'), key(KeyCode::Up)], "up"),
            bind(Action::Move(Motion::Down), "down", &[ch('j'), key(KeyCode::Down)], "down"),
            bind(
                Action::Move(Motion::Left),
                "left",
                &[ch('h'), key(KeyCode::Left)],
                "fold, or go to the parent; left in a view",
            ),
            bind(Action::Move(Motion::Right), "right", &[ch('l'), key(KeyCode::Right)], "unfold; right in a view"),
            bind(
                Action::Move(Motion::Enter),
                "enter",
                &[key(KeyCode::Enter)],
                "fold or unfold; open what is under the cursor; zoom in",
            ),
            bind(Action::Move(Motion::First), "first", &[ch('g'), key(KeyCode::Home)], "the first row"),
            bind(Action::Move(Motion::Last), "last", &[ch('G'), key(KeyCode::End)], "the last row"),
            bind(Action::Move(Motion::PageUp), "page-up", &[ctrl('u'), key(KeyCode::PageUp)], "a page up"),
            bind(Action::Move(Motion::PageDown), "page-down", &[ctrl('d'), key(KeyCode::PageDown)], "a page down"),
        ],
    ),
    (
        Group::Screen,
        &[
            bind(Action::NextFocus, "next-panel", &[key(KeyCode::Tab)], "the next panel: tree, view, edits"),
            bind(Action::PreviousFocus, "previous-panel", &[key(KeyCode::BackTab)], "the previous panel"),
            bind(Action::Maximise, "maximise", &[ch('z')], "zoom the panel to the whole screen, or restore it"),
            bind(
                Action::Present,
                "present",
                &[ch('Z')],
                "presenter mode: the view with one explaining line, for a projector; again, everything",
            ),
            bind(Action::Narrower, "narrower", &[ch('(')], "make the tree narrower (you can also drag its border)"),
            bind(Action::Wider, "wider", &[ch(')')], "make the tree wider"),
            bind(Action::Redraw, "redraw", &[ctrl('l')], "redraw the screen"),
        ],
    ),
    (
        Group::Files,
        &[
            bind(Action::Copy, "copy", &[ch('y')], "copy the hook's name or, in a view, the value under the cursor"),
            bind(Action::CopyTable, "copy-table", &[ch('Y')], "copy the view's table, tab-separated"),
            bind(Action::Save, "save", &[ch('S')], "save the view as SVG, or its numbers as CSV or npz"),
            bind(Action::Write, "write", &[ch('w')], "save the experiment: model, prompts, hooks, edits, view"),
            bind(Action::Open, "open", &[ch('o')], "open an experiment, or the last session"),
            bind(Action::Export, "export", &[ch('E')], "save a Python script that repeats the run in TransformerLens"),
        ],
    ),
    (
        Group::Program,
        &[
            bind(
                Action::Command,
                "command",
                &[ch(':')],
                "search every action by name, and run commands with arguments",
            ),
            bind(Action::Help, "help", &[ch('?')], "every key: those of this view first, and a search"),
            bind(Action::Tour, "tour", &[ch('T')], "start the guided tour; in it, the next step"),
            bind(Action::TourBack, "tour-back", &[ctrl('t')], "the previous step of the tour"),
            bind(
                Action::Escape,
                "escape",
                &[key(KeyCode::Esc)],
                "close the dialog; leave a zoom; stop what is running; leave the tour; return to the tree",
            ),
            bind(Action::Suspend, "suspend", &[ctrl('z')], "suspend to the shell; `fg` returns"),
            bind(Action::Quit, "quit", &[ch('q'), ctrl('c')], "quit"),
        ],
    ),
];
