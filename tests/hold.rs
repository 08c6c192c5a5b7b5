//! A held pass, against a run that never stopped.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
};

use candle_core::TensorId;
use common::fixture;
use proptest::prelude::*;
use pythia_tui::{
    engine::{Control, Engine, HeldPass, Hold, Outcome, Spec, Stopped},
    hooks::{Capture, Edit, HookPoint},
    model::{Dictionary, Processing},
};

const LINES: [&str; 14] = [
    "hook_embed[pos=1] *= 2",
    "blocks.0.ln1.hook_scale = freeze",
    "blocks.0.attn.hook_q[head=1] += 1",
    "blocks.0.attn.hook_pattern[head=0 query=-1] = 0",
    "blocks.*.attn.hook_attn_scores[head=1 key=0] = -inf",
    "blocks.1.attn.hook_z[head=0] = patch",
    "blocks.0.hook_mlp_out = mean",
    "blocks.0.attn.hook_result[head=1] -> blocks.1.hook_k_input[head=0] = 0",
    "hook_embed -> blocks.1.hook_mlp_in *= 3",
    "ln_final.hook_normalized[pos=-1] *= 0.5",
    "blocks.0.hook_resid_post.hook_sae_acts_post[d_sae=0:20] = 0",
    "blocks.1.hook_mlp_out.hook_sae_acts_post *= 2",
    "blocks.0.hook_resid_post.hook_sae_acts_post[pos=2] = patch",
    "blocks.1.hook_mlp_out.hook_sae_acts_post[d_sae=5:9] = freeze",
];

/// With dictionaries at the hooks where features are edited.
fn engine(name: &str, processing: Processing, enable: &[String]) -> Engine {
    let mut engine = common::engine(name, processing, enable);
    for (hook, name) in [("blocks.0.hook_resid_post", "sae-lens-standard"), ("blocks.1.hook_mlp_out", "mlsae")] {
        let dictionary = Dictionary::open(&fixture("dictionaries").join(name), &common::placement()).unwrap();
        engine.use_dictionary(hook.parse().unwrap(), Arc::new(dictionary));
    }
    engine
}

fn spec(edits: &[usize], enabled: &[&str]) -> Spec {
    Spec {
        tokens: vec![7, 3, 9, 22, 41],
        contrast: Some(vec![8, 3, 2, 22, 40]),
        edits: edits.iter().map(|line| LINES[*line].parse().unwrap()).collect(),
        enabled: enabled.iter().map(|name| name.parse().unwrap()).collect(),
        ..Spec::default()
    }
}

