//! Reductions. Sums are in f64; the largest and the smallest value are found in the values' own type, which is exact.

#![allow(
    clippy::inline_always,
    reason = "what is dispatched must be compiled for the instructions it is dispatched to"
)]

use std::marker::PhantomData;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    Function,
    rows::{Along, Rows},
};
use crate::analysis::Change;

/// Partial results that are kept beside each other, so that they need not wait for one another.
const LANES: usize = 16;

/// Values that are worth a task of their own.
const TASK: usize = 1 << 15;

/// A number that a value can be.
pub(super) trait Value: Copy + Into<f64> + PartialOrd + Send + Sync {
    const INFINITY: Self;
    const NEG_INFINITY: Self;

    fn magnitude(self) -> Self;
}

macro_rules! values {
    ($($float:ident)*) => {
        $(
            impl Value for $float {
                const INFINITY: Self = $float::INFINITY;
                const NEG_INFINITY: Self = $float::NEG_INFINITY;

                #[inline(always)]
                fn magnitude(self) -> Self {
                    self.abs()
                }
            }
        )*
    };
}

values!(f32 f64);

/// What is accumulated along an axis.
trait Fold: Send + Sync {
    const START: f64;

    /// With `x`; `centre` is the mean, where it is known.
    fn step(sum: f64, x: f64, centre: f64) -> f64;

    fn join(a: f64, b: f64) -> f64;
}

macro_rules! folds {
    ($($name:ident: $start:expr, |$sum:ident, $x:ident, $centre:ident| $step:expr, |$a:ident, $b:ident| $join:expr;)*) => {
        $(
            struct $name;

            impl Fold for $name {
                const START: f64 = $start;

                #[inline(always)]
                fn step($sum: f64, $x: f64, $centre: f64) -> f64 {
                    $step
                }

                #[inline(always)]
                fn join($a: f64, $b: f64) -> f64 {
                    $join
                }
            }
        )*
    };
}

folds! {
    Sum: 0.0, |sum, x, _centre| sum + x, |a, b| a + b;
    Squares: 0.0, |sum, x, _centre| sum + x * x, |a, b| a + b;
    Deviations: 0.0, |sum, x, centre| sum + (x - centre) * (x - centre), |a, b| a + b;
    // -x ln x, which is 0 at 0 and NaN below
    Surprise: 0.0, |sum, x, _centre| if x == 0.0 { sum } else { sum - x * x.ln() }, |a, b| a + b;
    // once NaN, it stays so
    Largest: f64::NEG_INFINITY, |most, x, _centre| if x > most || x.is_nan() { x } else { most },
        |a, b| if b > a || b.is_nan() { b } else { a };
    Smallest: f64::INFINITY, |least, x, _centre| if x < least || x.is_nan() { x } else { least },
        |a, b| if b < a || b.is_nan() { b } else { a };
}

/// What is reduced.
pub(super) struct Input<'a, T> {
    pub rows: &'a Rows,
    pub values: &'a [T],
    /// Of the absolute values.
    pub abs: bool,
}

