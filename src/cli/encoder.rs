//! The tokens of what is typed, found on a thread of its own: a long text takes longer than a frame.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use crate::{
    app::Purpose,
    experiment::{PromptParser, Token},
    model::{Config, Tokenizer},
    panics::caught,
};

/// A text, and what its tokens are found with.
pub(super) struct Typed {
    /// The number of what is explored.
    pub of: u64,
    pub purpose: Purpose,
    pub text: String,
    pub tokenizer: Arc<Tokenizer>,
    pub config: Config,
    pub prepend_bos: bool,
}

/// The tokens of a text, or why it can't be what it is meant for.
pub(super) struct Found {
    pub of: u64,
    pub purpose: Purpose,
    pub text: String,
    pub tokens: Result<Vec<Token>, String>,
}

/// Ends when it is dropped.
pub(super) struct Encoder(Sender<Typed>);

impl Encoder {
    /// Tell `found` the tokens of each text.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn start(found: impl Fn(Found) + Send + 'static) -> io::Result<Self> {
        let (texts, asked) = mpsc::channel();
        thread::Builder::new().name("encoder".into()).spawn(move || encode_each(&asked, &found))?;
        Ok(Self(texts))
    }

    /// Find the tokens of a text. One that was asked for the same purpose before, and not begun, is forgotten.
    pub fn ask(&self, text: Typed) {
        // a thread that ended has nobody to tell
        let _ = self.0.send(text);
    }
}

fn encode_each(asked: &Receiver<Typed>, found: &impl Fn(Found)) {
    let mut texts: Vec<Typed> = vec![];
    loop {
        let first = if texts.is_empty() { asked.recv().ok() } else { None };
        if texts.is_empty() && first.is_none() {
            return;
        }
        for text in first.into_iter().chain(asked.try_iter()) {
            texts.retain(|older| older.purpose != text.purpose);
            texts.push(text);
        }
        let Typed { of, purpose, text, tokenizer, config, prepend_bos } = texts.remove(0);
        let parser = PromptParser { tokenizer: &tokenizer, config: &config };
        let tokens = caught(|| parser.prompt(&text, prepend_bos && purpose.is_prompt()));
        let tokens = tokens.and_then(|tokens| tokens.map_err(|e| e.to_string()));
        found(Found { of, purpose, text, tokens });
    }
}
