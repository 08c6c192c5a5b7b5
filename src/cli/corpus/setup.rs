//! From the arguments to a model and what is done with every prompt.

use anyhow::{Context, Result};

use super::super::{
    Usage,
    corpus_args::CorpusArgs,
    prepare::{self, Prepared},
    progress::Bar,
};
use crate::{
    analysis::ObjectiveKind,
    engine::{CorpusQuestion, CorpusTask, Engine, Spec, TopQuestion},
    experiment::{self, Corpus, CorpusFormat, Distractor, File, Given, PromptParser},
    hooks::{HookPoint, Op, Target},
    model::{ModelError, Source, WeightHashes},
    printed::escaped,
};

/// A model, a corpus, and what is done with every prompt.
pub(super) struct Set {
    pub engine: Engine,
    pub corpus: Corpus,
    pub task: CorpusTask,
    pub tops: Vec<(String, TopQuestion)>,
    pub saved: Vec<HookPoint>,
    /// As `--sae` takes them.
    pub dictionaries: Vec<String>,
    /// Everything about the weights that numbers depend on.
    pub weights: String,
}

impl Set {
    /// # Errors
    /// Arguments that contradict each other; a model, an edit, a token or a hook that does not exist.
    pub fn new(args: &CorpusArgs) -> Result<Self> {
        let file = args.edits.experiment.as_deref().map(File::read).transpose()?;
        let format = args.format.unwrap_or_else(|| CorpusFormat::of_name(&args.file));
        check(args, format)?;
        let corpus = Corpus {
            path: args.file.clone(),
            format,
            field: args.field.clone().unwrap_or_else(|| "text".into()),
            window: args.window.map(|window| usize::try_from(window).unwrap_or(usize::MAX)),
            prepend_bos: args.prepend_bos || file.as_ref().is_some_and(|file| file.experiment.prepend_bos),
        };
        let given = Given {
            corpus: Some(corpus.clone()),
            ..prepare::given_of_edits(&args.edits, args.prepend_bos, &args.enable)
        };
        let bar = &mut Bar::on_stderr().into_callback();
        let prepared: Prepared =
            experiment::prepare(&(&args.model).into(), &given, file.as_ref(), None, bar, &|| true)?;
        prepare::print_notes(&prepared.engine.loaded.notes);
        let Prepared { mut engine, setup, source, .. } = prepared;
        engine.schema.set_corpus();
        let parser = PromptParser::from(&engine.loaded);
        let token = |name: &str, text: &Option<String>| -> Result<Option<u32>> {
            let token = text.as_ref().map(|text| parser.token(text).context(format!("--{name}")));
            Ok(token.transpose()?.map(|token| token.id))
        };
        let usual = if format == CorpusFormat::Csv { ObjectiveKind::LogitDiff } else { ObjectiveKind::Loss };
        let (distractor, alone) = match &setup.distractor {
            Distractor::Chosen(token) => (Some(token.id), false),
            Distractor::Likeliest => (None, false),
            Distractor::None => (None, true),
        };
        let question = CorpusQuestion {
            metric: args.metric.or(setup.metric.map(ObjectiveKind::from)).unwrap_or(usual),
            target: token("target", &args.target)?.or(setup.target.as_ref().map(|token| token.id)),
            distractor: token("distractor", &args.distractor)?.or(distractor),
            alone,
        };
        let pairs = format == CorpusFormat::Csv;
        let dictionaries = setup.dictionaries.iter().map(|line| line.source.get_ref().clone()).collect();
        let spec = setup.spec();
        // a table has a corrupted prompt for every clean one
        let contrast = spec.contrast.filter(|_| !pairs);
        let ablation = args.ablate_heads.then(|| operation(args)).transpose()?;
        let task = CorpusTask { spec: Spec { tokens: vec![], contrast, ..spec }, question, ablation };
        let mut tops = vec![];
        for text in &args.top_contexts {
            let found = TopQuestion::parse(text, &engine).with_context(|| format!("--top-contexts {}", escaped(text)));
            let found = found.map_err(|error| Usage(format!("{error:#}")))?;
            tops.extend(found.into_iter().map(|question| (text.clone(), question)));
        }
        let saved = saved(args, &engine)?;
        let weights = match &source {
            Source::Demo => concat!("demo ", env!("CARGO_PKG_VERSION")).to_string(),
            Source::Snapshot { repository, commit, .. } => format!("{repository} {commit}"),
            Source::Directory(path) => format!("{:?}", WeightHashes::of_directory(path, &|| true)?.0),
            Source::Cache(path) => return Err(ModelError::NoWeights(path.clone()).into()),
        };
        Ok(Self { engine, corpus, task, tops, saved, dictionaries, weights })
    }
}

fn check(args: &CorpusArgs, format: CorpusFormat) -> Result<(), Usage> {
    let wrong = |what: &str| Err(Usage(what.into()));
    if args.field.is_some() && format != CorpusFormat::Jsonl {
        return wrong("--field names a field of JSON lines; this is no JSONL file (--format jsonl)");
    }
    if format == CorpusFormat::Csv && (args.edits.contrast.is_some() || args.edits.contrast_tokens.is_some()) {
        return wrong("a CSV has its own corrupted prompts; leave out --contrast");
    }
    if let Some(out) = &args.out {
        crate::table::Format::of(out).map_err(|error| Usage(format!("--out: {error}")))?;
    }
    Ok(())
}

/// What is done to each head.
fn operation(args: &CorpusArgs) -> Result<Op, Usage> {
    let text = args.op.as_deref().unwrap_or("= 0");
    let op = text.trim().parse::<Op>();
    op.map_err(|error| Usage(format!("--op `{}`: {}", escaped(text), escaped(&error.message))))
}

/// The hooks that are saved.
fn saved(args: &CorpusArgs, engine: &Engine) -> Result<Vec<HookPoint>> {
    let mut all = vec![];
    for text in &args.save {
        let wrong = |reason: &dyn std::fmt::Display| Usage(format!("--save {}: {reason}", escaped(text)));
        let target = text.parse::<Target>().map_err(|error| wrong(&error))?;
        for point in target.points(&engine.schema.dims).map_err(|error| wrong(&error))? {
            engine.schema.check(point).map_err(|error| wrong(&error))?;
            if engine.schema.axes(point).first() != Some(&crate::hooks::Axis::Pos) {
                return Err(wrong(&format!(
                    "{point} has no value for each position; expected a hook whose first axis is pos"
                ))
                .into());
            }
            if !all.contains(&point) {
                all.push(point);
            }
        }
    }
    Ok(all)
}