impl<T: Value> Input<'_, T> {
    /// What `function` gives along an axis; of a function that reduces nothing, the mean.
    pub(super) fn reduced(&self, function: Function, along: Along) -> Vec<f64> {
        #[allow(clippy::cast_precision_loss, reason = "a number of values")]
        let n = self.rows.reduced(along) as f64;
        let finish = |mut all: Vec<f64>, finish: fn(f64, f64) -> f64| {
            for x in &mut all {
                *x = finish(*x, n);
            }
            all
        };
        match function {
            Function::Norm => finish(self.folded::<Squares>(along, &[]), |sum, _| sum.sqrt()),
            Function::Max if along == Along::Last && self.abs => self.rows(&Extreme::<true, true>),
            Function::Max if along == Along::Last => self.rows(&Extreme::<true, false>),
            Function::Min if along == Along::Last && self.abs => self.rows(&Extreme::<false, true>),
            Function::Min if along == Along::Last => self.rows(&Extreme::<false, false>),
            Function::Max => self.folded::<Largest>(along, &[]),
            Function::Min => self.folded::<Smallest>(along, &[]),
            Function::Entropy => self.folded::<Surprise>(along, &[]),
            Function::Std if along == Along::Last => self.rows(&Deviation { abs: self.abs, n }),
            Function::Std => {
                let means = finish(self.folded::<Sum>(along, &[]), |sum, n| sum / n);
                finish(self.folded::<Deviations>(along, &means), |sum, n| (sum / n).sqrt())
            }
            Function::Mean
            | Function::Abs
            | Function::Delta
            | Function::Induction
            | Function::PreviousToken
            | Function::DuplicateToken
            | Function::FirstToken => finish(self.folded::<Sum>(along, &[]), |sum, n| sum / n),
        }
    }

    /// What `of` makes of each row.
    fn rows<R: OfRow<T>>(&self, of: &R) -> Vec<f64> {
        let mut all = vec![0.0; self.rows.left(Along::Last)];
        let rows = (TASK / self.rows.len.max(1)).max(1);
        all.par_chunks_mut(rows).enumerate().for_each(|(task, out)| {
            Arch::new().dispatch(Each { rows: self.rows, values: self.values, first: task * rows, of, out });
        });
        all
    }

    /// `centres` are one for each result, or none.
    fn folded<F: Fold>(&self, along: Along, centres: &[f64]) -> Vec<f64> {
        let mut all = vec![F::START; self.rows.left(along)];
        let centre = |at: usize| centres.get(at).copied().unwrap_or(0.0);
        match along {
            Along::Last => all = self.rows(&Total::<F> { abs: self.abs, centres, fold: PhantomData }),
            Along::Outer(axis) => {
                let (mut scratch, len) = (vec![], self.rows.len);
                for k in 0..self.rows.count {
                    let first = self.rows.group(k, axis) * len;
                    let row = self.rows.row(self.values, k, &mut scratch);
                    let centres = if centres.is_empty() { &[] } else { &centres[first..first + len] };
                    let sums = &mut all[first..first + len];
                    Arch::new().dispatch(Onto::<F, T> { row, abs: self.abs, centres, sums, fold: PhantomData });
                }
            }
            Along::All => {
                // one centre for all
                let centres = vec![centre(0); self.rows.count];
                let of = Total::<F> { abs: self.abs, centres: &centres, fold: PhantomData };
                all = vec![self.rows(&of).into_iter().fold(F::START, F::join)];
            }
        }
        all
    }
}

/// The relative change along an axis: see [`Change`].
pub(super) fn deltas(rows: &Rows, before: &[f32], after: &[f32], along: Along) -> Vec<f64> {
    let mut changes = vec![Change::default(); rows.left(along)];
    let (mut old, mut new) = (vec![], vec![]);
    for k in 0..rows.count {
        let (before, after) = (rows.row(before, k, &mut old), rows.row(after, k, &mut new));
        match along {
            Along::Last => changes[k] = Change::between(before, after),
            Along::All => changes[0] = changes[0] + Change::between(before, after),
            Along::Outer(axis) => {
                let first = rows.group(k, axis) * rows.len;
                for (j, change) in changes[first..first + rows.len].iter_mut().enumerate() {
                    *change = *change + Change::between(&before[j..=j], &after[j..=j]);
                }
            }
        }
    }
    changes.into_iter().map(Change::relative).collect()
}

/// What is made of a row.
trait OfRow<T>: Sync {
    /// Of the values of row number `k`.
    fn of<S: Simd>(&self, row: &[T], k: usize, simd: S) -> f64;
}

/// Some rows, each with the instructions that the processor has.
struct Each<'a, T, R> {
    rows: &'a Rows,
    values: &'a [T],
    first: usize,
    of: &'a R,
    out: &'a mut [f64],
}

impl<T: Value, R: OfRow<T>> WithSimd for Each<'_, T, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut scratch = vec![];
        for (k, out) in (self.first..).zip(self.out) {
            *out = self.of.of(self.rows.row(self.values, k, &mut scratch), k, simd);
        }
    }
}

/// What is accumulated over a row.
struct Total<'a, F> {
    abs: bool,
    centres: &'a [f64],
    fold: PhantomData<F>,
}

impl<F: Fold, T: Value> OfRow<T> for Total<'_, F> {
    #[inline(always)]
    fn of<S: Simd>(&self, row: &[T], k: usize, _: S) -> f64 {
        total::<F, T>(row, self.abs, self.centres.get(k).copied().unwrap_or(0.0))
    }
}

/// The standard deviation of rows of `n` values.
struct Deviation {
    abs: bool,
    n: f64,
}

