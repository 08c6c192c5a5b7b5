//! Measures how fast a model is on this machine.

use std::{io::Write, sync::atomic::AtomicBool, time::Instant};

use anyhow::Result;
use candle_core::Device;
use serde_json::{Value, json};

use super::{Usage, args::BenchArgs, prepare};
use crate::{
    analysis::Objective,
    engine::{Control, Engine, Method, Question, Spec},
    hooks::{Axis, BlockHook, Capture, Edit, HookPoint, Interventions, Op, Plan, References, Schema},
    model::Start,
    printed,
};

/// Medians in milliseconds.
struct Times {
    length: usize,
    /// A forward pass that keeps no activations.
    forward: f64,
    /// A forward pass that keeps every activation.
    run_with_cache: f64,
    /// A backward pass from the last position's logit to every hook of a finished run, all gradients kept.
    backward: f64,
    /// Scores of all components, and of all edges, against a contrast prompt: both runs and the backward pass.
    attribute_nodes: f64,
    attribute_edges: f64,
    /// A run with an edit in the last block, given its baseline, up to the prediction after the last position.
    rerun_last_block: f64,
    /// All heads ablated one at a time.
    sweep_heads: f64,
}

pub(super) fn main(args: &BenchArgs) -> Result<()> {
    let loaded = prepare::load(&args.model)?;
    let config = loaded.model.config.clone();
    if let Some(length) = args.lengths.iter().find(|n| **n == 0 || **n > config.context) {
        return Err(Usage(format!("--lengths: {length}: expected 1 to {}", config.context)).into());
    }
    let schema = Schema::new(config.dims());
    let mut engine = Engine::new(loaded, schema);
    let mut out = printed::stdout();
    if !args.json {
        writeln!(
            out,
            "{:>6}  {:>10}  {:>14}  {:>11}  {:>10}  {:>10}  {:>16}  {:>11}",
            "tokens", "forward", "run_with_cache", "backward", "nodes", "edges", "rerun_last_block", "sweep_heads"
        )?;
    }
    let mut all = Vec::new();
    for length in &args.lengths {
        let times = measure(&mut engine, *length, args.repeats)?;
        if !args.json {
            let Times {
                length,
                forward,
                run_with_cache,
                backward,
                attribute_nodes,
                attribute_edges,
                rerun_last_block,
                sweep_heads,
            } = &times;
            writeln!(
                out,
                "{length:>6}  {forward:>7.1} ms  {run_with_cache:>11.1} ms  {backward:>8.1} ms  {attribute_nodes:>7.1} ms  {attribute_edges:>7.1} ms  {rerun_last_block:>13.1} ms  {sweep_heads:>8.1} ms"
            )?;
            out.flush()?;
        }
        all.push(times);
    }
    if args.json {
        let object = |t: &Times| {
            json!({
                "length": t.length,
                "forward_ms": t.forward,
                "run_with_cache_ms": t.run_with_cache,
                "backward_ms": t.backward,
                "attribute_nodes_ms": t.attribute_nodes,
                "attribute_edges_ms": t.attribute_edges,
                "rerun_last_block_ms": t.rerun_last_block,
                "sweep_heads_ms": t.sweep_heads,
            })
        };
        writeln!(out, "{}", Value::from(all.iter().map(object).collect::<Vec<_>>()))?;
    }
    out.flush()?;
    Ok(())
}

fn measure(engine: &mut Engine, length: usize, repeats: u16) -> Result<Times> {
    let cancel = AtomicBool::new(false);
    let control = Control { cancel: &cancel, progress: &|_, _| {} };
    let dims = engine.schema.dims;
    let device = engine.loaded.model.place().device;
    let vocab = u32::try_from(dims.d_vocab).unwrap_or(u32::MAX);
    let tokens: Vec<u32> = (1u32..).map(|id| id % vocab).take(length).collect();
    let pass = |engine: &Engine, capture: Capture| -> Result<()> {
        let (plans, rows) = ([Plan::default()], [tokens.clone()]);
        let mut hooks = Interventions::new(&plans, &[], capture, References::default(), dims.d_vocab);
        engine.loaded.model.forward(Start::Tokens(&rows), &engine.schema, &mut hooks)?;
        Ok(())
    };
    let head = |layer, head| Edit::at(HookPoint::Block(layer, BlockHook::Z), &[(Axis::Head, head)], Op::Set(0.0));
    let baseline = Spec { tokens: tokens.clone(), ..Spec::default() };
    engine.run(&baseline, &Capture::All, length - 1, control)?;
    // interleaved, so that other load on the machine affects all of them alike
    let [mut forward, mut run_with_cache, mut backward, mut rerun_last_block] = [const { Vec::new() }; 4];
    let [mut attribute_nodes, mut attribute_edges] = [const { Vec::new() }; 2];
    let objective = Objective::LogitDiff { pos: length - 1, target: tokens[0], distractor: None };
    for number in 0..=usize::from(repeats) {
        forward.push(timed(&device, || pass(engine, Capture::None))?);
        run_with_cache.push(timed(&device, || pass(engine, Capture::All))?);
        let back = || Ok(engine.gradients(&baseline, objective, &Capture::All, control).map(drop)?);
        backward.push(timed(&device, back)?);
        // a new prompt each time, as in use
        let vocab = dims.d_vocab.max(1);
        let other = |by: usize| -> Vec<u32> {
            let moved = |id: &u32| u32::try_from((*id as usize + by) % vocab).unwrap_or(0);
            tokens.iter().map(moved).collect()
        };
        let pair = |by: usize| Spec {
            tokens: other(4 * number + by),
            contrast: Some(other(4 * number + by + 1)),
            ..Spec::default()
        };
        let (nodes_of, edges_of) = (pair(1), pair(3));
        let nodes = || Ok(engine.attribute_nodes(&nodes_of, objective, Method::Eap, control).map(drop)?);
        attribute_nodes.push(timed(&device, nodes)?);
        let edges = || Ok(engine.attribute_edges(&edges_of, objective, Method::Eap, control).map(drop)?);
        attribute_edges.push(timed(&device, edges)?);
        engine.run(&baseline, &Capture::All, length - 1, control)?;
        let spec = Spec { edits: vec![head(dims.n_layers - 1, number % dims.n_heads)], ..baseline.clone() };
        let again = || Ok(engine.run(&spec, &Capture::All, length - 1, control).map(drop)?);
        rerun_last_block.push(timed(&device, again)?);
    }
    let heads = (0..dims.n_layers).flat_map(|layer| (0..dims.n_heads).map(move |h| vec![head(layer, h)]));
    let cells: Vec<Vec<Edit>> = heads.collect();
    let question = Question { target: tokens[0], distractor: None };
    let sweep = |engine: &mut Engine| Ok(engine.sweep(&baseline, &cells, question, control, &mut |_| {})?);
    let times = 0..=repeats.min(5);
    let sweep_heads = times.map(|_| timed(&device, || sweep(engine))).collect::<Result<Vec<f64>>>()?;
    Ok(Times {
        length,
        forward: median(forward),
        run_with_cache: median(run_with_cache),
        backward: median(backward),
        attribute_nodes: median(attribute_nodes),
        attribute_edges: median(attribute_edges),
        rerun_last_block: median(rerun_last_block),
        sweep_heads: median(sweep_heads),
    })
}

/// How long `work` takes on its device, in milliseconds.
fn timed(device: &Device, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let began = Instant::now();
    work()?;
    device.synchronize()?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// The median of all times but the first, which is a warm-up.
fn median(mut times: Vec<f64>) -> f64 {
    times.remove(0);
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
