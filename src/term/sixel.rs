//! Pictures as sixels: DEC STD 070, chapter 9; xterm's control sequences.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    ops::Range,
};

use super::graphics::CellSize;
use crate::paint::Picture;

/// Rows of pixels in a band, one bit each.
const BAND: usize = 6;

/// Draw the whole picture. Pixels without a colour stay as they are.
pub(super) fn draw(out: &mut impl Write, picture: &Picture, (width, height): CellSize) -> io::Result<()> {
    let (rows, area) = (picture.colours.len().div_ceil(picture.columns.max(1)), picture.area);
    let most = (usize::from(area.width * width.get()), usize::from(area.height * height.get()));
    let size = ((picture.columns * picture.across).min(most.0), (rows * picture.down).min(most.1));
    write!(out, "\x1b7\x1b[{};{}H", area.y + 1, area.x + 1)?;
    encode(out, picture, 0..size.0, 0..size.1)?;
    write!(out, "\x1b8")
}

/// Draw one cell of the screen again, at a column and a row of the picture's area.
pub(super) fn draw_cell(
    out: &mut impl Write,
    picture: &Picture,
    (column, row): (u16, u16),
    (width, height): CellSize,
) -> io::Result<()> {
    let pixels = |at: u16, size: u16| usize::from(at * size)..usize::from((at + 1) * size);
    write!(out, "\x1b7\x1b[{};{}H", picture.area.y + row + 1, picture.area.x + column + 1)?;
    encode(out, picture, pixels(column, width.get()), pixels(row, height.get()))?;
    write!(out, "\x1b8")
}

/// The pixels of a part of the picture, band by band: for each colour in a band, the pixels that have it.
fn encode(out: &mut impl Write, picture: &Picture, across: Range<usize>, down: Range<usize>) -> io::Result<()> {
    write!(out, "\x1bP0;1q\"1;1;{};{}", across.len(), down.len())?;
    let mut numbers: BTreeMap<[u8; 3], usize> = BTreeMap::new();
    for top in down.clone().step_by(BAND) {
        let mut bits: BTreeMap<[u8; 3], Vec<u8>> = BTreeMap::new();
        for y in top..(top + BAND).min(down.end) {
            for (at, x) in across.clone().enumerate() {
                if let Some(colour) = picture.pixel(x, y) {
                    bits.entry(colour).or_insert_with(|| vec![0; across.len()])[at] |= 1 << (y - top);
                }
            }
        }
        for (colour, bits) in bits {
            let next = numbers.len();
            let number = *numbers.entry(colour).or_insert(next);
            if number == next {
                // in hundredths
                let [r, g, b] = colour.map(|level| (u32::from(level) * 100 + 127) / 255);
                write!(out, "#{number};2;{r};{g};{b}")?;
            }
            write!(out, "#{number}")?;
            for run in bits.chunk_by(|a, b| a == b) {
                let sign = char::from(b'?' + run[0]);
                match run.len() {
                    n @ 0..4 => write!(out, "{}", sign.to_string().repeat(n))?,
                    n => write!(out, "!{n}{sign}")?,
                }
            }
            write!(out, "$")?;
        }
        write!(out, "-")?;
    }
    write!(out, "\x1b\\")
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use ratatui::layout::Rect;

    use super::*;

    /// The pixels of the sixels in `text`, drawn by their definition.
    fn decoded(text: &str) -> BTreeMap<(usize, usize), [u32; 3]> {
        let body = text.split_once('q').unwrap().1.split_once("\x1b\\").unwrap().0;
        let (mut palette, mut pixels) = (BTreeMap::new(), BTreeMap::new());
        let (mut x, mut y, mut colour, mut times) = (0, 0, 0, 1);
        let mut rest = body;
        while let Some(first) = rest.chars().next() {
            let end = rest[1..].find(|c: char| !c.is_ascii_digit() && c != ';').map_or(rest.len(), |at| at + 1);
            let numbers: Vec<u32> = rest[1..end].split(';').filter_map(|n| n.parse().ok()).collect();
            match first {
                '"' => {}
                '#' => {
                    colour = numbers[0];
                    if let [_, 2, r, g, b] = numbers[..] {
                        palette.insert(colour, [r, g, b]);
                    }
                }
                '!' => times = numbers[0] as usize,
                '$' => x = 0,
                '-' => (x, y) = (0, y + BAND),
                sign => {
                    for _ in 0..times {
                        for bit in (0..BAND).filter(|bit| (sign as u8 - b'?') >> bit & 1 != 0) {
                            assert!(pixels.insert((x, y + bit), palette[&colour]).is_none(), "a pixel drawn twice");
                        }
                        x += 1;
                    }
                    times = 1;
                    rest = &rest[1..];
                    continue;
                }
            }
            rest = &rest[end..];
        }
        pixels
    }

    fn picture() -> Picture {
        let colours = (0..63u8).map(|n| (n % 5 != 0).then_some([n * 4, 255 - n, 40])).collect();
        Picture { area: Rect::new(3, 4, 4, 2), colours, columns: 9, across: 4, down: 5 }
    }

    fn cell() -> CellSize {
        (NonZeroU16::new(10).unwrap(), NonZeroU16::new(20).unwrap())
    }

    #[test]
    fn the_drawn_pixels_are_those_of_the_picture() {
        let (picture, mut out) = (picture(), Vec::new());
        draw(&mut out, &picture, cell()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("\x1b7\x1b[5;4H\x1bP0;1q\"1;1;36;35"), "{text:?}");
        let pixels = decoded(&text);
        for (x, y) in (0..40).flat_map(|x| (0..40).map(move |y| (x, y))) {
            let expected = picture.pixel(x, y).map(|colour| colour.map(|level| (u32::from(level) * 100 + 127) / 255));
            assert_eq!(pixels.get(&(x, y)).copied(), expected, "{x} {y}");
        }
        assert!(!pixels.is_empty());
    }

    #[test]
    fn one_cell_is_drawn_again() {
        let (picture, mut out) = (picture(), Vec::new());
        draw_cell(&mut out, &picture, (2, 1), cell()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("\x1b7\x1b[6;6H\x1bP0;1q\"1;1;10;20"), "{text:?}");
        let pixels = decoded(&text);
        for (x, y) in (0..10).flat_map(|x| (0..20).map(move |y| (x, y))) {
            assert_eq!(pixels.contains_key(&(x, y)), picture.pixel(20 + x, 20 + y).is_some(), "{x} {y}");
        }
    }
}
