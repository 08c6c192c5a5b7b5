use super::{
    command::CommandLine, edit::Editor, finder::Finder, help::HelpPage, places::PlaceList, predicate::PredicateLine,
    prompt::PromptLine, save::SaveLine,
};

/// The overlay that covers the screen and takes the keys.
#[derive(Clone, Debug)]
pub enum Overlay {
    Help(HelpPage),
    /// The list of views, with the cursor on a row.
    Views(usize),
    Find(Finder),
    Edit(Editor),
    Prompt(PromptLine),
    Command(CommandLine),
    Save(SaveLine),
    /// A breakpoint, a watch or a search is written.
    Predicate(PredicateLine),
    /// The list of breakpoints and watches, with the cursor on a row.
    Stops(usize),
    Places(PlaceList),
}
