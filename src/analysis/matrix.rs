//! Small dense matrices in f64, and their singular values.

/// A matrix, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix64 {
    pub rows: usize,
    pub columns: usize,
    pub data: Vec<f64>,
}

/// A singular value decomposition `M = Σ value · left rightᵀ`, the largest value first.
#[derive(Clone, Debug, PartialEq)]
pub struct Singular {
    pub values: Vec<f64>,
    /// `[value, rows of M]`
    pub left: Vec<Vec<f64>>,
    /// `[value, columns of M]`
    pub right: Vec<Vec<f64>>,
}

impl Matrix64 {
    /// # Shapes
    /// `data`: `rows * columns` numbers, row-major.
    #[must_use]
    pub fn new(rows: usize, data: &[f32]) -> Self {
        Self { rows, columns: data.len() / rows.max(1), data: data.iter().map(|x| f64::from(*x)).collect() }
    }

    #[must_use]
    pub fn identity(n: usize) -> Self {
        let data = (0..n * n).map(|at| if at % (n + 1) == 0 { 1.0 } else { 0.0 }).collect();
        Self { rows: n, columns: n, data }
    }

    #[must_use]
    pub fn row(&self, at: usize) -> &[f64] {
        &self.data[at * self.columns..][..self.columns]
    }

    #[must_use]
    pub fn transposed(&self) -> Self {
        let data = (0..self.columns).flat_map(|j| (0..self.rows).map(move |i| self.data[i * self.columns + j]));
        Self { rows: self.columns, columns: self.rows, data: data.collect() }
    }

    /// `self · other`.
    #[must_use]
    pub fn times(&self, other: &Self) -> Self {
        let mut data = vec![0.0; self.rows * other.columns];
        for (out, row) in data.chunks_mut(other.columns.max(1)).zip(self.data.chunks(self.columns.max(1))) {
            for (x, other) in row.iter().zip(other.data.chunks(other.columns.max(1))) {
                out.iter_mut().zip(other).for_each(|(out, y)| *out += x * y);
            }
        }
        Self { rows: self.rows, columns: other.columns, data }
    }

    /// `selfᵀ · self`.
    #[must_use]
    pub fn gram(&self) -> Self {
        self.transposed().times(self)
    }

    /// `self · x`.
    #[must_use]
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        self.data.chunks(self.columns.max(1)).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
    }

    fn trace_of_product(&self, other: &Self) -> f64 {
        let along = |i: usize| {
            (0..self.columns).map(move |j| self.data[i * self.columns + j] * other.data[j * other.columns + i])
        };
        (0..self.rows).flat_map(along).sum()
    }
}

/// The Frobenius norm of `A M Bᵀ` from the Gram matrices `AᵀA` and `BᵀB`.
#[must_use]
pub fn norm_between(gram_a: &Matrix64, middle: &Matrix64, gram_b: &Matrix64) -> f64 {
    let inner = middle.transposed().times(gram_a).times(middle);
    inner.trace_of_product(gram_b).max(0.0).sqrt()
}

/// The eigenvalues of a symmetric matrix, the largest first, and their eigenvectors as rows: cyclic Jacobi rotations
/// (Golub and Van Loan, "Matrix Computations", 8.5).
#[must_use]
pub fn eigen(symmetric: &Matrix64) -> (Vec<f64>, Vec<Vec<f64>>) {
    const SWEEPS: usize = 60;
    let n = symmetric.rows;
    let mut a = symmetric.data.clone();
    let mut vectors: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    let scale = a.iter().map(|x| x * x).sum::<f64>();
    for _ in 0..SWEEPS {
        let off: f64 = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i * n + j].powi(2)).sum();
        if off <= scale * 1e-30 || !off.is_finite() {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                let between = a[p * n + q];
                if between == 0.0 {
                    continue;
                }
                let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * between);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                for k in 0..n {
                    let (x, y) = (a[k * n + p], a[k * n + q]);
                    (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y);
                }
                for k in 0..n {
                    let (x, y) = (a[p * n + k], a[q * n + k]);
                    (a[p * n + k], a[q * n + k]) = (c * x - s * y, s * x + c * y);
                    let (x, y) = (vectors[p][k], vectors[q][k]);
                    (vectors[p][k], vectors[q][k]) = (c * x - s * y, s * x + c * y);
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|i, j| a[j * n + j].total_cmp(&a[i * n + i]));
    (order.iter().map(|i| a[i * n + i]).collect(), order.iter().map(|i| std::mem::take(&mut vectors[*i])).collect())
}

/// The singular values of a matrix with at most a few hundred columns, by the eigenvalues of its Gram matrix.
#[must_use]
pub fn svd(tall: &Matrix64) -> Singular {
    let (values, right): (Vec<f64>, Vec<Vec<f64>>) = roots(&tall.gram()).into_iter().unzip();
    let left = values.iter().zip(&right);
    let left = left.map(|(value, right)| tall.apply(right).into_iter().map(|x| x / value).collect()).collect();
    Singular { values, left, right }
}

