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
    prepare::{self, Prepared},
};
use crate::{
    analysis::{cell, short_number, top_k},
    engine::{Control, Engine, Filling, Map, Measure, Metric, Patch, Question, Spec},
    experiment::{Distractor, PromptParser, Setup, View},
    hooks::{Capture, Op, ParseError},
    printed::{self, escaped},
};

/// A map that was swept, and what its numbers are.
struct Filled {
    filling: Filling,
    metric: Metric,
    question: Question,
}

pub(super) fn main(args: &SweepArgs) -> Result<()> {
    let Prepared { mut engine, setup, .. } = prepare::headless(&args.model, &args.prompt, &args.edits)?;
    let spec = setup.spec();
    // what TransformerLens puts together from three maps
    let every = args.patch.as_deref().is_some_and(|name| name.trim_start_matches("get_act_patch_") == "block_every");
    let maps = match every {
        true => [Patch::ResidPre, Patch::AttnOut, Patch::MlpOut].map(Map::Patch).to_vec(),
        false => vec![map(&setup, args)?],
    };
    let swept = maps.into_iter().map(|map| sweep(&mut engine, &spec, &setup, map, args)).collect::<Result<Vec<_>>>()?;
    let mut out = printed::stdout();
    if args.json {
        let all: Vec<Value> = swept.iter().map(|swept| to_json(swept, &engine)).collect();
        let json = if every { Value::from(all) } else { all.into_iter().next().unwrap_or_default() };
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

/// The map that was asked for.
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

fn sweep<V>(engine: &mut Engine, spec: &Spec, setup: &Setup<V>, map: Map, args: &SweepArgs) -> Result<Filled> {
    if map.is_patch() && spec.contrast.is_none() {
        return Err(Usage("--patch takes values from a contrast prompt: give --contrast".into()).into());
    }
    let cancel = AtomicBool::new(false);
    let control = Control { cancel: &cancel, progress: &|_, _| {} };
    let question = question(engine, spec, setup, args, control)?;
    let metric = match args.metric {
        Some(MetricArg::Kl) => Metric::Kl,
        Some(MetricArg::LogitDiff) => Metric::LogitDiff,
        Some(MetricArg::Prob) => Metric::Prob,
        None => setup.metric.unwrap_or(map.usual_metric()),
    };
    let mut filling = Filling::new(map, &engine.schema, spec.tokens.len());
    let mut progress = Progress { began: Instant::now(), shown: false };
    let filled = engine.fill(spec, question, metric, &mut filling, control, &mut |filling| progress.tell(filling));
    progress.end();
    filled?;
    if let (Metric::LogitDiff, Some(contrast)) = (metric, &filling.contrast)
        && (contrast.logit_diff - filling.before.logit_diff).abs() <= 1e-5 * contrast.logit_diff.abs().max(1.0)
    {
        let diff = contrast.logit_diff;
        return Err(
            Usage(format!("both prompts have the logit difference {diff:.4}: there is nothing from 0 to 1")).into()
        );
    }
    Ok(Filled { filling, metric, question })
}

impl Filled {
    /// The numbers, row by row.
    fn rows(&self) -> Vec<Vec<f64>> {
        let cells = 0..self.filling.measures.len();
        let values: Vec<f64> = cells.map(|cell| self.filling.value(cell, self.metric).unwrap_or(f64::NAN)).collect();
        values.chunks(self.filling.grid.columns.len().max(1)).map(<[f64]>::to_vec).collect()
    }
}

/// What is done to each head and MLP.
fn operation(text: &str) -> Result<Op> {
    let op = text.trim().parse::<Op>();
    let wrong = |e: ParseError| {
        let (text, reason) = (escaped(text), escaped(&e.message));
        Usage(format!("--op `{text}`: {reason}; expected such as `= 0`, `= mean`, `= patch`"))
    };
    Ok(op.map_err(wrong)?)
}

/// The tokens of the logit difference: as given, or the likeliest of the run without interventions.
fn question<V>(
    engine: &mut Engine,
    spec: &Spec,
    setup: &Setup<V>,
    args: &SweepArgs,
    control: Control<'_>,
) -> Result<Question> {
    let parser = PromptParser::from(&engine.loaded);
    let given = |name: &str, text: &Option<String>| -> Result<Option<u32>> {
        let token = text.as_ref().map(|text| parser.token(text).context(format!("--{name}")));
        Ok(token.transpose()?.map(|token| token.id))
    };
    let target = given("target", &args.target)?.or(setup.target.as_ref().map(|token| token.id));
    let distractor = given("distractor", &args.distractor)?;
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

/// A line on stderr that says how far a long sweep is, where someone looks at it.
struct Progress {
    began: Instant,
    shown: bool,
}

impl Progress {
    fn tell(&mut self, filling: &Filling) {
        if let Some(left) = filling.left
            && std::io::stderr().is_terminal()
            && self.began.elapsed() > Duration::from_millis(500)
        {
            self.shown = true;
            let (done, all) = (filling.done(), filling.measures.len());
            // whoever closed stderr does not want to know
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
    let Filling { grid, before, contrast, comparison, .. } = &swept.filling;
    let (columns, rows) = (grid.columns.len(), swept.rows());
    let measure = |m: &Measure| json!({"logit_diff": m.logit_diff, "prob": m.prob});
    let mut baseline = measure(before);
    baseline["target"] = token(swept.question.target);
    baseline["distractor"] = swept.question.distractor.map_or(Value::Null, token);
    match grid.map {
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
    }
}

/// Maps of one and the same columns as one table; where there are several, a row's label begins with its map's name.
fn write_csv(out: &mut impl Write, maps: &[Filled]) -> Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    for (number, swept) in maps.iter().enumerate() {
        let grid = &swept.filling.grid;
        if number == 0 {
            let columns = grid.columns.iter().map(|column| column.name());
            csv.write_record(std::iter::once(swept.metric.name().to_string()).chain(columns))?;
        }
        let map = if maps.len() > 1 { format!("{} ", grid.map.name()) } else { String::new() };
        for (row, values) in grid.rows.iter().zip(swept.rows()) {
            csv.write_record(std::iter::once(format!("{map}{}", row.name())).chain(values.into_iter().map(cell)))?;
        }
    }
    csv.flush()?;
    Ok(())
}

fn print(out: &mut impl Write, swept: &Filled, engine: &Engine) -> Result<()> {
    let token = |id: u32| format!("{:?}", engine.loaded.tokenizer.token(id));
    let q = swept.question;
    let of = q.distractor.map_or_else(|| token(q.target), |d| format!("{} - {}", token(q.target), token(d)));
    let unit = match (swept.metric, swept.filling.grid.map.is_patch()) {
        (Metric::Kl, _) => "KL(without || with) in nats".into(),
        (Metric::LogitDiff, true) => format!("logit difference {of}, 0 as in the prompt, 1 as in the contrast prompt"),
        (Metric::LogitDiff, false) => format!("change of the logit difference {of}"),
        (Metric::Prob, _) => format!("change of the probability of {}", token(q.target)),
    };
    writeln!(out, "{}: {unit}, after the last position", swept.filling.grid.map.name())?;
    let before = &swept.filling.before;
    writeln!(out, "without: logit difference {:.4}, probability {:.4}\n", before.logit_diff, before.prob)?;
    let columns = &swept.filling.grid.columns;
    write!(out, "{:8}", "")?;
    for column in columns {
        write!(out, " {:>10}", column.name())?;
    }
    writeln!(out)?;
    for (row, values) in swept.filling.grid.rows.iter().zip(swept.rows()) {
        write!(out, "{:8}", row.name())?;
        for value in values {
            write!(out, " {:>10}", short_number(value))?;
        }
        writeln!(out)?;
    }
    if let Some(c) = &swept.filling.comparison {
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
