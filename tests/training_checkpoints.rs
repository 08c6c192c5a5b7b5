//! Moving through the checkpoints of a training run, from the hub and in directories, in a pseudo-terminal.
#![cfg(unix)]
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use common::{
    hub::{FakeHub, Fault},
    session::Session,
};

const NEXT: &str = "\x1b[1;5C";
const BEFORE: &str = "\x1b[1;5D";

fn demo() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo")
}

/// A hub with the demo as a model and these revisions of it.
fn hub(repository: &str, revisions: &[&str]) -> FakeHub {
    let hub = FakeHub::start();
    for revision in revisions {
        hub.publish(repository, revision, &demo());
    }
    hub
}

fn explore(hub: &FakeHub, cache: &Path, args: &[&str]) -> Session {
    let env = [
        ("HF_ENDPOINT", hub.url()),
        ("HF_HUB_CACHE", cache.display().to_string()),
        ("HF_HUB_OFFLINE", "0".into()),
        ("HF_HOME", "/nonexistent".into()),
    ];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Session::start(args, &env)
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn moving_to_a_step_of_the_suite_keeps_prompt_and_edits() {
    let hub = hub("EleutherAI/pythia-14m", &["step1", "step2", "step4", "main"]);
    let cache = tempfile::tempdir().unwrap();
    let mut session = explore(
        &hub,
        cache.path(),
        &["--model", "pythia-14m", "--revision", "step1", "--edit", "blocks.1.attn.hook_z[head=2] = 0", "Two tokens"],
    );
    session.wait_for("pythia-14m@step1 ");
    session.wait_for("1 edit");
    let refs = cache.path().join("models--EleutherAI--pythia-14m/refs");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(fs::read_dir(&refs).unwrap().count(), 1, "nothing is fetched before the user moves");
    session.press(NEXT);
    session.wait_for("pythia-14m@step2 ");
    session.wait_for("1 edit");
    session.wait_for("blocks.1.attn.hook_z[head=2] = 0");
    // the neighbour is fetched in the background
    wait_until("step4 is fetched in the background", || refs.join("step4").is_file());
    hub.plan("/", Fault::Status(500), usize::MAX);
    session.press(NEXT);
    session.wait_for("pythia-14m@step4 ");
    session.press("9");
    session.wait_for("> step4");
    session.wait_for("probability of");
    session.press(BEFORE);
    session.wait_for("> step2");
    // a failed download is reported, and the current checkpoint stays
    session.press(":step step8\r");
    session.wait_for("the hub at");
    session.wait_for("pythia-14m@step2 ");
    session.press(":step 9\r");
    session.wait_for("there is no checkpoint `9`; the nearest is step8");
    session.press("q");
    session.ends_clean();
}

#[test]
fn other_models_have_the_steps_that_the_hub_lists() {
    let hub = hub("someone/small", &["step-100", "step-200", "main", "gptq"]);
    let cache = tempfile::tempdir().unwrap();
    let mut session =
        explore(&hub, cache.path(), &["--model", "someone/small", "--revision", "step-100", "Two tokens"]);
    session.wait_for("small@step-100 ");
    session.press("9");
    session.wait_for("step-200");
    session.press(NEXT);
    session.wait_for("small@step-200 ");
    session.press(NEXT);
    session.wait_for("step-200 is the last checkpoint");
    session.press("q");
    session.ends_clean();
}

#[test]
fn sibling_directories_are_checkpoints_of_one_training() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["checkpoint-10", "checkpoint-20", "checkpoint-100", "logs"] {
        let to = dir.path().join(name);
        fs::create_dir(&to).unwrap();
        for file in ["config.json", "model.safetensors", "tokenizer.json"] {
            fs::copy(demo().join(file), to.join(file)).unwrap();
        }
    }
    let broken = dir.path().join("checkpoint-100/model.safetensors");
    fs::write(&broken, "half").unwrap();
    let first = dir.path().join("checkpoint-10");
    let mut session = Session::start(&["--model", first.to_str().unwrap(), "Two tokens"], &[]);
    session.wait_for("checkpoint-10 ");
    session.press("9");
    session.wait_for("> checkpoint-10");
    session.press(NEXT);
    session.wait_for("> checkpoint-20");
    session.press(NEXT);
    session.wait_for("model.safetensors: not a");
    session.wait_for("> checkpoint-20");
    session.press("q");
    session.ends_clean();
}

