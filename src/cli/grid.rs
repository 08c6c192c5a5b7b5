//! `grid`: an experiment over models, seeds, revisions and prompts.

use std::{io::Write, path::Path};

use anyhow::{Result, anyhow};
use serde_json::json;

use super::{
    Usage,
    grid_args::{GridArgs, KeepCache},
    grid_output::Output,
    interrupted::Signals,
};
use crate::{
    experiment::{Grid, GridRun, ModelChoice, Ran, Shard},
    explorer::SavedView,
    printed,
    table::{Format, Metadata},
};

pub(super) fn main(args: &GridArgs) -> Result<()> {
    let shard = match args.shard {
        Some(choice) => choice.resolve(|name| std::env::var(name).ok()).map_err(Usage)?,
        None => Shard::default(),
    };
    let out = shard.named(&args.out);
    Format::of(&out)?;
    let grid = Grid::<SavedView>::read(&args.file, &ModelChoice::from(&args.model), &args.dictionaries.sae)?;
    let signals = Signals::catch()?;
    let cancel = signals.stopped.clone();
    let mut journal = grid.journal(&out, shard)?;
    let cells: usize = grid.units(shard).iter().map(|unit| unit.prompts.len()).sum();
    let mut output = Output::new(cells - journal.len().min(cells), cancel.clone());
    let keep_cache = args.keep_cache != Some(KeepCache::No);
    let run = GridRun { shard, keep_cache, cancel: &cancel };
    let ran = grid.run(&run, &mut journal, &mut output);
    output.finish();
    let ran = ran?;
    if ran.stopped {
        let done = journal.len();
        let said = format!("; {done} of {cells} cells are done, and the same command goes on from there");
        return Err(signals.interrupted(said).into());
    }
    let mut metadata = Metadata::new();
    grid.part(shard).write(&mut metadata);
    journal.finish(&out, &metadata)?;
    report(args, &grid, shard, &out, ran)?;
    match ran.failed {
        0 => Ok(()),
        failed => {
            let cells = ran.cells;
            Err(anyhow!(
                "{failed} of {cells} cells failed; the column `error` says why, and the same command tries them again"
            ))
        }
    }
}

fn report(args: &GridArgs, grid: &Grid<SavedView>, shard: Shard, out: &Path, ran: Ran) -> Result<()> {
    let mut to = printed::stdout();
    if args.json {
        let report = json!({
            "out": out,
            "shard": shard.to_string(),
            "fingerprint": grid.fingerprint,
            "checkpoints": grid.checkpoints.len(),
            "prompts": grid.prompts.len(),
            "metric": grid.metric.name(),
            "cells": ran.cells,
            "earlier": ran.earlier,
            "failed": ran.failed,
        });
        writeln!(to, "{report}")?;
    } else {
        let earlier = if ran.earlier > 0 { format!(", {} of them earlier", ran.earlier) } else { String::new() };
        writeln!(to, "{} cells{earlier}, {} failed: {}", ran.cells, ran.failed, printed::path(out))?;
    }
    to.flush()?;
    Ok(())
}
