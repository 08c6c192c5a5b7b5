//! `explain`: an attention score or a logit, split into what upstream components give.

use std::{io::Write, sync::atomic::AtomicBool};

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    Usage,
    args::ExplainArgs,
    objective::position,
    prepare::{self, Prepared},
};
use crate::{
    analysis::short_number,
    engine::{Control, Engine, Explained, ScoreCell},
    experiment::PromptParser,
    hooks::{Axis, BlockHook, Capture, HookPoint, Region},
    printed::{self, escaped},
};

/// What is explained.
enum Cell {
    Score(ScoreCell),
    Logit { pos: usize, token: u32 },
}

pub(super) fn main(args: &ExplainArgs) -> Result<()> {
    let Prepared { mut engine, setup, .. } = prepare::headless(&args.model, &args.prompt, &args.edits)?;
    let spec = setup.spec();
    let cell = match args.cell.trim().strip_prefix("logits") {
        Some(rest) => {
            let pos = logit_position(rest, spec.tokens.len())?;
            let target =
                args.target.as_ref().map(|text| PromptParser::from(&engine.loaded).token(text).context("--target"));
            let target = target.transpose()?.or(setup.target.clone());
            let target = target
                .ok_or_else(|| Usage("explaining a logit needs --target TOKEN: the token whose logit it is".into()))?;
            Cell::Logit { pos, token: target.id }
        }
        None => Cell::Score(score_cell(&args.cell, &engine, spec.tokens.len())?),
    };
    let cancel = AtomicBool::new(false);
    let control = Control { cancel: &cancel, progress: &|_, _| {} };
    let outcome = engine.run(&spec, &Capture::All, spec.tokens.len().saturating_sub(1), control)?;
    let (name, found) = match cell {
        Cell::Score(cell) => {
            let ScoreCell { block, head, query, key } = cell;
            let point = HookPoint::Block(block, BlockHook::AttnScores);
            (format!("{point}[head={head} query={query} key={key}]"), engine.explain_score(&outcome.run, cell)?)
        }
        Cell::Logit { pos, token } => (format!("logits[pos={pos}]"), engine.explain_logit(&outcome.run, pos, token)?),
    };
    let mut out = printed::stdout();
    let is_logit = matches!(cell, Cell::Logit { .. });
    if args.json {
        let Explained { score, rows, columns, matrix, sum } = &found;
        let (rows_name, columns_name) = if is_logit { ("parts", "sources") } else { ("query_parts", "key_parts") };
        let mut json = json!({
            "cell": name, "score": score, rows_name: rows, columns_name: columns, "matrix": matrix, "sum": sum,
        });
        if let Cell::Logit { token, .. } = cell {
            json["target"] = json!({"id": token, "text": engine.loaded.tokenizer.token(token)});
        }
        writeln!(out, "{json}")?;
    } else {
        print(&mut out, &name, &found, is_logit)?;
    }
    out.flush()?;
    Ok(())
}

const EXPECTED: &str =
    "expected a cell such as `blocks.3.attn.hook_attn_scores[head=2 query=5 key=1]`, or `logits[pos=-1]`";

/// `[pos=N]`, or nothing: the last position.
fn logit_position(rest: &str, n_pos: usize) -> Result<usize> {
    let text = rest.trim();
    if text.is_empty() {
        return Ok(n_pos.saturating_sub(1));
    }
    let number = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).and_then(|text| {
        let (axis, at) = text.split_once('=')?;
        at.trim().parse::<i64>().ok().filter(|_| axis.trim() == "pos")
    });
    let number = number.ok_or_else(|| Usage(format!("--cell `logits{}`: {EXPECTED}", escaped(rest))))?;
    Ok(position(number, n_pos).map_err(|error| Usage(format!("--cell: {error}")))?)
}

/// One cell of one head's scores.
fn score_cell(text: &str, engine: &Engine, n_pos: usize) -> Result<ScoreCell> {
    let region: Region = text.parse().map_err(|error| Usage(format!("--cell: {error}\n{EXPECTED}")))?;
    let dims = engine.schema.dims;
    let points = region.target.points(&dims).map_err(|error| Usage(format!("--cell: {error}")))?;
    let [HookPoint::Block(block, BlockHook::AttnScores)] = points[..] else {
        return Err(Usage(format!("--cell `{}`: name one block's scores; {EXPECTED}", escaped(text))).into());
    };
    let point = points[0];
    let axes = engine.schema.axes(point);
    let selected = region.selection.resolve(text, point, &axes, &engine.schema.shape(point, n_pos));
    let indices = selected.map_err(|error| Usage(format!("--cell: {error}")))?;
    let one = |axis: Axis| -> Result<usize> {
        let i = axes.iter().position(|own| *own == axis).unwrap_or(0);
        let all: Vec<usize> = indices.along[i].clone().unwrap_or_else(|| (0..indices.shape[i]).collect());
        if let [at] = all[..] {
            return Ok(at);
        }
        let n = all.len();
        let wrong = format!("--cell `{}`: {n} indices of {axis} are selected, not one; {EXPECTED}", escaped(text));
        Err(Usage(wrong).into())
    };
    Ok(ScoreCell { block, head: one(Axis::Head)?, query: one(Axis::Query)?, key: one(Axis::Key)? })
}

/// The number of rows and columns that are shown, the strongest ones.
const SHOWN: usize = 8;

fn print(out: &mut impl Write, cell: &str, found: &Explained, is_logit: bool) -> Result<()> {
    let Explained { score, rows, columns, matrix, sum } = found;
    writeln!(out, "{cell} = {}; the parts sum to {}", short_number(*score), short_number(*sum))?;
    let (down, across) = if is_logit { ("component", "source position") } else { ("query's side", "key's side") };
    writeln!(out, "rows: {down}; columns: {across}; the strongest {SHOWN} of each\n")?;
    let weight = |values: &mut dyn Iterator<Item = f64>| values.map(f64::abs).sum::<f64>();
    let strongest = |weights: Vec<f64>| {
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
        order.truncate(SHOWN);
        order
    };
    let down = strongest(matrix.iter().map(|row| weight(&mut row.iter().copied())).collect());
    let across = strongest((0..columns.len()).map(|i| weight(&mut matrix.iter().map(|row| row[i]))).collect());
    write!(out, "{:12}", "")?;
    for column in &across {
        write!(out, " {:>10}", columns[*column])?;
    }
    writeln!(out, " {:>10}", "sum")?;
    for row in down {
        write!(out, "{:12}", rows[row])?;
        for column in &across {
            write!(out, " {:>10}", short_number(matrix[row][*column]))?;
        }
        writeln!(out, " {:>10}", short_number(matrix[row].iter().sum()))?;
    }
    Ok(())
}
