//! The program and its terminal: resizes, broken input sequences, suspension, closed windows, faults.
#![cfg(unix)]
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::sync::atomic::Ordering;

use common::session::{Session, send};

fn explorer() -> Session {
    let session = Session::start(&["--model", "demo", "Two tokens"], &[]);
    session.wait_for(" ms");
    session
}

/// Repeated `PYTHIA_TUI_RESIZES` times, by default 20.
#[test]
fn a_key_during_a_resize_is_read() {
    let times = std::env::var("PYTHIA_TUI_RESIZES").map_or(20, |times| times.parse().unwrap());
    let mut session = explorer();
    for time in 0..times {
        let (rows, cols) = [(24, 80), (30, 100), (40, 132)][time % 3];
        // once before the key, once after it
        if time % 2 == 0 {
            session.resize(rows, cols);
            session.press("?");
        } else {
            session.press("?");
            session.resize(rows, cols);
        }
        session.wait_for("the next hook of the forward pass");
        session.press("?");
        session.wait_until("the help stays", || !session.text().contains("the next hook of the forward pass"));
    }
    session.press("q");
    session.ends_clean();
}

#[test]
fn ctrl_c_quits_after_any_input() {
    for broken in ["\x1b", "\x1b[", "\x1b[?", "\x1b[200~abc", "\x1bO", "\x1b[M", "\x1b[<0;1", "\x1b]11;rgb"] {
        let mut session = explorer();
        session.press(broken);
        session.press("\x03");
        session.ends_clean();
    }
}

#[test]
fn a_broken_sequence_times_out() {
    let mut session = explorer();
    for broken in ["\x1b[?", "\x1b[200~abc"] {
        session.press(broken);
        // a key that follows immediately may be read as part of the sequence; a later one is not
        while !session.text().contains("the next hook of the forward pass") {
            session.press("?");
            std::thread::sleep(std::time::Duration::from_millis(1200));
        }
        session.press("?");
        session.wait_until("the help stays", || !session.text().contains("the next hook of the forward pass"));
    }
    session.press("q");
    session.ends_clean();
}

#[test]
fn closing_the_window_saves_and_exits_with_0() {
    let dir = tempfile::tempdir().unwrap();
    let env = [("XDG_STATE_HOME", dir.path().to_str().unwrap())];
    let mut session = Session::start(&["--model", "demo", "Two tokens"], &env);
    session.wait_for(" ms");
    session.press("a");
    session.wait_for("1 edit");
    session.press("a");
    session.wait_for("no longer ablated");
    session.press("a");
    session.wait_for("touched");
    assert!(session.close().success());
    let files: Vec<_> = std::fs::read_dir(dir.path().join("pythia-tui/sessions")).unwrap().flatten().collect();
    let texts: Vec<String> = files.iter().filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect();
    assert!(texts.iter().any(|text| text.contains("line = \"hook_embed = 0\"")), "{texts:?}");
    assert!(files.iter().all(|file| !file.path().to_string_lossy().ends_with(".part")), "{files:?}");
}

fn is_stopped(pid: u32) -> bool {
    let state = std::process::Command::new("ps").args(["-o", "state=", "-p", &pid.to_string()]).output().unwrap();
    state.stdout.starts_with(b"T")
}

/// Suspended by a signal or its key, the explorer gives the terminal to the shell; resumed, it takes it back.
#[test]
fn the_explorer_can_be_suspended_and_resumed() {
    const SCRIPT: &str =
        r#""$0" --model demo "Two tokens" & echo "pid $!."; fg; echo "stopped."; read line; fg; echo "ended.""#;
    for stop in [Some(libc::SIGTSTP), Some(libc::SIGSTOP), None] {
        let mut session = Session::shell(SCRIPT, &[]);
        session.wait_for(" ms");
        let raw = session.raw();
        let pid: u32 = raw.split("pid ").nth(1).unwrap().split('.').next().unwrap().parse().unwrap();
        match stop {
            Some(signal) => send(pid, signal),
            None => session.press("\x1a"),
        }
        session.wait_until("the shell does not go on", || session.raw().contains("stopped."));
        if stop != Some(libc::SIGSTOP) {
            session.is_given_back();
        }
        // continued in the background, it stops again and draws nothing
        let before = session.raw().len();
        session.resize(40, 132);
        send(pid, libc::SIGCONT);
        session.wait_until("it goes on in the background", || is_stopped(pid));
        assert_eq!(session.raw()[before..].trim(), "", "it draws in the background");
        session.press("\n");
        // only the wider screen has room for this hint, beside the offer of the tour
        session.wait_for("} next block");
        session.wait_until("the terminal is cooked", || !session.cooked());
        session.press("?");
        session.wait_for("the next hook of the forward pass");
        session.press("?q");
        session.wait_until("it does not end", || session.raw().contains("ended."));
        assert!(session.status().success());
    }
}

