//! From values to colours, or to shades if there are no colours.

use ratatui::{
    style::{Color, Style},
    text::Span,
};

use super::{ColorDepth, Theme, text};

/// The range of a map's values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    /// From the lowest to the highest, on viridis (Smith and van der Walt, 2015).
    From(f64, f64),
    /// From minus to plus the largest absolute value, through the colour of the background; equal steps in Oklab
    /// (Ottosson, 2020).
    Around(f64),
}

/// How a value is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Paint {
    /// None for NaN, and if the terminal has too few colours.
    pub color: Option<Color>,
    /// A text colour that is readable on it.
    pub ink: Color,
    /// Represents the value if there is no colour.
    pub shade: char,
    pub shade_style: Style,
}

impl Paint {
    pub fn background(self) -> Style {
        self.color.map_or(Style::new(), |color| Style::new().bg(color).fg(self.ink))
    }

    /// Red, green and blue of the colour.
    pub fn rgb(self) -> Option<[u8; 3]> {
        match self.color? {
            Color::Rgb(r, g, b) => Some([r, g, b]),
            Color::Indexed(n @ 16..232) => {
                let cube = n - 16;
                Some([cube / 36, cube / 6 % 6, cube % 6].map(|level| LEVELS[usize::from(level)]))
            }
            Color::Indexed(n @ 232..) => Some([8 + 10 * (n - 232); 3]),
            // the first 16 colours are the user's own
            _ => None,
        }
    }
}

/// The number of colours that an eye can tell apart.
const STEPS: f64 = 32.0;

impl Scale {
    /// Around 0 for all finite values.
    pub fn around(values: &[f32]) -> Self {
        let finite = values.iter().filter(|x| x.is_finite());
        Self::Around(finite.fold(0.0f32, |most, x| most.max(x.abs())).into())
    }

    /// From the smallest to the largest finite value.
    pub fn spanning(values: &[f32]) -> Self {
        let finite = values.iter().copied().filter(|x| x.is_finite());
        let (low, high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        if low <= high { Self::From(low.into(), high.into()) } else { Self::From(0.0, 1.0) }
    }

    /// The position of a value on the scale: 0 to 1, or -1 to 1 around 0.
    fn share(self, value: f64) -> f64 {
        match self {
            Self::From(low, high) if high > low => ((value - low) / (high - low)).clamp(0.0, 1.0),
            Self::Around(most) if most > 0.0 => (value / most).clamp(-1.0, 1.0),
            _ => 0.0,
        }
    }

    pub fn paint(self, value: f64, theme: Theme) -> Paint {
        self.paint_in(STEPS, value, theme)
    }

    /// In `steps` steps from one end to the other, or from 0 to one end: neighbours of one colour cost nothing over a
    /// slow line.
    pub fn paint_in(self, steps: f64, value: f64, theme: Theme) -> Paint {
        if value.is_nan() {
            return Paint { color: None, ink: Color::Reset, shade: '?', shade_style: theme.error() };
        }
        let share = self.share(value);
        let step = (share * steps).round() / steps;
        let rgb = match self {
            Self::From(..) => {
                let color = colorous::VIRIDIS.eval_continuous(step);
                (color.r, color.g, color.b)
            }
            Self::Around(_) => diverging(step, theme.light),
        };
        let color = match theme.depth {
            ColorDepth::True => Some(Color::Rgb(rgb.0, rgb.1, rgb.2)),
            // around 0, grey would hide the sign
            ColorDepth::Ansi256 => Some(Color::Indexed(match self {
                Self::Around(_) if step != 0.0 => nearest_in_cube(rgb.0, rgb.1, rgb.2),
                _ => nearest_256(rgb.0, rgb.1, rgb.2),
            })),
            ColorDepth::Ansi16 | ColorDepth::None => None,
        };
        let bright = 0.299 * f64::from(rgb.0) + 0.587 * f64::from(rgb.1) + 0.114 * f64::from(rgb.2) > 135.0;
        let shade_style = match (theme.depth, self) {
            (ColorDepth::Ansi16, Self::Around(_)) if share < 0.0 => {
                Style::new().fg(if theme.light { Color::Blue } else { Color::LightBlue })
            }
            (ColorDepth::Ansi16, Self::Around(_)) if share > 0.0 => {
                Style::new().fg(if theme.light { Color::Red } else { Color::LightRed })
            }
            _ => Style::new(),
        };
        let ink = if bright { Color::Black } else { Color::White };
        Paint { color, ink, shade: shade(share, theme.ascii), shade_style }
    }

    /// The scale itself, with its ends labelled.
    pub fn legend(self, theme: Theme) -> Vec<Span<'static>> {
        const SHOWN: u32 = 12;
        if self == Self::Around(0.0) {
            return vec![Span::styled("0 everywhere", theme.dim())];
        }
        let (low, high) = match self {
            Self::From(low, high) => (low, high),
            // 0 has no sign
            Self::Around(most) => (0.0 - most, most),
        };
        let mut spans = vec![Span::styled(format!("{} ", text::number(low)), theme.dim())];
        for step in 0..SHOWN {
            let paint = self.paint(low + (high - low) * f64::from(step) / f64::from(SHOWN - 1), theme);
            spans.push(match paint.color {
                Some(color) => Span::styled(" ", Style::new().bg(color)),
                None => Span::styled(paint.shade.to_string(), paint.shade_style),
            });
        }
        spans.push(Span::styled(format!(" {}", text::number(high)), theme.dim()));
        spans
    }
}

