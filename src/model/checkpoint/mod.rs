//! Where weights come from: safetensors and `PyTorch` files, one or shards with an index, and the Hugging Face hub.

mod entry;
mod files;
mod hub;
mod pickle;
mod safetensors_file;
mod sniff;
mod tensors;
mod torch_file;

pub use hub::{Cache, Cached, Hub, HubError, Progress, Tell, Waiting, repository, revision};

pub(super) use entry::is_buffer;
pub(super) use sniff::{explain, explain_start};
pub(super) use tensors::Checkpoint;
pub use tensors::GoOn;
