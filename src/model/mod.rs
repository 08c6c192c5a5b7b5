//! GPT-NeoX on candle: where checkpoints come from, how weights are processed, and the hooked forward pass.

mod checkpoint;
mod demo;
mod device;
mod error;
mod kernels;
mod neox;
pub mod pythia;
mod source;
mod tokenizer;
mod training;

pub use checkpoint::{Cache, Cached, GoOn, Hub, HubError, Progress, Tell, Waiting, repository, revision};
pub use device::{Dtype, Place, Placement};
pub use error::ModelError;
pub(crate) use neox::PassError;
pub use neox::{
    ACTIVATIONS, Activation, Config, Model, Module, Origin, Part, Past, Processing, Start, module_of, modules, sources,
};
pub use source::{Loaded, Source};
pub use tokenizer::Tokenizer;
pub use training::{TrainingStep, is_of_suite, step_of, training_steps};
