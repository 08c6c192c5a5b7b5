use std::sync::atomic::AtomicBool;

use crate::{
    engine::{AboutFeature, Ask, Compare, FeaturesAt, Finished, Needs, Promoted, Reads, Unseen, WithBaseline},
    hooks::HookPoint,
    views::Scene,
};

/// Features listed of a position.
const LISTED: usize = 200;
/// Tokens and neighbours listed of a feature.
const BESIDE: usize = 12;

#[derive(Clone, Debug, Default)]
pub struct Features {
    /// The number of the dictionary, in the order of the pass.
    pub(super) dictionary: usize,
    /// The feature under the cursor; the strongest where none was chosen.
    pub(super) feature: Option<u32>,
    /// One feature over the tokens, rather than the features of a position.
    pub(super) over_tokens: bool,
}

/// The features of the dictionary at a hook, at a position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtPosition {
    pub hook: HookPoint,
    pub pos: usize,
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub architecture: String,
    pub features: WithBaseline<FeaturesAt>,
    /// Of the features of the run, by their place: their labels, and the tokens that they promote most.
    pub labels: Vec<Option<String>>,
    pub promoted: Vec<Vec<String>>,
}

/// One feature, by the dictionary's hook.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfFeature {
    pub hook: HookPoint,
    pub feature: u32,
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Followed {
    /// By position.
    pub activations: WithBaseline<Vec<f32>>,
    pub about: AboutFeature,
    /// The tokens of [`AboutFeature::tokens`], as text.
    pub promoted: Vec<String>,
    pub suppressed: Vec<String>,
}

impl Ask for AtPosition {
    type Answer = Found;

    fn needs(&self) -> Needs {
        Needs::Hook(self.hook)
    }

    fn reads(&self) -> Reads {
        Reads::Weights
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        _cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Found),
    ) -> Result<Found, Unseen> {
        let at = |positions: &[FeaturesAt]| positions.get(self.pos).cloned();
        let (mut features, dictionary) = finished.features(self.hook, at)?;
        features.run.features.truncate(LISTED);
        let engine = &finished.engine;
        let ids: Vec<u32> = features.run.features.iter().map(|(id, _)| *id).collect();
        let tokens = engine.feature_tokens(&dictionary, &ids, 4)?.unwrap_or_default();
        let text = |found: &Promoted| found.promoted.iter().map(|(id, _)| engine.loaded.tokenizer.token(*id)).collect();
        Ok(Found {
            architecture: dictionary.architecture.clone(),
            labels: ids.iter().map(|id| dictionary.labels.get(id).cloned()).collect(),
            promoted: tokens.iter().map(text).collect(),
            features,
        })
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        let (raw, _) = that.features(self.hook, |positions: &[FeaturesAt]| positions.get(self.pos).cloned())?;
        let found = self.answer(this, cancel, tell)?;
        Ok(Found { features: WithBaseline::of_two(found.features, raw), ..found })
    }
}

impl Ask for OfFeature {
    type Answer = Followed;

    fn needs(&self) -> Needs {
        Needs::Hook(self.hook)
    }

    fn reads(&self) -> Reads {
        Reads::Weights
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        _cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Followed),
    ) -> Result<Followed, Unseen> {
        let of = |at: &FeaturesAt| at.features.iter().find(|(id, _)| *id == self.feature).map_or(0.0, |(_, x)| *x);
        let every = |positions: &[FeaturesAt]| Some(positions.iter().map(of).collect::<Vec<f32>>());
        let (activations, _) = finished.features(self.hook, every)?;
        let engine = &finished.engine;
        let about = engine.about_feature(self.hook, self.feature, BESIDE)?;
        let texts = |list: &[(u32, f32)]| list.iter().map(|(id, _)| engine.loaded.tokenizer.token(*id)).collect();
        let sides = about.tokens.as_ref().map(|found| (texts(&found.promoted), texts(&found.suppressed)));
        let (promoted, suppressed) = sides.unwrap_or_default();
        Ok(Followed { activations, about, promoted, suppressed })
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        let (this, that) = (self.answer(this, cancel, &mut |_| {})?, self.answer(that, cancel, &mut |_| {})?);
        let Followed { activations, about, promoted, suppressed } = this;
        Ok(Followed { activations: WithBaseline::of_two(activations, that.activations), about, promoted, suppressed })
    }
}

