//! Golden files, and comparison with them.

use std::collections::{BTreeMap, HashMap};

use pythia_tui::hooks::HookPoint;
use safetensors::SafeTensors;
use serde_json::Value;

use super::fixture;

/// The largest error allowed, relative to the largest value of the tensor. The largest one measured over all goldens is
/// 3.3e-6 (both sides compute in f32); a mistake shows as 1e-3 or more.
pub const TOLERANCE: f64 = 1e-5;

const SAMPLES: usize = 256;

pub struct Golden {
    pub tensors: BTreeMap<String, Vec<f32>>,
    metadata: HashMap<String, String>,
}

impl Golden {
    pub fn open(name: &str) -> Self {
        let bytes = std::fs::read(fixture(&format!("golden-{name}.safetensors"))).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let floats = |bytes: &[u8]| bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        Self {
            tensors: tensors.tensors().into_iter().map(|(name, view)| (name, floats(view.data()))).collect(),
            metadata: metadata.metadata().clone().unwrap(),
        }
    }

    pub fn json(&self, key: &str) -> Value {
        serde_json::from_str(&self.metadata[key]).unwrap()
    }

    /// The tensors under `prefix/`, without it.
    pub fn under(&self, prefix: &str) -> Vec<(String, &[f32])> {
        let prefix = format!("{prefix}/");
        let inside = |(name, values): (&'_ String, _)| Some((name.strip_prefix(&prefix)?.to_string(), values));
        self.tensors.iter().map(|(name, values)| (name, values.as_slice())).filter_map(inside).collect()
    }
}

pub fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

pub fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_string()).collect()
}

/// The part of a tensor that the golden file contains: `samples` values, and the norm.
fn sample(values: &[f32], samples: usize) -> Vec<f32> {
    if values.len() <= samples {
        return values.to_vec();
    }
    let norm = values.iter().filter(|x| x.is_finite()).map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    (0..samples).map(|k| values[k * values.len() / samples]).chain([norm as f32]).collect()
}

/// The largest error, relative to the largest finite value expected.
pub fn error(expected: &[f32], found: &[f32]) -> f64 {
    error_of(SAMPLES, expected, found)
}

/// The same for a golden that keeps `samples` values of a tensor.
pub fn error_of(samples: usize, expected: &[f32], found: &[f32]) -> f64 {
    let found = sample(found, samples);
    assert_eq!(expected.len(), found.len(), "number of values");
    let body = expected.len().min(samples);
    let scale = expected[..body].iter().filter(|x| x.is_finite()).fold(1e-30f64, |m, x| m.max(f64::from(x.abs())));
    let off = |(i, (a, b)): (usize, (&f32, &f32))| match (a, b) {
        (a, b) if a == b => 0.0,
        (a, b) if !a.is_finite() || !b.is_finite() => f64::INFINITY,
        // the norm has its own scale
        (a, b) if i == samples => (f64::from(*a) - f64::from(*b)).abs() / f64::from(a.abs()),
        (a, b) => (f64::from(*a) - f64::from(*b)).abs() / scale,
    };
    expected.iter().zip(&found).enumerate().map(off).fold(0.0, f64::max)
}

/// Compare in execution order, and name the first hook that diverges.
pub fn compare(what: &str, expected: &[(String, &[f32])], found: &HashMap<String, Vec<f32>>) -> f64 {
    compare_to(TOLERANCE, what, expected, found)
}

pub fn compare_to(tolerance: f64, what: &str, expected: &[(String, &[f32])], found: &HashMap<String, Vec<f32>>) -> f64 {
    let order = |name: &str| name.parse::<HookPoint>().map_or((1, None), |point| (0, Some(point)));
    let mut expected = expected.to_vec();
    expected.sort_by_key(|(name, _)| order(name));
    let mut worst = 0.0f64;
    for (name, values) in expected {
        let found = found.get(&name).unwrap_or_else(|| panic!("{what}: {name} was not captured"));
        let error = error(values, found);
        assert!(error <= tolerance, "{what}: {name} diverges first, by {error:.1e} of its scale");
        worst = worst.max(error);
    }
    worst
}
