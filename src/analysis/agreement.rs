use super::Change;

/// How far the values of another program are from ours.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    /// The largest difference: 0 for equal values, infinities included; infinite where only one side is, NaN where one is NaN.
    pub absolute: f64,
    /// The flat index of that difference.
    pub at: usize,
    /// Our largest finite value.
    pub scale: f64,
    /// Squared differences and norms.
    pub change: Change,
}

impl Agreement {
    /// Compare values of the same length.
    #[must_use]
    #[allow(clippy::float_cmp, reason = "equal infinities agree")]
    pub fn between(ours: &[f32], theirs: &[f32]) -> Self {
        let mut found = Self { change: Change::between(ours, theirs), ..Self::default() };
        for (at, (a, b)) in ours.iter().zip(theirs).enumerate() {
            if a.is_finite() {
                found.scale = found.scale.max(f64::from(a.abs()));
            }
            let apart = if a == b { 0.0 } else { (f64::from(*a) - f64::from(*b)).abs() };
            // nothing is further apart than NaN
            if !found.absolute.is_nan() && (apart > found.absolute || apart.is_nan()) {
                (found.absolute, found.at) = (apart, at);
            }
        }
        found
    }

    /// The largest difference as a share of our largest value.
    #[must_use]
    pub fn relative(&self) -> f64 {
        if self.absolute == 0.0 { 0.0 } else { self.absolute / self.scale }
    }

    /// Whether the largest difference is at most this share of our largest value.
    #[must_use]
    pub fn within(&self, tolerance: f64) -> bool {
        self.relative() <= tolerance
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "exact by construction")]
mod tests {
    use super::*;

    #[test]
    fn the_largest_difference_is_found_with_its_place() {
        let inf = f32::NEG_INFINITY;
        let found = Agreement::between(&[1.0, inf, -4.0, 2.0], &[1.0, inf, -4.5, 2.25]);
        assert_eq!((found.absolute, found.at, found.scale, found.relative()), (0.5, 2, 4.0, 0.125));
        assert!(found.within(0.125) && !found.within(0.124));
        let same = Agreement::between(&[0.0; 3], &[0.0; 3]);
        assert_eq!((same.relative(), same.within(0.0)), (0.0, true));
    }

    #[test]
    fn what_is_infinite_or_nan_on_one_side_never_agrees() {
        for (ours, theirs) in
            [(f32::INFINITY, 1.0), (1.0, f32::NEG_INFINITY), (f32::NAN, 1.0), (1.0, f32::NAN), (0.0, 1.0)]
        {
            let found = Agreement::between(&[0.0, ours, 0.0], &[9.0, theirs, 9.0]);
            assert!(!found.within(1e9), "{ours} {theirs}");
        }
        assert_eq!(Agreement::between(&[1.0, 1.0, 1.0], &[5.0, f32::NAN, 9.0]).at, 1);
    }
}
