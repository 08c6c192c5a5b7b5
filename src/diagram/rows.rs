//! The rows of a block: one table for each way to draw it.

/// What a row contains. Parts beside each other share a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    Pre,
    /// The stream is tapped for attention; `hook_attn_in`.
    Trunk,
    Inputs,
    Ln1Top,
    Ln1Scale,
    Ln1Normalized,
    AttnTop,
    Qkv,
    QkvOp,
    Rot,
    RotOp,
    ScoresOp,
    Scores,
    PatternOp,
    Pattern,
    ZOp,
    Z,
    ResultOp,
    Result,
    AttnOutOp,
    AttnEnd,
    AttnOut,
    Mid,
    /// The stream is tapped for the MLP.
    Tap,
    MlpIn,
    Ln2Top,
    Ln2Scale,
    Ln2Normalized,
    MlpTop,
    MlpPreOp,
    MlpPre,
    MlpPostOp,
    MlpPost,
    MlpOutOp,
    MlpEnd,
    MlpOut,
    Post,
    Exit,
}

use Row as R;

/// A way to draw a block: its rows, and where extra rows are inserted first.
pub(super) struct Form {
    /// With the operations between the hooks, and frames around the modules.
    pub operations: bool,
    /// The MLP is below attention, in two rows, instead of on the right of the stream.
    pub strip: bool,
    rows: &'static [&'static [R]],
    /// The rows before which extra space is inserted, in this order.
    space: &'static [R],
}

/// The fewest rows that any form needs.
pub(super) const FEWEST: usize = 15;

impl Form {
    /// The first of the forms that fits.
    pub fn of(parallel: bool, rows: usize) -> &'static Self {
        let forms = if parallel { &PARALLEL[..] } else { &SEQUENTIAL[..] };
        forms.iter().find(|form| form.rows.len() <= rows).unwrap_or(&forms[forms.len() - 1])
    }

    /// The fewest rows that it needs.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The position of each row, and the number of rows: all that are given, as far as they help.
    pub fn place(&self, rows: usize) -> (Vec<(R, usize)>, usize) {
        let mut space = vec![0; self.rows.len()];
        let mut spare = rows.saturating_sub(self.rows.len());
        for row in self.space {
            if let Some(i) = self.rows.iter().position(|all| all.contains(row)).filter(|_| spare > 0) {
                (space[i], spare) = (space[i] + 1, spare - 1);
            }
        }
        let (mut at, mut y) = (Vec::new(), 0);
        for (all, space) in self.rows.iter().zip(space) {
            y += space;
            at.extend(all.iter().map(|row| (*row, y)));
            y += 1;
        }
        (at, y)
    }
}

const ATTENTION_SPACE: &[R] = &[
    R::ScoresOp,
    R::ZOp,
    R::PatternOp,
    R::ResultOp,
    R::RotOp,
    R::AttnOut,
    R::Ln1Top,
    R::AttnOutOp,
    R::Post,
    R::MlpOut,
    R::Mid,
    R::Exit,
    R::Inputs,
    R::Trunk,
];

const COLUMN_SPACE: &[R] = &[
    R::ScoresOp,
    R::ZOp,
    R::PatternOp,
    R::ResultOp,
    R::AttnOut,
    R::MlpPostOp,
    R::MlpOutOp,
    R::Post,
    R::Ln2Top,
    R::RotOp,
    R::Mid,
    R::Tap,
    R::MlpOut,
    R::Ln1Top,
    R::AttnOutOp,
    R::Exit,
    R::Inputs,
    R::Trunk,
];

