//! Decodes the bytes of a terminal into keys, mouse events and pasted text.
//!
//! The input is ambiguous: ESC is a key, and the first byte of other keys. An incomplete sequence therefore waits for its
//! rest until the caller gives it up ([`Decoder::patience`], [`Decoder::give_up`]).

use std::time::Duration;

use crossterm::event::Event;

use super::{
    graphics::Answer,
    sequence::{self, Sequence, control},
};

const CTRL_C: u8 = 0x03;

/// The end of a bracketed paste.
const PASTE_END: &[u8] = b"\x1b[201~";

/// The largest paste in bytes, more than any input line holds; the rest is dropped.
const PASTE_LIMIT: usize = 4 << 20;

/// How long to wait for the next byte of a sequence, which a connection may split. After this time, ESC alone is a key.
const KEY: Duration = Duration::from_millis(80);

/// How long to wait for the rest of a paste. Bytes that arrive later count as typed.
const PASTE: Duration = Duration::from_secs(1);

/// Decodes bytes into events, independently of how reads split them.
#[derive(Default)]
pub(super) struct Decoder {
    /// The beginning of a key or sequence.
    pending: Vec<u8>,
    /// The text of an unfinished paste.
    paste: Option<Vec<u8>>,
    /// What the terminal answered.
    pub answers: Vec<Answer>,
}

impl Decoder {
    /// Append the events of `bytes` to `events`.
    ///
    /// Ctrl-C is an event even within a sequence or a paste, which it discards.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) {
        for &byte in bytes {
            if byte == CTRL_C {
                (self.pending, self.paste) = (vec![], None);
                events.push(control('c'));
            } else if let Some(text) = &mut self.paste {
                text.push(byte);
                if text.ends_with(PASTE_END) {
                    text.truncate(text.len() - PASTE_END.len());
                    events.extend(self.paste.take().as_deref().map(pasted));
                } else if text.len() >= PASTE_LIMIT + PASTE_END.len() {
                    // keeps what may be the beginning of the end marker
                    text.remove(PASTE_LIMIT);
                }
            } else {
                self.pending.push(byte);
                self.decode(false, events);
            }
        }
    }

    /// How long to wait for the rest of an unfinished sequence or paste; None if there is none.
    pub fn patience(&self) -> Option<Duration> {
        match (&self.paste, self.pending.is_empty()) {
            (Some(_), _) => Some(PASTE),
            (None, false) => Some(KEY),
            (None, true) => None,
        }
    }

    /// Stop waiting: ESC becomes the Escape key, a paste ends with what has arrived, and other sequences are dropped.
    pub fn give_up(&mut self, events: &mut Vec<Event>) {
        if let Some(mut text) = self.paste.take() {
            let partial_end = (1..PASTE_END.len()).rev().find(|&n| text.ends_with(&PASTE_END[..n]));
            text.truncate(text.len() - partial_end.unwrap_or(0));
            events.push(pasted(&text));
        }
        self.decode(true, events);
    }

    /// Decode the complete sequences; with `last`, incomplete ones too.
    fn decode(&mut self, last: bool, events: &mut Vec<Event>) {
        while let Some((length, sequence)) = sequence::first(&self.pending, last) {
            self.pending.drain(..length);
            match sequence {
                Sequence::Event(event) => events.push(event),
                Sequence::PasteBegins => self.paste = Some(Vec::new()),
                Sequence::Answer(answer) => self.answers.push(answer),
                Sequence::Nothing => {}
            }
        }
    }
}

