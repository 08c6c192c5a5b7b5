//! The operations of edits: one row for each, which defines its syntax, description and computation.

use candle_core::Tensor;

use super::{
    RunError,
    op_facts::{Arguments, Needs, Passes, Site, Takes},
    vector::{VectorName, Vectors},
};

/// Declares the operations from one list, so that whatever goes through all of them is complete.
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
    /// `+= A * NAME`: a vector, times a number.
    Steer { amount: f32, vector: VectorName },
    /// `-= proj NAME`: without the part along a vector (directional ablation; Arditi et al., "Refusal in Language Models Is
    /// Mediated by a Single Direction", 2024).
    Project(VectorName),
    /// `= mean@corpus`: each unit's mean over all positions of all prompts of a corpus, unedited.
    CorpusMean,
    /// `= resample [seed N]`: the unedited value at the same place in another prompt of the corpus that is as long.
    Resample { seed: u64 },
}

/// The facts of one operation.
pub(crate) struct Row {
    pub sign: &'static str,
    /// The word after the sign; None if a number follows.
    pub word: Option<&'static str>,
    pub takes: Takes,
    pub make: fn(Arguments) -> Op,
    /// A part of an activation to use it on, and default numbers.
    pub example: (&'static str, Arguments),
    /// What it does, for the documentation.
    pub about: &'static str,
    /// Whether each value depends on that value alone, so that a run can resume at the first position that is edited.
    pub is_local: bool,
    /// Whether nothing of the previous values remains.
    pub overwrites: bool,
    /// The other run that it takes values from.
    pub needs: Option<Needs>,
    /// How the gradient with respect to the new values maps to the old ones.
    pub passes: Passes,
    /// The new values of what is selected.
    pub compute: fn(&dyn Site, Arguments) -> Result<Tensor, RunError>,
    /// Why it can leave values unchanged.
    pub unmoved: fn(Arguments) -> String,
    /// The same in Python, for a script that repeats a run: statements that set `new` from `name`, `x`, `at`, `number`,
    /// `seed`.
    pub python: &'static str,
}

impl Operation {
    #[allow(clippy::too_many_lines, reason = "a table")]
    pub(crate) fn row(self) -> Row {
        let with = |number, seed| Arguments { number, seed, ..Arguments::default() };
        let times = |number| Arguments { number, vector: "happy".parse().unwrap_or_default(), ..Arguments::default() };
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
                passes: Passes::Nothing,
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
                passes: Passes::Scaled,
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
                passes: Passes::Whole,
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
                about: "replaces each unit with its mean over positions (over queries for scores and patterns)",
                is_local: false,
                overwrites: false,
                needs: None,
                passes: Passes::Shared,
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
                passes: Passes::Nothing,
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
                passes: Passes::Nothing,
                compute: |site, _| site.baseline(),
                unmoved: |_| "the unedited run has the same values there".into(),
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
                passes: Passes::Whole,
                compute: |site, with| Ok((site.values() + site.noise(with.number, with.seed)?)?),
                unmoved: |with| match with.number {
                    0.0 => "noise of SD 0".into(),
                    _ => TOO_LITTLE.into(),
                },
                python: "new = x[at] + (noise(name, seed, x.shape)[at] * number).float()",
            },
            Self::Steer => Row {
                sign: "+=",
                word: None,
                takes: Takes::Multiple,
                make: |with| Op::Steer { amount: with.number, vector: with.vector },
                example: ("blocks.3.hook_resid_post", times(4.0)),
                about: "adds a vector, times a number",
                is_local: true,
                overwrites: false,
                needs: None,
                passes: Passes::Whole,
                compute: |site, with| site.plus(with.number),
                unmoved: |with| match with.number {
                    0.0 => "a multiple of 0".into(),
                    _ => TOO_LITTLE.into(),
                },
                python: "new = (x + number * vector(seed, name, x))[at]",
            },
            Self::Project => Row {
                sign: "-=",
                word: Some("proj"),
                takes: Takes::Vector,
                make: |with| Op::Project(with.vector),
                example: ("blocks.*.hook_resid_post", times(0.0)),
                about: "takes the part along a vector away (directional ablation): of each head by itself",
                is_local: true,
                overwrites: false,
                needs: None,
                passes: Passes::Projected,
                compute: |site, _| site.without(),
                unmoved: |_| "these values have no part along the vector".into(),
                python: "v = vector(seed, name, x)\n\
                         v = v / v.norm(dim=-1, keepdim=True).clamp_min(1e-38)\n\
                         new = (x - (x * v).sum(-1, keepdim=True) * v)[at]",
            },
            Self::CorpusMean => Row {
                sign: "=",
                word: Some("mean@corpus"),
                takes: Takes::Nothing,
                make: |_| Op::CorpusMean,
                example: ("blocks.2.hook_mlp_out", with(0.0, 0)),
                about: "replaces each unit with its mean over all positions of all prompts of a corpus, unedited (`corpus` only)",
                is_local: true,
                overwrites: true,
                needs: Some(Needs::Corpus),
                passes: Passes::Nothing,
                compute: |site, _| site.corpus_mean(),
                unmoved: |_| "already the mean over the corpus".into(),
                python: "new = corpus_mean[name].expand_as(x)[at]",
            },
            Self::Resample => Row {
                sign: "=",
                word: Some("resample"),
                takes: Takes::Seed,
                make: |with| Op::Resample { seed: with.seed },
                example: ("blocks.4.attn.hook_z[head=1]", with(0.0, 3)),
                about: "takes the value at the same place in another prompt of the corpus that has as many tokens, chosen by the \
                        seed (`corpus` only); the seed is 0 if none is given",
                is_local: true,
                overwrites: true,
                needs: Some(Needs::Corpus),
                passes: Passes::Nothing,
                compute: |site, with| site.resampled(with.seed),
                unmoved: |_| "the other prompt has the same values there".into(),
                python: "new = resampled[seed][name][0].float()[at]",
            },
        }
    }

    /// Whether it takes values from a corpus, so that only runs of a corpus can carry it out.
    #[must_use]
    pub fn needs_corpus(self) -> bool {
        self.row().needs == Some(Needs::Corpus)
    }

    /// The operation with its default numbers, and with each of the vectors where it takes one.
    pub(crate) fn usual(self, vectors: &Vectors) -> Vec<Op> {
        let row = self.row();
        match row.takes {
            Takes::Nothing | Takes::Number | Takes::Deviation | Takes::Seed => vec![(row.make)(row.example.1)],
            Takes::Multiple | Takes::Vector => {
                let named = |name: &VectorName| (row.make)(Arguments { vector: *name, ..row.example.1 });
                vectors.defined().keys().map(named).collect()
            }
        }
    }
}

