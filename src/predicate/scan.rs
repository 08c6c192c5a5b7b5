//! Which values meet a condition.

#![allow(
    clippy::inline_always,
    reason = "what is dispatched must be compiled for the instructions it is dispatched to"
)]

use std::ops::{ControlFlow, Range};

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{Comparison, Condition, rows::Rows};

/// Registers of values that are looked through together: most have no match, and are then passed over quickly.
const TOGETHER: usize = 8;

/// Values that are worth a task of their own.
const TASK: usize = 1 << 15;

/// Values whose matches are kept at once.
const BATCH: usize = 1 << 20;

/// Which values are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Those that the condition holds of.
    Holding,
    /// The others.
    Failing,
    All,
}

impl Asked {
    /// Whether a value is listed, by whether the condition holds of it.
    pub(super) fn lists(self, holds: bool) -> bool {
        match self {
            Self::Holding => holds,
            Self::Failing => !holds,
            Self::All => true,
        }
    }
}

impl Condition {
    /// Whether it holds of a value.
    #[must_use]
    pub fn holds(self, x: f64) -> bool {
        match self {
            Self::Compare(comparison, number) => {
                let number = f64::from(number);
                match comparison {
                    Comparison::Greater => x > number,
                    Comparison::Less => x < number,
                    Comparison::AtLeast => x >= number,
                    Comparison::AtMost => x <= number,
                    #[allow(clippy::float_cmp, reason = "what was asked for")]
                    Comparison::Equal => x == number,
                    #[allow(clippy::float_cmp, reason = "what was asked for")]
                    Comparison::NotEqual => x != number,
                }
            }
            Self::IsNan => x.is_nan(),
            Self::IsInf => x.is_infinite(),
        }
    }
}

/// What is looked through.
pub(super) struct Scan<'a> {
    pub rows: &'a Rows,
    pub values: &'a [f32],
    /// For conditions on absolute values.
    pub abs: bool,
    pub condition: Condition,
    pub asked: Asked,
}

