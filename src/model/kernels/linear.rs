//! Products with a weight.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor};
use pulp::Arch;

use super::{panels::Panels, values};
use crate::model::Placement;

/// `x · weightᵀ + bias`; weight `[out, in]`, bias `[out]`.
pub(in crate::model) struct Linear {
    weight: Weight,
    pub bias: Option<Tensor>,
}

enum Weight {
    /// In f32 on the CPU, for the product here.
    Panels(Panels),
    /// `[out, in]`, for candle's.
    Tensor(Tensor),
}

impl Linear {
    /// # Shapes
    /// `weight`: `[out, in]`, by rows; `bias`: `[out]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn new(weight: Vec<f32>, d_in: usize, bias: Option<Vec<f32>>, place: &Placement) -> Result<Self> {
        let bias = bias.map(|bias| place.vector(bias)).transpose()?;
        let here = place.device.is_cpu() && place.dtype == DType::F32 && !matches!(Arch::new(), Arch::Scalar);
        let weight = match here {
            true => Weight::Panels(Panels::new(weight, d_in)),
            false => Weight::Tensor(place.vector(weight)?.reshape(((), d_in))?),
        };
        Ok(Self { weight, bias })
    }

    /// `[..., in]` to `[..., out]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (out, d_in) = self.dims()?;
        let mut shape = x.dims().to_vec();
        shape.pop();
        shape.push(out);
        let x = x.contiguous()?.reshape(((), d_in))?;
        let product = match (&self.weight, &self.bias) {
            (Weight::Panels(panels), None) => x.apply_op1_no_bwd(&Product(panels))?,
            (Weight::Panels(panels), Some(bias)) => x.apply_op2_no_bwd(bias, &Product(panels))?,
            (Weight::Tensor(weight), None) => x.matmul(&weight.t()?)?,
            (Weight::Tensor(weight), Some(bias)) => x.matmul(&weight.t()?)?.broadcast_add(bias)?,
        };
        product.reshape(shape)
    }

    /// Outputs and inputs.
    pub fn dims(&self) -> Result<(usize, usize)> {
        match &self.weight {
            Weight::Panels(panels) => Ok(panels.dims()),
            Weight::Tensor(weight) => weight.dims2(),
        }
    }

    /// `[out, in]`, of a kind with the input; a copy where the weight lies otherwise.
    pub fn weight(&self) -> Result<Tensor> {
        match &self.weight {
            Weight::Panels(panels) => Tensor::from_vec(panels.rows(), panels.dims(), &candle_core::Device::Cpu),
            Weight::Tensor(weight) => Ok(weight.clone()),
        }
    }

    /// What one output reads: `[in]`.
    ///
    /// # Errors
    /// An output that is not there.
    pub fn row(&self, at: usize) -> Result<Tensor> {
        match &self.weight {
            Weight::Panels(panels) if at < panels.dims().0 => {
                Tensor::from_vec(panels.row(at), panels.dims().1, &candle_core::Device::Cpu)
            }
            Weight::Panels(panels) => candle_core::bail!("there is no output {at} of {}", panels.dims().0),
            Weight::Tensor(weight) => weight.get(at),
        }
    }
}

struct Product<'a>(&'a Panels);

impl Product<'_> {
    fn of(&self, x: &CpuStorage, at: &Layout, bias: Option<&[f32]>) -> Result<(CpuStorage, Shape)> {
        let shape = (at.shape().dims2()?.0, self.0.dims().0);
        Ok((CpuStorage::F32(self.0.multiply(values(x, at)?, bias)), shape.into()))
    }
}

impl CustomOp1 for Product<'_> {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, at: &Layout) -> Result<(CpuStorage, Shape)> {
        self.of(x, at, None)
    }
}

impl CustomOp2 for Product<'_> {
    fn name(&self) -> &'static str {
        "linear with bias"
    }

    fn cpu_fwd(&self, x: &CpuStorage, at: &Layout, bias: &CpuStorage, bias_at: &Layout) -> Result<(CpuStorage, Shape)> {
        self.of(x, at, Some(values(bias, bias_at)?))
    }
}