fn pasted(text: &[u8]) -> Event {
    Event::Paste(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
    use proptest::prelude::*;

    use super::*;

    /// The events of all bytes when no more follow.
    fn decoded(bytes: &[u8]) -> Vec<Event> {
        let (mut decoder, mut events) = (Decoder::default(), vec![]);
        decoder.push(bytes, &mut events);
        decoder.give_up(&mut events);
        events
    }

    fn key(code: KeyCode) -> Event {
        modified(code, KeyModifiers::NONE)
    }

    fn modified(code: KeyCode, modifiers: KeyModifiers) -> Event {
        Event::Key(KeyEvent::new(code, modifiers))
    }

    fn mouse(kind: MouseEventKind, column: u16, row: u16, modifiers: KeyModifiers) -> Event {
        Event::Mouse(MouseEvent { kind, column, row, modifiers })
    }

    #[test]
    fn keys() {
        use KeyCode::{
            BackTab, Backspace, Char, Delete, Down, End, Enter, Esc, F, Home, Insert, Left, PageUp, Tab, Up,
        };
        use KeyModifiers as M;
        for (bytes, expected) in [
            ("a", key(Char('a'))),
            ("A", modified(Char('A'), M::SHIFT)),
            ("é", key(Char('é'))),
            ("中", key(Char('中'))),
            ("🙂", key(Char('🙂'))),
            ("\r", key(Enter)),
            ("\t", key(Tab)),
            ("\x7f", key(Backspace)),
            ("\0", control(' ')),
            ("\x01", control('a')),
            ("\n", control('j')),
            ("\x1a", control('z')),
            ("\x1c", control('4')),
            ("\x1b", key(Esc)),
            ("\x1bx", modified(Char('x'), M::ALT)),
            ("\x1bé", modified(Char('é'), M::ALT)),
            ("\x1b\x01", modified(Char('a'), M::CONTROL | M::ALT)),
            ("\x1b[", modified(Char('['), M::ALT)),
            ("\x1bO", modified(Char('O'), M::SHIFT | M::ALT)),
            ("\x1b]", modified(Char(']'), M::ALT)),
            ("\x1b_", modified(Char('_'), M::ALT)),
            ("\x1b[A", key(Up)),
            ("\x1bOB", key(Down)),
            ("\x1b\x1b[D", modified(Left, M::ALT)),
            ("\x1b[1;5D", modified(Left, M::CONTROL)),
            ("\x1b[1;10A", modified(Up, M::SHIFT | M::SUPER)),
            ("\x1b[1;5:1D", modified(Left, M::CONTROL)),
            ("\x1b[Z", modified(BackTab, M::SHIFT)),
            ("\x1b[H", key(Home)),
            ("\x1bOF", key(End)),
            ("\x1b[1~", key(Home)),
            ("\x1b[2~", key(Insert)),
            ("\x1b[3;5~", modified(Delete, M::CONTROL)),
            ("\x1b[5~", key(PageUp)),
            ("\x1b[8~", key(End)),
            ("\x1bOP", key(F(1))),
            ("\x1b[1;2R", modified(F(3), M::SHIFT)),
            ("\x1b[[E", key(F(5))),
            ("\x1b[15~", key(F(5))),
            ("\x1b[17~", key(F(6))),
            ("\x1b[21~", key(F(10))),
            ("\x1b[24~", key(F(12))),
            ("\x1b[26~", key(F(14))),
            ("\x1b[34~", key(F(20))),
            ("\x1b[97;5u", control('a')),
            ("\x1b[13u", key(Enter)),
            ("\x1b[27;5;9~", modified(Tab, M::CONTROL)),
        ] {
            assert_eq!(decoded(bytes.as_bytes()), [expected], "{bytes:?}");
        }
    }

    #[test]
    fn the_mouse_in_three_encodings() {
        let (down, up) = (MouseEventKind::Down(MouseButton::Left), MouseEventKind::Up(MouseButton::Left));
        let none = KeyModifiers::NONE;
        for (bytes, expected) in [
            (&b"\x1b[<0;64;8M"[..], mouse(down, 63, 7, none)),
            (b"\x1b[<0;64;8m", mouse(up, 63, 7, none)),
            (b"\x1b[<2;300;1m", mouse(MouseEventKind::Up(MouseButton::Right), 299, 0, none)),
            (b"\x1b[<20;1;1M", mouse(down, 0, 0, KeyModifiers::SHIFT | KeyModifiers::CONTROL)),
            (b"\x1b[<32;2;2M", mouse(MouseEventKind::Drag(MouseButton::Left), 1, 1, none)),
            (b"\x1b[<35;2;2M", mouse(MouseEventKind::Moved, 1, 1, none)),
            (b"\x1b[<64;2;2M", mouse(MouseEventKind::ScrollUp, 1, 1, none)),
            (b"\x1b[<67;0;0M", mouse(MouseEventKind::ScrollRight, 0, 0, none)),
            (b"\x1b[32;64;8M", mouse(down, 63, 7, none)),
            (b"\x1b[35;64;8M", mouse(up, 63, 7, none)),
            (b"\x1b[M `(", mouse(down, 63, 7, none)),
            (b"\x1b[M#\xff!", mouse(up, 222, 0, none)),
        ] {
            assert_eq!(decoded(bytes), [expected], "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn sequences_that_are_not_keys_are_dropped() {
        for bytes in [
            &b"\x1b[I\x1b[O"[..],
            b"\x1b[?",
            b"\x1b[?1;2c",
            b"\x1b[24;80R",
            b"\x1b[1;5:3D",
            b"\x1b[999~",
            b"\x1b[<999;1;1M",
            b"\x1b[<0;1;99999M",
            b"\x1b[<0;;M",
            b"\x1b[1$",
            b"\x1b[[Z",
            b"\x1b[M !",
            b"\x1b_Gi=4207;OK\x1b\\",
            b"\x1b_Gi=4207;EINVAL:no\x1b\\",
            b"\x1b_Gi=1",
            b"\x1b[6;16;8t",
            b"\x1b[?64;4;22c",
            b"\x1b]11;rgb:0000/0000/0000\x1b\\",
            b"\x1b]11;rgb:0000/0000/0000\x07",
            b"\x1b]11;rgb",
            b"\xc3",
            b"\xff\xfe",
        ] {
            assert_eq!(decoded(bytes), [], "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn answers_of_the_terminal_are_not_keys_however_they_are_split() {
        let size =
            |width, height| Answer::CellSize((NonZeroU16::new(width).unwrap(), NonZeroU16::new(height).unwrap()));
        for (bytes, expected) in [
            (
                &b"\x1b_Gi=4207;OK\x1b\\\x1b[6;16;8t\x1b[?62;4c"[..],
                &[Answer::Kitty, size(8, 16), Answer::Attributes { sixel: true }][..],
            ),
            (b"\x1b_Gi=4207;ENOTSUPPORTED:\x1b\\\x1b[?62;22c", &[Answer::Attributes { sixel: false }]),
            // attributes of other numbers, and the class of the terminal, which may be 4
            (b"\x1b[?4c", &[Answer::Attributes { sixel: false }]),
            (b"\x1b[?64;1;14;44c", &[Answer::Attributes { sixel: false }]),
            (b"\x1b[6;0;8t\x1b[6;16t\x1b[4;480;640t", &[]),
            (b"\x1b_Gi=4207;O\x03K\x1b\\", &[]),
        ] {
            for split in 0..bytes.len() {
                let (mut decoder, mut events) = (Decoder::default(), vec![]);
                decoder.push(&bytes[..split], &mut events);
                decoder.push(&bytes[split..], &mut events);
                assert_eq!(decoder.answers, expected, "{}", bytes.escape_ascii());
                let interrupted = bytes.contains(&CTRL_C);
                assert_eq!(events.is_empty(), !interrupted, "{} {events:?}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn a_byte_that_interrupts_a_sequence_is_decoded() {
        let q = key(KeyCode::Char('q'));
        for bytes in [&b"\x1b[1;\rq"[..], b"\x1b[M\rq", b"\xe4\xb8\rq", b"\x1b]1\rq"] {
            assert_eq!(decoded(bytes), [key(KeyCode::Enter), q.clone()], "{}", bytes.escape_ascii());
        }
        assert_eq!(decoded(b"\x1b[1\x1b[A"), [key(KeyCode::Up)]);
        assert_eq!(decoded(b"\xc3q"), std::slice::from_ref(&q));
        let escape = key(KeyCode::Esc);
        assert_eq!(decoded(b"\x1b\x1b"), [escape.clone(), escape.clone()]);
        assert_eq!(decoded(b"\x1b\x1b[<0;1;1M").len(), 2);
        let long = [b"\x1b[".as_slice(), &[b'1'; 5000], b"q"].concat();
        assert_eq!(decoded(&long).last(), Some(&q));
    }

    #[test]
    fn a_paste_is_one_event_and_its_keys_are_text() {
        let paste = |text: &str| Event::Paste(text.into());
        assert_eq!(decoded(b"\x1b[200~a\x1b[Ab\r\xc3\xa9\x1b[201~q"), [paste("a\x1b[Ab\ré"), key(KeyCode::Char('q'))]);
        // unfinished
        assert_eq!(decoded(b"\x1b[200~abc"), [paste("abc")]);
        assert_eq!(decoded(b"\x1b[200~abc\x1b[20"), [paste("abc")]);
        let long = [b"\x1b[200~".as_slice(), &vec![b'x'; PASTE_LIMIT + 100], PASTE_END, b"q"].concat();
        let events = decoded(&long);
        assert!(matches!(&events[..], [Event::Paste(text), Event::Key(_)] if text.len() == PASTE_LIMIT));
    }

    #[test]
    fn only_an_incomplete_sequence_is_waited_for() {
        let (mut decoder, mut events) = (Decoder::default(), vec![]);
        assert_eq!(decoder.patience(), None);
        decoder.push(b"\x1b", &mut events);
        assert_eq!((decoder.patience(), events.len()), (Some(KEY), 0));
        decoder.push(b"[B", &mut events);
        assert_eq!((decoder.patience(), &events[..]), (None, &[key(KeyCode::Down)][..]));
        decoder.push(b"\x1b[200~abc", &mut events);
        assert_eq!(decoder.patience(), Some(PASTE));
        decoder.give_up(&mut events);
        assert_eq!(decoder.patience(), None);
    }

    /// Sequences of real terminals, and random bytes.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let known = prop::sample::select(vec![
            &b"\x1b"[..],
            b"\x1b[",
            b"\x1bO",
            b"\x1b]1",
            b"\x1b[M",
            b"\x1b[<",
            b"\x1b[?",
            b"\x1b[200~",
            PASTE_END,
            b"\x1b[1;5D",
            b"\x1b[<0;64;8M",
            b"1;",
            b"~",
            "中".as_bytes(),
            b"q",
        ]);
        let known = known.prop_map(<[u8]>::to_vec);
        let any = prop::collection::vec(any::<u8>(), 0..4);
        prop::collection::vec(prop_oneof![known, any], 0..20).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_split_does_not_matter(bytes in bytes(), size in 1..8usize) {
            let (mut decoder, mut events) = (Decoder::default(), vec![]);
            for part in bytes.chunks(size) {
                decoder.push(part, &mut events);
            }
            decoder.give_up(&mut events);
            prop_assert_eq!(events, decoded(&bytes));
        }

        #[test]
        fn no_input_blocks_the_next_key(bytes in bytes()) {
            let (mut decoder, mut events) = (Decoder::default(), vec![]);
            decoder.push(&bytes, &mut events);
            let mut interrupted = events.clone();
            decoder.give_up(&mut events);
            prop_assert_eq!(decoder.patience(), None);
            decoder.push(b"q", &mut events);
            prop_assert_eq!(events.last(), Some(&key(KeyCode::Char('q'))));
            // nor does any input delay Ctrl-C
            let mut decoder = Decoder::default();
            decoder.push(&bytes, &mut vec![]);
            decoder.push(b"\x03", &mut interrupted);
            prop_assert_eq!(interrupted.last(), Some(&control('c')));
            prop_assert_eq!(decoder.patience(), None);
        }
    }
}
