//! Requests about the run on the screen that no view makes: of the list of places, the breakpoints and the watches.

use super::{
    overlay::Overlay,
    questions::{OfPlaces, OfWatches},
    state::State,
};
use crate::{
    engine::{Request, usual_amounts},
    hooks::Edit,
    predicate::Match,
    views::{
        Noted,
        dose::{OfDose, curve},
    },
};

impl State {
    /// The requests of the list of places, of the logging breakpoints and of the watches.
    pub(super) fn asked_beside_views(&self) -> Vec<Request> {
        let listed = match &self.overlay {
            Some(Overlay::Places(list)) => Some(Request::new(list.ask())),
            Some(_) | None => None,
        };
        let stops = &self.scene.stops;
        let logging = self.logging();
        let logging = (!logging.0.is_empty()).then(|| Request::new(logging));
        let watches = (!stops.watches.is_empty()).then(|| Request::new(OfWatches(stops.watches.clone())));
        let preview = self.preview().map(Request::new);
        listed.into_iter().chain(preview).chain(logging).chain(watches).collect()
    }

    /// The dose curve of an edit with a vector, while it is written.
    #[must_use]
    pub fn preview(&self) -> Option<OfDose> {
        /// Fewer than Dose has, so that they fit in a line.
        const POINTS: usize = 17;
        let Some(Overlay::Edit(editor)) = &self.overlay else { return None };
        let (edit, _) = editor.verdict.as_ref().ok()?;
        let range = usual_amounts(edit.op).filter(|_| edit.op.vector().is_some())?;
        let lines = &self.scene.edits.lines;
        let replaces = editor.replaces.filter(|at| *at < lines.len());
        let on = |range: std::ops::Range<usize>| {
            lines[range].iter().filter(|line| line.on).map(|line| line.edit.clone()).collect::<Vec<Edit>>()
        };
        let before = on(0..replaces.unwrap_or(lines.len()));
        let (varied, after) = (before.len(), replaces.map_or(vec![], |at| on(at + 1..lines.len())));
        let edits = [before, vec![edit.clone()], after].concat();
        curve(&self.scene, edits, varied, range, POINTS)
    }

    /// Where the logging breakpoints are true.
    pub(super) fn logging(&self) -> OfPlaces {
        OfPlaces(self.scene.stops.logging().map(|breakpoint| breakpoint.predicate.clone()).collect())
    }

    /// Update the hits of the logging breakpoints.
    pub(super) fn count_logged(&mut self) {
        let ask = self.logging();
        let Some(Ok(places)) = self.scene.seen(&ask) else { return };
        let places = places.clone();
        let logging = self.scene.stops.breakpoints.iter_mut().filter(|breakpoint| breakpoint.on && breakpoint.logs);
        for (breakpoint, places) in logging.zip(places) {
            breakpoint.hits = places.count;
            breakpoint.last = places.listed.into_iter().next();
        }
    }
    /// What the watches and the logging breakpoints found in the run on the screen.
    pub(super) fn noted(&self) -> Noted {
        let stops = &self.scene.stops;
        let mut noted = Noted::default();
        if let Some(Ok(all)) = self.scene.seen(&OfWatches(stops.watches.clone())) {
            let last = |values: &Vec<Match>| values.iter().map(|found| (found.place.point, found.value)).collect();
            let found = all.iter().map(|values| values.as_ref().map(last).unwrap_or_default());
            noted.watches = stops.watches.iter().cloned().zip(found).collect();
        }
        if let Some(Ok(places)) = self.scene.seen(&self.logging()) {
            let counts = places.iter().map(|places| places.count);
            noted.logged = stops.logging().map(|breakpoint| breakpoint.predicate.clone()).zip(counts).collect();
        }
        noted
    }
}