/// A feature in the list, the comparison applied.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listed {
    pub id: u32,
    pub value: f64,
    /// In the unedited run.
    pub was: Option<f64>,
    pub label: Option<String>,
    pub promoted: Vec<String>,
}

impl Features {
    /// The hook of the dictionary that is shown, and the number of its features.
    pub(super) fn hook(&self, scene: &Scene) -> Option<(HookPoint, usize)> {
        let all = scene.schema.dictionaries();
        let at = self.dictionary.min(all.len().saturating_sub(1));
        all.iter().nth(at).map(|(hook, d_sae)| (*hook, *d_sae))
    }

    pub(super) fn ask(&self, scene: &Scene) -> Option<AtPosition> {
        self.hook(scene).map(|(hook, _)| AtPosition { hook, pos: scene.cursor.pos })
    }

    pub(super) fn found<'a>(&self, scene: &'a Scene) -> Option<Result<&'a Found, &'a str>> {
        scene.seen(&self.ask(scene)?)
    }

    /// The list at the position: the strongest first, of a difference what moved most.
    pub(super) fn listed(&self, scene: &Scene) -> Option<Vec<Listed>> {
        let found = self.found(scene)?.ok()?;
        let before = found.features.baseline.as_ref();
        let of = |at: &FeaturesAt, id: u32| {
            at.features.iter().find(|(other, _)| *other == id).map_or(0.0, |(_, x)| f64::from(*x))
        };
        let named = |id: u32| {
            let at = found.features.run.features.iter().position(|(other, _)| *other == id);
            let label = at.and_then(|at| found.labels.get(at).cloned().flatten());
            (label, at.and_then(|at| found.promoted.get(at).cloned()).unwrap_or_default())
        };
        let listed = |id: u32| {
            let (label, promoted) = named(id);
            let was = before.map(|before| of(before, id));
            let now = of(&found.features.run, id);
            let value = match (scene.compare(), was) {
                (_, None) | (Compare::Edited, _) => now,
                (Compare::Baseline, Some(was)) => was,
                (Compare::Difference, Some(was)) => now - was,
            };
            Listed { id, value, was, label, promoted }
        };
        let mut ids: Vec<u32> = found.features.run.features.iter().map(|(id, _)| *id).collect();
        if scene.compare() != Compare::Edited {
            ids.extend(before.iter().flat_map(|before| &before.features).map(|(id, _)| *id));
            ids.sort_unstable();
            ids.dedup();
        }
        let mut all: Vec<Listed> = ids.into_iter().map(listed).filter(|one| one.value != 0.0).collect();
        all.sort_by(|a, b| b.value.abs().total_cmp(&a.value.abs()).then(a.id.cmp(&b.id)));
        Some(all)
    }

    /// The feature under the cursor.
    pub(super) fn chosen(&self, scene: &Scene) -> Option<u32> {
        if self.over_tokens {
            return self.feature;
        }
        let Some(all) = self.listed(scene) else { return self.feature };
        let here = self.feature.filter(|id| all.iter().any(|one| one.id == *id));
        here.or_else(|| all.first().map(|one| one.id))
    }

    pub(super) fn followed<'a>(&self, scene: &'a Scene) -> Option<Result<&'a Followed, &'a str>> {
        let (hook, _) = self.hook(scene)?;
        scene.seen(&OfFeature { hook, feature: self.chosen(scene)? })
    }

    /// The chosen feature at every position, the comparison applied.
    pub(super) fn activations(&self, scene: &Scene) -> Option<Vec<f32>> {
        let followed = self.followed(scene)?.ok()?;
        Some(followed.activations.compared(scene.compare()))
    }
}
