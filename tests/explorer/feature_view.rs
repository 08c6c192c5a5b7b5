//! The Features view.

use super::*;

#[test]
fn a_feature_is_ablated_and_scaled() {
    let mut program = Program::start(WIDE, &[]);
    program.keys("I Tab j");
    let hook = "blocks.1.hook_resid_post.hook_sae_acts_post";
    let edits = |program: &Program| {
        program.state.scene.edits.lines.iter().map(|line| line.edit.to_string()).collect::<Vec<_>>()
    };
    program.keys("a");
    assert_eq!(edits(&program), [format!("{hook}[d_sae=3] = 0")]);
    program.keys("a");
    assert!(edits(&program).is_empty());
    program.keys("+ +");
    assert_eq!(edits(&program), [format!("{hook}[d_sae=3] *= 1.2")]);
    program.keys("g -");
    assert_eq!(edits(&program), [format!("{hook}[d_sae=3] *= 1.2"), format!("{hook}[d_sae=17] *= 0.9")]);
    program.keys("u");
    assert_eq!(edits(&program).len(), 1, "an edit and its first number are undone together");
    // in the panel of the edits the selected one slides
    program.keys("Tab g -");
    assert_eq!(edits(&program), [format!("{hook}[d_sae=3] *= 1.1")]);
}

#[test]
fn a_feature_is_followed_over_the_tokens_and_dictionaries_are_switched() {
    let mut program = Program::start(SMALL, &[]);
    program.keys("I Tab g Enter");
    assert!(program.screen(TRUE).contains("feature 17: names of people"));
    assert_eq!(program.state.ablation().to_string(), "blocks.1.hook_resid_post.hook_sae_acts_post[d_sae=17] = 0");
    let before = program.state.scene.cursor.pos;
    program.keys("k");
    assert_eq!(program.state.scene.cursor.pos, before - 1);
    program.keys(">");
    assert!(program.screen(TRUE).contains("blocks.2.hook_resid_post, 32 features"), "{}", program.screen(TRUE));
    program.keys(">");
    assert!(program.screen(TRUE).contains("blocks.1.hook_resid_post, 64 features"));
}

#[test]
fn without_a_dictionary_the_view_says_how_to_get_one() {
    let mut program = Program::start(SMALL, &[]);
    program.state.scene.schema.set_dictionaries(Default::default());
    program.keys("I");
    assert!(program.screen(TRUE).contains("--sae"), "{}", program.screen(TRUE));
}
