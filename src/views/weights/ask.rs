//! The view's requests, which need no run.

use std::sync::{Arc, atomic::AtomicBool};

use crate::engine::{
    Ask, AtDistance, Circuit, Composition, Direction, Engine, Finished, Needs, Promoted, Reads, Unseen,
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

/// A circuit of a head, `(block, head)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfCircuit {
    pub head: (usize, usize),
    pub circuit: Circuit,
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Directions {
    /// The strongest first: the singular value, and both sides.
    pub directions: Vec<(f64, Sides, Sides)>,
    /// Of a QK circuit, the strength at each distance.
    pub distances: Vec<AtDistance>,
}

/// A neuron of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfNeuron {
    pub block: usize,
    pub neuron: usize,
}

/// Composition scores between all heads; the answer is `[sender, receiver]`, both counted through the layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfComposition(pub Composition);

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
            let named =
                |Direction { value, left, right }: &Direction| (*value, sides(left, engine), sides(right, engine));
            let distances = match self.circuit {
                Circuit::Ov => vec![],
                Circuit::Qk { .. } => {
                    engine.by_distance(self.head, DISTANCES.min(engine.loaded.model.config.context))?
                }
            };
            Ok(Arc::new(Directions { directions: found.iter().map(named).collect(), distances }))
        };
        Ok(finished.of_weights(*self, of_weights)?)
    }

    /// The weights are those of this model.
    fn both(
        &self,
        this: &mut Finished<'_>,
        _that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        self.answer(this, cancel, tell)
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

    /// The weights are those of this model.
    fn both(
        &self,
        this: &mut Finished<'_>,
        _that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        self.answer(this, cancel, tell)
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
        let of_weights = |engine: &Engine| {
            let scores = engine.composition_scores(self.0)?;
            #[allow(clippy::cast_possible_truncation, reason = "shown with few digits")]
            let flat = scores.iter().flatten().flatten().flatten().map(|x| *x as f32).collect();
            Ok(Arc::new(flat))
        };
        Ok(finished.of_weights(*self, of_weights)?)
    }

    /// The weights are those of this model.
    fn both(
        &self,
        this: &mut Finished<'_>,
        _that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        self.answer(this, cancel, tell)
    }
}
