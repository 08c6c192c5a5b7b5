//! The explorer on a cache of activations, without the weights of its model.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{
    explorer::{Explorer, choice},
    fixture,
    program::{call, micro, refused},
};
use crossterm::event::{KeyCode, KeyEvent};
use pythia_tui::{
    experiment::{self, Given, Prepared},
    explorer::{Event, SavedView},
    model::{ModelError, Processing},
    views::{Phase, Tab, keymap},
};

const IDS: [u32; 4] = [7, 3, 11, 2];

/// A line of the command prompt.
fn command(explorer: &mut Explorer, line: &str) {
    explorer.press(KeyCode::Char(':'));
    explorer.event(Event::Paste(line.into()));
    explorer.press(KeyCode::Enter);
}

fn failure(explorer: &Explorer) -> Option<String> {
    match &explorer.state.scene.runs.phase {
        Phase::Failed(message) => Some(message.clone()),
        _ => None,
    }
}

fn given(tokens: Option<&[u32]>) -> Given {
    Given { tokens: tokens.map(<[u32]>::to_vec), ..Given::default() }
}

fn open(path: &Path, model: Option<&str>, tokens: Option<&[u32]>) -> Prepared<SavedView> {
    experiment::cached(path, &choice(model), &given(tokens), &mut |_| true).unwrap()
}

/// A cache that `run` saved.
fn own_cache(ending: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("own.{ending}"));
    let run = ["run", "--model", &micro(), "--tokens", "7,3,11,2", "--save-cache", path.to_str().unwrap()];
    assert!(call(&run).status.success());
    (dir, path)
}

#[test]
fn a_cache_shows_what_its_model_shows_to_the_bit() {
    let (_dir, path) = own_cache("npz");
    let model = experiment::prepare(&choice(Some(&micro())), &given(Some(&IDS)), None, None, &mut |_| true, &|| true);
    let mut model = Explorer::start(model.unwrap(), None, (160, 45));
    for named in [None, Some(micro())] {
        let mut cache = Explorer::start(open(&path, named.as_deref(), Some(&IDS)), None, (160, 45));
        let points = model.state.scene.schema.points();
        assert_eq!(points, cache.state.scene.schema.points());
        let mut numbers = 0;
        for tab in [Tab::Shape, Tab::Values, Tab::Attention, Tab::Heads, Tab::Logits] {
            for point in &points {
                let mut table = |explorer: &mut Explorer| {
                    explorer.state.tab = tab;
                    explorer.state.scene.select(*point);
                    explorer.event(Event::Start);
                    let table = explorer.state.table().unwrap_or_else(|| panic!("{tab:?} {point}"));
                    numbers += table.arrays.iter().map(|(_, _, values)| values.len()).sum::<usize>();
                    format!("{:?} {:?} {:?}", table.header, table.rows, table.arrays)
                };
                assert_eq!(table(&mut model), table(&mut cache), "{tab:?} {point}");
            }
        }
        assert!(numbers > 10_000, "{numbers}");
    }
}

#[test]
fn no_view_and_no_key_upsets_it() {
    let caches = fixture("caches");
    let keys: Vec<KeyEvent> = keymap().bindings().flat_map(|bound| bound.keys.iter().map(|key| key.event())).collect();
    assert!(keys.len() > 60);
    for (name, tokens) in [
        ("tl2-object.pt", Some(&IDS[..])),
        ("tl2-unprocessed.npz", None),
        ("tl2-bos.safetensors", None),
        ("tl4-processed.safetensors", None),
        ("hf-output.pt", None),
        ("hf-attentions.pt", None),
        ("hf-stacked.pt", None),
        ("nnsight-cache.pt", None),
        ("nnsight-saved.pt", None),
    ] {
        for size in [(80, 24), (160, 45)] {
            let mut explorer = Explorer::start(open(&caches.join(name), None, tokens), None, size);
            assert_eq!(failure(&explorer), None, "{name}");
            for tab in Tab::ALL {
                for key in &keys {
                    explorer.state.tab = *tab;
                    explorer.press(*key);
                    explorer.screen();
                    explorer.press(KeyCode::Enter);
                    explorer.press(KeyCode::Esc);
                }
                explorer.screen();
            }
        }
    }
}