const PARALLEL: [Form; 2] = [
    Form {
        operations: true,
        strip: false,
        rows: &[
            &[R::Pre],
            &[R::Trunk, R::Tap],
            &[R::Inputs, R::MlpIn],
            &[R::Ln1Top, R::Ln2Top],
            &[R::Ln1Scale, R::Ln2Scale],
            &[R::Ln1Normalized, R::Ln2Normalized],
            &[R::AttnTop, R::MlpTop],
            &[R::QkvOp, R::MlpPreOp],
            &[R::Qkv, R::MlpPre],
            &[R::RotOp],
            &[R::Rot],
            &[R::ScoresOp],
            &[R::Scores],
            &[R::PatternOp, R::MlpPostOp],
            &[R::Pattern, R::MlpPost],
            &[R::ZOp],
            &[R::Z],
            &[R::ResultOp, R::MlpOutOp],
            &[R::Result],
            &[R::AttnOutOp],
            &[R::AttnEnd, R::MlpEnd],
            &[R::AttnOut],
            &[R::Mid],
            &[R::MlpOut],
            &[R::Post],
            &[R::Exit],
        ],
        space: ATTENTION_SPACE,
    },
    Form {
        operations: false,
        strip: false,
        rows: &[
            &[R::Pre],
            &[R::Trunk, R::Tap],
            &[R::Inputs, R::MlpIn],
            &[R::Ln1Scale, R::Ln1Normalized, R::Ln2Scale],
            &[R::Qkv, R::Ln2Normalized],
            &[R::Rot, R::MlpPre],
            &[R::Scores, R::MlpPost],
            &[R::Pattern],
            &[R::Z],
            &[R::Result, R::AttnOut],
            &[R::Mid],
            &[R::MlpOut],
            &[R::Post],
            &[R::Exit],
        ],
        space: SHORT_SPACE,
    },
];

const SHORT_SPACE: &[R] =
    &[R::Post, R::Scores, R::AttnOut, R::Z, R::Inputs, R::Qkv, R::Rot, R::Pattern, R::Mid, R::MlpOut, R::Ln1Scale];

const SEQUENTIAL: [Form; 3] = [
    Form {
        operations: true,
        strip: false,
        rows: &[
            &[R::Pre],
            &[R::Trunk],
            &[R::Inputs],
            &[R::Ln1Top],
            &[R::Ln1Scale, R::Ln1Normalized],
            &[R::AttnTop],
            &[R::QkvOp],
            &[R::Qkv],
            &[R::RotOp],
            &[R::Rot],
            &[R::ScoresOp],
            &[R::Scores],
            &[R::PatternOp],
            &[R::Pattern],
            &[R::ZOp],
            &[R::Z],
            &[R::ResultOp],
            &[R::Result],
            &[R::AttnOutOp],
            &[R::AttnEnd],
            &[R::AttnOut],
            &[R::Mid],
            &[R::Tap],
            &[R::MlpIn],
            &[R::Ln2Top],
            &[R::Ln2Scale],
            &[R::Ln2Normalized],
            &[R::MlpTop],
            &[R::MlpPreOp],
            &[R::MlpPre],
            &[R::MlpPostOp],
            &[R::MlpPost],
            &[R::MlpOutOp],
            &[R::MlpEnd],
            &[R::MlpOut],
            &[R::Post],
            &[R::Exit],
        ],
        space: COLUMN_SPACE,
    },
    Form {
        operations: true,
        strip: true,
        rows: &[
            &[R::Pre],
            &[R::Trunk],
            &[R::Inputs],
            &[R::Ln1Top],
            &[R::Ln1Scale, R::Ln1Normalized],
            &[R::AttnTop],
            &[R::QkvOp],
            &[R::Qkv],
            &[R::RotOp],
            &[R::Rot],
            &[R::ScoresOp],
            &[R::Scores],
            &[R::PatternOp],
            &[R::Pattern],
            &[R::ZOp],
            &[R::Z],
            &[R::ResultOp],
            &[R::Result],
            &[R::AttnOutOp],
            &[R::AttnEnd],
            &[R::AttnOut],
            &[R::Mid],
            &[R::MlpIn, R::Ln2Scale],
            &[R::Ln2Normalized, R::MlpPre, R::MlpPost, R::MlpOut],
            &[R::Post],
            &[R::Exit],
        ],
        space: ATTENTION_SPACE,
    },
    Form {
        operations: false,
        strip: true,
        rows: &[
            &[R::Pre],
            &[R::Trunk],
            &[R::Inputs],
            &[R::Ln1Scale, R::Ln1Normalized],
            &[R::Qkv],
            &[R::Rot],
            &[R::Scores],
            &[R::Pattern],
            &[R::Z],
            &[R::Result, R::AttnOut],
            &[R::Mid],
            &[R::MlpIn, R::Ln2Scale],
            &[R::Ln2Normalized, R::MlpPre, R::MlpPost, R::MlpOut],
            &[R::Post],
            &[R::Exit],
        ],
        space: SHORT_SPACE,
    },
];
