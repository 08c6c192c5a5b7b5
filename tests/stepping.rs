//! Stepping through a held pass in the explorer, with a real engine behind it.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::cell::RefCell;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use pythia_tui::{
    engine::{Report, Serve, Session, Stop, Want},
    experiment::Token,
    explorer::{Effect, Event, Experiment, Opening, Overlay, Setup, State, draw, update},
    hooks::HookPoint,
    model::{Dtype, Placement, Processing, Source, modules},
    paint::{ColorDepth, Theme},
    views::{Checkpoints, ModelInfo, Tab, keymap},
};
use ratatui::{Terminal, backend::TestBackend};

const NONE: Theme = Theme { depth: ColorDepth::None, ascii: false, light: false, pixels: None };

/// The explorer on the demo, and the session that answers it.
struct Explorer {
    state: State,
    session: Session,
    posted: Vec<Want>,
}

impl Explorer {
    fn start(size: (u16, u16)) -> Self {
        let loaded = Source::Demo.load(Processing::Folded, Placement::cpu()).unwrap();
        let (config, tokenizer) = (loaded.model.config.clone(), loaded.tokenizer.clone());
        let engine = common::engine("demo", Processing::Folded, &[]);
        let tokens: Vec<Token> =
            [7, 3, 9, 22, 41].map(|id| Token { id, text: tokenizer.token(id) }).into_iter().collect();
        let text = tokens.iter().map(|token| token.text.as_str()).collect();
        let model = ModelInfo {
            branch: None,
            name: "demo".into(),
            revision: None,
            processing: Processing::Folded,
            source: "demo".into(),
            device: "cpu f32".into(),
            dtype: Dtype::F32,
            config: config.clone(),
            note: None,
        };
        let state = State::new(Opening {
            model,
            schema: engine.schema.clone(),
            modules: modules(&config),
            checkpoints: Checkpoints::default(),
            keys: keymap(),
            halves: true,
            setup: Setup { prompt: (text, tokens), ..Setup::default() },
            size,
        });
        let mut explorer = Self { state, session: Session::new(engine), posted: vec![] };
        explorer.state.tab = Tab::Values;
        explorer.event(Event::Start);
        explorer
    }

    fn event(&mut self, event: Event) {
        for effect in update(&mut self.state, event) {
            let Effect::Post(want) = effect else { continue };
            let reports: RefCell<Vec<Report>> = RefCell::default();
            self.session.serve(&want, &Stop::default(), &|report| reports.borrow_mut().push(report)).unwrap();
            self.posted.push(want);
            for report in reports.into_inner() {
                self.event(Event::Report(report));
            }
        }
    }

    fn keys(&mut self, keys: &str) {
        for key in keys.split(' ').filter(|key| !key.is_empty()) {
            let code = match key {
                "Enter" => KeyCode::Enter,
                "Esc" => KeyCode::Esc,
                "Tab" => KeyCode::Tab,
                "Space" => KeyCode::Char(' '),
                one => KeyCode::Char(one.chars().next().unwrap()),
            };
            self.event(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        }
    }

    /// Press a key that opens a line, write that line, and apply it.
    fn write(&mut self, key: &str, line: &str) {
        self.keys(key);
        self.event(Event::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)));
        self.event(Event::Paste(line.into()));
        self.keys("Enter");
    }

    fn select(&mut self, name: &str) {
        self.state.scene.select(point(name));
        self.event(Event::Start);
    }

    fn held(&self) -> Option<String> {
        self.state.scene.runs.held().map(|stopped| stopped.at.to_string())
    }

    fn screen(&self) -> String {
        let (width, height) = self.state.scene.layout.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| drop(draw(frame, &self.state, NONE))).unwrap();
        terminal.backend().to_string()
    }
}

fn point(name: &str) -> HookPoint {
    name.parse().unwrap()
}

#[test]
fn a_pass_is_held_stepped_through_and_let_go() {
    let mut explorer = Explorer::start((80, 24));
    explorer.select("blocks.0.attn.hook_q");
    explorer.keys("H");
    assert_eq!(explorer.held().unwrap(), "blocks.0.attn.hook_q");
    let screen = explorer.screen();
    assert!(screen.contains("held at blocks.0.attn.hook_q"), "{screen}");
    for (key, at) in [
        (";", "blocks.0.attn.hook_k"),
        (";", "blocks.0.attn.hook_v"),
        ("R", "blocks.0.attn.hook_k"),
        ("\"", "blocks.0.hook_attn_out"),
        ("'", "blocks.0.hook_resid_post"),
        ("'", "blocks.1.hook_resid_post"),
        ("\"", "blocks.2.hook_resid_pre"),
    ] {
        explorer.keys(key);
        assert_eq!(explorer.held().unwrap(), at, "{key}");
        assert_eq!(explorer.state.scene.point(), point(at), "{key}");
    }
    explorer.keys("U");
    assert_eq!(explorer.held(), None);
    assert!(!explorer.state.scene.runs.shown.as_ref().unwrap().summary.top.is_empty());
    // it is the run that was: another key asks for no other
    let run = explorer.state.scene.runs.number;
    explorer.keys("j k 6");
    assert_eq!(explorer.state.scene.runs.number, run);
    assert!(explorer.state.is_answered());
}

