//! The view's request, which the editor of edits makes too: a dose curve, and the vector of the varied edit.

use std::sync::atomic::AtomicBool;

use crate::{
    engine::{Ask, Compare, Control, Dose, DoseCurve, Finished, Needs, Reads, Spec, Steered, Unseen},
    hooks::Edit,
};

/// A dose curve, and which of two models it is of.
#[derive(Clone, Debug, PartialEq)]
pub struct OfDose(pub Dose, pub Compare);

/// The curve as far as it is computed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    pub curve: DoseCurve,
    /// The vector of the varied edit at each of its hooks.
    pub steered: Vec<Steered>,
}

impl Curve {
    /// Whether points are still to come.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        self.curve.points.iter().any(Option::is_none)
    }
}

impl OfDose {
    /// The varied edit.
    #[must_use]
    pub fn edit(&self) -> Option<&Edit> {
        self.0.edits.get(self.0.varied)
    }
}

impl Ask for OfDose {
    type Answer = Curve;

    fn needs(&self) -> Needs {
        Needs::Pass
    }

    fn reads(&self) -> Reads {
        Reads::Weights
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Curve),
    ) -> Result<Curve, Unseen> {
        let key = self.0.clone();
        if let Some(known) = finished.take::<Dose, Curve>(&key) {
            finished.keep(key, known.clone());
            return Ok(known);
        }
        let control = Control { cancel, progress: &|_, _| {} };
        let spec = &finished.outcome.spec;
        let mut each = |curve: &DoseCurve| tell(Curve { curve: curve.clone(), steered: vec![] });
        let curve = finished.engine.dose(spec, &self.0, control, &mut each)?;
        let varied = Spec { edits: self.edit().cloned().into_iter().collect(), ..spec.clone() };
        let steered = finished.engine.steered(&varied, &finished.outcome.baseline)?;
        let known = Curve { curve, steered };
        finished.keep(key, known.clone());
        Ok(known)
    }
    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        match self.1 {
            Compare::Edited => self.answer(this, cancel, tell),
            Compare::Baseline => self.answer(that, cancel, tell),
            Compare::Difference => {
                let (this, that) = (self.answer(this, cancel, &mut |_| {})?, self.answer(that, cancel, &mut |_| {})?);
                Ok(Curve { curve: this.curve.less(&that.curve), ..this })
            }
        }
    }
}
