use std::{fmt::Write, io, path::Path, sync::OnceLock};

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{
    ModelWrapper, normalizers::NormalizerWrapper, pre_tokenizers::PreTokenizerWrapper,
    pre_tokenizers::byte_level::ByteLevel,
};

use super::{ModelError, checkpoint::explain_start};
use crate::{fs, panics::expected};

/// The bytes of a token as byte-level BPE spells them (Radford et al., "Language Models are Unsupervised Multitask
/// Learners", 2019: a printable character for each byte); bytes of an incomplete character in hexadecimal.
fn bytes_of(spelled: &str) -> Option<String> {
    // bytes without a printable Latin-1 character are mapped, in order, to the characters from 256 on
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

/// The largest `tokenizer.json` in bytes. Those of GPT-NeoX models have 2 to 5 MiB; the library may need 60 times that to
/// parse one.
const LIMIT: u64 = 32 << 20;

/// A tokenizer, which a checkpoint may lack; by default there is none.
#[derive(Default)]
pub struct Tokenizer {
    inner: Option<tokenizers::Tokenizer>,
    notes: Vec<String>,
    /// See [`longest_token`]; computed on first use.
    longest: OnceLock<Option<usize>>,
}

impl Tokenizer {
    pub(super) fn open(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join("tokenizer.json");
        if path.symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            return Ok(Self::default());
        }
        let bytes = fs::read(&path, LIMIT).map_err(ModelError::read(&path))?;
        Self::from_bytes(&bytes, &path)
    }

    pub(super) fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, ModelError> {
        let broken = |reason: String| {
            let reason = explain_start(bytes).map_or(reason, String::from);
            ModelError::Tokenizer { path: path.into(), reason }
        };
        check_charsmaps(bytes).map_err(broken)?;
        // the library panics on some invalid files
        let read = expected(|| tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| e.to_string()));
        let mut tokenizer = read.flatten().map_err(broken)?;
        check_growth(&tokenizer).map_err(broken)?;
        let notes = expected(|| without_state(&mut tokenizer)).flatten().map_err(broken)?;
        Ok(Self { inner: Some(tokenizer), notes, longest: OnceLock::new() })
    }

    /// Sentences about settings in the tokenizer's file that are not applied.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The token ids of a text, without added special tokens.
    ///
    /// # Errors
    /// The checkpoint has no tokenizer, or the text can't be encoded.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let tokenizer = self.inner.as_ref().ok_or(ModelError::NoTokenizer)?;
        let encoding = expected(|| tokenizer.encode_fast(text, false).map_err(|e| e.to_string()));
        Ok(encoding.flatten().map_err(ModelError::Encode)?.get_ids().to_vec())
    }

    /// A lower bound of the number of tokens of `text`, computed without encoding it; 0 if there is none.
    #[must_use]
    pub fn fewest_tokens(&self, text: &str) -> usize {
        /// NFC shortens a text to no less than a third of its bytes.
        const COMPOSED: usize = 3;
        let Some(tokenizer) = &self.inner else { return 0 };
        let Some(longest) = *self.longest.get_or_init(|| longest_token(tokenizer)) else { return 0 };
        let shrinks = tokenizer.get_normalizer().is_some() && !text.is_ascii();
        text.len().div_ceil(longest * if shrinks { COMPOSED } else { 1 })
    }

    /// The decoded text of some ids; None if the tokenizer fails.
    fn decoded(&self, ids: &[u32]) -> Option<String> {
        let tokenizer = self.inner.as_ref()?;
        expected(|| tokenizer.decode(ids, false).ok()).ok().flatten()
    }

    /// The text of a row of tokens; ids without a string appear as `<|50300|>`.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> String {
        let known = |id: u32| self.inner.as_ref().is_some_and(|t| t.id_to_token(id).is_some());
        if ids.iter().all(|id| known(*id)) {
            return self.decoded(ids).unwrap_or_default();
        }
        ids.iter().map(|id| self.token(*id)).collect()
    }

    /// The text of one token, such as `" tokens"`. Padding rows of the vocabulary, which have no text, appear as
    /// `<|50300|>`, and tokens with part of a character as bytes, `<0xE2><0x80>`.
    #[must_use]
    pub fn token(&self, id: u32) -> String {
        let nameless = || format!("<|{id}|>");
        let Some(tokenizer) = &self.inner else { return nameless() };
        let Some(spelled) = tokenizer.id_to_token(id) else { return nameless() };
        match self.decoded(&[id]) {
            Some(text) if text.contains('\u{fffd}') => bytes_of(&spelled).unwrap_or(text),
            Some(text) => text,
            None => nameless(),
        }
    }

    /// The first id below `n` that is another token in another tokenizer; None also if one of the checkpoints has none.
    #[must_use]
    pub fn differs_from(&self, other: &Self, n: u32) -> Option<u32> {
        let (own, other) = self.inner.as_ref().zip(other.inner.as_ref())?;
        (0..n).find(|id| own.id_to_token(*id) != other.id_to_token(*id))
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

/// Refuse a `precompiled_charsmap` (base64 of the 32-bit length of a trie, the trie, and its texts) that is shorter than
/// the length it states, which the library would allocate.
fn check_charsmaps(tokenizer: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Normalized {
        #[serde(default)]
        normalizer: Value,
    }
    // the library refuses invalid JSON
    let Ok(Normalized { normalizer }) = serde_json::from_slice(tokenizer) else { return Ok(()) };
    let mut left = vec![&normalizer];
    while let Some(step) = left.pop() {
        left.extend(step.as_array().into_iter().flatten());
        left.extend(step.as_object().into_iter().flat_map(serde_json::Map::values));
        let map = step.get("precompiled_charsmap").and_then(Value::as_str).unwrap_or_default();
        if first_number(map).is_some_and(|length| length as usize > map.len()) {
            return Err("its precompiled_charsmap is truncated".into());
        }
    }
    Ok(())
}

/// The first 32 bits of base64 text, as a little-endian number.
fn first_number(base64: &str) -> Option<u32> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits = base64.as_bytes().first_chunk::<6>()?;
    // 36 bits, the last 4 of which belong to the next byte
    let bits = digits.iter().try_fold(0u64, |bits, c| Some(bits << 6 | u64::from(digit(*c)?)))?;
    u32::try_from(bits >> 4).ok().map(u32::swap_bytes)
}