#[test]
fn what_needs_weights_says_that_they_are_not_here() {
    let path = fixture("caches").join("tl2-unprocessed.npz");
    let mut explorer = Explorer::start(open(&path, None, None), None, (160, 45));
    assert_eq!(explorer.state.scene.model.processing, Processing::None);
    let before = format!("{:?}", explorer.state.scene.runs.shown.as_ref().unwrap().summary);
    command(&mut explorer, "edit blocks.0.attn.hook_z[head=1] = 0");
    assert_eq!(
        failure(&explorer).unwrap(),
        "the weights are not here, only a cache of activations: an edit needs them"
    );
    let screen = explorer.screen();
    assert!(screen.contains("tl2-unprocessed.npz (a cache, without weights)"), "{screen}");
    assert!(screen.contains("the weights are not here"), "{screen}");
    // what there is stays on the screen, and comes back without the edit
    assert_eq!(format!("{:?}", explorer.state.scene.runs.shown.as_ref().unwrap().summary), before);
    explorer.state.scene.edits.lines.clear();
    explorer.event(Event::Start);
    assert_eq!(failure(&explorer), None);
    for tab in [Tab::Lens, Tab::Attribution] {
        explorer.state.tab = tab;
        explorer.event(Event::Start);
        assert!(explorer.screen().contains("the weights are not here"), "{tab:?}: {}", explorer.screen());
    }
    // a cache of some hooks
    let path = fixture("caches").join("hf-hidden-states.pt");
    let mut explorer = Explorer::start(open(&path, None, Some(&IDS)), None, (160, 45));
    explorer.state.tab = Tab::Logits;
    explorer.event(Event::Start);
    assert!(explorer.screen().contains("the logits are not in the cache"), "{}", explorer.screen());
    explorer.state.tab = Tab::Values;
    explorer.state.scene.select("blocks.0.attn.hook_q".parse().unwrap());
    explorer.event(Event::Start);
    assert!(explorer.screen().contains("blocks.0.attn.hook_q is not in the cache"), "{}", explorer.screen());
    // the stream out of a block is the one into the next
    explorer.state.scene.select("blocks.0.hook_resid_post".parse().unwrap());
    explorer.event(Event::Start);
    assert!(explorer.state.table().is_some());
}

#[test]
fn a_cache_that_does_not_fit_is_refused() {
    let path = fixture("caches").join("tl2-unprocessed.npz");
    let refused_with = |path: &Path, model: Option<&str>, tokens: Option<&[u32]>| {
        experiment::cached::<SavedView>(path, &choice(model), &given(tokens), &mut |_| true).err().unwrap().to_string()
    };
    assert!(refused_with(&path, Some("demo"), None).contains("that of a model with 4 blocks and 4 tokens is ["));
    assert!(refused_with(&path, None, Some(&[1, 2, 3, 4])).contains("it is of other tokens than the prompt"));
    let states = fixture("caches").join("hf-hidden-states.pt");
    assert!(refused_with(&states, None, Some(&[1, 2])).contains("it is of 4 tokens, and the prompt has 2"));
    let batch = fixture("caches").join("tl2-batch.pt");
    assert!(refused_with(&batch, None, Some(&IDS)).contains("has a batch of 2 prompts"));
    assert!(matches!(pythia_tui::model::Source::Cache(path).config(), Err(ModelError::NoWeights(_))));
    refused(&["--cache", "x.npz", "--edit", "hook_embed = 0"], 2, "cannot be used with");
    refused(&["--cache", "/nonexistent/x.npz"], 2, "the explorer needs a terminal");
}
