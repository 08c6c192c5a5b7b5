use std::{io::Write, sync::atomic::AtomicBool, time::Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Usage,
    args::RunArgs,
    prepare::{self, Prepared},
};
use crate::{
    analysis::short_number,
    engine::{Control, Engine, Outcome, Ran, Summary, check_cache_name, check_export, python, save_cache},
    fs::{self, Readers},
    hooks::Capture,
    printed::{self, escaped},
};

/// Milliseconds spent.
struct Times {
    load: f64,
    run: f64,
    total: f64,
}

pub(super) fn main(args: &RunArgs) -> Result<()> {
    let began = Instant::now();
    let ms = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
    if let Some(path) = &args.save_cache {
        check_cache_name(path).map_err(|e| Usage(format!("--save-cache: {e}")))?;
    }
    if args.export_python.is_some() {
        check_export(args.model.dtype).map_err(|e| Usage(format!("--export-python: {e}")))?;
    }
    let Prepared { mut engine, setup, name, .. } = prepare::headless(&args.model, &args.prompt, &args.edits)?;
    let spec = setup.spec();
    let load = ms(began);

    let keep = if args.save_cache.is_some() { Capture::All } else { Capture::None };
    let cancel = AtomicBool::new(false);
    let running = Instant::now();
    let outcome = engine.run(&spec, &keep, 0, Control { cancel: &cancel, progress: &|_, _| {} })?;
    let summary = outcome.summary(args.top.into(), &engine, &cancel)?;
    let run = ms(running);
    if let Some(path) = &args.save_cache {
        save_cache(&engine, &outcome.run, path)?;
    }
    if let Some(path) = &args.export_python {
        let ran = Ran {
            model: &name,
            revision: engine.loaded.revision.as_deref(),
            dtype: engine.loaded.model.dtype.into(),
            processing: engine.loaded.model.processing,
            config: &engine.loaded.model.config,
            logits: &summary.logits,
            baseline: &summary.baseline_logits,
            kl: summary.kl_at_end(),
        };
        let script = python(&spec, &engine.schema, &ran)?;
        fs::write_text(path, Readers::AsBefore, &script)?;
    }
    let times = Times { load, run, total: ms(began) };
    warn(&summary);

    let mut out = printed::stdout();
    if args.json {
        writeln!(out, "{}", json_report(&engine, &outcome, &summary, &times))?;
    } else {
        print(&mut out, &engine, &outcome, &summary, &times)?;
    }
    out.flush()?;
    Ok(())
}

fn warn(summary: &Summary) {
    if summary.undefined_rows > 0 {
        printed::note(format_args!(
            "note: {} attention rows had no finite score, so their softmax is undefined; they were set to 0, as \
             TransformerLens does",
            summary.undefined_rows
        ));
    }
}

/// Numbers that are not finite are `null`: JSON has no other way to write them. `top` leaves out what is NaN.
fn json_report(engine: &Engine, outcome: &Outcome, summary: &Summary, times: &Times) -> Value {
    let text = |id: u32| engine.loaded.tokenizer.token(id);
    let tokens: Vec<Value> = outcome.spec.tokens.iter().map(|&id| json!({"id": id, "text": text(id)})).collect();
    let positions: Vec<Value> = summary
        .top
        .iter()
        .enumerate()
        .map(|(pos, top)| {
            let top: Vec<Value> = top
                .iter()
                .map(|t| {
                    json!({"id": t.id, "text": t.text, "logit": t.logit, "prob": t.prob, "baseline_prob": t.baseline_prob})
                })
                .collect();
            json!({"pos": pos, "kl": summary.kl_at(pos), "top": top})
        })
        .collect();
    let edits: Vec<Value> = outcome
        .spec
        .edits
        .iter()
        .zip(&summary.effects)
        .map(|(edit, e)| {
            json!({
                "edit": edit.to_string(),
                "touched": e.effect.touched,
                "changed": e.effect.changed,
                "delta_l2": e.effect.delta_l2,
                "kl": e.kl_at_end(),
                "kl_by_position": e.kl,
                "no_effect": e.idle.as_ref().map(ToString::to_string),
            })
        })
        .collect();
    json!({
        "model": engine.loaded.name,
        "revision": engine.loaded.revision,
        "processing": engine.loaded.model.processing.name(),
        "device": engine.loaded.model.place().to_string(),
        "tokens": tokens,
        "positions": positions,
        "edits": edits,
        "undefined_attention_rows": summary.undefined_rows,
        "time_ms": {"load": times.load, "forward": summary.elapsed_ms, "run": times.run, "total": times.total},
    })
}

fn print(out: &mut impl Write, engine: &Engine, outcome: &Outcome, summary: &Summary, times: &Times) -> Result<()> {
    let loaded = &engine.loaded;
    let text = |id: u32| format!("{:?}", loaded.tokenizer.token(id));
    writeln!(
        out,
        "{} · {} · {} · {} tokens · load {:.0} ms, run {:.0} ms",
        escaped(&loaded.name),
        loaded.model.processing.name(),
        loaded.model.place(),
        outcome.spec.tokens.len(),
        times.load,
        times.run
    )?;
    let edited = !outcome.spec.edits.is_empty();
    if edited {
        let widest = outcome.spec.edits.iter().map(|e| e.to_string().chars().count()).max().unwrap_or(0).max(4);
        writeln!(out, "\n{:widest$}  {:>9}  {:>10}  {:>10}", "edit", "touched", "|Δ|", "KL alone")?;
        for (edit, e) in outcome.spec.edits.iter().zip(&summary.effects) {
            let note = e.idle.as_ref().map(|why| format!("  no effect: {why}")).unwrap_or_default();
            let line = edit.to_string();
            let (touched, delta, kl) = (e.effect.touched, short_number(e.effect.delta_l2), short_number(e.kl_at_end()));
            writeln!(out, "{line:widest$}  {touched:>9}  {delta:>10}  {kl:>10}{note}")?;
        }
        writeln!(out, "KL is KL(baseline || edited) of the next token after the last position, in nats.")?;
    }
    let widest = outcome.spec.tokens.iter().map(|&id| text(id).chars().count()).max().unwrap_or(0).max(5);
    let kl_title = if edited { format!("  {:>10}", "KL") } else { String::new() };
    writeln!(
        out,
        "\n{:>4}  {:widest$}{kl_title}  next tokens{}",
        "pos",
        "token",
        if edited { " (baseline)" } else { "" }
    )?;
    for (pos, (&id, top)) in outcome.spec.tokens.iter().zip(&summary.top).enumerate() {
        let share = |p: f64| if p.is_nan() { "no probability".into() } else { format!("{:.1} %", p * 100.0) };
        let next: Vec<String> = top
            .iter()
            .map(|t| {
                let before = if edited { format!(" ({})", share(t.baseline_prob)) } else { String::new() };
                // without a probability the logit is what it is ranked by
                let logit = if t.prob.is_nan() { format!("logit {}, ", t.logit) } else { String::new() };
                format!("{:?} {logit}{}{before}", t.text, share(t.prob))
            })
            .collect();
        let next = if next.is_empty() { "the logits are NaN".into() } else { next.join("  ") };
        let kl = if edited { format!("  {:>10}", short_number(summary.kl_at(pos))) } else { String::new() };
        writeln!(out, "{pos:>4}  {:widest$}{kl}  {next}", text(id))?;
    }
    Ok(())
}
