//! A screen as text: its characters, then a letter for the style of each cell.
//!
//! The letters are fixed, so that one new colour shifts no others: a role of the theme has its letter, and a cell of a
//! heatmap has the brightness of its colours, from 0 to 9.

use ratatui::{
    buffer::{Buffer, Cell},
    style::{Color, Modifier, Style},
};

use super::*;

impl Program {
    /// The screen as it would be drawn now.
    pub fn screen(&self, theme: Theme) -> String {
        let (width, height) = self.state.scene.layout.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| drop(draw(frame, &self.state, theme))).unwrap();
        picture(terminal.backend().buffer(), theme)
    }
}

impl Program {
    /// The place of a text on the screen, as a column and a row.
    pub fn find_text(&self, text: &str) -> (u16, u16) {
        let screen = self.screen(TRUE);
        let (y, line) = screen.lines().enumerate().find(|(_, line)| line.contains(text)).unwrap();
        let x = line.split(text).next().unwrap().chars().count();
        (x as u16, y as u16)
    }

    /// Click a place, with what was drawn there.
    pub fn click(&mut self, (column, row): (u16, u16)) {
        let (width, height) = self.state.scene.layout.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut regions = vec![];
        terminal.draw(|frame| regions = draw(frame, &self.state, TRUE)).unwrap();
        let target = regions.iter().find_map(|region| region.at(column, row));
        let kind = MouseEventKind::Down(MouseButton::Left);
        self.event(Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }, target));
    }
}

/// The text of a screen, then its styles.
fn picture(buffer: &Buffer, theme: Theme) -> String {
    let (mut text, mut styles) = (String::new(), String::new());
    for y in 0..buffer.area.height {
        let cells = || (0..buffer.area.width).map(|x| &buffer[(x, y)]);
        let line: String = cells().map(Cell::symbol).collect();
        let letters: String = cells().map(|cell| letter(cell, theme)).collect();
        writeln!(text, "{}", line.trim_end()).unwrap();
        writeln!(styles, "{}", letters.trim_end_matches('.')).unwrap();
    }
    format!("{text}---\n{styles}")
}

/// The letter of a cell's style.
fn letter(cell: &Cell, theme: Theme) -> char {
    let style = |style: Style| {
        let modifier = style.add_modifier;
        (style.fg.unwrap_or(Color::Reset), style.bg.unwrap_or(Color::Reset), modifier)
    };
    let roles = [
        ('.', Style::new()),
        ('t', theme.title()),
        ('a', theme.accent()),
        ('d', theme.dim()),
        ('e', theme.error()),
        ('c', theme.changed()),
        ('s', theme.selected(true)),
        ('u', theme.selected(false)),
        ('b', Style::new().add_modifier(Modifier::BOLD)),
    ];
    let here = (cell.fg, cell.bg, cell.modifier);
    if let Some((letter, _)) = roles.into_iter().find(|(_, role)| style(*role) == here) {
        return letter;
    }
    match (brightness(cell.fg), brightness(cell.bg)) {
        // a value under the cursor
        (_, Some(_)) if cell.modifier.contains(Modifier::UNDERLINED) => '#',
        (_, Some(bright)) | (Some(bright), None) => bright,
        (None, None) => '?',
    }
}

/// From 0 for black to 9 for white; of the colours of 256, by their cube or ramp; None for the terminal's own.
fn brightness(color: Color) -> Option<char> {
    let of = |r: u8, g: u8, b: u8| {
        let bright = 0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b);
        char::from_digit((bright / 25.6) as u32, 10)
    };
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    match color {
        Color::Rgb(r, g, b) => of(r, g, b),
        Color::Indexed(n @ 16..=231) => {
            let level = |n: u8| LEVELS[usize::from(n % 6)];
            of(level((n - 16) / 36), level((n - 16) / 6), level(n - 16))
        }
        Color::Indexed(n @ 232..) => of(8 + 10 * (n - 232), 8 + 10 * (n - 232), 8 + 10 * (n - 232)),
        Color::LightBlue | Color::Blue => Some('-'),
        Color::LightRed | Color::Red => Some('+'),
        Color::Black => Some('0'),
        Color::White => Some('9'),
        _ => None,
    }
}