/// Relative change on a logarithmic scale: a thousandth is 0, 1 is the full height.
pub(crate) fn change_share(relative: f64) -> f64 {
    if relative <= 0.0 { 0.0 } else { ((relative.log10() + 3.0) / 3.0).clamp(0.05, 1.0) }
}

/// The shade of a share; negative shares have other shades.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a small index"
)]
fn shade(share: f64, ascii: bool) -> char {
    let levels: &[char] = match (ascii, share < 0.0) {
        (false, false) => &[' ', '░', '▒', '▓', '█'],
        (false, true) => &[' ', '·', '-', '=', '≡'],
        (true, false) => &[' ', '.', ':', '-', '=', '+', '*', '#', '%', '@'],
        (true, true) => &[' ', '\'', '~', 'o', 'O'],
    };
    let top = levels.len() - 1;
    levels[((share.abs().min(1.0) * top as f64).ceil() as usize).min(top)]
}

/// Blue for -1, orange for 1, the background for 0.
fn diverging(share: f64, light: bool) -> (u8, u8, u8) {
    let centre = if light { [0.96, 0.0, 0.0] } else { [0.22, 0.0, 0.0] };
    // lightness, green to red, blue to yellow
    let end = match (share < 0.0, light) {
        (true, false) => [0.68, -0.05, -0.16],
        (false, false) => [0.75, 0.08, 0.14],
        (true, true) => [0.45, -0.02, -0.18],
        (false, true) => [0.55, 0.11, 0.11],
    };
    let at = share.abs();
    oklab([0, 1, 2].map(|i| centre[i] + (end[i] - centre[i]) * at))
}

/// sRGB of an Oklab colour (Ottosson, "A perceptual color space for image processing", 2020).
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
fn oklab([lightness, a, b]: [f64; 3]) -> (u8, u8, u8) {
    let cube = |x: f64| x * x * x;
    let l = cube(lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b);
    let m = cube(lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b);
    let s = cube(lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b);
    let channel = |linear: f64| {
        let linear = linear.clamp(0.0, 1.0);
        let srgb = if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 };
        (srgb * 255.0).round() as u8
    };
    (
        channel(4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s),
        channel(-1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s),
        channel(-0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s),
    )
}

/// Levels of a channel in a 256-colour terminal's cube.
const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// The colour of the 6 x 6 x 6 cube whose channels are nearest.
fn nearest_in_cube(r: u8, g: u8, b: u8) -> u8 {
    let level = |x: u8| (0..6u8).min_by_key(|&i| LEVELS[usize::from(i)].abs_diff(x)).unwrap_or(0);
    16 + 36 * level(r) + 6 * level(g) + level(b)
}

/// The nearest colour of the cube or the grey ramp of a 256-colour terminal.
fn nearest_256(r: u8, g: u8, b: u8) -> u8 {
    let square = |x: u8, y: u8| u32::from(x.abs_diff(y)).pow(2);
    let distance = |color: (u8, u8, u8)| square(color.0, r) + square(color.1, g) + square(color.2, b);
    let cube = nearest_in_cube(r, g, b);
    let level = |n: u8| LEVELS[usize::from(n % 6)];
    let mean = u8::try_from((u16::from(r) + u16::from(g) + u16::from(b)) / 3).unwrap_or(u8::MAX);
    let step = mean.saturating_sub(3).div_euclid(10).min(23);
    let grey = 8 + 10 * step;
    let in_cube = (level((cube - 16) / 36), level((cube - 16) / 6), level(cube - 16));
    if distance((grey, grey, grey)) < distance(in_cube) { 232 + step } else { cube }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_and_the_middle_of_a_scale_are_distinct() {
        let lightness = |(r, g, b): (u8, u8, u8)| u32::from(r) + u32::from(g) + u32::from(b);
        for light in [false, true] {
            let (minus, zero, plus) = (diverging(-1.0, light), diverging(0.0, light), diverging(1.0, light));
            assert!(minus.2 > minus.0 && plus.0 > plus.2, "{minus:?} {plus:?}");
            assert_eq!(lightness(zero) > lightness(minus).max(lightness(plus)), light);
            assert!(zero.0.abs_diff(zero.2) < 3, "grey in the middle: {zero:?}");
        }
        assert_eq!(oklab([1.0, 0.0, 0.0]), (255, 255, 255));
        assert_eq!(shade(-1.0, true), 'O');
        assert_eq!(shade(0.0, false), ' ');
    }
}
