//! Benchmarks of the forward pass and its parts, capture, edits, re-runs, sweeps, and a frame of each view.
//!
//!     cargo bench
//!     BENCH_MODEL=DIR cargo bench -- forward
//!
//! They run on the demo, or on the checkpoint directory that `BENCH_MODEL` names.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking")]

use std::{
    cell::RefCell, collections::HashMap, hint::black_box, ops::ControlFlow, path::PathBuf, sync::atomic::AtomicBool,
};

use candle_core::{Device, Tensor};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use pythia_tui::{
    engine::{Control, Engine, Question, Serve, Session, Spec, Stop},
    experiment::Token,
    explorer::{Effect, Event, Opening, Setup, State, draw, update},
    hooks::{
        ActivationCache, Axis, BlockHook, Capture, Edit, HookPoint, Hooks, Interventions, Op, Plan, References, Schema,
    },
    model::{Dictionary, Dtype, Placement, Processing, Source, Start, modules},
    paint::{ColorDepth, Theme},
    predicate::{Match, Predicate},
    views::{Checkpoints, ModelInfo, Tab, keymap},
};
use ratatui::{Terminal, backend::TestBackend};

const LENGTHS: [usize; 3] = [2, 16, 64];

// as in the program
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn engine() -> Engine {
    // as in the program, a thread of the pool computes; building the pool fails if an earlier call has built it
    let _ = rayon::ThreadPoolBuilder::new().use_current_thread().build_global();
    let source = std::env::var_os("BENCH_MODEL").map_or(Source::Demo, |dir| Source::Directory(PathBuf::from(dir)));
    let loaded = source.load(Processing::Folded, Placement::cpu()).unwrap();
    let schema = Schema::new(loaded.model.config.dims());
    Engine::new(loaded, schema)
}

fn tokens(n: usize) -> Vec<u32> {
    (1..).take(n).collect()
}

fn head(layer: usize, head: usize) -> Edit {
    Edit::at(HookPoint::Block(layer, BlockHook::Z), &[(Axis::Head, head)], Op::Set(0.0))
}

/// Run a forward pass, and return the activations it kept.
fn pass(engine: &Engine, start: Start<'_>, capture: Capture) -> ActivationCache {
    let plans = [Plan::default()];
    let mut hooks = Interventions::new(&plans, &[], capture, References::default(), engine.schema.dims.d_vocab);
    black_box(engine.loaded.model.forward(start, &engine.schema, &mut hooks).unwrap());
    hooks.cache
}

fn forward(c: &mut Criterion) {
    let engine = engine();
    let last = engine.schema.dims.n_layers - 1;
    let mut group = c.benchmark_group("forward");
    for n in LENGTHS {
        let rows = [tokens(n)];
        for (name, capture) in [("nothing kept", Capture::None), ("everything kept", Capture::All)] {
            group.bench_function(BenchmarkId::new(name, n), |b| {
                b.iter(|| pass(&engine, Start::Tokens(&rows), capture.clone()));
            });
        }
        let kept = pass(&engine, Start::Tokens(&rows), Capture::All);
        let stream = kept.get(HookPoint::Block(last, BlockHook::ResidPre)).unwrap();
        let normalized = || {
            let mut hooks = Interventions::new(&[], &[], Capture::None, References::default(), 0);
            let start = Start::Residual { block: last, stream: stream.clone(), past: None };
            engine.loaded.model.normalized(start, &engine.schema, &mut hooks).unwrap()
        };
        group.bench_function(BenchmarkId::new("one block", n), |b| b.iter(normalized));
        let normalized = normalized();
        group.bench_function(BenchmarkId::new("unembedding", n), |b| {
            b.iter(|| engine.loaded.model.unembed(&normalized).unwrap());
        });
        let z = kept.get(HookPoint::Block(0, BlockHook::Z)).unwrap();
        let edits = [head(0, 0)];
        let plans = [Plan::resolve(&edits, &engine.schema, n, None).unwrap()];
        group.bench_function(BenchmarkId::new("an edit of one head", n), |b| {
            let hooks = || Interventions::new(&plans, &edits, Capture::None, References::default(), 0);
            let point = HookPoint::Block(0, BlockHook::Z);
            b.iter_batched(hooks, |mut hooks| hooks.at(point, z.clone()).unwrap(), BatchSize::SmallInput);
        });
    }
}

fn again(c: &mut Criterion) {
    let engine = RefCell::new(engine());
    let dims = engine.borrow().schema.dims;
    let cancel = AtomicBool::new(false);
    let control = Control { cancel: &cancel, progress: &|_, _| {} };
    let mut group = c.benchmark_group("again");
    group.sample_size(10);
    for n in LENGTHS {
        let spec = Spec { tokens: tokens(n), ..Spec::default() };
        let edited = |edit: Edit| Spec { edits: vec![edit], ..spec.clone() };
        let at_end = Edit::at(HookPoint::Block(0, BlockHook::ResidPre), &[(Axis::Pos, n - 1)], Op::Set(0.0));
        for (name, edit) in
            [("last block", head(dims.n_layers - 1, 0)), ("first block", head(0, 0)), ("last position", at_end)]
        {
            let spec = edited(edit);
            group.bench_function(BenchmarkId::new(name, n), |b| {
                b.iter(|| engine.borrow_mut().run(&spec, &Capture::All, spec.tokens.len() - 1, control).unwrap());
            });
        }
        let cells: Vec<Vec<Edit>> =
            (0..dims.n_layers).flat_map(|layer| (0..dims.n_heads).map(move |h| vec![head(layer, h)])).collect();
        let question = Question { target: 1, distractor: None };
        group.bench_function(BenchmarkId::new("sweep of all heads", n), |b| {
            b.iter(|| engine.borrow_mut().sweep(&spec, &cells, question, control, &mut |_| {}).unwrap());
        });
    }
}

