use std::{cmp::Ordering, fmt::Display, ops::Add};

use super::sums::{exponentials, moved, sum_exp};

/// A token with its logit and probability at one position; the probability is NaN where the softmax is [`undefined`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    pub id: u32,
    pub logit: f32,
    pub prob: f64,
}

/// Where a token stands among all at one position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenRank {
    /// How many tokens have a larger logit.
    pub rank: usize,
    pub logit: f32,
    /// NaN where the softmax is [`undefined`].
    pub prob: f64,
}

/// A token's rank, logit and probability; None if there is no such token.
#[must_use]
pub fn token_rank(logits: &[f32], id: u32) -> Option<TokenRank> {
    let logit = *logits.get(usize::try_from(id).ok()?)?;
    let rank = logits.iter().filter(|other| **other > logit).count();
    Some(TokenRank { rank, logit, prob: (f64::from(logit) - log_normaliser(logits)).exp() })
}

/// `ln Σ exp(logits)`, in f64. NaN if the softmax is undefined: a logit is NaN or +inf, or none is above -inf.
#[must_use]
pub fn log_normaliser(logits: &[f32]) -> f64 {
    let max = largest(logits);
    if !max.is_finite() {
        return f64::NAN;
    }
    f64::from(max) + sum_exp(logits, max).ln()
}

/// Why these logits give no probabilities; None if they do.
#[must_use]
pub fn undefined(logits: &[f32]) -> Option<String> {
    let (all, nan) = (logits.len(), logits.iter().filter(|x| x.is_nan()).count());
    match (nan, largest(logits)) {
        _ if all == 0 => None,
        (nan, _) if nan == all => Some("the logits are NaN".into()),
        (0, f32::INFINITY) => Some("a logit is infinite, so there are no probabilities".into()),
        (0, f32::NEG_INFINITY) => Some("every logit is -inf, so there are no probabilities".into()),
        (0, _) => None,
        (nan, _) => Some(format!("{nan} of {all} logits are NaN, so there are no probabilities")),
    }
}

/// The largest number, NaN ignored; -inf if there is none.
fn largest(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let parts = x.chunks_exact(lanes.len());
    let rest = parts.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for part in parts {
        for (lane, x) in lanes.iter_mut().zip(part) {
            *lane = lane.max(*x);
        }
    }
    lanes.into_iter().fold(rest, f32::max)
}

/// KL(baseline || edited) in nats between the next-token distributions of two rows of logits `[vocab]`.
///
/// `Σ_v p(v) (ln p(v) − ln q(v))` with p of the baseline (Kullback and Leibler, 1951). Exactly 0 for equal rows,
/// infinite if the edited row rules out what the baseline does not, NaN if either softmax is undefined.
#[must_use]
pub fn kl_divergence(baseline: &[f32], edited: &[f32]) -> f64 {
    let (most_p, most_q) = (largest(baseline), largest(edited));
    if !most_p.is_finite() || !most_q.is_finite() {
        return f64::NAN;
    }
    if baseline == edited {
        return 0.0;
    }
    // Σ p (p_logit − q_logit) − ln Z_p + ln Z_q
    let [z_p, z_q, differences] = exponentials(baseline, most_p, edited, most_q);
    let kl = differences / z_p - (z_p.ln() + f64::from(most_p)) + (z_q.ln() + f64::from(most_q));
    // Rounding can leave a few 1e-16 below zero; NaN stays NaN.
    if kl < 0.0 { 0.0 } else { kl }
}

