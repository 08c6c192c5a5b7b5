//! What the event loop waits for, and how other threads send it.

use std::{path::PathBuf, sync::mpsc::Sender};

use super::{checkpoints::CheckpointReport, encoder::Encoded, open_experiment::OpenReport};
use crate::{engine::Report, explorer::Event, term::Answer};

/// One message to the event loop. A number says which model or attempt a report belongs to, so that a late one is dropped.
pub(super) enum Message {
    Event(Event),
    /// From the terminal, about itself.
    Terminal(Answer),
    /// From the worker of the model with this number.
    Report(u64, Report),
    /// From the checkpoint loader that was started for the model with this number.
    Checkpoint(u64, CheckpointReport),
    /// From the attempt with this number to open the experiment in a file.
    Open(u64, PathBuf, OpenReport),
    Encoded(Encoded),
}

impl From<Event> for Message {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

impl From<Answer> for Message {
    fn from(answer: Answer) -> Self {
        Self::Terminal(answer)
    }
}

/// A callback that sends `message` of its argument to the event loop, and does nothing once the loop has ended.
pub(super) fn sending<T, F: Fn(T) -> Message + Clone>(
    sender: &Sender<Message>,
    message: F,
) -> impl Fn(T) + Clone + use<T, F> {
    let sender = sender.clone();
    move |value| {
        // fails only after the loop has ended, when the message no longer matters
        let _ = sender.send(message(value));
    }
}
