//! The explorer's state as an experiment, to be written and to continue from.

use toml::Spanned;

use super::{
    saved_view::{Experiment, SavedView, Setup},
    state::State,
};
use crate::{
    analysis::ObjectiveKind,
    experiment::{
        BreakpointTable, CircuitTable, ContinuationTable, Distractor, EditLine, KeptBreakpoint, Line, Token, VERSION,
        VectorLine, WatchTable,
    },
    hooks::{VectorDefinition, VectorName, Vectors},
    views::{Breakpoint, Stops, Tab},
};

impl State {
    /// Everything that determines the screen, as far as text can hold it.
    #[must_use]
    pub fn experiment(&self) -> Experiment {
        let (scene, prompts) = (&self.scene, &self.scene.prompts);
        let spanned = |text: String| Spanned::new(0..0, text);
        let ids = |tokens: &[Token]| {
            let skipped = usize::from(prompts.prepend_bos);
            Spanned::new(0..0, tokens.iter().skip(skipped).map(|token| token.id).collect())
        };
        let id = |token: &Token| spanned(format!("#{}", token.id));
        let breakpoint = |breakpoint: &Breakpoint| BreakpointTable {
            when: spanned(breakpoint.predicate.to_string()),
            on: breakpoint.on,
            log: breakpoint.logs,
        };
        let vectors = scene.schema.vectors().defined();
        let vector = |(name, of): (&VectorName, &VectorDefinition)| VectorLine {
            name: spanned(name.to_string()),
            source: spanned(of.text.clone()),
        };
        let line = |line: &EditLine| Line { line: spanned(line.edit.to_string()), on: line.on };
        Experiment {
            version: VERSION,
            model: scene.model.source.clone(),
            revision: scene.model.branch.clone().or_else(|| scene.model.revision.clone()),
            processing: scene.model.processing,
            prompt: Some(prompts.text.clone()),
            tokens: Some(ids(prompts.prompt())),
            contrast: prompts.contrast.is_some().then(|| prompts.contrast_text.clone()),
            contrast_tokens: prompts.contrast.as_deref().map(ids),
            prepend_bos: prompts.prepend_bos,
            enable: scene.schema.enabled().iter().map(|point| spanned(point.to_string())).collect(),
            metric: self.views.sweep.written_metric(),
            target: scene.target.as_ref().map(id),
            distractor: match &scene.distractor {
                Distractor::Likeliest => None,
                Distractor::None => Some(spanned(String::new())),
                Distractor::Chosen(token) => Some(id(token)),
            },
            circuit: self.views.circuit.kept(self.tab == Tab::Circuit).as_ref().map(CircuitTable::from),
            grid: self.grid.clone(),
            dictionary: scene.dictionaries.clone(),
            vector: vectors.iter().map(vector).collect(),
            edit: scene.edits.lines.iter().map(line).collect(),
            breakpoint: scene.stops.breakpoints.iter().map(breakpoint).collect(),
            watch: scene.stops.watches.iter().map(|watch| WatchTable { value: spanned(watch.to_string()) }).collect(),
            continuation: ContinuationTable::new(&self.views.continuation.kept(scene)),
            view: Some(Spanned::new(
                0..0,
                SavedView {
                    tab: self.tab,
                    hook: scene.point(),
                    head: scene.cursor.head,
                    position: scene.cursor.pos.min(prompts.prompt().len().saturating_sub(1)),
                    key: scene.cursor.key.min(prompts.prompt().len().saturating_sub(1)),
                    compare: scene.chosen_compare,
                    reading: scene.reading,
                    map: self.views.sweep.map,
                    number: self.views.training.quantity,
                },
            )),
        }
    }

    /// Continue with another experiment on the same model. The previous prompt can be recalled, and the change of edits
    /// undone.
    pub(super) fn set_up(&mut self, setup: Setup) {
        let (scene, views) = (&mut self.scene, &mut self.views);
        let (text, tokens) = setup.prompt;
        let prompts = &mut scene.prompts;
        let earlier = std::mem::replace(&mut prompts.text, text);
        if prompts.text != earlier && !prompts.tokens.is_empty() {
            prompts.earlier.push(earlier);
        }
        if prompts.tokens != tokens || prompts.generated > 0 {
            // nothing of the previous prompt may stay on the screen
            scene.runs.clear();
        }
        (scene.cursor.pos, scene.cursor.key) = (tokens.len().saturating_sub(1), 0);
        (prompts.tokens, prompts.generated, prompts.appended) = (tokens, 0, 0);
        let (text, tokens) = setup.contrast.map_or_else(Default::default, |(text, ids)| (text, Some(ids)));
        (prompts.contrast_text, prompts.contrast) = (text, tokens);
        prompts.prepend_bos = setup.prepend_bos;
        scene.schema.set_enabled(setup.enabled);
        *scene.schema.vectors_mut() = Vectors::from(setup.vectors);
        (scene.target, scene.distractor) = (setup.target, setup.distractor);
        views.sweep.chosen_metric = setup.metric;
        if setup.circuit.is_some() {
            // unless the experiment has a view
            self.tab = Tab::Circuit;
        }
        self.grid = setup.grid;
        views.circuit.open(setup.circuit, setup.metric.map(ObjectiveKind::from));
        if let Some(view) = setup.view {
            self.tab = view.tab;
            scene.select(view.hook);
            (scene.cursor.head, scene.cursor.pos, scene.cursor.key) = (view.head, view.position, view.key);
            (scene.chosen_compare, views.sweep.map) = (view.compare, view.map);
            scene.reading = view.reading;
            views.training.quantity = view.number;
        }
        let kept = |KeptBreakpoint { when, on, log }| Breakpoint { on, logs: log, ..Breakpoint::new(when) };
        let breakpoints = setup.breakpoints.into_iter().map(kept).collect();
        scene.stops = Stops { breakpoints, watches: setup.watches, ..Stops::default() };
        scene.edits.change(|lines, at| (*lines, *at) = (setup.edits, 0));
        views.continuation.open(setup.continuations);
        self.settle();
    }
}
