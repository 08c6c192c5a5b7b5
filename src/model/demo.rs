//! The embedded demo model: a small Pythia that `assets/demo/train.py` trained.

pub(super) const CONFIG: &str = include_str!("../../assets/demo/config.json");
pub(super) const WEIGHTS: &[u8] = include_bytes!("../../assets/demo/model.safetensors");
pub(super) const TOKENIZER: &[u8] = include_bytes!("../../assets/demo/tokenizer.json");
