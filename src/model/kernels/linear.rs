//! Linear layers.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Storage, Tensor};
use pulp::Arch;

use super::{cross_entropy::cross_entropy, panels::Panels, values};
use crate::model::Placement;

/// `x · weightᵀ + bias`, with weight `[out, in]` and bias `[out]`.
pub(in crate::model) struct Linear {
    weight: Weight,
    pub bias: Option<Tensor>,
}

enum Weight {
    /// For our kernels: f32 on the CPU.
    Panels(Panels),
    /// For candle's product: `[out, in]`.
    Tensor(Tensor),
}

impl Linear {
    /// # Shapes
    /// `weight`: `[out, in]`, row-major; `bias`: `[out]`.
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

    /// [`Self::forward`] without the bias.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn without_bias(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.contiguous()?;
        match &self.weight {
            Weight::Panels(panels) => x.apply_op1_no_bwd(&Product(panels)),
            Weight::Tensor(weight) => x.matmul(&weight.t()?),
        }
    }

    /// The gradient with respect to the input, from that with respect to the output: `gradient · weight`.
    ///
    /// # Shapes
    /// `[..., out]` to `[..., in]`.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn backward(&self, gradient: &Tensor) -> Result<Tensor> {
        let (out, d_in) = self.dims()?;
        let mut shape = gradient.dims().to_vec();
        shape.pop();
        shape.push(d_in);
        let gradient = gradient.contiguous()?.reshape(((), out))?;
        let product = match &self.weight {
            Weight::Panels(panels) => gradient.apply_op1_no_bwd(&Reversed(panels))?,
            Weight::Tensor(weight) => gradient.matmul(&weight.to_dtype(gradient.dtype())?)?,
        };
        product.reshape(shape)
    }

    /// `ln Σ exp(output) - output(next)` of each row; None if the outputs have to be computed for it.
    ///
    /// # Shapes
    /// `x`: `[rows, in]`, `next`: `[rows]`, each below the number of outputs.
    ///
    /// # Errors
    /// Tensor errors.
    pub fn cross_entropy(&self, x: &Tensor, next: &[u32]) -> Result<Option<Vec<f64>>> {
        let Weight::Panels(panels) = &self.weight else { return Ok(None) };
        let bias = self.bias.as_ref().map(Tensor::to_vec1::<f32>).transpose()?;
        let x = x.contiguous()?;
        let (storage, layout) = x.storage_and_layout();
        let Storage::Cpu(x) = &*storage else { return Ok(None) };
        Ok(Some(cross_entropy(panels, values(x, layout)?, bias.as_deref(), next)))
    }

    /// The numbers of outputs and inputs.
    pub fn dims(&self) -> Result<(usize, usize)> {
        match &self.weight {
            Weight::Panels(panels) => Ok(panels.dims()),
            Weight::Tensor(weight) => weight.dims2(),
        }
    }

    /// `[out, in]`, with the device and type of the input; copied from panels.
    pub fn weight(&self) -> Result<Tensor> {
        match &self.weight {
            Weight::Panels(panels) => Tensor::from_vec(panels.rows(), panels.dims(), &candle_core::Device::Cpu),
            Weight::Tensor(weight) => Ok(weight.clone()),
        }
    }

    /// What some outputs read: `[some of out, in]`.
    ///
    /// # Errors
    /// Outputs that are not there.
    pub fn rows(&self, at: std::ops::Range<usize>) -> Result<Tensor> {
        let rows = at.map(|at| self.row(at)).collect::<Result<Vec<_>>>()?;
        Tensor::stack(&rows, 0)
    }

    /// The weights of one output: `[in]`.
    ///
    /// # Errors
    /// There is no such output.
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
    fn multiply(&self, x: &CpuStorage, at: &Layout, bias: Option<&[f32]>) -> Result<(CpuStorage, Shape)> {
        let shape = (at.shape().dims2()?.0, self.0.dims().0);
        Ok((CpuStorage::F32(self.0.multiply(values(x, at)?, bias)), shape.into()))
    }
}

impl CustomOp1 for Product<'_> {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, at: &Layout) -> Result<(CpuStorage, Shape)> {
        self.multiply(x, at, None)
    }
}

impl CustomOp2 for Product<'_> {
    fn name(&self) -> &'static str {
        "linear with bias"
    }

    fn cpu_fwd(&self, x: &CpuStorage, at: &Layout, bias: &CpuStorage, bias_at: &Layout) -> Result<(CpuStorage, Shape)> {
        self.multiply(x, at, Some(values(bias, bias_at)?))
    }
}

struct Reversed<'a>(&'a Panels);

impl CustomOp1 for Reversed<'_> {
    fn name(&self) -> &'static str {
        "linear, reversed"
    }

    fn cpu_fwd(&self, x: &CpuStorage, at: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = (at.shape().dims2()?.0, self.0.dims().1);
        Ok((CpuStorage::F32(self.0.multiply_reversed(values(x, at)?)), shape.into()))
    }
}
