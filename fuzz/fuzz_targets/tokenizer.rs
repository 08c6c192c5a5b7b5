//! A `tokenizer.json`; if it contains a NUL, the text after the last one is encoded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pythia_tui_fuzz::{checked, fixture, load, put, set_up};

const TEXT: &str = "When Mary's 3 d\u{f6}gs  ran, \u{1f600}\u{301} <|endoftext|>\u{4e2d}\n\u{0}";

fuzz_target!(
    init: {
        set_up();
        put("model.safetensors", &fixture("bf16/model.safetensors"));
    },
    |data: &[u8]| {
        checked(|| {
            let at = data.iter().rposition(|byte| *byte == 0);
            let (json, text) = at.map_or((data, TEXT.into()), |at| (&data[..at], String::from_utf8_lossy(&data[at + 1..])));
            put("tokenizer.json", json);
            let Ok(loaded) = load() else { return };
            let tokenizer = loaded.tokenizer;
            let ids = tokenizer.encode(&text).unwrap_or_default();
            let _ = tokenizer.decode(&ids);
            for id in ids.into_iter().chain([0, 1, 50_300, u32::MAX]) {
                let name = tokenizer.token(id);
                let _ = tokenizer.single(&name);
            }
        });
    }
);
