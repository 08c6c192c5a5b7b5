//! Tokenizes what the user types and reads the vectors that are made of it, on a separate thread, since a long text or a file takes
//! longer than a frame.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use super::loaded_model::LoadedModel;
use crate::{
    experiment::{PromptParser, Token, VectorParser, given_vector},
    explorer::{Event, Purpose},
    hooks::{HookPoint, VectorDefinition, VectorName},
    model::{Config, Tokenizer},
    panics::caught,
};

/// What a text is needed for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    Tokens(Purpose),
    /// It defines a vector, perhaps of a feature: of the dictionary at each hook the number of features.
    Vector(BTreeMap<HookPoint, usize>),
}

/// What was made of a text.
pub(super) enum Made {
    Tokens(Purpose, Result<Vec<Token>, String>),
    Vector(Result<(VectorName, VectorDefinition), String>),
}

/// A text to tokenize, and the tokenizer.
pub(super) struct EncodeRequest {
    /// The number of the model.
    pub model: u64,
    pub wanted: Wanted,
    pub text: String,
    pub tokenizer: Arc<Tokenizer>,
    pub config: Config,
    pub prepend_bos: bool,
}

/// A text, and what was made of it or why it does not serve its purpose.
pub(super) struct Encoded {
    pub model: u64,
    pub text: String,
    pub made: Made,
}

/// The thread's inbox; the thread ends when this is dropped.
pub(super) struct Encoder(Sender<EncodeRequest>);

impl Encoder {
    /// Start the thread, which passes each result to `report`.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn start(report: impl Fn(Encoded) + Send + 'static) -> io::Result<Self> {
        let (sender, requests) = mpsc::channel();
        thread::Builder::new().name("encoder".into()).spawn(move || encode_each(&requests, &report))?;
        Ok(Self(sender))
    }

    /// Tokenize a text. It replaces a waiting request with the same purpose.
    pub fn encode(&self, request: EncodeRequest) {
        // fails only if the thread has ended
        let _ = self.0.send(request);
    }
}

/// The texts of tokens, in answer to [`crate::explorer::Effect::Name`].
pub(super) fn named(purpose: Purpose, ids: &[u32], model: &LoadedModel) -> Event {
    let parser = PromptParser { tokenizer: &model.tokenizer, config: &model.config };
    match parser.text(None, Some(ids), false) {
        Ok((text, tokens)) => Event::Tokenized(purpose, text, Ok(tokens)),
        Err(reason) => Event::Tokenized(purpose, String::new(), Err(reason.to_string())),
    }
}

fn encode_each(requests: &Receiver<EncodeRequest>, report: &impl Fn(Encoded)) {
    let mut waiting: Vec<EncodeRequest> = vec![];
    loop {
        let first = if waiting.is_empty() { requests.recv().ok() } else { None };
        if waiting.is_empty() && first.is_none() {
            return;
        }
        for request in first.into_iter().chain(requests.try_iter()) {
            // each vector is wanted, and of other texts the latest
            waiting.retain(|older| older.wanted != request.wanted || matches!(older.wanted, Wanted::Vector(_)));
            waiting.push(request);
        }
        let EncodeRequest { model, wanted, text, tokenizer, config, prepend_bos } = waiting.remove(0);
        let parser = PromptParser { tokenizer: &tokenizer, config: &config };
        let made = match wanted {
            Wanted::Tokens(purpose) => {
                let tokens = caught(|| parser.prompt(&text, prepend_bos && purpose.is_prompt()));
                Made::Tokens(purpose, tokens.and_then(|tokens| tokens.map_err(|e| e.to_string())))
            }
            Wanted::Vector(d_sae) => {
                let parser = VectorParser { prompts: parser, d_sae: &d_sae, prepend_bos };
                let vector = caught(|| given_vector(parser, &text));
                Made::Vector(vector.and_then(|vector| vector.map_err(|e| e.to_string())))
            }
        };
        report(Encoded { model, text, made });
    }
}
