//! Pictures in kitty's graphics protocol: <https://sw.kovidgoyal.net/kitty/graphics-protocol/>.

use std::io::{self, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, write::ZlibEncoder};

use super::graphics::CellSize;
use crate::paint::Picture;

/// The number of the first picture's image; the others follow.
const FIRST: usize = 4208;

/// The most pictures on the screen.
pub(super) const MOST: usize = 2;

/// Ends an incomplete sequence, and deletes every image with its data.
pub(super) const DELETE: &[u8] = b"\x1b\\\x1b_Ga=d,d=I,i=4208,q=2\x1b\\\x1b_Ga=d,d=I,i=4209,q=2\x1b\\";

/// The most characters of data in a sequence.
const PIECE: usize = 4096;

/// Send a picture's pixels: compressed RGBA, as many as its cells of the screen have, transparent where there is no
/// colour.
pub(super) fn transmit(
    out: &mut impl Write,
    slot: usize,
    picture: &Picture,
    (width, height): CellSize,
) -> io::Result<()> {
    let (width, height) = (picture.area.width * width.get(), picture.area.height * height.get());
    let mut compressed = ZlibEncoder::new(Vec::new(), Compression::default());
    let mut row = Vec::with_capacity(usize::from(width) * 4);
    for y in 0..usize::from(height) {
        // rows of pixels in the same row of cells are alike
        if y % picture.down.max(1) == 0 || y == 0 {
            row.clear();
            for x in 0..usize::from(width) {
                row.extend(picture.pixel(x, y).map_or([0; 4], |[r, g, b]| [r, g, b, u8::MAX]));
            }
        }
        compressed.write_all(&row)?;
    }
    let data = STANDARD.encode(compressed.finish()?);
    let mut pieces = data.as_bytes().chunks(PIECE).peekable();
    let mut keys = format!("a=t,q=2,f=32,o=z,i={},s={width},v={height},", FIRST + slot);
    while let Some(piece) = pieces.next() {
        let more = u8::from(pieces.peek().is_some());
        write!(out, "\x1b_G{keys}m={more};")?;
        out.write_all(piece)?;
        write!(out, "\x1b\\")?;
        keys = "q=2,".into();
    }
    Ok(())
}

/// Show what was sent, below the text of its area.
pub(super) fn place(out: &mut impl Write, slot: usize, picture: &Picture) -> io::Result<()> {
    let area = picture.area;
    write!(out, "\x1b7\x1b[{};{}H", area.y + 1, area.x + 1)?;
    write!(out, "\x1b_Ga=p,q=2,i={},p=1,c={},r={},z=-1,C=1\x1b\\\x1b8", FIRST + slot, area.width, area.height)
}

/// Take a picture off the screen; the terminal keeps its pixels.
pub(super) fn remove(out: &mut impl Write, slot: usize) -> io::Result<()> {
    write!(out, "\x1b_Ga=d,d=i,i={},q=2\x1b\\", FIRST + slot)
}

#[cfg(test)]
mod tests {
    use std::{io::Read, num::NonZeroU16};

    use flate2::read::ZlibDecoder;
    use ratatui::layout::Rect;

    use super::*;

    #[test]
    fn the_sent_pixels_are_those_of_the_picture() {
        let colours = (0..90u8).map(|n| (n % 7 != 0).then_some([n, 255 - n, n * 2])).collect();
        let picture = Picture { area: Rect::new(3, 4, 4, 2), colours, columns: 9, across: 4, down: 3 };
        let cell = (NonZeroU16::new(10).unwrap(), NonZeroU16::new(20).unwrap());
        let mut out = Vec::new();
        transmit(&mut out, 1, &picture, cell).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("\x1b_Ga=t,q=2,f=32,o=z,i=4209,s=40,v=40,m="), "{text:?}");
        let pieces = text.split_terminator("\x1b\\").map(|piece| piece.split_once(';').unwrap().1);
        assert!(pieces.clone().all(|piece| piece.len() <= PIECE));
        let data = STANDARD.decode(pieces.collect::<String>()).unwrap();
        let mut pixels = Vec::new();
        ZlibDecoder::new(&data[..]).read_to_end(&mut pixels).unwrap();
        assert_eq!(pixels.len(), 40 * 40 * 4);
        for (at, pixel) in pixels.chunks(4).enumerate() {
            let expected = picture.pixel(at % 40, at / 40).map_or([0; 4], |[r, g, b]| [r, g, b, 255]);
            assert_eq!(pixel, expected, "pixel {at}");
        }
        assert!(pixels.iter().any(|byte| *byte != 0));
    }

    #[test]
    fn every_image_is_deleted() {
        let deleted = String::from_utf8(DELETE.to_vec()).unwrap();
        for slot in 0..MOST {
            assert!(deleted.contains(&format!("d=I,i={},", FIRST + slot)));
        }
    }
}
