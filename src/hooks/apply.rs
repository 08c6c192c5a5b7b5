//! One edit on one activation, on any device: gather the selection, compute, scatter back.

use candle_core::{DType, Tensor};

use super::{
    Axis, CorpusValues, Indices, RunError, Step,
    noise::Noise,
    op_facts::{self, Passes},
    steering,
};

/// The effect of one application: values selected, values that differ afterwards, and the squared L2 norm of the
/// change.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Change {
    pub touched: usize,
    pub changed: usize,
    pub squared: f64,
}

/// The activations that an operation can take values from, each with a batch axis of one.
#[derive(Default)]
pub(super) struct Sources<'a> {
    pub baseline: Option<Tensor>,
    pub contrast: Option<Tensor>,
    /// What a corpus gives, and the row of its batch.
    pub corpus: Option<(&'a CorpusValues, usize)>,
}

/// Apply `step` to `value`.
///
/// # Shapes
/// `value` and the result: `[1, axes of the hook]`, without the first `past` positions, which the sources do have.
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

/// The gradient with respect to the values before `step`, from the gradient with respect to those after it.
///
/// # Shapes
/// `gradient` and the result: `[batch, axes of the hook]`.
pub(super) fn pull(gradient: &Tensor, step: &Step) -> candle_core::Result<Tensor> {
    let gradient = gradient.contiguous()?;
    let here = &step.indices;
    let selected = || gather(&gradient, here);
    let without = || scatter(&gradient, here, selected()?.zeros_like()?);
    match step.op.row().passes {
        Passes::Whole => Ok(gradient),
        Passes::Nothing => without(),
        Passes::Scaled => scatter(&gradient, here, (selected()? * f64::from(step.op.arguments().number))?),
        Passes::Projected => scatter(&gradient, here, steering::without(&selected()?, vector(step)?, here)?),
        Passes::Shared => {
            let (over, units) = averaged(here);
            #[allow(clippy::cast_precision_loss, reason = "a number of positions")]
            let share = (selected()?.sum_keepdim(over + 1)? / here.shape[over] as f64)?;
            let mut shape = share.dims().to_vec();
            shape[over + 1] = here.shape[over];
            let shared = scatter(&gradient.zeros_like()?, &units, share.broadcast_as(shape)?.contiguous()?)?;
            without()? + shared
        }
    }
}

/// The effect of `step` on an objective to first order: the change that it makes times the gradient.
///
/// # Shapes
/// `value` and `gradient`: `[1, axes of the hook]`, f32.
pub(super) fn first_order(
    value: &Tensor,
    gradient: &Tensor,
    step: &Step,
    sources: &Sources<'_>,
) -> Result<f64, RunError> {
    let (value, gradient) = (value.contiguous()?, gradient.contiguous()?);
    let here = &step.indices;
    let before = gather(&value, here)?;
    let site = Site { before: &before, value: &value, here, step, sources };
    let after = (step.op.row().compute)(&site, step.op.arguments())?;
    let host = |t: &Tensor| t.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>();
    let (before, after, slope) = (host(&before)?, host(&after)?, host(&gather(&gradient, here)?)?);
    // where the gradient is 0, as at a masked score, even an infinite change has no effect
    let along = |((a, b), g): ((&f32, &f32), &f32)| match *g {
        0.0 => 0.0,
        g => (f64::from(*b) - f64::from(*a)) * f64::from(g),
    };
    Ok(before.iter().zip(&after).zip(&slope).map(along).sum())
}

/// The part of `value` that `step` selects.
struct Site<'a> {
    before: &'a Tensor,
    value: &'a Tensor,
    here: &'a Indices,
    step: &'a Step,
    sources: &'a Sources<'a>,
}

