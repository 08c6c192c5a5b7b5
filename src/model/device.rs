//! The device and the precision of a model.

use std::{fmt, str::FromStr};

use candle_core::{DType, Device, Tensor};

use super::ModelError;
use crate::suggest;

/// A device as `--device` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// The first GPU that this build supports, if there is one, else the CPU.
    #[default]
    Auto,
    Cpu,
    Cuda(usize),
    Metal,
}

/// A floating-point type as `--dtype` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtype {
    #[default]
    F32,
    F16,
    Bf16,
}

/// An open device, and the type of tensors on it.
#[derive(Clone, Debug)]
pub struct Placement {
    pub device: Device,
    pub dtype: DType,
}

impl Place {
    /// Open the device.
    ///
    /// # Errors
    /// There is no such device, or this build does not support it.
    pub fn open(self) -> Result<Device, ModelError> {
        let missing = |place: &str, error: candle_core::Error| {
            // the first line is the reason, the rest candle's backtrace
            let reason = error.to_string().lines().next().unwrap_or_default().to_string();
            ModelError::NoDevice(format!("there is no {place} here ({reason}); `--device cpu` always works"))
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => {
                let gpu = if cfg!(feature = "cuda") { Self::Cuda(0) } else { Self::Metal };
                Ok(gpu.open().unwrap_or(Device::Cpu))
            }
            Self::Cuda(_) if !cfg!(feature = "cuda") => Err(not_built("CUDA", "cuda")),
            Self::Cuda(number) => Device::new_cuda(number).map_err(|e| missing(&format!("CUDA device {number}"), e)),
            Self::Metal if !cfg!(feature = "metal") => Err(not_built("Metal", "metal")),
            Self::Metal => Device::new_metal(0).map_err(|e| missing("Metal device", e)),
        }
    }
}

fn not_built(what: &str, feature: &str) -> ModelError {
    ModelError::NoDevice(format!(
        "this pythia-tui was built without {what}; `cargo install --path . --features {feature}` builds it with {what}"
    ))
}

impl FromStr for Place {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name.split_once(':') {
            Some(("cuda", number)) => {
                let number = number.parse().map_err(|_| format!("`{number}` is not the number of a CUDA device"));
                number.map(Self::Cuda)
            }
            _ => suggest::by_name("device", name, &[Self::Auto, Self::Cpu, Self::Cuda(0), Self::Metal], Self::name),
        }
    }
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda(_) => "cuda",
            Self::Metal => "metal",
        }
    }
}

impl Dtype {
    const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }
}

impl FromStr for Dtype {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        suggest::by_name("type", name, &Self::ALL, Self::name)
    }
}

impl From<Dtype> for DType {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::Bf16 => Self::BF16,
        }
    }
}

impl From<DType> for Dtype {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::F16 => Self::F16,
            DType::BF16 => Self::Bf16,
            _ => Self::F32,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Placement {
    /// The CPU, in f32.
    #[must_use]
    pub fn cpu() -> Self {
        Self { device: Device::Cpu, dtype: DType::F32 }
    }

    /// A vector of f32 values with this type and on this device: `[n]`.
    pub(super) fn vector(&self, values: Vec<f32>) -> candle_core::Result<Tensor> {
        let n = values.len();
        // converted before copying, since 16-bit values are half the bytes
        Tensor::from_vec(values, n, &Device::Cpu)?.to_dtype(self.dtype)?.to_device(&self.device)
    }
}

/// `cpu f32`, `cuda:0 bf16`
impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.device.location() {
            candle_core::DeviceLocation::Cpu => write!(f, "cpu")?,
            candle_core::DeviceLocation::Cuda { gpu_id } => write!(f, "cuda:{gpu_id}")?,
            candle_core::DeviceLocation::Metal { .. } => write!(f, "metal")?,
        }
        write!(f, " {}", self.dtype.as_str())
    }
}
