//! Intervals and p-values against TransformerLens 4.3.0; `tests/golden/significance.py` writes the expected ones.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;
use pythia_tui::analysis::{Alternative, MeanEffect, RESAMPLES, bootstrap_interval, mean, sign_flip_p_value};
use serde_json::Value;

const GOLDEN: &str = include_str!("fixtures/golden-significance.json");
const ALTERNATIVES: [(&str, Alternative); 3] =
    [("two-sided", Alternative::TwoSided), ("greater", Alternative::Greater), ("less", Alternative::Less)];

struct Case {
    values: Vec<f64>,
    expected: Value,
}

impl Case {
    fn all() -> Vec<Self> {
        let cases: Vec<Value> = serde_json::from_str(GOLDEN).unwrap();
        cases.into_iter().map(|expected| Self { values: floats(&expected["values"]), expected }).collect()
    }

    fn deviation(&self) -> f64 {
        let mean = mean(&self.values).unwrap();
        let squares = self.values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        (squares / self.values.len() as f64).sqrt()
    }
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn exact_p_values_and_means_equal_the_references() {
    let exact: Vec<Case> = Case::all().into_iter().filter(|case| case.values.len() <= 12).collect();
    assert_eq!(exact.len(), 7);
    for case in exact {
        let expected = case.expected["mean"].as_f64().unwrap();
        assert!((mean(&case.values).unwrap() - expected).abs() <= 1e-16 * 4.0);
        for (name, alternative) in ALTERNATIVES {
            let p = sign_flip_p_value(&case.values, alternative, 10, 0);
            assert_eq!(p, case.expected["p"][name].as_f64(), "{name} of {:?}", case.values);
        }
    }
}

/// The reference drew a million times, and so do we: the rest is the randomness of both, measured as at most 0.74 of the bounds.
#[test]
fn random_p_values_and_intervals_approach_the_references() {
    const DRAWS: usize = 1_000_000;
    let mut worst = (0.0_f64, 0.0_f64);
    for case in Case::all() {
        let (n, deviation) = (case.values.len() as f64, case.deviation());
        for (confidence, name) in [(0.95, "interval"), (0.5, "half")] {
            let (low, high) = bootstrap_interval(&case.values, confidence, DRAWS, 7).unwrap();
            for (ours, theirs) in [low, high].into_iter().zip(floats(&case.expected[name])) {
                let scale = deviation / n.sqrt();
                let error = if ours == theirs { 0.0 } else { (ours - theirs).abs() / scale.max(1e-300) };
                // small samples have few different means, and a quantile can fall on either side of a gap
                if n > 12.0 {
                    worst.0 = worst.0.max(error);
                    assert!(error < 0.015, "{name} of {n} values: {ours} instead of {theirs}, {error} standard errors");
                }
            }
        }
        for (name, alternative) in ALTERNATIVES.into_iter().filter(|_| n > 12.0) {
            let p = sign_flip_p_value(&case.values, alternative, DRAWS, 7).unwrap();
            let expected = case.expected["p"][name].as_f64().unwrap();
            // two draws of a million each
            let standard = (2.0 * expected * (1.0 - expected) / DRAWS as f64).sqrt().max(2e-6);
            worst.1 = worst.1.max((p - expected).abs() / standard);
            assert!((p - expected).abs() < 4.0 * standard, "{name} of {n} values: {p} instead of {expected}");
        }
    }
    println!("intervals within {:.4} standard errors, p-values within {:.2} of theirs", worst.0, worst.1);
}

/// What remains of the randomness of the usual thousand draws.
#[test]
fn a_thousand_draws_are_near_a_million() {
    for case in Case::all().into_iter().filter(|case| case.values.len() > 12) {
        let standard = case.deviation() / (case.values.len() as f64).sqrt();
        for seed in 0..20 {
            let effect = MeanEffect::of(&case.values, seed).unwrap();
            let ends = [effect.interval.0, effect.interval.1];
            for (ours, theirs) in ends.into_iter().zip(floats(&case.expected["interval"])) {
                // the standard error of a 2.5 % quantile of 1000 normal draws is 0.085 standard deviations
                assert!((ours - theirs).abs() < 5.0 * 0.085 * standard, "{ours} instead of {theirs}");
            }
            let expected = case.expected["p"]["two-sided"].as_f64().unwrap();
            let standard = (expected * (1.0 - expected) / RESAMPLES as f64).sqrt();
            assert!((effect.p - expected).abs() < 5.0 * standard + 1.0 / RESAMPLES as f64, "{} {expected}", effect.p);
        }
    }
}

#[test]
fn nothing_is_said_of_no_values_and_of_infinite_ones() {
    for values in [&[][..], &[1.0, f64::NAN], &[f64::INFINITY; 20]] {
        assert_eq!(mean(values), None);
        assert_eq!(bootstrap_interval(values, 0.95, 10, 0), None);
        assert_eq!(sign_flip_p_value(values, Alternative::TwoSided, 10, 0), None);
        assert_eq!(MeanEffect::of(values, 0), None);
    }
    assert_eq!(bootstrap_interval(&[1.0], 0.95, 0, 0), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn intervals_lie_within_the_values_and_do_not_depend_on_threads(
        values in proptest::collection::vec(-1e3..1e3_f64, 1..200),
        seed: u64,
    ) {
        let found = bootstrap_interval(&values, 0.95, 200, seed).unwrap();
        let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
        prop_assert!(least - 1e-9 <= found.0 && found.0 <= found.1 && found.1 <= most + 1e-9);
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        prop_assert_eq!(alone.install(|| bootstrap_interval(&values, 0.95, 200, seed)), Some(found));
        let p = |sign: f64, alternative| {
            let values: Vec<f64> = values.iter().map(|x| sign * x).collect();
            sign_flip_p_value(&values, alternative, 200, seed).unwrap()
        };
        let both = p(1.0, Alternative::TwoSided);
        prop_assert!(0.0 < both && both <= 1.0);
        // values and signs mirrored
        prop_assert_eq!(both, p(-1.0, Alternative::TwoSided));
    }
}
