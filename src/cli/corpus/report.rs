//! What `corpus` prints.

use std::io::Write;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{
    super::corpus_args::CorpusArgs,
    collected::Collected,
    finished::{Summary, interval},
    reading::Surveyed,
    rows::Rows,
    setup::Set,
    times::Times,
};
use crate::{
    analysis::{HeadScores, MeanEffect, Score, short_number},
    engine::Context,
    model::Tokenizer,
    printed::{self, escaped},
};

/// What is reported.
pub(super) struct Report<'a> {
    pub set: &'a Set,
    pub surveyed: &'a Surveyed,
    pub rows: &'a Rows,
    pub collected: &'a Collected,
    pub complete: bool,
    pub times: Times,
}

impl Report<'_> {
    pub fn print(&self, args: &CorpusArgs) -> Result<()> {
        let mut out = printed::stdout();
        let edited = !self.set.task.spec.edits.is_empty();
        let summary = Summary::of(args, self.rows, edited);
        if args.json {
            writeln!(out, "{}", self.json(args, &summary))?;
        } else {
            self.text(&mut out, args, &summary)?;
        }
        Ok(out.flush()?)
    }

    fn json(&self, args: &CorpusArgs, summary: &Summary) -> Value {
        let loaded = &self.set.engine.loaded;
        let Surveyed { prompts, positions, .. } = self.surveyed;
        let corpus = &self.set.corpus;
        let effect = |effect: &MeanEffect| {
            let mut json = interval(effect);
            json["p"] = effect.p.into();
            json
        };
        let mut json = json!({
            "model": loaded.name,
            "revision": loaded.revision,
            "processing": loaded.model.processing.name(),
            "device": loaded.model.place().to_string(),
            "corpus": {
                "path": corpus.path.display().to_string(),
                "format": corpus.format.name(),
                "window": corpus.window,
                "prompts": prompts,
                "tokens": positions,
            },
            "shard": self.surveyed.shard.to_string(),
            "edits": self.set.task.spec.edits.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "complete": self.complete,
            "done": self.rows.len(),
            "metric": {
                "name": self.set.task.question.metric.name(),
                "n": summary.n,
                "not_finite": summary.not_finite,
                "left_out": self.rows.left_out(),
                "baseline": summary.baseline.as_ref().map(interval),
                "value": summary.value.as_ref().map(interval),
                "effect": summary.effect.as_ref().map(effect),
            },
            "undefined_attention_rows": self.collected.undefined_rows(),
            "time_ms": self.times,
        });
        if let Some(effects) = self.collected.effects() {
            json["ablate_heads"] = json!({
                "op": self.set.task.ablation.map(|op| op.to_string()),
                "prompts": effects.prompts(),
                "effect": effects.means(),
                "standard_error": effects.standard_errors(),
            });
        }
        if let Some(scores) = self.collected.scores() {
            json["scores"] = scores_json(&scores.means());
        }
        if !self.set.tops.is_empty() {
            let tops = self.set.tops.iter().zip(self.collected.tops());
            let top = |((text, question), tops): (&(String, _), &crate::engine::TopContexts)| {
                let question: &crate::engine::TopQuestion = question;
                let contexts: Vec<Value> =
                    tops.ranked().iter().map(|context| context_json(context, &loaded.tokenizer)).collect();
                json!({"of": text, "hook": question.point.to_string(), "contexts": contexts})
            };
            json["top_contexts"] = tops.map(top).collect();
        }
        if let (Some(files), Some(directory)) = (self.collected.files(), &args.save_to) {
            json["saved"] = json!({"directory": directory.display().to_string(), "files": files});
        }
        json
    }

    fn text(&self, out: &mut impl Write, args: &CorpusArgs, summary: &Summary) -> Result<()> {
        let loaded = &self.set.engine.loaded;
        let Surveyed { prompts, positions, .. } = self.surveyed;
        let (prompts, positions) = (printed::counted(*prompts, "prompt"), printed::counted(*positions, "token"));
        let (name, place) = (escaped(&loaded.name), loaded.model.place());
        let path = printed::path(&self.set.corpus.path);
        writeln!(out, "{name} · {} · {place} · {path}: {prompts}, {positions}", loaded.model.processing.name())?;
        for edit in &self.set.task.spec.edits {
            writeln!(out, "  {edit}")?;
        }
        if !self.complete {
            writeln!(out, "{} of {prompts} prompts are done", self.rows.len())?;
        }
        let metric = self.set.task.question.metric.name();
        writeln!(out, "\n{metric:12} {:>10}  95 % interval", "mean")?;
        let mut line = |what: &str, effect: &Option<MeanEffect>| -> std::io::Result<()> {
            let Some(effect) = effect else { return Ok(()) };
            let [mean, low, high] = [effect.mean, effect.interval.0, effect.interval.1].map(short_number);
            let p = if what == "change" { format!("  p = {:.3}", effect.p) } else { String::new() };
            writeln!(out, "{what:12} {mean:>10}  {low} to {high}{p}")
        };
        match summary.effect {
            Some(_) => {
                line("without", &summary.baseline)?;
                line("with edits", &summary.value)?;
                line("change", &summary.effect)?;
            }
            None => line("", &summary.value)?,
        }
        writeln!(out, "of {} prompts", summary.n)?;
        for (why, count) in self.rows.left_out() {
            writeln!(out, "{count} left out: {why}")?;
        }
        if summary.not_finite > 0 {
            writeln!(out, "{} left out: the metric is not finite", summary.not_finite)?;
        }
        if let (Some(effects), Some(op)) = (self.collected.effects(), self.set.task.ablation) {
            let change = if metric == "kl" { "kl" } else { "change of the metric" };
            writeln!(out, "\nevery head {op}: mean {change} over {} prompts (± standard error)", effects.prompts())?;
            let errors = effects.standard_errors();
            heads(out, &effects.means(), |layer, head, effect| {
                format!("{} ±{}", short_number(*effect), short_number(errors[layer][head]))
            })?;
        }
        if let Some(scores) = self.collected.scores() {
            let means = scores.means();
            for score in Score::ALL {
                writeln!(out, "\n{}: mean over the prompts", score.title())?;
                heads(out, &means, |_, _, scores: &HeadScores| format!("{:.3}", score.of(scores)))?;
            }
        }
        for ((text, question), tops) in self.set.tops.iter().zip(self.collected.tops()) {
            writeln!(out, "\n{} ({}): strongest places", escaped(text), question.point)?;
            for context in tops.ranked() {
                let value = short_number(context.value().into());
                writeln!(out, "{value:>10}  line {:<6} {}", context.line, shown(&context, &loaded.tokenizer))?;
            }
        }
        if let (Some(files), Some(directory)) = (self.collected.files(), &args.save_to) {
            writeln!(out, "\nactivations: {files} files in {}", printed::path(directory))?;
        }
        Ok(())
    }
}

