//! Properties of random edits: a resumed run equals one from the start, and reported effects are correct.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test fails by panicking")]

mod common;

use std::cell::RefCell;

use candle_core::DType;
use common::{activations, edits::any_edit, engine, run, spec};
use proptest::prelude::*;
use pythia_tui::{
    engine::{Compare, Control, EditEffect, Engine, Outcome, Question, Slice, Spec, Swept, WhichAttention},
    hooks::{ActivationCache, Axis, BlockHook, Capture, Edit, HookPoint, Interventions, Plan, References, readers},
    model::{Processing, Start},
};

const TOKENS: [u32; 7] = [3, 14, 15, 92, 65, 35, 89];

/// The same run in one pass from the tokens, sharing nothing with other runs.
fn from_scratch(engine: &Engine, spec: &Spec) -> (ActivationCache, Vec<f32>) {
    let pass = |edits: &[Edit], references: References<'_>, tokens: &[u32]| {
        let plan = Plan::resolve(edits, &engine.schema, tokens.len(), spec.contrast.as_ref().map(Vec::len)).unwrap();
        let plans = [plan];
        let mut hooks = Interventions::new(&plans, edits, Capture::All, references, engine.schema.dims.d_vocab);
        let logits =
            engine.loaded.model.forward(Start::Tokens(&[tokens.to_vec()]), &engine.schema, &mut hooks).unwrap();
        (hooks.cache, logits.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap())
    };
    let baseline = pass(&[], References::default(), &spec.tokens).0;
    let contrast = spec.contrast.as_ref().map(|tokens| pass(&[], References::default(), tokens).0);
    pass(&spec.edits, References { baseline: Some(&baseline), contrast: contrast.as_ref(), corpus: None }, &spec.tokens)
}

fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
}

fn same_numbers(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
}

