//! The cross-entropy of each row's next token, without writing the logits to memory: over a vocabulary, that would take
//! longer than the softmax.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    LANES,
    panels::{Fit, Panels, Transpose, WIDE, tile, with_count},
    softmax::exp,
};

/// Panels that a thread does at once. It does not depend on the number of threads, and so neither do the results.
const PART: usize = 16;

/// The number of input values that fit the second-level cache.
const BLOCK: usize = 1 << 17;

/// `Σ exp(logit - most)` over some of the vocabulary.
#[derive(Clone, Copy)]
struct Total {
    most: f32,
    sum: f64,
}

impl Total {
    const NOTHING: Self = Self { most: f32::NEG_INFINITY, sum: 0.0 };

    /// The sum in terms of a larger number.
    fn scaled_to(self, most: f32) -> f64 {
        match self.most {
            // nothing, or logits that are all -inf
            f32::NEG_INFINITY => self.sum,
            own if own < most => self.sum * (f64::from(own) - f64::from(most)).exp(),
            _ => self.sum,
        }
    }

    /// The same over both.
    fn with(self, other: Self) -> Self {
        let most = self.most.max(other.most);
        Self { most, sum: self.scaled_to(most) + other.scaled_to(most) }
    }
}

/// A [`Total`] that is still summed, lane by lane: adding up lanes for each row of a tile would take a tenth of the product's time.
#[derive(Clone, Copy)]
struct Lanes {
    most: f32,
    sums: [f64; LANES],
}

impl Lanes {
    const NOTHING: Self = Self { most: f32::NEG_INFINITY, sums: [0.0; LANES] };

    fn total(&self) -> Total {
        Total { most: self.most, sum: self.sums.iter().sum() }
    }

    /// Add logits.
    #[inline(always)]
    fn add(&mut self, logits: &[f32; WIDE * LANES]) {
        // without a branch for each
        if logits.iter().fold(0, |any, x| any | u32::from(*x > self.most)) > 0 {
            let most = logits.iter().copied().fold(self.most, f32::max);
            if self.most > f32::NEG_INFINITY {
                let factor = (f64::from(self.most) - f64::from(most)).exp();
                self.sums.iter_mut().for_each(|sum| *sum *= factor);
            }
            self.most = most;
        }
        // -inf minus -inf would be NaN, which only a logit that is NaN should give
        let from = if self.most == f32::NEG_INFINITY { 0.0 } else { self.most };
        let mut sums = [0.0f32; LANES];
        for part in logits.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                sums[lane] += exp(part[lane] - from);
            }
        }
        for lane in 0..LANES {
            self.sums[lane] += f64::from(sums[lane]);
        }
    }
}

/// `ln Σ exp(logits) - logit(next)` of each row, with logits `x · weightᵀ + bias`; NaN if the softmax is undefined: a logit is
/// NaN or +inf, or all are -inf. A row's result does not depend on the others.
///
/// # Shapes
/// `x`: `[rows, in]`; `next`: `[rows]`, each below the number of outputs.
pub(super) fn cross_entropy(weight: &Panels, x: &[f32], bias: Option<&[f32]>, next: &[u32]) -> Vec<f64> {
    let ((out, d_in), width, group) = (weight.dims(), weight.width(), Fit::of_this_cpu().group);
    let (arch, rows) = (Arch::new(), next.len());
    let mut transposed = vec![0.0; x.len()];
    transposed.par_chunks_mut(group * d_in).zip(x.par_chunks(group * d_in)).for_each(|(out, rows)| {
        let n = rows.len() / d_in;
        arch.dispatch(Transpose { rows, stride: d_in, n, out, width: n });
    });
    let x_by_group = &transposed;
    let part = PART * width;
    let totals: Vec<Vec<Total>> = weight
        .values()
        .par_chunks(part * d_in)
        .enumerate()
        .map(|(number, w)| {
            let from = number * part;
            let bias = bias.map(|bias| &bias[from..]);
            let (x, columns) = (x_by_group, part.min(out - from));
            arch.dispatch(Part { x, w, bias, columns, rows, d_in, width, group })
        })
        .collect();
    let of = |(row, next): (usize, &u32)| {
        let all = totals.iter().map(|part| part[row]).fold(Total::NOTHING, Total::with);
        let own = &x[row * d_in..(row + 1) * d_in];
        let at = *next as usize;
        let product =
            weight.row(at).iter().zip(own).fold(bias.map_or(0.0, |bias| bias[at]), |sum, (w, x)| x.mul_add(*w, sum));
        if all.most.is_finite() { all.sum.ln() + f64::from(all.most) - f64::from(product) } else { f64::NAN }
    };
    next.par_iter().enumerate().map(|(row, next)| of((row, next))).collect()
}

