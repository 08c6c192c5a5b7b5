//! How the next token is chosen.

use crate::{
    analysis::{log_normaliser, top_k},
    hooks::random_bits,
};

/// How the next token is chosen: the likeliest, or drawn at random.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// What logits are divided by; at 0 the likeliest token is taken.
    pub temperature: f64,
    /// The number of likeliest tokens to draw from; None draws from all.
    pub top_k: Option<usize>,
    /// The probability mass to draw from: the fewest likeliest tokens that reach it, after `top_k`.
    pub top_p: Option<f64>,
    pub seed: u64,
}

impl Sampling {
    /// The likeliest token at every step.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: None, top_p: None, seed: 0 };

    /// The token to come after a position with these logits `[vocab]`; ties go to the smaller id. None where there is none: all
    /// are NaN, or with a temperature there are no probabilities.
    ///
    /// The draw is a function of seed, sample and step alone, so texts of one sample that have equal logits go on equally.
    #[must_use]
    pub fn choose(&self, logits: &[f32], sample: u64, step: u64) -> Option<u32> {
        if self.temperature == 0.0 {
            return likeliest(logits);
        }
        if !log_normaliser(logits).is_finite() {
            return None;
        }
        let ranked = top_k(logits, self.top_k.unwrap_or(usize::MAX));
        let most = f64::from(ranked.first()?.logit);
        let weight = |logit: f32| ((f64::from(logit) - most) / self.temperature).exp();
        let mut weights: Vec<f64> = ranked.iter().map(|ranked| weight(ranked.logit)).collect();
        if let Some(share) = self.top_p {
            let enough = share * weights.iter().sum::<f64>();
            let mut sum = 0.0;
            let kept = weights.iter().take_while(|weight| {
                let wanted = sum < enough;
                sum += **weight;
                wanted
            });
            let kept = kept.count().max(1);
            weights.truncate(kept);
        }
        let at = uniform(self.seed, sample, step) * weights.iter().sum::<f64>();
        let mut sum = 0.0;
        let passed = weights.iter().position(|weight| {
            sum += weight;
            sum > at
        });
        // rounding can leave the sum below the draw: the last that has any weight
        let last = || weights.iter().rposition(|weight| *weight > 0.0);
        passed.or_else(last).map(|at| ranked[at].id)
    }
}

/// The token with the largest logit that is not NaN, the first of equal ones.
fn likeliest(logits: &[f32]) -> Option<u32> {
    let numbers = logits.iter().enumerate().filter(|(_, logit)| !logit.is_nan());
    let (id, _) = numbers.reduce(|most, next| if next.1 > most.1 { next } else { most })?;
    u32::try_from(id).ok()
}

/// From 0 to below 1.
#[allow(clippy::cast_precision_loss, reason = "53 random bits are exact in f64")]
fn uniform(seed: u64, sample: u64, step: u64) -> f64 {
    (random_bits(random_bits(seed, sample), step) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 6] = [0.0, 2.0, f32::NEG_INFINITY, 1.0, 2.0, -1.0];

    fn counts(sampling: Sampling, logits: &[f32], draws: u64) -> Vec<f64> {
        let mut counts = vec![0.0; logits.len()];
        for step in 0..draws {
            counts[sampling.choose(logits, 0, step).unwrap() as usize] += 1.0;
        }
        counts
    }

    /// Within 5 standard errors of the shares of `expected`, which need not sum to 1.
    #[allow(clippy::cast_precision_loss)]
    fn follows(sampling: Sampling, logits: &[f32], expected: &[f64]) {
        let (draws, sum) = (40_000u64, expected.iter().sum::<f64>());
        for (count, expected) in counts(sampling, logits, draws).into_iter().zip(expected) {
            let (n, p) = (draws as f64, expected / sum);
            let bound = 5.0 * (n * p * (1.0 - p)).sqrt();
            assert!((count - n * p).abs() <= bound, "{count} of {n}, expected a share of {p}");
        }
    }

    #[test]
    fn greedy_takes_the_first_of_the_likeliest_and_no_nan() {
        assert_eq!(Sampling::GREEDY.choose(&LOGITS, 0, 0), Some(1));
        assert_eq!(Sampling::GREEDY.choose(&[f32::NAN, -3.0, f32::NAN], 0, 0), Some(1));
        assert_eq!(Sampling::GREEDY.choose(&[f32::NAN; 3], 0, 0), None);
    }

    #[test]
    fn draws_follow_the_softmax_at_a_temperature() {
        let softmax = |t: f64| LOGITS.map(|logit| (f64::from(logit) / t).exp());
        for temperature in [0.5, 1.0, 3.0] {
            follows(Sampling { temperature, ..Sampling::GREEDY }, &LOGITS, &softmax(temperature));
        }
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let e = std::f64::consts::E;
        let of = |top_k, top_p| Sampling { temperature: 1.0, top_k, top_p, seed: 3 };
        follows(of(Some(3), None), &LOGITS, &[0.0, e * e, 0.0, e, e * e, 0.0]);
        // the shares are 0.39, 0.39, 0.14, 0.05, 0.02
        follows(of(None, Some(0.75)), &LOGITS, &[0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
        follows(of(None, Some(0.85)), &LOGITS, &[0.0, e, 0.0, 1.0, e, 0.0]);
        follows(of(None, Some(1e-9)), &LOGITS, &[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        // after top-k, the share is of what is left
        follows(of(Some(3), Some(0.9)), &LOGITS, &[0.0, e, 0.0, 1.0, e, 0.0]);
        follows(of(Some(2), Some(0.5)), &LOGITS, &[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn seeds_samples_and_steps_draw_apart_and_again_the_same() {
        let sampling = Sampling { temperature: 1.0, ..Sampling::GREEDY };
        let drawn = |seed, sample| {
            let sampling = Sampling { seed, ..sampling };
            (0..64).map(|step| sampling.choose(&[0.0; 50], sample, step).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(drawn(7, 0), drawn(7, 0));
        assert!(drawn(7, 0) != drawn(8, 0) && drawn(7, 0) != drawn(7, 1) && drawn(7, 1) != drawn(8, 0));
        assert_eq!(sampling.choose(&[0.0, f32::NAN], 0, 0), None);
        assert_eq!(sampling.choose(&[0.0, f32::INFINITY], 0, 0), None);
    }
}
