/// How an activation is normalised before it is encoded; the reconstruction is scaled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Normalisation {
    None,
    /// Subtract the mean, and divide by the standard deviation with Bessel's correction.
    LayerNorm,
    /// Scale to the norm `√d_in`.
    ConstantNorm,
}

/// The mean and the scale that were removed at one position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Statistics {
    mean: f32,
    pub(super) scale: f32,
}

/// What `SAELens` and MLSAE add to the standard deviation.
const EPSILON: f64 = 1e-5;

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "sums are kept in f64, results in f32")]
impl Normalisation {
    pub(super) fn apply(self, row: &mut [f32]) -> Statistics {
        let n = row.len() as f64;
        match self {
            Self::None => Statistics { mean: 0.0, scale: 1.0 },
            Self::LayerNorm => {
                let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
                let square = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>();
                let deviation = (square / (n - 1.0)).sqrt();
                for x in row {
                    *x = ((f64::from(*x) - mean) / (deviation + EPSILON)) as f32;
                }
                Statistics { mean: mean as f32, scale: deviation as f32 }
            }
            Self::ConstantNorm => {
                let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                for x in row {
                    *x = (f64::from(*x) * (n.sqrt() / norm)) as f32;
                }
                Statistics { mean: 0.0, scale: (norm / n.sqrt()) as f32 }
            }
        }
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "as above")]
impl Normalisation {
    pub(super) fn is_some(self) -> bool {
        self != Self::None
    }

    /// From the gradient with respect to the normalised row to the one with respect to the row itself, in place. `of_scale` is
    /// the gradient with respect to its scale.
    pub(super) fn backward(self, row: &[f32], gradient: &mut [f32], of_scale: f64) {
        let n = row.len() as f64;
        match self {
            Self::None => {}
            Self::LayerNorm => {
                let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
                let deviation = (row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
                let divisor = deviation + EPSILON;
                let centre = gradient.iter().map(|g| f64::from(*g)).sum::<f64>() / n;
                let along: f64 = row.iter().zip(&*gradient).map(|(x, g)| (f64::from(*x) - mean) * f64::from(*g)).sum();
                let of_deviation = of_scale - along / divisor.powi(2);
                for (g, x) in gradient.iter_mut().zip(row) {
                    let slope = (f64::from(*x) - mean) / ((n - 1.0) * deviation);
                    *g = ((f64::from(*g) - centre) / divisor + of_deviation * slope) as f32;
                }
            }
            Self::ConstantNorm => {
                let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                let along: f64 = row.iter().zip(&*gradient).map(|(x, g)| f64::from(*x) * f64::from(*g)).sum();
                for (g, x) in gradient.iter_mut().zip(row) {
                    let x = f64::from(*x);
                    let through = n.sqrt() / norm * (f64::from(*g) - x * along / norm.powi(2));
                    *g = (through + of_scale * x / (norm * n.sqrt())) as f32;
                }
            }
        }
    }
}

impl Statistics {
    pub(super) fn restore(self, row: &mut [f32]) {
        if self != (Self { mean: 0.0, scale: 1.0 }) {
            for x in row {
                *x = *x * self.scale + self.mean;
            }
        }
    }
}
