use std::path::PathBuf;

use super::{
    jumps::Jumps,
    overlay::Overlay,
    saved_view::Setup,
    tour::{self, Tour},
};
use crate::{
    engine::{Compare, Reading, Request, Want},
    experiment::{Distractor, GridTable},
    hooks::{HookPoint, Schema},
    keys::{Action, Keymap},
    model::Module,
    paint::Hit,
    views::{
        Checkpoints, Cursor, EditList, Layout, ModelInfo, Phase, Prompts, Runs, Scene, Stops, Tab, Table, Trees, View,
        Views, inside, plain,
    },
};

/// Everything the screen is drawn from.
#[derive(Clone, Debug)]
pub struct State {
    pub scene: Scene,
    pub views: Views,
    /// The view on the screen.
    pub tab: Tab,
    pub overlay: Option<Overlay>,
    /// The last search, for `n` and `N`, in execution order.
    pub found: Vec<HookPoint>,
    /// The last search for places.
    pub(super) searched: Option<String>,
    /// An earlier session's experiment that can be restored.
    pub offer: Option<Offer>,
    /// The tour of this model, if it has one.
    pub tour: Option<Tour>,
    /// An experiment is being opened.
    pub(super) opening: bool,
    /// The place in the view that the pointer is over.
    pub hovered: Option<Hit>,
    /// What `grid` varies, kept for the experiment's file.
    pub(super) grid: Option<GridTable>,
    pub(super) jumps: Jumps,
    /// The run and the requests on the screen when something was last posted.
    pub(super) posted: Option<(u64, Vec<Request>)>,
}

/// An experiment that an earlier session saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub path: PathBuf,
    /// Its model, prompt and edits, in a few words.
    pub what: String,
}

/// What the explorer opens with.
#[derive(Clone, Debug)]
pub struct Opening {
    pub model: ModelInfo,
    pub schema: Schema,
    /// Hugging Face's module tree.
    pub modules: Vec<Module>,
    /// The checkpoints of the model's training.
    pub checkpoints: Checkpoints,
    pub keys: Keymap,
    /// Whether the terminal has enough colours to halve a row of the screen.
    pub halves: bool,
    pub setup: Setup,
    /// Columns and rows of the screen.
    pub size: (u16, u16),
}

impl State {
    #[must_use]
    pub fn new(opening: Opening) -> Self {
        let Opening { model, schema, modules, checkpoints, keys, halves, setup, size } = opening;
        let scene = Scene {
            model,
            trees: Trees::new(&schema, &modules),
            schema,
            dictionaries: setup.dictionaries.clone(),
            keys,
            prompts: Prompts::default(),
            cursor: Cursor::default(),
            target: None,
            distractor: Distractor::Likeliest,
            edits: EditList::default(),
            stops: Stops::default(),
            chosen_compare: Compare::Edited,
            reading: Reading::Value,
            runs: Runs::default(),
            checkpoints,
            results: None,
            layout: Layout::new(size, halves),
            message: None,
            against: None,
        };
        let mut state = Self {
            scene,
            views: Views::default(),
            tab: Tab::Diagram,
            overlay: None,
            found: Vec::new(),
            searched: None,
            offer: None,
            tour: None,
            opening: false,
            hovered: None,
            grid: None,
            jumps: Jumps::default(),
            posted: None,
        };
        state.set_up(setup);
        state.scene.edits.forget();
        state
    }

    /// The view on the screen.
    #[must_use]
    pub fn view(&self) -> &dyn View {
        self.views.get(self.tab)
    }

    /// The view on the screen, and the scene that it shares with the other views.
    pub(super) fn view_mut(&mut self) -> (&mut dyn View, &mut Scene) {
        (self.views.get_mut(self.tab), &mut self.scene)
    }

    /// Offer to restore the experiment of an earlier session.
    pub fn offer(&mut self, offer: Option<Offer>) {
        if let Some(Offer { what, .. }) = &offer {
            let key = self.scene.key(Action::Open);
            self.scene.say(format!("last session: {what}; press {key}, then Enter, to restore it"));
        }
        self.offer = offer;
    }

