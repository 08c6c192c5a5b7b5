use std::{fmt::Write, path::Path};

use super::ModelError;

/// The bytes of a token as byte-level BPE spells them (Radford et al., "Language Models are Unsupervised Multitask
/// Learners", 2019: a printable character for each byte), those of a character cut in two in hexadecimal.
fn bytes_of(spelled: &str) -> Option<String> {
    // bytes that are no printable Latin-1 character stand, in order, for the characters from 256 on
    let printable = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let others: Vec<u32> = (0..256).filter(|byte| !printable(*byte)).collect();
    let byte = |c: char| {
        let code = u32::from(c);
        let byte = if printable(code) { code } else { *others.get(usize::try_from(code.checked_sub(256)?).ok()?)? };
        u8::try_from(byte).ok()
    };
    let bytes: Vec<u8> = spelled.chars().map(byte).collect::<Option<_>>()?;
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // writing to a string can't fail
            let _ = write!(text, "<0x{byte:02X}>");
        }
    }
    Some(text)
}

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
    /// token that is a part of a character is told by its bytes, `<0xE2><0x80>`.
    #[must_use]
    pub fn token(&self, id: u32) -> String {
        let nameless = || format!("<|{id}|>");
        let Some(tokenizer) = &self.0 else { return nameless() };
        let Some(spelled) = tokenizer.id_to_token(id) else { return nameless() };
        match tokenizer.decode(&[id], false) {
            Ok(text) if text.contains('\u{fffd}') => bytes_of(&spelled).unwrap_or(text),
            Ok(text) => text,
            Err(_) => nameless(),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_character_is_told_by_its_bytes() {
        // the first two bytes of a dash, and a space before them
        assert_eq!(bytes_of("âĢ").unwrap(), "<0xE2><0x80>");
        assert_eq!(bytes_of("ĠâĢ").unwrap(), " <0xE2><0x80>");
        assert_eq!(bytes_of("abc").unwrap(), "abc");
        assert_eq!(bytes_of("中"), None);
    }
}
