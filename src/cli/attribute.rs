//! `attribute`: components and edges by attribution patching.

use std::{collections::BTreeSet, fmt::Display, io::Write, sync::atomic::AtomicBool};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Usage,
    args::{AttributeArgs, By, MethodArg, MethodArgs},
    objective,
    prepare::{self, Prepared},
};
use crate::{
    analysis::{Edge, GraphShape, Node, Objective, short_number},
    engine::{Attributed, Control, Engine, FeatureNode, Method, Spec},
    experiment::circuit_json,
    fs::{self, Readers},
    printed,
};

pub(super) fn main(args: &AttributeArgs) -> Result<()> {
    if args.graph.is_some() && args.by != By::Edge {
        return Err(Usage("--graph writes a graph of edges: give --by edge".into()).into());
    }
    let Prepared { mut engine, setup, .. } = prepare::headless(&args.model, &args.prompt, &args.edits)?;
    let spec = setup.spec();
    let objective = objective::objective(&args.objective, &setup, &engine)?;
    let measured = objective::described(objective, &engine);
    let method = method(&args.method, Method::default());
    let cancel = AtomicBool::new(false);
    let control = Control { cancel: &cancel, progress: &|_, _| {} };
    let top = args.top.map_or(usize::MAX, |top| usize::try_from(top).unwrap_or(usize::MAX));
    let mut out = printed::stdout();
    match args.by {
        By::Node => {
            let found = strongest(engine.attribute_nodes(&spec, objective, method, control)?, top);
            let entry = |(node, score): &(Node, f64)| json!({"node": node.to_string(), "score": score});
            match args.json {
                true => writeln!(out, "{}", report(&found, objective, method, "nodes", entry))?,
                false => print(&mut out, &found, &measured, method, "node")?,
            }
        }
        By::Edge => {
            let all = attribute_edges(&mut engine, &spec, objective, method, control)?;
            let found = strongest(all.clone(), top);
            if let Some(path) = &args.graph {
                let circuit: BTreeSet<Edge> = found.scores.iter().map(|(edge, _)| *edge).collect();
                let graph = circuit_json(GraphShape::from(engine.schema.dims), &all.scores, &circuit);
                fs::write_text(path, Readers::AsBefore, &graph)?;
            }
            let entry = |(edge, score): &(Edge, f64)| {
                let input = edge.to.port.map(crate::analysis::Port::name);
                json!({"from": edge.from.to_string(), "to": edge.to.node.to_string(), "input": input, "score": score})
            };
            match args.json {
                true => writeln!(out, "{}", report(&found, objective, method, "edges", entry))?,
                false => print(&mut out, &found, &measured, method, "edge")?,
            }
        }
        By::Feature => {
            let found = strongest(engine.attribute_features(&spec, objective, method, control)?, top);
            match args.json {
                true => {
                    let entry = |(node, score): &(FeatureNode, f64)| feature_json(&engine, *node, *score);
                    writeln!(out, "{}", report(&found, objective, method, "features", entry))?;
                }
                false => print(&mut out, &named(found, &engine), &measured, method, "feature")?,
            }
        }
    }
    out.flush()?;
    Ok(())
}

fn feature_json(engine: &Engine, node: FeatureNode, score: f64) -> Value {
    let FeatureNode { hook, feature } = node;
    let mut json = json!({"node": node.to_string(), "hook": hook.to_string(), "feature": feature, "score": score});
    if let Some(label) = label(engine, node) {
        json["label"] = label.into();
    }
    json
}

fn label(engine: &Engine, node: FeatureNode) -> Option<&str> {
    engine.dictionaries.get(&node.hook)?.labels.get(&node.feature?).map(String::as_str)
}

/// Features with their hooks, where there are several, and their labels.
fn named(found: Attributed<FeatureNode>, engine: &Engine) -> Attributed<String> {
    let several = engine.dictionaries.len() > 1;
    let name = |node: FeatureNode| {
        let hook = if several { format!("  {}", node.hook) } else { String::new() };
        let label = label(engine, node).map(|label| format!("  {}", printed::escaped(label))).unwrap_or_default();
        format!("{node}{hook}{label}")
    };
    let Attributed { value, contrast_value, scores } = found;
    Attributed { value, contrast_value, scores: scores.into_iter().map(|(node, score)| (name(node), score)).collect() }
}

/// Attribute the edges. Exact scores of a large graph take long, so a note says how many edges are patched.
pub(super) fn attribute_edges(
    engine: &mut Engine,
    spec: &Spec,
    objective: Objective,
    method: Method,
    control: Control<'_>,
) -> Result<Attributed<Edge>> {
    const MANY: usize = 20_000;
    let count = GraphShape::from(engine.schema.dims).edge_count();
    if method == Method::Exact && count > MANY {
        printed::note(format_args!("note: {count} edges are patched one by one"));
    }
    Ok(engine.attribute_edges(spec, objective, method, control)?)
}

/// The method that the arguments name, or else `usual`, with its steps.
pub(super) fn method(args: &MethodArgs, usual: Method) -> Method {
    let chosen = args.method.map_or(usual, |method| match (method, usual) {
        (MethodArg::Eap, _) => Method::Eap,
        (MethodArg::EapIg, Method::EapIg { steps }) => Method::EapIg { steps },
        (MethodArg::EapIg, Method::Eap | Method::Exact) => Method::EapIg { steps: Method::STEPS },
        (MethodArg::Exact, _) => Method::Exact,
    });
    match (chosen, args.steps) {
        (Method::EapIg { .. }, Some(steps)) => Method::EapIg { steps: usize::try_from(steps).unwrap_or(usize::MAX) },
        (chosen, _) => chosen,
    }
}

/// Sort by strength, ties in the graph's order and NaN last, and keep the first `top`.
pub(super) fn strongest<T>(mut found: Attributed<T>, top: usize) -> Attributed<T> {
    let key = |score: f64| if score.is_nan() { -1.0 } else { score.abs() };
    found.scores.sort_by(|a, b| key(b.1).total_cmp(&key(a.1)));
    found.scores.truncate(top);
    found
}

fn report<T>(
    found: &Attributed<T>,
    objective: Objective,
    method: Method,
    name: &str,
    entry: impl Fn(&(T, f64)) -> Value,
) -> Value {
    json!({
        "metric": objective.name(),
        "value": found.value,
        "contrast_value": found.contrast_value,
        "method": method.name(),
        name: found.scores.iter().map(entry).collect::<Vec<_>>(),
    })
}

fn print<T: Display>(
    out: &mut impl Write,
    found: &Attributed<T>,
    measured: &str,
    method: Method,
    what: &str,
) -> Result<()> {
    let (value, contrast) = (short_number(found.value), short_number(found.contrast_value));
    writeln!(out, "{measured}: {value} in the prompt, {contrast} in the contrast prompt")?;
    let of = if method == Method::Exact { "the effect of patching it" } else { "the estimated effect of patching it" };
    writeln!(out, "score by {}: {of}\n", method.name())?;
    let widest =
        found.scores.iter().map(|(name, _)| name.to_string().chars().count()).max().unwrap_or(0).max(what.len());
    writeln!(out, "{what:widest$}  {:>10}", "score")?;
    for (name, score) in &found.scores {
        writeln!(out, "{:widest$}  {:>10}", name.to_string(), short_number(*score))?;
    }
    Ok(())
}