    /// Show the notes from loading the model, in addition to the current message.
    pub fn note(&mut self, notes: &[String]) {
        if notes.is_empty() {
            return;
        }
        let shown = self.scene.message.take().map(|message| message.text);
        let all: Vec<String> = notes.iter().cloned().chain(shown).collect();
        self.scene.say(all.join("; "));
    }

    /// The view as a table; None while it is being computed, or if there is nothing to see.
    #[must_use]
    pub fn table(&self) -> Option<Table> {
        self.view().table(&self.scene)
    }

    /// A file name without extension, or a title, that describes the view.
    #[must_use]
    pub fn table_name(&self) -> String {
        let (view, scene) = (self.view(), &self.scene);
        let (own, other) = (scene.model.name.as_str(), scene.beside());
        let (model, compare) = match (&scene.against, scene.compare()) {
            _ if !view.compares(scene) || !scene.is_compared() => (own, String::new()),
            (None, compare) => (own, format!("-{compare}")),
            (Some(_), Compare::Edited) => (own, String::new()),
            (Some(_), Compare::Difference) => (own, format!("-less-{other}")),
            (Some(_), Compare::Baseline) => (other, String::new()),
        };
        let reading = match scene.reading {
            Reading::Gradient | Reading::TimesValue | Reading::TimesChange if view.reads() => {
                format!("-{}", scene.reading)
            }
            Reading::Value | Reading::Gradient | Reading::TimesValue | Reading::TimesChange => String::new(),
        };
        plain(&format!("{model}-{}{reading}{compare}", view.table_name(scene)))
    }

    /// The view beside the main one, if there is room for two.
    #[must_use]
    pub fn side(&self) -> Option<Tab> {
        let beside = self.view().about().beside.parse().ok();
        beside.filter(|_| !self.scene.layout.areas().side.is_empty())
    }

    /// What the views on the screen need from the engine, the main one's first.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        let (scene, areas) = (&self.scene, self.scene.layout.areas());
        let main = self.view().request(scene, inside(areas.view));
        let side = self.side().and_then(|tab| self.views.get(tab).request(scene, inside(areas.side)));
        main.into_iter().chain(side).chain(self.asked_beside_views()).collect()
    }

    /// The requests that are unanswered or only partly answered.
    fn open_requests(&self) -> Vec<Request> {
        let filling = self.view().is_filling(&self.scene)
            || self.side().is_some_and(|tab| self.views.get(tab).is_filling(&self.scene));
        let mut requests = self.requests();
        requests.retain(|request| filling || !self.scene.runs.is_answered(request));
        requests
    }

    /// A complete description of what is wanted now: from the current run, or from the previous one if the current one
    /// failed.
    #[must_use]
    pub fn want(&self) -> Want {
        let (requests, runs) = (self.open_requests(), &self.scene.runs);
        match (&runs.shown, &runs.phase) {
            (Some(shown), Phase::Failed(_) | Phase::Cancelled) => {
                let (spec, hold) = (shown.spec.clone(), shown.hold.clone());
                Want { run: shown.run, spec, requests, measure: false, hold }
            }
            (Some(_), Phase::Running { .. } | Phase::Done) | (None, _) => {
                let spec = self.scene.spec();
                let measure = self.scene.checkpoints.wants(&spec, self.view().measures(), &self.scene.stops);
                // a new run answers everything anew
                let new = runs.shown.as_ref().is_none_or(|shown| shown.run != runs.number);
                let requests = if new { self.requests() } else { requests };
                Want { run: runs.number, spec, requests, measure, hold: self.scene.stops.hold() }
            }
        }
    }

    /// Whether the answers to all requests of the views are on the screen.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.requests().iter().all(|request| self.scene.runs.is_answered(request))
    }

    /// Whether a requested answer is still missing.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        match self.scene.runs.phase {
            Phase::Running { .. } => true,
            Phase::Done => !self.is_answered(),
            Phase::Failed(_) | Phase::Cancelled => false,
        }
    }

    /// Bring cursors and scroll offsets back into range.
    pub(super) fn settle(&mut self) {
        // comes first, because everything else depends on the room it leaves
        self.scene.layout.caption = tour::rows(self.view(), &self.scene, self.tour.as_ref());
        self.scene.layout.readable = self.view().readable();
        self.scene.settle();
        for tab in Tab::ALL {
            self.views.get_mut(*tab).settle(&self.scene);
        }
    }
}
