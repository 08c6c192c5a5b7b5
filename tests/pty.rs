//! The program in a pseudo-terminal: it starts, walks, ablates, and restores the terminal however it ends.
#![cfg(unix)]
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test fails by panicking")]

mod common;

use std::{
    num::NonZero,
    sync::{atomic::Ordering, mpsc},
    thread,
    time::{Duration, Instant},
};

use common::session::{LONG, Session};
use portable_pty::PtySize;
use pythia_tui::{
    engine::{Report, Serve, Spec, Stop, Want, Worker},
    explorer::Event,
    hooks::RunError,
    term::{self, Answer, Screen},
};

fn explorer() -> Session {
    let session = Session::start(&["--model", "demo", "Two tokens"], &[]);
    session.wait_for("next token");
    session.wait_for(" ms");
    assert!(!session.cooked(), "the explorer reads keys one by one");
    session
}

#[test]
fn walk_ablate_and_quit() {
    let mut session = explorer();
    session.wait_for("step 1 of 75");
    session.press("]]");
    session.wait_for("step 3 of 75");
    session.press("/1 pat\r");
    session.wait_for("step 29 of 75");
    session.press("3>a");
    session.wait_for("blocks.1.attn.hook_z[head=1] = 0");
    session.wait_for("1 edit");
    session.wait_for("touched 64");
    session.press("x");
    session.wait_for("deleted");
    session.press("q");
    session.ends_clean();
}

#[test]
fn hold_edit_and_continue() {
    let mut session = explorer();
    session.press("/1 pat\rH");
    session.wait_for("held at blocks.1.attn.hook_pattern");
    session.wait_for("not computed yet");
    session.press(";");
    session.wait_for("held at blocks.1.attn.hook_z");
    session.press("a");
    session.wait_for("KL not computed yet");
    session.press("U");
    session.wait_for("KL alone");
    session.press("b");
    session.wait_for("a new breakpoint");
    session.press("\r");
    session.wait_for("blocks.1.attn.hook_z is nan");
    session.press("q");
    session.ends_clean();
}

#[test]
fn it_opens_with_a_vector_and_an_edit_that_names_it() {
    let edit = ["--vector", "mary=unembed: Mary", "--edit", "blocks.1.hook_resid_post += 2 * mary"];
    let mut session = Session::start(&[&["--model", "demo", "Two tokens"][..], &edit].concat(), &[]);
    session.wait_for("1 edit");
    session.press("q");
    session.ends_clean();
}

#[test]
fn continue_steer_and_branch() {
    let mut session = explorer();
    session.press("^john=unembed: John\r");
    session.wait_for("john is unembed: John");
    session.press(":edit blocks.2.hook_resid_post += 4 * john\r");
    session.wait_for("1 edit");
    session.press("$\t");
    session.wait_for("(prompt)");
    // the text has ended, and the change bars are there
    session.wait_for("ended by the end-of-text token");
    // every view follows the token under the cursor
    session.press("jj");
    session.wait_for("of the edited continuation");
    session.wait_for("candidates for token 2, edited");
    session.press("\rj\r");
    session.wait_for("edited 2/2");
    session.press("3");
    session.wait_for("3 Attention");
    session.press("q");
    session.ends_clean();
}

#[test]
fn a_number_is_typed_into_a_cell_and_a_breakpoint_stops_a_sweep() {
    let mut session = explorer();
    session.press("/1 mlp out\rH");
    session.wait_for("held at blocks.1.hook_mlp_out");
    session.press("2\tl7.5\r");
    session.wait_for("d_model 1  7.5");
    session.wait_for("KL not computed yet");
    session.press("U");
    session.wait_for("KL alone");
    // back to the tree, where a digit is the key of a view
    session.press("x\t\tb\x15max(abs(blocks.2.hook_mlp_out) over all) == 0\r");
    session.wait_for("[x] max(abs(");
    session.press("8");
    session.wait_for("the sweep stopped at L2 mlp");
    session.press("q");
    session.ends_clean();
}

