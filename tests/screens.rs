//! What the explorer shows, colours included, and that no key, mouse event or size upsets it.
//!
//! The answers come from a stand-in worker with round numbers, so that the screens are the same on every machine.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use proptest::prelude::*;
use pythia_tui::{
    analysis::{HeadScores, stats},
    app::{
        BINDINGS, Component, Effect, Event, Experiment, Extent, Focus, Key, Keymap, ModelInfo, NotSaved, Opening,
        Overlay, Phase, PromptLine, Purpose, Region, SavedView, Setup, State, Tab, Training, update,
    },
    engine::{
        Attribution, Compare, EditEffect, Filling, HookChange, Idle, LensCell, Look, Map, Measure, Measured, Measures,
        Metric, Patch, Prediction, Report, Summary, Thumbnails, View, Want, WhichAttention,
    },
    experiment::{EditLine, Token},
    hooks::{self, Dims, HookPoint, Op, Schema},
    model::{ACTIVATIONS, Config, Dtype, Processing, Progress, TrainingStep, Waiting, modules},
    ui::{self, ColorDepth, Theme},
};
use ratatui::{Terminal, backend::TestBackend, style::Style};

const PROMPT: [&str; 9] = ["When", " Mary", " and", " John", " met", ",", " John", "\n", " to"];

/// The program without its worker: events in, answers made up on the spot.
struct Program {
    state: State,
    posted: Vec<Want>,
    answers: bool,
    /// The tokens of a text are known at once.
    encodes: bool,
    /// Checkpoints that are asked for arrive at once.
    arrives: bool,
}

impl Program {
    fn start(size: (u16, u16), edits: &[&str]) -> Self {
        let dims = Dims {
            n_layers: 4,
            n_heads: 4,
            d_head: 32,
            d_model: 128,
            d_mlp: 512,
            d_vocab: 960,
            parallel: true,
            activation: ACTIVATIONS[0].words,
        };
        Self::with(dims, PROMPT.map(String::from).to_vec(), size, edits)
    }

    fn with(dims: Dims, prompt: Vec<String>, size: (u16, u16), edits: &[&str]) -> Self {
        Self::open(dims, prompt, size, edits, Keymap::default())
    }

    fn start_with(keys: Keymap) -> Self {
        let dims = Self::start(SMALL, &[]).state.schema.dims;
        Self::open(dims, PROMPT.map(String::from).to_vec(), SMALL, &[], keys)
    }

    fn open(dims: Dims, prompt: Vec<String>, size: (u16, u16), edits: &[&str], keys: Keymap) -> Self {
        let config = Config {
            n_layers: dims.n_layers,
            n_heads: dims.n_heads,
            d_model: dims.d_model,
            d_head: dims.d_head,
            d_mlp: dims.d_mlp,
            d_vocab: dims.d_vocab,
            context: 256,
            rotary_dims: dims.d_head / 4,
            rotary_base: 10000.0,
            layer_norm_eps: 1e-5,
            activation: &ACTIVATIONS[0],
            parallel: dims.parallel,
            tied: false,
            bos: 0,
        };
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
        let tokens: Vec<Token> = prompt.into_iter().zip(10..).map(|(text, id)| Token { id, text }).collect();
        let text = tokens.iter().map(|t| t.text.as_str()).collect();
        let state = State::new(Opening {
            model,
            schema: Schema::new(dims),
            modules: modules(&config),
            training: Training::default(),
            keys,
            halves: true,
            setup: Setup {
                prompt: (text, tokens),
                edits: edits.iter().map(|line| EditLine { edit: line.parse().unwrap(), on: true }).collect(),
                ..Setup::default()
            },
            size,
        });
        let mut program = Self { state, posted: vec![], answers: true, encodes: true, arrives: false };
        program.event(Event::Resize(size.0, size.1));
        program
    }

    fn event(&mut self, event: Event) -> Vec<Effect> {
        let effects = update(&mut self.state, event);
        for effect in &effects {
            match effect {
                Effect::Post(want) => {
                    self.posted.push(want.clone());
                    if self.answers {
                        self.answer(want.clone());
                    }
                }
                // a token a word
                Effect::Tokenize(purpose, text) if self.encodes => {
                    let words = text.split_whitespace().zip(100..);
                    let tokens: Vec<Token> = words.map(|(word, id)| Token { id, text: word.into() }).collect();
                    let tokens = if tokens.is_empty() { Err("the prompt has no tokens".into()) } else { Ok(tokens) };
                    self.event(Event::Tokenized(*purpose, text.clone(), tokens));
                }
                Effect::Travel(step) if self.arrives => {
                    let model = ModelInfo { branch: Some(step.revision.clone()), ..self.state.model.clone() };
                    let broken = step.step == 32;
                    let model = if broken { Err("broken".into()) } else { Ok(Box::new(model)) };
                    self.event(Event::Travelled(step.clone(), model));
                }
                _ => {}
            }
        }
        effects
    }

    /// What a worker would report, with made-up numbers.
    fn answer(&mut self, want: Want) {
        let run = want.run;
        self.event(Event::Report(Report::Ran { run, summary: Arc::new(self.summary(&want)) }));
        if want.measure {
            let measured = Arc::new(self.measured(&want));
            self.event(Event::Report(Report::Measured { run, measured }));
        }
        if let Some(look) = want.look {
            let view = Arc::new(self.view(look, &want));
            self.event(Event::Report(Report::Saw { run, look, view }));
        }
    }

    /// Norms that grow with the checkpoint, and heads that get better.
    fn measured(&self, want: &Want) -> Measured {
        let dims = self.state.schema.dims;
        let at = self.state.training.at.unwrap_or(0) as f64;
        let of = |by: f64| Measures {
            norms: self.state.schema.points().into_iter().map(|point| (point, by * (at + 1.0).powi(2))).collect(),
            heads: vec![
                vec![HeadScores { induction: by * at / 20.0, ..HeadScores::default() }; dims.n_heads];
                dims.n_layers
            ],
        };
        Measured { run: of(1.0), baseline: (!want.spec.edits.is_empty()).then(|| of(0.5)) }
    }

    /// As a model of the suite, at one of its first checkpoints, of which every other is here.
    fn in_training(size: (u16, u16), edits: &[&str]) -> Self {
        let mut program = Self::start(size, edits);
        let step = |at: u64| if at == 0 { 0 } else { 1 << (at - 1) };
        let steps: Vec<TrainingStep> = (0..10)
            .map(|at| TrainingStep { step: step(at), revision: format!("step{}", step(at)), here: at % 2 == 0 })
            .collect();
        program.state.training = Training::new(steps, Some("step2"), false);
        program
    }

    /// Press keys, and let the checkpoints that are asked for arrive.
    fn travel(&mut self, keys: &str) {
        for effect in self.keys(keys) {
            if let Effect::Travel(step) = effect {
                let model = ModelInfo { branch: Some(step.revision.clone()), ..self.state.model.clone() };
                self.event(Event::Travelled(step, Ok(Box::new(model))));
            }
        }
    }

    fn summary(&self, want: &Want) -> Summary {
        let edits = want.spec.edits.len();
        let shift = edits as f64 * 0.125;
        let top = || {
            [" Mary", " John", "\n", " the"].iter().enumerate().map(|(i, text)| Prediction {
                id: i as u32,
                text: text.to_string(),
                logit: 8.0 - i as f32,
                prob: 0.5f64.powi(i as i32 + 1),
                baseline_prob: 0.5f64.powi(i as i32 + 1) - if i == 0 { shift } else { 0.0 },
            })
        };
        let points = self.state.schema.points();
        let changes = points.into_iter().filter(|_| edits > 0).map(|point| HookChange {
            point,
            relative: if point < HookPoint::Block(1, hooks::BlockHook::Z) { 0.0 } else { 0.25 },
        });
        let touched = |i: usize| hooks::Effect {
            touched: 288,
            changed: if i == 1 { 0 } else { 288 },
            delta_l2: if i == 1 { 0.0 } else { 2.5 },
        };
        Summary {
            elapsed_ms: 4.0,
            kl: if edits > 0 { vec![0.5; want.spec.tokens.len()] } else { vec![] },
            top: vec![top().collect()],
            was: vec![top().skip(1).collect()],
            effects: (0..edits)
                .map(|i| EditEffect {
                    effect: touched(i),
                    kl: vec![if i == 1 { 0.0 } else { 0.5 }],
                    idle: (i == 1).then(|| Idle::Already(want.spec.edits[i].op)),
                })
                .collect(),
            changes: changes.collect(),
            undefined_rows: 0,
            logits: (0..960).map(|id| 8.0 - id as f32).collect(),
            baseline_logits: if edits > 0 { (0..960).map(|id| 8.0 - 1.5 * id as f32).collect() } else { vec![] },
        }
    }

