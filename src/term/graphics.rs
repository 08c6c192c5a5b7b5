//! Whether the terminal draws pictures: the program asks once it has taken the terminal, and the answers arrive with
//! the input.
//!
//! Kitty's graphics protocol: <https://sw.kovidgoyal.net/kitty/graphics-protocol/>; sixel: attribute 4 of DA1, as in xterm.

use std::{
    num::NonZeroU16,
    time::{Duration, Instant},
};

/// Pixels of a column and of a row of the screen.
pub type CellSize = (NonZeroU16, NonZeroU16);

/// The protocol for pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Kitty,
    Sixel,
}

impl Protocol {
    /// The better first.
    pub const ALL: [Self; 2] = [Self::Kitty, Self::Sixel];
}

/// What a terminal says about itself when asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It understands kitty's graphics protocol.
    Kitty,
    /// How large a cell of its screen is.
    CellSize(CellSize),
    /// Its attributes (DA1), the answer to the last question.
    Attributes { sixel: bool },
}

/// The number of the image that the query sends, which the terminal does not keep.
pub(super) const QUERY: u32 = 4207;

/// A one-pixel image that kitty inspects but does not keep; the size of a cell; the attributes, which every terminal
/// reports. Whatever a terminal shows because it doesn't understand the first is erased.
const QUESTIONS: &str = "\x1b_Gi=4207,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[16t\x1b[c\x1b[H\x1b[2J";

/// Asks for the size of a cell again, after the screen was resized.
pub(super) const CELL_SIZE: &str = "\x1b[16t";

/// How long answers may still arrive if the program ends right after asking: later ones would reach the shell.
const PATIENCE: Duration = Duration::from_millis(200);

/// What is known about the terminal's pictures.
#[derive(Debug, Default)]
pub(super) struct Graphics {
    /// The protocols that may be used, the better first.
    wanted: Vec<Protocol>,
    asked: Option<Instant>,
    kitty: bool,
    sixel: bool,
    /// Whether every question is answered.
    complete: bool,
    cell: Option<CellSize>,
}

impl Graphics {
    /// The bytes that ask the terminal; empty if no protocol is wanted.
    pub fn ask(&mut self, wanted: &[Protocol]) -> &'static str {
        *self = Self { wanted: wanted.to_vec(), ..Self::default() };
        if wanted.is_empty() {
            return "";
        }
        self.asked = Some(Instant::now());
        QUESTIONS
    }

    /// Note an answer; `known` is the size of a cell according to the system.
    pub fn answered(&mut self, answer: Answer, known: Option<CellSize>) {
        match answer {
            Answer::Kitty => self.kitty = true,
            Answer::CellSize(size) => self.cell = Some(size),
            Answer::Attributes { sixel } => (self.sixel, self.complete) = (sixel, true),
        }
        self.cell = self.cell.or(known);
    }

    /// The protocol for pictures and the size of a cell; None as long as that is unknown, and if there is none.
    pub fn protocol(&self) -> Option<(Protocol, CellSize)> {
        let speaks = |protocol: &Protocol| match protocol {
            Protocol::Kitty => self.kitty,
            Protocol::Sixel => self.sixel,
        };
        let protocol = self.wanted.iter().copied().filter(|_| self.complete).find(speaks)?;
        self.cell.map(|cell| (protocol, cell))
    }

    /// How long to wait for answers that the shell must not read.
    pub fn time_to_wait(&self) -> Duration {
        let left = |asked: Instant| PATIENCE.saturating_sub(asked.elapsed());
        self.asked.filter(|_| !self.complete).map_or(Duration::ZERO, left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_used_if_it_is_wanted_and_the_terminal_has_it_and_its_cells_have_a_size() {
        let size = |width, height| Some((NonZeroU16::new(width)?, NonZeroU16::new(height)?));
        let cell = Answer::CellSize(size(8, 16).unwrap());
        let (sixel, plain) = (Answer::Attributes { sixel: true }, Answer::Attributes { sixel: false });
        let (kitty, all) = (Answer::Kitty, &Protocol::ALL[..]);
        for (wanted, answers, known, expected) in [
            (all, &[kitty, cell, plain][..], None, Some(Protocol::Kitty)),
            (all, &[kitty, cell, sixel], None, Some(Protocol::Kitty)),
            (all, &[cell, sixel], None, Some(Protocol::Sixel)),
            (all, &[kitty, plain], size(9, 18), Some(Protocol::Kitty)),
            (&[Protocol::Sixel], &[kitty, cell, sixel], None, Some(Protocol::Sixel)),
            (&[Protocol::Kitty], &[cell, sixel], None, None),
            (all, &[kitty, plain], None, None),
            (all, &[cell, plain], None, None),
            (all, &[kitty, cell], None, None),
            (&[], &[kitty, cell, sixel], None, None),
        ] {
            let mut graphics = Graphics::default();
            graphics.ask(wanted);
            for answer in answers {
                graphics.answered(*answer, known);
            }
            assert_eq!(graphics.protocol().map(|(protocol, _)| protocol), expected, "{wanted:?} {answers:?}");
        }
        assert_eq!(Graphics::default().time_to_wait(), Duration::ZERO);
    }
}
