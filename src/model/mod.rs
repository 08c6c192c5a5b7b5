//! GPT-NeoX on candle: checkpoints, weight processing, and the hooked forward pass.

mod cache_file;
mod checkpoint;
mod demo;
mod device;
mod dictionary;
mod error;
mod kernels;
mod lens;
mod neox;
pub mod pythia;
mod source;
mod tokenizer;
mod training;

pub use cache_file::{CacheFile, CachePart, CacheSource, Holds};
pub(crate) use checkpoint::NpyHeader;
pub use checkpoint::{
    Cache, CacheState, Cached, Fetched, Hub, HubError, KeepGoing, Kind, OnProgress, Parts, Progress, Waiting,
    WeightHashes, repository, revision, saved_tensor, saved_tensors,
};
pub(crate) use demo::LABELS as DEMO_LABELS;
pub use device::{Dtype, Place, Placement};
pub use dictionary::{Dictionary, DictionaryActivation, Encoded, Layout as DictionaryLayout};
pub use error::ModelError;
pub(crate) use kernels::with_values;
pub(crate) use lens::{FILE_ENDING as JACOBIAN_LENS_ENDING, FILES as TUNED_LENS_FILES};
pub use lens::{Lens, LensKind, LensRow};
pub(crate) use neox::PassError;
pub use neox::{
    ACTIVATIONS, Activation, Config, Earlier, HeadMatrix, KeysAndValues, Model, Module, Origin, Part, Past, Processing,
    Start, Unprocessed, hooked_transformer, hugging_face, module_of, modules, sources,
};
pub use source::{Loaded, Source};
pub use tokenizer::Tokenizer;
pub use training::{TrainingStep, is_of_suite, step_of, training_steps};
