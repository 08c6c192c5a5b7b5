//! Gaussian noise that depends only on the hook, the seed and the place.
//!
//! The generator is `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014)
//! read at a counter, turned into normals by Box and Muller's transform: a few lines in any language, so that a run
//! with noise can be repeated outside this program. The value at a place does not depend on the rest of the selection.

use super::HookPoint;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The bits at a place in the stream of a seed.
pub(crate) fn random_bits(seed: u64, counter: u64) -> u64 {
    mix(seed.wrapping_add(counter.wrapping_mul(GOLDEN)))
}

/// FNV-1a over the hook's name, so that each hook has its own stream.
fn name_hash(point: HookPoint) -> u64 {
    point.to_string().bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Standard normals for one hook and seed, by flat index into the activation (row-major, without the batch axis).
pub(super) struct Noise {
    key: u64,
}

impl Noise {
    pub(super) fn new(point: HookPoint, seed: u64) -> Self {
        Self { key: mix(seed.wrapping_add(GOLDEN)) ^ name_hash(point) }
    }

    #[allow(clippy::cast_precision_loss, reason = "53 random bits are exact in f64")]
    fn uniform(&self, counter: u64) -> f64 {
        let bits = random_bits(self.key, counter) >> 11;
        (bits + 1) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn at(&self, index: usize) -> f64 {
        let i = index as u64;
        let (u, v) = (self.uniform(2 * i + 1), self.uniform(2 * i + 2));
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::BlockHook;

    #[test]
    #[allow(clippy::cast_precision_loss)]
    fn it_is_standard_normal_and_differs_by_seed_and_hook() {
        let point = HookPoint::Block(2, BlockHook::MlpOut);
        let n = 40_000;
        let draw = |point, seed| (0..n).map(|i| Noise::new(point, seed).at(i)).collect::<Vec<_>>();
        let correlation = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>() / n as f64;
        let a = draw(point, 7);
        let mean = a.iter().sum::<f64>() / n as f64;
        // 4 standard errors of the mean, of the variance and of a correlation of independent draws
        let bound = 4.0 / (n as f64).sqrt();
        assert!(mean.abs() < bound, "mean {mean}");
        assert!((correlation(&a, &a) - 1.0).abs() < bound * 2f64.sqrt());
        assert!(correlation(&a, &draw(point, 8)).abs() < bound);
        assert!(correlation(&a, &draw(point.in_block(3), 7)).abs() < bound);
        assert!(correlation(&a[1..], &a[..n - 1]).abs() < bound);
        assert!((a.iter().map(|x| x.powi(4)).sum::<f64>() / n as f64 - 3.0).abs() < 4.0 * (96.0 / n as f64).sqrt());
    }
}
