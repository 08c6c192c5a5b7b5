//! The operations of edits: one row for each, which says how it is written, what it does and how it is computed.

use std::fmt;

use candle_core::Tensor;

use super::RunError;

/// Declares the operations from one list, so that nothing which goes through all of them forgets one.
macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident $(($number:ty))? $({ $($field:ident: $type:ty),* })?,)*) => {
        /// What an edit does to the values it selects.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Op {
            $($(#[$doc])* $name $(($number))? $({ $($field: $type),* })?,)*
        }

        /// An operation, without its numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operation {
            $($name),*
        }

        impl Operation {
            /// Every operation, in the order in which they are documented.
            pub const ALL: [Self; [$(Self::$name),*].len()] = [$(Self::$name),*];
        }

        impl Op {
            #[must_use]
            pub fn operation(self) -> Operation {
                match self {
                    $(Self::$name { .. } => Operation::$name),*
                }
            }
        }
    };
}

operations! {
    /// `= NUMBER`
    Set(f32),
    /// `*= NUMBER`
    Scale(f32),
    /// `+= NUMBER`
    Add(f32),
    /// `= mean`: each unit's mean over `pos` (over `query` for scores and patterns), of the values as they arrive.
    Mean,
    /// `= patch`: the contrast prompt's value at the same place.
    Patch,
    /// `= freeze`: the unedited run's value.
    Freeze,
    /// `+= noise SD [seed N]`: Gaussian with standard deviation SD.
    Noise { sd: f32, seed: u64 },
}

/// The facts of one operation.
pub(crate) struct Row {
    pub sign: &'static str,
    /// What follows the sign; none where that is a number.
    pub word: Option<&'static str>,
    pub takes: Takes,
    pub make: fn(Arguments) -> Op,
    /// A part of an activation that it suits, and numbers to begin with.
    pub example: (&'static str, Arguments),
    /// What it does, for the documentation.
    pub about: &'static str,
    /// Whether each value depends on that value alone, so that a run can resume at the first position that is edited.
    pub is_local: bool,
    /// Whether nothing of what was there before is left.
    pub overwrites: bool,
    /// The other run that it takes values from.
    pub needs: Option<Needs>,
    /// The new values of what is selected.
    pub compute: fn(&dyn Site, Arguments) -> Result<Tensor, RunError>,
    /// Why it may have changed nothing.
    pub unmoved: fn(Arguments) -> String,
    /// The same in Python, for a script that repeats a run: statements that set `new` from `name`, `x`, `at`, `number`, `seed`.
    pub python: &'static str,
}

/// What is written after the sign and the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    Number,
    /// A finite number that is not negative, and perhaps a seed.
    Deviation,
}

/// A run beside the one that is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The unedited run of the same prompt.
    Baseline,
    /// The unedited run of the contrast prompt.
    Contrast,
}

/// The numbers of an operation; 0 where it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Arguments {
    pub number: f32,
    pub seed: u64,
}

/// What an operation computes from: the selected part of one activation.
///
/// # Shapes
/// Every tensor: `[1, axes of the hook]`, as much of each as is selected.
pub(crate) trait Site {
    /// The values as they arrive.
    fn values(&self) -> &Tensor;
    /// Each selected unit's mean over all positions (queries, for scores and patterns).
    fn mean(&self) -> Result<Tensor, RunError>;
    /// The values of the unedited run.
    fn baseline(&self) -> Result<Tensor, RunError>;
    /// The values of the contrast run.
    fn contrast(&self) -> Result<Tensor, RunError>;
    /// Gaussian noise with standard deviation `sd`.
    fn noise(&self, sd: f32, seed: u64) -> Result<Tensor, RunError>;
}

