//! Scores of attention heads: a table with one row for each, which says what it measures and how.

use std::ops::Range;

/// Declares the scores from one list, so that whatever goes through all of them is complete.
macro_rules! scores {
    ($($(#[$doc:meta])* $score:ident $field:ident,)*) => {
        /// How much of a head's attention follows each of the known patterns.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct HeadScores {
            $($(#[$doc])* pub $field: f64),*
        }

        /// One of the scores of a head.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Score {
            $($(#[$doc])* $score),*
        }

        impl Score {
            /// Every score, in the order in which they are shown.
            pub const ALL: [Self; [$(Self::$score),*].len()] = [$(Self::$score),*];

            /// Its value among a head's scores.
            #[must_use]
            pub fn of(self, scores: &HeadScores) -> f64 {
                match self {
                    $(Self::$score => scores.$field),*
                }
            }
        }

        impl HeadScores {
            /// The scores that have these values.
            #[must_use]
            pub fn each(value: impl Fn(Score) -> f64) -> Self {
                Self { $($field: value(Score::$score)),* }
            }
        }
    };
}

scores! {
    /// To the position before.
    PreviousToken previous_token,
    /// To the token after an earlier occurrence of the same token.
    Induction induction,
    /// To earlier occurrences of the same token.
    DuplicateToken duplicate_token,
    /// To the first position.
    FirstToken first_token,
    /// Mean entropy of a query's attention, in nats.
    Entropy entropy,
}

/// The facts of one score.
struct Row {
    /// Its name in files.
    name: &'static str,
    title: &'static str,
    unit: ScoreUnit,
    /// What it measures, for the documentation.
    about: &'static str,
    /// In the field's notation: A is the pattern, q and k count queries and keys, t is the tokens.
    formula: &'static str,
    source: Option<&'static str>,
    /// The numerator: a sum over the pattern, which the unit divides.
    sum: fn(&Attention<'_>) -> f64,
}

/// The unit of a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreUnit {
    /// A share of all the head's attention, from 0 to 1.
    Share,
    /// A mean over the queries, in nats; from 0.
    Nats,
}

impl Score {
    fn row(self) -> Row {
        match self {
            Self::PreviousToken => Row {
                name: "previous-token",
                title: "previous token",
                unit: ScoreUnit::Share,
                about: "attention to the position before",
                formula: "Σ A[q, q−1] / Σ A",
                source: Some("TransformerLens's `head_detector`"),
                sum: |attention| attention.on(|query| query.saturating_sub(1)..query, |_, _| true),
            },
            Self::Induction => Row {
                name: "induction",
                title: "induction",
                unit: ScoreUnit::Share,
                about: "attention to the token after an earlier occurrence of the same token",
                formula: "Σ A[q, k] / Σ A over 0 < k ≤ q with t[k−1] = t[q]",
                source: Some("TransformerLens's `head_detector`; Olsson et al., 2022"),
                sum: |attention| attention.on(|query| 1..query + 1, |query, key| attention.same(query, key - 1)),
            },
            Self::DuplicateToken => Row {
                name: "duplicate-token",
                title: "duplicate token",
                unit: ScoreUnit::Share,
                about: "attention to earlier occurrences of the same token",
                formula: "Σ A[q, k] / Σ A over k < q with t[k] = t[q]",
                source: Some("TransformerLens's `head_detector`"),
                sum: |attention| attention.on(|query| 0..query, |query, key| attention.same(query, key)),
            },
            Self::FirstToken => Row {
                name: "first-token",
                title: "first token",
                unit: ScoreUnit::Share,
                about: "attention to the first position",
                formula: "Σ A[q, 0] / Σ A",
                source: None,
                sum: |attention| attention.on(|_| 0..1, |_, _| true),
            },
            Self::Entropy => Row {
                name: "entropy",
                title: "entropy (nats)",
                unit: ScoreUnit::Nats,
                about: "mean entropy of a query's attention, in nats",
                formula: "−Σ A ln A / number of queries",
                source: None,
                sum: |attention| attention.sum(|a| if a > 0.0 { -(a * a.ln()) } else { 0.0 }),
            },
        }
    }

    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    #[must_use]
    pub fn title(self) -> &'static str {
        self.row().title
    }

    #[must_use]
    pub fn unit(self) -> ScoreUnit {
        self.row().unit
    }
}

/// The table of scores for the documentation, in Markdown.
#[must_use]
pub fn score_table() -> String {
    let row = |score: &Score| {
        let Row { title, about, formula, source, .. } = score.row();
        format!("| {title} | {about} | {formula} | {} |\n", source.unwrap_or("this program"))
    };
    "| score | what it measures | formula | source |\n|---|---|---|---|\n".to_string()
        + &Score::ALL.iter().map(row).collect::<String>()
}

/// The attention pattern of a head.
struct Attention<'a> {
    pattern: &'a [f32],
    tokens: &'a [u32],
}

impl Attention<'_> {
    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.pattern.chunks(self.tokens.len().max(1))
    }

    /// The sum of `term` over all of the pattern.
    fn sum(&self, term: impl Fn(f64) -> f64) -> f64 {
        self.rows().flatten().fold(0.0, |sum, a| sum + term(f64::from(*a)))
    }

    /// The attention of each query to those of its `keys` that count.
    fn on(&self, keys: impl Fn(usize) -> Range<usize>, counts: impl Fn(usize, usize) -> bool) -> f64 {
        let mut sum = 0.0;
        for (query, row) in self.rows().enumerate() {
            let keys = keys(query);
            for (key, a) in row.iter().enumerate().take(keys.end).skip(keys.start) {
                if counts(query, key) {
                    sum += f64::from(*a);
                }
            }
        }
        sum
    }

    fn same(&self, a: usize, b: usize) -> bool {
        self.tokens[a] == self.tokens[b]
    }
}

