//! The characters of wires, frames and marks.

/// How strong a line is: a wire or frame, or the residual stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    #[default]
    None,
    Light,
    Heavy,
}

/// The four half-lines of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arms {
    pub up: Weight,
    pub right: Weight,
    pub down: Weight,
    pub left: Weight,
}

/// The characters of joined half-lines, indexed by the sum of up (1), right (2), down (4) and left (8).
const LIGHT: [char; 16] = [' ', '│', '─', '╰', '│', '│', '╭', '├', '─', '╯', '─', '┴', '╮', '┤', '┬', '┼'];
const HEAVY: [char; 16] = [' ', '┃', '━', '┗', '┃', '┃', '┏', '┣', '━', '┛', '━', '┻', '┓', '┫', '┳', '╋'];

impl Arms {
    pub fn char(self, ascii: bool) -> char {
        let all = [self.up, self.right, self.down, self.left];
        let mask = |at_least: Weight| {
            all.iter().enumerate().filter(|(_, arm)| **arm >= at_least).map(|(i, _)| 1_usize << i).sum::<usize>()
        };
        let (any, heavy) = (mask(Weight::Light), mask(Weight::Heavy));
        match (ascii, heavy, any) {
            (true, 0, 0) => ' ',
            (true, 0, 1 | 4 | 5) => '|',
            (true, 0, 2 | 8 | 10) => '-',
            (true, 0, _) => '+',
            (true, 2 | 8 | 10, 2 | 8 | 10) => '=',
            (true, ..) => '#',
            (false, 0, _) => LIGHT[any],
            (false, 5, 7) => '┠',
            (false, 5, 13) => '┨',
            (false, 5, 15) => '╂',
            (false, ..) => HEAVY[any],
        }
    }
}

/// Single signs, in Unicode or in ASCII.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signs {
    pub hook: char,
    pub off: char,
    pub derived: char,
    pub right: char,
    pub left: char,
    pub down: char,
    pub adder: &'static str,
    /// Between remarks.
    pub dot: &'static str,
    /// Between the ends of a range.
    pub to: &'static str,
    pub times: &'static str,
}

impl Signs {
    pub fn new(ascii: bool) -> Self {
        match ascii {
            false => Self {
                hook: '●',
                off: '○',
                derived: '◌',
                right: '▶',
                left: '◀',
                down: '▼',
                adder: "⊕",
                dot: "·",
                to: "–",
                times: "×",
            },
            true => Self {
                hook: '*',
                off: 'o',
                derived: '%',
                right: '>',
                left: '<',
                down: 'v',
                adder: "(+)",
                dot: "|",
                to: "-",
                times: "x",
            },
        }
    }
}