const TOO_LITTLE: &str = "too little to move these values";

impl Op {
    /// Whether it adds something that does not depend on the value.
    pub(crate) fn adds(self) -> bool {
        self.row().passes == Passes::Whole
    }

    pub(crate) fn row(self) -> Row {
        self.operation().row()
    }

    pub(crate) fn arguments(self) -> Arguments {
        match self {
            Self::Set(number) | Self::Scale(number) | Self::Add(number) => Arguments { number, ..Arguments::default() },
            Self::Mean | Self::Patch | Self::Freeze | Self::CorpusMean => Arguments::default(),
            Self::Resample { seed } => Arguments { seed, ..Arguments::default() },
            Self::Noise { sd, seed } => Arguments { number: sd, seed, ..Arguments::default() },
            Self::Steer { amount, vector } => Arguments { number: amount, vector, ..Arguments::default() },
            Self::Project(vector) => Arguments { vector, ..Arguments::default() },
        }
    }

    /// The other run that it takes values from.
    #[must_use]
    pub fn needs(self) -> Option<Needs> {
        self.row().needs
    }

    /// Whether both do the same, with whatever numbers.
    #[must_use]
    pub fn is_same_operation(self, other: Self) -> bool {
        self.operation() == other.operation()
    }

    /// Whether nothing of the previous values remains.
    #[must_use]
    pub fn overwrites(self) -> bool {
        self.row().overwrites
    }

    /// The vector that it names.
    #[must_use]
    pub fn vector(self) -> Option<VectorName> {
        let row = self.row();
        matches!(row.takes, Takes::Multiple | Takes::Vector).then(|| self.arguments().vector)
    }

    /// Why it left the values unchanged, if it did.
    #[must_use]
    pub fn unmoved(self) -> String {
        (self.row().unmoved)(self.arguments())
    }
}

#[cfg(test)]
mod tests;
