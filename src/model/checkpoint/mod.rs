//! Reads weights from safetensors and `PyTorch` files, single or sharded, and fetches them from the Hugging Face hub.

mod digest;
mod entry;
mod files;
mod hub;
mod npy;
mod npz_file;
mod pickle;
mod safetensors_file;
mod sniff;
mod tensors;
mod torch_file;
mod torch_tree;
mod weight_hashes;

pub use hub::{
    Cache, CacheState, Cached, Fetched, Hub, HubError, Kind, OnProgress, Parts, Progress, Waiting, repository, revision,
};

pub(super) use entry::is_buffer;
pub(crate) use npy::NpyHeader;
pub(super) use sniff::{explain, explain_start};
pub(super) use tensors::Checkpoint;
pub use tensors::{KeepGoing, saved_tensor, saved_tensors};
pub use weight_hashes::WeightHashes;
