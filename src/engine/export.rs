//! A run as a Python script that repeats it with TransformerLens and asserts what was computed here.
//!
//! The script runs on 2.18.0 (`HookedTransformer`) and on 4.3.0 (`TransformerBridge` in compatibility mode), by what is installed.
//! An edit that the bridge can't repeat ends the script with a message that names the hook.

use std::fmt::Write;

use super::Spec;
use crate::{
    analysis::top_k,
    hooks::{BlockHook, EditError, Indices, Op, Operation, Plan, Schema, Takes},
    model::{Config, Dtype, Processing},
};

/// What the script is told of a run besides what was run.
#[derive(Clone, Copy, Debug)]
pub struct Ran<'a> {
    /// As `--model` takes it.
    pub model: &'a str,
    pub revision: Option<&'a str>,
    pub processing: Processing,
    pub config: &'a Config,
    /// The type that it was computed in.
    pub dtype: Dtype,
    /// The logits after the last position `[vocab]`, of the run and of the unedited one.
    pub logits: &'a [f32],
    pub baseline: &'a [f32],
    /// KL(baseline || edited) there, in nats; NaN where there are no probabilities.
    pub kl: f64,
}

/// The script's own code: everything but the facts of a run.
const CODE: &str = include_str!("export.py");

/// Logits that the script holds: so many of the largest, and as many at regular places of the vocabulary.
const HELD: usize = 20;

/// Of the largest logit; four times the worst error that was measured against the reference.
const TOLERANCE: &str = "2e-5";

/// A run that no script can repeat: each is a mistake in what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("a script repeats runs in f32, and this one is in {0}: run it with --dtype f32")]
    Dtype(Dtype),
    #[error(transparent)]
    Edit(#[from] EditError),
}

/// Whether a script can repeat runs in a type.
///
/// # Errors
/// It has 16 bits: nothing repeats such runs closely enough.
pub fn check_export(dtype: Dtype) -> Result<(), ExportError> {
    if dtype == Dtype::F32 { Ok(()) } else { Err(ExportError::Dtype(dtype)) }
}

/// # Errors
/// An edit that the model or prompt does not take, and what [`check_export`] refuses.
pub fn python(spec: &Spec, schema: &Schema, ran: &Ran<'_>) -> Result<String, ExportError> {
    check_export(ran.dtype)?;
    let plan = Plan::resolve(&spec.edits, schema, spec.tokens.len(), spec.contrast.as_ref().map(Vec::len))?;
    let mut edits = String::new();
    for (number, edit) in spec.edits.iter().enumerate() {
        let (op, value, seed) = operation(edit.op);
        let _ = writeln!(edits, "    ({}, {op}, {value}, {seed}, [", text(&edit.to_string()));
        for step in plan.steps.iter().filter(|step| step.edit == number) {
            let there = step.contrast.as_ref().map_or("None".into(), along);
            let _ = writeln!(edits, "        ({}, {}, {there}),", text(&step.point.to_string()), along(&step.indices));
        }
        edits.push_str("    ]),\n");
    }
    let (model, note) = repository(ran.model);
    let local = boolean(ran.model == "demo" || std::path::Path::new(ran.model).is_absolute());
    let revision = ran.revision.map_or("None".into(), text);
    let enabled: Vec<String> = spec.enabled.iter().map(|point| text(&point.to_string())).collect();
    let baseline = if ran.baseline.is_empty() { ran.logits } else { ran.baseline };
    let facts = format!(
        "MODEL, REVISION, LOCAL = {model}, {revision}, {local}{note}\n\
         {}\n\
         PROCESSED = {}\n\
         TOKENS = {:?}\n\
         CONTRAST = {}      # the prompt that patches are taken from\n\
         ENABLED = [{}]      # opt-in hooks\n\
         # the line; what it does, with which number and seed; and where: a hook, the indices along its axes, and for a \
         patch those in the contrast run\n\
         EDITS = [\n{edits}]\n\
         # logits after the last position, by token\n\
         UNEDITED = {}\n\
         EDITED = {}\n\
         KL = {}\n\
         TOLERANCE = {TOLERANCE}      # of the largest logit",
        settings(ran.config),
        boolean(ran.processing.is_folded()),
        spec.tokens,
        spec.contrast.as_ref().map_or("None".into(), |tokens| format!("{tokens:?}")),
        enabled.join(", "),
        held(baseline),
        held(ran.logits),
        number(ran.kl),
    );
    let heading = format!(
        "#!/usr/bin/env python3\n\
         \"\"\"Repeats a run of pythia-tui {} with TransformerLens, and asserts what it computed.\n\n    \
         pip install transformer-lens==4.3.0      # or, for every edit: transformer-lens==2.18.0 'transformers<5'\n    \
         python THIS_FILE [MODEL]\n\n\
         MODEL is a directory with a checkpoint; without it, the model below.\n\
         \"\"\"\n",
        env!("CARGO_PKG_VERSION")
    );
    Ok(heading
        + &CODE.replace("#{operations}", &operations()).replace("#{flags}", &flags()).replace("#{facts}", &facts))
}