#[test]
fn what_is_later_is_not_computed_yet_in_any_view() {
    let mut explorer = Explorer::start((100, 30));
    explorer.select("blocks.1.hook_resid_pre");
    explorer.keys("H");
    for tab in Tab::ALL {
        explorer.state.tab = *tab;
        // here, and at a hook that is not reached
        for name in ["blocks.0.attn.hook_pattern", "blocks.1.attn.hook_pattern"] {
            explorer.select(name);
            let screen = explorer.screen();
            let shows_this = matches!(tab, Tab::Values | Tab::Shape) || (*tab == Tab::Attention);
            let there = shows_this && name.contains("blocks.0");
            // Circuit asks for a contrast prompt first, Features for a dictionary, Dose for an edit; Weights needs no run
            let lists =
                [Tab::Diagram, Tab::Training, Tab::Corpus, Tab::Circuit, Tab::Features, Tab::Doses, Tab::Weights];
            let is_list = lists.contains(tab);
            let says = screen.matches("not computed yet").count();
            // the next token is not computed in any case
            assert_eq!(says > 1, !there && !is_list, "{tab:?} at {name}:\n{screen}");
        }
    }
}

#[test]
fn an_edit_acts_from_where_the_pass_is_held() {
    let mut explorer = Explorer::start((100, 30));
    explorer.select("blocks.1.attn.hook_z");
    explorer.keys("H");
    explorer.keys("a");
    assert_eq!(explorer.held().unwrap(), "blocks.1.attn.hook_z");
    assert_eq!(explorer.state.scene.edits.active().len(), 1);
    let zero = |explorer: &Explorer| {
        let table = explorer.state.table().unwrap();
        format!("{table:?}").contains("0.0")
    };
    assert!(zero(&explorer));
    explorer.keys("U");
    let held = explorer.state.scene.runs.shown.as_ref().unwrap().summary.clone();
    let mut plain = Explorer::start((100, 30));
    plain.select("blocks.1.attn.hook_z");
    plain.keys("a");
    let run = plain.state.scene.runs.shown.as_ref().unwrap().summary.clone();
    assert_eq!(held.logits, run.logits);
    assert_eq!(held.kl, run.kl);
    assert_eq!(held.changes, run.changes);
}

#[test]
fn a_held_pass_shows_what_the_edits_did_so_far() {
    let mut explorer = Explorer::start((160, 45));
    explorer.select("blocks.0.hook_mlp_out");
    explorer.keys("a");
    explorer.select("blocks.2.attn.hook_z");
    explorer.keys("a");
    explorer.select("blocks.0.attn.hook_z");
    explorer.keys("H");
    let effects = |explorer: &Explorer| {
        let screen = explorer.screen();
        let lines = screen.lines().filter(|line| line.contains("[x] ")).map(String::from);
        lines.collect::<Vec<_>>()
    };
    assert!(effects(&explorer).iter().all(|line| line.contains("not computed yet")), "{:?}", effects(&explorer));
    explorer.select("blocks.0.hook_resid_post");
    explorer.keys("H");
    let [first, second] = &effects(&explorer)[..] else { panic!("{}", explorer.screen()) };
    let touched = 5 * explorer.state.scene.schema.dims.d_model;
    assert!(first.contains(&format!("touched {touched}  |Δ| ")) && first.contains("KL not computed yet"), "{first}");
    assert!(!second.contains("touched") && second.contains("not computed yet"), "{second}");
    let changes = &explorer.state.scene.runs.shown.as_ref().unwrap().changes;
    let change = |name: &str| changes.get(&point(name)).copied();
    assert_eq!(change("blocks.0.hook_mlp_out"), Some(1.0));
    assert_eq!((change("blocks.0.attn.hook_z"), change("blocks.1.hook_resid_pre")), (Some(0.0), None));
    assert!(change("blocks.0.hook_resid_post").unwrap() > 0.0);
}

