//! Prompts of a corpus in batches: each result is that of the single run.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
};

use candle_core::Tensor;
use common::{edits::any_edit, engine, spec};
use proptest::prelude::*;
use pythia_tui::{
    analysis::{ObjectiveKind, Score, head_scores, kl_divergence},
    engine::{
        Batch, BatchOutcome, Control, CorpusMeans, CorpusPrompt, CorpusQuestion, CorpusTask, Engine, HeadEffects,
        HeadSums, Measured, Spec, TopContexts, TopQuestion, Watch, WatchHeads, measured_objective,
    },
    hooks::{Capture, CorpusValues, Edit, HookPoint, Op, RunError},
    model::{Dictionary, Processing},
};

static NEVER: AtomicBool = AtomicBool::new(false);

fn with_control<T>(work: impl FnOnce(Control<'_>) -> T) -> T {
    work(Control { cancel: &NEVER, progress: &|_, _| {} })
}

fn prompt(tokens: &[u32]) -> CorpusPrompt {
    CorpusPrompt { tokens: tokens.to_vec(), ..CorpusPrompt::default() }
}

fn task(edits: Vec<Edit>, metric: ObjectiveKind, engine: &Engine) -> CorpusTask {
    let spec = Spec { edits, enabled: engine.schema.enabled().clone(), ..Spec::default() };
    CorpusTask { spec, question: CorpusQuestion { metric, ..CorpusQuestion::default() }, ablation: None }
}

fn run(
    engine: &mut Engine,
    task: &CorpusTask,
    batch: &Batch<'_>,
    means: &CorpusValues,
) -> Result<BatchOutcome, RunError> {
    with_control(|control| engine.run_batch(task, batch, means, &Watch::nothing(), control))
}

/// What a single run measures of the same tokens as `measured`.
fn single(
    engine: &mut Engine,
    task: &CorpusTask,
    prompt: &CorpusPrompt,
    measured: &Measured,
) -> Result<[f64; 2], RunError> {
    let spec = Spec { tokens: prompt.tokens.clone(), contrast: prompt.contrast.clone(), ..task.spec.clone() };
    let outcome = with_control(|control| engine.run(&spec, &Capture::None, 0, control))?;
    let objective = measured_objective(task.question, measured, prompt.tokens.len()).unwrap();
    let of = |run| engine.objective(objective, run, &outcome.baseline);
    Ok([of(&outcome.run)?, of(&outcome.baseline)?])
}

fn near(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() < 1e-5 * b.abs().max(1.0)
}

/// Prompts of micro checkpoints, which have 50 tokens.
fn prompts(rows: usize, n_pos: usize) -> impl Strategy<Value = Vec<CorpusPrompt>> {
    let tokens = move || prop::collection::vec(0u32..50, n_pos);
    let one = (tokens(), tokens(), 0u32..50, 0u32..50).prop_map(|(tokens, contrast, target, distractor)| {
        CorpusPrompt { tokens, contrast: Some(contrast), target: Some(target), distractor: Some(distractor) }
    });
    prop::collection::vec(one, rows)
}

const CHECKPOINTS: [&str; 2] = ["parallel-25", "sequential-25"];

fn metric() -> impl Strategy<Value = ObjectiveKind> {
    prop::sample::select(ObjectiveKind::ALL.to_vec())
}

/// What is drawn for a batch.
#[derive(Clone, Debug)]
struct Drawn {
    name: &'static str,
    processing: Processing,
    edits: Vec<Edit>,
    prompts: Vec<CorpusPrompt>,
    metric: ObjectiveKind,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    (prop::sample::select(CHECKPOINTS.to_vec()), any::<bool>(), 2usize..9, 1usize..5).prop_flat_map(
        |(name, processed, n_pos, rows)| {
            let processing = if processed { Processing::Folded } else { Processing::None };
            let engine = engine(name, processing, &[]);
            let edits = prop::collection::vec(any_edit(&engine, n_pos), 0..4);
            (edits, prompts(rows, n_pos), metric()).prop_map(move |(edits, prompts, metric)| Drawn {
                name,
                processing,
                edits,
                prompts,
                metric,
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    /// Any edits, on both residual forms, with and without processing.
    #[test]
    fn every_prompt_of_a_batch_has_the_result_of_its_single_run(drawn in drawn()) {
        let Drawn { name, processing, edits, prompts, metric } = drawn;
        let mut engine = engine(name, processing, &[]);
        let task = task(edits, metric, &engine);
        let batch = Batch { prompts: prompts.iter().collect(), ..Batch::default() };
        let watch = Watch { effects: true, ..Watch::nothing() };
        let found = with_control(|control| engine.run_batch(&task, &batch, &CorpusValues::default(), &watch, control)).unwrap();
        prop_assert_eq!(found.measured.len(), prompts.len());
        prop_assert_eq!(found.effects.len(), if task.spec.edits.is_empty() { 0 } else { prompts.len() });
        for (row, (prompt, measured)) in prompts.iter().zip(&found.measured).enumerate() {
            let [value, baseline] = single(&mut engine, &task, prompt, measured).unwrap();
            prop_assert!(near(measured.value, value), "{} for {value}", measured.value);
            prop_assert!(near(measured.baseline, baseline), "{} for {baseline}", measured.baseline);
            let Some(felt) = found.effects.get(row) else { continue };
            let spec = Spec { tokens: prompt.tokens.clone(), contrast: prompt.contrast.clone(), ..task.spec.clone() };
            let outcome = with_control(|control| engine.run(&spec, &Capture::None, usize::MAX, control)).unwrap();
            prop_assert!(near(felt.kl, outcome.kl[0]), "{} for {}", felt.kl, outcome.kl[0]);
            let expected: Vec<_> = outcome.effects.into_iter().map(|effect| effect.no_effect).collect();
            prop_assert_eq!(&felt.no_effect, &expected);
        }
    }

    /// Resampling is patching from the prompt that was chosen; each seed has its own.
    #[test]
    fn resampling_is_patching_from_the_chosen_prompt(drawn in drawn(), seed in 0u64..5) {
        let Drawn { name, processing, edits, prompts, metric } = drawn;
        let mut engine = engine(name, processing, &[]);
        engine.schema.set_corpus();
        let replaced = |op: Op| edits.iter().cloned().map(|edit| Edit { op, ..edit }).collect::<Vec<_>>();
        let patched = task(replaced(Op::Patch), metric, &engine);
        let resampled = task(replaced(Op::Resample { seed }), metric, &engine);
        let means = CorpusValues::default();
        let expected = run(&mut engine, &patched, &Batch { prompts: prompts.iter().collect(), ..Batch::default() }, &means).unwrap();
        // the same prompts as others of the corpus; another seed's must not matter
        let others: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.contrast.as_deref().unwrap()).collect();
        let own: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.tokens.as_slice()).collect();
        let plain: Vec<CorpusPrompt> = prompts.iter().map(|prompt| CorpusPrompt { contrast: None, ..prompt.clone() }).collect();
        let batch = Batch { prompts: plain.iter().collect(), resampled: BTreeMap::from([(seed, others), (seed + 1, own)]) };
        let found = run(&mut engine, &resampled, &batch, &means).unwrap();
        for (found, expected) in found.measured.iter().zip(&expected.measured) {
            prop_assert!(near(found.value, expected.value), "{found:?} for {expected:?}");
        }
    }

    /// The mean over a corpus of the unedited values, as an edit of each unit by its number would set it.
    #[test]
    fn mean_ablation_takes_the_mean_over_all_positions(
        prompts in prompts(3, 5), short in prompts(2, 2), head in 0usize..4, block in 0usize..2, sequential: bool, metric in metric(),
    ) {
        let mut engine = engine(CHECKPOINTS[usize::from(sequential)], Processing::Folded, &[]);
        engine.schema.set_corpus();
        let line = format!("blocks.{block}.attn.hook_z[head={head}] = mean@corpus");
        let task = task(vec![line.parse().unwrap()], metric, &engine);
        let mut sums = CorpusMeans::of(&engine, &task).unwrap();
        for prompts in [&prompts, &short] {
            let tokens: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.tokens.clone()).collect();
            with_control(|control| sums.add(&mut engine, &task, &tokens, control)).unwrap();
        }
        let means = sums.finish(&engine).unwrap();
        let point: HookPoint = format!("blocks.{block}.attn.hook_z").parse().unwrap();
        let (mut all, mut positions) = (vec![0.0f64; engine.schema.dims.d_head], 0.0);
        for prompt in prompts.iter().chain(&short) {
            let outcome = common::run(&mut engine, &spec(&prompt.tokens, &[])).unwrap();
            let value = engine.activation(&outcome.run, point).unwrap().unwrap();
            for pos in 0..prompt.tokens.len() {
                let own: Vec<f32> = value.get(0).unwrap().get(pos).unwrap().get(head).unwrap().to_vec1().unwrap();
                all.iter_mut().zip(own).for_each(|(sum, x)| *sum += f64::from(x));
                positions += 1.0;
            }
        }
        let edits = all.iter().enumerate().map(|(i, sum)| format!("blocks.{block}.attn.hook_z[head={head} d_head={i}] = {}", (sum / positions) as f32));
        let one_by_one = CorpusTask { spec: Spec { edits: edits.map(|line| line.parse().unwrap()).collect(), ..task.spec.clone() }, ..task.clone() };
        let batch = Batch { prompts: prompts.iter().collect(), ..Batch::default() };
        let found = run(&mut engine, &task, &batch, &means).unwrap();
        let expected = run(&mut engine, &one_by_one, &batch, &means).unwrap();
        for (found, expected) in found.measured.iter().zip(&expected.measured) {
            prop_assert!(near(found.value, expected.value), "{found:?} for {expected:?}");
        }
    }

    /// What is kept and observed of a batch is what each single run keeps.
    #[test]
    fn what_a_batch_shows_is_what_single_runs_show(drawn in drawn()) {
        let Drawn { name, processing, edits, prompts, metric } = drawn;
        let mut engine = engine(name, processing, &[]);
        let task = task(edits, metric, &engine);
        let questions: Vec<TopQuestion> = ["blocks.*.mlp.hook_post[d_mlp=3]", "blocks.1.attn.hook_z[head=1]"].into_iter()
            .flat_map(|text| TopQuestion::parse(text, &engine).unwrap()).collect();
        let keep = Capture::Only(questions.iter().flat_map(|question| question.keeps(&engine)).collect());
        let refs: Vec<&CorpusPrompt> = prompts.iter().collect();
        let heads = WatchHeads::new(&refs);
        let batch = Batch { prompts: refs, ..Batch::default() };
        let found = with_control(|control| {
            engine.run_batch(&task, &batch, &CorpusValues::default(), &Watch { keep, observer: Some(&heads), ..Watch::nothing() }, control)
        }).unwrap();
        let mut sums = HeadSums::new(&engine.schema.dims);
        sums.add(heads, &(0..prompts.len()).collect::<Vec<_>>());
        let mut scores = vec![vec![vec![0.0; Score::ALL.len()]; engine.schema.dims.n_heads]; engine.schema.dims.n_layers];
        for (row, prompt) in prompts.iter().enumerate() {
            let spec = Spec { tokens: prompt.tokens.clone(), contrast: prompt.contrast.clone(), ..task.spec.clone() };
            let outcome = with_control(|control| engine.run(&spec, &Capture::All, 0, control)).unwrap();
            for point in found.cache.points() {
                let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let (own, alone) = (found.cache.get(point).unwrap().get(row).unwrap(), engine.activation(&outcome.run, point).unwrap().unwrap());
                for (a, b) in flat(&own).iter().zip(flat(&alone)) {
                    prop_assert!(near((*a).into(), b.into()), "{point}: {a} for {b}");
                }
            }
            for (layer, heads) in scores.iter_mut().enumerate() {
                let pattern = engine.activation(&outcome.run, format!("blocks.{layer}.attn.hook_pattern").parse().unwrap()).unwrap().unwrap();
                for (head, sums) in heads.iter_mut().enumerate() {
                    let own: Vec<f32> = pattern.get(0).unwrap().get(head).unwrap().flatten_all().unwrap().to_vec1().unwrap();
                    let of = head_scores(&own, &prompt.tokens);
                    sums.iter_mut().zip(Score::ALL).for_each(|(sum, score)| *sum += score.of(&of) / prompts.len() as f64);
                }
            }
        }
        for (layer, heads) in sums.means().iter().enumerate() {
            for (head, found) in heads.iter().enumerate() {
                for (score, expected) in Score::ALL.into_iter().zip(&scores[layer][head]) {
                    prop_assert!(near(score.of(found), *expected), "{layer}.{head} {}: {} for {expected}", score.name(), score.of(found));
                }
            }
        }
    }
}

#[test]
fn operations_of_a_corpus_are_refused_elsewhere() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    for (line, why) in [
        ("blocks.0.hook_mlp_out = mean@corpus", "only runs of a corpus"),
        ("blocks.0.attn.hook_z = resample seed 2", "only runs of a corpus"),
    ] {
        let message = common::run(&mut engine, &spec(&[1, 2, 3], &[line])).err().unwrap().to_string();
        assert!(message.contains(why) && message.contains(line), "{message}");
    }
    engine.schema.set_corpus();
    for (line, why) in [
        ("blocks.0.attn.hook_pattern = mean@corpus", "does not depend on the prompt's length"),
        ("blocks.0.hook_mlp_out[pos=9] = mean@corpus", "out of range"),
    ] {
        let task = task(vec![line.parse().unwrap()], ObjectiveKind::Kl, &engine);
        let prompt = prompt(&[1, 2, 3]);
        let message =
            run(&mut engine, &task, &Batch { prompts: vec![&prompt], ..Batch::default() }, &CorpusValues::default())
                .err()
                .unwrap()
                .to_string();
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn a_batch_has_prompts_of_one_length() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let task = task(vec![], ObjectiveKind::Kl, &engine);
    let (long, short) = (prompt(&[1, 2, 3]), prompt(&[1, 2]));
    let mixed = Batch { prompts: vec![&long, &short], ..Batch::default() };
    let message = run(&mut engine, &task, &mixed, &CorpusValues::default()).err().unwrap().to_string();
    assert!(message.contains("different lengths"), "{message}");
}

#[test]
fn a_prompt_of_one_token_has_no_loss_and_the_likeliest_tokens_are_the_default() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let one = prompt(&[7]);
    let batch = Batch { prompts: vec![&one], ..Batch::default() };
    let loss = task(vec![], ObjectiveKind::Loss, &engine);
    assert!(run(&mut engine, &loss, &batch, &CorpusValues::default()).unwrap().measured[0].value.is_nan());
    let difference = task(vec![], ObjectiveKind::LogitDiff, &engine);
    let measured = run(&mut engine, &difference, &batch, &CorpusValues::default()).unwrap().measured[0];
    let outcome = common::run(&mut engine, &spec(&[7], &[])).unwrap();
    let mut logits: Vec<(usize, f32)> = outcome.run.logit_rows().unwrap().remove(0).into_iter().enumerate().collect();
    logits.sort_by(|a, b| b.1.total_cmp(&a.1));
    assert_eq!((measured.target, measured.distractor), (Some(logits[0].0 as u32), Some(logits[1].0 as u32)));
    assert!(near(measured.value, f64::from(logits[0].1) - f64::from(logits[1].1)));
}

fn heads(engine: &mut Engine, task: &CorpusTask, batch: &Batch<'_>, means: &CorpusValues) -> Vec<Vec<f64>> {
    with_control(|control| engine.ablate_heads_of(task, batch, means, control)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(30) })]

    /// Of every metric, beside edits that take values from the corpus, by operations that do too: as the same edits one by one.
    #[test]
    fn heads_are_ablated_beside_edits_of_the_corpus(
        prompts in prompts(3, 4), sequential: bool, metric in metric(),
        ops in (prop::sample::select(vec!["= mean@corpus", "= resample seed 3", "= resample seed 4", "*= 0.5"]),
                prop::sample::select(vec!["= 0", "= mean@corpus", "= resample seed 3", "= patch"])),
    ) {
        let mut engine = engine(CHECKPOINTS[usize::from(sequential)], Processing::Folded, &[]);
        engine.schema.set_corpus();
        let edits: Vec<Edit> = vec![format!("blocks.0.hook_mlp_out {}", ops.0).parse().unwrap()];
        let task = CorpusTask { ablation: Some(ops.1.parse().unwrap()), ..task(edits, metric, &engine) };
        let tokens: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.tokens.clone()).collect();
        let means = match CorpusMeans::of(&engine, &task) {
            Some(mut sums) => {
                with_control(|control| sums.add(&mut engine, &task, &tokens, control)).unwrap();
                sums.finish(&engine).unwrap()
            }
            None => CorpusValues::default(),
        };
        let turned = |by: usize| (0..3).map(|row| tokens[(row + by) % 3].as_slice()).collect::<Vec<_>>();
        let resampled = BTreeMap::from([(3, turned(1)), (4, turned(2))]);
        let batch = Batch { prompts: prompts.iter().collect(), resampled };
        let found = heads(&mut engine, &task, &batch, &means);
        let own = CorpusTask { ablation: None, ..task.clone() };
        let n_heads = engine.schema.dims.n_heads;
        for cell in [0, n_heads - 1, n_heads, 2 * n_heads - 1] {
            let head = format!("blocks.{}.attn.hook_z[head={}] {}", cell / n_heads, cell % n_heads, ops.1);
            for (row, prompt) in prompts.iter().enumerate() {
                let resampled = batch.resampled.iter().map(|(seed, rows)| (*seed, vec![rows[row]])).collect();
                let alone = Batch { prompts: vec![prompt], resampled };
                let mut with = own.clone();
                with.spec.edits.push(head.parse().unwrap());
                let before = last_logits(&mut engine, &own, &alone, &means);
                let after = last_logits(&mut engine, &with, &alone, &means);
                let [without, with] = [&own, &with].map(|task| run(&mut engine, task, &alone, &means).unwrap().measured[0].value);
                let expected = match metric {
                    ObjectiveKind::Kl => kl_divergence(&before, &after),
                    ObjectiveKind::LogitDiff | ObjectiveKind::Prob | ObjectiveKind::Loss => with - without,
                };
                prop_assert!(near(found[row][cell], expected), "{head}, {row}: {} for {expected}", found[row][cell]);
            }
        }
    }
}

