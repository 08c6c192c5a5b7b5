//! Path edits: what one component writes, changed for one reader only (path patching; Goldowsky-Dill et al., "Localizing Model
//! Behavior with Path Patching", 2023).

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

use super::{
    Axis, HookPoint, Indices, RunError, Sent, Step,
    apply::{Change, Sources, apply, gather, pull, scatter},
    cache::row_of,
};

/// The input of one reader with the paths that end there, for a row of the batch.
#[derive(Clone, Debug)]
pub struct Received {
    pub row: usize,
    /// The head that reads it; None for an MLP.
    pub head: Option<usize>,
    /// `[1, pos, d_model]`
    pub input: Tensor,
}

/// What senders wrote in a pass, for the paths that start there.
#[derive(Default)]
pub(super) struct Written(BTreeMap<HookPoint, Tensor>);

impl Written {
    pub fn forget_from(&mut self, point: HookPoint) {
        self.0.retain(|sender, _| *sender < point);
    }

    pub fn insert(&mut self, point: HookPoint, value: Tensor) {
        self.0.insert(point, value);
    }

    /// What `step` adds to its receiver's input in a row: what its sender would write after the operation, minus what
    /// it writes.
    ///
    /// # Shapes
    /// Returns `[1, pos, d_model]` for the positions from `past` on; 0 where the receiver is not selected.
    pub fn delta(
        &self,
        step: &Step,
        sent: &Sent,
        sources: &Sources<'_>,
        row: usize,
        past: usize,
    ) -> Result<(Tensor, Change), RunError> {
        let written = if let Some(value) = self.0.get(&sent.point) {
            value.narrow(0, row_of(row, value.dim(0)?), 1)?
        } else {
            // before the block where the pass began, everything is as in the unedited run
            let missing = || candle_core::Error::Msg(format!("no run kept {}, where a path starts", sent.point));
            let whole = sources.baseline.as_ref().ok_or_else(missing)?;
            whole.narrow(1, past, whole.dim(1)? - past)?
        };
        let (indices, contrast) = later(&sent.indices, step.contrast.as_ref(), past);
        let mut delta = if indices.values() == 0 {
            written.zeros_like()?
        } else {
            let sending = Step { point: sent.point, indices, contrast, sent: None, ..step.clone() };
            (apply(&written, &sending, sources, past)?.0 - written)?
        };
        if delta.rank() == 4 {
            let dtype = delta.dtype();
            delta = delta.to_dtype(DType::F32)?.sum(2)?.to_dtype(dtype)?;
        }
        let here = stream(&step.indices.without(past));
        let part = gather(&delta, &here)?;
        let delta = scatter(&delta.zeros_like()?, &here, part.clone())?;
        let heads = heads(&step.indices).map_or(1, |heads| heads.len());
        let values: Vec<f32> = part.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
        let change = Change {
            touched: values.len() * heads,
            changed: values.iter().filter(|x| **x != 0.0).count() * heads,
            squared: values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() * as_f64(heads),
        };
        Ok((delta, change))
    }
}

/// The selection from position `past` on, and its places in the contrast run; earlier positions reach no receiver.
fn later(indices: &Indices, contrast: Option<&Indices>, past: usize) -> (Indices, Option<Indices>) {
    let (mut indices, mut contrast) = (indices.clone(), contrast.cloned());
    let Some(axis) = indices.axes.iter().position(|axis| axis.is_causal()).filter(|_| past > 0) else {
        return (indices, contrast);
    };
    let all = |indices: &Indices| indices.along[axis].clone().unwrap_or_else(|| (0..indices.shape[axis]).collect());
    let own = all(&indices);
    let is_later = |at: &usize| *at >= past;
    if let Some(contrast) = &mut contrast {
        let pairs = own.iter().zip(all(contrast)).filter(|(at, _)| is_later(at));
        contrast.along[axis] = Some(pairs.map(|(_, there)| there).collect());
    }
    indices.along[axis] = Some(own.into_iter().filter(is_later).collect());
    (indices, contrast)
}

#[allow(clippy::cast_precision_loss, reason = "a number of heads")]
fn as_f64(n: usize) -> f64 {
    n as f64
}

