//! A run as a Python script that repeats it with TransformerLens and asserts what was computed here.
//!
//! The script runs on 2.18.0 (`HookedTransformer`) and on 4.3.0 (`TransformerBridge` in compatibility mode), by what is installed.
//! An edit that the bridge can't repeat ends the script with a message that names the hook.

use std::{collections::BTreeMap, fmt::Write};

use super::Spec;
use crate::{
    analysis::top_k,
    hooks::{BlockHook, EditError, Indices, Op, Operation, Schema, Takes},
    model::{Config, Dtype, Processing},
};

/// The model that a script runs.
#[derive(Clone, Copy, Debug)]
pub struct OfModel<'a> {
    /// As `--model` takes it.
    pub name: &'a str,
    pub revision: Option<&'a str>,
    pub processing: Processing,
    pub config: &'a Config,
    /// The type that the run was computed in.
    pub dtype: Dtype,
}

/// What the script contains about a run besides its specification.
#[derive(Clone, Copy, Debug)]
pub struct Ran<'a> {
    pub model: OfModel<'a>,
    /// The logits after the last position `[vocab]`, of the run and of the unedited one.
    pub logits: &'a [f32],
    pub baseline: &'a [f32],
    /// KL(baseline || edited) there, in nats; NaN if there are no probabilities.
    pub kl: f64,
}

/// The script's fixed code: everything except the facts of a run and the main part.
const CODE: &str = include_str!("export.py");

/// The main part of a run's script.
const RUN: &str = include_str!("export_run.py");

/// The number of logits in the script: this many of the largest, and as many at regular intervals of the vocabulary.
const HELD: usize = 20;

/// Relative to the largest logit: four times the worst error measured against the reference.
pub(super) const TOLERANCE: &str = "2e-5";

/// Why no script can repeat a run: always a usage mistake.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("a script repeats runs in f32, and this one is in {0}: run it with --dtype f32")]
    Dtype(Dtype),
    #[error(
        "`{0}`: TransformerLens has no dictionaries, so a script can't repeat edits of features; leave this one out"
    )]
    Features(String),
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
    let baseline = if ran.baseline.is_empty() { ran.logits } else { ran.baseline };
    let facts = format!(
        "# logits after the last position, by token\n\
         UNEDITED = {}\n\
         EDITED = {}\n\
         KL = {}\n\
         TOLERANCE = {TOLERANCE}      # of the largest logit",
        held(baseline),
        held(ran.logits),
        number(ran.kl),
    );
    let doc = "Repeats a run of pythia-tui {} with TransformerLens, and asserts what it computed.";
    script(spec, schema, &ran.model, doc, &facts, RUN)
}

/// A script of these parts: `doc` is its first line, with `{}` for this program's version; `facts` follow those of
/// model and run; `main` is the main part.
pub(super) fn script(
    spec: &Spec,
    schema: &Schema,
    model: &OfModel<'_>,
    doc: &str,
    facts: &str,
    main: &str,
) -> Result<String, ExportError> {
    check_export(model.dtype)?;
    if let Some(edit) = spec.edits.iter().find(|edit| edit.features) {
        return Err(ExportError::Features(edit.to_string()));
    }
    let (name, note) = repository(model.name);
    let local = boolean(model.name == "demo" || std::path::Path::new(model.name).is_absolute());
    let revision = model.revision.map_or("None".into(), text);
    let enabled: Vec<String> = spec.enabled.iter().map(|point| text(&point.to_string())).collect();
    let facts = format!(
        "MODEL, REVISION, LOCAL = {name}, {revision}, {local}{note}\n\
         {}\n\
         PROCESSED = {}\n\
         TOKENS = {:?}\n\
         CONTRAST = {}      # the prompt that patches are taken from\n\
         ENABLED = [{}]      # opt-in hooks\n\
         # of each edit: line, operation, number, seed or vector, and its places: a hook, the indices along its axes and, for a \
         patch, those in the contrast run; of a path, also the sender\n\
         EDITS = [\n{}]\n\
         VECTORS = {{{}}}      # by name and hook\n\
         {facts}",
        settings(model.config),
        boolean(model.processing.is_folded()),
        spec.tokens,
        spec.contrast.as_ref().map_or("None".into(), |tokens| format!("{tokens:?}")),
        enabled.join(", "),
        edits(spec, schema)?,
        vectors(spec, schema)?,
    );
    let heading = format!(
        "#!/usr/bin/env python3\n\
         \"\"\"{}\n\n    \
         pip install transformer-lens==4.3.0      # or, for every edit: transformer-lens==2.18.0 'transformers<5'\n    \
         python THIS_FILE [MODEL]\n\n\
         MODEL is a directory with a checkpoint; without it, the model below.\n\
         \"\"\"\n",
        doc.replace("{}", env!("CARGO_PKG_VERSION"))
    );
    let code = CODE.replace("#{operations}", &operations()).replace("#{flags}", &flags()).replace("#{main}", main);
    Ok(heading + &code.replace("#{facts}", &facts))
}