    fn view(&self, look: Look, want: &Want) -> View {
        let n = want.spec.tokens.len();
        let edited = !want.spec.edits.is_empty();
        match look {
            Look::Hook(point) if self.state.schema.check(point).is_err() => View::Nothing(format!("{point} is off")),
            Look::Hook(point) => {
                let shape = self.state.schema.shape(point, n);
                let count = shape.iter().product::<usize>().min(4096);
                let values: Vec<f32> = (0..count).map(|i| ((i * 37 % 64) as f32 - 32.0) / 16.0).collect();
                let baseline = edited.then(|| stats(&values[..count / 2], 64));
                View::Hook { shape, dtype: "f32".into(), stats: stats(&values, 64), baseline }
            }
            Look::Values { slice, .. } => {
                let size = |axis| self.state.schema.size(axis, n);
                let (rows, columns) = (size(slice.rows), size(slice.columns));
                let at = slice.fixed.map_or(0, |(_, at)| at);
                let value = |i: usize| ((i * 37 + at * 11) % 64) as f32 / 16.0 - 2.0;
                let values: Vec<f32> = (0..rows * columns).map(value).collect();
                View::Values {
                    rows,
                    columns,
                    baseline: edited.then(|| values.iter().map(|x| x / 2.0).collect()),
                    values,
                }
            }
            Look::Patterns { block, side, .. } => {
                let dims = self.state.schema.dims;
                let pool = n.div_ceil(side).max(1);
                let (side, blocks) = (n.div_ceil(pool), block.map_or(dims.n_layers, |_| 1));
                let value = |h: usize, i: usize| {
                    let (q, k) = (i / side, i % side);
                    if k > q { f32::NAN } else { (h + 1) as f32 / (1 + dims.n_heads + q - k) as f32 }
                };
                let head = |h: usize| (0..side * side).map(|i| value(h, i)).collect();
                let heads = (0..blocks).map(|_| (0..dims.n_heads).map(head).collect()).collect();
                View::Patterns(Thumbnails { side, pool, heads })
            }
            Look::Logits { .. } => {
                let summary = self.summary(want);
                View::Logits {
                    top: summary.top[0].clone(),
                    was: summary.was[0].clone(),
                    kl: edited.then_some(0.5),
                    logits: summary.logits,
                    baseline: edited.then_some(summary.baseline_logits),
                }
            }
            Look::Attribution { distractor, .. } => {
                let dims = self.state.schema.dims;
                let parts = |scale: f64| {
                    let head = |l: usize, h: usize| scale * ((l * 7 + h * 5) % 9) as f64 / 4.0 - 1.0;
                    let mut parts = Attribution {
                        embed: 0.5,
                        heads: (0..dims.n_layers).map(|l| (0..dims.n_heads).map(|h| head(l, h)).collect()).collect(),
                        mlps: (0..dims.n_layers).map(|l| l as f64 * scale).collect(),
                        bias: 0.125,
                        constant: if distractor.is_some() { 0.0 } else { 1.0 },
                        logit: 0.0,
                    };
                    parts.logit = parts.sum() + parts.constant;
                    parts
                };
                View::Attribution { parts: parts(1.0), baseline: edited.then(|| parts(0.5)) }
            }
            Look::Lens { first, count } => {
                let cell = |layer: usize, pos: usize| LensCell {
                    kl: 1.0 / (1.0 + layer as f64),
                    moved: edited.then_some(layer as f64 / 8.0),
                    top: [" Mary", " John", " the"]
                        .iter()
                        .enumerate()
                        .map(|(i, text)| Prediction {
                            id: i as u32,
                            text: text.to_string(),
                            logit: 2.0,
                            prob: (layer + 1) as f64 / 8.0 / (1 + (pos + i) % 3) as f64,
                            baseline_prob: 0.5,
                        })
                        .collect(),
                };
                let layers = self.state.schema.dims.n_layers;
                let cells: Vec<Vec<LensCell>> =
                    (0..=layers).map(|l| (first..first + count).map(|p| cell(l, p)).collect()).collect();
                View::Lens { first, baseline: edited.then(|| cells.clone()), cells }
            }
            Look::Sweep { map, .. } => {
                let grid = map.grid(&self.state.schema, n);
                let measure = |i: usize| Measure { kl: i as f64 / 8.0, logit_diff: 2.0 - i as f64 / 4.0, prob: 0.5 };
                // the last ones are still to come
                let measures = (0..grid.cells()).map(|i| (i + 3 < grid.cells()).then(|| measure(i))).collect();
                View::Sweep(Filling {
                    measures,
                    grid,
                    before: Measure { kl: 0.0, logit_diff: 2.0, prob: 0.75 },
                    contrast: map.is_patch().then_some(Measure { kl: 1.0, logit_diff: -2.0, prob: 0.25 }),
                    left: Some(4.0),
                    comparison: None,
                })
            }
            Look::Heads => {
                let dims = self.state.schema.dims;
                let score = |l: usize, h: usize| HeadScores {
                    induction: (l * dims.n_heads + h) as f64 / 16.0,
                    entropy: h as f64,
                    ..HeadScores::default()
                };
                let scores: Vec<Vec<HeadScores>> =
                    (0..dims.n_layers).map(|l| (0..dims.n_heads).map(|h| score(l, h)).collect()).collect();
                View::Heads { baseline: edited.then(|| scores.clone()), scores }
            }
            Look::Attention { head, which, .. } => {
                let value = |q: usize, k: usize| match which {
                    _ if k > q && which == WhichAttention::Scores => f32::NEG_INFINITY,
                    _ if k > q => 0.0,
                    WhichAttention::Scores => (q as f32 - k as f32) / 4.0,
                    WhichAttention::ValueWeighted => (q + k) as f32,
                    WhichAttention::Pattern if k + 1 == q => 0.75,
                    WhichAttention::Pattern => (head as f32 + 1.0) / 16.0,
                };
                let values: Vec<f32> = (0..n * n).map(|i| value(i / n, i % n)).collect();
                View::Attention { baseline: edited.then(|| values.iter().map(|x| x / 2.0).collect()), values }
            }
        }
    }

    /// Keys as a person names them, apart by spaces.
    fn keys(&mut self, keys: &str) -> Vec<Effect> {
        let mut effects = vec![];
        for key in keys.split(' ').filter(|k| !k.is_empty()) {
            let (code, modifiers) = match key {
                "Enter" => (KeyCode::Enter, KeyModifiers::NONE),
                "Esc" => (KeyCode::Esc, KeyModifiers::NONE),
                "Tab" => (KeyCode::Tab, KeyModifiers::NONE),
                "Space" => (KeyCode::Char(' '), KeyModifiers::NONE),
                "Backspace" => (KeyCode::Backspace, KeyModifiers::NONE),
                "C-c" => (KeyCode::Char('c'), KeyModifiers::CONTROL),
                "C-n" => (KeyCode::Char('n'), KeyModifiers::CONTROL),
                "C-Left" => (KeyCode::Left, KeyModifiers::CONTROL),
                "C-Right" => (KeyCode::Right, KeyModifiers::CONTROL),
                one => (KeyCode::Char(one.chars().next().unwrap()), KeyModifiers::NONE),
            };
            effects.extend(self.event(Event::Key(KeyEvent::new(code, modifiers))));
        }
        effects
    }

    fn find(&mut self, query: &str) {
        self.keys("/");
        for c in query.chars() {
            self.event(Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
        }
        self.keys("Enter");
    }

    fn screen(&self, theme: Theme) -> String {
        let (width, height) = self.state.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| drop(ui::draw(frame, &self.state, theme))).unwrap();
        picture(terminal.backend().buffer())
    }
}

/// The text of a screen, then its styles: a letter a cell, and what each letter means.
fn picture(buffer: &ratatui::buffer::Buffer) -> String {
    let letters: Vec<char> = ('a'..='z')
        .chain('A'..='Z')
        .chain('0'..='9')
        .chain('\u{3b1}'..='\u{3c9}')
        .chain('\u{410}'..='\u{44f}')
        .collect();
    let mut known: BTreeMap<String, char> = BTreeMap::new();
    let (mut text, mut styles) = (String::new(), String::new());
    for y in 0..buffer.area.height {
        let (mut line, mut style_line) = (String::new(), String::new());
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            line.push_str(cell.symbol());
            let plain = cell.style().remove_modifier(ratatui::style::Modifier::empty()) == Style::reset();
            let name = format!("{:?} on {:?} {:?}", cell.fg, cell.bg, cell.modifier);
            let next = letters[known.len().min(letters.len() - 1)];
            style_line.push(if plain || name == "Reset on Reset NONE" {
                '.'
            } else {
                *known.entry(name).or_insert(next)
            });
        }
        writeln!(text, "{}", line.trim_end()).unwrap();
        writeln!(styles, "{}", style_line.trim_end_matches('.')).unwrap();
    }
    let mut legend: Vec<(char, String)> = known.into_iter().map(|(name, letter)| (letter, name)).collect();
    legend.sort_by_key(|(letter, _)| letters.iter().position(|l| l == letter));
    let legend: String = legend.into_iter().map(|(letter, name)| format!("{letter} {name}\n")).collect();
    format!("{text}---\n{styles}---\n{legend}")
}

const TRUE: Theme = Theme { depth: ColorDepth::True, ascii: false, light: false };
const WIDE: (u16, u16) = (160, 45);
const SMALL: (u16, u16) = (80, 24);

#[test]
fn shape_wide() {
    let mut program = Program::start(WIDE, &[]);
    program.find("0.attn q");
    insta::assert_snapshot!(program.screen(TRUE));
}

