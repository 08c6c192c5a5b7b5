//! Vectors and dose curves.

use super::*;
use pythia_tui::hooks::{VectorDefinition, VectorName, VectorSource};

fn definition(text: &str) -> (VectorName, VectorDefinition) {
    let source = Arc::new(VectorSource::Fixed(vec![0.5; 128].into()));
    ("happy".parse().unwrap(), VectorDefinition { source, text: text.into() })
}

fn with_vector(size: (u16, u16), edits: &[&str]) -> Program {
    let mut program = Program::start(size, &[]);
    program.event(Event::Defined(Ok(definition("diff:glad|sad"))));
    for line in edits {
        command(&mut program, &format!("edit {line}"));
    }
    program
}

fn lines(program: &Program) -> Vec<String> {
    program.state.scene.edits.lines.iter().map(|line| line.edit.to_string()).collect()
}

#[test]
fn a_vector_is_made_while_the_program_runs_and_kept() {
    let mut program = Program::start(SMALL, &[]);
    program.keys("^");
    program.event(Event::Paste("happy=di".into()));
    let screen = program.screen(TRUE);
    assert!(screen.contains("vector happy=diff:") && screen.contains("vector happy=diff@"), "{screen}");
    program.keys("Esc");
    program.keys(":");
    program.event(Event::Paste("vector happy=diff:glad|sad".into()));
    let effects = program.keys("Enter");
    assert!(effects.contains(&Effect::Define("happy=diff:glad|sad".into())), "{effects:?}");
    program.event(Event::Defined(Ok(definition("diff:glad|sad"))));
    assert!(program.screen(TRUE).contains("happy is diff:glad|sad"), "{}", program.screen(TRUE));
    command(&mut program, "edit blocks.1.hook_resid_post += 4 * happy");
    assert_eq!(program.posted.last().unwrap().spec.vectors.len(), 1);
    assert_eq!(lines(&program), ["blocks.1.hook_resid_post += 4 * happy"]);
    let experiment = program.state.experiment();
    assert_eq!(experiment.vector[0].source.get_ref(), "diff:glad|sad");
    program.event(Event::Defined(Err("expected NAME=SOURCE".into())));
    assert!(program.screen(TRUE).contains("expected NAME=SOURCE"));
}

#[test]
fn the_editor_completes_names_and_shows_what_a_multiple_does() {
    let mut program = with_vector(SMALL, &[]);
    program.keys("i");
    program.event(Event::Paste("blocks.2.hook_resid_post += 3 * ha".into()));
    let screen = program.screen(TRUE);
    assert!(screen.contains("Tab blocks.2.hook_resid_post += 3 * happy"), "{screen}");
    program.keys("Tab");
    insta::assert_snapshot!("editor_of_a_vector", program.screen(TRUE));
    let ask = program.state.preview().unwrap();
    assert_eq!((ask.0.amounts[0], ask.0.amounts[16], ask.0.varied), (-6.0, 6.0, 0));
    program.keys("Esc i");
    program.event(Event::Paste("blocks.2.hook_resid_post -= proj h".into()));
    assert!(program.screen(TRUE).contains("Tab blocks.2.hook_resid_post -= proj happy"));
}

#[test]
fn the_preview_has_the_other_edits_in_their_order() {
    let edits = ["hook_embed *= 2", "blocks.1.hook_resid_post += 4 * happy", "blocks.2.hook_mlp_out = 0"];
    let mut program = with_vector(SMALL, &edits);
    program.state.scene.edits.cursor = 1;
    program.state.scene.layout.focus = Focus::Edits;
    program.keys("e");
    let ask = program.state.preview().unwrap();
    let of: Vec<String> = ask.0.edits.iter().map(ToString::to_string).collect();
    assert_eq!((of.iter().map(String::as_str).collect::<Vec<_>>(), ask.0.varied), (edits.to_vec(), 1));
}

#[test]
fn a_number_is_taken_from_the_dose_curve() {
    let mut program = with_vector(WIDE, &["hook_embed = mean", "blocks.1.hook_resid_post += 4 * happy"]);
    program.keys("~ Tab");
    assert!(program.screen(TRUE).contains("happy: norm 2.0000"), "{}", program.screen(TRUE));
    program.keys("l l Enter");
    assert_eq!(lines(&program)[1], "blocks.1.hook_resid_post += 5 * happy");
    // the range stays, until it is widened
    let range = |program: &Program| {
        let view = program.state.views.get(Tab::Doses);
        let table = view.table(&program.state.scene).unwrap();
        (table.rows[0][0].clone(), table.rows.last().unwrap()[0].clone())
    };
    assert_eq!(range(&program), ("-8".into(), "8".into()));
    program.keys(">");
    assert_eq!(range(&program), ("-16".into(), "16".into()));
    program.keys("u");
    assert_eq!(lines(&program)[1], "blocks.1.hook_resid_post += 4 * happy");
    // without a number there is nothing to vary
    let mut program = Program::start(SMALL, &["hook_embed = mean"]);
    program.keys("~");
    assert!(program.screen(TRUE).contains("no edit with a finite number is"), "{}", program.screen(TRUE));
}