fn check(checkpoint: &str) {
    let load = || RefCell::new(engine(checkpoint, Processing::Folded, &[]));
    let engine = load();
    // an engine that computes scores and patterns on demand
    let leaving_out = RefCell::new(load().into_inner().keeping_scores(0));
    let edits = (prop::collection::vec(any_edit(&engine.borrow(), TOKENS.len()), 1..4), 0..TOKENS.len());
    let mut config = ProptestConfig::with_cases(96);
    config.failure_persistence = None;
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let contrast: Vec<u32> = TOKENS.iter().rev().copied().collect();
    runner
        .run(&edits, |(edits, first)| {
            let mut engine = engine.borrow_mut();
            let spec = Spec {
                tokens: TOKENS.to_vec(),
                contrast: Some(contrast.clone()),
                edits: edits.clone(),
                ..Spec::default()
            };
            let outcome = run(&mut engine, &spec).unwrap();
            let (cache, logits) = from_scratch(&engine, &spec);
            let found = activations(&engine, &outcome);
            prop_assert!(same(&found["logits"], &logits), "logits");
            for (point, value) in cache.iter() {
                let value = value.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
                prop_assert!(same(&found[&point.to_string()], &value), "{point}");
            }
            // logits requested after the run equal those of the run
            let cancel = std::sync::atomic::AtomicBool::new(false);
            let control = Control { cancel: &cancel, progress: &|_, _| {} };
            let part = engine.run(&spec, &Capture::All, first, control).unwrap();
            prop_assert_eq!(part.run.logit_rows().unwrap().len(), TOKENS.len() - first);
            let rows = engine.logits(&part.run, 0..TOKENS.len()).unwrap().flatten_all().unwrap();
            prop_assert!(same(&rows.to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap(), &logits), "from {first}");
            prop_assert!(same_numbers(&part.kl, &outcome.kl[first..]));
            for (part, whole) in part.effects.iter().zip(&outcome.effects) {
                prop_assert!(same_numbers(&part.kl, &whole.kl[first..]));
                let report = |effect: &EditEffect| format!("{:?} {:?}", effect.effect, effect.no_effect);
                prop_assert_eq!(report(part), report(whole));
            }
            let mut other = leaving_out.borrow_mut();
            let without = run(&mut other, &spec).unwrap();
            let shown = activations(&other, &without);
            for (point, value) in &found {
                prop_assert!(same(&shown[point], value), "{point}, left out");
            }
            prop_assert!(same_numbers(&without.kl, &outcome.kl));
            let (a, b) = (
                without.summary(1, &other, &false.into()).unwrap(),
                outcome.summary(1, &engine, &false.into()).unwrap(),
            );
            prop_assert_eq!(format!("{:?}", a.effects), format!("{:?}", b.effects));
            prop_assert_eq!((a.undefined_rows, a.changes.len()), (b.undefined_rows, b.changes.len()));
            for (a, b) in a.changes.iter().zip(&b.changes) {
                // the f64 sums have another order
                let (x, y) = (a.relative, b.relative);
                let close = x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= 1e-14 * y;
                prop_assert!(a.point == b.point && close, "{a:?} {b:?}");
            }
            let points = without.run.cache.points();
            prop_assert!(points.iter().any(|point| without.run.cache.is_left_out(*point)) || edits.len() > 1);
            prop_assert!(points.iter().eq(outcome.run.cache.points().iter()));
            for (edit, effect) in edits.iter().zip(&outcome.effects) {
                let e = effect.effect;
                prop_assert!(e.changed <= e.touched);
                prop_assert_eq!(e.changed == 0, e.delta_l2 == 0.0, "{}: {:?}", edit, e);
                prop_assert_eq!(&edit.to_string().parse::<Edit>().unwrap(), edit);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn resuming_equals_running_from_the_start_in_parallel_blocks() {
    check("parallel-25");
}

#[test]
fn resuming_equals_running_from_the_start_in_sequential_blocks() {
    check("sequential-25");
}

/// Up to rounding, edits that share passes as rows measure the same as each in its own full run, although rows share
/// everything up to the first edit, and unedited last blocks are computed at the last position only.
fn check_sweep(checkpoint: &str, most_scores: usize) {
    let mut engine = engine(checkpoint, Processing::Folded, &[]).keeping_scores(most_scores);
    let cells = prop::collection::vec(prop::collection::vec(any_edit(&engine, TOKENS.len()), 1..3), 1..12);
    let strategy = (prop::collection::vec(any_edit(&engine, TOKENS.len()), 0..2), cells);
    let contrast: Vec<u32> = TOKENS.iter().rev().copied().collect();
    let question = Question { target: 7, distractor: Some(11) };
    let engine = RefCell::new(&mut engine);
    let mut config = ProptestConfig::with_cases(48);
    config.failure_persistence = None;
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&strategy, |(base, cells)| {
            let mut engine = engine.borrow_mut();
            let spec = Spec {
                tokens: TOKENS.to_vec(),
                contrast: Some(contrast.clone()),
                edits: base.clone(),
                ..Spec::default()
            };
            let last = |outcome: &Outcome| outcome.run.logit_rows().unwrap().pop().unwrap();
            let before = last(&run(&mut engine, &spec).unwrap());
            let cancel = std::sync::atomic::AtomicBool::new(false);
            let control = Control { cancel: &cancel, progress: &|_, _| {} };
            let mut found = vec![None; cells.len()];
            let mut each = |swept| {
                if let Swept::Cells(cells) = swept {
                    for (i, measure) in cells {
                        found[i] = Some(measure);
                    }
                }
            };
            engine.sweep(&spec, &cells, question, control, &mut each).unwrap();
            for (cell, found) in cells.iter().zip(found) {
                let serial = Spec { edits: [base.as_slice(), cell].concat(), ..spec.clone() };
                let expected = question.measure(&before, &last(&run(&mut engine, &serial).unwrap()));
                let found = found.unwrap();
                for (a, b) in
                    [(expected.kl, found.kl), (expected.logit_diff, found.logit_diff), (expected.prob, found.prob)]
                {
                    let off = (a - b).abs() / (1.0 + a.abs());
                    prop_assert!(off < 2e-5 || (a.is_nan() && b.is_nan()) || a == b, "{a} or {b}");
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_sweep_equals_one_run_after_another_in_parallel_blocks() {
    check_sweep("parallel-25", usize::MAX);
}

#[test]
fn a_sweep_equals_one_run_after_another_in_sequential_blocks() {
    check_sweep("sequential-25", 0);
}

#[test]
fn an_edit_that_changes_nothing_says_so() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    // the mask already hides this cell
    let outcome = run(&mut engine, &spec(&TOKENS, &["blocks.1.attn.hook_pattern[query=0 key=1:] = 0"])).unwrap();
    let effect = outcome.effects[0].effect;
    assert_eq!((effect.touched, effect.changed, effect.delta_l2), (4 * 6, 0, 0.0));
    assert_eq!(outcome.effects[0].kl, vec![0.0; TOKENS.len()]);
}

#[test]
fn each_edit_is_also_measured_alone() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let lines = ["blocks.0.attn.hook_z[head=1] = 0", "blocks.1.hook_mlp_out = mean"];
    let both = run(&mut engine, &spec(&TOKENS, &lines)).unwrap();
    for (i, line) in lines.iter().enumerate() {
        let alone = run(&mut engine, &spec(&TOKENS, &[line])).unwrap();
        assert_eq!(both.effects[i].kl, alone.effects[0].kl);
    }
}

#[test]
fn rows_without_a_finite_score_become_zero_and_are_counted() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let outcome = run(&mut engine, &spec(&TOKENS, &["blocks.0.attn.hook_attn_scores[head=2] = -inf"])).unwrap();
    assert_eq!(outcome.run.undefined_rows, TOKENS.len());
    let pattern = &activations(&engine, &outcome)["blocks.0.attn.hook_pattern"];
    assert!(pattern.iter().all(|x| x.is_finite()));
    assert!(pattern[2 * 49..3 * 49].iter().all(|x| *x == 0.0));
}

#[test]
fn an_impossible_edit_is_refused_with_what_was_expected() {
    let mut engine = engine("parallel-25", Processing::Folded, &["hook_tokens".to_string()]);
    for (line, expected) in [
        ("blocks.2.hook_mlp_out = 0", "blocks 0 to 1"),
        ("blocks.0.attn.hook_z[head=4] = 0", "head 0 to 3"),
        ("blocks.0.attn.hook_z[head=-5] = 0", "-4 to -1"),
        ("blocks.0.attn.hook_z[pos=3:9] = 0", "slices from 0 to 7"),
        ("blocks.0.attn.hook_z[pos=3:3] = 0", "selects nothing"),
        ("blocks.0.attn.hook_z[d_mlp=0] = 0", "its axes are pos, head, d_head"),
        ("blocks.0.attn.hook_result = 0", "--enable attn.hook_result"),
        ("blocks.0.hook_resid_mid = 0", "derived"),
        ("blocks.0.hook_resid_pre = patch", "--contrast"),
        ("hook_tokens[pos=0] = 96", "0 to 95"),
        ("hook_tokens[pos=0] += 0.5", "whole numbers"),
    ] {
        let message = run(&mut engine, &spec(&TOKENS, &[line])).err().unwrap().to_string();
        assert!(message.contains(expected) && message.contains(line.split(' ').next().unwrap()), "{line}: {message}");
    }
    let contrast = Spec { contrast: Some(vec![1, 2]), ..spec(&TOKENS, &["blocks.0.hook_resid_pre = patch"]) };
    assert!(run(&mut engine, &contrast).err().unwrap().to_string().contains("2 tokens and the prompt 7"));
}

#[test]
fn a_patch_pairs_positions_in_the_order_written() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let mut patched = |lines: &[&str]| {
        let spec = Spec { contrast: Some(vec![5, 6, 7, 8, 9, 10]), ..spec(&[1, 2], lines) };
        run(&mut engine, &spec).map(|outcome| activations(&engine, &outcome)["logits"].clone())
    };
    // counted from the end and from the beginning: positions 0, 1 in the prompt and 4, 1 in the contrast prompt
    let together = patched(&["blocks.1.hook_resid_post[pos=-2,1] = patch"]).unwrap();
    let apart =
        patched(&["blocks.1.hook_resid_post[pos=-2] = patch", "blocks.1.hook_resid_post[pos=1] = patch"]).unwrap();
    assert!(same(&together, &apart));
    // -1 and 1 are the same position in one prompt and different ones in the other
    assert!(patched(&["blocks.1.hook_resid_post[pos=-1,1] = patch"]).is_err());
}

#[test]
fn an_edit_without_effect_changes_no_bit_with_opt_in_hooks_on() {
    let all = ["hook_tokens", "hook_attn_in", "hook_mlp_in", "attn.hook_result"].map(String::from);
    let mut engine = engine("parallel-25", Processing::Folded, &all);
    let enabled = engine.schema.enabled().clone();
    let spec = Spec { enabled, ..spec(&TOKENS, &["blocks.0.attn.hook_result[head=0] *= 1"]) };
    let cancel = std::sync::atomic::AtomicBool::new(false);
    let control = pythia_tui::engine::Control { cancel: &cancel, progress: &|_, _| {} };
    let outcome = engine.run(&spec, &Capture::None, 0, control).unwrap();
    assert_eq!(outcome.effects[0].kl, vec![0.0; TOKENS.len()]);
}

#[test]
fn a_patch_counts_from_the_end_of_each_prompt() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let patched =
        Spec { contrast: Some(vec![1, 2, 3]), ..spec(&TOKENS, &["blocks.1.hook_resid_post[pos=-1] = patch"]) };
    let outcome = run(&mut engine, &patched).unwrap();
    let contrast = run(&mut engine, &spec(&[1, 2, 3], &[])).unwrap();
    let last = |outcome| {
        let logits = activations(&engine, outcome)["logits"].clone();
        logits[logits.len() - 96..].to_vec()
    };
    assert!(same(&last(&outcome), &last(&contrast)));
}

#[test]
fn an_edit_changes_exactly_the_hooks_that_read_its_hook() {
    let opt_in = ["hook_attn_in", "hook_mlp_in", "attn.hook_result"];
    let split = ["hook_q_input", "hook_k_input", "hook_v_input", "attn.hook_result"];
    for checkpoint in ["parallel-25", "sequential-25"] {
        for enable in [&[][..], &opt_in, &split, &["hook_q_input"], &["hook_attn_in", "hook_q_input"]] {
            let enable: Vec<String> = enable.iter().map(|name| (*name).to_string()).collect();
            let mut engine = engine(checkpoint, Processing::Folded, &enable);
            let schema = engine.schema.clone();
            for point in schema.points().into_iter().filter(|point| !schema.is_unread(*point)) {
                // its readers, their readers, and so on
                let mut expected: std::collections::BTreeSet<_> = [point].into();
                let mut open = vec![point];
                while let Some(next) = open.pop() {
                    // ln1 runs on each split input separately, so each reaches one projection only
                    let through = match next {
                        HookPoint::Block(block, BlockHook::QInput) => vec![HookPoint::Block(block, BlockHook::Q)],
                        HookPoint::Block(block, BlockHook::KInput) => vec![HookPoint::Block(block, BlockHook::K)],
                        HookPoint::Block(block, BlockHook::VInput) => vec![HookPoint::Block(block, BlockHook::V)],
                        other => readers(other, &schema),
                    };
                    open.extend(through.into_iter().filter(|reader| expected.insert(*reader)));
                }
                let outcome = run(&mut engine, &spec(&TOKENS, &[&format!("{point} += noise 0.5")])).unwrap();
                let changes = outcome.summary(1, &engine, &false.into()).unwrap().changes;
                let changed: std::collections::BTreeSet<_> =
                    changes.iter().filter(|change| change.relative > 1e-6).map(|change| change.point).collect();
                // with split inputs, the cache holds ln1 of the value input only
                let ln1_of_values =
                    |p: &HookPoint| schema.is_split(p.block().unwrap_or(0)) && p.short_name().starts_with("ln1.");
                let differ: Vec<_> = changed
                    .symmetric_difference(&expected)
                    .filter(|p| !ln1_of_values(p))
                    .map(ToString::to_string)
                    .collect();
                assert!(differ.is_empty(), "{checkpoint} {enable:?}: {point} reaches, or does not, {differ:?}");
            }
        }
    }
}

#[test]
fn scores_and_patterns_computed_on_demand_equal_stored_ones() {
    let load = |most| engine("parallel-25", Processing::Folded, &[]).keeping_scores(most);
    for edits in [&[][..], &["blocks.0.hook_mlp_out = 0"], &["blocks.1.attn.hook_attn_scores[head=1 key=0] = -inf"]] {
        let [kept, left_out] = [usize::MAX, 0].map(|most| {
            let mut engine = load(most);
            let outcome = run(&mut engine, &spec(&TOKENS, edits)).unwrap();
            assert_eq!(outcome.run.cache.is_left_out(HookPoint::Block(0, BlockHook::Pattern)), most == 0);
            let cancel = std::sync::atomic::AtomicBool::new(false);
            // compared as text, since masked values are NaN
            let mut seen = vec![
                format!("{:?}", outcome.heads(&engine).unwrap()),
                format!("{:?}", outcome.statistics(HookPoint::Block(1, BlockHook::AttnScores), &engine).unwrap()),
                format!("{:?}", engine.measure(&outcome, &cancel).unwrap()),
            ];
            for hook in [BlockHook::AttnScores, BlockHook::Pattern] {
                let slice = Slice { rows: Axis::Key, columns: Axis::Query, fixed: Some((Axis::Head, 1)) };
                seen.push(format!("{:?}", outcome.matrix(HookPoint::Block(1, hook), slice, &engine).unwrap()));
            }
            for which in WhichAttention::ALL {
                seen.push(format!("{:?}", outcome.head_attention(1, 1, which, &engine).unwrap()));
                let shown = (which, Compare::Difference);
                seen.push(format!("{:?}", outcome.thumbnails(&engine, 0..2, shown, 4, &cancel).unwrap()));
            }
            seen
        });
        assert_eq!(kept, left_out);
    }
}
