//! The tour inside the program, walked on the demo: every step is set up, every key pressed, every number and name
//! checked.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test fails by panicking")]

use std::{cell::RefCell, collections::HashMap};

use pythia_tui::{
    engine::{Engine, Prediction, Serve, Session, Stop, WhichAttention},
    experiment::{Given, PromptParser},
    explorer::{Effect, Event, Opening, Overlay, State, Step, TourFile, draw, update},
    hooks::Schema,
    keys::Key,
    model::{Dtype, Placement, Processing, Source, modules},
    paint::{ColorDepth, Theme},
    views::{Checkpoints, HeadScope, ModelInfo, Tab, keymap},
};
use ratatui::{Terminal, backend::TestBackend};

/// The explorer on the demo, with its engine and without a terminal.
struct Explorer {
    state: State,
    session: Session,
}

impl Explorer {
    /// Before the first step.
    fn start() -> Self {
        let loaded = Source::Demo.load(Processing::Folded, Placement::cpu()).unwrap();
        let file = TourFile::guided().unwrap();
        let config = loaded.model.config.clone();
        let tour = file.tour(PromptParser::from(&loaded), &Given::default()).unwrap();
        let model = ModelInfo {
            branch: None,
            name: "demo".into(),
            source: "demo".into(),
            revision: None,
            processing: Processing::Folded,
            device: "cpu f32".into(),
            dtype: Dtype::F32,
            config: config.clone(),
            note: None,
        };
        let schema = Schema::new(config.dims());
        let mut state = State::new(Opening {
            model,
            schema: schema.clone(),
            modules: modules(&config),
            checkpoints: Checkpoints::default(),
            keys: keymap(),
            halves: true,
            setup: tour.steps()[0].setup.clone(),
            size: (80, 24),
        });
        state.have_tour(Some(tour));
        let mut explorer = Self { state, session: Session::new(Engine::new(loaded, schema)) };
        explorer.event(Event::Start);
        explorer
    }

    fn event(&mut self, event: Event) {
        for effect in update(&mut self.state, event) {
            if let Effect::Post(want) = effect {
                let reports = RefCell::new(vec![]);
                self.session.serve(&want, &Stop::default(), &|report| reports.borrow_mut().push(report)).unwrap();
                for report in reports.into_inner() {
                    self.event(Event::Report(report));
                }
            }
        }
    }

    fn press(&mut self, key: Key) {
        self.event(Event::Key(key.event()));
    }

    fn step(&self) -> (usize, Step) {
        let (at, step) = self.state.tour.as_ref().unwrap().step().unwrap();
        (at, step.clone())
    }

    /// Go to the step whose title contains this text.
    fn go_to(&mut self, title: &str) -> Step {
        self.press(key("T"));
        while !self.step().1.title.contains(title) {
            let at = self.step().0;
            self.press(key("T"));
            assert_eq!(self.step().0, at + 1, "there is no step {title:?}");
        }
        self.step().1
    }

    fn press_its_keys(&mut self) {
        for key in self.step().1.press.unwrap().keys {
            self.press(key);
        }
    }

    fn hook(&self) -> String {
        self.state.scene.point().to_string()
    }

    /// Probabilities of the likeliest next tokens, the first of which is the prediction.
    fn next_tokens(&self) -> Vec<Prediction> {
        self.state.scene.runs.shown.as_ref().unwrap().summary.top.last().unwrap().clone()
    }

    fn prob(&self, token: &str) -> String {
        let found = self.next_tokens().into_iter().find(|p| p.text == token).unwrap();
        format!("{:.1} %", found.prob * 100.0)
    }

    /// The table on the screen, as rows of cells.
    fn table(&self) -> Vec<Vec<String>> {
        let table = self.state.table().unwrap().tab_separated();
        table.lines().map(|line| line.split('\t').map(String::from).collect()).collect()
    }

    /// The numbers of the view on the screen.
    fn numbers(&self) -> Vec<f32> {
        self.state.table().unwrap().arrays.remove(0).2
    }
}

fn key(name: &str) -> Key {
    name.parse().unwrap()
}

