//! The list of edits.

use super::*;

#[test]
fn a_view_ablates_what_is_under_its_cursor() {
    let mut program = Program::start(SMALL, &[]);
    let ablations = |program: &mut Program, keys: &str| -> Vec<String> {
        keys.split(' ')
            .map(|key| {
                program.keys(key);
                program.state.ablation().to_string()
            })
            .collect()
    };
    program.find("1 attn z");
    program.keys("2 Tab g");
    // positions by d_head, of one head
    assert_eq!(
        ablations(&mut program, "l A A A A A"),
        [
            "blocks.1.attn.hook_z[pos=0 head=0 d_head=1] = 0",
            "blocks.1.attn.hook_z[pos=0 head=0] = 0",
            "blocks.1.attn.hook_z[head=0 d_head=1] = 0",
            "blocks.1.attn.hook_z[head=0] = 0",
            "blocks.1.attn.hook_z = 0",
            "blocks.1.attn.hook_z[pos=0 head=0 d_head=1] = 0",
        ]
    );
    program.keys("a");
    assert_eq!(program.state.scene.edits.active().len(), 1);
    insta::assert_snapshot!("ablated_cell", program.screen(TRUE));
    program.keys("a Esc 3 Tab g");
    assert_eq!(
        ablations(&mut program, "j A A A s"),
        [
            "blocks.1.attn.hook_pattern[head=0 query=1 key=0] = 0",
            "blocks.1.attn.hook_pattern[head=0 query=1] = 0",
            "blocks.1.attn.hook_pattern[head=0 key=0] = 0",
            "blocks.1.attn.hook_z[head=0] = 0",
            "blocks.1.attn.hook_z[head=0] = 0",
        ]
    );
    // in the scores, an edge is cut before the softmax
    assert_eq!(ablations(&mut program, "A"), ["blocks.1.attn.hook_attn_scores[head=0 query=1 key=0] = -inf"]);
    // a scale has one value per position
    program.find("1 ln1 scale");
    assert_eq!(
        ablations(&mut program, "2 A A"),
        ["blocks.1.ln1.hook_scale[pos=1] = 0", "blocks.1.ln1.hook_scale = 0", "blocks.1.ln1.hook_scale[pos=1] = 0"]
    );
    // the lens shows the stream into a block
    assert_eq!(ablations(&mut program, "Esc 5 Tab k").last().unwrap(), "blocks.3.hook_resid_pre[pos=1] = 0");
}

#[test]
fn each_ablation_runs_once_and_a_second_press_undoes_it() {
    let mut program = Program::start(SMALL, &[]);
    program.find("1 attn z");
    program.keys("3 >");
    let runs = |program: &Program| program.posted.iter().map(|w| w.run).max().unwrap();
    let before = runs(&program);
    program.keys("a");
    assert_eq!(program.state.scene.edits.active()[0].to_string(), "blocks.1.attn.hook_z[head=1] = 0");
    assert_eq!(runs(&program), before + 1);
    program.keys("Space");
    assert!(program.state.scene.edits.active().is_empty() && program.state.scene.edits.lines.len() == 1);
    program.keys("Space x");
    assert!(program.state.scene.edits.lines.is_empty());
    program.keys("a a");
    assert!(program.state.scene.edits.lines.is_empty());
    // outside the attention view, with the focus on the tree, the whole hook is ablated
    program.keys("2 a");
    assert_eq!(program.state.scene.edits.active()[0].to_string(), "blocks.1.attn.hook_z = 0");
    // `a` on one that is listed but off switches it on
    program.keys("Space");
    assert!(program.state.scene.edits.active().is_empty());
    program.keys("a");
    assert_eq!(program.state.scene.edits.active().len(), 1);
    // what can't be edited is refused and runs nothing
    let before = runs(&program);
    program.find("1 resid_mid");
    program.keys("a");
    assert!(program.state.scene.message.as_ref().unwrap().text.contains("derived"));
    assert_eq!((program.state.scene.edits.lines.len(), runs(&program)), (1, before));
}

#[test]
fn edits_are_written_changed_reordered_and_undone() {
    let mut program = Program::start(SMALL, &[]);
    let lines =
        |program: &Program| program.state.scene.edits.lines.iter().map(|l| l.edit.to_string()).collect::<Vec<_>>();
    program.keys("i");
    program.event(Event::Paste("blocks.*.hook_mlp_out *= 0.5\nnot this".into()));
    program.keys("Enter");
    assert_eq!(lines(&program), ["blocks.*.hook_mlp_out *= 0.5"]);
    // an invalid line stays open and shows the error
    program.keys("i h o o k _ e m b d Enter");
    assert!(matches!(&program.state.overlay, Some(Overlay::Edit(editor)) if editor.verdict.is_err()));
    insta::assert_snapshot!("editor", program.screen(TRUE));
    program.keys("Backspace e Tab Space = Space 0 Enter");
    assert_eq!(lines(&program), ["blocks.*.hook_mlp_out *= 0.5", "hook_embed = 0"]);
    program.keys("K");
    assert_eq!(lines(&program)[0], "hook_embed = 0");
    program.keys("+ + -");
    assert_eq!(lines(&program)[0], "hook_embed = 0.1");
    let before_undo = lines(&program);
    program.keys("u u u u u u u u");
    assert!(lines(&program).is_empty());
    for _ in 0..8 {
        program.event(Event::Key(KeyEvent::new(KeyCode::Char('r'), KeyModifiers::CONTROL)));
    }
    assert_eq!(lines(&program), before_undo);
    // in the edits panel `e` rewrites the chosen edit
    program.keys("Tab Tab e 5 Enter");
    assert_eq!(lines(&program)[0], "hook_embed = 0.15");
    assert_eq!(lines(&program).len(), 2);
}

#[test]
fn an_opt_in_hook_is_turned_on_and_off_together_with_its_edits() {
    let mut program = Program::start(SMALL, &[]);
    program.find("1 attn result");
    program.keys("a");
    assert!(program.state.scene.message.as_ref().unwrap().text.contains("off"), "it can't be edited before");
    program.keys("O a");
    assert_eq!(program.state.scene.edits.active()[0].to_string(), "blocks.1.attn.hook_result = 0");
    assert!(program.posted.last().unwrap().spec.enabled.contains(&program.state.scene.point()));
    program.keys("O");
    assert!(program.state.scene.edits.active().is_empty() && program.posted.last().unwrap().spec.enabled.is_empty());
    program.find("1 mlp_out");
    program.keys("O");
    assert!(program.state.scene.message.as_ref().unwrap().error);
    command(&mut program, "enable attn.hook_result");
    assert_eq!(program.posted.last().unwrap().spec.enabled.len(), 4);
}

#[test]
fn undo_never_restores_edits_that_cannot_run() {
    let mut program = Program::start(SMALL, &["hook_embed[pos=8] = 0"]);
    program.keys("Space Space");
    command(&mut program, "prompt Two tokens");
    assert!(program.state.scene.edits.active().is_empty(), "position 8 no longer exists");
    for key in ["u", "u", "u", "u", "C-r", "C-r"] {
        program.keys(key);
        assert!(program.state.scene.edits.active().is_empty() && program.state.scene.edits.lines.len() == 1, "{key}");
        assert_eq!(program.state.scene.runs.phase, Phase::Done);
    }
}
