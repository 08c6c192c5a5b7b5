//! The MLP's activation functions: one row each.

use candle_core::{Result, Tensor};

use crate::{hooks::Nonlinearity, model::kernels};

/// An activation function of the MLP.
#[derive(Debug)]
pub struct Activation {
    /// In `config.json`, as `hidden_act`.
    pub name: &'static str,
    /// TransformerLens's `act_fn`.
    pub act_fn: &'static str,
    /// The class of Hugging Face's module, in transformers 4.57.
    pub class: &'static str,
    pub words: Nonlinearity,
    apply: fn(&Tensor) -> Result<Tensor>,
    /// Its derivative.
    slope: fn(&Tensor) -> Result<Tensor>,
}

/// Those that both Hugging Face and TransformerLens support for GPT-NeoX, the usual one first.
#[rustfmt::skip]
pub static ACTIVATIONS: [Activation; 7] = [
    Activation { name: "gelu", act_fn: "gelu", class: "GELUActivation", words: GELU, apply: kernels::gelu, slope: kernels::gelu_slope },
    Activation { name: "gelu_new", act_fn: "gelu_new", class: "NewGELUActivation", words: TANH_GELU, apply: kernels::tanh_gelu, slope: kernels::tanh_gelu_slope },
    Activation { name: "gelu_fast", act_fn: "gelu_fast", class: "FastGELUActivation", words: TANH_GELU, apply: kernels::tanh_gelu, slope: kernels::tanh_gelu_slope },
    Activation { name: "gelu_pytorch_tanh", act_fn: "gelu_pytorch_tanh", class: "GELUTanh", words: TANH_GELU, apply: kernels::tanh_gelu, slope: kernels::tanh_gelu_slope },
    Activation { name: "relu", act_fn: "relu", class: "ReLU", words: RELU, apply: kernels::relu, slope: kernels::relu_slope },
    Activation { name: "silu", act_fn: "silu", class: "SiLUActivation", words: SILU, apply: kernels::silu, slope: kernels::silu_slope },
    Activation { name: "swish", act_fn: "silu", class: "SiLU", words: SILU, apply: kernels::silu, slope: kernels::silu_slope },
];

const GELU: Nonlinearity = Nonlinearity { name: "GELU", formula: "gelu(pre)   (exact, by erf)" };
const TANH_GELU: Nonlinearity =
    Nonlinearity { name: "GELU", formula: "½ pre (1 + tanh(√(2/π) (pre + 0.044715 pre³)))" };
const RELU: Nonlinearity = Nonlinearity { name: "ReLU", formula: "max(pre, 0)" };
const SILU: Nonlinearity = Nonlinearity { name: "SiLU", formula: "pre / (1 + exp(−pre))" };

impl Activation {
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ACTIVATIONS.iter().find(|activation| activation.name == name)
    }

    /// # Errors
    /// Tensor errors.
    pub(super) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        (self.apply)(x)
    }

    /// The derivative at `x`.
    ///
    /// # Errors
    /// Tensor errors.
    pub(super) fn slope(&self, x: &Tensor) -> Result<Tensor> {
        (self.slope)(x)
    }
}

impl PartialEq for Activation {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
