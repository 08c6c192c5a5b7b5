//! Copying, saving and opening.

use super::*;

#[test]
fn copying_takes_what_is_under_the_cursor() {
    let mut program = Program::start(SMALL, &[]);
    program.find("1 attn z");
    assert_eq!(program.keys("y"), [Effect::Copy("blocks.1.attn.hook_z".into())]);
    program.keys("2 Tab g");
    let values = program.state.table().unwrap().arrays.remove(0).2;
    assert_eq!(program.keys("y"), [Effect::Copy(values[0].to_string())]);
    let [Effect::Copy(table)] = &program.keys("Y")[..] else { panic!("no table") };
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 1 + PROMPT.len());
    assert!(lines[0].starts_with("pos\t0\t1\t") && lines[8].starts_with("7 \"\\n\"\t"), "{table}");
    program.keys("Esc 3 m");
    program.keys("Y");
    assert!(program.state.scene.message.as_ref().unwrap().text.contains("no table"));
}

#[test]
fn saving_asks_before_it_replaces() {
    let mut program = Program::start(SMALL, &[]);
    program.find("1 attn z");
    program.keys("2 S Tab");
    let effects = program.keys("Enter");
    let path = std::path::PathBuf::from("demo-blocks.1.attn.hook_z-head0.csv");
    assert_eq!(effects, [Effect::Save { path: path.clone(), replace: false }]);
    program.event(Event::Saved(path.clone(), Err(NotSaved::Exists)));
    assert_eq!(program.keys("Enter"), [Effect::Save { path: path.clone(), replace: true }]);
    program.event(Event::Saved(path.clone(), Err(NotSaved::Failed("No space left on device".into()))));
    assert!(program.screen(TRUE).contains("No space left on device"), "the line stays open");
    program.event(Event::Saved(path, Ok(())));
    assert!(program.state.overlay.is_none());
    command(&mut program, "save what.doc");
    assert!(program.screen(TRUE).contains("a name that ends in .svg"));
}

#[test]
fn an_experiment_records_the_dictionaries_of_the_session() {
    let mut program = Program::start(SMALL, &[]);
    assert!(!program.state.experiment().to_string().contains("[[dictionary]]"));
    let text = "version = 1\nmodel = 'demo'\n[[dictionary]]\nsource = 'hook_embed=/d'\nlabels = '/l.json'\n";
    program.state.scene.dictionaries = Experiment::parse(text).unwrap().dictionary;
    let written = program.state.experiment().to_string();
    assert!(written.contains("[[dictionary]]\nsource = \"hook_embed=/d\"\nlabels = \"/l.json\"\n"), "{written}");
    // an experiment on the same model leaves them
    let setup = Setup { prompt: ("Two".into(), program.state.scene.prompts.tokens.clone()), ..Setup::default() };
    program.event(Event::Opened("other.toml".into(), Ok(Box::new(setup))));
    assert!(program.state.experiment().to_string().contains("hook_embed=/d"));
}

#[test]
fn escape_cancels_opening_an_experiment() {
    let mut program = Program::start(SMALL, &[]);
    program.keys(":");
    program.event(Event::Paste("open x.toml".into()));
    assert_eq!(program.keys("Enter"), [Effect::Open("x.toml".into())]);
    program.event(Event::Loading("another".into()));
    assert_eq!(program.keys("Esc"), [Effect::Abandon]);
    assert_eq!(program.keys("Esc"), []);
    // nor does Escape cancel one that was refused
    program.keys(":");
    program.event(Event::Paste("open x.toml".into()));
    program.keys("Enter");
    program.event(Event::Opened("x.toml".into(), Err("can't read x.toml".into())));
    assert_eq!(program.keys("Esc"), []);
}

#[test]
fn an_experiment_states_the_metric_if_it_was_chosen_or_is_not_the_default() {
    let mut program = Program::start(SMALL, &[]);
    let written = |program: &Program| program.state.experiment().metric;
    assert_eq!(written(&program), None);
    // the default metric of a patching map is the logit difference
    program.state.views.sweep.map = Map::Patch(Patch::ResidPre);
    assert_eq!(written(&program), Some(Metric::Kl));
    program.state.views.sweep.map = Map::Ablate(Op::Set(0.0));
    program.state.tab = Tab::Sweep;
    for metric in [Metric::LogitDiff, Metric::Prob, Metric::Kl] {
        program.keys("m");
        assert_eq!(written(&program), Some(metric));
    }
    let opened = |metric| Setup {
        prompt: ("Two".into(), program.state.scene.prompts.tokens.clone()),
        metric,
        ..Setup::default()
    };
    let (chosen, left_out) = (opened(Some(Metric::Prob)), opened(None));
    for (setup, expected) in [(chosen, Some(Metric::Prob)), (left_out, None)] {
        program.event(Event::Opened("other.toml".into(), Ok(Box::new(setup))));
        assert_eq!(written(&program), expected);
    }
}

