//! The drawing surface: wires and frames that join where they meet, text over them, and the cells that result.

use super::{
    glyphs::{Arms, Signs, Weight},
    label::State,
};
use crate::hooks::HookPoint;

/// What a cell shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    Blank,
    /// A wire other than the residual stream.
    Wire,
    /// The residual stream.
    Stream,
    /// Where something is added to the residual stream.
    Adder,
    /// A module's border and its name.
    Frame,
    /// What is computed on the wire.
    Operation,
    /// A hook that the forward pass computes: its mark and its name.
    Hook,
    /// A hook that is off until it is turned on.
    Off,
    /// A hook that is derived for display.
    Derived,
    /// A hook's shape.
    Shape,
    /// Words about the picture.
    Title,
}

/// One character cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// One column wide.
    pub symbol: char,
    pub role: Role,
    /// The hook whose mark, name or shape it is part of.
    pub hook: Option<HookPoint>,
    /// Indices into [`super::Picture::wires`] of the wires that pass here.
    pub wires: Vec<usize>,
}

/// The place of a hook: mark, name and shape take `width` columns from `x` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub hook: HookPoint,
    pub x: usize,
    pub y: usize,
    pub width: usize,
    /// The column of its mark, or the nearest visible one.
    pub mark: usize,
}

impl Place {
    #[must_use]
    pub fn contains(&self, x: usize, y: usize) -> bool {
        y == self.y && (self.x..self.x + self.width).contains(&x)
    }
}

/// A segment of wire between hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// The hooks directly upstream.
    pub from: Vec<HookPoint>,
    /// The hooks directly downstream; none if it leads out of the model.
    pub to: Vec<HookPoint>,
}

/// The side of the mark that the label is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// The corners of a line, each in the row or column of the one before.
pub(super) type Path<'a> = &'a [(usize, usize)];

#[derive(Clone, Default)]
struct Spot {
    arms: Arms,
    role: Role,
    text: Option<char>,
    hook: Option<HookPoint>,
    wires: Vec<usize>,
}

/// Drawing outside it does nothing.
pub(super) struct Sheet {
    pub width: usize,
    pub height: usize,
    pub ascii: bool,
    pub signs: Signs,
    spots: Vec<Spot>,
    wires: Vec<Wire>,
    places: Vec<Place>,
}

impl Sheet {
    pub fn new(width: usize, height: usize, ascii: bool) -> Self {
        let spots = vec![Spot::default(); width * height];
        Self { width, height, ascii, signs: Signs::new(ascii), spots, wires: Vec::new(), places: Vec::new() }
    }

    fn spot(&mut self, x: usize, y: usize) -> Option<&mut Spot> {
        if x < self.width && y < self.height { self.spots.get_mut(y * self.width + x) } else { None }
    }

    /// A wire from hooks to hooks; [`Role::Stream`] is drawn heavy.
    pub fn wire(&mut self, path: Path<'_>, role: Role, from: &[HookPoint], to: &[HookPoint]) {
        let wire = self.wires.len();
        self.wires.push(Wire { from: from.to_vec(), to: to.to_vec() });
        self.line(path, role, Some(wire));
    }

