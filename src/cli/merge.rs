//! `merge`: the parts of an experiment as one table.

use std::io::Write;

use anyhow::Result;
use serde_json::json;

use super::grid_args::MergeArgs;
use crate::{
    printed,
    table::{Format, Merged, merge},
};

pub(super) fn main(args: &MergeArgs) -> Result<()> {
    Format::of(&args.out)?;
    allow_many_files();
    let Merged { rows, units, parts } = merge(&args.parts, &args.out)?;
    let mut out = printed::stdout();
    if args.json {
        writeln!(out, "{}", json!({"out": args.out, "parts": parts, "units": units, "rows": rows}))?;
    } else {
        writeln!(out, "{parts} parts, {rows} rows: {}", printed::path(&args.out))?;
    }
    out.flush()?;
    Ok(())
}

/// All parts are open at once, and there may be more than the usual limit of files.
fn allow_many_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        // with the lower limit, fewer parts can be merged
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
