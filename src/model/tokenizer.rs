use std::path::Path;

use super::ModelError;

/// A model's tokenizer, where it has one.
pub struct Tokenizer(Option<tokenizers::Tokenizer>);

impl Tokenizer {
    pub(super) fn open(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join("tokenizer.json");
        if !path.is_file() {
            return Ok(Self(None));
        }
        let bytes = std::fs::read(&path).map_err(ModelError::io(&path))?;
        Self::from_bytes(&bytes)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        tokenizers::Tokenizer::from_bytes(bytes)
            .map(|t| Self(Some(t)))
            .map_err(|e| ModelError::Tokenizer(e.to_string()))
    }

    /// Token ids of a text, without special tokens added.
    ///
    /// # Errors
    /// The checkpoint has no tokenizer, or the text can't be encoded.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let tokenizer = self.0.as_ref().ok_or(ModelError::NoTokenizer)?;
        let encoding = tokenizer.encode_fast(text, false).map_err(|e| ModelError::Tokenizer(e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of a row of tokens; ids without a string appear as `<|50300|>`.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> String {
        let known = |id: u32| self.0.as_ref().is_some_and(|t| t.id_to_token(id).is_some());
        if ids.iter().all(|id| known(*id)) {
            let decoded = self.0.as_ref().and_then(|t| t.decode(ids, false).ok());
            return decoded.unwrap_or_default();
        }
        ids.iter().map(|id| self.token(*id)).collect()
    }

    /// The text of one token, such as `" tokens"`. Padding rows of the vocabulary, which have none, are `<|50300|>`; a
    /// token that is a part of a character has `�` in it.
    #[must_use]
    pub fn token(&self, id: u32) -> String {
        let nameless = || format!("<|{id}|>");
        let Some(tokenizer) = &self.0 else { return nameless() };
        if tokenizer.id_to_token(id).is_none() {
            return nameless();
        }
        tokenizer.decode(&[id], false).unwrap_or_else(|_| nameless())
    }

    /// The id of the token whose text is exactly `text`.
    #[must_use]
    pub fn single(&self, text: &str) -> Option<u32> {
        match self.encode(text).ok()?.as_slice() {
            [id] => Some(*id),
            _ => None,
        }
    }
}
