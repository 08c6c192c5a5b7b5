//! The tables of every view of a real run read back, and a NaN is not written as a number.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{cell::RefCell, collections::BTreeSet, sync::Arc};

use common::engine;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use pythia_tui::{
    engine::{Serve, Session, Stop},
    experiment::{EditLine, ResultPrompt, ResultRow, Results, Token},
    explorer::{Effect, Event, Opening, Setup, State, draw, update},
    model::{Dtype, Processing, TrainingStep, modules},
    paint::{ColorDepth, Theme},
    views::{Checkpoints, ModelInfo, Tab, Table, keymap},
};
use ratatui::{Terminal, backend::TestBackend};

const SIZE: (u16, u16) = (120, 50);

/// Tokens that a CSV reader may misread or confuse.
const TOKENS: [&str; 14] =
    ["NA", " null", "NaN", "the", "the", "the", " the", "\n", "a\tb", "7", "", "\"", "\\n", "3 \"x\""];

/// Words that pandas reads as missing values.
const MISSING: [&str; 17] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "<NA>", "N/A", "NA", "NULL", "NaN",
    "None", "nan", "null",
];

/// A table of effects with texts that a CSV reader may misread.
fn results() -> Results {
    let prompt = |text: &&str| ResultPrompt { text: (*text).into(), ..ResultPrompt::default() };
    let row = |prompt: usize| ResultRow { model: 0, prompt, revision: None, baseline: 1.0, value: prompt as f64 };
    Results {
        metric: "kl".into(),
        models: vec!["demo".into()],
        prompts: TOKENS.iter().map(prompt).collect(),
        rows: (0..TOKENS.len()).map(row).collect(),
        ..Results::default()
    }
}

/// The explorer on a micro checkpoint.
struct Explorer {
    state: State,
    session: Session,
}

impl Explorer {
    fn open(edits: &[&str]) -> Self {
        let engine = engine("parallel-25", Processing::Folded, &[]);
        let config = engine.loaded.model.config.clone();
        let model = ModelInfo {
            branch: None,
            name: engine.loaded.name.clone(),
            source: "micro".into(),
            revision: None,
            processing: Processing::Folded,
            device: "cpu f32".into(),
            dtype: Dtype::F32,
            config: config.clone(),
            note: None,
        };
        let tokens: Vec<Token> = TOKENS.iter().zip(5..).map(|(text, id)| Token { id, text: (*text).into() }).collect();
        let edits = edits.iter().map(|line| EditLine { edit: line.parse().unwrap(), on: true }).collect();
        let steps = vec![TrainingStep { step: 0, revision: "step0".into(), here: true }];
        let mut state = State::new(Opening {
            model,
            schema: engine.schema.clone(),
            modules: modules(&config),
            checkpoints: Checkpoints::new(steps, Some("step0"), false),
            keys: keymap(),
            halves: true,
            setup: Setup { prompt: (TOKENS.concat(), tokens), edits, ..Setup::default() },
            size: SIZE,
        });
        state.scene.checkpoints.at = Some(0);
        state.keep_results(Arc::new(results()));
        let mut explorer = Self { state, session: Session::new(engine) };
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

    fn key(&mut self, key: char) {
        self.event(Event::Key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE)));
    }

    /// The tables of all views that have one.
    fn tables(&mut self) -> Vec<(Tab, Table)> {
        let mut all = vec![];
        for tab in Tab::ALL.iter().copied() {
            let view = self.state.views.get(tab);
            if view.unavailable(&self.state.scene).is_some() {
                continue;
            }
            let key = view.about().key.unwrap();
            self.key(key);
            // an answer may lead to further requests
            self.event(Event::Resize(SIZE.0, SIZE.1));
            let table = self.state.table().unwrap_or_else(|| panic!("{tab} has no table"));
            all.push((tab, table));
        }
        all
    }

    fn screen(&self) -> String {
        let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap();
        let theme = Theme { depth: ColorDepth::True, ascii: false, light: false, pixels: None };
        terminal.draw(|frame| drop(draw(frame, &self.state, theme))).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..SIZE.0).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..SIZE.1).map(|y| line(y) + "\n").collect()
    }
}

/// The records of a table after writing it as CSV and reading it back.
fn read_back(table: &Table) -> Vec<Vec<String>> {
    let mut out = csv::Writer::from_writer(vec![]);
    for record in std::iter::once(&table.header).chain(&table.rows) {
        out.write_record(record).unwrap();
    }
    let bytes = out.into_inner().unwrap();
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes.as_slice());
    reader.records().map(|record| record.unwrap().iter().map(String::from).collect()).collect()
}

/// The position and the token text of a label.
fn position(label: &str) -> (usize, String) {
    let (pos, text) = label.split_once(' ').unwrap();
    (pos.parse().unwrap(), serde_json::from_str(text).unwrap())
}