#[test]
fn it_follows_the_size_of_the_terminal_and_writes_nothing_while_idle() {
    let session = explorer();
    let size = PtySize { rows: 40, cols: 132, pixel_width: 0, pixel_height: 0 };
    session.screen.lock().unwrap().screen_mut().set_size(NonZero::new(40).unwrap(), NonZero::new(132).unwrap());
    session.master.as_ref().unwrap().resize(size).unwrap();
    let is_wide = || session.text().lines().any(|line| line.chars().count() == 132);
    session.wait_until("the panels keep their width", is_wide);
    // wait until the output has stopped
    thread::sleep(Duration::from_millis(500));
    let before = session.bytes.lock().unwrap().len();
    thread::sleep(Duration::from_secs(2));
    assert_eq!(session.bytes.lock().unwrap().len(), before, "an idle program writes nothing");
    session.signal(15);
    session.ends_clean();
}

#[test]
fn ctrl_c_restores_the_terminal() {
    let mut session = explorer();
    session.press("\u{3}");
    session.ends_clean();
}

#[test]
fn signals_restore_the_terminal() {
    for signal in [1, 2, 3, 15] {
        let session = explorer();
        session.signal(signal);
        session.ends_clean();
    }
}

/// Runs [`a_screen_with_a_worker_that_panics`] in a pseudo-terminal.
#[test]
fn a_panic_in_the_worker_leaves_the_screen_as_it_is() {
    let mut session = Session::this_test("a_screen_with_a_worker_that_panics");
    session.wait_for("internal error: the worker broke");
    assert!(!session.cooked(), "the screen is still there");
    session.press("q");
    session.ends_clean();
}

/// Shows the report of a panicking worker on a screen until a key is pressed.
#[test]
#[ignore = "runs inside the terminal of another test"]
fn a_screen_with_a_worker_that_panics() {
    let (sender, events) = mpsc::channel();
    term::listen(&sender, || {}).unwrap();
    let mut screen = Screen::take().unwrap();
    let report = move |report| drop(sender.send(Heard::Event(Event::Report(report))));
    let worker = Worker::start(Broken, report).unwrap();
    worker.post(Want { run: 1, spec: Spec::default(), requests: vec![], measure: false, hold: None });
    loop {
        match events.recv().unwrap() {
            Heard::Event(Event::Report(Report::Failed { message, .. })) => {
                screen.draw(|frame, _| frame.render_widget(message, frame.area())).unwrap();
            }
            Heard::Event(Event::Key(_)) => return,
            _ => {}
        }
    }
}

enum Heard {
    Event(Event),
    Answer,
}