impl Scan<'_> {
    /// Call `found` with the number and the value of every wanted value, in order, until it breaks.
    pub(super) fn each(&self, found: &mut dyn FnMut(usize, f64) -> ControlFlow<()>) -> ControlFlow<()> {
        let rows_of = |values: usize| (values / self.rows.len.max(1)).max(1);
        for first in (0..self.rows.count).step_by(rows_of(BATCH)) {
            let batch = first..(first + rows_of(BATCH)).min(self.rows.count);
            let tasks = batch.len().div_ceil(rows_of(TASK));
            let part = |task: usize| {
                let first = batch.start + task * rows_of(TASK);
                self.part(first..(first + rows_of(TASK)).min(batch.end))
            };
            let parts: Vec<Vec<(usize, f64)>> =
                if tasks > 1 { (0..tasks).into_par_iter().map(part).collect() } else { (0..tasks).map(part).collect() };
            for (at, value) in parts.into_iter().flatten() {
                found(at, value)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// The matches of some rows.
    fn part(&self, rows: Range<usize>) -> Vec<(usize, f64)> {
        match self.condition {
            Condition::Compare(Comparison::Greater, number) => self.with(rows, Greater(number)),
            Condition::Compare(Comparison::Less, number) => self.with(rows, Less(number)),
            Condition::Compare(Comparison::AtLeast, number) => self.with(rows, AtLeast(number)),
            Condition::Compare(Comparison::AtMost, number) => self.with(rows, AtMost(number)),
            Condition::Compare(Comparison::Equal, number) => self.with(rows, Equal(number)),
            Condition::Compare(Comparison::NotEqual, number) => self.with(rows, Not(Equal(number))),
            Condition::IsNan => self.with(rows, Not(Ordered)),
            Condition::IsInf => self.with(rows, OfSize(Equal(f32::INFINITY))),
        }
    }

    fn with<H: Holds>(&self, rows: Range<usize>, holds: H) -> Vec<(usize, f64)> {
        match self.abs {
            true => Arch::new().dispatch(Part { scan: self, rows, holds: OfSize(holds) }),
            false => Arch::new().dispatch(Part { scan: self, rows, holds }),
        }
    }
}

/// A condition with its number; a type of its own, so that it is compiled into the loop.
trait Holds: Copy {
    /// The mask says where it does not hold.
    const INVERTED: bool = false;

    fn mask<S: Simd>(self, simd: S, x: S::f32s) -> S::m32s;

    /// Whether it holds of a value.
    fn holds(self, x: f32) -> bool;
}

macro_rules! comparisons {
    ($($name:ident: $compare:ident, $sign:tt;)*) => {
        $(
            #[derive(Clone, Copy)]
            struct $name(f32);

            impl Holds for $name {
                #[inline(always)]
                fn mask<S: Simd>(self, simd: S, x: S::f32s) -> S::m32s {
                    simd.$compare(x, simd.splat_f32s(self.0))
                }

                #[inline(always)]
                #[allow(clippy::float_cmp, reason = "what was asked for")]
                fn holds(self, x: f32) -> bool {
                    x $sign self.0
                }
            }
        )*
    };
}

comparisons! {
    Greater: greater_than_f32s, >;
    Less: less_than_f32s, <;
    AtLeast: greater_than_or_equal_f32s, >=;
    AtMost: less_than_or_equal_f32s, <=;
    Equal: equal_f32s, ==;
}

/// A value that is not NaN: it equals itself.
#[derive(Clone, Copy)]
struct Ordered;

impl Holds for Ordered {
    #[inline(always)]
    fn mask<S: Simd>(self, simd: S, x: S::f32s) -> S::m32s {
        simd.equal_f32s(x, x)
    }

    #[inline(always)]
    fn holds(self, x: f32) -> bool {
        !x.is_nan()
    }
}

#[derive(Clone, Copy)]
struct Not<H>(H);

impl<H: Holds> Holds for Not<H> {
    const INVERTED: bool = !H::INVERTED;

    #[inline(always)]
    fn mask<S: Simd>(self, simd: S, x: S::f32s) -> S::m32s {
        self.0.mask(simd, x)
    }

    #[inline(always)]
    fn holds(self, x: f32) -> bool {
        !self.0.holds(x)
    }
}

/// A condition on absolute values.
#[derive(Clone, Copy)]
struct OfSize<H>(H);

impl<H: Holds> Holds for OfSize<H> {
    const INVERTED: bool = H::INVERTED;

    #[inline(always)]
    fn mask<S: Simd>(self, simd: S, x: S::f32s) -> S::m32s {
        // without the sign bit
        self.0.mask(simd, simd.and_f32s(x, simd.splat_f32s(f32::from_bits(u32::MAX >> 1))))
    }

    #[inline(always)]
    fn holds(self, x: f32) -> bool {
        self.0.holds(x.abs())
    }
}

struct Part<'a, H> {
    scan: &'a Scan<'a>,
    rows: Range<usize>,
    holds: H,
}

impl<H: Holds> WithSimd for Part<'_, H> {
    type Output = Vec<(usize, f64)>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let rows = self.scan.rows;
        let mut found = vec![];
        if rows.are_gapless() {
            let values = self.rows.start * rows.len..self.rows.end * rows.len;
            self.look(simd, &self.scan.values[values.clone()], values.start, &mut found);
            return found;
        }
        let mut scratch = vec![];
        for k in self.rows.clone() {
            self.look(simd, rows.row(self.scan.values, k, &mut scratch), k * rows.len, &mut found);
        }
        found
    }
}

impl<H: Holds> Part<'_, H> {
    /// Add the wanted ones of values that lie beside each other, the first of which has number `first`.
    #[inline(always)]
    fn look<S: Simd>(&self, simd: S, values: &[f32], first: usize, found: &mut Vec<(usize, f64)>) {
        let (groups, _) = S::as_simd_f32s(values).0.as_chunks::<TOGETHER>();
        let len = TOGETHER * S::F32_LANES;
        for (i, group) in groups.iter().enumerate() {
            if self.any(simd, group) {
                self.push(&values[i * len..(i + 1) * len], first + i * len, found);
            }
        }
        let done = groups.len() * len;
        self.push(&values[done..], first + done, found);
    }

    /// Whether a group has a wanted value.
    #[inline(always)]
    fn any<S: Simd>(&self, simd: S, group: &[S::f32s; TOGETHER]) -> bool {
        let asked = match self.scan.asked {
            Asked::Holding => !H::INVERTED,
            Asked::Failing => H::INVERTED,
            Asked::All => return true,
        };
        let mut mask = self.holds.mask(simd, group[0]);
        for x in &group[1..] {
            let next = self.holds.mask(simd, *x);
            mask = if asked { simd.or_m32s(mask, next) } else { simd.and_m32s(mask, next) };
        }
        if !asked {
            let zero = simd.splat_f32s(0.0);
            mask = simd.xor_m32s(mask, simd.equal_f32s(zero, zero));
        }
        simd.first_true_m32s(mask) < S::F32_LANES
    }

    #[inline(always)]
    fn push(&self, values: &[f32], first: usize, found: &mut Vec<(usize, f64)>) {
        for (j, x) in values.iter().enumerate() {
            if self.scan.asked.lists(self.holds.holds(*x)) {
                found.push((first + j, f64::from(if self.scan.abs { x.abs() } else { *x })));
            }
        }
    }
}