#[test]
fn shape_with_edits_small() {
    let mut program =
        Program::start(SMALL, &["blocks.1.attn.hook_z[head=2] = 0", "blocks.0.attn.hook_pattern[query=0 key=1:] = 0"]);
    program.find("2 mlp_out");
    insta::assert_snapshot!(program.screen(TRUE));
}

fn attention(size: (u16, u16), theme: Theme) -> String {
    let mut program = Program::start(size, &[]);
    program.find("1 attn z");
    program.keys("3 > > a");
    program.screen(theme)
}

#[test]
fn attention_wide() {
    insta::assert_snapshot!(attention(WIDE, TRUE));
}

#[test]
fn attention_small() {
    insta::assert_snapshot!(attention(SMALL, TRUE));
}

#[test]
fn attention_in_256_colours() {
    insta::assert_snapshot!(attention(SMALL, Theme { depth: ColorDepth::Ansi256, ascii: false, light: false }));
}

#[test]
fn attention_in_16_colours() {
    insta::assert_snapshot!(attention(SMALL, Theme { depth: ColorDepth::Ansi16, ascii: false, light: false }));
}

#[test]
fn attention_without_colour_in_ascii() {
    let screen = attention(SMALL, Theme { depth: ColorDepth::None, ascii: true, light: false });
    let text = screen.split("---\n").next().unwrap();
    assert!(text.is_ascii(), "{text}");
    insta::assert_snapshot!(screen);
}

#[test]
fn a_long_prompt_is_pooled_and_says_so() {
    let dims = Dims {
        n_layers: 2,
        n_heads: 2,
        d_head: 8,
        d_model: 16,
        d_mlp: 64,
        d_vocab: 500,
        parallel: true,
        activation: ACTIVATIONS[0].words,
    };
    let prompt = (0..100).map(|i| format!(" w{i}")).collect();
    let mut program = Program::with(dims, prompt, SMALL, &[]);
    program.keys("3");
    let screen = program.screen(TRUE);
    assert!(screen.contains("cell: max of"), "{screen}");
    insta::assert_snapshot!(screen);
}

#[test]
fn lens_view() {
    let mut program = Program::start(SMALL, &[]);
    program.keys("5 Tab k h");
    assert_eq!((program.state.lens_layer, program.state.cell.0), (3, PROMPT.len() - 2));
    insta::assert_snapshot!("lens_small", program.screen(TRUE));
    program.event(Event::Resize(WIDE.0, WIDE.1));
    insta::assert_snapshot!("lens_wide", program.screen(TRUE));
}

#[test]
fn heads_view() {
    let mut program = Program::start(SMALL, &[]);
    program.keys("7 Tab j j l");
    insta::assert_snapshot!("heads_small", program.screen(TRUE));
    insta::assert_snapshot!(
        "heads_16_colours",
        program.screen(Theme { depth: ColorDepth::Ansi16, ascii: false, light: false })
    );
    // the head under the cursor is the one that is ablated and looked at
    program.keys("a Enter");
    assert_eq!(program.state.active_edits()[0].to_string(), "blocks.2.attn.hook_z[head=1] = 0");
    assert_eq!(program.state.tab, Tab::Attention);
}

#[test]
fn logits_view() {
    let mut program = Program::start(SMALL, &["blocks.1.attn.hook_z[head=2] = 0"]);
    program.keys("4");
    insta::assert_snapshot!(program.screen(TRUE));
}

#[test]
fn help_and_finder() {
    let mut program = Program::start(SMALL, &[]);
    program.keys("?");
    insta::assert_snapshot!("help", program.screen(TRUE));
    program.keys("Esc / 3 p");
    insta::assert_snapshot!("finder", program.screen(TRUE));
}

#[test]
fn a_failed_run_is_told_and_the_last_good_one_stays() {
    let mut program = Program::start(SMALL, &[]);
    program.answers = false;
    program.keys("a");
    let run = program.state.run;
    program.event(Event::Report(Report::Failed { run, message: "internal error: it broke".into() }));
    assert_eq!(program.state.phase, Phase::Failed("internal error: it broke".into()));
    program.answers = true;
    program.keys("v");
    assert!(program.state.view().is_some(), "the earlier run can still be looked at");
    insta::assert_snapshot!(program.screen(TRUE));
}

#[test]
fn stepping_follows_the_forward_pass() {
    let mut program = Program::start(SMALL, &[]);
    let points = program.state.schema.points();
    for (i, point) in points.iter().enumerate() {
        assert_eq!((program.state.point(), program.state.step()), (*point, Some((i + 1, points.len()))));
        program.keys("]");
    }
    program.keys("[");
    assert_eq!(program.state.point(), points[points.len() - 2]);
    program.find("0 pat");
    program.keys("} }");
    assert_eq!(program.state.point().to_string(), "blocks.2.attn.hook_pattern");
    program.keys("{");
    assert_eq!(program.state.point().to_string(), "blocks.1.attn.hook_pattern");
}

#[test]
fn in_a_view_what_is_under_its_cursor_is_ablated() {
    let mut program = Program::start(SMALL, &[]);
    let ablations = |program: &mut Program, keys: &str| -> Vec<String> {
        keys.split(' ')
            .map(|key| {
                program.keys(key);
                program.state.ablation().to_string()
            })
            .collect()
    };
    program.find("1 attn z");
    program.keys("2 Tab g");
    // positions by d_head, of one head
    assert_eq!(
        ablations(&mut program, "l A A A A A"),
        [
            "blocks.1.attn.hook_z[pos=0 head=0 d_head=1] = 0",
            "blocks.1.attn.hook_z[pos=0 head=0] = 0",
            "blocks.1.attn.hook_z[head=0 d_head=1] = 0",
            "blocks.1.attn.hook_z[head=0] = 0",
            "blocks.1.attn.hook_z = 0",
            "blocks.1.attn.hook_z[pos=0 head=0 d_head=1] = 0",
        ]
    );
    program.keys("a");
    assert_eq!(program.state.active_edits().len(), 1);
    insta::assert_snapshot!("ablated_cell", program.screen(TRUE));
    program.keys("a 3 g");
    assert_eq!(
        ablations(&mut program, "j A A A s"),
        [
            "blocks.1.attn.hook_pattern[head=0 query=1 key=0] = 0",
            "blocks.1.attn.hook_pattern[head=0 query=1] = 0",
            "blocks.1.attn.hook_pattern[head=0 key=0] = 0",
            "blocks.1.attn.hook_z[head=0] = 0",
            "blocks.1.attn.hook_z[head=0] = 0",
        ]
    );
    // an edge is cut before the softmax, where one looks at the scores
    assert_eq!(ablations(&mut program, "A"), ["blocks.1.attn.hook_attn_scores[head=0 query=1 key=0] = -inf"]);
    // a scale has one value to a position
    program.find("1 ln1 scale");
    assert_eq!(
        ablations(&mut program, "2 A A"),
        ["blocks.1.ln1.hook_scale[pos=1] = 0", "blocks.1.ln1.hook_scale = 0", "blocks.1.ln1.hook_scale[pos=1] = 0"]
    );
    // the lens is of the stream into a block
    assert_eq!(ablations(&mut program, "5 k")[1], "blocks.3.hook_resid_pre[pos=1] = 0");
}

#[test]
fn search_words_are_all_needed_and_n_goes_round() {
    let mut program = Program::start(SMALL, &[]);
    program.find("3 pat");
    assert_eq!(program.state.point().to_string(), "blocks.3.attn.hook_pattern");
    program.find("hook_pattern");
    let mut seen: Vec<String> = (0..4)
        .map(|_| {
            program.keys("n");
            program.state.point().to_string()
        })
        .collect();
    seen.sort();
    assert_eq!(seen, (0..4).map(|b| format!("blocks.{b}.attn.hook_pattern")).collect::<Vec<_>>());
    program.find("zzz");
    assert!(program.state.message.as_ref().unwrap().text.contains("no hook matches `zzz`"));
}

#[test]
fn ablating_runs_once_for_each_change_and_again_takes_it_back() {
    let mut program = Program::start(SMALL, &[]);
    program.find("1 attn z");
    program.keys("3 >");
    let runs = |program: &Program| program.posted.iter().map(|w| w.run).max().unwrap();
    let before = runs(&program);
    program.keys("a");
    assert_eq!(program.state.active_edits()[0].to_string(), "blocks.1.attn.hook_z[head=1] = 0");
    assert_eq!(runs(&program), before + 1);
    program.keys("Space");
    assert!(program.state.active_edits().is_empty() && program.state.edits.len() == 1);
    program.keys("Space x");
    assert!(program.state.edits.is_empty());
    program.keys("a a");
    assert!(program.state.edits.is_empty());
    // outside the attention view, and while the tree is walked, it is the whole hook
    program.keys("2 a");
    assert_eq!(program.state.active_edits()[0].to_string(), "blocks.1.attn.hook_z = 0");
    // `a` on one that is listed but off switches it on
    program.keys("Space");
    assert!(program.state.active_edits().is_empty());
    program.keys("a");
    assert_eq!(program.state.active_edits().len(), 1);
    // what can't be edited is refused and runs nothing
    let before = runs(&program);
    program.find("1 resid_mid");
    program.keys("a");
    assert!(program.state.message.as_ref().unwrap().text.contains("derived"));
    assert_eq!((program.state.edits.len(), runs(&program)), (1, before));
}

