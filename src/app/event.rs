use std::path::PathBuf;

use crossterm::event::{KeyEvent, MouseEvent};

use super::{Hit, ModelInfo, Setup};
use crate::{
    engine::{Report, Want},
    experiment::Token,
    model::{Progress, TrainingStep},
};

/// Whatever can happen to the explorer.
#[derive(Clone, Debug)]
pub enum Event {
    Key(KeyEvent),
    /// With what was drawn under the pointer.
    Mouse(MouseEvent, Option<Hit>),
    /// Text from the clipboard.
    Paste(String),
    /// The terminal's new size, columns and rows.
    Resize(u16, u16),
    Report(Report),
    /// The answer to [`Effect::Tokenize`]: the text, and its tokens or why it can't be what it was meant for.
    Tokenized(Purpose, String, Result<Vec<Token>, String>),
    /// The answer to [`Effect::Save`].
    Saved(PathBuf, Result<(), NotSaved>),
    /// The answer to [`Effect::Open`], where the experiment is of this model.
    Opened(PathBuf, Result<Box<Setup>, String>),
    /// The model of the experiment is being loaded.
    Loading(String),
    /// A part of a checkpoint came.
    Fetching(Progress),
    /// A checkpoint's download ended, well or not.
    Fetched(String, Result<(), String>),
    /// The checkpoints of the model's training, as they are known now.
    Checkpoints(Vec<TrainingStep>),
    /// The answer to [`Effect::Travel`]: the model that is explored from now on.
    Travelled(TrainingStep, Result<Box<ModelInfo>, String>),
    /// The session can't be kept, and why.
    NotKept(String),
    /// A signal to stop until continued.
    Suspend,
    /// The process was stopped, and goes on: somebody else may have used the terminal.
    Continued,
    /// A signal or a closed terminal: leave.
    Quit,
}

/// What the tokens of a text are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be shown below the line that the prompt, or the contrast prompt, is typed in.
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
}

impl Purpose {
    /// Whether the text is to be run, and not the name of a token.
    #[must_use]
    pub fn is_prompt(self) -> bool {
        match self {
            Self::Typing { .. } | Self::Prompt | Self::Contrast => true,
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

/// Whatever the explorer asks of the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Post(Want),
    /// Find the tokens of a text.
    Tokenize(Purpose, String),
    /// Put a text on the clipboard of whoever looks at the terminal.
    Copy(String),
    /// Write what is on the screen to a file; its ending tells the format. An existing one is replaced only if told so.
    Save {
        path: PathBuf,
        replace: bool,
    },
    /// Go on with the experiment in a file.
    Open(PathBuf),
    /// Open no experiment any longer.
    Abandon,
    /// Explore this checkpoint of the same training.
    Travel(TrainingStep),
    /// None any more.
    Stay,
    /// Have these checkpoints here, for whoever goes to them next.
    Fetch(Vec<TrainingStep>),
    /// Stop the run that is under way.
    Cancel,
    /// Give the terminal back to the shell until resumed: the whole job, or this process alone.
    Suspend {
        job: bool,
    },
    /// Take the terminal anew, and draw everything.
    Redraw,
    Quit,
}
