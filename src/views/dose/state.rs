use super::ask::{Curve, OfDose};
use crate::{
    engine::{Dose, DosePoint, Measure, Metric, Question, amounts, usual_amounts},
    hooks::{Edit, Op},
    views::Scene,
};

/// The number of amounts in a curve: odd, so that the middle is one.
const POINTS: usize = 33;

#[derive(Clone, Debug)]
pub struct Doses {
    pub(super) metric: Metric,
    /// The number of the point under the cursor; None for the edit's own amount.
    pub(super) point: Option<usize>,
    /// The range that is shown, and the edit that it was chosen for.
    range: Option<(Edit, (f32, f32))>,
}

impl Default for Doses {
    fn default() -> Self {
        Self { metric: Metric::Kl, point: None, range: None }
    }
}

/// Whether two edits differ in their numbers at most.
fn is_same(a: &Edit, b: &Edit) -> bool {
    let unified = |edit: &Edit| Edit { op: edit.op.with_number(1.0).unwrap_or(edit.op), ..edit.clone() };
    unified(a) == unified(b)
}

impl Doses {
    /// The line of the list whose number is varied: the selected one, else the last that has a number.
    pub(super) fn line(scene: &Scene) -> Option<usize> {
        let lines = &scene.edits.lines;
        let has = |at: &usize| {
            lines.get(*at).is_some_and(|line| line.on && line.edit.op.number().is_some_and(f32::is_finite))
        };
        Some(scene.edits.cursor).filter(has).or_else(|| (0..lines.len()).rev().find(has))
    }

    /// The varied edit.
    pub(super) fn edit(scene: &Scene) -> Option<&Edit> {
        Self::line(scene).map(|at| &scene.edits.lines[at].edit)
    }

    pub(super) fn range(&self, scene: &Scene) -> Option<(f32, f32)> {
        let edit = Self::edit(scene)?;
        let chosen = self.range.as_ref().filter(|(of, _)| is_same(of, edit)).map(|(_, range)| *range);
        chosen.or_else(|| usual_amounts(edit.op))
    }

    pub(super) fn ask(&self, scene: &Scene) -> Option<OfDose> {
        let (line, (from, to)) = (Self::line(scene)?, self.range(scene)?);
        let varied = scene.edits.lines[..line].iter().filter(|line| line.on).count();
        curve(scene, scene.edits.active(), varied, (from, to), POINTS)
    }

    pub(super) fn seen<'a>(&self, scene: &'a Scene) -> Option<Result<&'a Curve, &'a str>> {
        scene.seen(&self.ask(scene)?)
    }

    /// The number that is shown.
    pub(super) fn value(&self, measure: &Measure) -> f64 {
        match self.metric {
            Metric::Kl => measure.kl,
            Metric::LogitDiff => measure.logit_diff,
            Metric::Prob => measure.prob,
        }
    }

    /// The point under the cursor: the one that was moved to, else the nearest to the edit's own amount.
    pub(super) fn cursor_point(&self, scene: &Scene) -> usize {
        let nearest = || {
            let (from, to) = self.range(scene)?;
            let own = Self::edit(scene)?.op.number()?;
            let off = |at: &(usize, f32)| (at.1 - own).abs();
            let all = amounts(from, to, POINTS).into_iter().enumerate();
            all.min_by(|a, b| off(a).total_cmp(&off(b))).map(|(at, _)| at)
        };
        self.point.or_else(nearest).unwrap_or(0).min(POINTS - 1)
    }

    /// Keep the range while the edit's number changes.
    pub(super) fn keep_range(&mut self, scene: &Scene) {
        let edit = Self::edit(scene);
        if let (Some(edit), Some(range)) = (edit, self.range(scene)) {
            if !self.range.as_ref().is_some_and(|(of, _)| is_same(of, edit)) {
                self.point = None;
            }
            self.range = Some((edit.clone(), range));
        }
    }

    /// Widen or narrow the range twofold, around what does not move.
    pub(super) fn scale_range(&mut self, scene: &Scene, wider: bool) {
        let (Some(edit), Some((from, to))) = (Self::edit(scene).cloned(), self.range(scene)) else { return };
        let by = if wider { 2.0 } else { 0.5 };
        let range = (from * by, to * by);
        if range.0.is_finite() && range.1.is_finite() && range.0 < range.1 {
            self.range = Some((edit, range));
            self.point = None;
        }
    }

    /// Points of the curve as far as it is known.
    pub(super) fn points<'a>(&self, scene: &'a Scene) -> Option<Vec<&'a DosePoint>> {
        Some(self.seen(scene)?.ok()?.curve.points.iter().flatten().collect())
    }
}

/// A curve over the number of one of some edits.
#[must_use]
pub fn curve(scene: &Scene, edits: Vec<Edit>, varied: usize, (from, to): (f32, f32), points: usize) -> Option<OfDose> {
    let (target, distractor) = scene.answer()?;
    let question = Question { target: target.id, distractor: distractor.map(|token| token.id) };
    let op: Op = edits.get(varied)?.op;
    let mut amounts = amounts(from, to, points);
    amounts.retain(|amount| op.with_number(*amount).is_some());
    Some(OfDose(Dose { edits, varied, amounts, question, tokens: vec![] }, scene.compared_models()))
}
