//! The text below the view, broken into rows: a tour's caption or, in presenter mode without a tour, a description of
//! the screen.

use super::{Step, steps::Tour};
use crate::{
    engine::Prediction,
    hooks::description,
    keys::Keymap,
    paint::{ColorDepth, Theme, text},
    views::{Panels, Scene, View, keymap},
};

/// The kind of text in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::explorer) enum Part {
    Said,
    Formula,
    Press,
    /// The change of the prediction.
    Change,
}

/// A row of text.
pub(in crate::explorer) type Line = (Part, String);

/// The rows at a given width; none without a tour, unless in presenter mode.
pub(in crate::explorer) fn shown(
    view: &dyn View,
    scene: &Scene,
    tour: Option<&Tour>,
    width: usize,
    theme: Theme,
) -> Vec<Line> {
    let presented = scene.layout.panels == Panels::Presented;
    let step = tour.and_then(Tour::step).map(|(_, step)| step);
    let mut lines = vec![];
    let mut add = |part: Part, said: &str| {
        let said = text::visible(&text::plain(said, theme), theme);
        lines.extend(text::wrap(&said, width.max(1)).into_iter().map(|row| (part, row)));
    };
    match step {
        Some(step) => {
            add(Part::Said, &step.say);
            // on a projector, the sentence is enough
            if let Some(formula) = step.formula.as_deref().filter(|_| !presented) {
                add(Part::Formula, formula);
            }
            if let Some(press) = press(step, &scene.keys) {
                add(Part::Press, &press);
            }
        }
        None if presented => add(Part::Said, &explained(view, scene)),
        None => {}
    }
    if presented && let Some(change) = change(scene, theme) {
        add(Part::Change, &change);
    }
    lines
}

/// One sentence about the screen: the selected hook, or what the view shows in its place.
fn explained(view: &dyn View, scene: &Scene) -> String {
    match view.subject(scene) {
        Some(subject) => format!("{} ({subject})", view.about().doc),
        None => description(scene.point(), &scene.schema.dims).into_owned(),
    }
}

/// The rows that the whole text takes, in the character set that needs more of them.
pub(in crate::explorer) fn rows(view: &dyn View, scene: &Scene, tour: Option<&Tour>) -> u16 {
    let width = usize::from(scene.layout.size.0.saturating_sub(2));
    let rows = |ascii| {
        shown(view, scene, tour, width, Theme { depth: ColorDepth::None, ascii, light: false, pixels: None }).len()
    };
    u16::try_from(rows(false).max(rows(true))).unwrap_or(u16::MAX)
}

/// As much text as fits in `room` rows of `width` columns: the formula is left out first, then the end of the caption.
pub(in crate::explorer) fn fitted(mut lines: Vec<Line>, room: usize, width: usize, theme: Theme) -> Vec<Line> {
    if lines.len() > room {
        lines.retain(|(part, _)| *part != Part::Formula);
    }
    while lines.len() > room {
        let Some(last) = lines.iter().rposition(|(part, _)| *part == Part::Said).filter(|last| *last > 0) else {
            lines.truncate(room);
            break;
        };
        let (_, rest) = lines.remove(last);
        let said = &mut lines[last - 1].1;
        *said = text::cut(&format!("{said}{rest}"), width, theme);
    }
    lines
}

/// `press a to ablate the head`, with the keys as they are bound.
fn press(step: &Step, keys: &Keymap) -> Option<String> {
    let press = step.press.as_ref()?;
    let usual = keymap();
    let names = press.keys.iter().map(|key| match usual.action(&key.event()) {
        Some(action) if keys.action(&key.event()) != Some(action) => keys.key(action),
        _ => key.to_string(),
    });
    Some(format!("press {} to {}", names.collect::<Vec<_>>().join(" "), press.to))
}

/// `Mary 98.6 % -> John 91.2 %`: the likeliest next token before the edits and with them.
fn change(scene: &Scene, theme: Theme) -> Option<String> {
    let shown = scene.runs.shown.as_ref().filter(|shown| !shown.spec.edits.is_empty())?;
    let first = |rows: &[Vec<Prediction>], prob: fn(&Prediction) -> f64| {
        let likeliest = rows.last()?.first()?;
        let token = match likeliest.text.trim() {
            "" => &likeliest.text,
            token => token,
        };
        Some(format!("{token} {:.1} %", prob(likeliest) * 100.0))
    };
    let (was, is) = (first(&shown.summary.was, |p| p.baseline_prob)?, first(&shown.summary.top, |p| p.prob)?);
    Some(format!("{was} {} {is}", theme.to()))
}
