use crate::model::{Config, Dtype, Processing};

/// What the header shows about the model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    pub name: String,
    /// The model, as `--model` takes it.
    pub source: String,
    /// The commit.
    pub revision: Option<String>,
    /// The requested branch or tag, such as `step3000`; None for `main`.
    pub branch: Option<String>,
    pub processing: Processing,
    pub device: String,
    pub dtype: Dtype,
    pub config: Config,
    /// Why this is not the default model, if it is not.
    pub note: Option<String>,
}
