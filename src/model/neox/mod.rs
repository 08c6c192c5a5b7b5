//! GPT-NeoX: what a model is, its weights as the forward pass uses them, and the hooked forward pass.

mod activation;
mod attention;
mod block;
mod config;
mod fields;
mod forward;
mod origin;
mod past;
mod rotary;
mod structure;
mod weights;

pub use activation::{ACTIVATIONS, Activation};
pub use config::Config;
pub use forward::Model;
pub use origin::{Origin, Part, module_of, sources};
pub(crate) use past::PassError;
pub use past::{Past, Start};
pub use structure::{Module, modules};
pub use weights::Processing;
