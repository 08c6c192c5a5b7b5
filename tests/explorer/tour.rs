//! The guided tour and presenter mode.

use std::sync::LazyLock;

use pythia_tui::{
    experiment::{Given, PromptParser},
    explorer::{Tour, TourFile},
    keys::Action,
    model::{Placement, Source},
};

use super::*;

/// The tour inside the program.
pub fn guided() -> Tour {
    static TOUR: LazyLock<Tour> = LazyLock::new(|| {
        let loaded = Source::Demo.load(Processing::Folded, Placement::cpu()).unwrap();
        TourFile::guided().unwrap().tour(PromptParser::from(&loaded), &Given::default()).unwrap()
    });
    TOUR.clone()
}

impl Program {
    /// With the tour, which has not started.
    fn with_tour(size: (u16, u16), edits: &[&str]) -> Self {
        let mut program = Self::start(size, edits);
        program.state.have_tour(Some(guided()));
        program
    }

    fn at(&self) -> Option<usize> {
        self.state.tour.as_ref().unwrap().step().map(|(at, _)| at)
    }

    /// Go to the step whose title contains this text.
    fn go_to(&mut self, title: &str) {
        let at = guided().steps().iter().position(|step| step.title.contains(title)).unwrap();
        while self.at() != Some(at) {
            self.keys("T");
        }
    }

    fn said(&self) -> String {
        self.state.scene.message.as_ref().map(|message| message.text.clone()).unwrap_or_default()
    }
}

#[test]
fn it_goes_on_and_back_and_leaves_everything_as_it_was() {
    let mut program = Program::with_tour(SMALL, &["blocks.1.attn.hook_z[head=2] = 0", "hook_embed *= 2"]);
    program.find("2 attn pat");
    program.keys("3 m > Tab x");
    let everything = |program: &Program| {
        let state = &program.state;
        let tree = (state.scene.trees.shown().rows().len(), state.scene.trees.is_modules);
        format!("{:?} {:?} {tree:?} {:?}", state.experiment(), state.views, state.scene.layout.focus)
    };
    let (before, experiment) = (everything(&program), program.state.experiment());
    program.keys("T");
    assert_eq!((program.at(), program.state.tab), (Some(0), Tab::Values));
    assert!(program.state.scene.edits.lines.is_empty() && program.state.scene.tokens().len() == 14);
    program.keys("C-t");
    assert!(program.said().contains("first step") && program.at() == Some(0));
    // the user's own actions run, and are discarded with the step
    program.keys("a");
    assert_eq!(program.posted.last().unwrap().spec.edits.len(), 1);
    assert!(program.state.is_answered() && program.screen(TRUE).contains("1 of 15"));
    program.keys("T T");
    assert!(program.at() == Some(2) && program.state.scene.edits.lines.is_empty());
    let third = everything(&program);
    program.go_to("proof");
    program.keys("Tab f } 7 T C-t");
    assert_eq!(program.state.scene.edits.active()[0].to_string(), "blocks.1.attn.hook_z[head=2] = 0");
    program.keys("u");
    assert!(program.state.scene.edits.lines.is_empty(), "what a step brings is undone");
    for _ in 0..30 {
        program.keys("T");
    }
    assert!(program.said().contains("last step; Esc leaves") && program.at() == Some(14));
    for _ in 0..12 {
        program.keys("C-t");
    }
    assert_eq!((program.at(), everything(&program)), (Some(2), third), "a step is the same from both sides");
    // what is kept of the session is the user's own
    assert_eq!(program.state.session(), experiment);
    program.keys("Esc");
    assert_eq!((program.at(), everything(&program)), (None, before));
    assert!(program.state.is_answered() && program.said().contains("left the tour"));
    assert_eq!(program.state.session(), experiment);
    program.keys("u");
    assert_eq!(program.state.scene.edits.active().len(), 2, "and so are the changes that can be undone");
    program.keys("C-t");
    assert!(program.said().contains("no tour is running; T starts it"));
}

#[test]
fn escape_leaves_the_innermost_first() {
    let mut program = Program::with_tour(SMALL, &[]);
    program.keys("T ? Esc");
    assert_eq!(program.at(), Some(0), "the help");
    program.keys("z Esc Z Esc");
    assert_eq!((program.at(), program.state.scene.layout.panels), (Some(0), Panels::All));
    program.keys("Tab Esc");
    assert_eq!(program.at(), None);
}

#[test]
fn without_a_tour_of_this_model_it_says_how_to_start_one() {
    let mut program = Program::start(SMALL, &[]);
    program.keys("T");
    assert!(program.screen(TRUE).contains("`pythia-tui --tour` starts it"));
    program.event(Event::Key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)));
    program.state.welcome();
    assert!(program.said().contains("new here? `pythia-tui --tour` takes the tour"));
    let mut program = Program::with_tour(SMALL, &[]);
    program.state.welcome();
    assert!(program.screen(TRUE).contains("new here? T takes the tour"));
    // other messages matter more
    program.state.scene.say("the last session was kept");
    program.state.welcome();
    assert_eq!(program.said(), "the last session was kept");
}

#[test]
fn an_experiment_opened_during_the_tour_stays() {
    let mut program = Program::with_tour(SMALL, &[]);
    program.keys("T T");
    let tokens = vec![Token { id: 3, text: "Other".into() }];
    let setup = Setup { prompt: ("Other".into(), tokens), ..Setup::default() };
    program.event(Event::Opened("other.toml".into(), Ok(Box::new(setup))));
    assert_eq!((program.at(), program.state.scene.tokens().len()), (None, 1));
    program.keys("Esc");
    assert_eq!(program.state.session().prompt.as_deref(), Some("Other"));
}