#[test]
fn steps_without_a_held_pass_are_refused() {
    let mut explorer = Explorer::start((80, 24));
    for key in [";", "'", "\"", "R", "U"] {
        explorer.keys(key);
        let message = explorer.state.scene.message.clone().unwrap();
        assert!(message.error && message.text.contains("no pass is held; H holds one"), "{message:?}");
    }
    assert_eq!(explorer.held(), None);
}

#[test]
fn the_first_and_the_last_hook_are_ends() {
    let mut explorer = Explorer::start((80, 24));
    explorer.select("hook_embed");
    explorer.keys("H R");
    assert_eq!(explorer.held().unwrap(), "hook_embed");
    assert!(explorer.state.scene.message.as_ref().unwrap().text.contains("no more hooks"));
    explorer.select("ln_final.hook_normalized");
    explorer.keys("H ; ' \"");
    assert_eq!(explorer.held().unwrap(), "ln_final.hook_normalized");
    explorer.keys("U");
    assert_eq!(explorer.held(), None);
}

#[test]
fn a_breakpoint_holds_the_pass_where_it_is_true() {
    let mut explorer = Explorer::start((120, 30));
    explorer.write("b", "blocks.1-2.attn.hook_pattern[query=-1] > 0.2");
    assert_eq!(explorer.held().unwrap(), "blocks.1.attn.hook_pattern");
    let breakpoint = explorer.state.scene.stops.breakpoints[0].clone();
    assert_eq!(breakpoint.hits, 1);
    let last = breakpoint.last.unwrap();
    assert!(last.value > 0.2);
    assert_eq!(explorer.state.scene.point(), last.place.point);
    assert!(explorer.screen().contains("1 hit"), "{}", explorer.screen());
    explorer.keys("U");
    assert_eq!(explorer.held().unwrap(), "blocks.2.attn.hook_pattern");
    explorer.keys("U");
    assert_eq!((explorer.held(), explorer.state.scene.stops.breakpoints[0].hits), (None, 2));
    // another run comes to it again
    explorer.select("hook_embed");
    explorer.keys("a");
    let hits = explorer.state.scene.stops.breakpoints[0].hits;
    assert!(explorer.held().is_some() == (hits == 3), "{hits}");
    // off, it holds nothing
    explorer.keys("u U L Space Esc");
    assert!(!explorer.state.scene.stops.breakpoints[0].on);
    explorer.keys("U U");
    assert_eq!(explorer.held(), None);
    explorer.keys("a");
    assert_eq!(explorer.held(), None);
}

#[test]
fn a_breakpoint_that_logs_counts_and_lets_the_pass_go_on() {
    let mut explorer = Explorer::start((120, 30));
    explorer.write("b", "blocks.*.attn.hook_attn_scores is inf");
    assert!(explorer.held().is_some());
    // hold or log
    explorer.keys("L s Esc U");
    assert_eq!(explorer.held(), None);
    let blocks = explorer.state.scene.schema.dims.n_layers as u64;
    let breakpoint = &explorer.state.scene.stops.breakpoints[0];
    // five tokens hide 10 keys in each of 4 heads
    assert_eq!((breakpoint.logs, breakpoint.hits), (true, blocks * 40));
    // held halfway, what is there is counted
    explorer.select("blocks.0.hook_mlp_out");
    explorer.keys("H");
    assert_eq!(explorer.state.scene.stops.breakpoints[0].hits, 40);
    explorer.keys("L x");
    assert!(explorer.state.scene.stops.is_empty());
}

#[test]
fn a_breakpoint_is_made_of_the_value_under_the_cursor() {
    let mut explorer = Explorer::start((120, 30));
    explorer.select("blocks.1.hook_mlp_out");
    explorer.keys("Tab k l b");
    let value = explorer.state.view().value(&explorer.state.scene).unwrap();
    let screen = explorer.screen();
    let expected = format!("blocks.1.hook_mlp_out[pos=3 d_model=1] > {value}");
    assert!(screen.contains(&expected), "{expected}\n{screen}");
    explorer.keys("Enter");
    // more than it is, it is not
    assert_eq!((explorer.held(), explorer.state.scene.stops.breakpoints.len()), (None, 1));
    explorer.write("b", "blocks.9.hook_mlp_out > 1");
    assert!(explorer.screen().contains("there is no block 9"), "{}", explorer.screen());
}

