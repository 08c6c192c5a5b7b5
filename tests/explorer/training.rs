//! Moving between training checkpoints.

use super::*;

#[test]
fn moving_between_checkpoints_fetches_their_neighbours() {
    let mut program = Program::in_training(SMALL, &[]);
    let step = |program: &Program, at: usize| program.state.scene.checkpoints.steps[at].clone();
    let effects = program.keys("C-Right");
    assert!(matches!(&effects[0], Effect::Travel(step) if step.revision == "step4"), "{effects:?}");
    assert!(matches!(&effects[1], Effect::Post(want) if want.measure), "where it began is measured, too: {effects:?}");
    // the next step counts from the checkpoint on its way
    let effects = program.keys("C-n");
    assert!(matches!(&effects[..], [Effect::Travel(step)] if step.revision == "step8"), "{effects:?}");
    assert!(program.screen(TRUE).contains("to step8"));
    let model = Box::new(ModelInfo { branch: Some("step8".into()), ..program.state.scene.model.clone() });
    let run = program.state.scene.runs.number;
    let effects = program.event(Event::Travelled(step(&program, 4), Ok(model)));
    let revisions = |steps: &[TrainingStep]| steps.iter().map(|s| s.revision.clone()).collect::<Vec<_>>();
    assert!(matches!(&effects[0], Effect::Fetch(steps) if revisions(steps) == ["step16", "step4"]), "{effects:?}");
    assert!(matches!(&effects[1], Effect::Post(want) if want.run == run + 1), "{effects:?}");
    // back: the one before is likelier next
    let effects = program.keys("C-Left C-Left");
    assert!(matches!(effects.last(), Some(Effect::Travel(step)) if step.revision == "step2"), "{effects:?}");
    let effects = program.event(Event::Travelled(step(&program, 2), Ok(Box::new(program.state.scene.model.clone()))));
    assert!(matches!(&effects[0], Effect::Fetch(steps) if revisions(steps) == ["step1", "step4"]), "{effects:?}");
    // a checkpoint that can't be loaded changes nothing
    program.keys("C-Left");
    program.event(Event::Travelled(step(&program, 1), Err("no disk".into())));
    assert_eq!((program.state.scene.checkpoints.at, program.state.scene.checkpoints.wanted), (Some(2), None));
    assert!(program.screen(TRUE).contains("no disk"));
    let effects = program.keys("C-Left Esc");
    assert_eq!((program.state.scene.checkpoints.wanted, effects.last()), (None, Some(&Effect::Stay)));
    // a list that arrives late, with more checkpoints, keeps the requested one
    program.keys("C-Left");
    let mut longer = program.state.scene.checkpoints.steps.clone();
    longer.insert(2, TrainingStep { step: 1_000_000, revision: "step1000000".into(), here: false });
    program.event(Event::Checkpoints(longer));
    // the one beyond the checkpoint that could not be loaded
    let zero = step(&program, 0);
    assert!(program.state.scene.checkpoints.is_wanted(&zero) && program.state.scene.checkpoints.at == Some(3));
    program.event(Event::Travelled(zero, Ok(Box::new(program.state.scene.model.clone()))));
    assert_eq!(program.state.scene.checkpoints.at, Some(0));
    // without the network, only checkpoints on this machine are visited
    program.state.scene.checkpoints.offline = true;
    let effects = program.keys("C-Right");
    assert!(matches!(&effects[0], Effect::Travel(next) if next.here), "{effects:?}");
    let effects = program.keys(": s t e p Space 9 9 Enter");
    assert!(effects.is_empty() && program.screen(TRUE).contains("no checkpoint `99`; the nearest is step128"));
}

#[test]
fn a_model_without_checkpoints_says_so() {
    let mut program = Program::start(SMALL, &[]);
    assert!(program.keys("C-Right").is_empty());
    assert!(program.screen(TRUE).contains("demo has no training checkpoints"));
    program.keys("9");
    assert!(program.screen(TRUE).contains("This model has no training"));
}

#[test]
fn runs_are_measured_once_the_user_moves_between_checkpoints() {
    let mut program = Program::in_training(SMALL, &[]);
    program.keys("a u");
    assert!(program.posted.iter().all(|want| !want.measure), "nothing was to be measured");
    program.travel("C-Right");
    assert!(program.posted.last().unwrap().measure);
    let asked = program.posted.len();
    program.keys("]");
    assert!(!program.posted[asked..].iter().any(|want| want.measure), "it is measured already");
    program.travel("C-Right");
    program.keys("9 s s s s s s s");
    let values = |program: &Program| over_training(program, "value");
    assert!(program.screen(TRUE).contains("L2 norm of"));
    // steps 2, 4 and 8
    assert_eq!(values(&program), [(2.0, 9.0), (4.0, 16.0), (8.0, 25.0)]);
    // numbers of other edits are left out, and return with those edits
    program.keys("a");
    assert_eq!(values(&program), [(8.0, 25.0)]);
    assert_eq!(over_training(&program, "baseline"), [(8.0, 12.5)]);
    program.keys("u");
    assert_eq!(values(&program), [(2.0, 9.0), (4.0, 16.0), (8.0, 25.0)]);
}

/// A number of the chart, by step.
fn over_training(program: &Program, name: &str) -> Vec<(f32, f32)> {
    let arrays = program.state.table().unwrap().arrays;
    let array = |name: &str| arrays.iter().find(|(array, ..)| array == name).unwrap().2.clone();
    array("step").into_iter().zip(array(name)).collect()
}