/// The `k` likeliest tokens of a row of logits `[vocab]`, best first, ties by id. NaN logits are left out, so the list
/// may be shorter, or empty; +inf comes first.
#[must_use]
pub fn top_k(logits: &[f32], k: usize) -> Vec<Ranked> {
    // adding 0 makes both zeros one
    let key = |i: &u32| logits[*i as usize] + 0.0;
    let order = |a: &u32, b: &u32| key(b).total_cmp(&key(a)).then(a.cmp(b));
    let ids = 0..u32::try_from(logits.len()).unwrap_or(u32::MAX);
    let mut ids: Vec<u32> = ids.filter(|id| !logits[*id as usize].is_nan()).collect();
    if k < ids.len() {
        ids.select_nth_unstable_by(k, order);
        ids.truncate(k);
    }
    ids.sort_unstable_by(order);
    let norm = log_normaliser(logits);
    let ranked = |id: u32| {
        let logit = logits[id as usize];
        Ranked { id, logit, prob: (f64::from(logit) - norm).exp() }
    };
    ids.into_iter().map(ranked).collect()
}

/// The larger number first, NaN last whatever its sign.
#[must_use]
pub fn descending(a: f64, b: f64) -> Ordering {
    a.is_nan().cmp(&b.is_nan()).then(b.total_cmp(&a))
}

/// How far values moved. Equal infinities, such as masked scores, do not count; NaN if one side is NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Change {
    /// `‖after − before‖²`
    pub moved: f64,
    /// `‖before‖²` of the finite values.
    pub norm: f64,
}

impl Change {
    #[must_use]
    pub fn between(before: &[f32], after: &[f32]) -> Self {
        let [moved, norm] = moved(before, after);
        Self { moved, norm }
    }

    /// `‖after − before‖ / ‖before‖` (L2).
    #[must_use]
    pub fn relative(self) -> f64 {
        if self.moved == 0.0 { 0.0 } else { (self.moved / self.norm).sqrt() }
    }
}

/// The change of two sets of values together.
impl Add for Change {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { moved: self.moved + other.moved, norm: self.norm + other.norm }
    }
}