#[test]
fn this_model_moves_while_the_other_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["checkpoint-10", "checkpoint-20"] {
        let to = dir.path().join(name);
        fs::create_dir(&to).unwrap();
        for file in ["config.json", "model.safetensors", "tokenizer.json"] {
            fs::copy(demo().join(file), to.join(file)).unwrap();
        }
    }
    // half of the weights of the first are 0
    let weights = dir.path().join("checkpoint-10/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0);
    fs::write(&weights, bytes).unwrap();
    let first = dir.path().join("checkpoint-10");
    let args = ["--model", first.to_str().unwrap(), "--against", "demo", "--edit", "blocks.1.attn.hook_z[head=2] = 0"];
    let mut session = Session::start(&[&args[..], &["Two tokens"]].concat(), &[]);
    session.wait_for("checkpoint-10 against demo");
    session.wait_for("1 edit");
    let same = || session.text().lines().next().is_some_and(|header| header.trim_end().ends_with("KL 0"));
    assert!(!same(), "{}", session.text());
    session.press(NEXT);
    session.wait_for("checkpoint-20 against demo");
    session.wait_until("the models are the same", || {
        session.text().lines().next().is_some_and(|header| header.trim_end().ends_with("KL 0"))
    });
    session.wait_for("blocks.1.attn.hook_z[head=2] = 0");
    // what was visited is drawn beside the model that stayed
    session.press("9");
    session.wait_for("> checkpoint-20");
    session.press(BEFORE);
    session.wait_for("> checkpoint-10");
    session.wait_for("this   demo");
    // a script of a run with edits asserts its baseline, in whose place the other model is
    let script = dir.path().join("run.py");
    session.press(&format!(":save {}\r", script.display()));
    session.wait_for("which --against does not make");
    session.press("\x1b");
    session.wait_until("the line is closed", || !session.text().contains("Esc close"));
    session.press("4x");
    session.wait_until("the edit is gone", || !session.text().contains("1 edit"));
    session.press(&format!(":save {}\r", script.display()));
    wait_until("a script of the run without edits", || script.is_file());
    assert!(fs::read_to_string(&script).unwrap().contains("KL = 0"));
    session.press("q");
    session.ends_clean();
}

#[test]
fn a_download_shows_a_progress_bar_before_the_explorer_opens() {
    let hub = hub("EleutherAI/pythia-14m", &["main"]);
    let cache = tempfile::tempdir().unwrap();
    hub.plan("/cdn/", Fault::Slow(200_000, Duration::from_millis(150)), 1);
    let mut session = explore(&hub, cache.path(), &["--model", "pythia-14m", "Two tokens"]);
    session.wait_for("EleutherAI/pythia-14m main");
    session.wait_for(" left");
    session.wait_for("next token");
    session.wait_for("pythia-14m@");
    assert!(!session.text().contains(" left"), "the bar is gone");
    session.press("q");
    session.ends_clean();
}

/// The demo appears only if the hub is unreachable or failing, and no model was named.
#[test]
fn the_demo_replaces_only_an_unreachable_default_model() {
    let cache = tempfile::tempdir().unwrap();
    let down = hub("EleutherAI/pythia-70m-deduped", &["main"]);
    down.plan("/api/", Fault::Status(503), usize::MAX);
    let mut session = explore(&down, cache.path(), &["Two tokens"]);
    session.wait_for("demo (not pythia-70m-deduped: the hub has trouble)");
    session.press("q");
    session.ends_clean();
    let session = explore(&down, cache.path(), &["--model", "pythia-70m-deduped", "Two tokens"]);
    session.wait_for("has trouble (status 503)");
    let up = hub("EleutherAI/pythia-70m-deduped", &["main"]);
    let mut session = explore(&up, cache.path(), &["Two tokens"]);
    session.wait_for("pythia-70m-deduped@");
    session.press("q");
    session.ends_clean();
}