/// A table of layers and heads.
fn heads<T>(out: &mut impl Write, rows: &[Vec<T>], cell: impl Fn(usize, usize, &T) -> String) -> std::io::Result<()> {
    let texts: Vec<Vec<String>> = rows
        .iter()
        .enumerate()
        .map(|(layer, row)| row.iter().enumerate().map(|(head, of)| cell(layer, head, of)).collect())
        .collect();
    let widest = texts.iter().flatten().map(|text| text.chars().count()).max().unwrap_or(0).max(4);
    write!(out, "{:4}", "")?;
    for head in 0..texts.first().map_or(0, Vec::len) {
        write!(out, " {:>widest$}", format!("H{head}"))?;
    }
    writeln!(out)?;
    for (layer, row) in texts.iter().enumerate() {
        write!(out, "{:4}", format!("L{layer}"))?;
        for text in row {
            write!(out, " {text:>widest$}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// By score, `[layer][head]`.
fn scores_json(means: &[Vec<HeadScores>]) -> Value {
    let of = |score: Score| {
        let rows: Vec<Vec<f64>> =
            means.iter().map(|heads| heads.iter().map(|scores| score.of(scores)).collect()).collect();
        (score.name().to_string(), json!(rows))
    };
    Value::Object(Score::ALL.into_iter().map(of).collect::<Map<_, _>>())
}

fn context_json(context: &Context, tokenizer: &Tokenizer) -> Value {
    let Context { prompt, line, pos, first, tokens, .. } = context;
    let tokens: Vec<Value> = tokens.iter().map(|id| json!({"id": id, "text": tokenizer.token(*id)})).collect();
    json!({"value": context.value(), "prompt": prompt, "line": line, "pos": pos, "first": first, "tokens": tokens})
}

/// The text around a place, its token in brackets.
fn shown(context: &Context, tokenizer: &Tokenizer) -> String {
    let at = context.pos - context.first;
    let text = |ids: &[u32]| ids.iter().map(|id| tokenizer.token(*id)).collect::<String>();
    let (before, rest) = context.tokens.split_at(at.min(context.tokens.len()));
    let (token, after) = rest.split_at(rest.len().min(1));
    escaped(&format!("{}[{}]{}", text(before), text(token), text(after))).into_owned()
}
