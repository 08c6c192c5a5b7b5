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
        BINDINGS, Component, Effect, Event, Extent, Focus, Key, Keymap, ModelInfo, NotSaved, Opening, Overlay, Phase,
        PromptLine, Purpose, State, Tab, Token, update,
    },
    engine::{
        Attribution, Compare, EditEffect, HookChange, LensCell, Look, Prediction, Report, Summary, Thumbnails, View, Want,
        WhichAttention,
    },
    hooks::{self, Dims, HookPoint, Schema},
    model::{Config, modules},
    ui::{self, ColorDepth, Theme},
};
use ratatui::{Terminal, backend::TestBackend, style::Style};

const PROMPT: [&str; 9] = ["When", " Mary", " and", " John", " met", ",", " John", "\n", " to"];

/// The program without its worker: events in, answers made up on the spot.
struct Program {
    state: State,
    posted: Vec<Want>,
    answers: bool,
}

impl Program {
    fn start(size: (u16, u16), edits: &[&str]) -> Self {
        let dims = Dims { n_layers: 4, n_heads: 4, d_head: 32, d_model: 128, d_mlp: 512, d_vocab: 960, parallel: true };
        Self::with(dims, PROMPT.map(String::from).to_vec(), size, edits)
    }

    fn with(dims: Dims, prompt: Vec<String>, size: (u16, u16), edits: &[&str]) -> Self {
        let model = ModelInfo {
            name: "demo".into(),
            revision: None,
            processing: "processed",
            folded: true,
            device: "cpu f32".into(),
            context: 256,
            note: None,
        };
        let tokens: Vec<Token> = prompt.into_iter().zip(10..).map(|(text, id)| Token { id, text }).collect();
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
            parallel: dims.parallel,
            tied: false,
            bos: 0,
        };
        let text = tokens.iter().map(|t| t.text.as_str()).collect();
        let state = State::new(Opening {
            model,
            schema: Schema::new(dims),
            modules: modules(&config),
            keys: Keymap::default(),
            prompt: (text, tokens),
            contrast: None,
            edits: edits.iter().map(|line| line.parse().unwrap()).collect(),
            size,
        });
        let mut program = Self { state, posted: vec![], answers: true };
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
                Effect::Tokenize(purpose, text) => {
                    let words = text.split_whitespace().zip(100..);
                    let tokens: Vec<Token> = words.map(|(word, id)| Token { id, text: word.into() }).collect();
                    let tokens = if tokens.is_empty() { Err("the prompt has no tokens".into()) } else { Ok(tokens) };
                    self.event(Event::Tokenized(*purpose, text.clone(), tokens));
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
        if let Some(look) = want.look {
            let view = Arc::new(self.view(look, &want));
            self.event(Event::Report(Report::Saw { run, look, view }));
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
                .map(|i| EditEffect { effect: touched(i), kl: vec![if i == 1 { 0.0 } else { 0.5 }] })
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
                View::Values { rows, columns, baseline: edited.then(|| values.iter().map(|x| x / 2.0).collect()), values }
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
                View::Patterns(Thumbnails { first: block.unwrap_or(0), side, pool, heads })
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
            Look::Lens => {
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
                    (0..=layers).map(|l| (0..n).map(|p| cell(l, p)).collect()).collect();
                View::Lens { baseline: edited.then(|| cells.clone()), cells }
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
    let dims = Dims { n_layers: 2, n_heads: 2, d_head: 8, d_model: 16, d_mlp: 64, d_vocab: 500, parallel: true };
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
    insta::assert_snapshot!("heads_16_colours", program.screen(Theme { depth: ColorDepth::Ansi16, ascii: false, light: false }));
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
    // outside the attention view it is the whole hook
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
    program.event(click(60, 1));
    assert_eq!(program.state.tab, Tab::Attention);
}

fn any_event() -> impl Strategy<Value = Event> {
    let keys: Vec<KeyCode> = "]}[{><avVsx/nN?hjklgGqeipruKJ+-=\u{e9}\u{4e2d}"
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
    ]);
    prop_oneof![
        12 => (prop::sample::select(keys), modifiers).prop_map(|(code, modifiers)| Event::Key(KeyEvent::new(code, modifiers))),
        3 => (kinds, 0u16..170, 0u16..50).prop_map(|(kind, column, row)| Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }, None)),
        1 => "[ -~\\n]{0,30}".prop_map(Event::Paste),
        1 => (1u16..170, 1u16..50).prop_map(|(w, h)| Event::Resize(w, h)),
        1 => (1u16..12, 1u16..8).prop_map(|(w, h)| Event::Resize(w, h)),
        1 => (0u64..9).prop_map(|run| Event::Report(Report::Failed { run, message: "broken".into() })),
        1 => (0u64..9, 0usize..4).prop_map(|(run, block)| Event::Report(Report::Progress { run, block, blocks: 4 })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_upsets_it(events in prop::collection::vec((any_event(), any::<bool>()), 1..60), depth in 0usize..4, ascii: bool, light: bool) {
        let depths = [ColorDepth::True, ColorDepth::Ansi256, ColorDepth::Ansi16, ColorDepth::None];
        let mut program = Program::start((80, 24), &[]);
        for (event, answers) in events {
            program.answers = answers;
            program.event(event);
            let state = &program.state;
            prop_assert!(state.head < 4 && state.cell.0 < state.tokens.len() && state.cell.1 < state.tokens.len());
            prop_assert!(state.edit_cursor < state.edits.len().max(1));
            prop_assert_eq!(state.tree.rows()[state.tree.cursor()], state.tree.selected());
            let height = state.areas().tree_height();
            let cursor = state.tree.cursor();
            prop_assert!(height == 0 || (state.tree.offset..state.tree.offset + height).contains(&cursor), "the cursor is out of sight");
            program.screen(Theme { depth: depths[depth], ascii, light });
        }
    }
}

#[test]
fn readme_shows_the_keys_as_they_are() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    assert!(
        readme.contains(&pythia_tui::app::key_table()),
        "README's key table should be:\n{}",
        pythia_tui::app::key_table()
    );
    assert!(BINDINGS.iter().all(|b| !b.doc.is_empty()));
}