#[test]
fn edits_are_written_changed_reordered_and_taken_back() {
    let mut program = Program::start(SMALL, &[]);
    let lines = |program: &Program| program.state.edits.iter().map(|l| l.edit.to_string()).collect::<Vec<_>>();
    program.keys("i");
    program.event(Event::Paste("blocks.*.hook_mlp_out *= 0.5\nnot this".into()));
    program.keys("Enter");
    assert_eq!(lines(&program), ["blocks.*.hook_mlp_out *= 0.5"]);
    // what is wrong stays open, with its problem
    program.keys("i h o o k _ e m b d Enter");
    assert!(matches!(&program.state.overlay, Some(Overlay::Edit(editor)) if editor.verdict.is_err()));
    insta::assert_snapshot!("editor", program.screen(TRUE));
    program.keys("Backspace e Tab Space = Space 0 Enter");
    assert_eq!(lines(&program), ["blocks.*.hook_mlp_out *= 0.5", "hook_embed = 0"]);
    program.keys("K");
    assert_eq!(lines(&program)[0], "hook_embed = 0");
    program.keys("+ + -");
    assert_eq!(lines(&program)[0], "hook_embed = 0.1");
    let before_undo = lines(&program);
    program.keys("u u u u u u u u");
    assert!(lines(&program).is_empty());
    for _ in 0..8 {
        program.event(Event::Key(KeyEvent::new(KeyCode::Char('r'), KeyModifiers::CONTROL)));
    }
    assert_eq!(lines(&program), before_undo);
    // in the edits panel `e` rewrites the chosen edit
    program.keys("Tab Tab e 5 Enter");
    assert_eq!(lines(&program)[0], "hook_embed = 0.15");
    assert_eq!(lines(&program).len(), 2);
}

#[test]
fn a_narrow_screen_shows_the_panel_in_focus() {
    let mut program = Program::start((40, 12), &["blocks.1.attn.hook_z[head=2] = 0"]);
    assert!(program.screen(TRUE).contains("hook_resid_pre"));
    program.keys("Tab 3");
    assert!(program.screen(TRUE).contains("Attention") && !program.screen(TRUE).contains("hook_resid_pre"));
    program.keys("Tab");
    assert!(program.screen(TRUE).contains("KL alone"));
}

#[test]
fn clicking_an_edit_chooses_it_also_where_the_list_has_scrolled() {
    let lines =
        ["hook_embed = 0", "blocks.0.hook_mlp_out = 0", "blocks.1.hook_mlp_out = 0", "blocks.2.hook_mlp_out = 0"];
    let mut program = Program::start(SMALL, &lines);
    program.state.focus = Focus::Edits;
    program.keys("G");
    let (area, visible) = (program.state.areas().edits, program.state.visible_edits());
    assert_eq!(visible, 2..4);
    // two rows an edit: the second visible one starts two rows below the first
    let click = MouseEvent {
        kind: MouseEventKind::Down(MouseButton::Left),
        column: area.x + 10,
        row: area.y + 1,
        modifiers: KeyModifiers::NONE,
    };
    program.event(Event::Mouse(click, None));
    assert_eq!(program.state.edit_cursor, 2);
    // on the box, it is switched off as well
    program.event(Event::Mouse(MouseEvent { column: area.x + 2, row: area.y + 3, ..click }, None));
    assert!(
        program.state.edits.iter().all(|line| line.on == (line.edit.to_string() != lines[program.state.edit_cursor]))
    );
}

fn prompt_line(program: &Program) -> &PromptLine {
    match &program.state.overlay {
        Some(Overlay::Prompt(open)) => open,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_prompt_is_edited_in_place_and_earlier_ones_come_back() {
    let mut program = Program::start(SMALL, &["hook_embed[pos=5] = 0", "blocks.0.hook_mlp_out = 0"]);
    program.keys("p");
    program.event(Event::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)));
    program.keys("Enter");
    assert!(prompt_line(&program).lines[0].tokens.is_err(), "an empty prompt is not accepted");
    program.event(Event::Paste("Two new\r\nwords".into()));
    assert_eq!(prompt_line(&program).lines[0].input.value(), "Two new\nwords");
    insta::assert_snapshot!("prompt", program.screen(TRUE));
    program.keys("Enter");
    assert_eq!(program.state.tokens.iter().map(|t| t.text.as_str()).collect::<Vec<_>>(), ["Two", "new", "words"]);
    // position 5 is no more
    assert_eq!(program.state.active_edits().len(), 1);
    assert!(program.state.message.as_ref().unwrap().text.contains("1 of the edits"));
    assert_eq!(program.posted.last().unwrap().spec.tokens, [100, 101, 102]);
    program.event(Event::Key(KeyEvent::new(KeyCode::Char('p'), KeyModifiers::NONE)));
    program.event(Event::Key(KeyEvent::new(KeyCode::Up, KeyModifiers::NONE)));
    assert_eq!(prompt_line(&program).lines[0].input.value(), PROMPT.concat());
    // leaving it changes nothing
    let runs = program.state.run;
    program.keys("Esc");
    assert_eq!((program.state.run, program.state.tokens.len()), (runs, 3));
}

#[test]
fn what_is_entered_before_its_tokens_are_known_is_run_once_they_are() {
    let mut program = Program::start(SMALL, &[]);
    program.encodes = false;
    let tokens = || Ok(vec![Token { id: 7, text: "new".into() }]);
    let typing = Purpose::Typing { contrast: false };
    program.keys("p");
    let asked = program.event(Event::Paste("!".into()));
    let text = format!("{}!", PROMPT.concat());
    assert_eq!(asked, [Effect::Tokenize(typing, text.clone())]);
    let runs = program.state.run;
    program.keys("Enter");
    assert!(program.state.overlay.is_some() && program.state.run == runs);
    // of an earlier text
    program.event(Event::Tokenized(typing, "older".into(), tokens()));
    assert!(program.state.overlay.is_some() && program.state.run == runs);
    program.event(Event::Tokenized(typing, text, tokens()));
    assert!(program.state.overlay.is_none() && program.state.run == runs + 1);
    assert_eq!(program.posted.last().unwrap().spec.tokens, [7]);
    // what is typed on is not what was entered
    program.keys("p x Enter y");
    program.event(Event::Tokenized(typing, "newx".into(), tokens()));
    program.event(Event::Tokenized(typing, format!("{}xy", text_of(&program)), tokens()));
    assert!(program.state.overlay.is_some() && program.state.run == runs + 1);
    // an answer to lines that were left
    program.keys("Esc");
    program.event(Event::Tokenized(typing, "late".into(), tokens()));
    assert!(program.state.overlay.is_none() && program.state.run == runs + 1);
}

/// The prompt that is typed, without the last two characters.
fn text_of(program: &Program) -> String {
    let text = prompt_line(program).lines[0].input.value();
    text.chars().take(text.chars().count() - 2).collect()
}

#[test]
fn lines_have_a_limit_and_say_so() {
    for (key, limit) in [("/", 256), ("e", 4096), (":", 4096), ("S", 4096), ("p", 1 << 20)] {
        let mut program = Program::start(SMALL, &[]);
        program.encodes = false;
        program.keys(key);
        let length = |program: &Program| match program.state.overlay.as_ref().unwrap() {
            Overlay::Find(line) => line.input.value().len(),
            Overlay::Edit(line) => line.input.value().len(),
            Overlay::Command(line) => line.input.value().len(),
            Overlay::Save(line) => line.input.value().len(),
            Overlay::Prompt(open) => open.lines[0].input.value().len(),
            Overlay::Help(_) => panic!("no line"),
        };
        let said = |program: &Program| program.state.message.as_ref().map(|message| message.text.clone());
        // two bytes a character: the last does not fit where one is left
        let before = length(&program);
        program.event(Event::Paste("é".repeat(limit)));
        assert!((limit - 1..=limit).contains(&length(&program)), "{key}: {}", length(&program));
        let left_out = 2 * limit - (length(&program) - before);
        assert_eq!(
            said(&program),
            Some(format!("this line holds {limit} bytes: the last {left_out} of the paste were left out"))
        );
        program.keys("x x");
        assert_eq!(length(&program), limit, "{key}");
        assert_eq!(said(&program), Some(format!("this line is full: it holds {limit} bytes")));
        program.keys("Backspace");
        assert!(said(&program).is_none() && length(&program) < limit);
        program.screen(TRUE);
    }
}

#[test]
fn an_experiment_that_is_being_opened_is_given_up() {
    let mut program = Program::start(SMALL, &[]);
    program.keys(":");
    program.event(Event::Paste("open x.toml".into()));
    assert_eq!(program.keys("Enter"), [Effect::Open("x.toml".into())]);
    program.event(Event::Loading("another".into()));
    assert_eq!(program.keys("Esc"), [Effect::Abandon]);
    assert_eq!(program.keys("Esc"), []);
    // nor is one that was refused
    program.keys(":");
    program.event(Event::Paste("open x.toml".into()));
    program.keys("Enter");
    program.event(Event::Opened("x.toml".into(), Err("can't read x.toml".into())));
    assert_eq!(program.keys("Esc"), []);
}

