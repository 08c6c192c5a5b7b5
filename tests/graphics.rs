//! Pictures in terminals that draw them: a pseudo-terminal answers as kitty or as a sixel terminal, or not at all.
#![cfg(unix)]
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeMap, thread, time::Duration};

use common::session::Session;

const KITTY: &str = "\x1b_Gi=4207;OK\x1b\\\x1b[6;20;10t\x1b[?62;52;c";
const SIXEL: &str = "\x1b[6;20;10t\x1b[?62;4;22c";
const NEITHER: &str = "\x1b[6;20;10t\x1b[?62;22c";

/// The explorer with a prompt of 90 tokens in the attention view; the terminal gives `answer` when asked.
fn attention(args: &[&str], env: &[(&str, &str)], answer: &str) -> Session {
    let tokens: Vec<String> = (0..90).map(|n| (100 + 7 * (n % 30)).to_string()).collect();
    let tokens = tokens.join(",");
    let args = [&["--model", "demo", "--tokens", &tokens], args].concat();
    let env = [&[("TERM", "xterm-256color"), ("TMUX", ""), ("STY", ""), ("ZELLIJ", "")], env].concat();
    let mut session = Session::start(&args, &env);
    if !answer.is_empty() {
        session.wait_until("the terminal is not asked", || session.raw().contains("\x1b[c"));
        session.press(answer);
    }
    session.wait_for(" ms");
    session.press("3");
    session.wait_for("│89 ");
    settle(&session);
    session
}

/// Wait until the output has stopped, and check that it stays so.
fn settle(session: &Session) {
    let len = || session.bytes.lock().unwrap().len();
    let mut before = len();
    loop {
        thread::sleep(Duration::from_millis(250));
        if len() == before {
            return;
        }
        before = len();
    }
}

/// What a terminal with kitty's protocol holds after some output: images by number, each with the place where it is
/// shown.
#[derive(Debug, Default)]
struct Kitty {
    images: BTreeMap<u32, Option<String>>,
    transmissions: usize,
}

impl Kitty {
    fn after(output: &str) -> Self {
        let mut kitty = Self::default();
        let mut sending = None;
        let mut text = "";
        for piece in output.split("\x1b\\") {
            let Some((before, command)) = piece.rsplit_once("\x1b_G") else { continue };
            if !before.is_empty() {
                text = before;
            }
            let (keys, _) = command.split_once(';').unwrap_or((command, ""));
            let keys: BTreeMap<&str, &str> = keys.split(',').filter_map(|key| key.split_once('=')).collect();
            let image = keys.get("i").and_then(|i| i.parse().ok());
            match (keys.get("a"), keys.get("d")) {
                (Some(&"t"), _) => {
                    sending = image;
                    kitty.transmissions += 1;
                }
                (Some(&"p"), _) => {
                    let place = text.rsplit_once("\x1b[").unwrap().1;
                    let shown = kitty.images.get_mut(&image.unwrap()).unwrap();
                    *shown = Some(format!("{place} {}x{} z{}", keys["c"], keys["r"], keys["z"]));
                }
                (Some(&"d"), Some(&"i")) => *kitty.images.get_mut(&image.unwrap()).unwrap() = None,
                (Some(&"d"), Some(&"I")) => drop(kitty.images.remove(&image.unwrap())),
                (Some(&"q"), _) => {}
                (None, _) => {}
                other => panic!("{other:?}"),
            }
            // the last piece of an image
            if keys.get("m") == Some(&"0") {
                kitty.images.insert(sending.take().unwrap(), None);
            }
        }
        kitty
    }

    fn shown(&self) -> Vec<&str> {
        self.images.values().flatten().map(String::as_str).collect()
    }
}

