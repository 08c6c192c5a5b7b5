//! Texts and token ids, checked against a model without its weights.

use toml::Spanned;

use super::{ExperimentError, File};
use crate::model::{Config, Loaded, ModelError, Tokenizer};

/// A token of the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub id: u32,
    pub text: String,
}

/// Checks texts and token ids.
#[derive(Clone, Copy)]
pub struct PromptParser<'a> {
    pub tokenizer: &'a Tokenizer,
    pub config: &'a Config,
}

impl<'a> From<&'a Loaded> for PromptParser<'a> {
    fn from(loaded: &'a Loaded) -> Self {
        Self { tokenizer: &loaded.tokenizer, config: &loaded.model.config }
    }
}

impl PromptParser<'_> {
    /// The tokens of a text to run, after the beginning-of-sequence token if `prepend_bos` is set.
    ///
    /// # Errors
    /// The text can't be encoded; it has no tokens, or more than the context holds.
    pub fn prompt(&self, text: &str, prepend_bos: bool) -> Result<Vec<Token>, ModelError> {
        self.checked(self.encode(text)?, prepend_bos)
    }

    /// The ids of the tokens of [`Self::prompt`].
    ///
    /// # Errors
    /// As [`Self::prompt`].
    pub fn token_ids(&self, text: &str, prepend_bos: bool) -> Result<Vec<u32>, ModelError> {
        self.checked_ids(self.encode(text)?, prepend_bos)
    }

    /// Token ids to run, after the beginning-of-sequence token if `prepend_bos` is set.
    ///
    /// # Errors
    /// There are none, more than the context holds, or one outside the vocabulary.
    pub fn ids(&self, ids: &[u32], prepend_bos: bool) -> Result<Vec<Token>, ModelError> {
        self.checked(ids.to_vec(), prepend_bos)
    }

    /// The tokens of a text, unless they are certainly more than the context holds.
    fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let (tokens, context) = (self.tokenizer.fewest_tokens(text), self.config.context);
        // encoding a text that is far too long would take much time and memory
        if tokens > context {
            return Err(ModelError::FarTooLong { bytes: text.len(), tokens, context });
        }
        self.tokenizer.encode(text)
    }

    /// A prompt as text and as tokens: the given ids, else those of the text.
    ///
    /// # Errors
    /// As [`Self::prompt`], and ids outside the vocabulary.
    pub(crate) fn text(
        &self,
        text: Option<&str>,
        ids: Option<&[u32]>,
        prepend_bos: bool,
    ) -> Result<(String, Vec<Token>), ModelError> {
        let ids = match (ids, text) {
            (Some(ids), _) => ids.to_vec(),
            (None, text) => self.encode(text.unwrap_or_default())?,
        };
        let text = text.map_or_else(|| self.tokenizer.decode(&ids), String::from);
        Ok((text, self.checked(ids, prepend_bos)?))
    }

    /// The prompt in a file, if it has one; given tokens must be those of the text.
    pub(super) fn of_file<V>(
        &self,
        file: &File<V>,
        text: Option<&str>,
        ids: Option<&Spanned<Vec<u32>>>,
        prepend_bos: bool,
    ) -> Result<Option<(String, Vec<Token>)>, ExperimentError> {
        let at = ids.map_or(0..0, Spanned::span);
        if let (Some(text), Some(ids)) = (text, ids.map(Spanned::get_ref)) {
            let same = || -> Result<bool, ModelError> {
                let spelt: String = ids.iter().map(|id| self.tokenizer.token(*id)).collect();
                if spelt == text || self.tokenizer.decode(ids) == text {
                    return Ok(true);
                }
                match self.encode(text) {
                    Err(ModelError::FarTooLong { .. }) => Ok(false),
                    encoded => Ok(encoded? == *ids),
                }
            };
            if !same()? {
                let text = beginning(text);
                let reason = format!("these are not the tokens of {text:?}: remove this line, or the text");
                return Err(file.wrong(at, reason));
            }
        }
        if text.is_none() && ids.is_none() {
            return Ok(None);
        }
        let read = self.text(text, ids.map(|ids| ids.get_ref().as_slice()), prepend_bos);
        read.map(Some).map_err(|e| file.wrong(at, e))
    }

    /// A token by its text, which includes a leading space, or by its id, as in `#7910`.
    ///
    /// # Errors
    /// An id outside the vocabulary; a text that is not exactly one token.
    pub fn token(&self, text: &str) -> Result<Token, ExperimentError> {
        /// The number of tokens that a message shows.
        const SHOWN: usize = 20;
        let id = match text.strip_prefix('#').and_then(|id| id.parse::<u32>().ok()) {
            Some(id) => {
                self.check(&[id])?;
                id
            }
            None => match self.encode(text)?.as_slice() {
                [id] => *id,
                ids => {
                    let part = |id: &u32| format!("{:?}", self.tokenizer.token(*id));
                    let mut parts: Vec<String> = ids.iter().take(SHOWN).map(part).collect();
                    parts.extend((ids.len() > SHOWN).then(|| "...".into()));
                    return Err(ExperimentError::NotOneToken { text: beginning(text), n: ids.len(), parts });
                }
            },
        };
        Ok(self.named(id))
    }

    fn named(&self, id: u32) -> Token {
        Token { id, text: self.tokenizer.token(id) }
    }

    /// Token ids as a prompt, with the beginning-of-sequence token if `prepend_bos` is set. They must be neither empty
    /// nor too long, and each in the vocabulary.
    fn checked(&self, ids: Vec<u32>, prepend_bos: bool) -> Result<Vec<Token>, ModelError> {
        Ok(self.checked_ids(ids, prepend_bos)?.into_iter().map(|id| self.named(id)).collect())
    }

    fn checked_ids(&self, mut ids: Vec<u32>, prepend_bos: bool) -> Result<Vec<u32>, ModelError> {
        if prepend_bos && !ids.is_empty() {
            ids.insert(0, self.config.bos);
        }
        self.check(&ids)?;
        Ok(ids)
    }

    fn check(&self, ids: &[u32]) -> Result<(), ModelError> {
        let Config { context, d_vocab, .. } = *self.config;
        if ids.is_empty() {
            return Err(ModelError::EmptyPrompt);
        }
        if ids.len() > context {
            return Err(ModelError::TooLong { tokens: ids.len(), context });
        }
        match ids.iter().find(|id| **id as usize >= d_vocab) {
            Some(&id) => Err(ModelError::NoSuchToken { id, d_vocab }),
            None => Ok(()),
        }
    }
}

/// The beginning of a text, as much as fits in a message.
fn beginning(text: &str) -> String {
    const SHOWN: usize = 200;
    let end = text.char_indices().nth(SHOWN).map(|(at, _)| at);
    end.map_or_else(|| text.into(), |end| format!("{}...", &text[..end]))
}
