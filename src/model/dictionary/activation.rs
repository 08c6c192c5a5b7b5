/// The function from the encoder's output to features.
#[derive(Clone, Debug, PartialEq)]
pub enum Activation {
    Relu,
    /// The k largest values; negative ones become 0 (Gao et al., 2024).
    TopK(usize),
    /// Values above the feature's own threshold, and above 0 (Rajamanoharan et al., 2024b).
    JumpRelu(Vec<f32>),
    /// Values above one threshold: `BatchTopK` (Bussmann et al., 2024) at inference, position by position.
    Threshold(f32),
    /// `ReLU(x exp(scale) + magnitude)` where `x + gate` is above 0 (Rajamanoharan et al., 2024a).
    Gated {
        gate: Vec<f32>,
        scale: Vec<f32>,
        magnitude: Vec<f32>,
    },
}

impl Activation {
    /// The features that are not 0, by number, of one position's `[d_sae]`.
    pub(super) fn active(&self, row: &[f32]) -> Vec<(u32, f32)> {
        match self {
            Self::Relu => above(row, 0.0),
            Self::Threshold(threshold) => above(row, threshold.max(0.0)),
            Self::JumpRelu(thresholds) => kept(row, |at, x| if x > thresholds[at] || x.is_nan() { x } else { 0.0 }),
            Self::Gated { gate, scale, magnitude } => kept(row, |at, x| match x + gate[at] > 0.0 || x.is_nan() {
                true => x * scale[at].exp() + magnitude[at],
                false => 0.0,
            }),
            Self::TopK(k) => largest(row, *k),
        }
    }
}

fn numbered((at, x): (usize, f32)) -> (u32, f32) {
    (u32::try_from(at).unwrap_or(u32::MAX), x)
}

/// What is above 0 of a function of number and value.
fn kept(row: &[f32], value: impl Fn(usize, f32) -> f32) -> Vec<(u32, f32)> {
    let all = row.iter().enumerate().map(|(at, x)| (at, value(at, *x)));
    all.filter(|(_, x)| *x > 0.0 || x.is_nan()).map(numbered).collect()
}

/// Values compared at once; most of them hold nothing that is kept.
const CHUNK: usize = 32;

/// Do `work` on the chunks of a row that hold something above the bound that it returned last, at first `bound`, with the number
/// of their first value.
fn chunks_above(row: &[f32], mut bound: f32, mut work: impl FnMut(usize, &[f32]) -> f32) {
    for (number, chunk) in row.chunks(CHUNK).enumerate() {
        #[allow(clippy::needless_bitwise_bool, reason = "without branches, so that it is done in vector registers")]
        let any = chunk.iter().fold(false, |any, x| any | (*x > bound) | x.is_nan());
        if any {
            bound = work(number * CHUNK, chunk);
        }
    }
}

/// The values above a bound.
fn above(row: &[f32], bound: f32) -> Vec<(u32, f32)> {
    let mut found = Vec::new();
    chunks_above(row, bound, |first, chunk| {
        let all = chunk.iter().enumerate().map(|(at, x)| (first + at, *x));
        found.extend(all.filter(|(_, x)| *x > bound || x.is_nan()).map(numbered));
        bound
    });
    found
}

/// The k largest values that are above 0; of equal ones the first.
fn largest(row: &[f32], k: usize) -> Vec<(u32, f32)> {
    let largest_first = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    let cut = |found: &mut Vec<(u32, f32)>| match k.checked_sub(1) {
        Some(last) if found.len() > k => {
            let least = found.select_nth_unstable_by(last, largest_first).1.1;
            found.truncate(k);
            least
        }
        Some(_) => 0.0,
        None => f32::INFINITY,
    };
    let (mut found, mut bound) = (Vec::with_capacity(2 * k + CHUNK), 0.0);
    chunks_above(row, bound, |first, chunk| {
        let all = chunk.iter().enumerate().map(|(at, x)| (first + at, *x));
        found.extend(all.filter(|(_, x)| *x > bound || x.is_nan()).map(numbered));
        // what is not above the k-th of what was seen can't be among the k largest
        if found.len() > 2 * k {
            bound = cut(&mut found);
        }
        bound
    });
    cut(&mut found);
    found.sort_unstable_by_key(|(at, _)| *at);
    found
}

impl Activation {
    /// The derivative of a feature that is not 0 with respect to the encoder's output.
    pub(super) fn slope(&self, feature: usize) -> f32 {
        match self {
            Self::Relu | Self::TopK(_) | Self::JumpRelu(_) | Self::Threshold(_) => 1.0,
            Self::Gated { scale, .. } => scale[feature].exp(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_activation_keeps_what_its_paper_says() {
        let row = [0.5, -1.0, 2.0, 0.1, 0.0, 1.5];
        let kept = |activation: &Activation| activation.active(&row);
        assert_eq!(kept(&Activation::Relu), [(0, 0.5), (2, 2.0), (3, 0.1), (5, 1.5)]);
        assert_eq!(kept(&Activation::TopK(2)), [(2, 2.0), (5, 1.5)]);
        assert_eq!(kept(&Activation::TopK(6)), kept(&Activation::Relu), "what is below 0 becomes 0");
        assert_eq!(kept(&Activation::Threshold(0.5)), [(2, 2.0), (5, 1.5)], "at the threshold is not above it");
        assert_eq!(kept(&Activation::Threshold(-1.0)), kept(&Activation::Relu));
        let thresholds = vec![0.4, 0.0, 3.0, 0.1, 0.0, 0.0];
        assert_eq!(kept(&Activation::JumpRelu(thresholds)), [(0, 0.5), (5, 1.5)]);
        let gated = Activation::Gated {
            gate: vec![-0.2; 6],
            scale: vec![0.0; 6],
            magnitude: vec![0.0, 9.0, 0.0, 9.0, 9.0, -9.0],
        };
        assert_eq!(kept(&gated), [(0, 0.5), (2, 2.0)]);
    }

    #[test]
    fn equal_values_are_taken_in_order_and_nan_is_not_lost() {
        assert_eq!(Activation::TopK(2).active(&[1.0, 1.0, 1.0]), [(0, 1.0), (1, 1.0)]);
        let found = Activation::TopK(1).active(&[1.0, f32::NAN]);
        assert!(found.len() == 1 && found[0].1.is_nan());
        assert_eq!(Activation::Relu.active(&[f32::NAN, 1.0]).len(), 2);
    }

    #[test]
    fn the_largest_are_those_of_a_sorted_row() {
        let mut state = 7u32;
        for (n, k, kinds) in [(1000, 1, 997), (1000, 32, 997), (1000, 300, 50), (33, 40, 5), (64, 3, 1)] {
            let next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // equal values, too
                f32::from(u16::try_from((state >> 16) % kinds).unwrap()) - f32::from(u16::try_from(kinds / 3).unwrap())
            };
            let row: Vec<f32> = std::iter::repeat_with(next).take(n).collect();
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|a, b| row[*b].total_cmp(&row[*a]).then(a.cmp(b)));
            let mut expected: Vec<usize> = order.into_iter().take(k).filter(|at| row[*at] > 0.0).collect();
            expected.sort_unstable();
            let found: Vec<usize> = Activation::TopK(k).active(&row).iter().map(|(at, _)| *at as usize).collect();
            assert_eq!(found, expected, "{n}, {k}, {kinds}");
        }
    }
}
