//! A view as a picture: the terminal's cells as rectangles and text.

use std::fmt::Write;

use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};

use super::{State, draw::draw};
use crate::{
    paint::{ColorDepth, Theme},
    views::Focus,
};

/// Width and height of a cell, in pixels.
const CELL: (u32, u32) = (8, 17);

/// The view as it is on the screen, in full colours, as an SVG document.
///
/// # Errors
/// The screen has no room for the view, or the view is not ready yet.
pub fn svg(state: &State, theme: Theme) -> Result<String, String> {
    let mut state = state.clone();
    state.overlay = None;
    if state.scene.layout.areas().view.is_empty() {
        state.scene.layout.focus = Focus::View;
    }
    let area = state.scene.layout.areas().view;
    if !state.is_answered() {
        return Err("the view is not ready yet".into());
    }
    if area.width < 3 || area.height < 3 {
        return Err("the screen is too small for a picture of the view".into());
    }
    let theme = Theme { depth: ColorDepth::True, ..theme };
    let mut terminal = Terminal::new(TestBackend::new(state.scene.layout.size.0, state.scene.layout.size.1))
        .map_err(|e| e.to_string())?;
    let draw = terminal.draw(|frame| {
        draw(frame, &state, theme);
    });
    draw.map_err(|e| e.to_string())?;
    let buffer = terminal.backend().buffer();
    let (columns, rows) = (u32::from(area.width), u32::from(area.height));
    let (width, height) = (columns * CELL.0, rows * CELL.1);
    let background = if theme.light { "#ffffff" } else { "#16181d" };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"{background}\"/>\n\
         <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"13\" \
         xml:space=\"preserve\" shape-rendering=\"crispEdges\">\n"
    );
    for y in 0..area.height {
        for x in 0..area.width {
            let cell = &buffer[(area.x + x, area.y + y)];
            let at = (u32::from(x) * CELL.0, u32::from(y) * CELL.1);
            paint(&mut out, cell, at, covered(buffer, (area.x + x, area.y + y)), theme.light);
        }
    }
    out.push_str("</g>\n</svg>\n");
    Ok(out)
}

/// Whether a cell is the second half of a wide character.
fn covered(buffer: &Buffer, (x, y): (u16, u16)) -> bool {
    x > 0 && unicode_width::UnicodeWidthStr::width(buffer[(x - 1, y)].symbol()) > 1
}

fn paint(out: &mut String, cell: &Cell, (x, y): (u32, u32), covered: bool, light: bool) {
    let (mut ink, mut paper) = (color(cell.fg).unwrap_or(default_ink(light)), color(cell.bg));
    if cell.modifier.contains(Modifier::REVERSED) {
        let default = if light { "#ffffff" } else { "#16181d" };
        (ink, paper) = (paper.unwrap_or(default.into()), Some(ink));
    }
    let (width, height) = CELL;
    let half = height / 2;
    let mut fill = |x: u32, y: u32, width: u32, height: u32, color: &str| {
        // writing to a string can't fail
        let _ = writeln!(out, "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{color}\"/>");
    };
    if let Some(paper) = &paper {
        fill(x, y, width, height, paper);
    }
    match cell.symbol() {
        " " => {}
        _ if covered => {}
        // half blocks and full blocks as rectangles, so that no font leaves gaps between them
        "▀" => fill(x, y, width, half, &ink),
        "▄" => fill(x, y + half, width, height - half, &ink),
        "█" => fill(x, y, width, height, &ink),
        symbol => {
            let weight = if cell.modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
            let line = if cell.modifier.contains(Modifier::UNDERLINED) { " text-decoration=\"underline\"" } else { "" };
            let text = symbol.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let baseline = y + 13;
            let _ = writeln!(out, "<text x=\"{x}\" y=\"{baseline}\" fill=\"{ink}\"{weight}{line}>{text}</text>");
        }
    }
}

fn default_ink(light: bool) -> String {
    if light { "#1c1f26" } else { "#d5d8de" }.into()
}

/// A colour as SVG writes it; None for the terminal's own colours. Of the palette's sixteen colours, only those that
/// the theme uses by name: ink on a heatmap.
fn color(color: Color) -> Option<String> {
    match color {
        Color::Rgb(r, g, b) => Some(format!("#{r:02x}{g:02x}{b:02x}")),
        Color::Black => Some("#000000".into()),
        Color::White => Some("#ffffff".into()),
        Color::Indexed(n @ 16..=231) => {
            let level = |n: u8| [0, 95, 135, 175, 215, 255][usize::from(n % 6)];
            let (r, g, b) = (level((n - 16) / 36), level((n - 16) / 6), level(n - 16));
            Some(format!("#{r:02x}{g:02x}{b:02x}"))
        }
        Color::Indexed(n @ 232..) => Some(format!("#{0:02x}{0:02x}{0:02x}", 8 + 10 * (n - 232))),
        _ => None,
    }
}
