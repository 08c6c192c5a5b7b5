//! What is shown of activations, and the objective of gradients.

use unicode_width::UnicodeWidthStr;

use super::Scene;
use crate::{
    analysis::Objective,
    engine::{Compare, Numbers, Reading, no_change},
    keys::Action,
    paint::{Theme, text},
    views::cycle,
};

impl Scene {
    /// The numbers that views of activations request; None while the objective has no target.
    #[must_use]
    pub fn numbers(&self) -> Option<Numbers> {
        Numbers::of(self.reading, self.objective())
    }

    /// The logit difference after the last position.
    fn objective(&self) -> Option<Objective> {
        let (target, distractor) = self.answer()?;
        let pos = self.tokens().len().checked_sub(1)?;
        Some(Objective::LogitDiff { pos, target: target.id, distractor: distractor.map(|token| token.id) })
    }

    /// Whether activations are shown as signed numbers around 0: a difference, or a gradient.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.compare() == Compare::Difference || self.reading != Reading::Value
    }

    /// Cycle to the next reading. A reading that needs a contrast prompt is skipped with the reason if none can be
    /// compared.
    pub(crate) fn next_reading(&mut self) {
        self.reading = cycle(&Reading::ALL, self.reading, 1);
        let contrast = self.prompts.contrast.as_ref().map(Vec::len);
        if self.reading == Reading::TimesChange
            && let Some(why) = no_change(self.tokens().len(), contrast)
        {
            self.reading = Reading::Value;
            let key = self.key(Action::Contrast);
            self.say(format!("value again; no gradient x (contrast - prompt): {why} ({key} sets one)"));
        }
    }

    /// Why the numbers of an activation are not here yet.
    #[must_use]
    pub fn waiting_for_numbers(&self) -> String {
        match self.reading {
            Reading::Value => self.waiting(),
            Reading::Gradient | Reading::TimesValue | Reading::TimesChange => self.waiting_for_answer(),
        }
    }

    /// The title of an activation, with the reading if that is not its value. If that is wider than `room`, the name is
    /// shortened: `blocks.1.attn.hook_z` to `1.hook_z`.
    pub(crate) fn title_of(&self, name: &str, room: usize, theme: Theme) -> String {
        let Some((_, what)) = words(self.reading, theme) else { return name.to_string() };
        let whole = format!("{name}: {what}");
        match name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
            Some((block, hook)) if whole.width() > room => {
                let hook = hook.strip_prefix("attn.").or_else(|| hook.strip_prefix("mlp.")).unwrap_or(hook);
                text::cut(&format!("{block}.{hook}: {what}"), room, theme)
            }
            Some(_) | None => whole,
        }
    }

    /// The gradient that is shown, and its objective with its value, from the longest form to the shortest; empty if
    /// values are shown. The shortest form leaves the factor to the title.
    pub(crate) fn gradient_caption(&self, compare: Compare, theme: Theme) -> Vec<String> {
        let Some((long, short)) = words(self.reading, theme) else { return vec![] };
        let Some((target, distractor)) = self.answer() else { return vec![short] };
        let name = if distractor.is_some() { "logit-diff" } else { "logit" };
        let quoted = |token: &str| format!("\"{}\"", text::visible(token, theme));
        let of = match &distractor {
            Some(other) => format!("{} - {}", quoted(&target.text), quoted(&other.text)),
            None => quoted(&target.text),
        };
        let value = self.metric_value(target.id, distractor.map(|token| token.id), compare);
        let long = format!("d {name} / d value{long}");
        vec![
            format!("{long}   {name} {of} = {value}"),
            format!("{long}   {name} = {value}"),
            format!("{short}   {name} = {value}"),
            format!("{name} = {value}"),
            format!("{name} {value}"),
        ]
    }

    /// The logit difference of the run that is compared; for a difference, with the baseline's.
    fn metric_value(&self, target: u32, distractor: Option<u32>, compare: Compare) -> String {
        let Some(summary) = self.runs.shown.as_ref().map(|shown| &shown.summary) else { return String::new() };
        let of = |logits: &[f32]| {
            let logit = |id: u32| logits.get(id as usize).map_or(f64::NAN, |x| f64::from(*x));
            text::number(logit(target) - distractor.map_or(0.0, logit))
        };
        match compare {
            _ if summary.baseline_logits.is_empty() => of(&summary.logits),
            Compare::Edited => of(&summary.logits),
            Compare::Baseline => of(&summary.baseline_logits),
            Compare::Difference => format!("{}, was {}", of(&summary.logits), of(&summary.baseline_logits)),
        }
    }
}

/// The factor of a gradient, and the name of the product; None for values.
fn words(reading: Reading, theme: Theme) -> Option<(String, String)> {
    let times = if theme.ascii { "x" } else { "×" };
    let (long, short) = match reading {
        Reading::Value => return None,
        Reading::Gradient => (String::new(), "gradient".into()),
        Reading::TimesValue => (format!(" {times} value"), format!("gradient {times} value")),
        Reading::TimesChange => (format!(" {times} (contrast - prompt)"), format!("gradient {times} change")),
    };
    Some((long, short))
}