impl Operation {
    #[allow(clippy::too_many_lines, reason = "a table")]
    pub(crate) fn row(self) -> Row {
        let with = |number, seed| Arguments { number, seed };
        match self {
            Self::Set => Row {
                sign: "=",
                word: None,
                takes: Takes::Number,
                make: |with| Op::Set(with.number),
                example: ("blocks.0.attn.hook_z[head=3]", with(0.0, 0)),
                about: "sets the values to a number; `inf` and `-inf` are numbers",
                is_local: true,
                overwrites: true,
                needs: None,
                compute: |site, with| {
                    let x = site.values();
                    Ok(Tensor::full(with.number, x.shape(), x.device())?.to_dtype(x.dtype())?)
                },
                unmoved: |with| format!("already {}", with.number),
                python: "new = torch.full_like(x[at], number)",
            },
            Self::Scale => Row {
                sign: "*=",
                word: None,
                takes: Takes::Number,
                make: |with| Op::Scale(with.number),
                example: ("blocks.*.attn.hook_z[head=0,2:4 pos=-1]", with(0.5, 0)),
                about: "multiplies them",
                is_local: true,
                overwrites: false,
                needs: None,
                compute: |site, with| Ok((site.values() * f64::from(with.number))?),
                unmoved: |with| match with.number {
                    1.0 => "a factor of 1".into(),
                    _ => "already 0 or infinite".into(),
                },
                python: "new = x[at] * number",
            },
            Self::Add => Row {
                sign: "+=",
                word: None,
                takes: Takes::Number,
                make: |with| Op::Add(with.number),
                example: ("blocks.3.hook_resid_post[pos=1 d_model=17]", with(1.0, 0)),
                about: "adds to them",
                is_local: true,
                overwrites: false,
                needs: None,
                compute: |site, with| Ok((site.values() + f64::from(with.number))?),
                unmoved: |with| match with.number {
                    0.0 => "an addend of 0".into(),
                    _ => TOO_LITTLE.into(),
                },
                python: "new = x[at] + number",
            },
            Self::Mean => Row {
                sign: "=",
                word: Some("mean"),
                takes: Takes::Nothing,
                make: |_| Op::Mean,
                example: ("blocks.2-4.hook_mlp_out", with(0.0, 0)),
                about: "replaces each unit by its mean over positions (over queries for scores and patterns)",
                is_local: false,
                overwrites: false,
                needs: None,
                compute: |site, _| site.mean(),
                unmoved: |_| "already the mean".into(),
                python: "over = 1 if name.endswith((\"hook_attn_scores\", \"hook_pattern\")) else 0\n\
                         new = x.mean(over, keepdim=True).expand_as(x)[at]",
            },
            Self::Patch => Row {
                sign: "=",
                word: Some("patch"),
                takes: Takes::Nothing,
                make: |_| Op::Patch,
                example: ("blocks.4.hook_resid_pre[pos=1]", with(0.0, 0)),
                about: "takes the contrast prompt's value at the same place (`--contrast`, or `P` in the explorer); \
                        negative positions count from the end of each prompt",
                is_local: true,
                overwrites: true,
                needs: Some(Needs::Contrast),
                compute: |site, _| site.contrast(),
                unmoved: |_| "the contrast prompt has the same values there".into(),
                python: "other = contrast[name][0].float()\nnew = other[places(other, there)]",
            },
            Self::Freeze => Row {
                sign: "=",
                word: Some("freeze"),
                takes: Takes::Nothing,
                make: |_| Op::Freeze,
                example: ("blocks.*.ln1.hook_scale", with(0.0, 0)),
                about: "keeps the value of the unedited run",
                is_local: true,
                overwrites: true,
                needs: Some(Needs::Baseline),
                compute: |site, _| site.baseline(),
                unmoved: |_| "already as without edits".into(),
                python: "new = unedited[name][0].float()[at]",
            },
            Self::Noise => Row {
                sign: "+=",
                word: Some("noise"),
                takes: Takes::Deviation,
                make: |with| Op::Noise { sd: with.number, seed: with.seed },
                example: ("blocks.2.hook_mlp_out", with(0.1, 1)),
                about: "adds reproducible Gaussian noise; the seed is 0 if none is given",
                is_local: true,
                overwrites: false,
                needs: None,
                compute: |site, with| Ok((site.values() + site.noise(with.number, with.seed)?)?),
                unmoved: |with| match with.number {
                    0.0 => "noise of SD 0".into(),
                    _ => TOO_LITTLE.into(),
                },
                python: "new = x[at] + (noise(name, seed, x.shape)[at] * number).float()",
            },
        }
    }

    /// How it is written: `+= noise SD [seed N]`.
    pub(crate) fn syntax(self) -> String {
        let row = self.row();
        let takes = match row.takes {
            Takes::Nothing => None,
            Takes::Number => Some("NUMBER"),
            Takes::Deviation => Some("SD [seed N]"),
        };
        [Some(row.sign), row.word, takes].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// What the script that repeats a run calls it.
    pub(crate) fn key(self) -> &'static str {
        let row = self.row();
        row.word.unwrap_or(row.sign)
    }

    /// The operation with numbers to begin with.
    pub(crate) fn usual(self) -> Op {
        let row = self.row();
        (row.make)(row.example.1)
    }
}

const TOO_LITTLE: &str = "too little to move these values";

impl Op {
    pub(crate) fn row(self) -> Row {
        self.operation().row()
    }