#[test]
fn answers_of_another_run_are_dropped() {
    let mut program = Program::start(SMALL, &[]);
    program.answers = false;
    program.keys("a");
    let (old, new) = (program.posted[0].clone(), program.posted.last().unwrap().clone());
    let summary = Arc::new(program.summary(&new));
    program.event(Event::Report(Report::Ran { run: old.run, summary: summary.clone() }));
    assert!(matches!(program.state.phase, Phase::Running { .. }), "an old answer ends nothing");
    let shown = program.state.shown.as_ref().unwrap().run;
    assert_eq!(shown, old.run);
    program.event(Event::Report(Report::Ran { run: new.run, summary }));
    assert_eq!(program.state.shown.as_ref().unwrap().run, new.run);
    // the view is still of the old run, so it is not shown beside the new one
    assert!(program.state.view().is_none());
}

#[test]
fn escape_cancels_and_the_run_before_stays() {
    let mut program = Program::start(SMALL, &[]);
    program.answers = false;
    program.keys("a");
    let before = program.state.shown.as_ref().unwrap().run;
    assert!(program.keys("Esc").contains(&Effect::Cancel));
    assert_eq!(program.state.phase, Phase::Cancelled);
    assert_eq!(program.state.shown.as_ref().unwrap().run, before);
    assert!(program.keys("q").contains(&Effect::Quit));
}

#[test]
fn the_mouse_selects_rows_and_tabs() {
    let mut program = Program::start(WIDE, &[]);
    let click = |column, row| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }, None)
    };
    program.event(click(10, 4));
    assert_eq!(program.state.tree.cursor(), 2);
    program.event(click(66, 1));
    assert_eq!(program.state.tab, Tab::Attention);
}

/// Every view at a size, with one edit on.
fn views(size: (u16, u16), theme: Theme) -> String {
    let mut all = String::new();
    let mut program = Program::start(size, &["blocks.1.attn.hook_z[head=2] = 0"]);
    program.find("1 attn z");
    for keys in ["1", "2", "m", "3", "m", "m", "4", "5", "s", "6", "m", "7", "8"] {
        program.keys(keys);
        writeln!(all, "== {keys}\n{}", program.screen(theme)).unwrap();
    }
    all
}

#[test]
fn checkpoints_are_gone_through_and_their_neighbours_fetched() {
    let mut program = Program::in_training(SMALL, &[]);
    let step = |program: &Program, at: usize| program.state.training.steps[at].clone();
    let effects = program.keys("C-Right");
    assert!(matches!(&effects[0], Effect::Travel(step) if step.revision == "step4"), "{effects:?}");
    assert!(matches!(&effects[1], Effect::Post(want) if want.measure), "where it began is measured, too: {effects:?}");
    // what is on its way is gone on from
    let effects = program.keys("C-n");
    assert!(matches!(&effects[..], [Effect::Travel(step)] if step.revision == "step8"), "{effects:?}");
    assert!(program.screen(TRUE).contains("to step8"));
    let model = Box::new(ModelInfo { branch: Some("step8".into()), ..program.state.model.clone() });
    let run = program.state.run;
    let effects = program.event(Event::Travelled(step(&program, 4), Ok(model)));
    let revisions = |steps: &[TrainingStep]| steps.iter().map(|s| s.revision.clone()).collect::<Vec<_>>();
    assert!(matches!(&effects[0], Effect::Fetch(steps) if revisions(steps) == ["step16", "step4"]), "{effects:?}");
    assert!(matches!(&effects[1], Effect::Post(want) if want.run == run + 1), "{effects:?}");
    // back: the one before is likelier next
    let effects = program.keys("C-Left C-Left");
    assert!(matches!(effects.last(), Some(Effect::Travel(step)) if step.revision == "step2"), "{effects:?}");
    let effects = program.event(Event::Travelled(step(&program, 2), Ok(Box::new(program.state.model.clone()))));
    assert!(matches!(&effects[0], Effect::Fetch(steps) if revisions(steps) == ["step1", "step4"]), "{effects:?}");
    // one that can't be had leaves everything as it is
    program.keys("C-Left");
    program.event(Event::Travelled(step(&program, 1), Err("no disk".into())));
    assert_eq!((program.state.training.at, program.state.training.wanted), (Some(2), None));
    assert!(program.screen(TRUE).contains("no disk"));
    let effects = program.keys("C-Left Esc");
    assert_eq!((program.state.training.wanted, effects.last()), (None, Some(&Effect::Stay)));
    // a list that comes late, with more in it, keeps what is meant
    program.keys("C-Left");
    let mut longer = program.state.training.steps.clone();
    longer.insert(2, TrainingStep { step: 1_000_000, revision: "step1000000".into(), here: false });
    program.event(Event::Checkpoints(longer));
    // behind the one that could not be had
    let zero = step(&program, 0);
    assert!(program.state.training.is_wanted(&zero) && program.state.training.at == Some(3));
    program.event(Event::Travelled(zero, Ok(Box::new(program.state.model.clone()))));
    assert_eq!(program.state.training.at, Some(0));
    // without the network, only what is here is gone to
    program.state.training.offline = true;
    let effects = program.keys("C-Right");
    assert!(matches!(&effects[0], Effect::Travel(next) if next.here), "{effects:?}");
    let effects = program.keys(": s t e p Space 9 9 Enter");
    assert!(effects.is_empty() && program.screen(TRUE).contains("no checkpoint `99`; the nearest is step128"));
}

#[test]
fn a_model_without_checkpoints_says_so() {
    let mut program = Program::start(SMALL, &[]);
    assert!(program.keys("C-Right").is_empty());
    assert!(program.screen(TRUE).contains("demo has no training checkpoints"));
    program.keys("9");
    assert!(program.screen(TRUE).contains("No training checkpoints found"));
}

#[test]
fn runs_are_measured_once_somebody_goes_through_the_training() {
    let mut program = Program::in_training(SMALL, &[]);
    program.keys("a u");
    assert!(program.posted.iter().all(|want| !want.measure), "nobody asked");
    program.travel("C-Right");
    assert!(program.posted.last().unwrap().measure);
    let asked = program.posted.len();
    program.keys("]");
    assert!(!program.posted[asked..].iter().any(|want| want.measure), "it is measured already");
    program.travel("C-Right");
    program.keys("9 s s s s s s s");
    let values = |program: &Program| program.state.over_training().iter().map(|p| (p.at, p.value)).collect::<Vec<_>>();
    assert!(program.screen(TRUE).contains("L2 norm of"));
    assert_eq!(values(&program), [(2, 9.0), (3, 16.0), (4, 25.0)]);
    // numbers of other edits are no part of it, and come back with what they are of
    program.keys("a");
    assert_eq!(values(&program), [(4, 25.0)]);
    assert_eq!(program.state.over_training()[0].baseline, Some(12.5));
    program.keys("u");
    assert_eq!(values(&program), [(2, 9.0), (3, 16.0), (4, 25.0)]);
}

#[test]
fn a_tour_visits_what_is_here_and_comes_back() {
    let mut program = Program::in_training(SMALL, &[]);
    program.arrives = true;
    program.keys("9 W");
    // steps 0, 2, 8, 32 and 128 are here, of which 32 is broken
    let visited = |program: &Program| program.state.over_training().iter().map(|p| p.at).collect::<Vec<_>>();
    assert_eq!(visited(&program), [0, 2, 4, 8]);
    assert_eq!((program.state.training.at, program.state.training.wanted), (Some(2), None));
    // another prompt is another tour; whatever is pressed meanwhile ends it
    program.arrives = false;
    program.keys("a");
    let effects = program.keys("W");
    assert!(matches!(&effects[..], [Effect::Travel(step)] if step.step == 0), "{effects:?}");
    assert_eq!(program.keys("Esc"), [Effect::Stay]);
    let model = Box::new(program.state.model.clone());
    let zero = program.state.training.steps[0].clone();
    let effects = program.event(Event::Travelled(zero, Ok(model)));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Travel(_))), "{effects:?}");
}

#[test]
fn the_training_view() {
    let screens = |size, theme| {
        let mut all = String::new();
        let mut program = Program::in_training(size, &["blocks.1.attn.hook_z[head=2] = 0"]);
        program.keys("9");
        for keys in ["C-Right", "C-Right", "C-Right", "C-Right", "Tab s s s s"] {
            program.travel(keys);
        }
        let progress = Progress {
            repository: "EleutherAI/pythia-70m".into(),
            revision: "step128".into(),
            done: 50_000_000,
            total: 166_000_000,
            waiting: Waiting::Nothing,
        };
        program.event(Event::Fetching(progress));
        program.keys("C-Right j");
        writeln!(all, "{}", program.screen(theme)).unwrap();
        all
    };
    insta::assert_snapshot!("training_wide", screens(WIDE, TRUE));
    insta::assert_snapshot!("training_small", screens(SMALL, TRUE));
    let ascii = screens(SMALL, Theme { depth: ColorDepth::None, ascii: true, light: false });
    assert!(ascii.is_ascii(), "{:?}", ascii.chars().filter(|c| !c.is_ascii()).collect::<String>());
    insta::assert_snapshot!("training_ascii", ascii);
}

