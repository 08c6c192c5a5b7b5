//! `sweep`: the effect of every cell of a map of interventions.

use std::{
    io::{IsTerminal, Write},
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    Usage,
    args::{MetricArg, SweepArgs},
    breakpoints::given_breakpoints,
    prepare::{self, Prepared},
};
use crate::{
    analysis::{cell, short_number, top_k},
    engine::{
        CellBreakpoint, CellHit, Comparison, Control, Engine, Estimated, Filling, Grid, Hit, Map, Measure, Metric,
        Patch, Question, Spec,
    },
    experiment::{Distractor, PromptParser, Setup, View},
    hooks::{Capture, Op, ParseError},
    predicate::Match,
    printed::{self, escaped},
};

/// A finished map, with the metric and the tokens that it measures.
struct Filled {
    grid: Grid,
    /// One for each cell; None where the sweep stopped before.
    values: Vec<Option<f64>>,
    before: Measure,
    contrast: Option<Measure>,
    comparison: Option<Comparison>,
    breakpoints: Vec<CellBreakpoint>,
    stopped: Option<CellHit>,
    /// Whether the cells were estimated instead of run.
    is_estimate: bool,
    metric: Metric,
    question: Question,
}

pub(super) fn main(args: &SweepArgs) -> Result<()> {
    let Prepared { mut engine, setup, .. } = prepare::headless(&args.model, &args.prompt, &args.edits)?;
    let spec = setup.spec();
    // TransformerLens's get_act_patch_block_every stacks three maps
    let is_block_every =
        args.patch.as_deref().is_some_and(|name| name.trim_start_matches("get_act_patch_") == "block_every");
    let maps = match is_block_every {
        true => [Patch::ResidPre, Patch::AttnOut, Patch::MlpOut].map(Map::Patch).to_vec(),
        false => vec![map(&setup, args)?],
    };
    let breakpoints = breakpoints(&mut engine, &spec, &setup, args)?;
    let mut swept: Vec<Filled> = vec![];
    for map in maps {
        swept.push(sweep(&mut engine, &spec, &setup, map, &breakpoints, args)?);
        if swept.last().is_some_and(|swept| swept.stopped.is_some()) {
            break;
        }
    }
    for swept in &swept {
        note_stops(swept);
    }
    let mut out = printed::stdout();
    if args.json {
        let all: Vec<Value> = swept.iter().map(|swept| to_json(swept, &engine)).collect();
        let json = if is_block_every { Value::from(all) } else { all.into_iter().next().unwrap_or_default() };
        writeln!(out, "{json}")?;
    } else if args.csv {
        write_csv(&mut out, &swept)?;
    } else {
        for (number, swept) in swept.iter().enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            print(&mut out, swept, &engine)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// The map that the arguments, else the experiment, ask for.
fn map(setup: &Setup<impl View>, args: &SweepArgs) -> Result<Map> {
    Ok(match (&args.patch, &args.op, &setup.view) {
        (Some(name), ..) => {
            Map::Patch(name.parse().map_err(|e| Usage(format!("--patch takes a map or block_every: {e}")))?)
        }
        (None, Some(op), _) => Map::Ablate(operation(op)?),
        (None, None, Some(view)) => view.map(),
        (None, None, None) => Map::Ablate(Op::Set(0.0)),
    })
}

/// The breakpoints of the arguments, and those of the experiment that are on.
fn breakpoints<V>(engine: &mut Engine, spec: &Spec, setup: &Setup<V>, args: &SweepArgs) -> Result<Vec<CellBreakpoint>> {
    let given = given_breakpoints(&args.breakpoints, engine, spec, spec.tokens.len())?;
    let given = given.into_iter().map(|when| CellBreakpoint::new(when, false));
    let kept = setup.breakpoints.iter().filter(|breakpoint| breakpoint.on && !args.estimate);
    Ok(given.chain(kept.map(|kept| CellBreakpoint::new(kept.when.clone(), kept.log))).collect())
}

/// Say on stderr what stopped a sweep, and what its logging breakpoints found.
fn note_stops(swept: &Filled) {
    let name = |hit: &CellHit| swept.grid.cell_name(hit.cell);
    let value = |hit: &CellHit| format!("{} = {}", hit.hit.first.place, short_number(hit.hit.first.value));
    if let Some(hit) = &swept.stopped {
        let done = swept.values.iter().filter(|value| value.is_some()).count();
        let (name, value, all) = (name(hit), value(hit), swept.values.len());
        printed::note(format_args!("stopped at {name}, after {done} of {all} runs: {value}"));
    }
    for CellBreakpoint { when, cells, first, .. } in swept.breakpoints.iter().filter(|breakpoint| breakpoint.logs) {
        let first = first.as_ref().map_or_else(String::new, |hit| format!(", first {}: {}", name(hit), value(hit)));
        printed::note(format_args!("{when}: true in {}{first}", printed::counted(*cells, "cell")));
    }
}

fn sweep<V>(
    engine: &mut Engine,
    spec: &Spec,
    setup: &Setup<V>,
    map: Map,
    breakpoints: &[CellBreakpoint],
    args: &SweepArgs,
) -> Result<Filled> {
    if map.is_patch() && spec.contrast.is_none() {
        return Err(Usage("--patch takes values from a contrast prompt: give --contrast".into()).into());
    }
    let cancel = AtomicBool::new(false);
    let control = Control { cancel: &cancel, progress: &|_, _| {} };
    let question = question(engine, spec, setup, (&args.target, &args.distractor), control)?;
    let metric = match args.metric {
        Some(MetricArg::Kl) => Metric::Kl,
        Some(MetricArg::LogitDiff) => Metric::LogitDiff,
        Some(MetricArg::Prob) => Metric::Prob,
        None if args.estimate => Metric::LogitDiff,
        None => setup.metric.unwrap_or(map.usual_metric()),
    };
    if args.estimate {
        let Estimated { grid, values, before, contrast } = engine.estimate(spec, map, question, metric, control)?;
        check_gap(metric, &before, contrast.as_ref())?;
        let values = values.into_iter().map(Some).collect();
        let (comparison, breakpoints, stopped) = (None, vec![], None);
        let is_estimate = true;
        return Ok(Filled {
            grid,
            values,
            before,
            contrast,
            comparison,
            breakpoints,
            stopped,
            is_estimate,
            metric,
            question,
        });
    }
    let mut filling = Filling::new(map, &engine.schema, spec.tokens.len());
    filling.breakpoints = breakpoints.to_vec();
    let mut progress = Progress { began: Instant::now(), shown: false };
    let filled = engine.fill(spec, question, metric, &mut filling, control, &mut |filling| progress.report(filling));
    progress.end();
    filled?;
    check_gap(metric, &filling.before, filling.contrast.as_ref())?;
    let values = (0..filling.measures.len()).map(|cell| filling.value(cell, metric)).collect();
    let Filling { grid, before, contrast, comparison, breakpoints, stopped, measures: _, left: _ } = filling;
    let is_estimate = false;
    Ok(Filled { grid, values, before, contrast, comparison, breakpoints, stopped, is_estimate, metric, question })
}

/// Refuse a scale between the two prompts if their logit differences are the same.
fn check_gap(metric: Metric, before: &Measure, contrast: Option<&Measure>) -> Result<()> {
    match (metric, contrast) {
        (Metric::LogitDiff, Some(contrast))
            if (contrast.logit_diff - before.logit_diff).abs() <= 1e-5 * contrast.logit_diff.abs().max(1.0) =>
        {
            let diff = contrast.logit_diff;
            let same = format!("both prompts have the logit difference {diff:.4}, so there is no scale between them");
            Err(Usage(same).into())
        }
        (Metric::Kl | Metric::LogitDiff | Metric::Prob, _) => Ok(()),
    }
}

impl Filled {
    /// `[row][column]`
    fn rows(&self) -> Vec<Vec<Option<f64>>> {
        self.values.chunks(self.grid.columns.len().max(1)).map(<[Option<f64>]>::to_vec).collect()
    }
}

/// The operation of `--op`.
fn operation(text: &str) -> Result<Op> {
    let op = text.trim().parse::<Op>();
    let wrong = |e: ParseError| {
        let (text, reason) = (escaped(text), escaped(&e.message));
        Usage(format!("--op `{text}`: {reason}; expected an operation such as `= 0`, `= mean`, `= patch`"))
    };
    Ok(op.map_err(wrong)?)
}

/// The tokens of the logit difference: as given, else the likeliest of the run without the sweep.
pub(super) fn question<V>(
    engine: &mut Engine,
    spec: &Spec,
    setup: &Setup<V>,
    (target, distractor): (&Option<String>, &Option<String>),
    control: Control<'_>,
) -> Result<Question> {
    let parser = PromptParser::from(&engine.loaded);
    let given = |name: &str, text: &Option<String>| -> Result<Option<u32>> {
        let token = text.as_ref().map(|text| parser.token(text).context(format!("--{name}")));
        Ok(token.transpose()?.map(|token| token.id))
    };
    let target = given("target", target)?.or(setup.target.as_ref().map(|token| token.id));
    let distractor = given("distractor", distractor)?;
    let outcome = engine.run(spec, &Capture::None, spec.tokens.len().saturating_sub(1), control)?;
    let last = outcome.baseline.logit_rows()?.pop().unwrap_or_default();
    let likely: Vec<u32> = top_k(&last, 3).into_iter().map(|ranked| ranked.id).collect();
    let target = target
        .or(likely.first().copied())
        .context("the logits without the sweep are NaN, so no token is the likeliest: name one with --target")?;
    let distractor = match (distractor, &setup.distractor) {
        (Some(given), _) => Some(given),
        (None, Distractor::None) => None,
        (None, Distractor::Chosen(token)) => Some(token.id),
        (None, Distractor::Likeliest) => likely.into_iter().find(|id| *id != target),
    };
    Ok(Question { target, distractor })
}

/// The progress of a long sweep, as one line on stderr if that is a terminal.
struct Progress {
    began: Instant,
    shown: bool,
}

impl Progress {
    fn report(&mut self, filling: &Filling) {
        if let Some(left) = filling.left
            && std::io::stderr().is_terminal()
            && self.began.elapsed() > Duration::from_millis(500)
        {
            self.shown = true;
            let (done, all) = (filling.done(), filling.measures.len());
            // a closed stderr is not an error
            let _ = write!(std::io::stderr(), "\r{done} of {all} runs, {left:.0} s left  ");
        }
    }

    fn end(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r{:40}\r", "");
        }
    }
}

/// `[layers x heads]` and `[layers]` of an ablation; `[rows x columns]` of a patching map.
fn to_json(swept: &Filled, engine: &Engine) -> Value {
    let token = |id: u32| json!({"id": id, "text": engine.loaded.tokenizer.token(id)});
    let Filled { grid, before, contrast, comparison, .. } = swept;
    let (columns, rows) = (grid.columns.len(), swept.rows());
    let measure = |m: &Measure| json!({"logit_diff": m.logit_diff, "prob": m.prob});
    let mut baseline = measure(before);
    baseline["target"] = token(swept.question.target);
    baseline["distractor"] = swept.question.distractor.map_or(Value::Null, token);
    let mut json = match grid.map {
        Map::Ablate(op) => {
            let comparison = comparison.as_ref().map(|c| {
                let (mean, sd) = c.spread();
                json!({
                    "heads": c.heads,
                    "effect": c.effect,
                    "random": {"mean": mean, "sd": sd, "values": c.random},
                })
            });
            json!({
                "metric": swept.metric.name(),
                "op": op.to_string(),
                "effect": rows.iter().map(|row| row[..columns - 1].to_vec()).collect::<Vec<_>>(),
                "mlp": rows.iter().map(|row| row[columns - 1]).collect::<Vec<_>>(),
                "baseline": baseline,
                "control": comparison,
            })
        }
        Map::Patch(patch) => json!({
            "metric": swept.metric.name(),
            "patch": patch.name(),
            "rows": grid.rows.iter().map(|row| row.name()).collect::<Vec<_>>(),
            "columns": grid.columns.iter().map(|column| column.name()).collect::<Vec<_>>(),
            "effect": rows,
            "baseline": baseline,
            "contrast": contrast.as_ref().map(measure),
        }),
    };
    json["estimate"] = swept.is_estimate.into();
    let hit = |hit: &CellHit| {
        let Hit { first: Match { place, value }, .. } = &hit.hit;
        json!({"cell": grid.cell_name(hit.cell), "place": place.to_string(), "value": value})
    };
    let breakpoint = |b: &CellBreakpoint| json!({"when": b.when.to_string(), "log": b.logs, "cells": b.cells, "first": b.first.as_ref().map(hit)});
    json["breakpoints"] = swept.breakpoints.iter().map(breakpoint).collect::<Vec<_>>().into();
    json["stopped"] = swept.stopped.as_ref().map(hit).into();
    json
}

/// Write maps with equal columns as one table; with several maps, each row label begins with the name of its map.
fn write_csv(out: &mut impl Write, maps: &[Filled]) -> Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    for (number, swept) in maps.iter().enumerate() {
        let grid = &swept.grid;
        if number == 0 {
            let columns = grid.columns.iter().map(|column| column.name());
            csv.write_record(std::iter::once(swept.metric.name().to_string()).chain(columns))?;
        }
        let map = if maps.len() > 1 { format!("{} ", grid.map.name()) } else { String::new() };
        for (row, values) in grid.rows.iter().zip(swept.rows()) {
            csv.write_record(
                std::iter::once(format!("{map}{}", row.name()))
                    .chain(values.into_iter().map(|value| value.map_or_else(String::new, cell))),
            )?;
        }
    }
    csv.flush()?;
    Ok(())
}