#[test]
fn faults_and_other_signals_restore_the_terminal() {
    for signal in [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS, libc::SIGUSR1, libc::SIGXCPU] {
        let mut session = explorer();
        session.signal(signal);
        assert!(!session.status().success(), "signal {signal} is not what ended it");
        session.is_given_back();
    }
}

#[test]
fn a_signal_ends_the_program_even_if_the_terminal_does_not_read() {
    for signal in [libc::SIGTERM, libc::SIGHUP] {
        let mut session = explorer();
        session.deaf.store(true, Ordering::SeqCst);
        // more than the terminal buffers
        for _ in 0..100 {
            session.press("123456789");
        }
        session.signal(signal);
        assert!(session.status().success());
        session.listen();
        session.is_given_back();
    }
}

/// A failed write is an error and does not end the program.
#[test]
fn a_file_size_limit_is_reported() {
    let mut session = Session::shell(r#"ulimit -f 0; exec "$0" --model demo "Two tokens""#, &[]);
    session.wait_for(" ms");
    session.press("a");
    session.wait_for("this session can't be saved");
    session.press("q");
    session.is_given_back();
    assert!(session.status().success());
}

#[cfg(target_os = "linux")]
#[test]
fn foreign_output_is_held_back_and_printed_at_the_end() {
    use std::io::Write;
    for fatal in [false, true] {
        let mut session = explorer();
        let stderr = format!("/proc/{}/fd/2", session.child.process_id().unwrap());
        let mut stderr = std::fs::OpenOptions::new().append(true).open(stderr).unwrap();
        stderr.write_all(b"a library says something\n").unwrap();
        session.press("?");
        session.wait_for("the next hook of the forward pass");
        assert!(!session.raw().contains("a library says"), "it is on the screen");
        match fatal {
            true => session.signal(libc::SIGABRT),
            false => session.press("\x03"),
        }
        session.status();
        session.is_given_back();
        session.wait_for("a library says something");
    }
}

#[test]
fn files_that_cannot_be_opened_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    assert!(std::process::Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap().success());
    std::fs::File::create(dir.path().join("large")).unwrap().set_len(3 << 30).unwrap();
    let mut session = Session::start_in(dir.path(), &["--model", "demo", "Two tokens"], &[]);
    session.wait_for(" ms");
    for name in ["pipe", "large", "/dev/zero", "/dev/tty"] {
        session.press(&format!(":open {name}\r"));
        session.wait_for(&format!("can't read {name}: it is"));
    }
    session.press("q");
    session.ends_clean();
}

#[test]
fn a_large_paste_is_refused_without_delay() {
    let mut session = explorer();
    session.press("p");
    session.wait_for("contrast >");
    session.press(&format!("\x1b[200~{}\x1b[201~", "word ".repeat(300_000)));
    session.wait_for("this line holds 1048576 bytes");
    session.wait_for("at least");
    session.press("\x1b");
    session.wait_until("the lines stay", || !session.text().contains("contrast >"));
    session.press("/");
    session.wait_for("find a hook");
    session.press(&format!("\x1b[200~{}\x1b[201~", "x".repeat(5_000)));
    session.wait_for("this line holds 256 bytes");
    session.press("\x03");
    session.ends_clean();
}

#[test]
fn no_color_turns_colours_off_unless_empty() {
    for (value, args, coloured) in [
        ("", &["--model", "demo"][..], true),
        ("1", &["--model", "demo"], false),
        ("1", &["--model", "demo", "--color", "truecolor"], true),
    ] {
        let mut session = Session::start(args, &[("NO_COLOR", value)]);
        session.wait_for(" ms");
        assert_eq!(session.raw().contains("\x1b[38;2;"), coloured, "NO_COLOR={value} {args:?}");
        session.press("q");
        session.ends_clean();
    }
}
