//! Moving the numbers of operations by suitable steps.

use super::{Op, Takes, op_facts::Arguments};

impl Op {
    /// Its number, if it has one.
    #[must_use]
    pub fn number(self) -> Option<f32> {
        match self.row().takes {
            Takes::Nothing | Takes::Vector | Takes::Seed => None,
            Takes::Number | Takes::Multiple | Takes::Deviation => Some(self.arguments().number),
        }
    }

    /// The operation with another number; None where it has none, or can't have this one.
    #[must_use]
    pub fn with_number(self, number: f32) -> Option<Self> {
        let row = self.row();
        let fits = match row.takes {
            Takes::Nothing | Takes::Vector | Takes::Seed => false,
            Takes::Number | Takes::Multiple => !number.is_nan(),
            Takes::Deviation => number.is_finite() && number >= 0.0,
        };
        fits.then(|| (row.make)(Arguments { number, ..self.arguments() }))
    }

    /// The operation with its number moved by a step: a tenth, or a step suited to much smaller or larger numbers.
    #[must_use]
    pub fn slid(self, up: bool) -> Self {
        let (row, with) = (self.row(), self.arguments());
        let number = match row.takes {
            Takes::Nothing | Takes::Vector | Takes::Seed => return self,
            Takes::Number | Takes::Multiple => slid(with.number, up),
            Takes::Deviation => slid(with.number, up).max(0.0),
        };
        (row.make)(Arguments { number, ..with })
    }
}

fn slid(x: f32, up: bool) -> f32 {
    let size = f64::from(x.abs()).log10().floor();
    let step = match size {
        size if size >= 2.0 => 10f64.powf(size - 1.0),
        size if size < -1.0 && size.is_finite() => 10f64.powf(size),
        _ => 0.1,
    };
    // rounded to a thousandth of a step, so that moving back restores the number
    let units = ((f64::from(x) + if up { step } else { -step }) / step * 1000.0).round();
    #[allow(clippy::cast_possible_truncation, reason = "numbers of edits are f32")]
    let moved = (units / 1000.0 * step).clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
    // an infinite number does not move
    if x.is_finite() { moved } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_slide_by_suitable_steps_and_return() {
        let up = |x: f32| Op::Set(x).slid(true);
        let down = |op: Op| op.slid(false);
        for x in [0.5, 1.04, -2.0, 0.05, 0.003, 250.0, 7e20] {
            assert_ne!(up(x), Op::Set(x), "{x}");
            assert_eq!(down(up(x)), Op::Set(x), "{x}");
        }
        assert_eq!([up(0.0), up(0.3), up(0.05), up(250.0)], [0.1, 0.4, 0.06, 260.0].map(Op::Set));
        assert_eq!(up(f32::MAX), Op::Set(f32::MAX));
        assert_eq!(up(f32::NEG_INFINITY), Op::Set(f32::NEG_INFINITY));
        assert_eq!(Op::Noise { sd: 0.1, seed: 3 }.slid(false), Op::Noise { sd: 0.0, seed: 3 });
        assert_eq!(Op::Mean.slid(true), Op::Mean);
    }

    #[test]
    fn a_number_is_replaced_by_one_that_the_operation_takes() {
        assert_eq!((Op::Add(3.0).number(), Op::Mean.number()), (Some(3.0), None));
        assert_eq!(Op::Add(3.0).with_number(-1.0), Some(Op::Add(-1.0)));
        let vector = "v".parse().unwrap();
        assert_eq!(Op::Steer { amount: 1.0, vector }.with_number(4.0), Some(Op::Steer { amount: 4.0, vector }));
        let noise = Op::Noise { sd: 1.0, seed: 3 };
        assert_eq!(noise.with_number(2.0), Some(Op::Noise { sd: 2.0, seed: 3 }));
        assert_eq!(
            [noise.with_number(-1.0), Op::Patch.with_number(1.0), Op::Project(vector).with_number(1.0)],
            [None; 3]
        );
    }
}