fn with<T>(call: impl FnOnce(Control<'_>) -> T) -> T {
    let cancel = AtomicBool::new(false);
    call(Control { cancel: &cancel, progress: &|_, _| {} })
}

fn go(engine: &mut Engine, pass: &mut HeldPass, until: Option<HookPoint>) -> Option<Stopped> {
    let hold = Hold { until, ..Hold::default() };
    with(|control| engine.go_on(pass, &hold, control)).unwrap()
}

fn finished(engine: &mut Engine, mut pass: HeldPass) -> Outcome {
    assert_eq!(go(engine, &mut pass, None), None);
    with(|control| engine.finish(&pass, 0, control)).unwrap()
}

/// The bits of every activation, and of the logits.
fn bits(outcome: &Outcome) -> BTreeMap<String, Vec<u32>> {
    let of = |t: &candle_core::Tensor| -> Vec<u32> {
        let t = t.flatten_all().unwrap().to_dtype(candle_core::DType::F32).unwrap();
        t.to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    let all = outcome.run.cache.iter().map(|(point, value)| (point.to_string(), of(value)));
    all.chain([("logits".into(), of(&outcome.run.logits))]).collect()
}

fn ids(pass: &HeldPass) -> BTreeMap<HookPoint, TensorId> {
    pass.cache().iter().map(|(point, value)| (point, value.id())).collect()
}

/// A step of someone who holds a pass.
#[derive(Clone, Debug)]
enum Step {
    /// To a hook, forwards or back.
    To(usize),
    /// Switch an edit on or off.
    Edit(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![3 => (0..60usize).prop_map(Step::To), 1 => (0..LINES.len()).prop_map(Step::Edit)];
    prop::collection::vec(step, 0..14)
}

/// Whether a value at `point` depends on nothing that the edit changes.
fn stays(edit: usize, point: HookPoint, engine: &Engine) -> bool {
    let line: Edit = LINES[edit].parse().unwrap();
    line.target.points(&engine.schema.dims).unwrap().into_iter().all(|first| point < first)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_order_of_steps_and_edits_ends_as_the_plain_run(
        steps in steps(),
        name in prop::sample::select(vec!["parallel-25", "sequential-25"]),
        enabled in prop::sample::select(vec![&[][..], &["blocks.0.hook_q_input", "blocks.1.attn.hook_result"], &["blocks.0.hook_attn_in"]]),
    ) {
        // paths and opt-in hooks of the same reader are mutually exclusive, and are tested apart
        let usable = |edit: usize| enabled.is_empty() || !LINES[edit].contains("->");
        let engine = &mut engine(name, Processing::Folded, &[]);
        let mut on: Vec<usize> = vec![];
        let mut pass = engine.hold(&spec(&on, enabled), None).unwrap();
        let points = engine.schema.points();
        for step in steps {
            match step {
                Step::To(at) => {
                    let to = points[at % points.len()];
                    let before = ids(&pass);
                    let stopped = go(engine, &mut pass, Some(to)).unwrap();
                    assert_eq!((stopped.at, stopped.hits.len()), (to, 0));
                    assert!(pass.reached() >= Some(to));
                    let after = ids(&pass);
                    assert!(before.iter().all(|(point, id)| after.get(point) == Some(id)), "computed twice");
                    assert_eq!(after.len(), points.iter().filter(|p| Some(**p) <= pass.reached()).count());
                }
                Step::Edit(edit) if usable(edit) => {
                    let before = ids(&pass);
                    if on.contains(&edit) { on.retain(|other| *other != edit) } else { on.push(edit) }
                    pass = engine.hold(&spec(&on, enabled), Some(pass)).unwrap();
                    let after = ids(&pass);
                    let kept = before.iter().filter(|(point, _)| stays(edit, **point, engine));
                    assert!(kept.into_iter().all(|(point, id)| after.get(point) == Some(id)), "forgotten too much");
                }
                Step::Edit(_) => {}
            }
        }
        let held = finished(engine, pass);
        let mut plain = crate::engine(name, Processing::Folded, &[]);
        let run = with(|control| plain.run(&spec(&on, enabled), &Capture::All, 0, control)).unwrap();
        let (held_bits, run_bits) = (bits(&held), bits(&run));
        assert_eq!(held_bits.keys().collect::<Vec<_>>(), run_bits.keys().collect::<Vec<_>>());
        for (name, expected) in run_bits {
            assert!(held_bits[&name] == expected, "{name} differs with {on:?}");
        }
        assert_eq!(held.run.undefined_rows, run.run.undefined_rows);
        assert_eq!(held.kl, run.kl);
        assert_eq!(held.effects.len(), run.effects.len());
        for (a, b) in held.effects.iter().zip(&run.effects) {
            assert_eq!((a.effect.touched, a.effect.changed, &a.kl), (b.effect.touched, b.effect.changed, &b.kl));
            let close = (a.effect.delta_l2 - b.effect.delta_l2).abs() <= 1e-12 * b.effect.delta_l2;
            assert!(close || a.effect.delta_l2.to_bits() == b.effect.delta_l2.to_bits(), "{a:?} {b:?}");
        }
    }
}

#[test]
fn a_breakpoint_stops_where_it_first_holds_and_again_where_it_holds_next() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let mut pass = engine.hold(&spec(&[], &[]), None).unwrap();
    let breakpoints =
        vec!["blocks.* is inf".parse().unwrap(), "norm(blocks.1.hook_mlp_out[pos=2]) > 0".parse().unwrap()];
    let mut hold = Hold { until: None, breakpoints, after: None };
    let mut stops = vec![];
    while let Some(stopped) = with(|control| engine.go_on(&mut pass, &hold, control)).unwrap() {
        assert_eq!(pass.reached(), Some(stopped.at));
        hold.after = Some(stopped.at);
        let hit = &stopped.hits[0];
        stops.push(format!("{} {} {}", hit.breakpoint, hit.places, hit.first.place));
    }
    // five tokens hide 4 + 3 + 2 + 1 keys in each of four heads
    let scores = |block: usize| format!("0 40 blocks.{block}.attn.hook_attn_scores[head=0 query=0 key=1]");
    assert_eq!(stops, [scores(0), scores(1), "1 1 blocks.1.hook_mlp_out[pos=2]".into()]);
    // all of it is known now: the same stops, at once
    hold.after = None;
    let first = with(|control| engine.go_on(&mut pass, &hold, control)).unwrap().unwrap();
    assert_eq!(first.hits[0].places, 40);
    assert_eq!(first.at, "blocks.0.attn.hook_attn_scores".parse().unwrap());
}

#[test]
fn what_is_shown_of_a_held_pass_ends_where_it_is_held() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let mut pass = engine.hold(&spec(&[6], &[]), None).unwrap();
    let at = |name: &str| name.parse::<HookPoint>().unwrap();
    go(&mut engine, &mut pass, Some(at("blocks.1.attn.hook_z")));
    let shown = with(|control| engine.held_at(&pass, at("blocks.0.hook_mlp_out"), control)).unwrap();
    assert_eq!(shown.run.cache.points().last(), Some(&at("blocks.0.hook_mlp_out")));
    assert!(engine.activation(&shown.run, at("blocks.0.hook_resid_post")).unwrap().is_none());
    assert_eq!(shown.run.logit_rows().unwrap().len(), 0);
    let refused = with(|control| engine.finish(&pass, 0, control)).err().unwrap();
    assert!(refused.to_string().contains("held"), "{refused}");
}

#[test]
fn a_cancelled_step_goes_on_from_what_it_computed() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let mut pass = engine.hold(&spec(&[], &[]), None).unwrap();
    let cancel = AtomicBool::new(false);
    let progress = |block: usize, _: usize| cancel.store(block == 1, std::sync::atomic::Ordering::Relaxed);
    let control = Control { cancel: &cancel, progress: &progress };
    // the flag is read on entering a block, so the pass ends at the next one
    assert!(engine.go_on(&mut pass, &Hold::default(), control).is_err());
    let before = ids(&pass);
    assert!(!before.is_empty());
    assert_eq!(go(&mut engine, &mut pass, None), None);
    let after = ids(&pass);
    assert!(before.iter().all(|(point, id)| after.get(point) == Some(id)));
}

