//! The screen while the pass is held.

use super::*;

#[test]
fn a_held_pass() {
    for (name, size) in [("held_wide", WIDE), ("held_small", SMALL)] {
        let mut program = Program::start(size, &["blocks.0.hook_mlp_out = 0", "blocks.2.attn.hook_z[head=1] = 0"]);
        for (key, line) in [("M", "norm(blocks.*.hook_resid_post over all)"), ("b", "blocks.*.hook_mlp_out > 50")] {
            program.keys(key);
            program.event(Event::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)));
            program.event(Event::Paste(line.into()));
            program.keys("Enter");
        }
        program.find("1 attn pattern");
        program.keys("H 2");
        insta::assert_snapshot!(name, program.screen(TRUE));
    }
}

#[test]
fn the_line_for_predicates_completes() {
    for (name, size) in [("predicate_wide", WIDE), ("predicate_small", SMALL)] {
        let mut program = Program::start(size, &[]);
        program.keys("& n o r");
        insta::assert_snapshot!(name, program.screen(TRUE));
        program.keys("Tab m l p _ Tab Tab");
        let Some(Overlay::Predicate(line)) = &program.state.overlay else { panic!("the line is closed") };
        assert_eq!(line.input.value(), "norm(blocks.*.hook_mlp_out)");
        program.keys("Space > Space 2 Enter");
        assert!(program.screen(TRUE).contains("places"), "{}", program.screen(TRUE));
    }
}
