//! `circuit`: how much of the difference between two prompts a set of edges explains.

use std::{io::Write, sync::atomic::AtomicBool};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Usage,
    args::{CircuitArgs, ObjectiveArgs},
    attribute::{attribute_edges, method, strongest},
    objective,
    prepare::{self, Prepared},
};
use crate::{
    analysis::{Edge, GraphShape, short_number},
    engine::{Circuits, Control, Faithfulness, RanCircuit, check_export, circuit_sizes, python_circuit},
    experiment::{ChosenEdges, read_circuit},
    fs::{self, Readers},
    printed,
};

pub(super) fn main(args: &CircuitArgs) -> Result<()> {
    if args.export_python.is_some() {
        check_export(args.model.dtype).map_err(|e| Usage(format!("--export-python: {e}")))?;
    }
    let Prepared { mut engine, setup, name, .. } = prepare::headless(&args.model, &args.prompt, &args.edits)?;
    let spec = setup.spec();
    // the arguments override the experiment's circuit
    let kept = setup.circuit.clone().unwrap_or_default();
    let named = ObjectiveArgs {
        metric: args.objective.metric.or(kept.metric),
        pos: args.objective.pos.or(kept.pos),
        ..args.objective.clone()
    };
    let objective = objective::objective(&named, &setup, &engine)?;
    let method = method(&args.method, kept.method);
    let shape = GraphShape::from(engine.schema.dims);
    let chosen = match (&args.edges, args.top) {
        (Some(path), _) => Some(ChosenEdges::Listed(read_circuit(path, shape)?)),
        (None, Some(top)) => Some(ChosenEdges::Strongest(usize::try_from(top).unwrap_or(usize::MAX))),
        (None, None) => kept.edges,
    };
    if args.export_python.is_some() && chosen.is_none() {
        let expected =
            "--export-python writes one circuit: give --top N, --edges FILE, or an experiment with a circuit";
        return Err(Usage(expected.into()).into());
    }
    let cancel = AtomicBool::new(false);
    let control = Control { cancel: &cancel, progress: &|_, _| {} };
    let all = shape.edge_count();
    let is_curve = chosen.is_none();
    let by = if matches!(chosen, Some(ChosenEdges::Listed(_))) { None } else { Some(method.name()) };
    let mut ranked = || -> Result<Vec<Edge>> {
        let found = attribute_edges(&mut engine, &spec, objective, method, control)?;
        Ok(strongest(found, usize::MAX).scores.into_iter().map(|(edge, _)| edge).collect())
    };
    let (edges, sizes) = match chosen {
        Some(ChosenEdges::Listed(edges)) => {
            let size = edges.len();
            (edges, vec![size])
        }
        Some(ChosenEdges::Strongest(top)) => (ranked()?, vec![top.min(all)]),
        None => (ranked()?, circuit_sizes(all)),
    };
    let sets: Vec<&[Edge]> = sizes.iter().map(|size| &edges[..*size]).collect();
    let found = engine.circuits(&spec, objective, &sets, control, &mut |_| {})?;
    if let (Some(path), [edges], [one]) = (&args.export_python, sets.as_slice(), found.circuits.as_slice()) {
        let model = prepare::of_model(&name, &engine.loaded);
        let Circuits { value, contrast_value, .. } = found;
        let ran = RanCircuit { model, objective, edges, value, contrast_value, found: *one };
        fs::write_text(path, Readers::AsBefore, &python_circuit(&spec, &engine.schema, &ran)?)?;
    }
    let mut out = printed::stdout();
    if args.json {
        let mut json = json!({
            "metric": objective.name(),
            "value": found.value,
            "contrast_value": found.contrast_value,
            "method": by,
            "total_edges": all,
        });
        let point = |f: &Faithfulness| json!({"edges": f.edges, "value": f.value, "faithfulness": f.faithfulness});
        match found.circuits.first() {
            Some(circuit) if !is_curve => {
                json["circuit_value"] = circuit.value.into();
                json["faithfulness"] = circuit.faithfulness.into();
                json["edges"] = sets[0].iter().map(ToString::to_string).collect::<Vec<_>>().into();
            }
            Some(_) | None => json["curve"] = found.circuits.iter().map(point).collect::<Vec<Value>>().into(),
        }
        writeln!(out, "{json}")?;
    } else {
        print(&mut out, &found, (objective.name(), &objective::described(objective, &engine)), all)?;
        if !is_curve {
            writeln!(out)?;
            for edge in sets[0] {
                writeln!(out, "{edge}")?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

fn print(out: &mut impl Write, found: &Circuits, (metric, measured): (&str, &str), all: usize) -> Result<()> {
    let (value, contrast) = (short_number(found.value), short_number(found.contrast_value));
    writeln!(out, "{measured}: {value} in the prompt, {contrast} in the contrast prompt; {all} edges in all\n")?;
    writeln!(out, "{:>8}  {:>10}  {:>12}", "edges", metric, "faithfulness")?;
    for Faithfulness { edges, value, faithfulness } in &found.circuits {
        writeln!(out, "{edges:>8}  {:>10}  {faithfulness:>12.4}", short_number(*value))?;
    }
    Ok(())
}