/// Everything of a `config.json` that decides the numbers, as `HookedTransformerConfig` takes it.
fn settings(config: &Config) -> String {
    // whatever is not named here does not reach the script
    let Config {
        n_layers,
        n_heads,
        d_model,
        d_head,
        d_mlp,
        d_vocab,
        context,
        rotary_dims,
        rotary_base,
        layer_norm_eps,
        activation,
        parallel,
        tied,
        bos: _,
    } = config;
    format!(
        "CONFIG = dict(\n    \
         n_layers={n_layers}, n_heads={n_heads}, d_model={d_model}, d_head={d_head}, d_mlp={d_mlp}, d_vocab={d_vocab}, \
         n_ctx={context},\n    \
         act_fn={}, eps={}, parallel_attn_mlp={}, positional_embedding_type=\"rotary\",\n    \
         rotary_dim={rotary_dims}, rotary_base={}, rotary_adjacent_pairs=False)\n\
         TIED = {}      # the unembedding is the embedding",
        text(activation.act_fn),
        number(*layer_norm_eps),
        boolean(*parallel),
        number((*rotary_base).into()),
        boolean(*tied),
    )
}

/// The model as transformers finds it, and a remark where it needs one.
fn repository(model: &str) -> (String, &'static str) {
    let remark = "      # embedded in pythia-tui; its files are in assets/demo of the repository: give their path";
    match model {
        "demo" => (text("assets/demo"), remark),
        _ if model.contains(['/', '\\']) => (text(model), ""),
        _ => (text(&format!("EleutherAI/{model}")), ""),
    }
}

/// What an operation is called in the script, its number and its seed.
fn operation(op: Op) -> (String, String, u64) {
    let with = op.arguments();
    let number = match op.row().takes {
        Takes::Nothing => "None".into(),
        Takes::Number | Takes::Deviation => number(with.number.into()),
    };
    (text(op.operation().key()), number, with.seed)
}

/// The branches of the script that do each operation.
fn operations() -> String {
    let branch = |(i, operation): (usize, Operation)| {
        let test = if i == 0 { "if" } else { "elif" };
        let does = operation.row().python.replace('\n', "\n            ");
        format!("        {test} op == {}:\n            {does}", text(operation.key()))
    };
    Operation::ALL.into_iter().enumerate().map(branch).collect::<Vec<_>>().join("\n")
}

/// The flags of TransformerLens's configuration that turn on opt-in hooks of a block, by their names there.
fn flags() -> String {
    let flag = |hook: BlockHook| Some(format!("{}: {}", text(hook.name()), text(hook.flag()?)));
    BlockHook::ALL.into_iter().filter_map(flag).collect::<Vec<_>>().join(",\n         ")
}

fn boolean(is: bool) -> &'static str {
    if is { "True" } else { "False" }
}

/// A text as Python and JSON both write it.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A number as Python writes it.
fn number(x: f64) -> String {
    if x.is_finite() { format!("{x:?}") } else { format!("float(\"{}\")", x.to_string().to_lowercase()) }
}

/// The indices along each axis.
fn along(indices: &Indices) -> String {
    let axis = |along: &Option<Vec<usize>>| along.as_ref().map_or("None".into(), |along| format!("{along:?}"));
    format!("[{}]", indices.along.iter().map(axis).collect::<Vec<_>>().join(", "))
}

/// The logits that the script holds, as a dictionary.
fn held(logits: &[f32]) -> String {
    let mut ids: Vec<usize> = top_k(logits, HELD).into_iter().map(|ranked| ranked.id as usize).collect();
    ids.extend((0..logits.len()).step_by((logits.len() / HELD).max(1)));
    ids.sort_unstable();
    ids.dedup();
    let entry = |id: usize| format!("{id}: {}", number(logits[id].into()));
    format!("{{{}}}", ids.into_iter().map(entry).collect::<Vec<_>>().join(", "))
}