fn print(out: &mut impl Write, swept: &Filled, engine: &Engine) -> Result<()> {
    let token = |id: u32| format!("{:?}", engine.loaded.tokenizer.token(id));
    let q = swept.question;
    let tokens = q.distractor.map_or_else(|| token(q.target), |d| format!("{} - {}", token(q.target), token(d)));
    let unit = match (swept.metric, swept.grid.map.is_patch()) {
        (Metric::Kl, _) => "KL(without || with) in nats".into(),
        (Metric::LogitDiff, true) => {
            format!("logit difference {tokens}, 0 as in the prompt, 1 as in the contrast prompt")
        }
        (Metric::LogitDiff, false) => format!("change of the logit difference {tokens}"),
        (Metric::Prob, _) => format!("change of the probability of {}", token(q.target)),
    };
    let estimated = if swept.is_estimate { ", estimated by attribution patching" } else { "" };
    writeln!(out, "{}: {unit}, after the last position{estimated}", swept.grid.map.name())?;
    let before = &swept.before;
    writeln!(out, "without: logit difference {:.4}, probability {:.4}\n", before.logit_diff, before.prob)?;
    let columns = &swept.grid.columns;
    write!(out, "{:8}", "")?;
    for column in columns {
        write!(out, " {:>10}", column.name())?;
    }
    writeln!(out)?;
    for (row, values) in swept.grid.rows.iter().zip(swept.rows()) {
        write!(out, "{:8}", row.name())?;
        for value in values {
            write!(out, " {:>10}", value.map_or_else(|| "-".into(), short_number))?;
        }
        writeln!(out)?;
    }
    if let Some(c) = &swept.comparison {
        let (mean, sd) = c.spread();
        let names: Vec<String> = c.heads.iter().map(|(layer, head)| format!("L{layer}H{head}")).collect();
        let (effect, mean, sd) = (short_number(c.effect), short_number(mean), short_number(sd));
        let n = c.random.len();
        writeln!(
            out,
            "\n{} together: {effect}. As many random heads of the same layers: {mean} ± {sd} (mean and sd of {n} seeds).",
            names.join(", ")
        )?;
    }
    Ok(())
}
