//! `features`: the features of a run, by sparse dictionaries.

use std::{
    io::Write,
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Usage,
    dictionary_args::FeaturesArgs,
    objective::positions,
    prepare::{self, Prepared},
};
use crate::{
    analysis::short_number,
    engine::{Control, Engine, FeaturesAt, Promoted},
    experiment::Token,
    hooks::{Capture, HookPoint},
    model::Dictionary,
    printed::{self, escaped},
};

/// A dictionary at its hook, and what it finds at the positions that were asked for.
struct Seen {
    hook: HookPoint,
    dictionary: Arc<Dictionary>,
    positions: Vec<FeaturesAt>,
}

pub(super) fn main(args: &FeaturesArgs) -> Result<()> {
    let Prepared { mut engine, setup, dictionaries, .. } = prepare::headless(&args.model, &args.prompt, &args.edits)?;
    if dictionaries.is_empty() {
        return Err(Usage("expected a dictionary: --sae [HOOK=]NAME or --sae [HOOK=]DIR".into()).into());
    }
    let spec = setup.spec();
    let n_pos = spec.tokens.len();
    let wanted = positions(args.pos, args.json, n_pos)?;
    let cancel = AtomicBool::new(false);
    let control = Control { cancel: &cancel, progress: &|_, _| {} };
    let outcome = engine.run(&spec, &Capture::All, n_pos.saturating_sub(1), control)?;
    let mut seen = Vec::new();
    for (hook, dictionary) in dictionaries {
        let mut positions = engine.features(&outcome.run, hook, &dictionary)?;
        positions.retain(|at| wanted.contains(&at.pos));
        for at in &mut positions {
            at.features.truncate(args.top.into());
        }
        seen.push(Seen { hook, dictionary, positions });
    }
    let mut out = printed::stdout();
    if args.json {
        let all: Vec<Value> = seen.iter().map(report).collect();
        match &all[..] {
            [one] => writeln!(out, "{one}")?,
            several => writeln!(out, "{}", Value::from(several))?,
        }
    } else {
        for (number, seen) in seen.iter().enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            print(&mut out, &engine, seen, setup.prompt.1.as_slice())?;
        }
    }
    out.flush()?;
    Ok(())
}

fn report(Seen { hook, dictionary, positions }: &Seen) -> Value {
    let feature = |(id, activation): &(u32, f32)| {
        let mut json = json!({"id": id, "activation": activation});
        if let Some(label) = dictionary.labels.get(id) {
            json["label"] = label.as_str().into();
        }
        json
    };
    let position = |at: &FeaturesAt| {
        json!({
            "pos": at.pos, "l0": at.l0, "mse": at.mse, "variance_explained": at.variance_explained,
            "features": at.features.iter().map(feature).collect::<Vec<_>>(),
        })
    };
    json!({
        "hook": hook.to_string(), "d_sae": dictionary.d_sae, "architecture": dictionary.architecture,
        "positions": positions.iter().map(position).collect::<Vec<_>>(),
    })
}

/// Tokens shown beside a feature.
const SHOWN: usize = 4;

fn print(
    out: &mut impl Write,
    engine: &Engine,
    Seen { hook, dictionary, positions }: &Seen,
    tokens: &[Token],
) -> Result<()> {
    writeln!(out, "{hook}: {} features, {}", dictionary.d_sae, dictionary.architecture)?;
    for at in positions {
        let after = tokens.get(at.pos).map(|token| token.text.as_str()).unwrap_or_default();
        let (mse, explained) = (short_number(at.mse), short_number(at.variance_explained));
        writeln!(out, "\nat {} {after:?}: {} active, mse {mse}, variance explained {explained}", at.pos, at.l0)?;
        writeln!(out, "{:>8} {:>10}  promotes", "feature", "activation")?;
        let ids: Vec<u32> = at.features.iter().map(|(id, _)| *id).collect();
        let promoted = engine.feature_tokens(dictionary, &ids, SHOWN)?;
        for (number, (id, activation)) in at.features.iter().enumerate() {
            let words = promoted.as_ref().and_then(|all| all.get(number)).map(|found| words(found, engine));
            let label = dictionary.labels.get(id).map(|label| format!("  {}", escaped(label))).unwrap_or_default();
            let activation = short_number(f64::from(*activation));
            writeln!(out, "{id:>8} {activation:>10}  {}{label}", words.unwrap_or_default())?;
        }
    }
    Ok(())
}

fn words(found: &Promoted, engine: &Engine) -> String {
    let token = |(id, _): &(u32, f32)| format!("{:?}", engine.loaded.tokenizer.token(*id));
    found.promoted.iter().map(token).collect::<Vec<_>>().join(" ")
}