/// Some of the vocabulary, for all rows.
struct Part<'a> {
    /// `[group][in][row]`
    x: &'a [f32],
    /// `[panel][in][width]`
    w: &'a [f32],
    bias: Option<&'a [f32]>,
    /// The outputs, of which the last panel may have fewer.
    columns: usize,
    rows: usize,
    d_in: usize,
    width: usize,
    group: usize,
}

impl WithSimd for Part<'_> {
    type Output = Vec<Total>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<Total> {
        let mut totals = vec![Lanes::NOTHING; self.rows];
        let block = (BLOCK / self.d_in).max(1).next_multiple_of(self.group);
        for begin in (0..self.rows).step_by(block) {
            for panel in 0..self.w.len() / (self.width * self.d_in) {
                for first in (begin..(begin + block).min(self.rows)).step_by(self.group) {
                    with_count!(self.group.min(self.rows - first), M => self.add::<S, M>(simd, panel, first, &mut totals));
                }
            }
        }
        totals.iter().map(Lanes::total).collect()
    }
}

impl Part<'_> {
    /// Add the logits of one panel for `M` rows from `first` on.
    #[inline(always)]
    fn add<S: Simd, const M: usize>(&self, simd: S, panel: usize, first: usize, totals: &mut [Lanes]) {
        let &Self { d_in, width, .. } = self;
        let (x, w) = (&self.x[first * d_in..][..M * d_in], &self.w[panel * width * d_in..][..width * d_in]);
        let from = panel * width;
        let columns = width.min(self.columns - from);
        let mut sums = [[simd.splat_f32s(0.0); WIDE]; M];
        if let Some(bias) = self.bias {
            let mut begin = [0.0; WIDE * LANES];
            begin[..columns].copy_from_slice(&bias[from..from + columns]);
            for row in 0..M {
                sums[row].copy_from_slice(&S::as_simd_f32s(&begin).0[..WIDE]);
            }
        }
        tile::<S, M>(simd, x, w, &mut sums);
        for row in 0..M {
            // the last panel is filled with what counts nothing
            let mut logits = [f32::NEG_INFINITY; WIDE * LANES];
            S::as_mut_simd_f32s(&mut logits).0[..WIDE].copy_from_slice(&sums[row]);
            logits[columns..].fill(f32::NEG_INFINITY);
            totals[first + row].add(&logits);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{analysis::log_normaliser, hooks::random_bits};

    fn values(seed: u64, n: usize, scale: f32) -> Vec<f32> {
        #[allow(clippy::cast_precision_loss)]
        (0..n as u64).map(|i| ((random_bits(seed, i) >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        #[test]
        fn it_is_that_of_the_logits(seed: u64, rows in 1usize..40, out in 1usize..300, d_in in 1usize..70, biased: bool, scale in 0.1f32..20.0) {
            let (w, x) = (values(seed, out * d_in, 1.0), values(seed ^ 1, rows * d_in, scale));
            let bias = biased.then(|| values(seed ^ 2, out, 2.0));
            let below = |i| u32::try_from(random_bits(seed ^ 3, i) % out as u64).unwrap();
            let next: Vec<u32> = (0..rows as u64).map(below).collect();
            let panels = Panels::new(w, d_in);
            let logits = panels.multiply(&x, bias.as_deref());
            let found = cross_entropy(&panels, &x, bias.as_deref(), &next);
            for ((logits, next), found) in logits.chunks(out).zip(&next).zip(&found) {
                let expected = log_normaliser(logits) - f64::from(logits[*next as usize]);
                let most = logits.iter().fold(1.0f32, |most, x| most.max(x.abs()));
                prop_assert!((found - expected).abs() < 1e-6 * f64::from(most), "{found} for {expected}");
            }
            // bitwise independent of the other rows
            let last = rows - 1;
            let alone = cross_entropy(&panels, &x[last * d_in..], bias.as_deref(), &next[last..]);
            prop_assert_eq!(alone[0].to_bits(), found[last].to_bits());
        }
    }

    #[test]
    fn it_is_undefined_where_the_softmax_is() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let all = |bias: Vec<f32>| {
            let panels = Panels::new(vec![1.0; bias.len()], 1);
            cross_entropy(&panels, &[0.0], Some(&bias), &[0])[0]
        };
        let mut bias = vec![0.0; 200];
        assert!((all(bias.clone()) - 200f64.ln()).abs() < 1e-6);
        bias[130] = -inf;
        assert!((all(bias.clone()) - 199f64.ln()).abs() < 1e-6);
        for (at, value) in [(3, nan), (150, nan), (199, inf), (0, inf)] {
            let mut bias = bias.clone();
            bias[at] = value;
            assert!(all(bias).is_nan(), "{at} {value}");
        }
        assert!(all(vec![-inf; 200]).is_nan());
        // a whole panel of -inf before the rest
        let mut bias = vec![-inf; 200];
        (bias[0], bias[199]) = (1.0, 1.0);
        assert!((all(bias) - 2f64.ln()).abs() < 1e-6);
    }
}