impl<T: Value> OfRow<T> for Deviation {
    #[inline(always)]
    fn of<S: Simd>(&self, row: &[T], _: usize, _: S) -> f64 {
        let sum = |(lanes, rest): ([f64; LANES], f64)| halved(lanes, |a, b| a + b) + rest;
        let mean = sum(lanes::<Sum, T>(row, self.abs, 0.0)) / self.n;
        (sum(lanes::<Deviations, T>(row, self.abs, mean)) / self.n).sqrt()
    }
}

/// The lanes joined, halves onto halves: a chain of four steps, where lane after lane is one of fifteen.
#[inline(always)]
fn halved<T: Copy>(mut lanes: [T; LANES], join: impl Fn(T, T) -> T) -> T {
    for half in [LANES / 2, LANES / 4, LANES / 8, LANES / 16] {
        let (kept, other) = lanes.split_at_mut(half);
        for (lane, x) in kept.iter_mut().zip(other) {
            *lane = join(*lane, *x);
        }
    }
    lanes[0]
}

#[inline(always)]
fn read<T: Value>(x: T, abs: bool) -> f64 {
    let x: f64 = x.into();
    if abs { x.abs() } else { x }
}

#[inline(always)]
fn total<F: Fold, T: Value>(row: &[T], abs: bool, centre: f64) -> f64 {
    let (lanes, rest) = lanes::<F, T>(row, abs, centre);
    lanes.into_iter().fold(rest, F::join)
}

/// What accumulates in each lane, and over the values that fill no register.
#[inline(always)]
fn lanes<F: Fold, T: Value>(row: &[T], abs: bool, centre: f64) -> ([f64; LANES], f64) {
    let mut lanes = [F::START; LANES];
    let parts = row.chunks_exact(LANES);
    let rest = parts.remainder();
    for part in parts {
        for lane in 0..LANES {
            lanes[lane] = F::step(lanes[lane], read(part[lane], abs), centre);
        }
    }
    (lanes, rest.iter().fold(F::START, |sum, x| F::step(sum, read(*x, abs), centre)))
}

/// The largest or the smallest value of a row, or of its absolute values; NaN if one is NaN.
struct Extreme<const LARGEST: bool, const ABS: bool>;

impl<const LARGEST: bool, const ABS: bool> Extreme<LARGEST, ABS> {
    /// The more extreme of two, of which `x` is ignored if it is NaN: one instruction of a vector.
    #[inline(always)]
    fn further<T: Value>(most: T, x: T) -> T {
        let further = if LARGEST { x > most } else { x < most };
        if further { x } else { most }
    }

    #[inline(always)]
    fn read<T: Value>(x: T) -> T {
        if ABS { x.magnitude() } else { x }
    }
}

impl<T: Value, const LARGEST: bool, const ABS: bool> OfRow<T> for Extreme<LARGEST, ABS> {
    #[inline(always)]
    fn of<S: Simd>(&self, row: &[T], _: usize, _: S) -> f64 {
        let mut lanes = [if LARGEST { T::NEG_INFINITY } else { T::INFINITY }; LANES];
        let mut nans = [0_u32; LANES];
        let parts = row.chunks_exact(LANES);
        let rest = parts.remainder();
        for part in parts {
            for lane in 0..LANES {
                lanes[lane] = Self::further(lanes[lane], Self::read(part[lane]));
                nans[lane] |= u32::from(is_nan(part[lane]));
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane = Self::further(*lane, Self::read(*x));
        }
        let any = halved(nans, |a, b| a | b) != 0 || rest.iter().any(|x| is_nan(*x));
        if any { f64::NAN } else { halved(lanes, Self::further).into() }
    }
}

#[inline(always)]
#[allow(clippy::eq_op, reason = "NaN does not equal itself")]
fn is_nan<T: Value>(x: T) -> bool {
    x != x
}

/// Every value of a row onto a result of its own.
struct Onto<'a, F, T> {
    row: &'a [T],
    abs: bool,
    centres: &'a [f64],
    sums: &'a mut [f64],
    fold: PhantomData<F>,
}

impl<F: Fold, T: Value> WithSimd for Onto<'_, F, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if self.centres.is_empty() {
            for (sum, x) in self.sums.iter_mut().zip(self.row) {
                *sum = F::step(*sum, read(*x, self.abs), 0.0);
            }
            return;
        }
        for ((sum, x), centre) in self.sums.iter_mut().zip(self.row).zip(self.centres) {
            *sum = F::step(*sum, read(*x, self.abs), *centre);
        }
    }
}
