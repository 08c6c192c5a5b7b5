//! The embedded demo model, a small Pythia, trained by `assets/demo/train.py`; and its dictionary, by `train_dictionary.py`.

pub(super) const CONFIG: &str = include_str!("../../assets/demo/config.json");
pub(super) const WEIGHTS: &[u8] = include_bytes!("../../assets/demo/model.safetensors");
pub(super) const DICTIONARY_CONFIG: &str = include_str!("../../assets/demo/dictionary/layers.1/cfg.json");
pub(super) const DICTIONARY: &[u8] = include_bytes!("../../assets/demo/dictionary/layers.1/sae.safetensors");
/// What its features are called, as JSON lines.
pub(crate) const LABELS: &str = include_str!("../../assets/demo/dictionary/layers.1/labels.jsonl");
pub(super) const TOKENIZER: &[u8] = include_bytes!("../../assets/demo/tokenizer.json");