    pub(crate) fn arguments(self) -> Arguments {
        match self {
            Self::Set(number) | Self::Scale(number) | Self::Add(number) => Arguments { number, seed: 0 },
            Self::Mean | Self::Patch | Self::Freeze => Arguments::default(),
            Self::Noise { sd, seed } => Arguments { number: sd, seed },
        }
    }

    /// The other run that it takes values from.
    #[must_use]
    pub fn needs(self) -> Option<Needs> {
        self.row().needs
    }

    /// Whether nothing of what was there before is left.
    #[must_use]
    pub fn overwrites(self) -> bool {
        self.row().overwrites
    }

    /// Why it changed nothing where it did not.
    #[must_use]
    pub fn unmoved(self) -> String {
        (self.row().unmoved)(self.arguments())
    }

    /// Its number moved a step: a tenth, or as much as suits a number that is far smaller or larger.
    #[must_use]
    pub fn slid(self, up: bool) -> Self {
        let (row, with) = (self.row(), self.arguments());
        let number = match row.takes {
            Takes::Nothing => return self,
            Takes::Number => slid(with.number, up),
            Takes::Deviation => slid(with.number, up).max(0.0),
        };
        (row.make)(Arguments { number, ..with })
    }
}

fn slid(x: f32, up: bool) -> f32 {
    let size = f64::from(x.abs()).log10().floor();
    let step = match size {
        size if size >= 2.0 => 10f64.powf(size - 1.0),
        size if size < -1.0 && size.is_finite() => 10f64.powf(size),
        _ => 0.1,
    };
    // to a thousandth of a step, so that it returns to where it was
    let units = ((f64::from(x) + if up { step } else { -step }) / step * 1000.0).round();
    #[allow(clippy::cast_possible_truncation, reason = "numbers of edits are f32")]
    let moved = (units / 1000.0 * step).clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
    // an infinite number stays
    if x.is_finite() { moved } else { x }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (row, Arguments { number, seed }) = (self.row(), self.arguments());
        f.write_str(row.sign)?;
        if let Some(word) = row.word {
            write!(f, " {word}")?;
        }
        match (row.takes, seed) {
            (Takes::Nothing, _) => Ok(()),
            (Takes::Number, _) | (Takes::Deviation, 0) => write!(f, " {number}"),
            (Takes::Deviation, _) => write!(f, " {number} seed {seed}"),
        }
    }
}

/// The operations as a table of the documentation.
#[must_use]
pub fn operation_table() -> String {
    let row = |operation: &Operation| format!("| `{}` | {} |\n", operation.syntax(), operation.row().about);
    "| operation | what it does |\n|---|---|\n".to_string() + &Operation::ALL.iter().map(row).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::Edit;

    #[test]
    fn every_operation_reads_back_as_it_is_written() {
        for operation in Operation::ALL {
            let op = operation.usual();
            assert_eq!((op.operation(), op.to_string().parse()), (operation, Ok(op)));
            assert_eq!((operation.row().make)(op.arguments()), op);
            let with = [op.slid(true), op.slid(false)];
            assert_eq!(with.map(|op| op.to_string().parse()), with.map(Ok), "{op}");
        }
    }

    #[test]
    fn the_documentation_has_every_operation() {
        let page = include_str!("../../docs/edits.md");
        let table = operation_table() + "\n";
        assert!(page.contains(&table), "the table in docs/edits.md should be:\n{table}");
        for operation in Operation::ALL {
            let line = format!("{} {}", operation.row().example.0, operation.usual());
            assert_eq!(line.parse::<Edit>().unwrap().to_string(), line);
            assert!(page.contains(&format!("\n    {line}\n")), "docs/edits.md should show the example:\n    {line}");
        }
    }

    #[test]
    fn numbers_slide_by_what_suits_them_and_come_back() {
        let up = |x: f32| Op::Set(x).slid(true);
        let down = |op: Op| op.slid(false);
        for x in [0.5, 1.04, -2.0, 0.05, 0.003, 250.0, 7e20] {
            assert_ne!(up(x), Op::Set(x), "{x}");
            assert_eq!(down(up(x)), Op::Set(x), "{x}");
        }
        assert_eq!([up(0.0), up(0.3), up(0.05), up(250.0)], [0.1, 0.4, 0.06, 260.0].map(Op::Set));
        assert_eq!(up(f32::MAX), Op::Set(f32::MAX));
        assert_eq!(up(f32::NEG_INFINITY), Op::Set(f32::NEG_INFINITY));
        assert_eq!(Op::Noise { sd: 0.1, seed: 3 }.slid(false), Op::Noise { sd: 0.0, seed: 3 });
        assert_eq!(Op::Mean.slid(true), Op::Mean);
    }
}