/// A number in at most 10 columns, with four significant decimals or as a power of ten.
#[must_use]
pub fn short_number(x: f64) -> String {
    let size = x.abs();
    if x.is_nan() {
        return "NaN".into();
    }
    if x.fract() == 0.0 && size <= 1.0 {
        // a zero has no sign here
        return format!("{:.0}", x + 0.0);
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if (1e-3..1e5).contains(&size) { format!("{x:.4}") } else { format!("{x:.3e}") }
}

/// A number in a cell of a file; nothing for NaN.
#[must_use]
pub fn cell<T: Copy + Display + Into<f64>>(x: T) -> String {
    if x.into().is_nan() { String::new() } else { x.to_string() }
}

/// A value with every digit that f32 has.
#[must_use]
pub fn exact_number(value: f32) -> String {
    if value == 0.0 || (1e-4..1e6).contains(&value.abs()) || !value.is_finite() {
        format!("{value}")
    } else {
        format!("{value:e}")
    }
}

/// Spearman's rank correlation of two lists; ties get their mean rank. NaN for fewer than two pairs, or if all values
/// of one list are equal.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "ranks")]
pub fn rank_correlation(pairs: &[(f64, f64)]) -> f64 {
    let ranks = |of: &dyn Fn(&(f64, f64)) -> f64| -> Vec<f64> {
        let all: Vec<f64> = pairs.iter().map(of).collect();
        let below = |x: f64| all.iter().filter(|y| **y < x).count() as f64;
        let same = |x: f64| all.iter().filter(|y| y.total_cmp(&x).is_eq()).count() as f64;
        all.iter().map(|x| below(*x) + (same(*x) - 1.0) / 2.0).collect()
    };
    let (a, b) = (ranks(&|pair| pair.0), ranks(&|pair| pair.1));
    let mean = (pairs.len() as f64 - 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "exact by construction")]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::cast_possible_truncation)]
    fn kl_equals_its_definition() {
        let (p, q) = ([0.5f64, 0.25, 0.25], [0.25f64, 0.25, 0.5]);
        let logits = |d: [f64; 3], shift: f64| d.map(|x| (x.ln() + shift) as f32);
        let expected: f64 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
        assert!((kl_divergence(&logits(p, 3.0), &logits(q, -90.0)) - expected).abs() < 1e-5);
        assert_eq!(kl_divergence(&[1.0, 2.0], &[1.0, 2.0]), 0.0);
        assert!(kl_divergence(&[1.0, 2.0], &[f32::NAN, 2.0]).is_nan());
        // a token that the baseline never predicts does not count
        assert_eq!(kl_divergence(&[0.0, f32::NEG_INFINITY], &[7.0, f32::NEG_INFINITY]), 0.0);
    }

    #[test]
    fn top_k_orders_and_sums_to_one() {
        let top = top_k(&[0.0, 3.0, f32::NEG_INFINITY, 3.0, -1.0], 9);
        assert_eq!(top.iter().map(|t| t.id).collect::<Vec<_>>(), [1, 3, 0, 4, 2]);
        assert!((top.iter().map(|t| t.prob).sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(top_k(&[0.0, 3.0, 1.0], 1)[0].id, 1);
    }

    #[test]
    fn nan_is_not_ranked() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let ids = |logits: &[f32]| top_k(logits, 3).iter().map(|t| t.id).collect::<Vec<_>>();
        assert!(top_k(&[nan, -nan, nan], 2).is_empty());
        assert_eq!(ids(&[nan, 1.0, -nan, 2.0]), [3, 1]);
        assert_eq!(ids(&[0.0, inf, nan, -inf, inf]), [1, 4, 0]);
        assert_eq!(ids(&[-0.0, 0.0, -1.0]), [0, 1, 2]);
        for logits in [[nan, 1.0], [inf, 1.0], [-inf, -inf]] {
            assert!(top_k(&logits, 2).iter().all(|t| t.prob.is_nan()), "{logits:?}");
            assert!(undefined(&logits).is_some());
            // not even the divergence from itself is defined
            for (p, q) in [(logits, logits), (logits, [0.0, 1.0]), ([0.0, 1.0], logits)] {
                assert!(kl_divergence(&p, &q).is_nan(), "{p:?} {q:?}");
            }
        }
        assert_eq!(undefined(&[-inf, 0.0]), None);
        assert_eq!(kl_divergence(&[0.0, 1.0], &[0.0, -inf]), f64::INFINITY);
    }

    #[test]
    fn nan_comes_last_and_is_an_empty_cell() {
        let mut all = [f64::NAN, 1.0, -f64::NAN, f64::INFINITY, -2.0];
        all.sort_by(|a, b| descending(*a, *b));
        assert_eq!(all[..3], [f64::INFINITY, 1.0, -2.0]);
        assert_eq!(
            (cell(f32::NAN), cell(0.1f32), cell(f64::NEG_INFINITY)),
            (String::new(), "0.1".into(), "-inf".into())
        );
    }

    #[test]
    fn masked_scores_have_not_moved() {
        let inf = f32::NEG_INFINITY;
        let relative = |before: &[f32], after: &[f32]| Change::between(before, after).relative();
        assert_eq!(relative(&[1.0, inf], &[1.0, inf]), 0.0);
        assert!((relative(&[3.0, 4.0, inf], &[3.0, 4.5, inf]) - 0.1).abs() < 1e-12);
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "exact by construction")]
    fn ranks_agree_disagree_and_tie() {
        assert_eq!(rank_correlation(&[(1.0, 10.0), (2.0, 20.0), (3.0, 1000.0)]), 1.0);
        assert_eq!(rank_correlation(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]), -1.0);
        // scipy.stats.spearmanr([1, 2, 2, 4], [1, 3, 2, 4])
        let tied = rank_correlation(&[(1.0, 1.0), (2.0, 3.0), (2.0, 2.0), (4.0, 4.0)]);
        assert!((tied - 0.948_683_298_050_513_8).abs() < 1e-12, "{tied}");
        assert!(rank_correlation(&[(1.0, 1.0)]).is_nan());
    }
}