#[test]
fn every_step_shows_what_it_is_about_and_its_keys_do_something() {
    let mut explorer = Explorer::start();
    let n = explorer.state.tour.as_ref().unwrap().steps().len();
    assert!((10..=15).contains(&n), "{n} steps");
    for number in 0..n {
        explorer.press(key("T"));
        let (at, step) = explorer.step();
        let (title, state) = (&step.title, &explorer.state);
        assert_eq!(at, number);
        assert!(state.scene.message.is_none(), "{title}: {:?}", state.scene.message);
        let view = step.setup.view.unwrap();
        assert_eq!((state.tab, state.scene.point(), state.scene.cursor.pos), (view.tab, view.hook, view.position));
        assert!(state.is_answered() && state.scene.runs.seen.iter().all(|seen| seen.answer.is_ok()), "{title}");
        // the whole caption fits on a small screen
        assert!(state.scene.layout.caption <= 5 && state.scene.layout.areas().caption.height <= 6, "{title}");
        let sentences = step.say.matches(". ").count() + 1;
        assert!((1..=3).contains(&sentences) && step.say.ends_with('.'), "{title}: {sentences} sentences");
        let keys = keymap();
        for key in &step.press.as_ref().unwrap().keys {
            assert!(keys.bindings().any(|bound| bound.keys.contains(key)), "{title}: {key} does nothing");
        }
        let all = |state: &State| format!("{:?} {:?} {}", state.views, state.experiment(), state.overlay.is_some());
        let before = all(&explorer.state);
        explorer.press_its_keys();
        let message = &explorer.state.scene.message;
        assert!(message.as_ref().is_none_or(|message| !message.error), "{title}: {message:?}");
        assert_ne!(all(&explorer.state), before, "{title}: its keys change nothing");
        explorer.event(Event::Key(key("Esc").event()));
        if explorer.state.tour.as_ref().unwrap().step().is_none() {
            // no dialog was open: back to the initial state
            for _ in 0..=number {
                explorer.press(key("T"));
            }
        }
    }
}

#[test]
fn its_keys_do_what_it_says() {
    type Outcome = fn(&Explorer) -> bool;
    let outcomes: HashMap<&str, Outcome> = HashMap::from([
        ("go to the stream as it enters block 1", (|e| e.hook() == "blocks.1.hook_resid_pre") as Outcome),
        ("go back to the divisor", |e| e.hook() == "blocks.0.ln1.hook_scale"),
        ("go on to the keys, turned", |e| e.hook() == "blocks.0.attn.hook_rot_k"),
        ("go on to the pattern", |e| e.state.views.attention.which == WhichAttention::Pattern),
        ("map every head by attention to the previous token", |e| {
            e.state.tab == Tab::Heads && format!("{:?}", e.state.views.heads).contains("PreviousToken")
        }),
        ("show the four heads", |e| e.state.views.attention.heads == HeadScope::Block),
        ("go on to hook_mlp_out", |e| e.hook() == "blocks.0.hook_mlp_out"),
        ("go to the position before", |e| {
            e.state.scene.tokens()[e.state.scene.cursor.pos].text == " drink"
                && e.state.view().token(&e.state.scene).is_some_and(|token| token.text == " to")
        }),
        ("ablate head 2 of block 1", |e| {
            e.state.scene.edits.active()[0].to_string() == "blocks.1.attn.hook_z[head=2] = 0"
                && e.next_tokens()[0].text == " John"
        }),
        ("undo the edit", |e| e.state.scene.edits.lines.is_empty() && e.next_tokens()[0].text == " Mary"),
        ("show the next map", |e| e.state.views.sweep.map.to_string() == "attn_out"),
        ("list every key", |e| matches!(e.state.overlay, Some(Overlay::Help(_)))),
        ("paint the numbers", |e| format!("{:?}", e.state.views.values).contains("colours: true")),
        ("lay the terms out as a map", |e| format!("{:?}", e.state.views.attribution).contains("by_layer: true")),
        ("colour by the distance (KL)", |e| format!("{:?}", e.state.views.lens).contains("by: Kl")),
    ]);
    let mut explorer = Explorer::start();
    explorer.press(key("T"));
    loop {
        let (at, step) = explorer.step();
        let to = step.press.unwrap().to;
        let (_, outcome) = outcomes.iter().find(|(said, _)| to.starts_with(*said)).unwrap_or_else(|| panic!("{to}"));
        explorer.press_its_keys();
        assert!(outcome(&explorer), "{to}: {}", explorer.hook());
        if at + 1 == explorer.state.tour.as_ref().unwrap().steps().len() {
            break;
        }
        explorer.press(key("T"));
    }
}

