/// Summary statistics of an activation. Moments and norm are over the finite values, NaN if there are none.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    pub count: usize,
    pub mean: f64,
    /// Population standard deviation.
    pub std: f64,
    /// Smallest finite value and its flat index.
    pub min: Option<(f32, usize)>,
    /// Largest finite value and its flat index.
    pub max: Option<(f32, usize)>,
    /// L2 norm.
    pub l2: f64,
    pub zeros: usize,
    pub nan: usize,
    pub infinite: usize,
    /// Counts of finite values in bins of equal width from `min` to `max`.
    pub histogram: Vec<usize>,
}

/// Statistics of `values`, row-major, with a histogram of `bins` bins.
#[must_use]
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and bin numbers"
)]
pub fn stats(values: &[f32], bins: usize) -> Stats {
    let mut s = Stats {
        count: values.len(),
        mean: f64::NAN,
        std: f64::NAN,
        min: None,
        max: None,
        l2: f64::NAN,
        zeros: 0,
        nan: 0,
        infinite: 0,
        histogram: vec![0; bins],
    };
    let (mut sum, mut squares) = (0.0f64, 0.0f64);
    for (i, &x) in values.iter().enumerate() {
        if x.is_nan() {
            s.nan += 1;
        } else if x.is_infinite() {
            s.infinite += 1;
        } else {
            sum += f64::from(x);
            squares += f64::from(x).powi(2);
            s.zeros += usize::from(x == 0.0);
            if s.min.is_none_or(|(min, _)| x < min) {
                s.min = Some((x, i));
            }
            if s.max.is_none_or(|(max, _)| x > max) {
                s.max = Some((x, i));
            }
        }
    }
    let finite = values.len() - s.nan - s.infinite;
    let (Some((min, _)), Some((max, _))) = (s.min, s.max) else {
        return s;
    };
    s.mean = sum / finite as f64;
    s.l2 = squares.sqrt();
    let variance: f64 = values.iter().filter(|x| x.is_finite()).map(|x| (f64::from(*x) - s.mean).powi(2)).sum();
    s.std = (variance / finite as f64).sqrt();
    let width = f64::from(max) - f64::from(min);
    for x in values.iter().filter(|x| x.is_finite()) {
        let share = if width > 0.0 { (f64::from(*x) - f64::from(min)) / width } else { 0.5 };
        if let Some(bin) = s.histogram.get_mut(((share * bins as f64) as usize).min(bins.saturating_sub(1))) {
            *bin += 1;
        }
    }
    s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_skip_non_finite_values() {
        let s = stats(&[1.0, f32::NEG_INFINITY, 3.0, f32::NAN, 0.0, 4.0], 4);
        assert_eq!((s.count, s.nan, s.infinite, s.zeros), (6, 1, 1, 1));
        assert_eq!((s.min, s.max), (Some((0.0, 4)), Some((4.0, 5))));
        assert!((s.mean - 2.0).abs() < 1e-12 && (s.std - 2.5f64.sqrt()).abs() < 1e-12);
        assert!((s.l2 - 26f64.sqrt()).abs() < 1e-12);
        assert_eq!(s.histogram, [1, 1, 0, 2]);
    }

    #[test]
    fn constant_and_empty_activations_work() {
        assert_eq!(stats(&[2.0; 3], 3).histogram, [0, 3, 0]);
        assert_eq!(stats(&[], 3).min, None);
        let none = stats(&[f32::NAN, f32::INFINITY], 3);
        assert_eq!(none.max, None);
        assert!([none.mean, none.std, none.l2].iter().all(|x| x.is_nan()));
    }
}