impl From<Event> for Heard {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

impl From<Answer> for Heard {
    fn from(_: Answer) -> Self {
        Self::Answer
    }
}

struct Broken;

impl Serve for Broken {
    fn serve(&mut self, _: &Want, _: &Stop, _: &dyn Fn(Report)) -> Result<(), RunError> {
        panic!("the worker broke");
    }
}

#[test]
fn a_closed_terminal_ends_the_program() {
    let mut session = explorer();
    session.deaf.store(true, Ordering::SeqCst);
    session.press("]");
    session.input.take();
    session.master.take();
    let began = Instant::now();
    while session.child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < LONG, "it goes on without a terminal");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_demo_says_that_it_replaces_the_default_model() {
    let mut session = Session::start(&["Two tokens"], &[]);
    session.wait_for("demo (not pythia-70m-deduped, which is not here)");
    // after any other message
    session.press("a");
    session.wait_for("1 edit");
    session.wait_for("demo (not pythia-70m-deduped, which is not here)");
    session.press("q");
    session.ends_clean();
}

#[test]
fn copying_uses_osc_52_and_saving_writes_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::start_in(dir.path(), &["--model", "demo", "Two tokens"], &[]);
    session.wait_for(" ms");
    session.press("y");
    session.wait_for("copied hook_embed");
    // "hook_embed" in base64
    assert!(session.raw().contains("\x1b]52;c;aG9va19lbWJlZA=="), "no OSC 52");
    session.press("2");
    session.wait_for("d_model 0");
    let saved = |ending: &str| format!("saved {}", dir.path().join(format!("demo-hook_embed.{ending}")).display());
    session.press("S\t\r");
    session.wait_for(&saved("csv"));
    session.press("S\t\r");
    session.wait_for("exists: Enter replaces it");
    session.press("\r");
    session.wait_for(&saved("csv"));
    session.press("S\t\t\r");
    session.wait_for(&saved("npz"));
    session.press("S\r");
    session.wait_for(&saved("svg"));
    session.press(":save /nonexistent/x.csv\r");
    session.wait_for("No such file");
    session.press("\x1b");
    while session.text().contains("save the view") {
        thread::sleep(Duration::from_millis(10));
    }
    session.press("q");
    session.ends_clean();
    let csv = std::fs::read_to_string(dir.path().join("demo-hook_embed.csv")).unwrap();
    assert!(csv.starts_with("pos,0,1,2,") && csv.lines().count() > 2, "{csv}");
    let npz = candle_core::npy::NpzTensors::new(dir.path().join("demo-hook_embed.npz")).unwrap();
    let values = npz.get("values").unwrap().unwrap();
    assert_eq!(values.dims(), [csv.lines().count() - 1, 128]);
    let first: f32 = csv.lines().nth(1).unwrap().split(',').nth(1).unwrap().parse().unwrap();
    assert_eq!(values.get(0).unwrap().get(0).unwrap().to_scalar::<f32>().unwrap(), first);
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn a_click_moves_the_cursor_of_a_view() {
    let mut session = explorer();
    session.press("7");
    session.wait_for("s [previous token]");
    // head 2 of block 3: columns and rows count from 1; button 0 is pressed and released
    session.press("\x1b[<0;66;11M\x1b[<0;66;11m");
    session.wait_for("L3H2");
    session.press("q");
    session.ends_clean();
}

#[test]
fn keys_come_from_the_configuration_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("pythia-tui")).unwrap();
    std::fs::write(dir.path().join("pythia-tui/config.toml"), "[keys]\nquit = 'Q'\nhelp = 'q'\n").unwrap();
    let config = dir.path().to_str().unwrap().to_string();
    let mut session = Session::start(&["--model", "demo", "Two tokens"], &[("XDG_CONFIG_HOME", &config)]);
    session.wait_for(" ms");
    session.press("q");
    session.wait_for("the next hook of the forward pass");
    session.press("\x1b");
    session.wait_for(" ms");
    session.press("Q");
    session.ends_clean();
}

#[test]
fn a_killed_session_is_offered_and_can_be_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let env = [("XDG_STATE_HOME", dir.path().to_str().unwrap())];
    let mut session = Session::start(&["--model", "demo", "Two tokens"], &env);
    session.wait_for(" ms");
    session.press("/1 attn z\ra");
    session.wait_for("1 edit");
    let sessions = dir.path().join("pythia-tui/sessions");
    let began = Instant::now();
    let kept = || {
        let files = std::fs::read_dir(&sessions).into_iter().flatten().flatten().map(|file| file.path());
        // a partial file has another extension
        let texts = files.filter(|path| path.extension().is_some_and(|e| e == "toml")).map(std::fs::read_to_string);
        texts.into_iter().flatten().any(|text| text.contains("blocks.1.attn.hook_z = 0"))
    };
    while !kept() {
        assert!(began.elapsed() < LONG, "nothing was kept");
        thread::sleep(Duration::from_millis(10));
    }
    session.signal(9);
    session.child.wait().unwrap();

    let mut session = Session::start(&["--model", "demo", "Something else"], &env);
    session.wait_for("last session: demo, \"Two tokens\", 1 edit");
    session.press("o");
    session.wait_for("Enter runs it");
    session.press("\r");
    session.wait_for("blocks.1.attn.hook_z = 0");
    session.wait_for("Two| tokens");
    session.press("q");
    session.ends_clean();
}