#[test]
fn opening_an_experiment_can_be_undone() {
    let mut program = Program::start(SMALL, &["blocks.1.attn.hook_z[head=2] = 0"]);
    program.keys("3 >");
    let written = program.state.experiment();
    let read = Experiment::parse(&written.to_string()).unwrap();
    assert_eq!(read.to_string(), written.to_string());
    let tokens = vec![Token { id: 3, text: "Other".into() }, Token { id: 4, text: " words".into() }];
    let setup = Setup {
        prompt: ("Other words".into(), tokens),
        edits: vec![EditLine { edit: "hook_embed = 0".parse().unwrap(), on: false }],
        view: Some(SavedView { position: 9, tab: Tab::Values, ..*read.view.unwrap().get_ref() }),
        ..Setup::default()
    };
    let path = std::path::PathBuf::from("other.toml");
    program.event(Event::Opened(path.clone(), Ok(Box::new(setup))));
    assert_eq!(
        (program.state.tab, program.state.scene.prompts.tokens.len(), program.state.scene.cursor.pos),
        (Tab::Values, 2, 1)
    );
    assert!(program.state.scene.edits.active().is_empty() && program.state.scene.edits.lines.len() == 1);
    assert!(program.state.is_answered(), "it was run");
    program.keys("u");
    assert_eq!(program.state.scene.edits.active()[0].to_string(), "blocks.1.attn.hook_z[head=2] = 0");
    // one that can't be opened changes nothing, and the whole reason is shown
    let before = program.state.experiment();
    program.event(Event::Opened(
        path,
        Err(format!("other.toml, line 3, column 9: {} the end", "a long reason ".repeat(9))),
    ));
    assert_eq!(program.state.experiment(), before);
    assert!(program.screen(TRUE).contains("the end"));
}

#[test]
fn a_view_becomes_a_picture() {
    let mut program = Program::start(SMALL, &["blocks.1.attn.hook_z[head=2] = 0"]);
    for view in ["1", "2", "3", "4", "5", "6", "7", "8", "3", "m", "m"] {
        program.keys(view);
        let picture = svg(&program.state, TRUE).unwrap();
        assert!(!picture.contains("computing"));
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
        assert_eq!(picture.matches("<text").count(), picture.matches("</text>").count());
        assert!(!picture.contains("& ") && picture.contains("<rect"));
    }
    program.event(Event::Resize(2, 2));
    assert!(svg(&program.state, TRUE).is_err());
}

#[test]
fn an_experiment_keeps_its_circuit() {
    let mut program = Program::start(SMALL, &[]);
    command(&mut program, &format!("contrast {}", ["x"; 9].join(" ")));
    let written = |program: &Program| {
        let text = program.state.experiment().to_string();
        Experiment::parse(&text).unwrap().circuit.map(|table| toml::to_string(&table).unwrap())
    };
    assert_eq!(written(&program), None);
    program.keys("C");
    assert_eq!(written(&program), None, "nodes are no circuit");
    program.keys("s");
    let shown = "method = \"eap\"\nmetric = \"logit-diff\"\ntop = 12\n";
    assert_eq!(written(&program).as_deref(), Some(shown));
    program.keys("4");
    assert_eq!(written(&program), None, "it was only looked at");
    program.keys("C > c");
    let chosen = "method = \"eap-ig\"\nsteps = 5\nmetric = \"logit-diff\"\ntop = 15\n";
    assert_eq!(written(&program).as_deref(), Some(chosen));
    program.keys("4");
    assert_eq!(written(&program).as_deref(), Some(chosen));

    let listed: Vec<Edge> = ["a0.h1->a1.h0<q>", "m0->logits"].map(|edge| edge.parse().unwrap()).to_vec();
    let circuit = Circuit {
        edges: Some(ChosenEdges::Listed(listed.clone())),
        metric: Some(ObjectiveKind::Loss),
        ..Circuit::default()
    };
    let tokens = |scene: &Scene| scene.prompts.tokens.clone();
    let setup = Setup {
        prompt: ("Two".into(), tokens(&program.state.scene)),
        contrast: Some(("Two".into(), tokens(&program.state.scene))),
        circuit: Some(circuit),
        ..Setup::default()
    };
    program.event(Event::Opened("circuit.toml".into(), Ok(Box::new(setup))));
    assert_eq!(program.state.tab, Tab::Circuit, "it opens with its circuit");
    let ask = program.state.requests().into_iter().find_map(|request| request.get::<OfParts>().cloned()).unwrap();
    assert_eq!((ask.circuit, ask.objective), (Some(ChosenEdges::Listed(listed.clone())), Objective::Loss));
    assert!(program.screen(TRUE).contains("2 chosen of 24 edges: faithfulness 0.221"), "{}", program.screen(TRUE));
    let run = program.state.views.circuit.run_circuit(&program.state.scene).unwrap();
    assert_eq!((run.edges, run.value, run.found.edges), (listed, 2.5, 2));
    let names = "edges = [\"a0.h1->a1.h0<q>\", \"m0->logits\"]\n";
    assert!(written(&program).unwrap().ends_with(names));
    // `<` and `>` choose the strongest edges instead
    program.keys("<");
    assert!(written(&program).unwrap().ends_with("top = 1\n"));
    // one without a circuit
    let setup = Setup { prompt: ("Two".into(), tokens(&program.state.scene)), ..Setup::default() };
    program.event(Event::Opened("other.toml".into(), Ok(Box::new(setup))));
    program.keys("4");
    assert_eq!(written(&program), None);
}
