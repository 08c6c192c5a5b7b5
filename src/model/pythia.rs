//! The sizes and training checkpoints of the Pythia suite (Biderman et al., "Pythia: A Suite for Analyzing Large Language
//! Models Across Training and Scaling", 2023).

/// One size of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The name without `pythia-`.
    pub name: &'static str,
    pub n_layers: usize,
    pub d_model: usize,
    pub n_heads: usize,
    pub d_vocab: usize,
    /// Whether there is a `-deduped` model, trained on the deduplicated Pile.
    pub deduped: bool,
}

const fn size(name: &'static str, n_layers: usize, d_model: usize, n_heads: usize) -> Size {
    Size { name, n_layers, d_model, n_heads, d_vocab: 50_304, deduped: true }
}

/// Every size, in ascending order.
pub const SIZES: [Size; 10] = [
    Size { deduped: false, ..size("14m", 6, 128, 4) },
    Size { deduped: false, ..size("31m", 6, 256, 8) },
    size("70m", 6, 512, 8),
    size("160m", 12, 768, 12),
    size("410m", 24, 1024, 16),
    size("1b", 16, 2048, 8),
    size("1.4b", 24, 2048, 16),
    size("2.8b", 32, 2560, 32),
    Size { d_vocab: 50_432, ..size("6.9b", 32, 4096, 32) },
    Size { d_vocab: 50_688, ..size("12b", 36, 5120, 40) },
];

impl Size {
    #[must_use]
    pub fn d_mlp(&self) -> usize {
        4 * self.d_model
    }

    /// The number of parameters.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let d = self.d_model;
        // query_key_value, dense, dense_h_to_4h and dense_4h_to_h with their biases, and two LayerNorms
        let block = 12 * d * d + 13 * d;
        2 * self.d_vocab * d + self.n_layers * block + 2 * d
    }

    /// The model names that `--model` accepts: `pythia-70m`, and `pythia-70m-deduped` if it exists.
    pub fn models(&self) -> impl Iterator<Item = String> + use<> {
        let name = format!("pythia-{}", self.name);
        let deduped = self.deduped.then(|| format!("{name}-deduped"));
        std::iter::once(name).chain(deduped)
    }
}

/// The names of all models, as `--model` accepts them.
pub fn models() -> impl Iterator<Item = String> {
    SIZES.iter().flat_map(Size::models)
}

/// The training steps with a checkpoint: 0, powers of two up to 512, then every thousandth. Their revisions are `step0` to
/// `step143000`; the last is also `main`.
pub fn steps() -> impl Iterator<Item = u32> {
    std::iter::once(0).chain((0..10).map(|power| 1 << power)).chain((1..=143).map(|thousand| thousand * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_steps_are_as_published() {
        assert_eq!(SIZES[2].parameters(), 70_426_624);
        assert_eq!(models().count(), 18);
        assert_eq!(steps().count(), 154);
        assert_eq!(steps().skip(9).take(4).collect::<Vec<_>>(), [256, 512, 1000, 2000]);
    }
}
