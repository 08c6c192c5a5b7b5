//! The program in a real pseudo-terminal: start, walk, ablate, and every way out leaves the terminal as it was.
#![cfg(unix)]
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test fails by panicking")]

mod common;

use std::{
    num::NonZero,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use common::session::{LONG, Session};
use portable_pty::PtySize;

fn explorer() -> Session {
    let session = Session::start(&["--model", "demo", "Two tokens"], &[]);
    session.wait_for("next token");
    session.wait_for("L2 norm");
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
fn it_follows_the_size_of_the_terminal_and_writes_nothing_while_idle() {
    let session = explorer();
    let size = PtySize { rows: 40, cols: 132, pixel_width: 0, pixel_height: 0 };
    session.screen.lock().unwrap().screen_mut().set_size(NonZero::new(40).unwrap(), NonZero::new(132).unwrap());
    session.master.as_ref().unwrap().resize(size).unwrap();
    // only the wider screen has room for this hint
    session.wait_for("x delete");
    // settle, then listen
    thread::sleep(Duration::from_millis(500));
    let before = session.bytes.lock().unwrap().len();
    thread::sleep(Duration::from_secs(2));
    assert_eq!(session.bytes.lock().unwrap().len(), before, "an idle program writes nothing");
    session.signal(15);
    session.ends_clean();
}

#[test]
fn ctrl_c_gives_the_terminal_back() {
    let mut session = explorer();
    session.press("\u{3}");
    session.ends_clean();
}

#[test]
fn signals_give_the_terminal_back() {
    for signal in [1, 2, 3, 15] {
        let session = explorer();
        session.signal(signal);
        session.ends_clean();
    }
}

#[test]
fn a_panic_in_the_worker_is_an_error_on_the_screen() {
    let mut session = Session::start(&["--model", "demo", "Two tokens"], &[("PYTHIA_TUI_PANIC", "1")]);
    session.wait_for("L2 norm");
    session.press("a");
    if cfg!(debug_assertions) {
        session.wait_for("internal error: forced by PYTHIA_TUI_PANIC");
        session.press("x");
        session.wait_for("deleted");
        session.press("]");
        session.wait_for("step 2 of 75");
    } else {
        println!("skipped: release builds can't be told to panic");
    }
    session.press("q");
    session.ends_clean();
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
fn without_the_default_model_the_demo_says_that_it_is_the_demo() {
    let mut session = Session::start(&["Two tokens"], &[]);
    session.wait_for("demo (not pythia-70m-deduped, which is not here)");
    // whatever else is said
    session.press("a");
    session.wait_for("1 edit");
    session.wait_for("demo (not pythia-70m-deduped, which is not here)");
    session.press("q");
    session.ends_clean();
}

#[test]
fn what_is_copied_goes_out_as_osc_52_and_what_is_saved_is_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::start_in(dir.path(), &["--model", "demo", "Two tokens"], &[]);
    session.wait_for("L2 norm");
    session.press("y");
    session.wait_for("copied hook_embed");
    // "hook_embed" in base64
    assert!(session.raw().contains("\x1b]52;c;aG9va19lbWJlZA=="), "no OSC 52");
    session.press("2");
    session.wait_for("d_model 0");
    session.press("S\t\r");
    session.wait_for("saved demo-hook_embed.csv");
    session.press("S\t\r");
    session.wait_for("exists: Enter replaces it");
    session.press("\r");
    session.wait_for("saved demo-hook_embed.csv");
    session.press("S\t\t\r");
    session.wait_for("saved demo-hook_embed.npz");
    session.press("S\r");
    session.wait_for("saved demo-hook_embed.svg");
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
    session.wait_for("heads by previous token");
    // head 2 of block 3: columns and rows from 1, button 0 pressed and let go
    session.press("\x1b[<0;64;8M\x1b[<0;64;8m");
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
    session.wait_for("L2 norm");
    session.press("q");
    session.wait_for("the next hook of the forward pass");
    session.press("\x1b");
    session.wait_for("L2 norm");
    session.press("Q");
    session.ends_clean();
}

#[test]
fn a_session_that_was_killed_is_offered_and_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let env = [("XDG_STATE_HOME", dir.path().to_str().unwrap())];
    let mut session = Session::start(&["--model", "demo", "Two tokens"], &env);
    session.wait_for("L2 norm");
    session.press("/1 attn z\ra");
    session.wait_for("1 edit");
    let sessions = dir.path().join("pythia-tui/sessions");
    let began = Instant::now();
    let kept = || {
        let files = std::fs::read_dir(&sessions).into_iter().flatten().flatten().map(|file| file.path());
        // one that is being written has another ending
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
    session.wait_for("the last session was kept (demo, \"Two tokens\", 1 edit)");
    session.press("o");
    session.wait_for("Enter carries it out");
    session.press("\r");
    session.wait_for("blocks.1.attn.hook_z = 0");
    session.wait_for("Two| tokens");
    session.press("q");
    session.ends_clean();
}

#[test]
fn an_experiment_is_written_and_one_of_another_model_opened() {
    let dir = tempfile::tempdir().unwrap();
    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/parallel-25");
    let text =
        format!("version = 1\nmodel = {other:?}\ntokens = [1, 2, 3]\n[[edit]]\nline = 'hook_embed[pos=1] = 0'\n");
    std::fs::write(dir.path().join("other.toml"), text).unwrap();
    let mut session = Session::start_in(dir.path(), &["--model", "demo", "Two tokens"], &[]);
    session.wait_for("L2 norm");
    session.press("aw\r");
    session.wait_for("saved experiment.toml");
    session.press(":open other.toml\r");
    session.wait_for("parallel-25 ·");
    session.wait_for("hook_embed[pos=1] = 0");
    // the one before is not lost
    session.wait_for("the last session was kept (demo, \"Two tokens\", 1 edit)");
    session.press("o");
    session.wait_for("Enter carries it out");
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
fn an_edit_just_before_the_way_out_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let env = [("XDG_STATE_HOME", dir.path().to_str().unwrap())];
    let mut session = Session::start(&["--model", "demo", "Two tokens"], &env);
    session.wait_for("L2 norm");
    session.press("aq");
    session.ends_clean();
    let files = std::fs::read_dir(dir.path().join("pythia-tui/sessions")).unwrap().flatten();
    let texts: Vec<String> = files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect();
    assert!(texts.iter().any(|text| text.contains("line = \"hook_embed = 0\"")), "{texts:?}");
}
