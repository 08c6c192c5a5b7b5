//! The known models, and which revisions of them are cached.

use std::io::Write;

use anyhow::Result;
use indicatif::DecimalBytes;
use serde_json::{Value, json};

use super::args::ModelsArgs;
use crate::{
    model::{Cache, Cached, Config, Source, pythia},
    printed::{self, escaped},
};

/// A row of the list.
struct Known {
    /// What `--model` takes.
    name: String,
    n_layers: usize,
    d_model: usize,
    n_heads: usize,
    parameters: u64,
    cached: Vec<Cached>,
}

pub(super) fn main(args: &ModelsArgs) -> Result<()> {
    let cache = Cache::from_env();
    let known = known(&cache)?;
    let mut out = printed::stdout();
    if args.json {
        let all: Vec<Value> = known.iter().map(object).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
    } else {
        let width = known.iter().map(|model| escaped(&model.name).chars().count()).max().unwrap_or(0);
        writeln!(out, "{:width$}  layers  d_model  heads  parameters     f32  in the cache", "model")?;
        for model in &known {
            let Known { n_layers, d_model, n_heads, .. } = model;
            let name = escaped(&model.name);
            let f32 = DecimalBytes(4 * model.parameters).to_string();
            let parameters = format!("{}.{} M", model.parameters / 1_000_000, model.parameters / 100_000 % 10);
            let here = match model.name.as_str() {
                "demo" => "in the program".into(),
                _ => escaped(&model.cached.iter().map(|c| c.revision.as_str()).collect::<Vec<_>>().join(" "))
                    .into_owned(),
            };
            let line =
                format!("{name:width$}  {n_layers:>6}  {d_model:>7}  {n_heads:>5}  {parameters:>10}  {f32:>8}  {here}");
            writeln!(out, "{}", line.trim_end())?;
        }
        writeln!(out, "\nthe cache: {}", printed::path(&cache.directory))?;
    }
    out.flush()?;
    Ok(())
}

/// The demo, the published sizes, and every other model in the cache.
fn known(cache: &Cache) -> Result<Vec<Known>> {
    let mut cached = cache.models();
    let row = |name: &str, config: &Config, cached: Vec<Cached>| {
        let (n_layers, d_model, n_heads) = (config.n_layers, config.d_model, config.n_heads);
        Known { name: name.into(), n_layers, d_model, n_heads, parameters: config.parameters(), cached }
    };
    let mut all = vec![row("demo", &Source::Demo.config()?, vec![])];
    for size in pythia::SIZES {
        all.extend(size.models().map(|name| Known {
            cached: cached.remove(&format!("EleutherAI/{name}")).unwrap_or_default(),
            name,
            n_layers: size.n_layers,
            d_model: size.d_model,
            n_heads: size.n_heads,
            parameters: size.parameters() as u64,
        }));
    }
    for (repository, cached) in cached {
        if let Some(first) = cached.first() {
            let config = Source::Directory(first.directory.clone()).config()?;
            let name = repository.strip_prefix("EleutherAI/").unwrap_or(&repository);
            all.push(row(name, &config, cached));
        }
    }
    Ok(all)
}

fn object(model: &Known) -> Value {
    let cached = |c: &Cached| json!({"revision": c.revision, "commit": c.commit, "bytes": c.bytes()});
    json!({
        "name": model.name,
        "n_layers": model.n_layers,
        "d_model": model.d_model,
        "n_heads": model.n_heads,
        "parameters": model.parameters,
        "cached": model.cached.iter().map(cached).collect::<Vec<_>>(),
    })
}
