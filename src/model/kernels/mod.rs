//! The forward pass's arithmetic in f32 on the CPU: small row counts, causal attention and edits that differ by row are what it
//! is for. On another device or in another type the same is done with candle's operations.
//!
//! A batch grows while it goes through the model: rows that were not edited yet are not there, and are as the first. So
//! wherever two activations meet, the one with fewer rows stands in with its first row for those it lacks.

#![allow(
    clippy::inline_always,
    reason = "what is dispatched must be compiled for the instructions it is dispatched to"
)]
#![allow(clippy::needless_range_loop, reason = "small arrays that are to lie in registers")]

mod attention;
mod dot;
mod elementwise;
mod norm;

use candle_core::{CpuStorage, DType, Layout, Result, Tensor};
use pulp::Arch;

use crate::hooks::with_rows;

pub(super) use attention::{mix, rotate, scores, softmax};
pub(super) use dot::linear;
pub(super) use elementwise::{add, gelu};
pub(super) use norm::{normalize, scale};

/// Whether the kernels here do it, rather than candle: not on a processor without vector instructions either.
fn here(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32 && !matches!(Arch::new(), Arch::Scalar)
}

/// The values of a contiguous f32 tensor.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("a kernel takes contiguous tensors only");
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Which row of a batch of `have` stands for row `row`.
fn row_of(row: usize, have: usize) -> usize {
    if row < have { row } else { 0 }
}
