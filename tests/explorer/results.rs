use pythia_tui::experiment::{Curve, CurvePoint, Measured, ResultPrompt, ResultRow, Results, SeedMean};

use super::*;

const EDIT: &str = "blocks.1.attn.hook_z[head=2] = 0";

/// Round numbers of three seeds at ten steps; the last step of the first seed is published at step 64, too.
fn results() -> Arc<Results> {
    let prompts = (0..12).map(|number| ResultPrompt {
        text: format!("Prompt number {number}:\n when Mary and John went to the store, John gave a drink to"),
        tokens: (number % 2 == 0).then(|| vec![7, 8, number]),
        contrast: (number == 11).then(|| "and another".into()),
        contrast_tokens: None,
        edits: Some(EDIT.into()),
    });
    let rows = |number: usize| {
        let effect = (number as f64 - 3.0) * 0.5 - if number == 11 { 0.0 } else { 1.0 };
        ResultRow {
            model: number % 3,
            prompt: number,
            revision: Some("step512".into()),
            baseline: 2.0,
            value: 2.0 + effect,
        }
    };
    let point = |at: u32| {
        let seed = |seed: u32| SeedMean {
            model: format!("pythia-14m-seed{seed}"),
            baseline: f64::from(at),
            value: f64::from(at) + f64::from(at * at) / 16.0 - f64::from(seed) * 0.25,
            is_copy: at == 7 && seed == 1,
        };
        CurvePoint { step: if at == 0 { 0 } else { 1 << (at - 1) }, seeds: (1..4).map(seed).collect() }
    };
    let curves = vec![
        Curve { family: "pythia-14m".into(), points: (0..10).map(point).collect() },
        Curve { family: "pythia-70m".into(), points: vec![point(3)] },
    ];
    Arc::new(Results {
        path: "grid.parquet".into(),
        metric: "logit-diff".into(),
        models: (1..4).map(|seed| format!("EleutherAI/pythia-14m-seed{seed}")).collect(),
        prompts: prompts.collect(),
        rows: (0..12).map(rows).collect(),
        failed: 2,
        mean: None,
        curves,
    })
}

fn opened(size: (u16, u16), results: Arc<Results>) -> Program {
    let mut program = Program::in_training(size, &[]);
    program.event(Event::Results("grid.parquet".into(), Ok(results)));
    program
}

/// A table without steps, as of a corpus.
fn corpus() -> Arc<Results> {
    let Results { rows, .. } = (*results()).clone();
    let effects: Vec<f64> = rows.iter().map(ResultRow::effect).collect();
    let mean = pythia_tui::analysis::MeanEffect::of(&effects, 0);
    let rows = rows.into_iter().map(|row| ResultRow { model: 0, revision: None, ..row }).collect();
    Arc::new(Results { rows, mean, models: vec!["demo".into()], curves: vec![], failed: 0, ..(*results()).clone() })
}

fn ascii() -> Theme {
    Theme { depth: ColorDepth::None, ascii: true, light: false, pixels: None }
}

#[test]
fn a_grid_over_the_training() {
    let screen = |size, theme| {
        let mut program = opened(size, results());
        assert_eq!(program.state.tab, Tab::Training);
        program.keys("Tab j j j");
        program.screen(theme)
    };
    insta::assert_snapshot!("grid_wide", screen((160, 45), TRUE));
    insta::assert_snapshot!("grid_small", screen((80, 24), TRUE));
    let drawn = screen((80, 24), ascii());
    assert!(drawn.is_ascii(), "{:?}", drawn.chars().filter(|c| !c.is_ascii()).collect::<String>());
    insta::assert_snapshot!("grid_ascii", drawn);
}

#[test]
fn a_corpus_from_end_to_end() {
    let screen = |size, results, keys: &str, theme| {
        let mut program = opened(size, results);
        program.keys("%");
        assert_eq!(program.state.tab, Tab::Corpus);
        program.keys(keys);
        program.screen(theme)
    };
    insta::assert_snapshot!("corpus_wide", screen((160, 45), results(), "Tab", TRUE));
    insta::assert_snapshot!("corpus_small", screen((80, 24), corpus(), "Tab g j", TRUE));
    let drawn = screen((80, 24), corpus(), "Tab", ascii());
    assert!(drawn.is_ascii(), "{:?}", drawn.chars().filter(|c| !c.is_ascii()).collect::<String>());
    insta::assert_snapshot!("corpus_ascii", drawn);
}

