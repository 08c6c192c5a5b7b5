//! The view's requests, which need no run.

use std::sync::{Arc, atomic::AtomicBool};

use crate::{
    engine::{
        Ask, AtDistance, Circuit, Compare, Composition, Differing, Direction, Engine, Finished, Needs, Promoted, Reads,
        Unseen,
    },
    hooks::RunError,
};

/// Singular directions of a circuit, and tokens on each of their sides.
const DIRECTIONS: usize = 16;
const TOKENS: usize = 24;

/// Distances of a QK circuit.
const DISTANCES: usize = 64;

/// A token with its number.
pub type Weighed = (String, f32);

/// Tokens that a direction raises and lowers most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sides {
    pub promoted: Vec<Weighed>,
    pub suppressed: Vec<Weighed>,
}

/// A circuit of a head, `(block, head)`, of one of two models or their difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfCircuit {
    pub head: (usize, usize),
    pub circuit: Circuit,
    pub compare: Compare,
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Directions {
    /// The strongest first: the singular value, and both sides.
    pub directions: Vec<(f64, Sides, Sides)>,
    /// Of a QK circuit, the strength at each distance.
    pub distances: Vec<AtDistance>,
    /// Of the difference of two models' circuits, its norm relative to that model's circuit.
    pub relative: Option<f64>,
}

/// A neuron of a block, of one of two models or their difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfNeuron {
    pub block: usize,
    pub neuron: usize,
    pub compare: Compare,
}

/// Composition scores between all heads, of one of two models or their difference; the answer is `[sender, receiver]`, both counted
/// through the layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfComposition(pub Composition, pub Compare);

impl OfCircuit {
    fn distances(&self, engine: &Engine) -> Result<Vec<AtDistance>, RunError> {
        match self.circuit {
            Circuit::Ov => Ok(vec![]),
            Circuit::Qk { .. } => engine.by_distance(self.head, DISTANCES.min(engine.loaded.model.config.context)),
        }
    }

    /// The circuit of this model minus that of another, between tokens; and the strength minus that one's at each distance.
    fn difference(&self, this: &Engine, that: &Engine) -> Result<Directions, RunError> {
        let Differing { directions, relative } =
            this.differing_directions(that, self.head, self.circuit, DIRECTIONS, TOKENS)?;
        let less = |(this, that): (AtDistance, AtDistance)| AtDistance {
            distance: this.distance,
            norm: this.norm - that.norm,
            bias: this.bias - that.bias,
        };
        let distances = self.distances(this)?.into_iter().zip(self.distances(that)?).map(less).collect();
        Ok(Directions { directions: named(&directions, this), distances, relative: Some(relative) })
    }
}

fn named(found: &[Direction], engine: &Engine) -> Vec<(f64, Sides, Sides)> {
    let named = |Direction { value, left, right }: &Direction| (*value, sides(left, engine), sides(right, engine));
    found.iter().map(named).collect()
}

/// Tokens with their text.
fn sides(found: &Promoted, engine: &Engine) -> Sides {
    let named = |list: &[(u32, f32)]| list.iter().map(|(id, x)| (engine.loaded.tokenizer.token(*id), *x)).collect();
    Sides { promoted: named(&found.promoted), suppressed: named(&found.suppressed) }
}

impl Ask for OfCircuit {
    type Answer = Arc<Directions>;

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn reads(&self) -> Reads {
        Reads::Weights
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        _cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        let of_weights = |engine: &Engine| {
            let found = engine.singular_directions(self.head, self.circuit, DIRECTIONS, TOKENS)?;
            let (directions, distances) = (named(&found, engine), self.distances(engine)?);
            Ok(Arc::new(Directions { directions, distances, relative: None }))
        };
        Ok(finished.of_weights(*self, of_weights)?)
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        match self.compare {
            Compare::Edited => self.answer(this, cancel, tell),
            Compare::Baseline => self.answer(that, cancel, tell),
            Compare::Difference => {
                let that = &*that.engine;
                Ok(this.of_weights(*self, |this| Ok(Arc::new(self.difference(this, that)?)))?)
            }
        }
    }
}

impl Ask for OfNeuron {
    type Answer = Arc<Sides>;

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn reads(&self) -> Reads {
        Reads::Weights
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        _cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        let of_weights = |engine: &Engine| {
            let found = engine.neuron_tokens(self.block, self.neuron, TOKENS)?;
            Ok(Arc::new(sides(&found, engine)))
        };
        Ok(finished.of_weights(*self, of_weights)?)
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        match self.compare {
            Compare::Edited => self.answer(this, cancel, tell),
            Compare::Baseline => self.answer(that, cancel, tell),
            Compare::Difference => {
                let that = &*that.engine;
                Ok(this.of_weights(*self, |this| {
                    let found = this.differing_neuron_tokens(that, (self.block, self.neuron), TOKENS)?;
                    Ok(Arc::new(sides(&found, this)))
                })?)
            }
        }
    }
}

impl Ask for OfComposition {
    type Answer = Arc<Vec<f32>>;

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn reads(&self) -> Reads {
        Reads::Weights
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        _cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        Ok(finished.of_weights(*self, |engine| Ok(Arc::new(flat(&engine.composition_scores(self.0)?))))?)
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
                let that = &*that.engine;
                let less = |this: &Engine| {
                    let (this, that) =
                        (flat(&this.composition_scores(self.0)?), flat(&that.composition_scores(self.0)?));
                    Ok(Arc::new(this.iter().zip(&that).map(|(this, that)| this - that).collect()))
                };
                Ok(this.of_weights(*self, less)?)
            }
        }
    }
}

/// Composition scores, row-major.
#[allow(clippy::cast_possible_truncation, reason = "shown with few digits")]
fn flat(scores: &[Vec<Vec<Vec<f64>>>]) -> Vec<f32> {
    scores.iter().flatten().flatten().flatten().map(|x| *x as f32).collect()
}
