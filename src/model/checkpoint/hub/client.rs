use std::time::Duration;

use super::cache::Cache;

/// A Hugging Face hub and the local cache of its models.
#[derive(Clone, Debug)]
pub struct Hub {
    pub cache: Cache,
    pub endpoint: String,
    pub token: Option<String>,
    /// Use only the cache.
    pub offline: bool,
    /// How long a server may send nothing before the connection counts as broken.
    pub patience: Duration,
    /// The pause before each retry; its length is the number of retries.
    pub waits: Vec<Duration>,
}