/// The square roots of a Gram matrix's eigenvalues, the largest first, with their eigenvectors. Those below 1e-7 of the largest are
/// left out: in f32 weights they are rounding.
fn roots(gram: &Matrix64) -> Vec<(f64, Vec<f64>)> {
    let (squares, vectors) = eigen(gram);
    let least = squares.first().copied().unwrap_or(0.0) * 1e-14;
    let kept = squares.into_iter().zip(vectors).filter(|(square, _)| *square > least && *square > 0.0);
    kept.map(|(square, vector)| (square.sqrt(), vector)).collect()
}

/// The singular values of `A B` from the Gram matrices `AᵀA` and `BBᵀ`. The vectors are `A left` and `Bᵀ right`.
#[must_use]
pub fn svd_between(gram_a: &Matrix64, gram_b: &Matrix64) -> Singular {
    // A = Ua Sa Vaᵀ and B = Vb Sb Ubᵀ, so A B = Ua (Sa Vaᵀ Vb Sb) Ubᵀ, with Ua = A Va / Sa
    let (a, b) = (roots(gram_a), roots(gram_b));
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let data = a.iter().flat_map(|(s, v)| b.iter().map(move |(t, w)| s * dot(v, w) * t)).collect();
    let middle = svd(&Matrix64 { rows: a.len(), columns: b.len(), data });
    let mix = |weights: &Vec<f64>, of: &[(f64, Vec<f64>)]| -> Vec<f64> {
        let mut out = vec![0.0; of.first().map_or(0, |(_, vector)| vector.len())];
        for (weight, (value, vector)) in weights.iter().zip(of) {
            out.iter_mut().zip(vector).for_each(|(out, x)| *out += weight / value * x);
        }
        out
    };
    Singular {
        left: middle.left.iter().map(|weights| mix(weights, &a)).collect(),
        right: middle.right.iter().map(|weights| mix(weights, &b)).collect(),
        values: middle.values,
    }
}

/// The singular values of `A B` for a tall `A` and a wide `B`, without computing their product.
#[must_use]
pub fn factored_svd(a: &Matrix64, b: &Matrix64) -> Singular {
    let b = b.transposed();
    let Singular { values, left, right } = svd_between(&a.gram(), &b.gram());
    Singular {
        values,
        left: left.iter().map(|vector| a.apply(vector)).collect(),
        right: right.iter().map(|vector| b.apply(vector)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matrix(rows: usize, columns: usize) -> impl Strategy<Value = Matrix64> {
        prop::collection::vec(-2.0..2.0f64, rows * columns).prop_map(move |data| Matrix64 { rows, columns, data })
    }

    fn close(a: &[f64], b: &[f64]) {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }

    fn rebuilt(found: &Singular, rows: usize, columns: usize) -> Vec<f64> {
        let mut all = vec![0.0; rows * columns];
        for ((value, left), right) in found.values.iter().zip(&found.left).zip(&found.right) {
            for (i, x) in left.iter().enumerate() {
                right.iter().enumerate().for_each(|(j, y)| all[i * columns + j] += value * x * y);
            }
        }
        all
    }

    proptest! {
        #[test]
        fn singular_vectors_rebuild_the_product(a in matrix(7, 3), b in matrix(3, 5)) {
            let found = factored_svd(&a, &b);
            close(&rebuilt(&found, 7, 5), &a.times(&b).data);
            prop_assert!(found.values.is_sorted_by(|a, b| a >= b));
        }

        #[test]
        fn vectors_are_orthonormal(a in matrix(6, 4)) {
            let found = svd(&a);
            for (i, x) in found.right.iter().enumerate() {
                for (j, y) in found.right.iter().enumerate() {
                    let dot: f64 = x.iter().zip(y).map(|(x, y)| x * y).sum();
                    prop_assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-9);
                }
            }
        }

        #[test]
        fn norms_need_no_product(a in matrix(7, 3), m in matrix(3, 3), b in matrix(5, 3)) {
            let product = a.times(&m).times(&b.transposed());
            let norm = product.data.iter().map(|x| x * x).sum::<f64>().sqrt();
            prop_assert!((norm_between(&a.gram(), &m, &b.gram()) - norm).abs() < 1e-9);
        }
    }

    #[test]
    fn ranks_may_be_deficient() {
        let one = Matrix64 { rows: 3, columns: 2, data: vec![1.0, 2.0, 2.0, 4.0, 3.0, 6.0] };
        let found = svd(&one);
        assert_eq!(found.values.len(), 1);
        close(&rebuilt(&found, 3, 2), &one.data);
        assert!(svd(&Matrix64 { rows: 2, columns: 2, data: vec![0.0; 4] }).values.is_empty());
    }
}
