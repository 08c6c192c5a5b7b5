//! The activations of a continuation equal those of a run of the same text.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{cell::RefCell, sync::atomic::AtomicBool};

use candle_core::{DType, Tensor};
use common::{edits::any_edit, engine, engine_at, run, spec};
use proptest::{prelude::*, test_runner::TestRunner};
use pythia_tui::{
    engine::{Control, Engine, Sampling, Spec, TokenBreakpoint},
    hooks::{Edit, EditError, RunError},
    model::{Placement, Processing},
};

const PROMPT: [u32; 5] = [3, 14, 15, 92, 65];
const CONTRAST: [u32; 5] = [35, 89, 79, 32, 38];

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap()
}

/// How far values are apart, as a share of the largest; 0 only if they are equal to the bit, where NaN equals itself.
fn apart(a: &Tensor, b: &Tensor) -> f32 {
    let (a, b) = (values(a), values(b));
    let scale = b.iter().filter(|x| x.is_finite()).fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
    let off = |(a, b): (&f32, &f32)| match (a.is_finite() && b.is_finite(), a.to_bits() == b.to_bits()) {
        (_, true) => 0.0,
        (true, false) => ((a - b).abs() / scale).max(f32::MIN_POSITIVE),
        (false, false) if a.is_nan() && b.is_nan() => 0.0,
        (false, false) => f32::INFINITY,
    };
    a.iter().zip(&b).map(off).fold(0.0, f32::max)
}

/// Hold the run of a continuation to one of the whole text; returns the number of new tokens.
///
/// Products of paths, of inputs by head and of heads' results are candle's, whose sums depend on the number of rows.
fn check(engine: &mut Engine, spec: &Spec, breakpoints: &[TokenBreakpoint]) -> Result<usize, TestCaseError> {
    let never = AtomicBool::new(false);
    let control = Control { cancel: &never, progress: &|_, _| {} };
    let spec = Spec { enabled: engine.schema.enabled().clone(), ..spec.clone() };
    let is_exact = spec.enabled.is_empty() && spec.edits.iter().all(|edit| edit.sender.is_none());
    let tolerance = if is_exact { 0.0 } else { 5e-6 };
    let mut count = 0;
    for keeps_prompt in [true, false] {
        let generation = match engine.watched_generation(&spec, breakpoints, keeps_prompt, control) {
            // a random edit of token ids
            Err(RunError::Edit(EditError::NotAToken { .. })) => return Ok(0),
            generation => generation.unwrap(),
        };
        let made = generation.sample(engine, 4, &Sampling::GREEDY, 0, &never, &mut |_| {}).unwrap();
        let new: Vec<u32> = made.edited.unwrap_or(made.unedited).tokens.iter().map(|token| token.id).collect();
        let kept = generation.run(engine, &new, control).unwrap();
        let tokens = [spec.tokens.as_slice(), &new].concat();
        let whole = run(engine, &Spec { tokens, generated: new.len(), ..spec.clone() }).unwrap().run;
        prop_assert_eq!(&kept.tokens, &whole.tokens);
        prop_assert_eq!(kept.cache.points(), whole.cache.points());
        for point in whole.cache.points() {
            let [kept, whole] = [&kept, &*whole].map(|run| engine.activation(run, point).unwrap().unwrap());
            prop_assert_eq!(kept.dims(), whole.dims(), "{}", point);
            let off = apart(&kept, &whole);
            prop_assert!(off <= tolerance, "{point} is off by {off:e}, prompt kept: {keeps_prompt}");
        }
        let all = 0..whole.tokens.len();
        let [kept, whole] = [&kept, &*whole].map(|run| engine.logits(run, all.clone()).unwrap());
        let off = apart(&kept, &whole);
        prop_assert!(off <= tolerance, "logits are off by {off:e}, prompt kept: {keeps_prompt}");
        count = new.len();
    }
    Ok(count)
}

/// Edits that random ones leave out: paths, and of scores and patterns beyond the prompt.
const MORE: [&str; 7] = [
    "blocks.0.attn.hook_result[head=1] -> blocks.1.hook_q_input[head=2] = patch",
    "blocks.0.hook_mlp_out -> blocks.1.hook_resid_post = freeze",
    "blocks.0.hook_mlp_out -> blocks.1.hook_mlp_in = mean",
    "blocks.0.attn.hook_pattern *= -1",
    "blocks.*.attn.hook_pattern[query=2] = 0.25",
    "blocks.1.attn.hook_attn_scores *= 0.5",
    "blocks.0.attn.hook_attn_scores[head=1 key=0] += 3",
];

fn check_random_edits(mut engine: Engine) {
    let more = prop::sample::select(MORE.to_vec()).prop_map(|line| line.parse::<Edit>().unwrap());
    let edit = prop_oneof![4 => any_edit(&engine, PROMPT.len()), 1 => more];
    check(&mut engine, &spec(&PROMPT, &[]), &[]).unwrap();
    let (engine, tokens) = (RefCell::new(engine), RefCell::new(0));
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    let checked = TestRunner::new(config).run(&prop::collection::vec(edit, 1..3), |edits| {
        let spec = Spec { tokens: PROMPT.to_vec(), contrast: Some(CONTRAST.to_vec()), edits, ..Spec::default() };
        *tokens.borrow_mut() += check(&mut engine.borrow_mut(), &spec, &[])?;
        Ok(())
    });
    checked.unwrap();
    assert!(tokens.into_inner() > 48, "most texts have new tokens");
}

#[test]
fn every_activation_equals_that_of_a_run_of_the_text() {
    check_random_edits(engine("parallel-25", Processing::Folded, &[]));
    check_random_edits(engine("sequential-100", Processing::None, &[]));
}

#[test]
fn opt_in_hooks_equal_a_run_of_the_text() {
    let enable = ["hook_tokens", "hook_q_input", "hook_mlp_in", "attn.hook_result"].map(String::from);
    check_random_edits(engine("parallel-100", Processing::None, &enable));
}

#[test]
fn scores_and_patterns_that_are_left_out_equal_a_run_of_the_text() {
    check_random_edits(engine("sequential-25", Processing::Folded, &[]).keeping_scores(0));
}

#[test]
fn with_breakpoints_and_in_half_precision_it_equals_a_run_of_the_text() {
    let edits = ["blocks.0.hook_mlp_out += 2", "blocks.1.attn.hook_z[head=1 pos=-1] = 0"];
    let when = |text: &str| TokenBreakpoint::new(text.parse().unwrap(), true);
    let breakpoints = ["blocks.*.attn.hook_pattern[key=0] > 0.1", "norm(blocks.1.hook_mlp_out) > 0"].map(when);
    for dtype in [DType::F32, DType::BF16] {
        let place = Placement { dtype, ..Placement::cpu() };
        let mut engine = engine_at("parallel-25", Processing::Folded, &[], place);
        assert_eq!(check(&mut engine, &spec(&PROMPT, &edits), &breakpoints).unwrap(), 4);
    }
}
