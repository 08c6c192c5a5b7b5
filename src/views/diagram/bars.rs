//! The bars at a picture's marks: how far edits changed each hook or, if gradients are shown, their totals.

use std::collections::BTreeMap;

use ratatui::style::Style;

use super::state::Diagram;
use crate::{
    engine::Reading,
    hooks::HookPoint,
    paint::{Theme, change_share, scale::Scale, text},
    views::Scene,
};

/// A number for each hook, and the number of a full bar.
pub(super) struct Bars<'a> {
    of: Option<&'a BTreeMap<HookPoint, f64>>,
    full: f64,
    reading: Reading,
}

impl<'a> Bars<'a> {
    pub fn new(scene: &'a Scene) -> Self {
        let reading = scene.reading;
        if reading == Reading::Value {
            return Self { of: scene.runs.shown.as_ref().map(|shown| &shown.changes), full: 1.0, reading };
        }
        let of = Diagram::seen(scene).and_then(Result::ok).map(|totals| &totals.0);
        let sizes = of.into_iter().flatten().map(|(_, total)| total.abs()).filter(|x| x.is_finite());
        Self { of, full: sizes.fold(0.0, f64::max), reading }
    }

    /// A hook's bar; None for 0.
    pub fn of(&self, point: HookPoint, theme: Theme) -> Option<(char, Style)> {
        self.bar(*self.of?.get(&point)?, theme)
    }

    /// The largest bar of a block.
    pub fn of_block(&self, block: usize, theme: Theme) -> Option<(char, Style)> {
        let in_block = self.of?.iter().filter(|(point, _)| point.block() == Some(block)).map(|(_, x)| *x);
        self.bar(in_block.max_by(|a, b| a.abs().total_cmp(&b.abs()))?, theme)
    }

    /// Its height spans three decades; its colour shows the sign of a sum.
    fn bar(&self, x: f64, theme: Theme) -> Option<(char, Style)> {
        if x == 0.0 {
            return None;
        }
        let share = change_share(x.abs() / self.full);
        let bar = theme.bar(share);
        let signed = match self.reading {
            Reading::Value | Reading::Gradient => return Some((bar, theme.changed())),
            Reading::TimesValue | Reading::TimesChange => Scale::Around(1.0).paint(x.signum(), theme),
        };
        Some((bar, signed.color.map_or(signed.shade_style, |color| Style::new().fg(color))))
    }

    /// What the bars of gradients measure: the selected hook's number, and the number of a full bar; from the longest
    /// form to the shortest.
    pub fn legends(&self, scene: &Scene, theme: Theme) -> Vec<String> {
        let sign = if theme.ascii { "+/-" } else { "±" };
        let (what, sign) = match self.reading {
            Reading::Value => return vec![],
            Reading::Gradient => ("norm", ""),
            Reading::TimesValue | Reading::TimesChange => ("sum", sign),
        };
        match Self::here(scene) {
            Ok(here) => {
                let full = text::number(self.full);
                vec![
                    format!("{what} here {here}, full bar {sign}{full} (3 decades)"),
                    format!("{what} {here} of {sign}{full}"),
                    format!("{what} {here}"),
                ]
            }
            Err(why) => vec![why],
        }
    }

    /// The same in a few words, from the longest form to the shortest; empty for values.
    pub fn notes(&self, scene: &Scene, theme: Theme) -> Vec<String> {
        let times = if theme.ascii { "x" } else { "×" };
        let what = match self.reading {
            Reading::Value => return vec![],
            Reading::Gradient => "gradient norm".into(),
            Reading::TimesValue => format!("{times} value sum"),
            Reading::TimesChange => format!("{times} change sum"),
        };
        match Self::here(scene) {
            Ok(here) => vec![format!("{what} {here} of {}", text::number(self.full)), format!("{what} {here}")],
            Err(why) => vec![why],
        }
    }

    /// The selected hook's number, or why there is none.
    fn here(scene: &Scene) -> Result<String, String> {
        match Diagram::seen(scene) {
            Some(Ok(_)) => Ok(Diagram::total(scene, scene.point()).map_or_else(|| "none".into(), text::number)),
            Some(Err(why)) => Err(why.to_string()),
            None => Err(scene.waiting_for_answer()),
        }
    }
}