#[test]
fn kitty_shows_a_picture_only_with_its_view_and_keeps_none() {
    let mut session = attention(&[], &[], KITTY);
    let kitty = Kitty::after(&session.raw());
    let [place] = kitty.shown()[..] else { panic!("{kitty:?}") };
    let place = place.to_string();
    assert!(place.ends_with("z-1"), "below the text: {place}");
    assert!(!session.text().contains('▀') && session.text().contains('◆'), "{}", session.text());
    assert!(!session.text().contains("cell: max of"), "every value has a pixel: {}", session.text());
    let sent = kitty.transmissions;
    // the cursor moves above it
    session.press("\tkkkkhhhhh");
    session.wait_for("│85 ");
    settle(&session);
    // a dialog replaces it with text; afterwards it is shown again without being sent again
    session.press("/");
    session.wait_for("find");
    settle(&session);
    assert_eq!(Kitty::after(&session.raw()).shown(), [""; 0]);
    assert!(session.text().contains('▀'), "{}", session.text());
    session.press("\x1b");
    settle(&session);
    let kitty = Kitty::after(&session.raw());
    assert_eq!((kitty.shown(), kitty.transmissions), (vec![&place[..]], sent));
    // another head is another picture
    session.press(">");
    session.wait_for("head=1");
    settle(&session);
    assert_eq!(Kitty::after(&session.raw()).transmissions, sent + 1);
    // a larger screen
    session.resize(40, 120);
    session.wait_for("query 85");
    settle(&session);
    let kitty = Kitty::after(&session.raw());
    assert!(kitty.shown().len() == 1 && kitty.shown()[0] != place, "{kitty:?}");
    // another view
    session.press("4");
    session.wait_for("rank");
    settle(&session);
    assert_eq!(Kitty::after(&session.raw()).shown(), [""; 0]);
    session.press("3");
    settle(&session);
    assert_eq!(Kitty::after(&session.raw()).shown().len(), 1);
    session.press("q");
    let raw = session.bytes.clone();
    session.ends_clean();
    let kitty = Kitty::after(&String::from_utf8_lossy(&raw.lock().unwrap()));
    assert!(kitty.images.is_empty(), "{kitty:?}");
}

#[test]
fn images_are_deleted_when_a_signal_ends_the_program() {
    let session = attention(&[], &[], KITTY);
    assert_eq!(Kitty::after(&session.raw()).shown().len(), 1);
    session.signal(10);
    let raw = session.bytes.clone();
    session.ends_clean();
    let kitty = Kitty::after(&String::from_utf8_lossy(&raw.lock().unwrap()));
    assert!(kitty.images.is_empty(), "{kitty:?}");
}

#[test]
fn a_sixel_terminal_gets_sixels_and_a_step_of_the_cursor_few_bytes() {
    let mut session = attention(&[], &[], SIXEL);
    let sixels = |session: &Session| session.raw().matches("\x1bP0;1q").count();
    assert_eq!(sixels(&session), 1, "once");
    assert!(!session.text().contains('▀') && session.text().contains('◆'), "{}", session.text());
    assert_eq!(Kitty::after(&session.raw()).transmissions, 0);
    let before = session.bytes.lock().unwrap().len();
    session.press("\tkkkkkkkkkkkkkkkkkkkk");
    session.wait_for("│69 ");
    settle(&session);
    let step = session.raw()[before..].to_string();
    assert!(step.contains("\x1bP0;1q\"1;1;10;20"), "the cell under the cursor is drawn again");
    assert!(step.len() < 9000, "{} bytes", step.len());
    session.press("q");
    session.ends_clean();
}

#[test]
fn where_the_terminal_has_no_pictures_or_does_not_answer_half_blocks_are_drawn() {
    let half_blocks = |args: &[&str], env: &[(&str, &str)], answer: &str, asked: bool| {
        let mut session = attention(args, env, answer);
        let raw = session.raw();
        let none = Kitty::after(&raw).transmissions == 0 && !raw.contains("\x1bP");
        assert!(none && session.text().contains('▀'), "{args:?} {env:?} {answer:?}: {}", session.text());
        assert_eq!(raw.contains("\x1b[c"), asked, "{args:?} {env:?}");
        session.press("q");
        session.ends_clean();
    };
    half_blocks(&[], &[], NEITHER, true);
    half_blocks(&[], &[], "", true);
    half_blocks(&["--graphics", "kitty"], &[], SIXEL, true);
    half_blocks(&["--graphics", "none"], &[], "", false);
    half_blocks(&[], &[("TMUX", "/tmp/tmux-1000/default,1,0")], "", false);
    half_blocks(&[], &[("TERM", "screen-256color")], "", false);
}

#[test]
fn the_question_costs_no_time_and_late_answers_do_not_reach_the_shell() {
    let mut session = Session::start(&["--model", "demo", "Two tokens"], &[("TMUX", "")]);
    session.wait_for("next token");
    session.press("q");
    session.wait_until("the terminal is not asked", || session.raw().contains("\x1b[c"));
    session.press(KITTY);
    session.ends_clean();
}
