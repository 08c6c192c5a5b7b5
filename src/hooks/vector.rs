//! Named vectors, which edits add or remove.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use super::HookPoint;

/// The most characters of a name.
const LONGEST: usize = 32;

/// The name of a vector: a letter, then letters, digits, `_` and `-`; ASCII, at most 32 characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct VectorName {
    bytes: [u8; LONGEST],
    length: usize,
}

impl VectorName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl FromStr for VectorName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if text.len() > LONGEST || !text.starts_with(|c: char| c.is_ascii_alphabetic()) || !text.chars().all(inner) {
            let rule = "a letter, then letters, digits, `_` and `-`, at most 32 characters";
            return Err(format!("`{text}` is no name of a vector: {rule}"));
        }
        let mut bytes = [0; LONGEST];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length: text.len() })
    }
}

impl fmt::Display for VectorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The numbers of a vector, row-major; equal if they are so bit by bit.
#[derive(Clone, Debug)]
pub struct Values(Arc<[f32]>);

impl Values {
    #[must_use]
    pub fn get(&self) -> &[f32] {
        &self.0
    }

    /// The L2 norm.
    #[must_use]
    pub fn norm(&self) -> f64 {
        self.0.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
    }
}

impl From<Vec<f32>> for Values {
    fn from(values: Vec<f32>) -> Self {
        Self(values.into())
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(|x| x.to_bits()).eq(other.0.iter().map(|x| x.to_bits()))
    }
}

impl Eq for Values {}

/// What a vector is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VectorSource {
    /// The same numbers at every hook.
    Fixed(Values),
    /// The mean of a hook's value at the last position of the positive prompts, less that of the negative ones (Panickssery et al.,
    /// "Steering Llama 2 via Contrastive Activation Addition", 2024), in runs without edits.
    Prompts { positive: Vec<Vec<u32>>, negative: Vec<Vec<u32>> },
    /// A token's direction in the unembedding, `W_U[:, token]`.
    Unembedding(u32),
    /// A token's embedding, `W_E[token]`.
    Embedding(u32),
    /// A feature's row of the decoder of the dictionary at a hook, as it is stored.
    Feature { hook: HookPoint, feature: u32 },
}

/// A vector as it was defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorDefinition {
    pub source: Arc<VectorSource>,
    /// As `--vector` takes it after the name.
    pub text: String,
}

/// Vectors by name.
pub type VectorDefinitions = BTreeMap<VectorName, VectorDefinition>;

/// The vectors that edits can name, with their numbers at the hooks where they were computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vectors {
    defined: VectorDefinitions,
    at: BTreeMap<(VectorName, HookPoint), Values>,
}

impl From<VectorDefinitions> for Vectors {
    fn from(defined: VectorDefinitions) -> Self {
        Self { defined, at: BTreeMap::new() }
    }
}

impl Vectors {
    #[must_use]
    pub fn defined(&self) -> &VectorDefinitions {
        &self.defined
    }

    /// Define a vector, in place of one of the same name.
    pub fn define(&mut self, name: VectorName, definition: VectorDefinition) {
        self.at.retain(|(other, _), _| *other != name);
        self.defined.insert(name, definition);
    }

    /// Its numbers at a hook, if they are known there.
    #[must_use]
    pub fn at(&self, name: VectorName, point: HookPoint) -> Option<&Values> {
        match &*self.defined.get(&name)?.source {
            VectorSource::Fixed(values) => Some(values),
            VectorSource::Prompts { .. }
            | VectorSource::Unembedding(_)
            | VectorSource::Embedding(_)
            | VectorSource::Feature { .. } => self.at.get(&(name, point)),
        }
    }

    /// Note its numbers at a hook.
    pub fn set(&mut self, name: VectorName, point: HookPoint, values: Values) {
        self.at.insert((name, point), values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_words() {
        for name in ["v", "happy-sad_2", "abcdefghijabcdefghijabcdefghijab"] {
            assert_eq!(name.parse::<VectorName>().unwrap().to_string(), name);
        }
        for name in ["", "2v", "-v", "a b", "a*b", "é", "abcdefghijabcdefghijabcdefghijabc"] {
            assert!(name.parse::<VectorName>().unwrap_err().contains("at most 32"), "{name}");
        }
    }

    #[test]
    fn a_vector_that_is_defined_anew_forgets_its_numbers() {
        let definition = |token: u32| VectorDefinition {
            source: Arc::new(VectorSource::Embedding(token)),
            text: format!("embed:#{token}"),
        };
        let (name, other, mut vectors) = ("v".parse().unwrap(), "w".parse().unwrap(), Vectors::default());
        for name in [name, other] {
            vectors.define(name, definition(1));
            vectors.set(name, HookPoint::Embed, vec![1.0].into());
        }
        vectors.define(name, definition(2));
        assert_eq!(vectors.at(name, HookPoint::Embed), None);
        assert!(vectors.at(other, HookPoint::Embed).is_some());
        assert_eq!(vectors.defined()[&name].text, "embed:#2");
    }

    #[test]
    fn equal_numbers_are_equal_also_where_they_are_nan() {
        let of = |x: f32| Values::from(vec![3.0, x]);
        assert_eq!(of(f32::NAN), of(f32::NAN));
        assert_ne!(of(0.0), of(-0.0));
        assert!((of(4.0).norm() - 5.0).abs() < 1e-12);
    }
}