impl op_facts::Site for Site<'_> {
    fn values(&self) -> &Tensor {
        self.before
    }

    fn mean(&self) -> Result<Tensor, RunError> {
        Ok(mean(self.value, self.here)?.broadcast_as(self.before.shape())?.contiguous()?)
    }

    fn baseline(&self) -> Result<Tensor, RunError> {
        let (all, indices) = (required(self.sources.baseline.as_ref())?.contiguous()?, &self.step.indices);
        let axis = indices.axes.iter().position(|axis| axis.is_causal());
        // of a text that grows, it has the positions that are new
        let missing = match axis {
            Some(axis) => indices.shape[axis].saturating_sub(all.dim(axis + 1)?),
            None => 0,
        };
        let found = gather(&all, &indices.without(missing))?;
        Ok(found.to_dtype(self.before.dtype())?)
    }

    fn contrast(&self) -> Result<Tensor, RunError> {
        let indices = self.step.contrast.as_ref().unwrap_or(&self.step.indices);
        Ok(gather(&required(self.sources.contrast.as_ref())?.contiguous()?, indices)?.to_dtype(self.before.dtype())?)
    }

    fn plus(&self, amount: f32) -> Result<Tensor, RunError> {
        steering::plus(self.before, amount, vector(self.step)?, self.here)
    }

    fn without(&self) -> Result<Tensor, RunError> {
        Ok(steering::without(self.before, vector(self.step)?, self.here)?)
    }

    fn corpus_mean(&self) -> Result<Tensor, RunError> {
        let mean = required(self.sources.corpus.and_then(|(corpus, _)| corpus.mean(self.step)))?;
        // the last units first: a position of its own, or one value for each
        let whole = mean.broadcast_as(self.value.shape())?.contiguous()?;
        Ok(gather(&whole, self.here)?.to_dtype(self.before.dtype())?)
    }

    fn resampled(&self, seed: u64) -> Result<Tensor, RunError> {
        let other = self.sources.corpus.map(|(corpus, row)| corpus.resampled(seed, self.step, row));
        let other = other.transpose()?.flatten();
        Ok(gather(&required(other.as_ref())?.contiguous()?, &self.step.indices)?.to_dtype(self.before.dtype())?)
    }

    fn noise(&self, sd: f32, seed: u64) -> Result<Tensor, RunError> {
        let noise = Noise::new(self.step.point, seed);
        #[allow(clippy::cast_possible_truncation, reason = "activations are f32")]
        let values: Vec<f32> =
            flat_indices(&self.step.indices).into_iter().map(|i| (noise.at(i) * f64::from(sd)) as f32).collect();
        Ok(Tensor::from_vec(values, self.before.shape(), self.before.device())?.to_dtype(self.before.dtype())?)
    }
}

/// The numbers of a step's vector, which the engine promised to have computed.
fn vector(step: &Step) -> candle_core::Result<&[f32]> {
    let missing = || candle_core::Error::Msg(format!("the vector of the edit at {} was not computed", step.source()));
    Ok(step.vector.as_ref().ok_or_else(missing)?.get())
}

/// A reference activation, which the engine has to capture.
fn required(value: Option<&Tensor>) -> Result<&Tensor, RunError> {
    value.ok_or_else(|| {
        RunError::Tensor(candle_core::Error::Msg("the reference run kept no value for this hook".into()))
    })
}

pub(super) fn gather(value: &Tensor, indices: &Indices) -> candle_core::Result<Tensor> {
    let mut out = value.contiguous()?;
    for (i, along) in indices.along.iter().enumerate() {
        if let Some(along) = along {
            out = out.index_select(&ids(along, value)?, i + 1)?;
        }
    }
    Ok(out)
}

/// `value` with `part` at the selected indices.
pub(super) fn scatter(value: &Tensor, indices: &Indices, part: Tensor) -> candle_core::Result<Tensor> {
    if indices.along.iter().all(Option::is_none) {
        return Ok(part);
    }
    // Spread `part` over the whole activation (values outside the selection are not used), then choose by mask.
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
    mask.broadcast_as(value.shape())?.contiguous()?.where_cond(&spread.contiguous()?, &value.contiguous()?)
}

fn ids(indices: &[usize], like: &Tensor) -> candle_core::Result<Tensor> {
    let ids: Vec<u32> = indices.iter().map(|&i| u32::try_from(i).unwrap_or(u32::MAX)).collect();
    let n = ids.len();
    Tensor::from_vec(ids, n, like.device())
}

/// Each selected unit's mean over all positions (queries, for scores and patterns), as an axis of one.
fn mean(value: &Tensor, indices: &Indices) -> candle_core::Result<Tensor> {
    let (over, units) = averaged(indices);
    // summed in f32, whatever the activations' type
    gather(value, &units)?.to_dtype(DType::F32)?.mean_keepdim(over + 1)?.to_dtype(value.dtype())
}

/// The axis of a mean, and the indices with that axis whole.
fn averaged(indices: &Indices) -> (usize, Indices) {
    let over = indices.axes.iter().position(|axis| matches!(axis, Axis::Pos | Axis::Query)).unwrap_or(0);
    let mut units = indices.clone();
    units.along[over] = None;
    (over, units)
}

/// Row-major indices of the selection into the whole activation, in the order of `gather`.
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
