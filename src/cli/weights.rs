//! `weights`: a neuron's tokens, a head's circuits, and composition scores, from the weights alone.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Usage, prepare,
    weights_args::{CircuitArg, CompositionArg, WeightsArgs},
};
use crate::{
    analysis::short_number,
    engine::{AtDistance, Circuit, Composition, Direction, Engine, Promoted},
    hooks::Schema,
    model::Loaded,
    printed::{self, escaped},
};

pub(super) fn main(args: &WeightsArgs) -> Result<()> {
    let loaded: Loaded = prepare::load(&args.model)?;
    let schema = Schema::new(loaded.model.config.dims());
    let engine = Engine::new(loaded, schema);
    let mut out = printed::stdout();
    match (&args.neuron, &args.head, args.composition) {
        (Some(neuron), _, _) => neuron_tokens(&mut out, &engine, neuron, args)?,
        (_, Some(head), _) => circuit(&mut out, &engine, head, args)?,
        (_, _, Some(kind)) => composition(&mut out, &engine, kind, args)?,
        (None, None, None) => {
            return Err(Usage("expected one of --neuron L.N, --head L.H and --composition q|k|v".into()).into());
        }
    }
    out.flush()?;
    Ok(())
}

/// `3.17`, within the model.
fn pair(text: &str, what: &str, (n_layers, n): (usize, usize)) -> Result<(usize, usize), Usage> {
    let found = text.split_once('.').and_then(|(block, at)| Some((block.parse().ok()?, at.parse().ok()?)));
    found.filter(|(block, at)| *block < n_layers && *at < n).ok_or_else(|| {
        let (last, last_at) = (n_layers.saturating_sub(1), n.saturating_sub(1));
        Usage(format!(
            "--{what} `{}`: expected LAYER.NUMBER, as 0.3: layers are 0 to {last}, and numbers 0 to {last_at}",
            escaped(text)
        ))
    })
}

fn tokens(list: &[(u32, f32)], engine: &Engine) -> Value {
    let text = |id: u32| engine.loaded.tokenizer.token(id);
    list.iter().map(|(id, x)| json!({"id": id, "text": text(*id), "logit": x})).collect::<Vec<_>>().into()
}

fn sides(found: &Promoted, engine: &Engine) -> Value {
    json!({"promoted": tokens(&found.promoted, engine), "suppressed": tokens(&found.suppressed, engine)})
}

fn neuron_tokens(out: &mut impl Write, engine: &Engine, text: &str, args: &WeightsArgs) -> Result<()> {
    let dims = engine.schema.dims;
    let (block, neuron) = pair(text, "neuron", (dims.n_layers, dims.d_mlp))?;
    let found = engine.neuron_tokens(block, neuron, args.top.into())?;
    if args.json {
        let mut json = sides(&found, engine);
        json["neuron"] = format!("{block}.{neuron}").into();
        return Ok(writeln!(out, "{json}")?);
    }
    writeln!(out, "neuron {neuron} of block {block}: what it adds to each logit when it is 1 (W_out W_U)\n")?;
    print(out, &found, engine)
}

fn circuit(out: &mut impl Write, engine: &Engine, text: &str, args: &WeightsArgs) -> Result<()> {
    let dims = engine.schema.dims;
    let head = pair(text, "head", (dims.n_layers, dims.n_heads))?;
    let context = engine.loaded.model.config.context;
    if args.distance >= context {
        return Err(Usage(format!("--distance {}: the context holds {context} positions", args.distance)).into());
    }
    let (circuit, name) = match args.circuit {
        CircuitArg::Ov if args.distance > 0 => {
            return Err(Usage("--distance turns queries against keys: give --circuit qk".into()).into());
        }
        CircuitArg::Ov => (Circuit::Ov, "ov"),
        CircuitArg::Qk => (Circuit::Qk { distance: args.distance }, "qk"),
    };
    let found = engine.singular_directions(head, circuit, args.svd.into(), args.top.into())?;
    let distances = match args.circuit {
        CircuitArg::Ov => vec![],
        CircuitArg::Qk => engine.by_distance(head, usize::from(args.distances).min(context))?,
    };
    let (left, right) = match args.circuit {
        CircuitArg::Ov => ("reads", "writes"),
        CircuitArg::Qk => ("query", "key"),
    };
    if args.json {
        let direction = |Direction { value, left: l, right: r }: &Direction| json!({"value": value, left: sides(l, engine), right: sides(r, engine)});
        let mut json = json!({
            "head": format!("{}.{}", head.0, head.1), "circuit": name,
            "directions": found.iter().map(direction).collect::<Vec<_>>(),
        });
        if args.circuit == CircuitArg::Qk {
            let at = |at: &AtDistance| json!({"distance": at.distance, "norm": at.norm, "bias": at.bias});
            json["distance"] = args.distance.into();
            json["distances"] = distances.iter().map(at).collect::<Vec<_>>().into();
        }
        return Ok(writeln!(out, "{json}")?);
    }
    let rotated =
        if args.circuit == CircuitArg::Qk { format!(", {} positions apart", args.distance) } else { String::new() };
    writeln!(out, "{} circuit of L{}H{}{rotated}, by singular directions", name.to_uppercase(), head.0, head.1)?;
    for Direction { value, left: l, right: r } in &found {
        writeln!(out, "\nsingular value {}", short_number(*value))?;
        for (side, found) in [(left, l), (right, r)] {
            writeln!(out, " {side}")?;
            print(out, found, engine)?;
        }
    }
    if !distances.is_empty() {
        writeln!(out, "\n{:>8} {:>10} {:>10}", "distance", "norm", "biases")?;
    }
    for AtDistance { distance, norm, bias } in distances {
        writeln!(out, "{distance:>8} {:>10} {:>10}", short_number(norm), short_number(bias))?;
    }
    Ok(())
}

fn print(out: &mut impl Write, found: &Promoted, engine: &Engine) -> Result<()> {
    let token =
        |(id, x): &(u32, f32)| format!("{:?} {}", engine.loaded.tokenizer.token(*id), short_number(f64::from(*x)));
    let line = |list: &[(u32, f32)]| list.iter().map(token).collect::<Vec<_>>().join("  ");
    writeln!(out, "  promoted    {}", line(&found.promoted))?;
    writeln!(out, "  suppressed  {}", line(&found.suppressed))?;
    Ok(())
}

fn composition(out: &mut impl Write, engine: &Engine, kind: CompositionArg, args: &WeightsArgs) -> Result<()> {
    let (kind, name) = match kind {
        CompositionArg::Q => (Composition::Q, "q"),
        CompositionArg::K => (Composition::K, "k"),
        CompositionArg::V => (Composition::V, "v"),
    };
    let scores = engine.composition_scores(kind)?;
    if args.json {
        return Ok(writeln!(out, "{}", json!({"composition": name, "scores": scores}))?);
    }
    let mut all: Vec<(f64, [usize; 4])> = Vec::new();
    for (l, heads) in scores.iter().enumerate() {
        for (h, layers) in heads.iter().enumerate() {
            for (m, heads) in layers.iter().enumerate().skip(l + 1) {
                all.extend(heads.iter().enumerate().map(|(g, score)| (*score, [l, h, m, g])));
            }
        }
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    writeln!(out, "{}-composition: the strongest pairs of heads", name.to_uppercase())?;
    for (score, [l, h, m, g]) in all.iter().take(args.top.into()) {
        writeln!(out, "{:>8} -> {:<8} {}", format!("L{l}H{h}"), format!("L{m}H{g}"), short_number(*score))?;
    }
    Ok(())
}
