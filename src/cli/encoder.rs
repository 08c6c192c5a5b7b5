//! The tokens of what is typed, found on a thread of its own: a long text takes longer than a frame.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use super::prompt::Words;
use crate::{
    app::{Purpose, Token},
    engine::caught,
    model::{Config, Tokenizer},
};

/// A text, and what its tokens are found with.
pub(super) struct Text {
    pub purpose: Purpose,
    pub text: String,
    pub tokenizer: Arc<Tokenizer>,
    pub config: Config,
    pub prepend_bos: bool,
}

/// Ends when it is dropped.
pub(super) struct Encoder(Sender<Text>);

impl Encoder {
    /// Tell `found` the tokens of each text, or why it can't be what it is meant for.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn start(found: impl Fn(Purpose, String, Result<Vec<Token>, String>) + Send + 'static) -> io::Result<Self> {
        let (texts, asked) = mpsc::channel();
        thread::Builder::new().name("encoder".into()).spawn(move || encode_each(&asked, &found))?;
        Ok(Self(texts))
    }

    /// Find the tokens of a text. One that was asked for the same purpose before, and not begun, is forgotten.
    pub fn ask(&self, text: Text) {
        // a thread that ended has nobody to tell
        let _ = self.0.send(text);
    }
}

fn encode_each(asked: &Receiver<Text>, found: &impl Fn(Purpose, String, Result<Vec<Token>, String>)) {
    let mut texts: Vec<Text> = vec![];
    loop {
        let first = if texts.is_empty() { asked.recv().ok() } else { None };
        if texts.is_empty() && first.is_none() {
            return;
        }
        for text in first.into_iter().chain(asked.try_iter()) {
            texts.retain(|older| older.purpose != text.purpose);
            texts.push(text);
        }
        let Text { purpose, text, tokenizer, config, prepend_bos } = texts.remove(0);
        let words = Words { tokenizer: &tokenizer, config: &config };
        let tokens = caught(|| words.prompt(&text, prepend_bos && purpose.is_prompt()));
        found(purpose, text, tokens.and_then(|tokens| tokens.map_err(|e| e.to_string())));
    }
}
