//! Holding a pass, and stepping through it.

use std::sync::Arc;

use super::{event::Effect, navigate::jump_to, state::State};
use crate::{
    analysis::short_number,
    engine::{Hit, Stopped, Summary, TokenBreakpoint, TokenHit},
    hooks::{BlockHook, HookPoint, Schema},
    keys::Action,
    predicate::Place,
    views::{Holding, Phase, Scene, Shown},
};

/// Hold the pass at the selected hook.
pub(super) fn hold(scene: &mut Scene) {
    let point = scene.point();
    if scene.schema.points().contains(&point) {
        hold_at(scene, point);
    } else {
        scene.refuse(format!("the forward pass does not compute {point}, so it can't be held there"));
    }
}

fn hold_at(scene: &mut Scene, point: HookPoint) {
    scene.stops.holding = Holding::At(point);
    scene.select(point);
}

/// Continue the held pass.
pub(super) fn go_on(scene: &mut Scene) {
    match scene.runs.held() {
        Some(stopped) => scene.stops.holding = Holding::Going { after: stopped.at },
        None => not_held(scene),
    }
}

fn not_held(scene: &mut Scene) {
    let hold = scene.key(Action::Hold);
    scene.refuse(format!("no pass is held; {hold} holds one at the selected hook"));
}

/// The hook that a step leads to from another; None at the end.
type To = fn(&Schema, HookPoint) -> Option<HookPoint>;

/// Step from the hook where the pass is held.
pub(super) fn step(scene: &mut Scene, to: To) {
    let at = match scene.stops.holding {
        // keys can come faster than the pass
        Holding::At(at) => at,
        Holding::Off | Holding::Going { .. } => match scene.runs.held() {
            Some(stopped) => stopped.at,
            None => return not_held(scene),
        },
    };
    if let Some(point) = to(&scene.schema, at) {
        hold_at(scene, point);
    } else {
        let on = scene.key(Action::Continue);
        scene.say(format!("there are no more hooks this way; {on} continues the pass"));
    }
}

/// The next hook.
pub(super) fn next(schema: &Schema, at: HookPoint) -> Option<HookPoint> {
    schema.points().into_iter().find(|point| *point > at)
}

/// The hook before.
pub(super) fn before(schema: &Schema, at: HookPoint) -> Option<HookPoint> {
    schema.points().into_iter().rev().find(|point| *point < at)
}

/// The end of the block, or of the next one; after the last block, of the pass.
pub(super) fn over(schema: &Schema, at: HookPoint) -> Option<HookPoint> {
    let end = |point: &HookPoint| matches!(point, HookPoint::Block(_, BlockHook::ResidPost));
    let points = schema.points();
    let later = || points.iter().filter(|point| **point > at);
    later().find(|point| end(point)).or_else(|| later().next_back()).copied()
}

/// The first hook outside the module of this one.
pub(super) fn out(schema: &Schema, at: HookPoint) -> Option<HookPoint> {
    let name = at.to_string();
    let module = name.rsplit_once('.').map(|(module, _)| format!("{module}."));
    let outside = |point: &HookPoint| module.as_ref().is_none_or(|module| !point.to_string().starts_with(module));
    let points = schema.points();
    let mut later = points.iter().filter(|point| **point > at);
    later.clone().find(|point| outside(point)).or_else(|| later.next_back()).copied()
}

/// The pass stopped.
pub(super) fn stopped(state: &mut State, run: u64, stopped: Stopped, so_far: Arc<Summary>) -> Vec<Effect> {
    let scene = &mut state.scene;
    let (spec, model, hold) = (scene.spec(), scene.model.clone(), scene.stops.hold());
    let Stopped { at, hits } = stopped.clone();
    let changes = so_far.changes.iter().map(|change| (change.point, change.relative)).collect();
    let shown = Shown { run, model, spec, summary: so_far, changes, hold, held: Some(stopped) };
    scene.runs.shown = Some(shown);
    scene.runs.phase = Phase::Done;
    // the pass is there already: no reason to run again
    scene.stops.holding = Holding::At(at);
    let (spec, hold) = (scene.spec(), scene.stops.hold());
    scene.runs.take(&scene.model, &spec, hold.as_ref());
    if hits.is_empty() {
        return vec![];
    }
    let said = hits.iter().filter_map(|hit| fire(scene, hit)).collect::<Vec<_>>().join("; ");
    // the first checkpoint at which it fires is what a visit with a breakpoint is for
    let visiting = scene.checkpoints.stay();
    let on = scene.key(if visiting { Action::VisitCheckpoints } else { Action::Continue });
    scene.say(match scene.checkpoints.revision().filter(|_| visiting) {
        Some(revision) => format!("stopped at {revision}: {said}; {on} visits the others"),
        None => format!("{said}; {on} continues"),
    });
    if let Some(hit) = hits.first() {
        go_to(state, &hit.first.place);
    }
    if visiting { vec![Effect::Stay] } else { vec![] }
}

/// Count a hit, and describe it.
fn fire(scene: &mut Scene, hit: &Hit) -> Option<String> {
    let mut holding = scene.stops.breakpoints.iter_mut().filter(|breakpoint| breakpoint.holds());
    let breakpoint = holding.nth(hit.breakpoint)?;
    breakpoint.hits += 1;
    breakpoint.last = Some(hit.first.clone());
    let more = match hit.places {
        0 | 1 => String::new(),
        2 => " and one more place".into(),
        places => format!(" and {} more places", places - 1),
    };
    Some(format!("{} = {}{more}", hit.first.place, short_number(hit.first.value)))
}

/// The sweep on the screen went on: if a breakpoint stopped it, count that, and go to the cell.
pub(super) fn swept(state: &mut State) {
    let (view, scene) = (&mut state.views.sweep, &mut state.scene);
    let Some(Ok(filling)) = view.seen(scene) else { return };
    let (Some(hit), Some(at)) = (filling.stopped.clone(), filling.stopped_at()) else { return };
    view.select(hit.cell, filling.grid.columns.len());
    let breakpoint = scene.stops.breakpoints.iter_mut().filter(|breakpoint| breakpoint.on).nth(hit.hit.breakpoint);
    if let Some(breakpoint) = breakpoint {
        breakpoint.hits += 1;
        breakpoint.last = Some(hit.hit.first);
    }
    let resume = scene.key(Action::Rerun);
    scene.say(format!("the sweep stopped at {at}; {resume} resumes it"));
}

/// A text came to its end: count the breakpoints that ended it.
pub(super) fn generated(scene: &mut Scene, found: &[TokenBreakpoint]) {
    let mut said = vec![];
    let on = scene.stops.breakpoints.iter_mut().filter(|breakpoint| breakpoint.on);
    for (breakpoint, found) in on.zip(found).filter(|(_, found)| !found.logs) {
        let Some(TokenHit { token, found: hit }) = &found.first else { continue };
        breakpoint.hits += 1;
        breakpoint.last = Some(hit.clone());
        said.push(format!("token {}: {} = {}", token + 1, hit.place, short_number(hit.value)));
    }
    if !said.is_empty() {
        scene.say(format!("the text stopped at {}", said.join("; ")));
    }
}

/// Show a place: its hook, with the cursor on it.
pub(super) fn go_to(state: &mut State, place: &Place) {
    jump_to(state, place.point);
    for (axis, index) in &place.at {
        state.scene.cursor.set_index(*axis, *index);
    }
}
