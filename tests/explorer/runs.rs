//! Runs that fail, are cancelled or come late.

use super::*;

#[test]
fn a_failed_run_is_reported_and_the_last_good_one_stays() {
    let mut program = Program::start(SMALL, &[]);
    program.answers = false;
    program.keys("a");
    let run = program.state.scene.runs.number;
    program.event(Event::Report(Report::Failed { run, message: "internal error: it broke".into() }));
    assert_eq!(program.state.scene.runs.phase, Phase::Failed("internal error: it broke".into()));
    program.answers = true;
    program.keys("v");
    assert!(program.state.is_answered(), "the earlier run can still be looked at");
    insta::assert_snapshot!(program.screen(TRUE));
}

#[test]
fn answers_of_another_run_are_dropped() {
    let mut program = Program::start(SMALL, &[]);
    program.answers = false;
    program.keys("a");
    let (old, new) = (program.posted[0].clone(), program.posted.last().unwrap().clone());
    let summary = Arc::new(answers::summary(&program.state.scene, &new));
    program.event(Event::Report(Report::Ran { run: old.run, summary: summary.clone() }));
    assert!(matches!(program.state.scene.runs.phase, Phase::Running { .. }), "an old answer ends nothing");
    let shown = program.state.scene.runs.shown.as_ref().unwrap().run;
    assert_eq!(shown, old.run);
    program.event(Event::Report(Report::Ran { run: new.run, summary }));
    assert_eq!(program.state.scene.runs.shown.as_ref().unwrap().run, new.run);
    // the view is still of the old run, so it is not shown beside the new one
    assert!(!program.state.is_answered());
}

#[test]
fn escape_cancels_and_the_run_before_stays() {
    let mut program = Program::start(SMALL, &[]);
    program.answers = false;
    program.keys("a");
    let before = program.state.scene.runs.shown.as_ref().unwrap().run;
    assert!(program.keys("Esc").contains(&Effect::Cancel));
    assert_eq!(program.state.scene.runs.phase, Phase::Cancelled);
    assert_eq!(program.state.scene.runs.shown.as_ref().unwrap().run, before);
    assert!(program.keys("q").contains(&Effect::Quit));
}

#[test]
fn a_sweep_is_stopped_where_it_is() {
    let mut program = Program::start(SMALL, &[]);
    program.keys("8");
    let seen = program.state.scene.runs.seen[0].clone();
    let (request, mut filling) = (seen.request, seen.answer.unwrap().get::<Filling>().unwrap().clone());
    let first = filling.measures[0];
    filling.measures.iter_mut().for_each(|measure| *measure = measure.or(first));
    let mut partial = filling.clone();
    partial.measures[3] = None;
    let run = program.state.scene.runs.number;
    let saw = |filling: Filling| {
        Event::Report(Report::Saw { run, request: request.clone(), answer: Ok(Answer::new(filling)) })
    };
    program.event(saw(partial));
    assert_eq!(program.keys("Esc"), [Effect::Cancel]);
    assert!(program.state.scene.message.as_ref().unwrap().text.contains("stopped"));
    program.event(saw(filling));
    assert_eq!(program.keys("Esc"), []);
}