    /// The border of a module, named at its right end.
    pub fn frame(&mut self, (x0, y0): (usize, usize), (x1, y1): (usize, usize), name: &str) {
        self.line(&[(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], Role::Frame, None);
        self.text(x1.saturating_sub(name.chars().count() + 3), y0, &format!(" {name} "), Role::Frame);
    }

    fn line(&mut self, path: Path<'_>, role: Role, wire: Option<usize>) {
        let weight = if role == Role::Stream { Weight::Heavy } else { Weight::Light };
        for ends in path.windows(2) {
            let ((x0, y0), (x1, y1)) = (ends[0], ends[1]);
            let (xs, ys) = (x0.min(x1)..=x0.max(x1), y0.min(y1)..=y0.max(y1));
            for y in ys.clone() {
                for x in xs.clone() {
                    let Some(spot) = self.spot(x, y) else { continue };
                    let arms = &mut spot.arms;
                    for (arm, goes_on) in [
                        (&mut arms.up, y > *ys.start()),
                        (&mut arms.down, y < *ys.end()),
                        (&mut arms.left, x > *xs.start()),
                        (&mut arms.right, x < *xs.end()),
                    ] {
                        *arm = if goes_on { weight.max(*arm) } else { *arm };
                    }
                    // the stream is drawn over whatever it meets, and a wire over a frame
                    spot.role = match (spot.role, role) {
                        (Role::Stream, _) | (_, Role::Stream) => Role::Stream,
                        (Role::Wire, _) => Role::Wire,
                        (_, new) => new,
                    };
                    if let Some(wire) = wire.filter(|wire| spot.wires.last() != Some(wire)) {
                        spot.wires.push(wire);
                    }
                }
            }
        }
    }

    /// Write over whatever is there.
    pub fn text(&mut self, x: usize, y: usize, text: &str, role: Role) {
        self.put(x, y, text, role, None);
    }

    /// The same, centred on `x`.
    pub fn centred(&mut self, x: usize, y: usize, text: &str, role: Role) {
        self.text(x.saturating_sub(text.chars().count().saturating_sub(1) / 2), y, text, role);
    }

    /// An arrow head on the last wire drawn.
    pub fn head(&mut self, x: usize, y: usize, sign: char) {
        if let Some(spot) = self.spot(x, y) {
            spot.text = Some(sign);
        }
    }

    fn put(&mut self, x: usize, y: usize, text: &str, role: Role, hook: Option<HookPoint>) {
        if role == Role::Operation {
            // the whole text belongs to the wires below it
            let mut wires: Vec<usize> = Vec::new();
            for i in 0..text.chars().count() {
                wires.extend(self.spot(x + i, y).map(|spot| spot.wires.clone()).unwrap_or_default());
            }
            wires.sort_unstable();
            wires.dedup();
            for i in 0..text.chars().count() {
                if let Some(spot) = self.spot(x + i, y) {
                    spot.wires.clone_from(&wires);
                }
            }
        }
        for (i, c) in text.chars().enumerate() {
            if let Some(spot) = self.spot(x + i, y) {
                (spot.text, spot.role, spot.hook) = (Some(c), role, hook);
            }
        }
    }

    /// Draw a hook's mark, with its name and its shape (which may be empty) on one side.
    pub fn hook(&mut self, (x, y): (usize, usize), hook: HookPoint, state: State, name: &str, shape: &str, side: Side) {
        let (mark, role) = match state {
            State::On => (self.signs.hook, Role::Hook),
            State::Off => (self.signs.off, Role::Off),
            State::Derived => (self.signs.derived, Role::Derived),
        };
        let gap = usize::from(!shape.is_empty());
        let width = 2 + name.len() + gap + shape.len();
        let (start, label) = match side {
            Side::Right => (x, x + 2),
            Side::Left => ((x + 1).saturating_sub(width), (x + 1).saturating_sub(width)),
        };
        // a space in the shape's role where there is one
        let shape = format!("{}{shape}", " ".repeat(gap));
        self.put(start, y, &" ".repeat(width), role, Some(hook));
        self.put(label, y, name, role, Some(hook));
        self.put(label + name.len(), y, &shape, Role::Shape, Some(hook));
        self.put(x, y, &mark.to_string(), role, Some(hook));
        self.places.push(Place { hook, x: start, y, width, mark: x });
    }

    /// Leave a space between a text that ends before `x` and the wire after it, if the wire is long enough.
    fn set_apart(&mut self, x: usize, y: usize) {
        let across = |spot: &Spot| {
            let Arms { left, right, up, down } = spot.arms;
            spot.text.is_none() && [left, right] != [Weight::None; 2] && [up, down] == [Weight::None; 2]
        };
        if self.spot(x + 1, y).is_some_and(|spot| across(spot))
            && let Some(spot) = self.spot(x, y).filter(|spot| across(spot))
        {
            spot.text = Some(' ');
        }
    }

    /// The cells row by row, the wires, and the hooks in execution order.
    pub fn finish(mut self) -> (Vec<Cell>, Vec<Wire>, Vec<Place>) {
        let ascii = self.ascii;
        let cell = move |spot: Spot| Cell {
            symbol: spot.text.unwrap_or_else(|| spot.arms.char(ascii)),
            role: spot.role,
            hook: spot.hook,
            wires: spot.wires,
        };
        for place in self.places.clone() {
            self.set_apart(place.x + place.width, place.y);
        }
        self.places.sort_by_key(|place| place.hook);
        (self.spots.into_iter().map(cell).collect(), self.wires, self.places)
    }
}