/// The logits after the last position with the edits of a task, from what `ln_final` gives.
fn last_logits(engine: &mut Engine, task: &CorpusTask, batch: &Batch<'_>, means: &CorpusValues) -> Vec<f32> {
    let point: HookPoint = "ln_final.hook_normalized".parse().unwrap();
    let watch = Watch { keep: Capture::Only([point].into()), ..Watch::nothing() };
    let found = with_control(|control| engine.run_batch(task, batch, means, &watch, control)).unwrap();
    let normalized = found.cache.get(point).unwrap();
    let last = normalized.narrow(1, normalized.dim(1).unwrap() - 1, 1).unwrap();
    engine.loaded.model.unembed(&last).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Head by head, as edits of single runs.
#[test]
fn head_ablation_is_the_edit_of_each_head() {
    for (name, metric) in [
        ("parallel-25", ObjectiveKind::Kl),
        ("sequential-25", ObjectiveKind::LogitDiff),
        ("parallel-25", ObjectiveKind::Prob),
    ] {
        let mut engine = engine(name, Processing::Folded, &[]);
        let plain = CorpusTask { ablation: Some(Op::Set(0.0)), ..task(vec![], metric, &engine) };
        let prompt =
            CorpusPrompt { tokens: vec![7, 3, 9, 22, 41], target: Some(4), distractor: Some(9), contrast: None };
        let batch = Batch { prompts: vec![&prompt], ..Batch::default() };
        let found = heads(&mut engine, &plain, &batch, &CorpusValues::default()).remove(0);
        let mut effects = HeadEffects::new(&engine.schema.dims);
        effects.add(&found);
        let heads = engine.schema.dims.n_heads;
        for (cell, effect) in found.iter().enumerate() {
            let line = format!("blocks.{}.attn.hook_z[head={}] = 0", cell / heads, cell % heads);
            let edited = task(vec![line.parse().unwrap()], metric, &engine);
            let batch = Batch { prompts: vec![&prompt], ..Batch::default() };
            let measured = run(&mut engine, &edited, &batch, &CorpusValues::default()).unwrap().measured[0];
            assert!(near(*effect, measured.value - measured.baseline), "{line}: {effect} for {measured:?}");
            assert_eq!(effects.means()[cell / heads][cell % heads], *effect);
        }
    }
}

/// A prompt alone, with and without values of the corpus in the place of features.
fn with_features(name: &str, dictionary: &str, processing: Processing) -> (Engine, HookPoint) {
    let mut engine = engine(name, processing, &[]);
    let place = engine.loaded.model.place();
    let dictionary = match dictionary {
        "demo" => Dictionary::demo(&place).unwrap(),
        directory => Dictionary::open(&common::fixture("dictionaries").join(directory), &place).unwrap(),
    };
    let hook = dictionary.hook.unwrap_or("blocks.0.hook_resid_post".parse().unwrap());
    engine.use_dictionary(hook, Arc::new(dictionary));
    engine.schema.set_corpus();
    (engine, hook)
}

/// The mean of each feature over every position of every prompt, and the features of the prompt that a seed chose; what the
/// dictionary leaves out stays, as with any edit of a feature.
#[test]
fn features_are_taken_from_the_corpus() {
    for (name, dictionary) in [
        ("parallel-25", "sae-lens-standard"),
        ("parallel-25", "dl-topk"),
        ("sequential-25", "sae-lens-topk"),
        ("demo", "demo"),
    ] {
        for processing in [Processing::Folded, Processing::None] {
            let (mut engine, hook) = with_features(name, dictionary, processing);
            let rows: [&[u32]; 3] = [&[7, 3, 9, 22, 41], &[5, 6, 7], &[2, 9, 44, 1, 30]];
            let prompts: Vec<CorpusPrompt> = rows.iter().map(|tokens| prompt(tokens)).collect();
            let own = engine.dictionaries[&hook].clone();
            let (mut sums, mut positions, mut fires) = (vec![0.0f64; own.d_sae], 0.0, BTreeMap::new());
            for prompt in &prompts {
                let outcome = common::run(&mut engine, &spec(&prompt.tokens, &[])).unwrap();
                for at in engine.features(&outcome.run, hook, &own).unwrap() {
                    for (feature, value) in at.features {
                        sums[feature as usize] += f64::from(value);
                        *fires.entry(feature).or_insert(0) += 1;
                    }
                    positions += 1.0;
                }
            }
            assert!(fires.len() > 3, "{name} {dictionary}: {} features fire", fires.len());
            let line = |rest: &str| format!("{hook}.hook_sae_acts_post{rest}").parse::<Edit>().unwrap();
            // one at a time: a second edit of features reads what the first one wrote
            let mut often: Vec<(u32, i32)> = fires.into_iter().collect();
            often.sort_by_key(|(_, count)| -count);
            let mut largest = 0.0f64;
            for (id, _) in &often[..3] {
                let by_corpus = task(vec![line(&format!("[d_sae={id}] = mean@corpus"))], ObjectiveKind::Kl, &engine);
                let mut means = CorpusMeans::of(&engine, &by_corpus).unwrap();
                for prompt in &prompts {
                    let tokens = std::slice::from_ref(&prompt.tokens);
                    with_control(|control| means.add(&mut engine, &by_corpus, tokens, control)).unwrap();
                }
                let means = means.finish(&engine).unwrap();
                let mean = (sums[*id as usize] / positions) as f32;
                let by_number = task(vec![line(&format!("[d_sae={id}] = {mean}"))], ObjectiveKind::Kl, &engine);
                for prompt in &prompts {
                    let alone = Batch { prompts: vec![prompt], ..Batch::default() };
                    let [found, expected] = [&by_corpus, &by_number]
                        .map(|task| run(&mut engine, task, &alone, &means).unwrap().measured[0].value);
                    assert!(
                        (found - expected).abs() < 1e-7 + 1e-4 * expected,
                        "{name} {dictionary} {processing}, {id}: {found} for {expected}"
                    );
                    largest = largest.max(expected);
                }
            }
            assert!(largest > 1e-4, "{name} {dictionary}: {largest}");
            let resampled = task(vec![line(" = resample seed 3")], ObjectiveKind::Kl, &engine);
            let patched = task(vec![line(" = patch")], ObjectiveKind::Kl, &engine);
            let chosen = BTreeMap::from([(3, vec![rows[2]])]);
            let alone = Batch { prompts: vec![&prompts[0]], resampled: chosen };
            let found = run(&mut engine, &resampled, &alone, &CorpusValues::default()).unwrap().measured[0].value;
            let with_contrast = CorpusPrompt { contrast: Some(rows[2].to_vec()), ..prompts[0].clone() };
            let alone = Batch { prompts: vec![&with_contrast], ..Batch::default() };
            let expected = run(&mut engine, &patched, &alone, &CorpusValues::default()).unwrap().measured[0].value;
            assert!(expected > 1e-4 && near(found, expected), "{name} {dictionary}: {found} for {expected}");
        }
    }
}

/// The features of a prompt in a batch are those of its single run.
#[test]
fn features_are_ranked_as_single_runs_have_them() {
    let mut engine = engine("demo", Processing::Folded, &[]);
    let dictionary = std::sync::Arc::new(pythia_tui::model::Dictionary::demo(&engine.loaded.model.place()).unwrap());
    let hook = dictionary.hook.unwrap();
    engine.use_dictionary(hook, dictionary.clone());
    let text = ["When Mary and John went to the store", "John gave a drink to"];
    let prompts: Vec<CorpusPrompt> =
        text.iter().map(|text| prompt(&engine.loaded.tokenizer.encode(text).unwrap()[..5])).collect();
    let outcome = common::run(&mut engine, &spec(&prompts[1].tokens, &[])).unwrap();
    let features = engine.features(&outcome.run, hook, &dictionary).unwrap();
    let (feature, value) = features[3].features[0];
    let question =
        TopQuestion::parse(&format!("{hook}.hook_sae_acts_post[d_sae={feature}]"), &engine).unwrap().remove(0);
    let keep = Capture::Only(question.keeps(&engine).into_iter().collect());
    let plain = task(vec![], ObjectiveKind::Kl, &engine);
    let batch = Batch { prompts: prompts.iter().collect(), ..Batch::default() };
    let found = with_control(|control| {
        engine.run_batch(&plain, &batch, &CorpusValues::default(), &Watch { keep, ..Watch::nothing() }, control)
    })
    .unwrap();
    let activations = question.activations(&engine, &prompts[1], &found.cache, 1).unwrap();
    assert!(near(activations[3].into(), value.into()), "{activations:?} {value}");
    let mut tops = TopContexts::new(1);
    for (number, prompt) in prompts.iter().enumerate() {
        let activations = question.activations(&engine, prompt, &found.cache, number).unwrap();
        tops.add(&prompt.tokens, &activations, number as u64, 1);
    }
    assert!(tops.ranked()[0].value() >= value * 0.99999);
}