#[test]
fn an_experiment_is_written_and_one_with_another_model_opened() {
    let dir = tempfile::tempdir().unwrap();
    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/parallel-25");
    let text =
        format!("version = 1\nmodel = {other:?}\ntokens = [1, 2, 3]\n[[edit]]\nline = 'hook_embed[pos=1] = 0'\n");
    std::fs::write(dir.path().join("other.toml"), text).unwrap();
    let mut session = Session::start_in(dir.path(), &["--model", "demo", "Two tokens"], &[]);
    session.wait_for(" ms");
    session.press("aw\r");
    session.wait_for(&format!("saved {}", dir.path().join("experiment.toml").display()));
    session.press(":open other.toml\r");
    session.wait_for("parallel-25 ·");
    session.wait_for("hook_embed[pos=1] = 0");
    // the previous session is saved
    session.wait_for("last session: demo, \"Two tokens\", 1 edit");
    session.press("o");
    session.wait_for("Enter runs it");
    session.press("\r");
    session.wait_for("hook_embed = 0");
    session.wait_for("demo ·");
    session.press(":open other.toml\r");
    session.wait_for("parallel-25 ·");
    session.press(":open experiment.toml\r");
    session.wait_for("demo ·");
    session.wait_for("step 1 of 75");
    session.press(":open nothing.toml\r");
    session.wait_for("can't read nothing.toml");
    session.press("q");
    session.ends_clean();
    let written = std::fs::read_to_string(dir.path().join("experiment.toml")).unwrap();
    assert!(written.contains("line = \"hook_embed = 0\"") && written.contains("model = \"demo\""), "{written}");
}

#[test]
fn an_edit_just_before_quitting_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let env = [("XDG_STATE_HOME", dir.path().to_str().unwrap())];
    let mut session = Session::start(&["--model", "demo", "Two tokens"], &env);
    session.wait_for(" ms");
    session.press("aq");
    session.ends_clean();
    let files = std::fs::read_dir(dir.path().join("pythia-tui/sessions")).unwrap().flatten();
    let texts: Vec<String> = files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect();
    assert!(texts.iter().any(|text| text.contains("line = \"hook_embed = 0\"")), "{texts:?}");
}

#[test]
fn the_tour_is_taken_and_left() {
    let mut session = Session::start(&["--tour"], &[]);
    session.wait_for("1 of 15");
    session.wait_for("paint the numbers as colours");
    session.press("TT\u{14}");
    session.wait_for("2 of 15");
    session.wait_for("blocks.0.hook_resid_pre");
    session.press("}");
    session.wait_for("blocks.1.hook_resid_pre");
    session.press("\u{1b}");
    session.wait_for("left the tour");
    session.press("q");
    session.ends_clean();
}

#[test]
fn a_tour_from_a_file_is_taken_and_its_errors_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let tour = |press: &str| {
        format!(
            "version = 1\ntitle = 'Mine'\nmodel = 'demo'\nprompt = 'Two tokens'\n[[step]]\ntitle = 'A step'\n\
             say = 'Two words.'\npress = '{press}'\nto = 'ablate it'\n[step.view]\ntab = 'lens'\nhook = 'hook_embed'\n"
        )
    };
    std::fs::write(dir.path().join("mine.toml"), tour("a")).unwrap();
    std::fs::write(dir.path().join("wrong.toml"), tour("Hyper-a")).unwrap();
    let mut session = Session::start_in(dir.path(), &["--tour", "mine.toml"], &[]);
    session.wait_for("1 of 1 · A step");
    session.wait_for("Two| tokens");
    session.press("q");
    session.ends_clean();
    let mut session = Session::start_in(dir.path(), &["--tour", "wrong.toml"], &[]);
    session.wait_for("wrong.toml, line 8, column 9");
    assert_eq!(session.status().exit_code(), 2);
}

#[test]
fn the_tour_is_offered_only_at_the_first_start() {
    let dir = tempfile::tempdir().unwrap();
    let env = [("XDG_STATE_HOME", dir.path().to_str().unwrap())];
    let mut session = Session::start(&["--model", "demo", "Two tokens"], &env);
    session.wait_for("new here? T takes the tour");
    session.wait_until("the offer is not remembered", || dir.path().join("pythia-tui/tour-offered").exists());
    session.press("q");
    session.ends_clean();
    let mut session = Session::start(&["--model", "demo", "Two tokens"], &env);
    session.wait_for("blocks.0 · parallel");
    assert!(!session.text().contains("new here?"));
    session.press("T");
    session.wait_for("1 of 15");
    session.press("q");
    session.ends_clean();
    // a home that cannot be written to is not an error
    let mut session = Session::start(&["--model", "demo", "Two tokens"], &[("XDG_STATE_HOME", "/dev/null")]);
    session.wait_for("new here? T takes the tour");
    session.press("q");
    session.ends_clean();
}
