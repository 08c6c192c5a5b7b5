//! Two models side by side.

use super::*;

/// The stand-in's numbers for a run and its baseline, as those of two models.
fn against(size: (u16, u16), tab: Tab, keys: &str) -> String {
    let mut program = Program::start(size, &["blocks.1.attn.hook_z[head=2] = 0"]);
    program.state.scene.against = Some("pythia-70m@step3000".into());
    program.state.tab = tab;
    program.find("1 mlp_out");
    program.keys(keys);
    program.screen(TRUE)
}

#[test]
fn the_difference_of_two_models_wide() {
    insta::assert_snapshot!(against(WIDE, Tab::Values, "d"));
}

#[test]
fn the_difference_of_two_models_small() {
    insta::assert_snapshot!(against(SMALL, Tab::Values, "d"));
}

#[test]
fn both_models_statistics_small() {
    insta::assert_snapshot!(against(SMALL, Tab::Shape, ""));
}

#[test]
fn the_other_model_s_predictions_wide() {
    insta::assert_snapshot!(against(WIDE, Tab::Logits, "d d"));
}

#[test]
fn both_models_continuations_wide() {
    insta::assert_snapshot!(against(WIDE, Tab::Continue, "d"));
}

#[test]
fn both_models_continuations_small() {
    insta::assert_snapshot!(against(SMALL, Tab::Continue, "d"));
}

#[test]
fn the_difference_of_two_models_circuits_small() {
    insta::assert_snapshot!(against(SMALL, Tab::Weights, "d"));
}

#[test]
fn the_difference_over_distances_wide() {
    insta::assert_snapshot!(against(WIDE, Tab::Weights, "d s m"));
}
