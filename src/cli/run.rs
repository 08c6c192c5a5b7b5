use std::{io::Write, sync::atomic::AtomicBool, time::Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Usage,
    args::RunArgs,
    objective,
    prepare::{self, Prepared},
    progress::Bar,
};
use crate::{
    analysis::short_number,
    engine::{
        Apart, Control, Engine, HookChange, Outcome, Ran, Spec, Steered, Summary, check_cache_name, check_export,
        python, save_cache, save_gradients,
    },
    fs::{self, Readers},
    hooks::{Capture, Caution, Edit},
    printed::{self, escaped},
};

/// Durations in milliseconds.
struct Times {
    load: f64,
    run: f64,
    total: f64,
}

/// The metric that was requested in addition to the predictions.
struct Measured {
    name: &'static str,
    value: f64,
}

pub(super) fn main(args: &RunArgs) -> Result<()> {
    let began = Instant::now();
    let ms = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
    if let Some(path) = &args.save_cache {
        check_cache_name(path).map_err(|e| Usage(format!("--save-cache: {e}")))?;
    }
    if let Some(path) = &args.save_gradients {
        check_cache_name(path).map_err(|e| Usage(format!("--save-gradients: {e}")))?;
    }
    if args.export_python.is_some() {
        check_export(args.model.dtype).map_err(|e| Usage(format!("--export-python: {e}")))?;
    }
    let Prepared { mut engine, setup, name, .. } = prepare::headless(&args.model, &args.prompt, &args.edits)?;
    let spec = setup.spec();
    let load = ms(began);
    let objective = match args.save_gradients.is_some() || args.objective.metric.is_some() {
        true => Some(objective::objective(&args.objective, &setup, &engine)?),
        false => None,
    };

    let other = prepare::against(args.against.as_deref(), &args.model, &engine, &mut Bar::on_stderr().into_callback())?;
    let steered = engine.steered_points(&spec);
    let keep = match args.save_cache {
        Some(_) => Capture::All,
        None if other.is_some() => Capture::All,
        None if steered.is_empty() => Capture::None,
        None => Capture::Only(steered),
    };
    let cancel = AtomicBool::new(false);
    let running = Instant::now();
    let control = Control { cancel: &cancel, progress: &|_, _| {} };
    let outcome = engine.run(&spec, &keep, 0, control)?;
    let summary = outcome.summary(args.top.into(), &engine, &cancel)?;
    let vectors = engine.steered(&spec, &outcome.baseline)?;
    let apart = match other {
        Some((name, mut other)) => {
            let that = other.run(&spec, &Capture::All, 0, control)?;
            Some((name, engine.apart(&outcome.run, (&other, &*that.run), &cancel)?))
        }
        None => None,
    };
    let run = ms(running);
    if let Some(path) = &args.save_cache {
        save_cache(&engine, &outcome.run, path)?;
    }
    let mut measured = None;
    if let Some(objective) = objective {
        let value = match &args.save_gradients {
            Some(path) => {
                let gradients = engine.gradients(&spec, objective, &Capture::All, control)?;
                save_gradients(&engine, &gradients, path, control)?;
                gradients.value
            }
            None => engine.objective(objective, &outcome.run, &outcome.baseline)?,
        };
        measured = Some(Measured { name: objective.name(), value });
    }
    if let Some(path) = &args.export_python {
        let ran = Ran {
            model: prepare::of_model(&name, &engine.loaded),
            logits: &summary.logits,
            baseline: &summary.baseline_logits,
            kl: summary.kl_at_end(),
        };
        let script = python(&spec, &engine.schema, &ran)?;
        fs::write_text(path, Readers::AsBefore, &script)?;
    }
    let times = Times { load, run, total: ms(began) };
    note_undefined_rows(summary.undefined_rows);

    let mut out = printed::stdout();
    if args.json {
        let mut report = json_report(&engine, &outcome, &summary, &times);
        report["vectors"] = vectors_json(&spec, &vectors);
        if let Some(Measured { name, value }) = measured {
            report["metric"] = json!({"name": name, "value": value});
        }
        if let Some((name, apart)) = &apart {
            report["against"] = against_json(name, apart);
        }
        writeln!(out, "{report}")?;
    } else {
        print(&mut out, &engine, &outcome, &summary, &times)?;
        print_vectors(&mut out, &vectors)?;
        if let Some((name, apart)) = &apart {
            print_against(&mut out, name, apart)?;
        }
        if let Some(Measured { name, value }) = measured {
            writeln!(out, "\n{name}: {}", short_number(value))?;
        }
    }
    out.flush()?;
    Ok(())
}

