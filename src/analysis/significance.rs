//! Whether a mean effect over many prompts differs from 0, and how precisely it is known.
//!
//! The methods are those of `transformer_lens.utilities.statistics` 4.3.0, in f64 and with our own generator: a draw depends
//! only on the seed and its number, so results do not depend on the number of threads.

use rayon::prelude::*;

use crate::hooks::random_bits;

/// The resamples of an interval and the sign patterns of a p-value, as they are by default in `transformer_lens`.
pub const RESAMPLES: usize = 1000;

/// The largest number of values of which every pattern of signs is tried.
const EXACT: usize = 12;

/// What an effect is tested for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alternative {
    /// Its mean is not 0.
    #[default]
    TwoSided,
    /// Its mean is above 0.
    Greater,
    /// Its mean is below 0.
    Less,
}

/// A mean with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanEffect {
    /// The number of values.
    pub n: usize,
    pub mean: f64,
    /// The ends of the 95 % bootstrap interval of the mean.
    pub interval: (f64, f64),
    /// The two-sided sign-flip p-value.
    pub p: f64,
}

impl MeanEffect {
    /// The mean of values, with [`RESAMPLES`] draws for each of its uncertainties; None of no values or of one that is not
    /// finite.
    #[must_use]
    pub fn of(values: &[f64], seed: u64) -> Option<Self> {
        Some(Self {
            n: values.len(),
            mean: mean(values)?,
            interval: bootstrap_interval(values, 0.95, RESAMPLES, seed)?,
            p: sign_flip_p_value(values, Alternative::TwoSided, RESAMPLES, seed)?,
        })
    }
}

/// The mean; None of no values or of one that is not finite.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "fewer values than 2^53")]
pub fn mean(values: &[f64]) -> Option<f64> {
    let is_defined = !values.is_empty() && values.iter().all(|value| value.is_finite());
    is_defined.then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The percentile bootstrap interval of the mean (Efron 1979): the quantiles `(1 - confidence) / 2` and
/// `(1 + confidence) / 2` of the means of `resamples` samples with replacement. None without values or resamples, or of
/// values that are not finite.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "fewer values than 2^53")]
pub fn bootstrap_interval(values: &[f64], confidence: f64, resamples: usize, seed: u64) -> Option<(f64, f64)> {
    mean(values).filter(|_| resamples > 0)?;
    let n = values.len();
    let mut means: Vec<f64> = (0..resamples as u64)
        .into_par_iter()
        .map(|draw| {
            let stream = random_bits(seed, draw);
            let picked = (0..n as u64).map(|i| values[below(random_bits(stream, i), n)]);
            picked.sum::<f64>() / n as f64
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0;
    Some((quantile(&means, tail), quantile(&means, 1.0 - tail)))
}

/// The p-value of the paired sign-flip permutation test of a mean of 0: the share of sign patterns whose mean is as extreme as
/// the observed one. Of at most 12 values every pattern is tried; of more, `permutations` random ones, and the observed one is
/// counted among them: `(hits + 1) / (permutations + 1)`. None without values, or of values that are not finite.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "fewer values than 2^53")]
pub fn sign_flip_p_value(values: &[f64], alternative: Alternative, permutations: usize, seed: u64) -> Option<f64> {
    let observed = mean(values)?;
    let n = values.len();
    // means that differ only by the order of their sums are equal
    let tolerance = observed.abs() * 100.0 * f64::EPSILON;
    let is_hit = |null: f64| match alternative {
        Alternative::TwoSided => null.abs() >= observed.abs() - tolerance,
        Alternative::Greater => null >= observed - tolerance,
        Alternative::Less => null <= observed + tolerance,
    };
    let flipped_mean = |signs: &dyn Fn(u64) -> u64| {
        let blocks = values.chunks(64).zip(0..).map(|(block, number)| flipped_sum(block, signs(number)));
        blocks.sum::<f64>() / n as f64
    };
    if n <= EXACT {
        let patterns = 0..1_u64 << n;
        let hits = patterns.clone().filter(|pattern| is_hit(flipped_mean(&|_| *pattern))).count();
        return Some(hits as f64 / patterns.count() as f64);
    }
    let hits = (0..permutations as u64)
        .into_par_iter()
        .filter(|draw| {
            let stream = random_bits(seed ^ SIGNS, *draw);
            is_hit(flipped_mean(&|block| random_bits(stream, block)))
        })
        .count();
    Some((hits as f64 + 1.0) / (permutations as f64 + 1.0))
}

/// The sum of at most 64 values, those negated whose bit is set.
fn flipped_sum(block: &[f64], signs: u64) -> f64 {
    block.iter().enumerate().map(|(i, value)| if signs >> i & 1 == 1 { -value } else { *value }).sum()
}

/// Keeps the signs independent of the resamples of the same seed.
const SIGNS: u64 = 0x5167_4e5f_464c_4950;

/// A number below `n` from random bits (Lemire, "Fast random integer generation in an interval", 2019, without its rejection:
/// the bias is at most n / 2^64).
fn below(bits: u64, n: usize) -> usize {
    usize::try_from((u128::from(bits) * n as u128) >> 64).unwrap_or(0)
}

/// A quantile of sorted values, interpolated linearly between the two nearest (as `torch.quantile` does).
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in the list"
)]
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * place.fract()
}
