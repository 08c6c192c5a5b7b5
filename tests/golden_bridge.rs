//! The hooks against TransformerLens 4.3.0, whose `TransformerBridge` replaced `HookedTransformer`, from the file of
//! `tests/golden/bridge.py`.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{
    activations, engine,
    golden::{Golden, compare_to, ids},
    run,
};
use pythia_tui::{engine::Spec, model::Processing};

/// Largest error allowed, relative to the largest value of the tensor: four times the largest one measured, 8.9e-7.
const TOLERANCE: f64 = 4e-6;

#[test]
fn every_hook_that_the_bridge_shares_equals_it() {
    let golden = Golden::open("parallel-25-bridge");
    let mut worst = 0.0f64;
    for (processing, kind) in [(Processing::Folded, "processed"), (Processing::None, "unprocessed")] {
        let mut engine = engine("parallel-25", processing, &[]);
        let outcome = run(&mut engine, &Spec { tokens: ids(&golden.json("prompt")), ..Spec::default() }).unwrap();
        let mut found = activations(&engine, &outcome);
        // the bridge has no rotated queries and keys; without processing, its hook_normalized precedes weight and bias
        found.retain(|name, _| {
            let missing = name.ends_with("hook_rot_q") || name.ends_with("hook_rot_k");
            !missing && (kind == "processed" || !name.ends_with("hook_normalized"))
        });
        let expected = golden.under(kind);
        assert_eq!(expected.len(), found.len(), "{kind}: number of hooks");
        worst = worst.max(compare_to(TOLERANCE, kind, &expected, &found));
    }
    println!("largest error {worst:.1e}");
}