#[test]
fn every_view_wide() {
    insta::assert_snapshot!(views(WIDE, TRUE));
}

#[test]
fn every_view_small() {
    insta::assert_snapshot!(views(SMALL, TRUE));
}

#[test]
fn every_view_on_a_light_background() {
    insta::assert_snapshot!(views(SMALL, Theme { depth: ColorDepth::True, ascii: false, light: true }));
}

#[test]
fn every_view_without_colour() {
    let screens = views(SMALL, Theme { depth: ColorDepth::None, ascii: true, light: false });
    assert!(screens.is_ascii(), "{:?}", screens.chars().filter(|c| !c.is_ascii()).collect::<String>());
    insta::assert_snapshot!(screens);
}

#[test]
fn every_view_of_a_difference() {
    let mut all = String::new();
    let mut program = Program::start(SMALL, &["blocks.1.attn.hook_z[head=2] = 0"]);
    program.find("1 attn z");
    program.keys("d");
    for keys in ["2", "m", "3", "m", "4", "5", "6", "m", "7"] {
        program.keys(keys);
        writeln!(all, "== {keys}\n{}", program.screen(TRUE)).unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn overlays() {
    let mut program = Program::start(SMALL, &[]);
    program.keys(":");
    insta::assert_snapshot!("command", program.screen(TRUE));
    program.keys("v i e w Space");
    insta::assert_snapshot!("command_words", program.screen(TRUE));
    program.keys("Esc S");
    insta::assert_snapshot!("save", program.screen(TRUE));
    program.event(Event::Saved("demo.svg".into(), Err(NotSaved::Exists)));
    assert!(program.screen(TRUE).contains("exists: Enter replaces it"));
    program.keys("Esc f");
    insta::assert_snapshot!("modules", program.screen(TRUE));
}

#[test]
fn the_other_face_of_the_tree_keeps_the_hook() {
    let mut program = Program::start(SMALL, &[]);
    for point in program.state.schema.all_points() {
        program.keys("f");
        program.state.tree.reveal(point);
        program.keys("f");
        assert_eq!(program.state.point(), point);
    }
    // each hook is in Hugging Face's tree once, and stepping works there too
    program.find("2 pattern");
    program.keys("f ]");
    assert_eq!(program.state.point().to_string(), "blocks.2.attn.hook_z");
    assert_eq!(program.state.tree.path().join("."), "GPTNeoXForCausalLM.gpt_neox.layers.2.attention.dense.hook_z");
}

#[test]
fn values_move_along_two_axes_and_a_third() {
    let mut program = Program::start(WIDE, &[]);
    program.find("1 attn q");
    program.keys("2 Tab l l k");
    let look = |program: &Program| match program.state.look().unwrap() {
        Look::Values { point, slice } => (point.to_string(), slice),
        other => panic!("{other:?}"),
    };
    let (point, slice) = look(&program);
    assert_eq!(point, "blocks.1.attn.hook_q");
    assert_eq!((slice.rows, slice.columns), (hooks::Axis::Pos, hooks::Axis::DHead));
    assert_eq!((program.state.index(slice.rows), program.state.index(slice.columns)), (PROMPT.len() - 2, 2));
    program.keys("> >");
    assert_eq!(look(&program).1.fixed, Some((hooks::Axis::Head, 2)));
    program.keys("s");
    assert_eq!((look(&program).1.rows, look(&program).1.columns), (hooks::Axis::Pos, hooks::Axis::Head));
    program.keys("s s");
    // ordered by a row, the cursor walks along the order
    program.keys("g c *");
    let order = program.state.column_order().unwrap();
    let (columns, values) = program.state.matrix().unwrap();
    let row: Vec<f32> = order.iter().map(|c| values[*c]).collect();
    assert!(row.windows(2).all(|w| w[0] >= w[1]), "{row:?}");
    let at = |program: &Program| (program.state.index(slice.rows), program.state.index(slice.columns));
    let furthest = values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    assert_eq!(values[at(&program).0 * columns + at(&program).1].abs(), furthest);
    let before = order.iter().position(|c| *c == at(&program).1).unwrap();
    program.keys("l");
    assert_eq!(order.iter().position(|c| *c == at(&program).1).unwrap(), (before + 1).min(columns - 1));
    // the difference is the edited value less the baseline's
    program.keys("a d");
    assert_eq!(program.state.compare(), Compare::Difference);
    let (_, difference) = program.state.matrix().unwrap();
    assert_eq!(difference[3], values[3] / 2.0);
}

#[test]
fn an_opt_in_hook_is_turned_on_and_takes_its_edits_with_it() {
    let mut program = Program::start(SMALL, &[]);
    program.find("1 attn result");
    program.keys("a");
    assert!(program.state.message.as_ref().unwrap().text.contains("off"), "it can't be edited before");
    program.keys("O a");
    assert_eq!(program.state.active_edits()[0].to_string(), "blocks.1.attn.hook_result = 0");
    assert!(program.posted.last().unwrap().spec.enabled.contains(&program.state.point()));
    program.keys("O");
    assert!(program.state.active_edits().is_empty() && program.posted.last().unwrap().spec.enabled.is_empty());
    program.find("1 mlp_out");
    program.keys("O");
    assert!(program.state.message.as_ref().unwrap().error);
    command(&mut program, "enable attn.hook_result");
    assert_eq!(program.posted.last().unwrap().spec.enabled.len(), 4);
}

fn command(program: &mut Program, line: &str) {
    program.keys(":");
    program.event(Event::Paste(line.into()));
    program.keys("Enter");
}

#[test]
fn commands_do_what_keys_do_and_more() {
    let mut program = Program::start(SMALL, &[]);
    command(&mut program, "hook blocks.2.attn.hook_pattern");
    assert_eq!(program.state.point().to_string(), "blocks.2.attn.hook_pattern");
    command(&mut program, "view lens");
    assert_eq!(program.state.tab, Tab::Lens);
    command(&mut program, "edit blocks.*.hook_mlp_out *= 0.5");
    assert_eq!(program.state.active_edits()[0].to_string(), "blocks.*.hook_mlp_out *= 0.5");
    command(&mut program, "head 3");
    command(&mut program, "position 2");
    assert_eq!((program.state.head, program.state.cell.0), (3, 2));
    command(&mut program, "undo");
    assert!(program.state.edits.is_empty());
    command(&mut program, "prompt Two more words");
    assert_eq!(program.state.tokens.len(), 3);
    command(&mut program, "contrast some others here");
    assert_eq!(program.posted.last().unwrap().spec.contrast, Some(vec![100, 101, 102]));
    command(&mut program, "contrast");
    assert_eq!(program.posted.last().unwrap().spec.contrast, None);
    command(&mut program, "target \" Mary\"");
    assert_eq!(program.state.target.as_ref().unwrap().text, "Mary");
    for (line, said) in [
        ("hed 3", "did you mean `head`?"),
        ("head 9", "from 0 to 3"),
        ("hook blocks.9.hook_mlp_out", "blocks 0 to 3"),
        ("view nothing", "there are shape, values"),
        ("edit blocks.0.hook_mlp_out[pos=99] = 0", "out of range"),
        ("enable blocks.0.attn.hook_z", "opt-in"),
        ("head", "takes N"),
    ] {
        command(&mut program, line);
        let message = program.state.message.as_ref().unwrap();
        assert!(message.error && message.text.contains(said), "{line}: {}", message.text);
    }
    // Tab completes, Esc and an empty Backspace leave
    program.keys(": v i e w Space a t t Tab Enter");
    assert_eq!(program.state.tab, Tab::Attention);
    program.keys(": Backspace");
    assert!(program.state.overlay.is_none());
}

#[test]
fn every_action_can_be_asked_for_by_name() {
    for binding in BINDINGS {
        let mut program = Program::start(SMALL, &["hook_embed = 0"]);
        command(&mut program, binding.name);
        let refused = program.state.message.as_ref().is_some_and(|m| m.text.contains("there is no command"));
        assert!(!refused, "{}", binding.name);
    }
}

#[test]
fn generation_goes_step_by_step_and_back() {
    let mut program = Program::start(SMALL, &["hook_embed[pos=-1] *= 2"]);
    program.keys(".");
    assert_eq!((program.state.tokens.len(), program.state.tokens.last().unwrap().text.as_str()), (10, " Mary"));
    assert_eq!(program.state.cell.0, 9, "the cursor stays at the last position");
    // the one chosen in Logits
    program.keys("4 Tab j .");
    assert_eq!(program.state.tokens.last().unwrap().text, " John");
    assert_eq!(program.posted.last().unwrap().spec.tokens[..9], (10..19).collect::<Vec<u32>>()[..]);
    program.keys(", ,");
    assert_eq!(program.posted.last().unwrap().spec.tokens, (10..19).collect::<Vec<u32>>());
    program.keys(",");
    assert!(program.state.message.as_ref().unwrap().text.contains("no token was appended"));
    program.keys("p");
    assert_eq!(prompt_line(&program).lines[0].input.value(), PROMPT.concat());
    program.keys("Esc");
    program.state.model.config.context = 9;
    program.keys(".");
    assert!(program.state.message.as_ref().unwrap().text.contains("takes 9 tokens"));
}

#[test]
fn the_target_and_the_distractor_are_chosen_among_the_next_tokens() {
    let mut program = Program::start(SMALL, &[]);
    let answer = |program: &Program| {
        let (target, distractor) = program.state.answer().unwrap();
        (target.text, distractor.map(|token| token.text))
    };
    // the baseline's likeliest
    assert_eq!(answer(&program), (" John".into(), Some("\n".into())));
    program.keys("4 Tab t");
    assert_eq!(answer(&program), (" Mary".into(), Some(" John".into())));
    program.keys("j j j T");
    assert_eq!(answer(&program), (" Mary".into(), Some(" the".into())));
    assert!(matches!(
        program.keys("6")[..],
        [Effect::Post(Want { look: Some(Look::Attribution { target: 0, distractor: Some(3), .. }), .. })]
    ));
    program.keys("4 T");
    assert_eq!(answer(&program), (" Mary".into(), None));
}

#[test]
fn attribution_goes_to_the_head_under_the_cursor_and_ablates_it() {
    let mut program = Program::start(WIDE, &[]);
    program.keys("6 Tab");
    let all = program.state.components();
    let sizes: Vec<f64> = all.iter().map(|c| program.state.attributed(*c).abs()).collect();
    assert!(sizes.windows(2).all(|w| w[0] >= w[1]));
    program.keys("g");
    assert_eq!(program.state.chosen_component(), Some(Component::Mlp(3)));
    program.keys("a");
    assert_eq!(program.state.active_edits()[0].to_string(), "blocks.3.hook_mlp_out = 0");
    program.keys("u m");
    program.state.component = Some(Component::Head(1, 3));
    program.keys("l");
    assert_eq!(program.state.component, Some(Component::Mlp(1)));
    program.keys("h j Enter");
    assert_eq!((program.state.tab, program.state.block(), program.state.head), (Tab::Attention, 2, 3));
    program.keys("6 ");
    program.state.component = Some(Component::Bias);
    program.keys("a");
    assert!(program.state.message.as_ref().unwrap().text.contains("no hook holds"));
}

#[test]
fn what_is_clicked_is_chosen_and_clicked_again_is_entered() {
    let mut program = Program::start(WIDE, &[]);
    program.find("1 attn z");
    let find = |program: &Program, text: &str| -> (u16, u16) {
        let screen = program.screen(TRUE);
        let (y, line) = screen.lines().enumerate().find(|(_, line)| line.contains(text)).unwrap();
        let x = line.split(text).next().unwrap().chars().count();
        (x as u16, y as u16)
    };
    let click = |program: &mut Program, (column, row): (u16, u16)| {
        let mut terminal = Terminal::new(TestBackend::new(WIDE.0, WIDE.1)).unwrap();
        let mut regions = vec![];
        terminal.draw(|frame| regions = ui::draw(frame, &program.state, TRUE)).unwrap();
        let hit = regions.iter().find_map(|region| region.at(column, row));
        let kind = MouseEventKind::Down(MouseButton::Left);
        program.event(Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }, hit));
    };
    program.keys("7");
    let (x, y) = find(&program, "blocks.3  ");
    let at = (x + 10 + 7 * 2 + 3, y);
    click(&mut program, at);
    assert_eq!((program.state.block(), program.state.head, program.state.focus), (3, 2, Focus::View));
    click(&mut program, at);
    assert_eq!(program.state.tab, Tab::Attention);
    program.keys("5");
    let (x, y) = find(&program, "1 pre");
    click(&mut program, (x + 9 + 9 * 2, y));
    assert_eq!((program.state.lens_layer, program.state.cell.0), (1, 2));
    program.keys("m 3 m m");
    assert_eq!(program.state.looks.extent, Extent::Model);
    let (x, y) = find(&program, "L2");
    click(&mut program, (x + 5, y));
    assert_eq!((program.state.block(), program.state.head), (2, 0));
}