/// Refuse a tokenizer whose consecutive steps may expand a short text beyond the memory.
fn check_growth(tokenizer: &tokenizers::Tokenizer) -> Result<(), String> {
    /// The largest expansion; real tokenizers multiply the bytes of a text by a few tens.
    const MOST: usize = 1 << 10;
    let json = |step: serde_json::Result<Value>| step.map(|step| growth(&step)).map_err(|e| e.to_string());
    let before = json(serde_json::to_value(tokenizer.get_normalizer()))?
        .saturating_mul(json(serde_json::to_value(tokenizer.get_pre_tokenizer()))?);
    let after = json(serde_json::to_value(tokenizer.get_decoder()))?;
    match before.max(after) {
        ..=MOST => Ok(()),
        _ => Err(format!("its normalizers or decoders may make a text more than {MOST} times longer")),
    }
}

/// The factor by which a step and its nested steps may expand a text, counting only steps that expand it again when repeated.
fn growth(step: &Value) -> usize {
    let text = |value: &Value| value.as_str().map_or(0, str::len);
    let own = match step.get("type").and_then(Value::as_str) {
        // a regular expression can match between any two characters
        Some("Replace") => match text(&step["pattern"]["String"]) {
            0 => text(&step["content"]) + 1,
            length => text(&step["content"]).div_ceil(length).max(1),
        },
        // a byte becomes a character of two bytes, or a space is inserted between any two characters
        Some("ByteLevel" | "BPEDecoder" | "CTC") => 2,
        // a compatibility form of Unicode may expand one character to a few tens of bytes, but only once
        Some("Precompiled") => 33,
        _ => 1,
    };
    let all = |parts: &mut dyn Iterator<Item = &Value>| parts.map(growth).fold(own, usize::saturating_mul);
    match step {
        Value::Array(parts) => all(&mut parts.iter()),
        Value::Object(fields) => all(&mut fields.values()),
        _ => own,
    }
}

