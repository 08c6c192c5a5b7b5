//! Sums over a vocabulary or an activation, in f64 and vectorised: rankings, divergences and changes are computed from
//! them.

#![allow(
    clippy::inline_always,
    reason = "what is dispatched must be compiled for the instructions it is dispatched to"
)]

use pulp::{Arch, Simd, WithSimd};

/// Partial sums that are kept side by side, so that no addition waits for the one before.
const LANES: usize = 16;

/// `Σ exp(x - most)`
pub(super) fn sum_exp(x: &[f32], most: f32) -> f64 {
    Arch::new().dispatch(SumExp { x, most: most.into() })
}

/// `Σ exp(p - most_p)`, `Σ exp(q - most_q)` and `Σ exp(p - most_p) (p - q)`; a term of the last is 0 where its exponential is.
pub(super) fn exponentials(p: &[f32], most_p: f32, q: &[f32], most_q: f32) -> [f64; 3] {
    Arch::new().dispatch(Sums { p, q, most_p: most_p.into(), most_q: most_q.into() })
}

/// `Σ (after - before)²` over the values that are not equal, and `Σ before²` over the finite ones.
pub(super) fn moved(before: &[f32], after: &[f32]) -> [f64; 2] {
    Arch::new().dispatch(Moved { before, after })
}

struct SumExp<'a> {
    x: &'a [f32],
    most: f64,
}

impl WithSimd for SumExp<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let mut sums = [0.0; LANES];
        let parts = self.x.chunks_exact(LANES);
        let rest = parts.remainder();
        for part in parts {
            for lane in 0..LANES {
                sums[lane] += exp(f64::from(part[lane]) - self.most);
            }
        }
        rest.iter().fold(sums.iter().sum(), |sum, x| sum + exp(f64::from(*x) - self.most))
    }
}

struct Sums<'a> {
    p: &'a [f32],
    q: &'a [f32],
    most_p: f64,
    most_q: f64,
}

impl WithSimd for Sums<'_> {
    type Output = [f64; 3];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f64; 3] {
        let mut sums = [[0.0; LANES]; 3];
        let n = self.p.len() / LANES * LANES;
        for (p, q) in self.p[..n].chunks_exact(LANES).zip(self.q[..n].chunks_exact(LANES)) {
            for lane in 0..LANES {
                let [a, b, c] = self.terms(p[lane], q[lane]);
                sums[0][lane] += a;
                sums[1][lane] += b;
                sums[2][lane] += c;
            }
        }
        let mut all = sums.map(|lanes| lanes.iter().sum::<f64>());
        for (p, q) in self.p[n..].iter().zip(&self.q[n..]) {
            for (sum, term) in all.iter_mut().zip(self.terms(*p, *q)) {
                *sum += term;
            }
        }
        all
    }
}

impl Sums<'_> {
    #[inline(always)]
    fn terms(&self, p: f32, q: f32) -> [f64; 3] {
        let (p, q) = (f64::from(p), f64::from(q));
        let (exp_p, exp_q) = (exp(p - self.most_p), exp(q - self.most_q));
        [exp_p, exp_q, if exp_p == 0.0 { 0.0 } else { exp_p * (p - q) }]
    }
}

struct Moved<'a> {
    before: &'a [f32],
    after: &'a [f32],
}

impl WithSimd for Moved<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    #[allow(clippy::float_cmp, reason = "equal values have not moved, infinities included")]
    fn with_simd<S: Simd>(self, _: S) -> [f64; 2] {
        let mut sums = [[0.0; LANES]; 2];
        let mut add = |lane: usize, before: f32, after: f32| {
            let change = f64::from(after) - f64::from(before);
            sums[0][lane] += if before == after { 0.0 } else { change * change };
            sums[1][lane] += if before.is_finite() { f64::from(before) * f64::from(before) } else { 0.0 };
        };
        let (before, after) = (self.before.chunks_exact(LANES), self.after.chunks_exact(LANES));
        let rest = before.remainder().iter().zip(after.remainder());
        for (before, after) in before.zip(after) {
            for lane in 0..LANES {
                add(lane, before[lane], after[lane]);
            }
        }
        rest.for_each(|(before, after)| add(0, *before, *after));
        sums.map(|lanes| lanes.iter().sum())
    }
}

/// e to the power of a number that is at most 0, or NaN; where it would be below the smallest normal number it is 0.
///
/// `e^x = 2^n e^r` with `|r| <= ln 2 / 2`, and Taylor's series for the rest; no branches.
#[inline(always)]
fn exp(x: f64) -> f64 {
    const LOWEST: f64 = -708.0;
    // ln 2 in two parts, the first exact in few bits
    const LN_2: (f64, f64) = (0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10);
    // adding it moves the nearest whole number to the lowest bits
    const WHOLE: f64 = 6_755_399_441_055_744.0;
    let bound = x.max(LOWEST);
    let shifted = bound.mul_add(std::f64::consts::LOG2_E, WHOLE);
    let n = shifted - WHOLE;
    let r = n.mul_add(-LN_2.1, n.mul_add(-LN_2.0, bound));
    let mut power = 0.0f64;
    for c in SERIES {
        power = power.mul_add(r, c);
    }
    let two = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    match x {
        x if x.is_nan() => x,
        x if x < LOWEST => 0.0,
        _ => power * two,
    }
}

/// `1 / k!`, the highest first.
const SERIES: [f64; 14] = [
    1.0 / 6_227_020_800.0,
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp)]
    fn the_exponential_equals_the_standard_librarys() {
        for i in 0..100_000 {
            let x = -f64::from(i) * 0.007_123;
            let (ours, theirs) = (exp(x), x.exp());
            if x > -708.0 {
                assert!((ours - theirs).abs() <= 4e-16 * theirs, "{x}: {ours} {theirs}");
            }
        }
        assert_eq!((exp(0.0), exp(f64::NEG_INFINITY), exp(-1e9)), (1.0, 0.0, 0.0));
        assert!(exp(f64::NAN).is_nan());
    }
}