/// How far the run is from that of another model.
fn against_json(name: &str, apart: &Apart) -> Value {
    let hook = |change: &HookChange| json!({"hook": change.point.to_string(), "relative": change.relative});
    json!({
        "model": name,
        "kl_by_position": apart.kl,
        "kl": apart.kl.last(),
        "hooks": apart.hooks.iter().map(hook).collect::<Vec<_>>(),
    })
}

#[allow(clippy::cast_precision_loss, reason = "a number of positions")]
fn print_against(out: &mut impl Write, name: &str, apart: &Apart) -> Result<()> {
    let name = escaped(name);
    let last = apart.kl.last().copied().unwrap_or(f64::NAN);
    let mean = apart.kl.iter().sum::<f64>() / apart.kl.len().max(1) as f64;
    writeln!(
        out,
        "\nagainst {name}: KL({name} || this) {} nats after the last position, {} on average over positions",
        short_number(last),
        short_number(mean)
    )?;
    writeln!(out, "{:<40}  {:>10}", "hook", "distance")?;
    for HookChange { point, relative } in &apart.hooks {
        writeln!(out, "{:<40}  {:>10}", point.to_string(), short_number(*relative))?;
    }
    writeln!(out, "distance is the L2 norm of the difference, relative to that of {name}'s activation.")?;
    Ok(())
}

/// Each vector where an edit uses it.
pub(super) fn vectors_json(spec: &Spec, vectors: &[Steered]) -> Value {
    let vector = |Steered { name, point, norm, share }: &Steered| {
        let source = spec.vectors.get(name).map(|definition| &definition.text);
        json!({"name": name.as_str(), "source": source, "hook": point.to_string(), "norm": norm, "share": share})
    };
    vectors.iter().map(vector).collect()
}

pub(super) fn print_vectors(out: &mut impl Write, vectors: &[Steered]) -> Result<()> {
    for (number, Steered { name, point, norm, share }) in vectors.iter().enumerate() {
        let before = if number == 0 { "\n" } else { "" };
        let (norm, share) = (short_number(*norm), share * 100.0);
        writeln!(
            out,
            "{before}vector {name} at {point}: norm {norm}, {share:.1} % of that of the unedited values (mean)"
        )?;
    }
    Ok(())
}

/// Report on stderr how many attention rows had no softmax, if any.
pub(super) fn note_undefined_rows(rows: usize) {
    if rows > 0 {
        printed::note(format_args!(
            "note: {rows} attention rows had no finite score, so their softmax is undefined; they were set to 0, as \
             TransformerLens does"
        ));
    }
}

/// Non-finite numbers are `null`, since JSON has no notation for them; tokens with a NaN logit are left out of `top`.
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
                "no_effect": e.no_effect.as_ref().map(ToString::to_string),
                "note": caution(engine, outcome, edit).map(|caution| caution.to_string()),
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

/// The caution about an edit that was made, if there is one.
fn caution(engine: &Engine, outcome: &Outcome, edit: &Edit) -> Option<Caution> {
    let (spec, edit) = (&outcome.spec, std::slice::from_ref(edit));
    spec.plan(edit, &engine.schema).ok()?.caution()
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
            let note = match (&e.no_effect, caution(engine, outcome, edit)) {
                (Some(why), _) => format!("  no effect: {why}"),
                (None, Some(caution)) => format!("  {caution}"),
                (None, None) => String::new(),
            };
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
                // tokens without a probability are ranked by their logits
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
