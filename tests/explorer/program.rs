//! The explorer with a stand-in worker whose numbers are round, so that the screens are the same on every machine.

use super::*;

pub const PROMPT: [&str; 9] = ["When", " Mary", " and", " John", " met", ",", " John", "\n", " to"];

/// The explorer without its worker: events in, made-up answers on the spot.
pub struct Program {
    pub state: State,
    pub posted: Vec<Want>,
    /// The worker answers at once.
    pub answers: bool,
    /// The tokens of a text are known at once.
    pub encodes: bool,
    /// Requested checkpoints arrive at once.
    pub arrives: bool,
}

impl Program {
    pub fn start(size: (u16, u16), edits: &[&str]) -> Self {
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

    pub fn with(dims: Dims, prompt: Vec<String>, size: (u16, u16), edits: &[&str]) -> Self {
        Self::open(dims, prompt, size, edits, keymap())
    }

    pub fn start_with(keys: Keymap) -> Self {
        let dims = Self::start(SMALL, &[]).state.scene.schema.dims;
        Self::open(dims, PROMPT.map(String::from).to_vec(), SMALL, &[], keys)
    }

    pub fn open(dims: Dims, prompt: Vec<String>, size: (u16, u16), edits: &[&str], keys: Keymap) -> Self {
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
            eos: vec![0],
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
        let mut schema = Schema::new(dims);
        let at = |block: usize| HookPoint::Block(block.min(dims.n_layers - 1), BlockHook::ResidPost);
        schema.set_dictionaries([(at(1), 64), (at(2), 32)].into_iter().collect());
        let state = State::new(Opening {
            model,
            schema,
            modules: modules(&config),
            checkpoints: Checkpoints::default(),
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
        // the numbers of a hook, which most tests are about
        program.state.tab = Tab::Shape;
        program.event(Event::Start);
        program
    }

    pub fn event(&mut self, event: Event) -> Vec<Effect> {
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
                Effect::Name(purpose, ids) => {
                    let tokens: Vec<Token> = ids.iter().map(|id| Token { id: *id, text: format!("w{id}") }).collect();
                    let text = tokens.iter().map(|token| token.text.as_str()).collect();
                    self.event(Event::Tokenized(*purpose, text, Ok(tokens)));
                }
                Effect::Travel(step) if self.arrives => {
                    let model = ModelInfo { branch: Some(step.revision.clone()), ..self.state.scene.model.clone() };
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
    pub fn answer(&mut self, want: Want) {
        let run = want.run;
        if let Some(at) = want.hold.as_ref().and_then(|hold| hold.until) {
            let stopped = Stopped { at, hits: vec![] };
            let all = answers::summary(&self.state.scene, &want);
            let changes = all.changes.into_iter().filter(|change| change.point <= at).collect();
            let effects = all.effects.into_iter().map(|effect| EditEffect { kl: vec![], ..effect }).collect();
            let so_far = Arc::new(Summary { changes, effects, ..Summary::default() });
            self.event(Event::Report(Report::Stopped { run, stopped: stopped.clone(), so_far }));
            for request in want.requests.clone() {
                let lacks = stopped.lacks(request.needs());
                let answer = lacks.map_or_else(|| answers::answer(&self.state.scene, &request, &want), Err);
                self.event(Event::Report(Report::Saw { run, request, answer }));
            }
            return;
        }
        self.event(Event::Report(Report::Ran { run, summary: Arc::new(answers::summary(&self.state.scene, &want)) }));
        for request in want.requests.clone() {
            let answer = answers::answer(&self.state.scene, &request, &want);
            self.event(Event::Report(Report::Saw { run, request, answer }));
        }
        if want.measure {
            let measured = Arc::new(answers::measured(&self.state.scene, &want));
            self.event(Event::Report(Report::Measured { run, measured }));
        }
    }

    /// A model of the suite at one of its first checkpoints, every other of which is on this machine.
    pub fn in_training(size: (u16, u16), edits: &[&str]) -> Self {
        let mut program = Self::start(size, edits);
        let step = |at: u64| if at == 0 { 0 } else { 1 << (at - 1) };
        let steps: Vec<TrainingStep> = (0..10)
            .map(|at| TrainingStep { step: step(at), revision: format!("step{}", step(at)), here: at % 2 == 0 })
            .collect();
        program.state.scene.checkpoints = Checkpoints::new(steps, Some("step2"), false);
        program
    }

    /// Press keys, and let the requested checkpoints arrive.
    pub fn travel(&mut self, keys: &str) {
        for effect in self.keys(keys) {
            if let Effect::Travel(step) = effect {
                let model = ModelInfo { branch: Some(step.revision.clone()), ..self.state.scene.model.clone() };
                self.event(Event::Travelled(step, Ok(Box::new(model))));
            }
        }
    }

    /// Press keys by their names, separated by spaces.
    pub fn keys(&mut self, keys: &str) -> Vec<Effect> {
        let mut effects = vec![];
        for key in keys.split(' ').filter(|k| !k.is_empty()) {
            let (code, modifiers) = match key {
                "Enter" => (KeyCode::Enter, KeyModifiers::NONE),
                "Esc" => (KeyCode::Esc, KeyModifiers::NONE),
                "Tab" => (KeyCode::Tab, KeyModifiers::NONE),
                "Space" => (KeyCode::Char(' '), KeyModifiers::NONE),
                "Backspace" => (KeyCode::Backspace, KeyModifiers::NONE),
                "C-c" => (KeyCode::Char('c'), KeyModifiers::CONTROL),
                "C-t" => (KeyCode::Char('t'), KeyModifiers::CONTROL),
                "C-n" => (KeyCode::Char('n'), KeyModifiers::CONTROL),
                "C-Left" => (KeyCode::Left, KeyModifiers::CONTROL),
                "C-Right" => (KeyCode::Right, KeyModifiers::CONTROL),
                one => (KeyCode::Char(one.chars().next().unwrap()), KeyModifiers::NONE),
            };
            effects.extend(self.event(Event::Key(KeyEvent::new(code, modifiers))));
        }
        effects
    }

    pub fn find(&mut self, query: &str) {
        self.keys("/");
        for c in query.chars() {
            self.event(Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
        }
        self.keys("Enter");
    }
}