#[test]
fn its_numbers_are_those_of_the_run() {
    let dims = Explorer::start().state.scene.schema.dims;
    let says = |step: &Step, what: &str| assert!(step.say.contains(what), "{what:?} is not in {:?}", step.say);

    let mut explorer = Explorer::start();
    let step = explorer.go_to("Tokens");
    says(&step, &format!("{} tokens", explorer.state.scene.tokens().len()));
    says(&step, &format!("14 vectors of {} numbers", dims.d_model));
    assert_eq!(explorer.next_tokens()[0].text, " Mary");
    let norm = |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>().sqrt();
    let embedded = norm(&explorer.numbers());

    let step = explorer.go_to("residual stream");
    assert!(step.press.unwrap().to.contains("about 30 times"));
    explorer.press_its_keys();
    explorer.press(key("2"));
    let times = norm(&explorer.numbers()) / embedded;
    assert!((27.5..32.5).contains(&times), "{times} times");

    let step = explorer.go_to("rotation");
    says(&step, &format!("{} numbers", dims.d_head));
    says(&step, &format!("turns {} of them", explorer.state.scene.model.config.rotary_dims));

    // heads 1 and 2 of block 0, and no other of it, attend to the token before
    let mut explorer = Explorer::start();
    explorer.go_to("previous-token head");
    let n = explorer.state.scene.tokens().len();
    let mut before = vec![];
    for _ in 0..dims.n_heads {
        let (pattern, head) = (explorer.numbers(), explorer.state.scene.cursor.head);
        let mean = (1..n).map(|q| pattern[q * n + q - 1]).sum::<f32>() / (n - 1) as f32;
        before.push((head, mean));
        explorer.press(key(">"));
    }
    before.sort_unstable_by_key(|(head, _)| *head);
    assert!(before[1].1 > 0.7 && before[2].1 > 0.7 && before[0].1 < 0.4 && before[3].1 < 0.4, "{before:?}");

    let step = explorer.go_to("z and W_O");
    let attention = explorer.numbers()[13 * n + 1];
    says(&step, &format!("head 2 of block 1 gives {:.0} %", attention * 100.0));
    assert_eq!(explorer.state.scene.tokens()[1].text, " Mary");

    let step = explorer.go_to("MLP");
    says(&step, &format!("{} neurons", dims.d_mlp));
    assert!(dims.parallel, "beside attention");

    let step = explorer.go_to("who wrote what");
    let terms: HashMap<String, f64> =
        explorer.table()[1..].iter().map(|row| (row[0].clone(), row[1].parse().unwrap())).collect();
    says(&step, &format!("{:.2}, is a sum", terms.values().sum::<f64>()));
    says(&step, &format!("Head 2 of block 1 adds {:.2}; head 0 takes {:.2}", terms["L1H2"], -terms["L1H0"]));

    let step = explorer.go_to("unembedding");
    says(&step, &format!("Mary gets {}, John {}", explorer.prob(" Mary"), explorer.prob(" John")));

    let step = explorer.go_to("lens");
    let at_the_end = |explorer: &Explorer, block: usize| {
        let stream = format!("blocks.{block}.hook_resid_pre");
        let row = explorer.table().into_iter().find(|row| row[0] == stream && row[1] == "13").unwrap();
        (row[3].clone(), row[5].parse::<f64>().unwrap() * 100.0)
    };
    let ((two, john), (three, mary)) = (at_the_end(&explorer, 2), at_the_end(&explorer, 3));
    assert!(two.contains("John") && three.contains("Mary"));
    says(&step, &format!("John leads before block 2 with {john:.0} %; before block 3, Mary has {mary:.1} %"));

    let step = explorer.go_to("proof");
    says(&step, &format!("John gets {}", explorer.prob(" John")));
    let effect = &explorer.state.scene.effect(0).unwrap();
    says(&step, &format!("{} values touched", effect.effect.touched));
    says(&step, &format!("KL of {:.2} nats", effect.kl_at_end()));
    assert!(effect.no_effect.is_none());

    explorer.press(key("Z"));
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let theme = Theme { depth: ColorDepth::None, ascii: true, light: false, pixels: None };
    terminal.draw(|frame| drop(draw(frame, &explorer.state, theme))).unwrap();
    let screen: String = terminal.backend().buffer().content().iter().map(|cell| cell.symbol()).collect();
    assert!(screen.contains("Mary 98.6 % -> John 67.7 %"), "{screen}");

    let step = explorer.go_to("Patch");
    let (map, tokens) = (explorer.numbers(), explorer.state.scene.tokens().to_vec());
    assert_eq!(tokens[9].text, " John", "the giver");
    let expected = |pos: usize| if pos == 9 { 1.0 } else { 0.0 };
    assert!((0..n).all(|pos| (map[pos] - expected(pos)).abs() < 1e-4), "before block 0: {:?}", &map[..n]);
    says(&step, &format!("before block 3, {:.2} is at the end", map[3 * n + 13]));
}
