//! GPT-NeoX on candle: where checkpoints come from, how weights are processed, and the hooked forward pass.

mod attention;
mod checkpoint;
mod config;
mod demo;
mod error;
pub mod hub_cache;
mod kernels;
mod neox;
mod rotary;
mod source;
mod structure;
mod tokenizer;
mod weights;

pub use config::Config;
pub use error::ModelError;
pub use neox::{Model, Past, Start};
pub use source::{Loaded, Source};
pub use structure::{Module, module_of, modules};
pub use tokenizer::Tokenizer;
pub use weights::Processing;