/// What a predicate over every hook costs, beside "everything kept" of the forward pass.
fn predicates(c: &mut Criterion) {
    let mut engine = engine();
    let cancel = AtomicBool::new(false);
    let control = Control { cancel: &cancel, progress: &|_, _| {} };
    let mut group = c.benchmark_group("predicates");
    for n in LENGTHS {
        let spec = Spec { tokens: tokens(n), ..Spec::default() };
        let outcome = engine.run(&spec, &Capture::All, n - 1, control).unwrap();
        let all = ["blocks.* is nan", "blocks.* is inf", "abs(blocks.*) == 1e9"];
        let reduced = ["norm", "max", "min", "mean", "std"].map(|name| format!("{name}(blocks.*) > 1e9"));
        for text in all.iter().copied().chain(reduced.iter().map(String::as_str)) {
            let predicate: Predicate = text.parse().unwrap();
            group.bench_function(BenchmarkId::new(text, n), |b| {
                b.iter(|| {
                    let mut found = |_: &Match| ControlFlow::Continue(());
                    engine.find_in(&outcome, &predicate, &mut found, control).unwrap();
                });
            });
        }
    }
}

/// The explorer on a prompt, with the answers of a real engine.
fn explorer(size: (u16, u16)) -> State {
    let engine = engine();
    let (loaded, config) = (&engine.loaded, engine.loaded.model.config.clone());
    let named = |id: u32| Token { id, text: loaded.tokenizer.token(id) };
    let prompt: Vec<Token> = tokens(14).into_iter().map(named).collect();
    let model = ModelInfo {
        branch: None,
        name: loaded.name.clone(),
        source: "demo".into(),
        revision: None,
        processing: Processing::Folded,
        device: "cpu f32".into(),
        dtype: Dtype::F32,
        config: config.clone(),
        note: None,
    };
    let setup = Setup { prompt: (String::new(), prompt), ..Setup::default() };
    let (schema, modules) = (engine.schema.clone(), modules(&config));
    State::new(Opening {
        model,
        schema,
        modules,
        checkpoints: Checkpoints::default(),
        keys: keymap(),
        halves: true,
        setup,
        size,
    })
}

fn frames(c: &mut Criterion) {
    let size = (160, 45);
    let theme = Theme { depth: ColorDepth::True, ascii: false, light: false, pixels: None };
    let mut session = Session::new(engine());
    let mut state = explorer(size);
    let mut happen = |state: &mut State, event: Event| {
        for effect in update(state, event) {
            if let Effect::Post(want) = effect {
                let reports = RefCell::new(vec![]);
                session.serve(&want, &Stop::default(), &|report| reports.borrow_mut().push(report)).unwrap();
                for report in reports.into_inner() {
                    update(state, Event::Report(report));
                }
            }
        }
    };
    happen(&mut state, Event::Start);
    let mut group = c.benchmark_group("frame");
    for tab in Tab::ALL.iter().copied() {
        let view = state.views.get(tab);
        if view.unavailable(&state.scene).is_some() {
            continue;
        }
        let Some(key) = view.about().key else { continue };
        happen(&mut state, Event::Key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE)));
        // an answer may lead to further requests
        happen(&mut state, Event::Resize(size.0, size.1));
        assert!(state.is_answered(), "{tab} has no answer");
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        group.bench_function(tab.to_string(), |b| {
            b.iter(|| terminal.draw(|frame| drop(draw(frame, &state, theme))).unwrap().count);
        });
    }
}

/// A sparse dictionary of 32k features at 64 tokens: the width of 70m, and 32 active features.
fn features(c: &mut Criterion) {
    let _ = rayon::ThreadPoolBuilder::new().use_current_thread().build_global();
    let (d_in, d_sae, n_pos) = (512, 32_768, 64);
    let dir = tempfile::tempdir().unwrap();
    let mut state = 1u32;
    let mut random = |n: usize| -> Vec<f32> {
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from((state >> 16) as u16) / 32_768.0 - 1.0
        };
        std::iter::repeat_with(next).take(n).collect()
    };
    let tensor = |values: Vec<f32>, shape: &[usize]| Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    let weights = HashMap::from([
        ("encoder.weight", tensor(random(d_sae * d_in), &[d_sae, d_in])),
        ("encoder.bias", tensor(random(d_sae), &[d_sae])),
        ("W_dec", tensor(random(d_sae * d_in), &[d_sae, d_in])),
        ("b_dec", tensor(random(d_in), &[d_in])),
    ]);
    candle_core::safetensors::save(&weights, dir.path().join("sae.safetensors")).unwrap();
    std::fs::write(dir.path().join("cfg.json"), format!("{{\"d_in\": {d_in}, \"k\": 32}}")).unwrap();
    let dictionary = Dictionary::open(dir.path(), &Placement::cpu()).unwrap();
    let x = tensor(random(n_pos * d_in), &[n_pos, d_in]);
    let mut group = c.benchmark_group("features");
    group.sample_size(20);
    let weight = weights["encoder.weight"].t().unwrap();
    group.bench_function("a matrix product of that size", |b| b.iter(|| black_box(x.matmul(&weight).unwrap())));
    group.bench_function("encode 32k at 64 tokens", |b| b.iter(|| black_box(dictionary.encode(&x).unwrap())));
    let encoded = dictionary.encode(&x).unwrap();
    group.bench_function("decode 32k at 64 tokens", |b| b.iter(|| black_box(dictionary.decode(&encoded))));
    group.finish();
}

criterion_group!(benches, forward, again, predicates, features, frames);
criterion_main!(benches);