#[test]
fn the_caption_names_the_configured_keys_and_they_can_be_clicked() {
    let mut keys = keymap();
    keys.bind("tour", &["F2".parse().unwrap()]).unwrap();
    keys.bind("ablate", &["F3".parse().unwrap()]).unwrap();
    let mut program = Program::start_with(keys);
    program.state.have_tour(Some(guided()));
    program.state.start_tour();
    program.event(Event::Resize(SMALL.0, SMALL.1));
    let screen = program.screen(TRUE);
    assert!(screen.contains("F2 next") && screen.contains("press m to paint the numbers"), "{screen}");
    while !program.screen(TRUE).contains("Ablate the name head") {
        program.click(program.find_text("F2 next"));
    }
    assert!(program.screen(TRUE).contains("press F3 to ablate head 2 of block 1"));
    let at = program.at().unwrap();
    program.click(program.find_text("Ctrl-T back"));
    assert_eq!(program.at(), Some(at - 1));
    program.click(program.find_text("Esc leave"));
    assert_eq!(program.at(), None);
}

#[test]
fn a_caption_that_is_too_long_is_cut_and_its_keys_stay() {
    let loaded = Source::Demo.load(Processing::Folded, Placement::cpu()).unwrap();
    let say = "word ".repeat(200);
    let text = format!(
        "version = 1\ntitle = 'T'\nmodel = 'demo'\nprompt = 'Two tokens'\n\
         [[step]]\ntitle = 'A\u{1b}[2J'\nsay = '{say}'\nformula = 'x = 1'\npress = 'a'\nto = 'this'\n"
    );
    let text = text.replace('\u{1b}', "");
    let file = TourFile::parse("t.toml".as_ref(), text).unwrap();
    for (size, theme) in [(SMALL, TRUE), ((80, 12), TRUE), ((40, 16), TRUE), ((9, 40), TRUE), ((1, 1), TRUE)] {
        let mut program = Program::start(size, &[]);
        program.state.have_tour(Some(file.tour(PromptParser::from(&loaded), &Given::default()).unwrap()));
        program.keys("T");
        let screen = program.screen(theme);
        if size.0 >= 40 {
            assert!(
                screen.contains("press a to this") && screen.contains('…') && !screen.contains("x = 1"),
                "{screen}"
            );
        }
        assert!(program.state.scene.layout.areas().caption.height <= (size.1 / 4).max(1));
        program.keys("Z");
        program.screen(theme);
    }
}

#[test]
fn the_band_and_presenter_mode() {
    for (name, size) in [("small", SMALL), ("wide", WIDE)] {
        let mut program = Program::with_tour(size, &[]);
        program.go_to("previous-token head");
        insta::assert_snapshot!(format!("tour_{name}"), program.screen(TRUE));
        program.go_to("Ablate");
        program.keys("a");
        insta::assert_snapshot!(format!("tour_ablated_{name}"), program.screen(TRUE));
        program.keys("Z");
        insta::assert_snapshot!(format!("presented_{name}"), program.screen(TRUE));
    }
    let plain = Theme { depth: ColorDepth::None, ascii: true, light: false, pixels: None };
    let mut program = Program::with_tour(SMALL, &[]);
    for _ in guided().steps() {
        program.keys("T");
        let screen = program.screen(plain);
        assert!(screen.is_ascii(), "{:?}", screen.chars().find(|c| !c.is_ascii()));
    }
}

#[test]
fn presenter_mode_explains_what_is_on_the_screen_and_what_edits_did() {
    let mut program = Program::start(SMALL, &[]);
    program.find("1 attn z");
    program.keys("3 Z");
    let screen = program.screen(TRUE);
    assert!(screen.contains("Attention: ") && screen.contains("(L1H0: pattern)"), "{screen}");
    assert!(!screen.contains("╭ hooks") && !screen.contains("next token"));
    assert!(!screen.contains("→"), "nothing was edited");
    // the keys work as before: on the head, not the cell
    program.keys("> > a");
    assert_eq!(program.state.scene.edits.active()[0].to_string(), "blocks.1.attn.hook_z[head=2] = 0");
    assert!(program.screen(TRUE).contains("John 25.0 % → Mary 50.0 %"));
    insta::assert_snapshot!("presented_without_tour", program.screen(TRUE));
    // hidden panels do not get the focus
    program.keys("Tab Tab");
    assert_eq!(program.state.scene.layout.focus, Focus::Tree);
    let area = program.state.scene.layout.areas().view;
    program.keys("Z");
    let with_panels = program.state.scene.layout.areas();
    assert!(area.width == 80 && with_panels.view.width < 80 && !with_panels.edits.is_empty());
    assert!(program.state.scene.keys.bound(Action::Present).is_some());
}

#[test]
fn the_tour_in_the_documentation_is_one() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide.md")).unwrap();
    let blocks = page.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap());
    let text = blocks.into_iter().find(|block| block.contains("[[step]]")).unwrap();
    let loaded = Source::Demo.load(Processing::Folded, Placement::cpu()).unwrap();
    let file = TourFile::parse("docs/guide.md".as_ref(), text.into()).unwrap();
    let tour = file.tour(PromptParser::from(&loaded), &Given::default()).unwrap();
    assert_eq!(tour.steps().len(), 2);
}
