//! The Continue view.

use super::*;
use continuation::{Job, OfContinuation, Progress};

const EDIT: &str = "blocks.1.attn.hook_z[head=2] = 0";

/// Continue is shown and has the focus.
fn continuing(size: (u16, u16), edits: &[&str]) -> Program {
    let mut program = Program::start(size, edits);
    program.keys("$ Tab");
    program
}

/// The jobs that were posted, in order, each once.
fn jobs(program: &Program) -> Vec<Job> {
    let requests = program.posted.iter().flat_map(|want| &want.requests);
    let mut jobs: Vec<Job> = requests.filter_map(|request| request.get::<OfContinuation>()?.job.clone()).collect();
    jobs.dedup();
    jobs
}

/// The texts of the tokens that continue the prompt in the run.
fn continuation_of_run(program: &Program) -> Vec<String> {
    program.state.scene.tokens()[PROMPT.len()..].iter().map(|token| token.text.clone()).collect()
}

#[test]
fn every_view_follows_the_token_under_the_cursor() {
    let mut program = continuing(WIDE, &[EDIT]);
    assert_eq!(continuation_of_run(&program), [""; 0], "the cursor is at the prompt");
    program.keys("j j");
    let scene = &program.state.scene;
    assert_eq!((scene.tokens().len(), scene.cursor.pos), (PROMPT.len() + 24, PROMPT.len() + 1));
    assert_eq!(continuation_of_run(&program)[..2], [" A", " B"]);
    let want = program.posted.last().unwrap();
    assert_eq!((want.spec.tokens.len(), want.spec.generated), (PROMPT.len() + 24, 24));
    let runs = program.posted.len();
    program.keys("j");
    let same = program.posted[runs - 1].run;
    assert!(program.posted[runs..].iter().all(|want| want.run == same), "the run has this token");
    program.keys("h");
    assert_eq!(continuation_of_run(&program)[..2], [" a", " b"]);
    program.keys("3");
    assert!(program.screen(TRUE).contains("Attention"));
    program.keys("$ g");
    let pos = program.state.scene.cursor.pos;
    assert_eq!((continuation_of_run(&program).len(), pos), (0, PROMPT.len() - 1));
    // what is saved is the prompt
    program.keys("j");
    assert_eq!(program.state.experiment().tokens.unwrap().get_ref().len(), PROMPT.len());
}

#[test]
fn another_candidate_begins_a_branch_that_goes_on() {
    let mut program = continuing(WIDE, &[EDIT]);
    program.keys("j j j Enter");
    assert!(program.screen(TRUE).contains("candidates for token 3, edited"));
    program.keys("j Enter");
    let job = jobs(&program).pop().unwrap();
    assert_eq!((job.beginning.unedited, job.beginning.edited), (None, Some(vec![65, 66, 1])));
    assert_eq!(continuation_of_run(&program)[..3], [" A", " B", " John"]);
    assert!(program.screen(TRUE).contains("edited 2/2"), "{}", program.screen(TRUE));
    program.keys("<");
    assert_eq!(continuation_of_run(&program)[2], " C");
    // the same choice again is the same branch
    program.keys("Enter j Enter");
    assert!(program.screen(TRUE).contains("edited 2/2"));
    // the list has it below the one that it left
    program.keys("m");
    let screen = program.screen(TRUE);
    let at = |what: &str| screen.find(what).unwrap_or_else(|| panic!("{what}: {screen}"));
    assert!(at(" edited  ") < at("edited from token 3"), "{screen}");
    program.keys("g Enter");
    assert!(!program.state.views.continuation.is_listing());
    assert_eq!(continuation_of_run(&program)[2], " c");
}

/// The worker has generated this many tokens of what was wanted.
fn part(program: &mut Program, want: &Want, tokens: usize) {
    let ask = want.requests[0].get::<OfContinuation>().unwrap().clone();
    let whole = answers::continuation(&program.state.scene, &ask, want).get::<Progress>().unwrap().clone();
    let mut progress = Progress { is_done: false, ..whole };
    for added in [&mut progress.unedited, &mut progress.edited].into_iter().flatten() {
        added.tokens.truncate(tokens);
        (added.stop, added.changes) = (None, vec![]);
    }
    let (run, request) = (want.run, want.requests[0].clone());
    program.event(Event::Report(Report::Saw { run, request, answer: Ok(Answer::new(progress)) }));
}

