//! The explorer without a terminal or threads: what it requests is answered at once.

use std::cell::RefCell;

use crossterm::event::KeyEvent;
use pythia_tui::{
    engine::{Engine, Other, Report, Serve, Session, Stop},
    experiment::{ModelChoice, Prepared},
    explorer::{Effect, Event, Opening, SavedView, State, draw, update},
    model::{Dtype, Place, Processing, modules},
    paint::{ColorDepth, Theme},
    views::{Checkpoints, ModelInfo, keymap},
};
use ratatui::{Terminal, backend::TestBackend};

const NONE: Theme = Theme { depth: ColorDepth::None, ascii: false, light: false, pixels: None };

pub struct Explorer {
    pub state: State,
    pub session: Session,
}

impl Explorer {
    /// The explorer on a prepared experiment, perhaps beside another model of this name.
    pub fn start(prepared: Prepared<SavedView>, against: Option<(&str, Engine)>, size: (u16, u16)) -> Self {
        let Prepared { engine, setup, name, note, .. } = prepared;
        let loaded = &engine.loaded;
        let mut state = State::new(Opening {
            model: ModelInfo {
                branch: None,
                name: loaded.name.clone(),
                revision: None,
                processing: loaded.model.processing,
                source: name,
                device: loaded.model.place().to_string(),
                dtype: Dtype::F32,
                config: loaded.model.config.clone(),
                note,
            },
            schema: engine.schema.clone(),
            modules: modules(&loaded.model.config),
            checkpoints: Checkpoints::default(),
            keys: keymap(),
            halves: true,
            setup,
            size,
        });
        let mut session = Session::new(engine);
        if let Some((name, other)) = against {
            state.scene.against = Some(name.into());
            session = session.against(Other::new(other));
        }
        let mut explorer = Self { state, session };
        explorer.event(Event::Start);
        explorer
    }

    pub fn event(&mut self, event: Event) {
        for effect in update(&mut self.state, event) {
            let Effect::Post(want) = effect else { continue };
            let reports: RefCell<Vec<Report>> = RefCell::default();
            let served = self.session.serve(&want, &Stop::default(), &|report| reports.borrow_mut().push(report));
            // as the worker does
            let failed = served.err().map(|error| Report::Failed { run: want.run, message: error.to_string() });
            for report in reports.into_inner().into_iter().chain(failed) {
                self.event(Event::Report(report));
            }
        }
    }

    pub fn press(&mut self, key: impl Into<KeyEvent>) {
        self.event(Event::Key(key.into()));
    }

    pub fn screen(&self) -> String {
        let (width, height) = self.state.scene.layout.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| drop(draw(frame, &self.state, NONE))).unwrap();
        terminal.backend().to_string()
    }
}

/// A model on this machine, processed; None chooses as the program does.
pub fn choice(name: Option<&str>) -> ModelChoice {
    ModelChoice {
        name: name.map(String::from),
        revision: None,
        processing: Processing::Folded,
        device: Place::default(),
        dtype: Dtype::default(),
        offline: true,
    }
}
