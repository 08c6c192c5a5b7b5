/// How much of a head's attention goes where three known kinds of head send it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HeadScores {
    /// To the position before.
    pub previous_token: f64,
    /// To earlier occurrences of the same token.
    pub duplicate_token: f64,
    /// To the token after an earlier occurrence of the same token (Olsson et al., "In-context Learning and Induction
    /// Heads", 2022).
    pub induction: f64,
    /// To the first position.
    pub first_token: f64,
    /// Mean entropy of a query's attention, in nats.
    pub entropy: f64,
}

/// Scores of one head. The first three are TransformerLens's `head_detector.detect_head` with
/// `error_measure="mul"`: the share of all attention that falls on the detection pattern. A query without attention (an
/// edit can make one) has entropy 0; a head without any has shares of 0. Where the attention is not finite, all are NaN.
///
/// # Shapes
/// `pattern`: `[query, key]`, row-major; `tokens`: `[pos]`.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "a number of positions")]
pub fn head_scores(pattern: &[f32], tokens: &[u32]) -> HeadScores {
    let n = tokens.len();
    let mut scores = HeadScores::default();
    let mut total = 0.0;
    for (query, row) in pattern.chunks(n.max(1)).enumerate() {
        for (key, &attention) in row.iter().enumerate() {
            let attention = f64::from(attention);
            total += attention;
            if key == 0 {
                scores.first_token += attention;
            }
            if attention > 0.0 {
                scores.entropy -= attention * attention.ln();
            }
            if key + 1 == query {
                scores.previous_token += attention;
            }
            if key < query && tokens[key] == tokens[query] {
                scores.duplicate_token += attention;
            }
            if key > 0 && key <= query && key - 1 < query && tokens[key - 1] == tokens[query] {
                scores.induction += attention;
            }
        }
    }
    if !total.is_finite() {
        let nan = f64::NAN;
        return HeadScores {
            previous_token: nan,
            duplicate_token: nan,
            induction: nan,
            first_token: nan,
            entropy: nan,
        };
    }
    if total != 0.0 {
        scores.previous_token /= total;
        scores.duplicate_token /= total;
        scores.induction /= total;
        scores.first_token /= total;
        scores.entropy /= n as f64;
    }
    scores
}
