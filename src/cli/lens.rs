//! `lens`: what each layer would predict, by one or several lenses.

use std::{io::Write, sync::atomic::AtomicBool};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    args::LensArgs,
    objective::positions,
    prepare::{self, Prepared},
    progress::Bar,
};
use crate::{
    analysis::{TokenRank, short_number},
    engine::{Control, Engine, LensCell, LensColumn, LensQuestion},
    experiment::{LensChoice, PromptParser, Token},
    hooks::Capture,
    model::{Hub, Lens, LensKind},
    printed,
};

/// One lens at the positions that were asked for.
struct Seen {
    lens: Lens,
    columns: Vec<LensColumn>,
}

pub(super) fn main(args: &LensArgs) -> Result<()> {
    let prepared = prepare::headless(&args.model, &args.prompt, &args.edits)?;
    let hub = Hub::from_env(args.model.offline);
    let logit = [LensChoice { kind: LensKind::Logit, path: None }];
    let chosen = if args.lens.is_empty() { &logit[..] } else { &args.lens };
    let mut lenses = Vec::new();
    for choice in chosen {
        let lens = prepare::lens(choice, &prepared, &hub, &mut Bar::on_stderr().into_callback())?;
        prepare::print_notes(&lens.notes);
        lenses.push(lens);
    }
    let Prepared { mut engine, setup, .. } = prepared;
    let spec = setup.spec();
    let n_pos = spec.tokens.len();
    let positions = positions(args.pos, args.json, n_pos)?;
    let target = args.target.as_ref().map(|text| PromptParser::from(&engine.loaded).token(text).context("--target"));
    let target = target.transpose()?.or(setup.target.clone());
    let question = LensQuestion { positions, top: args.top.into(), target: target.as_ref().map(|token| token.id) };
    let cancel = AtomicBool::new(false);
    let control = Control { cancel: &cancel, progress: &|_, _| {} };
    let outcome = engine.run(&spec, &Capture::All, n_pos.saturating_sub(1), control)?;
    let mut seen = Vec::new();
    for lens in lenses {
        let columns = engine.lens(&lens, &outcome, &question, &cancel)?;
        seen.push(Seen { lens, columns });
    }
    let mut out = printed::stdout();
    if args.json {
        let all: Vec<Value> = seen.iter().map(|seen| report(seen, &question, target.as_ref())).collect();
        match &all[..] {
            [one] => writeln!(out, "{one}")?,
            several => writeln!(out, "{}", Value::from(several))?,
        }
    } else {
        for (number, seen) in seen.iter().enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            print(&mut out, &engine, seen, &question, (target.as_ref(), setup.prompt.1.as_slice()))?;
        }
    }
    out.flush()?;
    Ok(())
}

fn report(seen: &Seen, question: &LensQuestion, target: Option<&Token>) -> Value {
    let position = |(column, pos): (&LensColumn, usize)| {
        let layers = column.cells.iter().zip(&seen.lens.rows).enumerate().map(|(number, (cell, row))| {
            let mut json = cell_json(cell);
            json["layer"] = row.layer.into();
            json["hook"] = row.point.to_string().into();
            if let Some(before) = column.baseline.get(number) {
                json["kl_from_baseline"] = cell.moved.into();
                json["baseline"] = cell_json(before);
            }
            json
        });
        json!({"pos": pos, "layers": layers.collect::<Vec<_>>()})
    };
    let positions: Vec<Value> = seen.columns.iter().zip(question.positions.clone()).map(position).collect();
    let mut json = json!({"lens": seen.lens.kind.name(), "positions": positions});
    if let Some(Token { id, text }) = target {
        json["target"] = json!({"id": id, "text": text});
    }
    json
}

fn cell_json(cell: &LensCell) -> Value {
    let top =
        cell.top.iter().map(|p| json!({"id": p.id, "text": p.text, "logit": p.logit + cell.shift, "prob": p.prob}));
    let mut json = json!({"kl": cell.kl, "top": top.collect::<Vec<_>>()});
    if let Some(TokenRank { rank, logit, prob }) = cell.target {
        json["target"] = json!({"rank": rank, "logit": logit + cell.shift, "prob": prob});
    }
    json
}

/// Tokens shown beside a layer.
const SHOWN: usize = 5;

/// A table for each position: a row for each layer.
fn print(
    out: &mut impl Write,
    engine: &Engine,
    Seen { lens, columns }: &Seen,
    question: &LensQuestion,
    (target, tokens): (Option<&Token>, &[Token]),
) -> Result<()> {
    let shown = |cell: &LensCell| {
        let token = |p: &crate::engine::Prediction| format!("{:?} {:.1} %", p.text, p.prob * 100.0);
        cell.top.iter().take(SHOWN.min(question.top)).map(token).collect::<Vec<_>>().join("  ")
    };
    for (column, pos) in columns.iter().zip(question.positions.clone()) {
        let after = tokens.get(pos).map(|token| token.text.as_str()).unwrap_or_default();
        writeln!(out, "{} lens after {pos} {after:?}, {}", lens.kind.name(), engine.loaded.name)?;
        let of_target = target.map(|token| format!(" {:>8} {:>8}", format!("{:?}", token.text), "rank"));
        writeln!(out, "{:>5} {:>9}{}  likeliest", "layer", "KL", of_target.unwrap_or_default())?;
        for (number, (cell, row)) in column.cells.iter().zip(&lens.rows).enumerate() {
            let line = |cell: &LensCell, name: &str| {
                let target = cell.target.map(|of| format!(" {:>7.2}% {:>8}", of.prob * 100.0, of.rank));
                format!("{name:>5} {:>9}{}  {}", short_number(cell.kl), target.unwrap_or_default(), shown(cell))
            };
            writeln!(out, "{}", line(cell, &row.layer.to_string()))?;
            if let Some(before) = column.baseline.get(number) {
                writeln!(out, "{}", line(before, "was"))?;
            }
        }
    }
    Ok(())
}
