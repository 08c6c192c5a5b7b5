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

/// The roles that colours and symbols play. Text is the terminal's own foreground, so that light and dark backgrounds both
/// read well; there is one accent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    pub depth: ColorDepth,
    pub ascii: bool,
}

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
    fn colored(self, rgb: (u8, u8, u8), c256: u8, c16: Color) -> Style {
        match self.depth {
            ColorDepth::True => Style::new().fg(Color::Rgb(rgb.0, rgb.1, rgb.2)),
            ColorDepth::Ansi256 => Style::new().fg(Color::Indexed(c256)),
            ColorDepth::Ansi16 => Style::new().fg(c16),
            ColorDepth::None => Style::new(),
        }
    }

    #[must_use]
    pub fn accent(self) -> Style {
        self.colored((42, 157, 187), 37, Color::Cyan)
    }

    #[must_use]
    pub fn title(self) -> Style {
        self.accent().add_modifier(Modifier::BOLD)
    }

    #[must_use]
    pub fn dim(self) -> Style {
        match self.depth {
            ColorDepth::None => Style::new().add_modifier(Modifier::DIM),
            _ => self.colored((128, 134, 143), 245, Color::DarkGray),
        }
    }

    #[must_use]
    pub fn error(self) -> Style {
        self.colored((222, 72, 72), 167, Color::Red).add_modifier(Modifier::BOLD)
    }

    /// What an edit changed.
    #[must_use]
    pub fn changed(self) -> Style {
        self.colored((224, 142, 40), 172, Color::Yellow)
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

    #[must_use]
    pub fn separator(self) -> &'static str {
        if self.ascii { " | " } else { " · " }
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

    /// What stands for a space in a token's label.
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

    /// The colour of a share of 0 to 1 on the viridis scale (Smith and van der Walt, 2015), where there are enough colours.
    #[must_use]
    pub fn heat(self, share: f64) -> Option<Color> {
        let color = colorous::VIRIDIS.eval_continuous(share.clamp(0.0, 1.0));
        match self.depth {
            ColorDepth::True => Some(Color::Rgb(color.r, color.g, color.b)),
            ColorDepth::Ansi256 => Some(Color::Indexed(nearest_256(color.r, color.g, color.b))),
            ColorDepth::Ansi16 | ColorDepth::None => None,
        }
    }

    /// The shade of a share of 0 to 1, where there are not.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index within the levels"
    )]
    pub fn shade(self, share: f64) -> char {
        let levels: &[char] = if self.ascii {
            &[' ', '.', ':', '-', '=', '+', '*', '#', '%', '@']
        } else {
            &[' ', '░', '▒', '▓', '█']
        };
        let top = levels.len() - 1;
        levels[((share.clamp(0.0, 1.0) * top as f64).ceil() as usize).min(top)]
    }
}

/// The nearest colour of the 6 x 6 x 6 cube or the grey ramp of a 256-colour terminal.
fn nearest_256(r: u8, g: u8, b: u8) -> u8 {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let square = |x: u8, y: u8| u32::from(x.abs_diff(y)).pow(2);
    let distance = |color: (u8, u8, u8)| square(color.0, r) + square(color.1, g) + square(color.2, b);
    // nearest level of one channel
    let level = |x: u8| (0..6u8).min_by_key(|&i| LEVELS[usize::from(i)].abs_diff(x)).unwrap_or(0);
    let (i, j, k) = (level(r), level(g), level(b));
    let cube = (LEVELS[usize::from(i)], LEVELS[usize::from(j)], LEVELS[usize::from(k)]);
    let mean = u8::try_from((u16::from(r) + u16::from(g) + u16::from(b)) / 3).unwrap_or(u8::MAX);
    let step = mean.saturating_sub(3).div_euclid(10).min(23);
    let grey = 8 + 10 * step;
    if distance((grey, grey, grey)) < distance(cube) { 232 + step } else { 16 + 36 * i + 6 * j + k }
}
