//! Escapes everything that is printed: unprintable characters in foreign text (from files, arguments or a hub) are escaped
//! as in JSON, so that they can't control the terminal.

use std::{
    borrow::Cow,
    fmt::{Display, Write as _},
    io::{self, BufWriter, StdoutLock, Write},
    path::Path,
};

/// Whether a character shows only itself: it is not a control character (C0, DEL, C1), a line break, a change of
/// writing direction or an invisible format character.
#[must_use]
pub fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// A text with unprintable characters escaped, including line breaks, so that it fits on one line.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return text.into();
    }
    let mut out = String::new();
    text.chars().for_each(|c| push(c, &mut out));
    out.into()
}

/// A number of things: `1 token`, `2 tokens`.
#[must_use]
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(n: N, what: &str) -> String {
    let plural = if n == N::from(1) { "" } else { "s" };
    format!("{n} {what}{plural}")
}

/// A path for messages, escaped.
#[must_use]
pub fn path(path: &Path) -> String {
    escaped(&path.to_string_lossy()).into_owned()
}

fn push(c: char, out: &mut String) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if is_printable(c) => out.push(c),
        c => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // writing to a string can't fail
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
}

/// A writer that escapes all unprintable characters except line feeds, which are part of the layout; those of foreign text
/// are already escaped or quoted. JSON keeps its meaning, since it has such characters only within strings.
pub struct Printed<W> {
    to: W,
    /// The first bytes of an incomplete character.
    incomplete: Vec<u8>,
}

impl<W: Write> Printed<W> {
    pub fn new(to: W) -> Self {
        Self { to, incomplete: Vec::new() }
    }
}

impl<W: Write> Write for Printed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = std::mem::take(&mut self.incomplete);
        text.extend_from_slice(bytes);
        let mut out = String::with_capacity(text.len());
        let mut chunks = text.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            chunk.valid().chars().for_each(|c| if c == '\n' { out.push(c) } else { push(c, &mut out) });
            match std::str::from_utf8(chunk.invalid()) {
                Err(e) if e.error_len().is_none() && chunks.peek().is_none() => {
                    self.incomplete = chunk.invalid().to_vec();
                }
                Err(_) => out.push(char::REPLACEMENT_CHARACTER),
                Ok(_) => {}
            }
        }
        self.to.write_all(out.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Standard output, for results.
#[must_use]
pub fn stdout() -> Printed<BufWriter<StdoutLock<'static>>> {
    Printed::new(BufWriter::new(io::stdout().lock()))
}

/// Print a message on stderr in one write. A closed stderr is not an error.
pub fn note(message: impl Display) {
    let _ = Printed::new(io::stderr()).write_all(format!("pythia-tui: {message}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The output of text that is written in pieces of `size` bytes.
    fn written(text: &[u8], size: usize) -> String {
        let mut out = Printed::new(Vec::new());
        text.chunks(size).for_each(|piece| out.write_all(piece).unwrap());
        String::from_utf8(out.to).unwrap()
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escaped("a\u{1b}]0;x\u{7}b\n\t\r\u{7f}"), "a\\u001b]0;x\\u0007b\\n\\t\\r\\u007f");
        assert_eq!(escaped("\u{9b}2J\u{202e}\u{2069}\u{61c}\u{200f}\u{2028}"), {
            "\\u009b2J\\u202e\\u2069\\u061c\\u200f\\u2028"
        });
        assert_eq!(escaped("\u{e0041}"), "\\udb40\\udc41");
        for ours in ["", "plain", "Δ ± 中文 e\u{301}", "👩\u{200d}💻", "\u{fffd}"] {
            assert_eq!(escaped(ours), ours);
        }
        assert_eq!(path(Path::new("/a\nb")), "/a\\nb");
        assert_eq!(written("one\ntwo\u{1b}[2J\r\n".as_bytes(), 99), "one\ntwo\\u001b[2J\\r\n");
        assert_eq!(written(b"a\xffb\xe2\x80", 99), "a\u{fffd}b");
    }

    proptest! {
        #[test]
        fn nothing_but_line_feeds_gets_through(text: String, size in 1_usize..5) {
            let out = written(text.as_bytes(), size);
            prop_assert!(out.chars().all(|c| c == '\n' || is_printable(c)), "{:?}", out);
            prop_assert_eq!(out, written(text.as_bytes(), text.len().max(1)));
            prop_assert!(escaped(&text).chars().all(is_printable));
        }

        #[test]
        fn json_keeps_its_meaning(text: String, key: String) {
            let json = serde_json::json!({ key: [text, 1.5, null] });
            let pretty = serde_json::to_string_pretty(&json).unwrap();
            for written in [written(json.to_string().as_bytes(), 7), written(pretty.as_bytes(), 4096)] {
                prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&written).unwrap(), &json);
            }
        }
    }
}
