//! GPT-NeoX on candle: where checkpoints come from, how weights are processed, and the hooked forward pass.

mod activation;
mod attention;
mod checkpoint;
mod config;
mod demo;
mod device;
mod error;
mod fields;
mod hub;
mod kernels;
mod neox;
mod pickle;
pub mod pythia;
mod rotary;
mod sniff;
mod source;
mod structure;
mod tokenizer;
mod torch_file;
mod training;
mod weights;

pub use activation::{ACTIVATIONS, Activation};
pub use checkpoint::GoOn;
pub use config::Config;
pub use device::{Dtype, Place, Placement};
pub use error::ModelError;
pub use hub::{Cache, Cached, Hub, HubError, Progress, Tell, Waiting, repository, revision};
pub use neox::{Model, Past, Start};
pub use source::{Loaded, Source};
pub use structure::{Module, module_of, modules};
pub use tokenizer::Tokenizer;
pub use training::{TrainingStep, is_of_suite, step_of, training_steps};
pub use weights::Processing;