#[test]
fn the_split_moves_by_key_and_by_drag_and_a_panel_takes_all() {
    let mut program = Program::start(WIDE, &[]);
    let width = |program: &Program| program.state.areas().tree.width;
    let before = width(&program);
    program.keys(")");
    assert_eq!(width(&program), before + 4);
    program.keys("( (");
    assert_eq!(width(&program), before - 4);
    let mouse = |kind, column| Event::Mouse(MouseEvent { kind, column, row: 10, modifiers: KeyModifiers::NONE }, None);
    let border = width(&program) - 1;
    program.event(mouse(MouseEventKind::Down(MouseButton::Left), border));
    program.event(mouse(MouseEventKind::Drag(MouseButton::Left), 70));
    program.event(mouse(MouseEventKind::Up(MouseButton::Left), 70));
    program.event(mouse(MouseEventKind::Drag(MouseButton::Left), 90));
    assert_eq!(width(&program), 71);
    // it stays when the terminal changes its size, as far as there is room
    program.event(Event::Resize(80, 24));
    assert_eq!(width(&program), 60);
    program.event(Event::Resize(WIDE.0, WIDE.1));
    assert_eq!(width(&program), 71);
    program.keys("Tab z");
    assert_eq!((program.state.areas().view.width, program.state.areas().tree.width), (160, 0));
    program.keys("Esc");
    assert_eq!(width(&program), 71);
}

#[test]
fn what_is_copied_is_what_is_under_the_cursor() {
    let mut program = Program::start(SMALL, &[]);
    program.find("1 attn z");
    assert_eq!(program.keys("y"), [Effect::Copy("blocks.1.attn.hook_z".into())]);
    program.keys("2 Tab g");
    let (_, values) = program.state.matrix().unwrap();
    assert_eq!(program.keys("y"), [Effect::Copy(values[0].to_string())]);
    let [Effect::Copy(table)] = &program.keys("Y")[..] else { panic!("no table") };
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 1 + PROMPT.len());
    assert!(lines[0].starts_with("pos\t0\t1\t") && lines[8].starts_with("7 \"\\n\"\t"), "{table}");
    program.keys("3 m");
    program.keys("Y");
    assert!(program.state.message.as_ref().unwrap().text.contains("no table"));
}

#[test]
fn saving_asks_before_it_replaces() {
    let mut program = Program::start(SMALL, &[]);
    program.find("1 attn z");
    program.keys("2 S Tab");
    let effects = program.keys("Enter");
    let path = std::path::PathBuf::from("demo-blocks.1.attn.hook_z-head0.csv");
    assert_eq!(effects, [Effect::Save { path: path.clone(), replace: false }]);
    program.event(Event::Saved(path.clone(), Err(NotSaved::Exists)));
    assert_eq!(program.keys("Enter"), [Effect::Save { path: path.clone(), replace: true }]);
    program.event(Event::Saved(path.clone(), Err(NotSaved::Failed("No space left on device".into()))));
    assert!(program.screen(TRUE).contains("No space left on device"), "the line stays open");
    program.event(Event::Saved(path, Ok(())));
    assert!(program.state.overlay.is_none());
    command(&mut program, "save what.doc");
    assert!(program.screen(TRUE).contains("should end in .svg"));
}

#[test]
fn an_experiment_names_the_metric_that_was_chosen_or_that_a_sweep_would_not_take() {
    let mut program = Program::start(SMALL, &[]);
    let written = |program: &Program| program.state.experiment().metric;
    assert_eq!(written(&program), None);
    // a sweep of a patching map would measure the logit difference
    program.state.looks.map = Map::Patch(Patch::ResidPre);
    assert_eq!(written(&program), Some(Metric::Kl));
    program.state.looks.map = Map::Ablate(Op::Set(0.0));
    program.state.tab = Tab::Sweep;
    for metric in [Metric::LogitDiff, Metric::Prob, Metric::Kl] {
        program.keys("m");
        assert_eq!(written(&program), Some(metric));
    }
    let opened = |metric| Setup { prompt: ("Two".into(), program.state.tokens.clone()), metric, ..Setup::default() };
    let (chosen, left_out) = (opened(Some(Metric::Prob)), opened(None));
    for (setup, expected) in [(chosen, Some(Metric::Prob)), (left_out, None)] {
        program.event(Event::Opened("other.toml".into(), Ok(Box::new(setup))));
        assert_eq!(written(&program), expected);
    }
}

#[test]
fn an_experiment_that_is_opened_can_be_undone() {
    let mut program = Program::start(SMALL, &["blocks.1.attn.hook_z[head=2] = 0"]);
    program.keys("3 >");
    let written = program.state.experiment();
    let read = Experiment::parse(&written.to_string()).unwrap();
    assert_eq!(read.to_string(), written.to_string());
    let tokens = vec![Token { id: 3, text: "Other".into() }, Token { id: 4, text: " words".into() }];
    let setup = Setup {
        prompt: ("Other words".into(), tokens),
        edits: vec![EditLine { edit: "hook_embed = 0".parse().unwrap(), on: false }],
        view: Some(SavedView { position: 9, tab: Tab::Values, ..*read.view.unwrap().get_ref() }),
        ..Setup::default()
    };
    let path = std::path::PathBuf::from("other.toml");
    program.event(Event::Opened(path.clone(), Ok(Box::new(setup))));
    assert_eq!((program.state.tab, program.state.tokens.len(), program.state.cell.0), (Tab::Values, 2, 1));
    assert!(program.state.active_edits().is_empty() && program.state.edits.len() == 1);
    assert!(program.state.view().is_some(), "it was run");
    program.keys("u");
    assert_eq!(program.state.active_edits()[0].to_string(), "blocks.1.attn.hook_z[head=2] = 0");
    // one that can't be opened changes nothing, and is told in full
    let before = program.state.experiment();
    program.event(Event::Opened(
        path,
        Err(format!("other.toml, line 3, column 9: {} the end", "a long reason ".repeat(9))),
    ));
    assert_eq!(program.state.experiment(), before);
    assert!(program.screen(TRUE).contains("the end"));
}

