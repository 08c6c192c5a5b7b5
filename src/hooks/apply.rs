//! One edit on one activation. Works on any device: gather what is selected, compute, scatter back.

use candle_core::{DType, Tensor};

use super::{Axis, Indices, RunError, intervene::Step, noise::Noise, op};

/// What one application did: values selected, values that differ afterwards, and the squared L2 norm of the change.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Change {
    pub touched: usize,
    pub changed: usize,
    pub squared: f64,
}

/// Where an operation takes values from, each with a batch axis of one.
pub(super) struct Sources<'a> {
    pub baseline: Option<&'a Tensor>,
    pub contrast: Option<&'a Tensor>,
}

/// Apply `step` to `value`.
///
/// # Shapes
/// `value` and the result: `[1, axes of the hook]`, without the first `past` positions, which the sources have.
pub(super) fn apply(
    value: &Tensor,
    step: &Step,
    sources: &Sources<'_>,
    past: usize,
) -> Result<(Tensor, Change), RunError> {
    let value = value.contiguous()?;
    let here = &step.indices.without(past);
    let before = gather(&value, here)?;
    let site = Site { before: &before, value: &value, here, step, sources };
    let after = (step.op.row().compute)(&site, step.op.arguments())?;
    let change = difference(&before, &after)?;
    Ok((scatter(&value, here, after)?, change))
}

/// What `step` selects of `value`.
struct Site<'a> {
    before: &'a Tensor,
    value: &'a Tensor,
    here: &'a Indices,
    step: &'a Step,
    sources: &'a Sources<'a>,
}

impl op::Site for Site<'_> {
    fn values(&self) -> &Tensor {
        self.before
    }

    fn mean(&self) -> Result<Tensor, RunError> {
        Ok(mean(self.value, self.here)?.broadcast_as(self.before.shape())?.contiguous()?)
    }

    fn baseline(&self) -> Result<Tensor, RunError> {
        Ok(gather(&required(self.sources.baseline)?.contiguous()?, &self.step.indices)?)
    }

    fn contrast(&self) -> Result<Tensor, RunError> {
        let indices = self.step.contrast.as_ref().unwrap_or(&self.step.indices);
        Ok(gather(&required(self.sources.contrast)?.contiguous()?, indices)?)
    }

    fn noise(&self, sd: f32, seed: u64) -> Result<Tensor, RunError> {
        let noise = Noise::new(self.step.point, seed);
        #[allow(clippy::cast_possible_truncation, reason = "activations are f32")]
        let values: Vec<f32> =
            flat_indices(&self.step.indices).into_iter().map(|i| (noise.at(i) * f64::from(sd)) as f32).collect();
        Ok(Tensor::from_vec(values, self.before.shape(), self.before.device())?.to_dtype(self.before.dtype())?)
    }
}

/// A reference activation that the engine promised to have captured.
fn required(value: Option<&Tensor>) -> Result<&Tensor, RunError> {
    value.ok_or_else(|| {
        RunError::Tensor(candle_core::Error::Msg("the reference run kept no value for this hook".into()))
    })
}

fn gather(value: &Tensor, indices: &Indices) -> candle_core::Result<Tensor> {
    let mut out = value.clone();
    for (i, along) in indices.along.iter().enumerate() {
        if let Some(along) = along {
            out = out.index_select(&ids(along, value)?, i + 1)?;
        }
    }
    Ok(out)
}

/// `value` with `part` in the places that `indices` select.
fn scatter(value: &Tensor, indices: &Indices, part: Tensor) -> candle_core::Result<Tensor> {
    if indices.along.iter().all(Option::is_none) {
        return Ok(part);
    }
    // Spread `part` over the whole activation (what lands outside the selection is not used), then choose by mask.
    let mut spread = part;
    let mut mask = Tensor::ones(vec![1; value.rank()], DType::U8, value.device())?;
    for (i, along) in indices.along.iter().enumerate() {
        let Some(along) = along else { continue };
        let n = indices.shape[i];
        let mut position = vec![0; n];
        let mut selected = vec![0u8; n];
        for (k, &at) in along.iter().enumerate() {
            position[at] = k;
            selected[at] = 1;
        }
        spread = spread.index_select(&ids(&position, value)?, i + 1)?;
        let mut shape = vec![1; value.rank()];
        shape[i + 1] = n;
        mask = mask.broadcast_mul(&Tensor::from_vec(selected, shape, value.device())?)?;
    }
    mask.broadcast_as(value.shape())?.contiguous()?.where_cond(&spread.contiguous()?, value)
}

fn ids(indices: &[usize], like: &Tensor) -> candle_core::Result<Tensor> {
    let ids: Vec<u32> = indices.iter().map(|&i| u32::try_from(i).unwrap_or(u32::MAX)).collect();
    let n = ids.len();
    Tensor::from_vec(ids, n, like.device())
}

/// Each selected unit's mean over all positions (queries, for scores and patterns), as an axis of one.
fn mean(value: &Tensor, indices: &Indices) -> candle_core::Result<Tensor> {
    let over = indices.axes.iter().position(|axis| matches!(axis, Axis::Pos | Axis::Query)).unwrap_or(0);
    let mut units = indices.clone();
    units.along[over] = None;
    // summed up in f32, whatever the activations are kept in
    gather(value, &units)?.to_dtype(DType::F32)?.mean_keepdim(over + 1)?.to_dtype(value.dtype())
}

/// Row-major indices into the whole activation of what is selected, in the order in which `gather` lays it out.
fn flat_indices(indices: &Indices) -> Vec<usize> {
    let mut flat = vec![0];
    for (i, &n) in indices.shape.iter().enumerate() {
        let along: Vec<usize> = indices.along[i].clone().unwrap_or_else(|| (0..n).collect());
        flat = flat.iter().flat_map(|&before| along.iter().map(move |&at| before * n + at)).collect();
    }
    flat
}

fn difference(before: &Tensor, after: &Tensor) -> candle_core::Result<Change> {
    let values = |t: &Tensor| t.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>();
    let (before, after) = (values(before)?, values(after)?);
    let mut change = Change { touched: before.len(), ..Change::default() };
    for (&a, &b) in before.iter().zip(&after) {
        // Equal infinities have not moved, though their difference is NaN.
        #[allow(clippy::float_cmp, reason = "asks whether the value moved at all")]
        let moved = a != b && !(a.is_nan() && b.is_nan());
        if moved {
            change.changed += 1;
            change.squared += (f64::from(b) - f64::from(a)).powi(2);
        }
    }
    Ok(change)
}
