//! The pictures on the screen: new ones are sent, old ones removed, and unchanged ones cost nothing.
//!
//! The crate `ratatui-image` (11.1) does not fit here: it puts a picture into the text of one cell of ratatui's buffer, so what a
//! dialog covered would not come back; it quantises the colours of sixels, which have to equal those of the legend; and it adds
//! 42 crates to 284.

use std::io::{self, Write};

use ratatui::{
    backend::{Backend, CrosstermBackend},
    buffer::{Buffer, Cell},
    layout::{Position, Rect},
};

use super::{
    graphics::{CellSize, Protocol},
    kitty, modes, sixel,
};
use crate::paint::Picture;

#[derive(Debug, Default)]
pub(super) struct Pictures {
    /// What the terminal shows.
    shown: Vec<Shown>,
    /// The pictures whose pixels the terminal has, by number of kitty's image.
    sent: [Option<Picture>; kitty::MOST],
}

#[derive(Debug)]
struct Shown {
    picture: Picture,
    /// The places with text over it.
    text: Vec<Position>,
}

impl Pictures {
    /// The screen was erased, and the terminal may have lost what it was sent.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn forget(&mut self, out: &mut impl Write, protocol: Protocol) -> io::Result<()> {
        let shown = std::mem::take(self).shown.len();
        match protocol {
            Protocol::Kitty => (0..shown).try_for_each(|slot| kitty::remove(out, slot)),
            Protocol::Sixel => Ok(()),
        }
    }

    /// Show these pictures and no others, with the text of `buffer`, which is on the screen.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn show<W: Write>(
        &mut self,
        backend: &mut CrosstermBackend<W>,
        (protocol, cell): (Protocol, CellSize),
        buffer: &Buffer,
        pictures: Vec<Picture>,
    ) -> io::Result<()> {
        let now: Vec<Shown> =
            pictures.into_iter().take(kitty::MOST).map(|picture| Shown::new(picture, buffer)).collect();
        match protocol {
            Protocol::Kitty => self.show_kitty(backend, cell, &now)?,
            Protocol::Sixel => self.show_sixel(backend, cell, buffer, &now)?,
        }
        self.shown = now;
        Ok(())
    }

    /// Text is drawn over the pictures, so moving it costs nothing.
    fn show_kitty(&mut self, out: &mut impl Write, cell: CellSize, now: &[Shown]) -> io::Result<()> {
        for slot in 0..kitty::MOST {
            let (before, after) = (self.shown.get(slot).map(|s| &s.picture), now.get(slot).map(|s| &s.picture));
            if before == after {
                continue;
            }
            let Some(picture) = after else {
                kitty::remove(out, slot)?;
                continue;
            };
            if before.is_some() {
                kitty::remove(out, slot)?;
            }
            modes::has_images();
            if !self.sent[slot].as_ref().is_some_and(|sent| sent.shows_the_same(picture)) {
                kitty::transmit(out, slot, picture, cell)?;
                self.sent[slot] = Some(picture.clone());
            }
            kitty::place(out, slot, picture)?;
        }
        Ok(())
    }

    /// Text replaces pixels, which are drawn again once it is gone.
    fn show_sixel<W: Write>(
        &self,
        backend: &mut CrosstermBackend<W>,
        cell: CellSize,
        buffer: &Buffer,
        now: &[Shown],
    ) -> io::Result<()> {
        let stays = |old: &Shown| now.iter().any(|new| new.picture == old.picture);
        for old in self.shown.iter().filter(|old| !stays(old)) {
            write_cells(backend, buffer, old.picture.area.positions())?;
        }
        for new in now {
            let Some(old) = self.shown.iter().find(|old| old.picture == new.picture) else {
                sixel::draw(backend, &new.picture, cell)?;
                write_cells(backend, buffer, new.text.iter().copied())?;
                continue;
            };
            let area = new.picture.area;
            for place in old.text.iter().filter(|place| !new.text.contains(place)) {
                sixel::draw_cell(backend, &new.picture, (place.x - area.x, place.y - area.y), cell)?;
            }
        }
        Ok(())
    }
}

impl Shown {
    fn new(picture: Picture, buffer: &Buffer) -> Self {
        let visible: Rect = picture.area.intersection(buffer.area);
        let text = visible.positions().filter(|place| buffer[*place] != Cell::EMPTY).collect();
        Self { picture, text }
    }
}

