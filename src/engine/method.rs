use std::{fmt, str::FromStr};

use crate::suggest;

/// How scores are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// One backward pass on the prompt's run.
    #[default]
    Eap,
    /// The mean of `steps` backward passes, on inputs between the contrast prompt's embeddings and the prompt's.
    EapIg { steps: usize },
    /// Each one is patched in a run.
    Exact,
}

impl Method {
    /// The default number of steps of integrated gradients.
    pub const STEPS: usize = 5;
    pub const ALL: [Self; 3] = [Self::Eap, Self::EapIg { steps: Self::STEPS }, Self::Exact];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Eap => "eap",
            Self::EapIg { .. } => "eap-ig",
            Self::Exact => "exact",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// By its name; integrated gradients with [`Method::STEPS`].
impl FromStr for Method {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        suggest::by_name("method", name, &Self::ALL, Self::name)
    }
}