#[test]
fn what_the_edits_did_so_far_is_what_they_did_in_the_end_as_far_as_it_goes() {
    let lines = [0, 2, 4, 6, 9];
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let mut pass = engine.hold(&spec(&lines, &[]), None).unwrap();
    let points = engine.schema.points();
    let cancel = AtomicBool::new(false);
    let mut held = vec![];
    for point in &points {
        go(&mut engine, &mut pass, Some(*point));
        let outcome = with(|control| engine.held_at(&pass, *point, control)).unwrap();
        held.push(outcome.summary_so_far(&engine, &cancel).unwrap());
    }
    let end = finished(&mut engine, pass).summary(1, &engine, &cancel).unwrap();
    let mut moved = false;
    for (at, so_far) in points.iter().zip(&held) {
        let until: Vec<_> = end.changes.iter().filter(|change| change.point <= *at).copied().collect();
        assert_eq!(so_far.changes, until, "{at}");
        moved |= until.iter().any(|change| change.relative > 0.0);
        assert!(so_far.top.is_empty() && so_far.kl.is_empty());
        for (edit, (now, later)) in spec(&lines, &[]).edits.iter().zip(so_far.effects.iter().zip(&end.effects)) {
            let all = edit.target.points(&engine.schema.dims).unwrap();
            let done = all.iter().filter(|point| *point <= at).count();
            // each of its hooks has as many values
            assert_eq!(now.effect.touched * all.len(), later.effect.touched * done, "{edit} at {at}");
            if done == all.len() {
                assert_eq!(now.effect, later.effect, "{edit} at {at}");
            }
        }
    }
    assert!(moved);
    // stepping back takes it back
    let mut pass = engine.hold(&spec(&[2], &[]), None).unwrap();
    go(&mut engine, &mut pass, Some("blocks.1.hook_resid_pre".parse().unwrap()));
    let before = with(|control| engine.held_at(&pass, "blocks.0.hook_resid_pre".parse().unwrap(), control)).unwrap();
    assert_eq!(before.effects[0].effect.touched, 0);
}

#[test]
fn an_edit_that_changed_nothing_says_so_while_the_pass_is_held() {
    let mut engine = engine("parallel-25", Processing::Folded, &[]);
    let edits = ["blocks.0.attn.hook_q[head=1] += 0", "blocks.*.attn.hook_q[head=0] *= 1"];
    let spec = Spec { edits: edits.iter().map(|line| line.parse().unwrap()).collect(), ..spec(&[], &[]) };
    let mut pass = engine.hold(&spec, None).unwrap();
    let at: HookPoint = "blocks.0.attn.hook_z".parse().unwrap();
    go(&mut engine, &mut pass, Some(at));
    let effects = with(|control| engine.held_at(&pass, at, control)).unwrap().effects;
    assert!(effects[0].no_effect.is_some());
    // the other has hooks to come
    assert!(effects[1].no_effect.is_none() && effects[1].effect.touched > 0);
}