/// Write these cells of the screen, whether or not they changed.
fn write_cells<W: Write>(
    backend: &mut CrosstermBackend<W>,
    buffer: &Buffer,
    places: impl Iterator<Item = Position>,
) -> io::Result<()> {
    write!(backend, "\x1b7")?;
    let cells = places.filter(|place| buffer.area.contains(*place));
    backend.draw(cells.map(|place| (place.x, place.y, &buffer[place])))?;
    write!(backend, "\x1b8")
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    const AREA: Rect = Rect::new(2, 1, 4, 2);

    fn picture(first: u8) -> Picture {
        let colours = (first..first + 8).map(|n| Some([n, n, n])).collect();
        Picture { area: AREA, colours, columns: 4, across: 10, down: 20 }
    }

    /// A screen of 8 by 4 cells, with a mark at one place.
    fn screen(mark: Option<(u16, u16)>) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 8, 4));
        if let Some(place) = mark {
            buffer[place].set_symbol("X");
        }
        buffer
    }

    /// What is written for the last of these frames, after the others.
    fn written(protocol: Protocol, frames: &[(Buffer, Vec<Picture>)]) -> String {
        let cell = (NonZeroU16::new(10).unwrap(), NonZeroU16::new(20).unwrap());
        let (mut pictures, mut out) = (Pictures::default(), Vec::new());
        for (buffer, list) in frames {
            out.clear();
            let mut backend = CrosstermBackend::new(&mut out);
            pictures.show(&mut backend, (protocol, cell), buffer, list.clone()).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn unchanged_pictures_cost_nothing() {
        for protocol in Protocol::ALL {
            let frame = (screen(Some((3, 1))), vec![picture(0)]);
            assert!(!written(protocol, std::slice::from_ref(&frame)).is_empty());
            assert_eq!(written(protocol, &[frame.clone(), frame]), "", "{protocol:?}");
            assert_eq!(written(protocol, &[(screen(None), vec![])]), "", "{protocol:?}");
        }
    }

    #[test]
    fn removed_sixels_are_overwritten_with_text() {
        let gone = written(Protocol::Sixel, &[(screen(None), vec![picture(0)]), (screen(Some((3, 2))), vec![])]);
        assert!(!gone.contains("\x1bP") && gone.contains('X'), "{gone:?}");
        assert_eq!(gone.matches(' ').count(), 7, "every other cell is blank: {gone:?}");
        // the text over what is drawn again comes after it
        let new =
            written(Protocol::Sixel, &[(screen(None), vec![picture(0)]), (screen(Some((3, 2))), vec![picture(9)])]);
        let (erased, drawn) = new.split_once("\x1bP").unwrap();
        assert!(erased.contains('X') && drawn.contains('X'), "{new:?}");
    }

    #[test]
    fn sixels_are_drawn_again_where_text_has_gone() {
        let at = |place| (screen(Some(place)), vec![picture(0)]);
        let moved = written(Protocol::Sixel, &[at((3, 2)), at((4, 2))]);
        assert!(moved.starts_with("\x1b7\x1b[3;4H\x1bP0;1q\"1;1;10;20#0;2;"), "{moved:?}");
        assert_eq!(moved.matches("\x1bP").count(), 1);
        assert_eq!(written(Protocol::Kitty, &[at((3, 2)), at((4, 2))]), "", "kitty's are below the text");
    }

    #[test]
    fn an_image_that_kitty_already_has_is_only_placed() {
        let (with, without) = ((screen(None), vec![picture(0)]), (screen(None), vec![]));
        let again = written(Protocol::Kitty, &[with.clone(), without.clone(), with.clone()]);
        assert!(again.contains("a=p") && !again.contains("a=t"), "{again:?}");
        let other = written(Protocol::Kitty, &[with.clone(), without, (screen(None), vec![picture(1)])]);
        assert!(other.contains("a=t"), "{other:?}");
        let both = written(Protocol::Kitty, &[with.clone(), (screen(None), vec![picture(0), picture(3)])]);
        assert!(both.contains("i=4209") && !both.contains("i=4208"), "{both:?}");
    }
}