#[test]
fn texts_stream_and_an_edit_stops_them_at_once() {
    let mut program = Program::start(SMALL, &[EDIT]);
    program.keys("$ Tab");
    program.answers = false;
    program.keys("s s s s +");
    command(&mut program, "sampling temperature 1");
    let want = program.posted.last().unwrap().clone();
    for tokens in 0..4 {
        part(&mut program, &want, tokens);
        let screen = program.screen(TRUE);
        assert_eq!(screen.contains(" 3 ␣c"), tokens == 3, "{screen}");
    }
    assert!(program.state.view().is_filling(&program.state.scene));
    let posted = program.posted.len();
    part(&mut program, &want, 4);
    assert_eq!(program.posted.len(), posted, "what is asked stays the same while it is answered");
    // another edit: a new run, and another text
    program.keys("Tab Space");
    let last = program.posted.last().unwrap();
    assert!(last.run > want.run && last.spec.edits.is_empty());
    let job = jobs(&program).pop().unwrap();
    assert_eq!(
        job.beginning,
        Beginning { unedited: Some(vec![97, 98, 99, 100]), ..Beginning::default() },
        "the rest is kept"
    );
}

#[test]
fn what_escape_stopped_goes_on_only_when_asked() {
    /// Texts of 4 tokens, stopped by Escape.
    fn stopped() -> Program {
        let mut program = Program::start(WIDE, &[EDIT]);
        program.keys("$ Tab");
        program.answers = false;
        command(&mut program, "sampling seed 1");
        let want = program.posted.last().unwrap().clone();
        part(&mut program, &want, 4);
        program.answers = true;
        assert!(!program.screen(TRUE).contains("stopped by Esc"));
        let effects = program.event(Event::Key(KeyCode::Esc.into()));
        assert!(matches!(effects.first(), Some(Effect::Cancel)), "{effects:?}");
        assert!(program.screen(TRUE).contains("stopped by Esc: r resumes"), "{}", program.screen(TRUE));
        program
    }
    let asked = |program: &Program, known: &[usize]| {
        let job = jobs(program).pop().unwrap();
        let begun = [job.beginning.unedited, job.beginning.edited];
        begun.iter().flatten().map(Vec::len).eq(known.iter().copied())
    };
    let mut program = stopped();
    let before = jobs(&program).len();
    program.keys("j j h l k 3 $ m m G");
    assert_eq!(jobs(&program).len(), before, "moving and looking elsewhere generate nothing");
    assert!(program.screen(TRUE).contains("stopped by Esc: r resumes"), "{}", program.screen(TRUE));
    program.keys("g r");
    assert!(asked(&program, &[4, 4]) && !program.screen(TRUE).contains("stopped by Esc"));
    // Escape may also meet the run of a token that the cursor moved to
    let mut program = stopped();
    program.keys("r");
    command(&mut program, "sampling max-new-tokens 30");
    program.answers = false;
    command(&mut program, "sampling max-new-tokens 40");
    let before = jobs(&program).len();
    program.keys("j");
    assert!(matches!(program.state.scene.runs.phase, Phase::Running { .. }));
    program.keys("Esc");
    program.answers = true;
    program.keys("k j j");
    assert_eq!(jobs(&program).len(), before);
    // another candidate, another setting and another edit let it go on
    let mut program = stopped();
    program.keys("j j Enter j Enter");
    assert!(asked(&program, &[4]), "the branch that was left comes last: {:?}", jobs(&program).pop());
    let mut program = stopped();
    command(&mut program, "sampling max-new-tokens 8");
    assert!(asked(&program, &[4, 4]));
    let mut program = stopped();
    program.keys("Tab Space");
    assert!(asked(&program, &[4]), "the unedited text goes on");
}

#[test]
fn an_undone_edit_brings_its_continuation_back() {
    let mut program = continuing(SMALL, &[EDIT]);
    let before = jobs(&program).len();
    program.keys("Tab Space");
    assert_eq!(jobs(&program).len(), before, "the unedited text is known");
    program.keys("Space");
    assert_eq!(jobs(&program).len(), before, "so is the edited one");
    assert!(program.screen(TRUE).contains("␣A"), "{}", program.screen(TRUE));
}