#[test]
fn a_tour_visits_what_is_here_and_comes_back() {
    let mut program = Program::in_training(SMALL, &[]);
    program.arrives = true;
    program.keys("9 W");
    // steps 0, 2, 8, 32 and 128 are here, of which 32 is broken
    let steps: Vec<f32> = over_training(&program, "value").into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [0.0, 2.0, 8.0, 128.0]);
    assert_eq!((program.state.scene.checkpoints.at, program.state.scene.checkpoints.wanted), (Some(2), None));
    // another prompt is another tour; any key pressed meanwhile ends it
    program.arrives = false;
    program.keys("a");
    let effects = program.keys("W");
    assert!(matches!(&effects[..], [Effect::Travel(step)] if step.step == 0), "{effects:?}");
    assert_eq!(program.keys("Esc"), [Effect::Stay]);
    let model = Box::new(program.state.scene.model.clone());
    let zero = program.state.scene.checkpoints.steps[0].clone();
    let effects = program.event(Event::Travelled(zero, Ok(model)));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Travel(_))), "{effects:?}");
}

#[test]
fn the_training_view() {
    let screens = |size, theme| {
        let mut all = String::new();
        let mut program = Program::in_training(size, &["blocks.1.attn.hook_z[head=2] = 0"]);
        program.keys("9");
        for keys in ["C-Right", "C-Right", "C-Right", "C-Right", "Tab s s s s"] {
            program.travel(keys);
        }
        let progress = Progress {
            repository: "EleutherAI/pythia-70m".into(),
            revision: "step128".into(),
            done: 50_000_000,
            total: 166_000_000,
            waiting: Waiting::Nothing,
        };
        program.event(Event::Fetching(progress));
        program.keys("C-Right j");
        writeln!(all, "{}", program.screen(theme)).unwrap();
        all
    };
    insta::assert_snapshot!("training_wide", screens(WIDE, TRUE));
    insta::assert_snapshot!("training_small", screens(SMALL, TRUE));
    let ascii = screens(SMALL, Theme { depth: ColorDepth::None, ascii: true, light: false, pixels: None });
    assert!(ascii.is_ascii(), "{:?}", ascii.chars().filter(|c| !c.is_ascii()).collect::<String>());
    insta::assert_snapshot!("training_ascii", ascii);
}

#[test]
fn copies_of_other_checkpoints_are_hollow() {
    let mut program = Program::in_training(SMALL, &[]);
    let hashes = |hash: &str| WeightHashes([("model.safetensors".to_string(), hash.to_string())].into());
    let revision = |program: &Program, at: usize| program.state.scene.checkpoints.steps[at].revision.clone();
    let at = program.state.scene.checkpoints.at.unwrap();
    let here = revision(&program, at);
    program.keys("9");
    let before = program.screen(TRUE);
    program.event(Event::Hashed(here.clone(), hashes("a")));
    assert_eq!(program.screen(TRUE), before, "alone it is no copy");
    program.event(Event::Hashed(revision(&program, at + 1), hashes("a")));
    assert_eq!(program.state.scene.checkpoints.copy_of(at), Some(revision(&program, at + 1).as_str()));
    program.event(Event::Hashed("main".into(), hashes("a")));
    assert_eq!(program.state.scene.checkpoints.copy_of(at), Some("main"), "main goes before the others");
    let last = program.state.scene.checkpoints.steps.len() - 1;
    program.event(Event::Hashed(revision(&program, last), hashes("a")));
    assert_eq!(program.state.scene.checkpoints.copy_of(last), None, "the last checkpoint is main");
    let screen = program.screen(TRUE);
    assert!(screen.contains("○ same weights as main") && screen.contains("step2: same weights as main"), "{screen}");
    program.keys("Tab");
    assert!(program.screen(Theme { ascii: true, ..TRUE }).contains("o same weights as main"));
}

/// Press a key that opens a line, write that line, and apply it.
fn write(program: &mut Program, key: &str, line: &str) {
    program.keys(key);
    program.event(Event::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)));
    program.event(Event::Paste(line.into()));
    program.keys("Enter");
}

/// Watches and breakpoints that log are kept for every checkpoint; those that hold end the visit.
#[test]
fn watches_and_logging_breakpoints_follow_the_training() {
    let mut program = Program::in_training(WIDE, &[]);
    program.arrives = true;
    write(&mut program, "M", "norm(blocks.*.hook_resid_post over all)");
    let line = |program: &Program, text: &str| {
        let screen = program.screen(TRUE);
        screen.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{screen}")).to_string()
    };
    assert!(!line(&program, "= norm(").contains("steps"));
    write(&mut program, "b", "blocks.*.hook_resid_post > 1");
    program.keys("L s Esc 9 W L");
    // steps 0, 2, 8 and 128 could be visited; the first step's values are the smallest
    assert!(line(&program, "= norm(").contains("steps ▁"), "{}", line(&program, "= norm("));
    assert!(line(&program, "log ").contains("at 4 of 4 steps, first step 0"), "{}", line(&program, "log "));
    // another watch is visited for again
    program.keys("Esc");
    write(&mut program, "M", "norm(blocks.*.hook_mlp_out over all)");
    let posted = program.posted.len();
    program.keys("W");
    assert!(program.posted.len() >= posted + 4);
    program.keys("L");
    assert!(line(&program, "hook_mlp_out over all").contains("steps ▁"));
}