/// The scores of one head. Shares are those of TransformerLens's `head_detector.detect_head` with
/// `error_measure="mul"`: the fraction of all attention that falls on the detection pattern. A query without attention
/// (an edit can cause this) has entropy 0; a head without any has shares of 0. If the attention is not finite, all
/// scores are NaN.
///
/// # Shapes
/// `pattern`: `[query, key]`, row-major; `tokens`: `[pos]`.
#[must_use]
pub fn head_scores(pattern: &[f32], tokens: &[u32]) -> HeadScores {
    let attention = Attention { pattern, tokens };
    let total = attention.sum(|a| a);
    HeadScores::each(|score| score.with(&attention, total))
}

impl Score {
    /// This score of one head; see [`head_scores`].
    ///
    /// # Shapes
    /// `pattern`: `[query, key]`, row-major; `tokens`: `[pos]`.
    #[must_use]
    pub fn of_pattern(self, pattern: &[f32], tokens: &[u32]) -> f64 {
        let attention = Attention { pattern, tokens };
        self.with(&attention, attention.sum(|a| a))
    }

    /// Of a head whose attention sums to `total`.
    #[allow(clippy::cast_precision_loss, reason = "a number of positions")]
    fn with(self, attention: &Attention<'_>, total: f64) -> f64 {
        if !total.is_finite() {
            return f64::NAN;
        }
        let row = self.row();
        let sum = (row.sum)(attention);
        match row.unit {
            _ if total == 0.0 => sum,
            ScoreUnit::Share => sum / total,
            ScoreUnit::Nats => sum / attention.tokens.len() as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_every_score() {
        let page = include_str!("../../docs/guide.md");
        let table = score_table();
        assert!(page.contains(&table), "the table in docs/guide.md should be:\n{table}");
    }

    #[test]
    fn each_score_sums_its_own_cells() {
        // two tokens, twice: query 2 is token 1 again, query 3 token 2
        let tokens = [1, 2, 1, 2];
        let at = |query: usize, key: usize| {
            let mut pattern = [0.0; 16];
            pattern[query * 4 + key] = 0.5;
            let scores = head_scores(&pattern, &tokens);
            Score::ALL.into_iter().filter(|s| s.unit() == ScoreUnit::Share && s.of(&scores) > 0.0).collect::<Vec<_>>()
        };
        assert_eq!(at(2, 1), [Score::PreviousToken, Score::Induction]);
        assert_eq!(at(2, 0), [Score::DuplicateToken, Score::FirstToken]);
        assert_eq!(at(3, 2), [Score::PreviousToken, Score::Induction]);
        assert_eq!(at(1, 0), [Score::PreviousToken, Score::FirstToken]);
        assert_eq!(at(3, 3), []);
        let half = head_scores(&[1.0, 0.0, 0.5, 0.5], &tokens[..2]);
        assert!((half.entropy - 0.5f64.ln() / -2.0).abs() < 1e-12);
    }
}