/// The length in bytes of the longest token, if tokens cover every byte of a text: in byte-level BPE after at most NFC.
fn longest_token(tokenizer: &tokenizers::Tokenizer) -> Option<usize> {
    let normalizer = tokenizer.get_normalizer();
    let bytes_stay = normalizer.is_none_or(|normalizer| matches!(normalizer, NormalizerWrapper::NFC(_)))
        && matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::ByteLevel(_)))
        && matches!(tokenizer.get_model(), ModelWrapper::BPE(_))
        && ByteLevel::alphabet().iter().all(|byte| tokenizer.token_to_id(&byte.to_string()).is_some());
    let added = tokenizer.get_added_tokens_decoder();
    // these tokens absorb any number of adjacent spaces
    if !bytes_stay || added.values().any(|token| token.lstrip || token.rstrip) {
        return None;
    }
    // one character per byte
    let spelled = tokenizer.get_vocab(false).keys().map(|token| token.chars().count()).max();
    spelled.max(added.values().map(|token| token.content.len()).max()).filter(|longest| *longest > 0)
}

/// Turn off settings that would silently change a prompt: saved truncation and padding, which Hugging Face applies only
/// on request, and random dropout of merges (Provilkov et al., "BPE-Dropout", 2020). Returns a sentence about each, and
/// another if Hugging Face would add tokens that this program does not add.
fn without_state(tokenizer: &mut tokenizers::Tokenizer) -> Result<Vec<String>, String> {
    let mut notes = Vec::new();
    if let Some(truncation) = tokenizer.get_truncation() {
        notes.push(format!("tokenizer.json cuts texts to {} tokens; prompts are not cut", truncation.max_length));
        tokenizer.with_truncation(None).map_err(|e| e.to_string())?;
    }
    if tokenizer.get_padding().is_some() {
        notes.push("tokenizer.json pads texts; prompts are not padded".into());
        tokenizer.with_padding(None);
    }
    if let ModelWrapper::BPE(model) = tokenizer.get_model()
        && model.dropout.is_some_and(|share| share > 0.0)
    {
        notes.push("tokenizer.json leaves out merges at random (dropout); prompts are tokenized without".into());
        let mut model = model.clone();
        model.dropout = None;
        tokenizer.with_model(model);
    }
    let [with, without] = [true, false].map(|special| tokenizer.encode_fast("", special).map_err(|e| e.to_string()));
    let (with, without) = (with?, without?);
    if with.len() > without.len() {
        let added: Vec<&str> = with.get_tokens().iter().map(String::as_str).collect();
        notes.push(format!(
            "tokenizer.json adds {} to texts; prompts get no tokens but those of --prepend-bos",
            added.join(" ")
        ));
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The demo's tokenizer with other settings in its file.
    fn with(change: impl FnOnce(&mut serde_json::Value)) -> Result<Tokenizer, ModelError> {
        let mut json = serde_json::from_slice(super::super::demo::TOKENIZER).unwrap();
        change(&mut json);
        Tokenizer::from_bytes(json.to_string().as_bytes(), Path::new("tokenizer.json"))
    }

    #[test]
    fn saved_tokenizer_settings_do_not_change_a_prompt() {
        let text = "When Mary and John went to the store, John gave a drink to";
        let plain = with(|_| {}).unwrap();
        assert!(plain.notes().is_empty(), "{:?}", plain.notes());
        let ids = plain.encode(text).unwrap();
        assert!(ids.len() > 8);
        let bos = plain.token(0);
        let template = serde_json::json!({"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {bos.clone(): {"id": bos, "ids": [0], "tokens": [bos]}}});
        for (field, value, note) in [
            (
                "truncation",
                serde_json::json!({"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}),
                "cuts texts to 4 tokens",
            ),
            (
                "padding",
                serde_json::json!({"strategy": {"Fixed": 64}, "direction": "Left", "pad_to_multiple_of": 8, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "x"}),
                "pads texts",
            ),
            ("post_processor", template, "adds <|endoftext|> to texts"),
        ] {
            let tokenizer = with(|json| json[field] = value).unwrap();
            assert_eq!(tokenizer.encode(text).unwrap(), ids, "{field}");
            assert!(tokenizer.notes()[0].contains(note), "{:?}", tokenizer.notes());
        }
        let random = with(|json| json["model"]["dropout"] = 0.9.into()).unwrap();
        assert!((0..8).all(|_| random.encode(text).unwrap() == ids));
        assert!(random.notes()[0].contains("dropout"));
    }

    #[test]
    fn no_text_has_fewer_tokens_than_the_bound() {
        let plain = with(|_| {}).unwrap();
        let composed = with(|json| json["normalizer"] = serde_json::json!({"type": "NFC"})).unwrap();
        let texts =
            ["", "a", "<|endoftext|>", "word ", "\u{1112}\u{1161}\u{11ab}", "\u{3b9}\u{308}\u{301}", "日本", " "];
        for text in texts.into_iter().flat_map(|text| [1, 7, 500].map(|times| text.repeat(times))) {
            for tokenizer in [&plain, &composed] {
                let (fewest, tokens) = (tokenizer.fewest_tokens(&text), tokenizer.encode(&text).unwrap().len());
                assert!(fewest <= tokens, "{fewest} > {tokens}: {text:?}");
            }
        }
        // the longest token has 13 bytes
        assert_eq!(plain.fewest_tokens(&"<|endoftext|>".repeat(500)), 500);
        assert_eq!(composed.fewest_tokens(&"é".repeat(39)), 2);
        let strips = |json: &mut serde_json::Value| json["added_tokens"][0]["rstrip"] = true.into();
        let lower = |json: &mut serde_json::Value| json["normalizer"] = serde_json::json!({"type": "StripAccents"});
        assert_eq!(with(strips).unwrap().fewest_tokens(&"word ".repeat(500)), 0);
        assert_eq!(with(lower).unwrap().fewest_tokens(&"word ".repeat(500)), 0);
    }

    #[test]
    fn a_panic_of_the_library_is_an_error() {
        let refused = |change: &dyn Fn(&mut serde_json::Value)| with(change).err().unwrap().to_string();
        let message = refused(&|json| json["model"]["continuing_subword_prefix"] = "NaN".into());
        assert!(message.starts_with("tokenizer.json: not a readable tokenizer"), "{message}");
        let message = refused(&|json| json["model"] = "x".into());
        assert!(message.starts_with("tokenizer.json: not a readable tokenizer"), "{message}");
        let message =
            Tokenizer::from_bytes(b"version https://git-lfs.github.com/spec/v1\n", Path::new("d/tokenizer.json"));
        assert!(message.err().unwrap().to_string().contains("git lfs pull"));
    }

    #[test]
    fn a_truncated_character_map_is_refused() {
        let mapped = |map: &str| {
            let step = serde_json::json!({"type": "Precompiled", "precompiled_charsmap": map});
            with(|json| json["normalizer"] = serde_json::json!({"type": "Sequence", "normalizers": [step]}))
        };
        assert_eq!(first_number("AQIDBA=="), Some(0x0403_0201));
        assert_eq!(first_number("/////w=="), Some(u32::MAX));
        assert!(mapped("AAAAAA==").is_ok());
        // a length of 4 GB, and no data
        let message = mapped("AAAA9A==").err().unwrap().to_string();
        assert!(message.contains("its precompiled_charsmap is truncated"), "{message}");
    }

    #[test]
    fn steps_that_inflate_a_text_are_refused() {
        let replace = |pattern: &str, content: &str| serde_json::json!({"type": "Replace", "pattern": {pattern: " "}, "content": content});
        let sequence = |step: &Value, times| {
            let steps = vec![step.clone(); times];
            serde_json::json!({"type": "Sequence", "normalizers": steps, "pretokenizers": steps, "decoders": steps})
        };
        let bytes = serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        let ctc = serde_json::json!({"type": "CTC", "pad_token": "", "word_delimiter_token": "", "cleanup": true});
        for (field, step, most) in [
            // in addition to the demo's own ByteLevel
            ("normalizer", replace("String", "\u{2581}"), 5),
            ("normalizer", replace("String", "_"), 100),
            ("normalizer", replace("Regex", "_"), 9),
            ("pre_tokenizer", bytes, 10),
            ("decoder", ctc, 10),
        ] {
            let steps = |times| with(|json| json[field] = sequence(&step, times));
            assert!(steps(most).is_ok(), "{step}");
            if most < 100 {
                let message = steps(most + 1).err().unwrap().to_string();
                assert!(message.contains("more than 1024 times longer"), "{message}");
            }
        }
    }

    #[test]
    fn part_of_a_character_is_shown_as_bytes() {
        // the first two bytes of a dash, without and with a space before them
        assert_eq!(bytes_of("âĢ").unwrap(), "<0xE2><0x80>");
        assert_eq!(bytes_of("ĠâĢ").unwrap(), " <0xE2><0x80>");
        assert_eq!(bytes_of("abc").unwrap(), "abc");
        assert_eq!(bytes_of("中"), None);
    }
}