#[test]
fn going_back_never_leads_to_edits_that_can_not_run() {
    let mut program = Program::start(SMALL, &["hook_embed[pos=8] = 0"]);
    program.keys("Space Space");
    command(&mut program, "prompt Two tokens");
    assert!(program.state.active_edits().is_empty(), "there is no position 8 any more");
    for key in ["u", "u", "u", "u", "C-r", "C-r"] {
        program.keys(key);
        assert!(program.state.active_edits().is_empty() && program.state.edits.len() == 1, "{key}");
        assert_eq!(program.state.phase, Phase::Done);
    }
}

#[test]
fn a_sweep_is_stopped_where_it_is() {
    let mut program = Program::start(SMALL, &[]);
    program.keys("8");
    let Some(View::Sweep(mut filling)) = program.state.view().cloned() else { panic!("no sweep") };
    let first = filling.measures[0];
    filling.measures.iter_mut().for_each(|measure| *measure = measure.or(first));
    let mut partial = filling.clone();
    partial.measures[3] = None;
    let look = program.posted.last().unwrap().look.unwrap();
    let run = program.state.run;
    program.event(Event::Report(Report::Saw { run, look, view: Arc::new(View::Sweep(partial)) }));
    assert_eq!(program.keys("Esc"), [Effect::Cancel]);
    assert!(program.state.message.as_ref().unwrap().text.contains("stopped"));
    program.event(Event::Report(Report::Saw { run, look, view: Arc::new(View::Sweep(filling)) }));
    assert_eq!(program.keys("Esc"), []);
}

#[test]
fn a_view_becomes_a_picture() {
    let mut program = Program::start(SMALL, &["blocks.1.attn.hook_z[head=2] = 0"]);
    for view in ["1", "2", "3", "4", "5", "6", "7", "8", "3", "m", "m"] {
        program.keys(view);
        let picture = ui::svg(&program.state, TRUE).unwrap();
        assert!(!picture.contains("computing"));
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
        assert_eq!(picture.matches("<text").count(), picture.matches("</text>").count());
        assert!(!picture.contains("& ") && picture.contains("<rect"));
    }
    program.event(Event::Resize(2, 2));
    assert!(ui::svg(&program.state, TRUE).is_err());
}

#[test]
fn keys_can_be_given_to_other_actions() {
    let mut keys = Keymap::default();
    keys.bind("ablate", &["Z".parse::<Key>().unwrap()]).unwrap();
    let mut program = Program::start_with(keys);
    program.keys("a");
    assert!(program.state.edits.is_empty());
    program.keys("Z");
    assert_eq!(program.state.edits.len(), 1);
    program.keys("?");
    assert!(program.screen(TRUE).contains("Z  ablate the hook"));
}

#[test]
fn a_tree_of_36_layers_and_40_heads_is_walked_whole() {
    let dims = Dims {
        n_layers: 36,
        n_heads: 40,
        d_head: 8,
        d_model: 320,
        d_mlp: 64,
        d_vocab: 960,
        parallel: true,
        activation: ACTIVATIONS[0].words,
    };
    let mut program = Program::with(dims, (0..512).map(|i| format!(" w{i}")).collect(), WIDE, &[]);
    let points = program.state.schema.points();
    assert_eq!(points.len(), 36 * 18 + 3);
    for point in &points {
        assert_eq!(program.state.point(), *point);
        program.keys("]");
    }
    for keys in ["3", "m", "m", "6", "7", "2", "f"] {
        program.keys(keys);
        assert!(program.screen(TRUE).contains("ln_final"));
    }
}

fn any_purpose() -> impl Strategy<Value = Purpose> {
    prop::sample::select(vec![
        Purpose::Typing { contrast: false },
        Purpose::Typing { contrast: true },
        Purpose::Prompt,
        Purpose::Contrast,
        Purpose::Find,
        Purpose::Target,
        Purpose::Distractor,
    ])
}

fn any_event() -> impl Strategy<Value = Event> {
    let keys: Vec<KeyCode> = "]}[{><avVsx/nN?hjklgGqeipPruKJ+-=123456781234567mdfcOtT*zFyYS:().,\"\u{e9}\u{4e2d}"
        .chars()
        .map(KeyCode::Char)
        .chain([
            KeyCode::Enter,
            KeyCode::Esc,
            KeyCode::Tab,
            KeyCode::BackTab,
            KeyCode::Up,
            KeyCode::Down,
            KeyCode::Left,
            KeyCode::Right,
            KeyCode::PageDown,
            KeyCode::PageUp,
            KeyCode::Home,
            KeyCode::End,
            KeyCode::Backspace,
            KeyCode::Delete,
            KeyCode::Char(' '),
            KeyCode::F(5),
        ])
        .collect();
    let modifiers =
        prop::sample::select(vec![KeyModifiers::NONE, KeyModifiers::NONE, KeyModifiers::SHIFT, KeyModifiers::CONTROL]);
    let kinds = prop::sample::select(vec![
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::ScrollDown,
        MouseEventKind::ScrollUp,
        MouseEventKind::Moved,
        MouseEventKind::Drag(MouseButton::Left),
        MouseEventKind::Up(MouseButton::Left),
    ]);
    prop_oneof![
        12 => (prop::sample::select(keys), modifiers).prop_map(|(code, modifiers)| Event::Key(KeyEvent::new(code, modifiers))),
        3 => (kinds, 0u16..170, 0u16..50).prop_map(|(kind, column, row)| Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }, None)),
        1 => "[ -~\\n]{0,30}".prop_map(Event::Paste),
        1 => (1u16..170, 1u16..50).prop_map(|(w, h)| Event::Resize(w, h)),
        1 => (1u16..12, 1u16..8).prop_map(|(w, h)| Event::Resize(w, h)),
        1 => (0u64..9).prop_map(|run| Event::Report(Report::Failed { run, message: "broken".into() })),
        1 => (0u64..9, 0usize..4).prop_map(|(run, block)| Event::Report(Report::Progress { run, block, blocks: 4 })),
        1 => (any_purpose(), "[a-c ]{0,3}", prop::collection::vec(0u32..960, 0..4)).prop_map(|(purpose, text, ids)| {
            let tokens: Vec<Token> = ids.into_iter().map(|id| Token { id, text: id.to_string() }).collect();
            Event::Tokenized(purpose, text, if tokens.is_empty() { Err("no tokens".into()) } else { Ok(tokens) })
        }),
        1 => prop::sample::select(vec![
            Event::Suspend,
            Event::Continued,
            Event::Loading("another".into()),
            Event::Opened("x.toml".into(), Err("can't read".into())),
        ]),
    ]
}

/// As many as `PROPTEST_CASES` says.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(128, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_upsets_it(events in prop::collection::vec((any_event(), any::<bool>(), any::<bool>()), 1..60), depth in 0usize..4, ascii: bool, light: bool) {
        let depths = [ColorDepth::True, ColorDepth::Ansi256, ColorDepth::Ansi16, ColorDepth::None];
        let mut program = Program::start((80, 24), &[]);
        let mut regions = vec![];
        for (event, answers, encodes) in events {
            (program.answers, program.encodes) = (answers, encodes);
            // what lies under the pointer is what was drawn there
            let event = match event {
                Event::Mouse(mouse, _) => {
                    let hit = regions.iter().find_map(|region: &Region| region.at(mouse.column, mouse.row));
                    Event::Mouse(mouse, hit)
                }
                other => other,
            };
            program.event(event);
            let state = &program.state;
            prop_assert!(state.head < 4 && state.cell.0 < state.tokens.len() && state.cell.1 < state.tokens.len());
            prop_assert!(state.edit_cursor < state.edits.len().max(1));
            prop_assert!(state.swept_edit().is_some(), "the sweep's cursor is off its map");
            prop_assert_eq!(state.tree.rows()[state.tree.cursor()], state.tree.selected());
            let height = state.areas().tree_height();
            let cursor = state.tree.cursor();
            prop_assert!(height == 0 || (state.tree.offset..state.tree.offset + height).contains(&cursor), "the cursor is out of sight");
            let (width, height) = program.state.size;
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            let theme = Theme { depth: depths[depth], ascii, light };
            terminal.draw(|frame| regions = ui::draw(frame, &program.state, theme)).unwrap();
        }
    }
}

#[test]
fn the_documentation_shows_the_keys_as_they_are() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/keys.md")).unwrap();
    let table = pythia_tui::app::key_table();
    assert!(page.ends_with(&table), "the table in docs/keys.md should be:\n{table}");
    assert!(BINDINGS.iter().all(|b| !b.doc.is_empty()));
}