/// The edits, and where each is carried out.
fn edits(spec: &Spec, schema: &Schema) -> Result<String, ExportError> {
    let plan = spec.plan(&spec.edits, schema)?;
    let mut edits = String::new();
    for (number, edit) in spec.edits.iter().enumerate() {
        let (op, value, seed) = operation(edit.op);
        let _ = writeln!(edits, "    ({}, {op}, {value}, {seed}, [", text(&edit.to_string()));
        for step in plan.steps.iter().filter(|step| step.edit == number) {
            let there = step.contrast.as_ref().map_or("None".into(), along);
            let point = text(&step.point.to_string());
            let path = step.sent.as_ref().map_or(String::new(), |sent| {
                format!(", ({}, {})", text(&sent.point.to_string()), along(&sent.indices))
            });
            let _ = writeln!(edits, "        ({point}, {}, {there}{path}),", along(&step.indices));
        }
        edits.push_str("    ]),\n");
    }
    Ok(edits)
}

/// The numbers of each vector at each hook where an edit uses it.
fn vectors(spec: &Spec, schema: &Schema) -> Result<String, ExportError> {
    let plan = spec.plan(&spec.edits, schema)?;
    let mut all = BTreeMap::new();
    for step in &plan.steps {
        if let (Some(name), Some(values)) = (step.op.vector(), &step.vector) {
            let values = values.get().iter().map(|x| number((*x).into())).collect::<Vec<_>>().join(", ");
            let at = format!("({}, {})", text(name.as_str()), text(&step.source().to_string()));
            all.insert(at, format!("[{values}]"));
        }
    }
    let mut written = String::new();
    for (at, values) in all {
        let _ = write!(written, "\n    {at}: {values},");
    }
    Ok(written)
}

/// Everything in a `config.json` that affects the numbers, as `HookedTransformerConfig` takes it.
fn settings(config: &Config) -> String {
    // every field is named here, so that none is forgotten
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
        eos: _,
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

/// The model's name for transformers, and a remark if it needs one.
fn repository(model: &str) -> (String, &'static str) {
    let remark = "      # embedded in pythia-tui; its files are in assets/demo of the repository: give their path";
    match model {
        "demo" => (text("assets/demo"), remark),
        _ if model.contains(['/', '\\']) => (text(model), ""),
        _ => (text(&format!("EleutherAI/{model}")), ""),
    }
}

/// What an operation is called in the script, its number, and its seed or vector.
fn operation(op: Op) -> (String, String, String) {
    let with = op.arguments();
    let number = match op.row().takes {
        Takes::Nothing | Takes::Vector | Takes::Seed => "None".into(),
        Takes::Number | Takes::Deviation | Takes::Multiple => number(with.number.into()),
    };
    let with = op.vector().map_or_else(|| with.seed.to_string(), |vector| text(vector.as_str()));
    (text(op.operation().key()), number, with)
}

/// The branches of the script that do each operation.
fn operations() -> String {
    let branch = |(i, operation): (usize, Operation)| {
        let test = if i == 0 { "if" } else { "elif" };
        let does = operation.row().python.replace('\n', "\n            ");
        format!("        {test} op == {}:\n            {does}", text(operation.key()))
    };
    // a run on its own has no corpus
    let alone = |operation: &Operation| !operation.needs_corpus();
    Operation::ALL.into_iter().filter(alone).enumerate().map(branch).collect::<Vec<_>>().join("\n")
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
pub(super) fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A number as Python writes it.
pub(super) fn number(x: f64) -> String {
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
