//! Elementwise sums.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{is_supported, row_of, values, with_rows};

/// The values that a thread does at once.
pub(super) const PART: usize = 16 << 10;

/// The elementwise sum, where one operand may have missing rows (see [`super`]).
pub(in crate::model) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !is_supported(a) {
        let rows = a.dim(0)?.max(b.dim(0)?);
        return with_rows(a, rows)? + with_rows(b, rows)?;
    }
    a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &Add)
}

struct Add;

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(&self, a: &CpuStorage, a_at: &Layout, b: &CpuStorage, b_at: &Layout) -> Result<(CpuStorage, Shape)> {
        let (have_a, have_b) = (a_at.dims()[0], b_at.dims()[0]);
        let (a, b) = (values(a, a_at)?, values(b, b_at)?);
        let each = a.len() / have_a.max(1);
        let mut out = vec![0.0; have_a.max(have_b) * each];
        let range = |row: usize, have: usize| row_of(row, have) * each..(row_of(row, have) + 1) * each;
        for (number, out) in out.chunks_mut(each.max(1)).enumerate() {
            let (a, b) = (&a[range(number, have_a)], &b[range(number, have_b)]);
            let parts = out.par_chunks_mut(PART).zip(a.par_chunks(PART)).zip(b.par_chunks(PART));
            parts.for_each(|((out, a), b)| {
                for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                    *out = a + b;
                }
            });
        }
        let shape = if have_a >= have_b { a_at.shape() } else { b_at.shape() };
        Ok((CpuStorage::F32(out), shape.clone()))
    }
}
