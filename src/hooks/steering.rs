//! Vectors at the hooks where edits use them.

use candle_core::{D, DType, Tensor};

use super::{
    Axis, Edit, EditError, HookPoint, Indices, Op, RunError, Schema,
    vector::{Values, VectorName},
};
use crate::suggest::nearest;

/// The numbers of the vector that an edit names, at a hook; None where it names none, or where they are still to be computed.
///
/// # Errors
/// No such vector, a hook without directions, or numbers that do not fit its axes.
pub(super) fn vector_at(
    edit: &Edit,
    line: &str,
    schema: &Schema,
    point: HookPoint,
    indices: &Indices,
) -> Result<Option<Values>, EditError> {
    let (name, whole) = match edit.op {
        Op::Steer { vector, .. } => (vector, false),
        Op::Project(vector) => (vector, true),
        Op::Set(_)
        | Op::Scale(_)
        | Op::Add(_)
        | Op::Mean
        | Op::Patch
        | Op::Freeze
        | Op::Noise { .. }
        | Op::CorpusMean
        | Op::Resample { .. } => {
            return Ok(None);
        }
    };
    let line = || line.to_string();
    let vectors = schema.vectors();
    if !vectors.defined().contains_key(&name) {
        let known: Vec<&str> = vectors.defined().keys().map(VectorName::as_str).collect();
        let nearest = nearest(name.as_str(), known.iter().copied());
        return Err(EditError::NoVector { edit: line(), name, defined: known.len(), nearest });
    }
    let (Some(Axis::Pos), Some(last)) = (indices.axes.first(), indices.axes.last()) else {
        return Err(EditError::NoDirections { edit: line(), hook: point });
    };
    if !matches!(last, Axis::DHead | Axis::DModel | Axis::DMlp) {
        return Err(EditError::NoDirections { edit: line(), hook: point });
    }
    if whole && indices.along.last().is_some_and(Option::is_some) {
        return Err(EditError::PartOfDirection { edit: line(), axis: *last });
    }
    let Some(values) = vectors.at(name, point) else { return Ok(None) };
    let (all, own) = (indices.shape[1..].iter().product::<usize>(), indices.shape[indices.shape.len() - 1]);
    match values.get().len() {
        n if n == all || n == own => Ok(Some(values.clone())),
        has => Err(EditError::VectorSize { edit: line(), name, has, hook: point, own, all }),
    }
}

/// The part of a vector that is selected, f32: `[1, 1, axes after pos]`, each as much as is selected or 1.
pub(super) fn selected(values: &[f32], indices: &Indices, like: &Tensor) -> candle_core::Result<Tensor> {
    let features = &indices.shape[1..];
    let own = features.last().copied().unwrap_or(1);
    let mut shape = vec![1; indices.shape.len() + 1];
    if values.len() == features.iter().product::<usize>() {
        shape[2..].copy_from_slice(features);
    } else if let Some(last) = shape.last_mut() {
        *last = own;
    }
    let mut out = Tensor::from_slice(values, shape.as_slice(), like.device())?;
    for (i, along) in indices.along.iter().enumerate().skip(1) {
        if let Some(along) = along.as_ref().filter(|_| shape[i + 1] == indices.shape[i]) {
            let ids: Vec<u32> = along.iter().map(|at| u32::try_from(*at).unwrap_or(u32::MAX)).collect();
            let n = ids.len();
            out = out.index_select(&Tensor::from_vec(ids, n, like.device())?, i + 1)?;
        }
    }
    Ok(out)
}

/// `x` with a multiple of the vector.
///
/// # Shapes
/// `x` and the result: `[batch, axes of the hook]`, as much as is selected.
pub(super) fn plus(x: &Tensor, amount: f32, values: &[f32], indices: &Indices) -> Result<Tensor, RunError> {
    let vector = (selected(values, indices, x)? * f64::from(amount))?;
    Ok(x.to_dtype(DType::F32)?.broadcast_add(&vector)?.to_dtype(x.dtype())?)
}

/// `x` without its part along the vector, over the last axis: of each head by itself. A vector that is 0 has no direction.
///
/// # Shapes
/// As [`plus`]; the last axis is whole.
pub(super) fn without(x: &Tensor, values: &[f32], indices: &Indices) -> candle_core::Result<Tensor> {
    let own = indices.shape.last().copied().unwrap_or(1);
    let unit = |part: &[f32]| -> Vec<f32> {
        let norm = part.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        #[allow(clippy::cast_possible_truncation, reason = "activations are f32")]
        let along = |x: &f32| if norm == 0.0 { 0.0 } else { (f64::from(*x) / norm) as f32 };
        part.iter().map(along).collect()
    };
    let units: Vec<f32> = values.chunks(own).flat_map(unit).collect();
    let unit = selected(&units, indices, x)?;
    let wide = x.to_dtype(DType::F32)?;
    let along = wide.broadcast_mul(&unit)?.sum_keepdim(D::Minus1)?;
    (wide - along.broadcast_mul(&unit)?)?.to_dtype(x.dtype())
}