#[test]
fn an_experiment_keeps_settings_and_branches() {
    let mut program = continuing(WIDE, &[EDIT]);
    assert_eq!(program.state.experiment().continuation, None, "nothing was chosen");
    command(&mut program, "sampling top-p 0.9");
    command(&mut program, "sampling max-new-tokens 6");
    // in the edited text, then a branch of the branch, then in the unedited one
    program.keys("j j j Enter j Enter j j Enter j Enter h Enter j j Enter");
    let written = program.state.experiment();
    let text = written.to_string();
    let table = "[continuation]\ntop-p = 0.9\nmax-new-tokens = 6\n\n\
        [[continuation.unedited]]\ntokens = [97, 98, 99, 100, 3]\n\n\
        [[continuation.edited]]\ntokens = [65, 66, 1]\n\n\
        [[continuation.edited]]\ntokens = [65, 66, 1, 68, 1]\n";
    assert!(text.contains(table), "{text}");
    let read = Experiment::parse(&text).unwrap();
    assert_eq!(read.continuation, written.continuation);
    // opened elsewhere
    let scene = &program.state.scene;
    let setup = Setup {
        prompt: (scene.prompts.text.clone(), scene.prompts.prompt().to_vec()),
        edits: scene.edits.lines.clone(),
        continuations: read.continuation.unwrap().check(PROMPT.len(), &scene.model.config, true).unwrap(),
        ..Setup::default()
    };
    let mut program = Program::start(WIDE, &[]);
    program.event(Event::Opened("branches.toml".into(), Ok(Box::new(setup))));
    let of_opened = |program: &Program| program.state.experiment().continuation;
    assert_eq!(of_opened(&program), written.continuation, "before Continue is shown");
    program.keys("$ Tab");
    let then: Vec<[Vec<u32>; 2]> = jobs(&program).into_iter().map(|job| job.beginning.then).collect();
    let given = [vec![65, 66, 1], vec![97, 98, 99, 100, 3], vec![65, 66, 1, 68, 1]];
    assert!(given.iter().all(|given| then.iter().flatten().filter(|then| *then == given).count() == 1), "{then:?}");
    assert_eq!(of_opened(&program), written.continuation, "once they were read");
    program.keys("j j j >");
    assert_eq!(continuation_of_run(&program), [" A", " B", " \u{1}", " D", " E", " F"]);
    assert!(program.screen(TRUE).contains("edited 2/3"), "{}", program.screen(TRUE));
    // of other edits there are none
    program.keys("Tab Space");
    assert!(of_opened(&program).unwrap().edited.is_empty());
    program.keys("Space");
    assert_eq!(of_opened(&program), written.continuation);
}

#[test]
fn settings_are_chosen_by_key_and_by_command() {
    let mut program = continuing(WIDE, &[]);
    let settings = |program: &Program| program.state.views.continuation.settings;
    program.keys("s + +");
    assert_eq!(settings(&program).sampling.temperature, 0.2);
    program.keys("s - s - s + Esc");
    let sampling = settings(&program).sampling;
    assert_eq!((sampling.top_k, sampling.top_p, sampling.seed), (Some(500), Some(0.95), 1));
    program.keys("+");
    assert_eq!(settings(&program).sampling, sampling);
    command(&mut program, "sampling samples 3");
    command(&mut program, "sampling max-new-tokens 5");
    let last = jobs(&program).pop().unwrap();
    assert_eq!((last.sample, last.count, last.sampling.temperature), (2, 24, 0.2));
    assert!(program.screen(TRUE).contains("unedited 1/3"), "{}", program.screen(TRUE));
    command(&mut program, "sampling temprature 1");
    assert!(program.screen(TRUE).contains("did you mean `temperature`"), "{}", program.screen(TRUE));
    command(&mut program, "sampling top-p 2");
    assert!(program.screen(TRUE).contains("top-p takes a number above 0, at most 1"));
}

#[test]
fn the_text_up_to_the_cursor_becomes_the_prompt_and_takes_edits() {
    let mut program = continuing(WIDE, &[]);
    program.find("1 attn z");
    program.keys("$ j j 2 a");
    let screen = program.screen(TRUE);
    assert!(
        screen.contains("pos 0 to 8") && screen.contains("`:append` makes the text up to the cursor the prompt"),
        "{screen}"
    );
    command(&mut program, "append");
    let prompts = &program.state.scene.prompts;
    assert_eq!((prompts.generated, prompts.prompt().len(), program.state.scene.cursor.pos), (0, 11, 10));
    assert!(prompts.text.ends_with(" to a b"), "{}", prompts.text);
    assert!(
        program.screen(TRUE).contains("2 tokens of the continuation became part of the prompt; , takes the last back")
    );
    program.keys("a");
    assert!(program.state.scene.edits.active()[0].to_string().contains("pos=10"), "{}", program.screen(TRUE));
    program.keys("u ,");
    assert_eq!((program.state.scene.prompts.prompt().len(), program.state.scene.cursor.pos), (10, 9));
    // before the continuation there is no token of it to end at
    program.keys("$ j j 2 k k k");
    command(&mut program, "append");
    assert_eq!(program.state.scene.prompts.prompt().len(), 34);
}
