use std::num::NonZeroU16;

use ratatui::{
    style::{Color, Modifier, Style},
    symbols::border,
    widgets::Block,
};

/// How many colours the terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorDepth {
    True,
    Ansi256,
    Ansi16,
    None,
}

/// The roles of colours and symbols. Text has the terminal's own foreground; there is one accent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    pub depth: ColorDepth,
    pub ascii: bool,
    /// Whether the terminal's background is light.
    pub light: bool,
    /// The pixels of a column and of a row of the screen, if the terminal draws pictures.
    pub pixels: Option<(NonZeroU16, NonZeroU16)>,
}

/// A colour for each depth: red, green and blue; of 256; of 16.
type Ink = ((u8, u8, u8), u8, Color);

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

impl Theme {
    fn colored(self, on_dark: Ink, on_light: Ink) -> Style {
        let (rgb, c256, c16) = if self.light { on_light } else { on_dark };
        match self.depth {
            ColorDepth::True => Style::new().fg(Color::Rgb(rgb.0, rgb.1, rgb.2)),
            ColorDepth::Ansi256 => Style::new().fg(Color::Indexed(c256)),
            ColorDepth::Ansi16 => Style::new().fg(c16),
            ColorDepth::None => Style::new(),
        }
    }

    #[must_use]
    pub fn accent(self) -> Style {
        self.colored(((42, 157, 187), 37, Color::Cyan), ((0, 105, 137), 24, Color::Blue))
    }

    #[must_use]
    pub fn title(self) -> Style {
        self.accent().add_modifier(Modifier::BOLD)
    }

    #[must_use]
    pub fn dim(self) -> Style {
        match self.depth {
            ColorDepth::None => Style::new().add_modifier(Modifier::DIM),
            _ => self.colored(((128, 134, 143), 245, Color::DarkGray), ((106, 112, 121), 242, Color::DarkGray)),
        }
    }

    #[must_use]
    pub fn error(self) -> Style {
        let ink = self.colored(((222, 72, 72), 167, Color::Red), ((178, 24, 34), 124, Color::Red));
        ink.add_modifier(Modifier::BOLD)
    }

    /// What an edit changed.
    #[must_use]
    pub fn changed(self) -> Style {
        self.colored(((224, 142, 40), 172, Color::Yellow), ((168, 84, 0), 130, Color::Magenta))
    }

    #[must_use]
    pub fn selected(self, focused: bool) -> Style {
        if focused {
            self.accent().add_modifier(Modifier::REVERSED)
        } else {
            Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
        }
    }

    /// A framed panel, its border quiet unless it has the focus.
    #[must_use]
    pub fn panel(self, focused: bool) -> Block<'static> {
        let set = if self.ascii { ASCII_BORDER } else { border::ROUNDED };
        Block::bordered().border_set(set).border_style(if focused { self.accent() } else { self.dim() })
    }

    /// Points from a value to its value before the edits.
    #[must_use]
    pub fn from(self) -> &'static str {
        if self.ascii { "<-" } else { "←" }
    }

    /// Points from a value to its value after the edits.
    #[must_use]
    pub fn to(self) -> &'static str {
        if self.ascii { "->" } else { "→" }
    }

    #[must_use]
    pub fn separator(self) -> &'static str {
        if self.ascii { " | " } else { " · " }
    }

    /// Whether colours can halve a cell, so that it shows two values.
    #[must_use]
    pub fn halves(self) -> bool {
        matches!(self.depth, ColorDepth::True | ColorDepth::Ansi256) && !self.ascii
    }

    /// Marks the cursor in a cell that has no room for brackets.
    #[must_use]
    pub fn mark(self) -> &'static str {
        if self.ascii { "X" } else { "◆" }
    }

    /// Between the parts of a path.
    #[must_use]
    pub fn within(self) -> &'static str {
        if self.ascii { " > " } else { " › " }
    }

    #[must_use]
    pub fn fold(self, open: bool) -> &'static str {
        match (self.ascii, open) {
            (false, true) => "▾ ",
            (false, false) => "▸ ",
            (true, true) => "v ",
            (true, false) => "> ",
        }
    }

    #[must_use]
    pub fn ellipsis(self) -> &'static str {
        if self.ascii { ".." } else { "…" }
    }

    /// Replaces a character that is wider than its place.
    #[must_use]
    pub fn wide(self) -> char {
        if self.ascii { '?' } else { '▒' }
    }

    /// Replaces a space in a token's label.
    #[must_use]
    pub fn space(self) -> char {
        if self.ascii { '_' } else { '␣' }
    }

    /// One of eight heights, for a share of 0 to 1.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8")]
    pub fn bar(self, share: f64) -> char {
        let levels: [char; 9] = if self.ascii {
            [' ', '.', ':', '-', '=', '+', '*', '#', '@']
        } else {
            [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
        };
        let share = if share.is_nan() { 1.0 } else { share.clamp(0.0, 1.0) };
        levels[(share * 8.0).ceil() as usize]
    }

    /// A horizontal bar that fills a share of `columns`, to an eighth of a column.
    #[must_use]
    pub fn row_bar(self, share: f64, columns: usize) -> String {
        const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
        let eighths = bar_eighths(share, columns);
        if self.ascii { "#".repeat(eighths / 8) } else { "█".repeat(eighths / 8) + PARTS[eighths % 8] }
    }
}

/// The length of a bar that fills a share of `columns`, in eighths of a column; 0 for NaN.
#[must_use]
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bar's length"
)]
pub fn bar_eighths(share: f64, columns: usize) -> usize {
    (share.clamp(0.0, 1.0) * columns as f64 * 8.0).round() as usize
}
