use std::{path::PathBuf, sync::Arc};

use crossterm::event::{KeyEvent, MouseEvent};

use super::saved_view::Setup;
use crate::{
    engine::{Report, Want},
    experiment::{Results, Token},
    hooks::{VectorDefinition, VectorName},
    model::{Progress, TrainingStep, WeightHashes},
    paint::Target,
    views::ModelInfo,
};

/// Everything that can happen to the explorer.
#[derive(Clone, Debug)]
pub enum Event {
    /// The explorer opens, or another model replaces the current one.
    Start,
    Key(KeyEvent),
    /// A mouse event, with the target under the pointer.
    Mouse(MouseEvent, Option<Target>),
    /// Text from the clipboard.
    Paste(String),
    /// The terminal's new size, columns and rows.
    Resize(u16, u16),
    Report(Report),
    /// The answer to [`Effect::Tokenize`]: the text, and its tokens or why it is not suitable.
    Tokenized(Purpose, String, Result<Vec<Token>, String>),
    /// The answer to [`Effect::Define`]: the vector, or what is wrong with it.
    Defined(Result<(VectorName, VectorDefinition), String>),
    /// The answer to [`Effect::Save`].
    Saved(PathBuf, Result<(), NotSaved>),
    /// The answer to [`Effect::Open`] for an experiment on this model.
    Opened(PathBuf, Result<Box<Setup>, String>),
    /// The answer to [`Effect::Open`] for a table of results.
    Results(PathBuf, Result<Arc<Results>, String>),
    /// The model of the experiment is being loaded.
    Loading(String),
    /// Progress of a checkpoint's download.
    Fetching(Progress),
    /// A checkpoint's download ended.
    Fetched(String, Result<(), String>),
    /// The known checkpoints of the model's training.
    Checkpoints(Vec<TrainingStep>),
    /// The hashes of a checkpoint's weight files, by its revision.
    Hashed(String, WeightHashes),
    /// The answer to [`Effect::Travel`]: the model that is now explored.
    Travelled(TrainingStep, Result<Box<ModelInfo>, String>),
    /// Why the session can't be saved.
    NotKept(String),
    /// A signal to stop until continued.
    Suspend,
    /// The process continues after a stop: another program may have used the terminal.
    Continued,
    /// A signal or a closed terminal: leave.
    Quit,
}

/// What the tokens of a text are needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be shown below the line in which the prompt, or the contrast prompt, is typed.
    Typing {
        contrast: bool,
    },
    /// To be run at once.
    Prompt,
    Contrast,
    /// To be found among the next tokens.
    Find,
    Target,
    Distractor,
    /// The prompt, or the contrast prompt, of this row of the results that are open.
    Result {
        row: usize,
        contrast: bool,
    },
}

impl Purpose {
    /// Whether the text is a prompt rather than the name of a token.
    #[must_use]
    pub fn is_prompt(self) -> bool {
        match self {
            Self::Typing { .. } | Self::Prompt | Self::Contrast | Self::Result { .. } => true,
            Self::Find | Self::Target | Self::Distractor => false,
        }
    }
}

/// Why a file was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSaved {
    Exists,
    Failed(String),
}

/// What the explorer asks of its environment.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Post(Want),
    /// Find the tokens of a text.
    Tokenize(Purpose, String),
    /// Read a vector, as `--vector` takes it.
    Define(String),
    /// Find the texts of tokens; the answer is [`Event::Tokenized`].
    Name(Purpose, Vec<u32>),
    /// Put a text on the clipboard of the terminal's user.
    Copy(String),
    /// Write what is on the screen to a file, in the format of its extension. An existing file is replaced only if
    /// `replace` is set.
    Save {
        path: PathBuf,
        replace: bool,
    },
    /// Open the experiment, or the table of results, in a file.
    Open(PathBuf),
    /// Stop opening an experiment.
    Abandon,
    /// Explore this checkpoint of the same training run.
    Travel(TrainingStep),
    /// Stop loading a checkpoint.
    Stay,
    /// Download these checkpoints, which the user is likely to visit next.
    Fetch(Vec<TrainingStep>),
    /// Stop the current run.
    Cancel,
    /// Give the terminal back to the shell until resumed; stops the whole job, or this process alone.
    Suspend {
        job: bool,
    },
    /// Set the terminal up again, and draw everything.
    Redraw,
    Quit,
}