#[test]
fn the_table_of_the_curve_is_what_is_drawn() {
    let mut program = opened(WIDE, results());
    let array = |program: &Program, name: &str| {
        let arrays = program.state.table().unwrap().arrays;
        arrays.into_iter().find(|(array, ..)| array == name).unwrap().2
    };
    assert_eq!(array(&program, "step")[..5], [0.0, 1.0, 2.0, 4.0, 8.0]);
    // of the seeds 1, 2 and 3 at step 64, the first is a copy
    let mean = |seeds: &[f32]| seeds.iter().map(|seed| 49.0 / 16.0 - seed * 0.25).sum::<f32>() / seeds.len() as f32;
    assert_eq!(array(&program, "mean")[6..8], [36.0 / 16.0 - 0.5, mean(&[2.0, 3.0])]);
    assert_eq!((array(&program, "least")[7], array(&program, "greatest")[7]), (49.0 / 16.0 - 0.75, 49.0 / 16.0 - 0.5));
    program.keys("s s");
    assert_eq!(array(&program, "mean")[..3], [0.0, 1.0, 2.0], "the baseline");
    program.keys("s");
    assert_eq!(array(&program, "step"), [4.0], "the other model");
    program.keys("m");
    assert!(program.screen(TRUE).contains("probability of"), "the visited checkpoints");
    program.keys("m s s s");
    assert_eq!(array(&program, "step").len(), 10, "around");
}

#[test]
fn enter_goes_to_the_checkpoint_of_a_step() {
    let mut program = opened(WIDE, results());
    let effects = program.keys("Tab g j j j Enter");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Travel(step) if step.step == 4)), "{effects:?}");
    let mut program = Program::start(WIDE, &[]);
    program.event(Event::Results("grid.parquet".into(), Ok(results())));
    program.keys("Tab Enter");
    assert!(program.screen(TRUE).contains("demo has no checkpoint step0"));
}

#[test]
fn enter_opens_a_prompt_with_its_edits() {
    let mut program = opened(WIDE, corpus());
    assert_eq!(program.state.tab, Tab::Corpus);
    // the greatest effect has another prompt to patch from
    let effects = program.keys("Tab G Enter");
    assert!(
        matches!(&effects[..], [Effect::Tokenize(_, first), Effect::Tokenize(_, second)]
        if first == "and another" && second.starts_with("Prompt number 11:")),
        "{effects:?}"
    );
    let scene = &program.state.scene;
    assert!(scene.prompts.text.starts_with("Prompt number 11:"));
    assert_eq!(scene.prompts.contrast_text, "and another");
    let edits: Vec<String> = scene.edits.lines.iter().map(|line| line.edit.to_string()).collect();
    assert_eq!(edits, [EDIT]);
    assert_eq!(program.posted.last().unwrap().spec, scene.spec());
    assert_eq!((program.state.tab, &scene.message), (Tab::Logits, &None));
    // the edits before can be had again
    program.keys("u");
    assert!(program.state.scene.edits.lines.is_empty());

    let mut program = opened(WIDE, results());
    let effects = program.keys("% Tab g Enter");
    assert!(matches!(&effects[..], [Effect::Name(_, ids)] if *ids == [7, 8, 0]), "{effects:?}");
    let ids: Vec<u32> = program.state.scene.prompts.tokens.iter().map(|token| token.id).collect();
    assert_eq!(ids, [7, 8, 0], "the tokens of the table, whatever their text would give");
    assert!(
        program.screen(TRUE).contains("this row is of EleutherAI/pythia-14m-seed1 at step512; the model here is demo")
    );
}

#[test]
fn what_cannot_be_opened_is_said() {
    let mut program = Program::start(SMALL, &[]);
    program.keys("%");
    assert!(program.screen(TRUE).contains("No table is open."));
    program.event(Event::Results("x.parquet".into(), Err("it is no Parquet file".into())));
    assert!(program.screen(TRUE).contains("it is no Parquet file"));
    let empty = Results { rows: vec![], ..(*corpus()).clone() };
    program.event(Event::Results("x.parquet".into(), Ok(Arc::new(empty))));
    assert!(program.screen(TRUE).contains("No row has a finite effect."));
    program.keys("Tab j G g s Enter y");
    let mut wrong = (*corpus()).clone();
    wrong.prompts[11].edits = Some("no edit".into());
    program.event(Event::Results("x.parquet".into(), Ok(Arc::new(wrong))));
    program.keys("G Enter");
    assert!(program.screen(TRUE).contains("the row's edits can't be read"));
    assert_eq!(Measured::ALL.len(), 3);
}
