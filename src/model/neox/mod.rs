//! GPT-NeoX: the model's config and weights, and the hooked forward and backward pass.

mod activation;
mod attention;
mod attention_backward;
mod backward;
mod block;
mod block_backward;
mod config;
mod fields;
mod forward;
mod head_weights;
mod keys_and_values;
mod origin;
mod past;
mod paths;
mod removed;
mod rotary;
mod structure;
mod tree;
mod unprocessed;
mod unprocessed_backward;
mod weights;

pub use activation::{ACTIVATIONS, Activation};
pub use config::Config;
pub use forward::Model;
pub use head_weights::HeadMatrix;
pub use keys_and_values::KeysAndValues;
pub use origin::{Origin, Part, module_of, sources};
pub(crate) use past::PassError;
pub use past::{Earlier, Past, Start};
pub use structure::{Module, modules};
pub use tree::{hooked_transformer, hugging_face};
pub use unprocessed::Unprocessed;
pub use weights::Processing;