#[test]
fn every_table_reads_back_with_unique_labels() {
    let mut explorer = Explorer::open(&["blocks.0.attn.hook_z[head=1] = 0"]);
    for (tab, table) in explorer.tables() {
        let lines = read_back(&table);
        assert_eq!((&lines[0], &lines[1..]), (&table.header, table.rows.as_slice()), "{tab}");
        let header: BTreeSet<&String> = table.header.iter().collect();
        assert_eq!(header.len(), table.header.len(), "{tab}: {:?}", table.header);
        // two cells name a row that is a block and a head, or a stream and a position
        let named_by = match tab {
            Tab::Lens | Tab::Heads => 2,
            // a direction, its side, and the rank of a token there
            Tab::Weights => 3,
            _ => 1,
        };
        let names: BTreeSet<&[String]> = table.rows.iter().map(|row| &row[..named_by]).collect();
        assert_eq!(names.len(), table.rows.len(), "{tab}");
        assert!(!table.rows.is_empty(), "{tab}");
        let labels = table.header.iter().chain(table.rows.iter().flat_map(|row| &row[..named_by]));
        for label in labels {
            assert!(!MISSING.contains(&label.as_str()), "{tab}: {label:?}");
        }
        // one line per row, with tabs between cells too
        let copied = table.tab_separated();
        assert_eq!(copied.lines().count(), lines.len(), "{tab}");
        for (line, row) in copied.lines().zip(&lines) {
            assert_eq!(line.split('\t').collect::<Vec<_>>(), *row, "{tab}");
        }
    }
}

#[test]
fn equal_tokens_have_distinct_labels_in_every_table() {
    let mut explorer = Explorer::open(&[]);
    let expected: Vec<(usize, String)> = TOKENS.iter().map(|text| text.to_string()).enumerate().collect();
    for (tab, table) in explorer.tables() {
        let column = |name: &str| table.header.iter().position(|title| title == name);
        let rows = || table.rows.iter().map(|row| position(&row[0])).collect::<Vec<_>>();
        match tab {
            Tab::Attention => {
                let columns: Vec<_> = table.header[1..].iter().map(|label| position(label)).collect();
                assert_eq!((columns, rows()), (expected.clone(), expected.clone()));
            }
            Tab::Values => assert_eq!(rows(), expected),
            Tab::Logits | Tab::Lens | Tab::Weights => {
                for name in ["token", "after"].into_iter().filter_map(column) {
                    for row in &table.rows {
                        assert!(serde_json::from_str::<String>(&row[name]).is_ok(), "{tab}: {row:?}");
                    }
                }
                assert!(column("token").is_some());
            }
            // these have no tokens
            Tab::Diagram
            | Tab::Shape
            | Tab::Attribution
            | Tab::Continue
            | Tab::Heads
            | Tab::Features
            | Tab::Sweep
            | Tab::Circuit
            | Tab::Doses
            | Tab::Why
            | Tab::Training
            | Tab::Corpus => {}
        }
    }
}

/// TransformerLens does the same: `accumulated_resid` with `apply_ln` on the edited cache equals that on the unedited one.
#[test]
fn the_lens_ignores_edits_of_the_final_norm_and_says_so() {
    let edit = "ln_final.hook_scale *= 0.5";
    let [mut plain, mut edited] = [&[][..], &[edit]].map(Explorer::open);
    let lens = |explorer: &mut Explorer| explorer.tables().into_iter().find(|(tab, _)| *tab == Tab::Lens).unwrap().1;
    let (before, after) = (lens(&mut plain), lens(&mut edited));
    for (before, after) in before.rows.iter().zip(&after.rows) {
        assert_eq!(before[..6], after[..6]);
        assert_eq!((after[7].as_str(), after[8].as_str()), ("0", edit));
    }
    // the effect on the logits shows in their distance from the last stream
    let from_final = |table: &Table| table.rows.last().unwrap()[6].parse::<f64>().unwrap();
    assert!(from_final(&before) < 1e-9 && from_final(&after) > 1e-2, "{after:?}");
    for (explorer, says) in [(&mut plain, false), (&mut edited, true)] {
        explorer.key('5');
        assert_eq!(explorer.screen().contains("without the edits of ln_final"), says);
    }
    // the baseline has no edits
    edited.key('d');
    edited.key('d');
    assert!(!edited.screen().contains("without the edits of ln_final"));
    assert_eq!(edited.state.table().unwrap().header.len(), 8);
}

#[test]
fn nan_is_an_empty_cell_and_named_on_the_screen() {
    let mut explorer = Explorer::open(&["hook_embed[pos=-1] = inf"]);
    // after the last position, where everything is NaN
    for _ in TOKENS {
        explorer.event(Event::Key(KeyEvent::new(KeyCode::Down, KeyModifiers::NONE)));
    }
    for compare in ["edited", "difference", "baseline"] {
        for (tab, table) in explorer.tables() {
            let none = |cell: &&String| cell.eq_ignore_ascii_case("nan");
            assert_eq!(table.rows.iter().flatten().find(none), None, "{tab}, {compare}");
            let screen = explorer.screen();
            assert!(screen.contains("KL NaN") && screen.contains("the logits are NaN"), "{tab}, {compare}: {screen}");
        }
        explorer.key('d');
    }
    // the lens keeps its rows although their logits can't be ranked
    let table = explorer.tables().into_iter().find(|(tab, _)| *tab == Tab::Lens).unwrap().1;
    let last: Vec<&Vec<String>> = table.rows.iter().filter(|row| row[1] == (TOKENS.len() - 1).to_string()).collect();
    assert!(!last.is_empty() && last.iter().all(|row| row[3..].iter().all(String::is_empty)), "{last:?}");
}