/// The inputs that the paths of a plan give to readers at `point`, in a row of the batch; `delta` computes what each
/// path adds.
///
/// # Shapes
/// `stream`: `[1, pos, d_model]`.
pub(super) fn received(
    steps: &[Step],
    point: HookPoint,
    row: usize,
    stream: &Tensor,
    delta: &mut dyn FnMut(&Step) -> Result<Tensor, RunError>,
) -> Result<Vec<Received>, RunError> {
    let mut received: Vec<Received> = vec![];
    for step in steps.iter().filter(|step| step.point == point && step.sent.is_some()) {
        let delta = delta(step)?;
        let readers = heads(&step.indices).map_or(vec![None], |heads| heads.into_iter().map(Some).collect());
        for head in readers {
            match received.iter_mut().find(|known| known.head == head) {
                Some(known) => known.input = (&known.input + &delta)?,
                None => received.push(Received { row, head, input: (stream + &delta)? }),
            }
        }
    }
    Ok(received)
}

/// The gradient with respect to what a sender writes, from the gradient with respect to the stream that its receiver
/// reads. The path adds what the sender would write after the operation, minus what it writes.
///
/// # Shapes
/// `gradient`: `[1, pos, d_model]`; returns `[1, axes of the sender]`.
pub(super) fn to_sender(gradient: &Tensor, step: &Step, sent: &Sent) -> candle_core::Result<Tensor> {
    let here = stream(&step.indices);
    let mut seen = scatter(&gradient.zeros_like()?, &here, gather(gradient, &here)?)?;
    if let Some(axis) = sent.indices.axes.iter().position(|axis| *axis == Axis::Head) {
        seen = seen.unsqueeze(2)?.repeat((1, 1, sent.indices.shape[axis], 1))?;
    }
    let sending = Step { point: sent.point, indices: sent.indices.clone(), sent: None, ..step.clone() };
    pull(&seen, &sending)? - seen
}

/// The gradient with respect to what a path adds, from the gradient with respect to its receivers' inputs: the sum over
/// the selected heads.
///
/// # Shapes
/// `[1, pos, d_model]` or `[1, pos, head, d_model]`, to `[1, pos, d_model]`.
pub(super) fn to_readers(gradient: &Tensor, indices: &Indices) -> candle_core::Result<Tensor> {
    let Some(heads) = heads(indices) else { return Ok(gradient.clone()) };
    let own = heads.into_iter().map(|head| gradient.narrow(2, head, 1)).collect::<candle_core::Result<Vec<_>>>()?;
    Tensor::cat(&own, 2)?.sum(2)
}

/// The heads that a receiver selects; None if it has no heads.
pub(super) fn heads(indices: &Indices) -> Option<Vec<usize>> {
    let axis = indices.axes.iter().position(|axis| *axis == Axis::Head)?;
    Some(indices.along[axis].clone().unwrap_or_else(|| (0..indices.shape[axis]).collect()))
}

/// The selection without its head axis, for the stream that each head reads.
fn stream(indices: &Indices) -> Indices {
    let keep = |i: &usize| indices.axes[*i] != Axis::Head;
    let axes: Vec<usize> = (0..indices.axes.len()).filter(keep).collect();
    Indices {
        axes: axes.iter().map(|i| indices.axes[*i]).collect(),
        shape: axes.iter().map(|i| indices.shape[*i]).collect(),
        along: axes.iter().map(|i| indices.along[*i].clone()).collect(),
    }
}

/// A reader's input with what a path adds: to the stream, or to the copies of the selected heads.
///
/// # Shapes
/// `value`: `[1, pos, d_model]` or `[1, pos, head, d_model]`; `delta`: `[1, pos, d_model]`.
pub(super) fn added(value: &Tensor, delta: &Tensor, indices: &Indices) -> candle_core::Result<Tensor> {
    let Some(heads) = heads(indices) else { return value + delta };
    let all = value.dim(2)?;
    let chosen: Vec<f32> = (0..all).map(|head| if heads.contains(&head) { 1.0 } else { 0.0 }).collect();
    let chosen = Tensor::from_vec(chosen, (1, 1, all, 1), value.device())?.to_dtype(value.dtype())?;
    value + delta.unsqueeze(2)?.broadcast_mul(&chosen)?
}