#[test]
fn a_number_is_set_in_place_and_the_held_pass_goes_on_with_it() {
    let mut explorer = Explorer::start((120, 30));
    explorer.select("blocks.1.hook_mlp_out");
    explorer.keys("H Tab k l");
    explorer.write("#", "blocks.1.hook_mlp_out[pos=3 d_model=1] = 7.5");
    assert_eq!(explorer.state.view().value(&explorer.state.scene).unwrap(), "7.5");
    assert_eq!(explorer.held().unwrap(), "blocks.1.hook_mlp_out");
    explorer.keys("U");
    assert!(explorer.state.scene.runs.shown.as_ref().unwrap().summary.effects[0].effect.changed == 1);
    explorer.keys("Esc 1 #");
    assert!(explorer.state.scene.message.as_ref().unwrap().text.contains("only Values"));
}

#[test]
fn a_number_typed_into_a_cell_becomes_an_edit() {
    for hold in ["", "H"] {
        let mut explorer = Explorer::start((120, 30));
        explorer.select("blocks.1.hook_mlp_out");
        explorer.keys(hold);
        // outside the cells, a digit is the key of a view
        explorer.keys("1");
        assert_eq!(explorer.state.tab, Tab::Shape);
        explorer.keys("2 Tab k l");
        let value = |explorer: &Explorer| explorer.state.view().value(&explorer.state.scene).unwrap();
        for (typed, number) in [("7", "7"), ("- . 5", "-0.5"), (". 2 5", "0.25"), ("3 e - 1", "0.3")] {
            explorer.keys(typed);
            assert!(explorer.state.overlay.is_some() && explorer.state.tab == Tab::Values);
            explorer.keys("Enter");
            assert_eq!((value(&explorer), explorer.state.overlay.is_none()), (number.into(), true), "{typed}");
            // the same cell again is the same edit
            let edits = explorer.state.scene.edits.active();
            let expected = format!("blocks.1.hook_mlp_out[pos=3 d_model=1] = {number}");
            assert_eq!(edits.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        }
        assert_eq!(explorer.held().is_some(), !hold.is_empty());
        // another cell is another edit; Esc makes none
        explorer.keys("h 5 Esc 5 Enter");
        assert_eq!((explorer.state.scene.edits.active().len(), value(&explorer)), (2, "5".into()));
        // a gradient is not offered as a value
        explorer.keys("U B #");
        let Some(Overlay::Edit(editor)) = &explorer.state.overlay else { panic!("no line is open") };
        assert_eq!(editor.input.value(), "blocks.1.hook_mlp_out[pos=3 d_model=0] = ");
        explorer.keys("Esc");
    }
}

#[test]
fn watches_follow_the_pass() {
    let mut explorer = Explorer::start((160, 45));
    explorer.write("M", "norm(blocks.*.hook_resid_post over all)");
    let watched = |explorer: &Explorer| {
        let screen = explorer.screen();
        screen.lines().find(|line| line.contains("= norm(")).unwrap().to_string()
    };
    let whole = watched(&explorer);
    explorer.select("blocks.0.hook_resid_post");
    explorer.keys("H");
    let one = watched(&explorer);
    assert!(!one.contains('█') && whole.contains('█'), "{one}\n{whole}");
    explorer.select("blocks.0.hook_resid_pre");
    explorer.keys("H");
    assert!(watched(&explorer).contains("not computed yet"));
    explorer.write("M", "norm(blocks.*.attn.hook_q over headd)");
    assert!(explorer.screen().contains("did you mean `head`?"), "{}", explorer.screen());
}

#[test]
fn a_search_lists_places_and_goes_there() {
    let mut explorer = Explorer::start((120, 30));
    explorer.write("&", "norm(blocks.*.hook_mlp_out) > 0");
    let screen = explorer.screen();
    let places = explorer.state.scene.schema.dims.n_layers * 5;
    assert!(
        screen.contains(&format!("{places} places")) && screen.contains("blocks.0.hook_mlp_out[pos=0]"),
        "{screen}"
    );
    explorer.keys("j j Enter");
    assert_eq!(explorer.state.scene.point(), point("blocks.0.hook_mlp_out"));
    assert_eq!(explorer.state.scene.cursor.pos, 2);
    // of a held pass, what is computed
    explorer.keys("H & Enter");
    assert!(explorer.screen().contains("5 places up to blocks.0.hook_mlp_out"), "{}", explorer.screen());
    explorer.keys("Esc");
    explorer.write("&", "blocks.* is nan");
    assert!(explorer.screen().contains("no place"));
}

#[test]
fn an_experiment_keeps_breakpoints_and_watches() {
    let mut explorer = Explorer::start((120, 30));
    explorer.write("b", "blocks.*.attn.hook_pattern[query=-1] > 2");
    explorer.write("M", "norm(blocks.*.hook_mlp_out[pos=-1])");
    explorer.keys("L s Esc");
    let written = explorer.state.experiment().to_string();
    let expected = "[[breakpoint]]\nwhen = \"blocks.*.attn.hook_pattern[query=-1] > 2\"\nlog = true\n";
    assert!(written.contains(expected), "{written}");
    assert!(written.contains("[[watch]]\nvalue = \"norm(blocks.*.hook_mlp_out[pos=-1])\"\n"), "{written}");
    let read = Experiment::parse(&written).unwrap();
    let schema = &explorer.state.scene.schema;
    let kept = read.breakpoint[0].check(schema, 5).unwrap();
    assert_eq!((kept.when.to_string(), kept.on, kept.log), (read.breakpoint[0].when.get_ref().clone(), true, true));
    assert_eq!(read.watch[0].check(schema, 5).unwrap(), explorer.state.scene.stops.watches[0]);
    // an error names its line
    let wrong = written.replace("hook_pattern", "hook_patern");
    let error = Experiment::parse(&wrong).unwrap().breakpoint[0].check(schema, 5).unwrap_err();
    let line = wrong.lines().position(|line| line.starts_with("when")).unwrap() + 1;
    assert_eq!((error.place(&wrong).0, error.reason.contains("did you mean")), (line, true), "{}", error.reason);
}

#[test]
fn a_breakpoint_stops_a_sweep_at_a_cell() {
    let mut explorer = Explorer::start((160, 45));
    // true in the cell that ablates the MLP of block 2, and not without it
    explorer.write("b", "max(abs(blocks.2.hook_mlp_out) over all) == 0");
    assert_eq!(explorer.held(), None);
    explorer.keys("Esc 8");
    let screen = explorer.screen();
    assert!(screen.contains("the sweep stopped at L2 mlp: blocks.2.hook_mlp_out = 0"), "{screen}");
    assert!(screen.contains("true in 1 cell, first L2 mlp"), "{screen}");
    let breakpoint = &explorer.state.scene.stops.breakpoints[0];
    assert_eq!((breakpoint.hits, breakpoint.last.as_ref().unwrap().place.point), (1, point("blocks.2.hook_mlp_out")));
    assert_eq!(explorer.state.view().value(&explorer.state.scene).unwrap().parse::<f64>().map(|kl| kl > 0.0), Ok(true));
    // the rest of the map, if any is left
    explorer.keys("r");
    assert!(explorer.state.is_answered() && explorer.state.scene.stops.breakpoints[0].hits == 1);
    assert!(!explorer.screen().contains(" resumes"), "{}", explorer.screen());
}

#[test]
fn a_score_of_a_head_holds_the_pass() {
    let mut explorer = Explorer::start((160, 45));
    explorer.write("b", "previous_token(blocks.*.attn.hook_pattern) > 0.01");
    assert_eq!(explorer.held().unwrap(), "blocks.0.attn.hook_pattern");
    let last = explorer.state.scene.stops.breakpoints[0].last.clone().unwrap();
    assert!(last.place.to_string().starts_with("blocks.0.attn.hook_pattern[head="), "{}", last.place);
    explorer.write("M", "first_token(blocks.*.attn.hook_pattern)");
    explorer.keys("L");
    let screen = explorer.screen();
    let line = screen.lines().find(|line| line.contains("= first_token(blocks.*.attn.hook_pattern)")).unwrap();
    assert!(line.contains('█'), "{screen}");
}

#[test]
fn a_breakpoint_ends_a_text_that_is_continued() {
    let mut explorer = Explorer::start((160, 45));
    // true of every token: the pass is held at it, and goes on
    explorer.write("b", "norm(blocks.0.hook_mlp_out) > 0");
    assert_eq!(explorer.held().unwrap(), "blocks.0.hook_mlp_out");
    explorer.keys("U");
    assert_eq!((explorer.held(), explorer.state.scene.stops.breakpoints[0].hits), (None, 1));
    explorer.state.tab = Tab::Continue;
    explorer.event(Event::Start);
    let screen = explorer.screen();
    assert!(screen.contains("the text stopped at token 1: blocks.0.hook_mlp_out[pos=5] = "), "{screen}");
    assert!(screen.contains("stopped at a breakpoint"), "{screen}");
    assert_eq!(explorer.state.scene.stops.breakpoints[0].hits, 2);
    // without the breakpoint, the text goes on
    explorer.state.scene.stops.breakpoints[0].on = false;
    explorer.event(Event::Start);
    let screen = explorer.screen();
    assert!(!screen.contains("stopped at a breakpoint"), "{screen}");
}
