use std::sync::Arc;

use super::ask::{Directions, OfCircuit, OfComposition, OfNeuron, Sides};
use crate::{
    engine::{Circuit, Composition, Request},
    hooks::Axis,
    views::Scene,
};

/// What is shown of the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum What {
    #[default]
    Ov,
    Qk,
    Neuron,
    Composition,
}

impl What {
    pub(super) const ALL: [Self; 4] = [Self::Ov, Self::Qk, Self::Neuron, Self::Composition];
    pub(super) const NAMES: [&'static str; 4] = ["OV", "QK", "neuron", "composition"];
}

/// The inputs that heads compose with.
pub(super) const KINDS: [Composition; 3] = [Composition::Q, Composition::K, Composition::V];

#[derive(Clone, Debug, Default)]
pub struct Weights {
    pub(super) what: What,
    /// The singular direction under the cursor.
    pub(super) direction: usize,
    /// Of QK, the distances are listed rather than the directions.
    pub(super) by_distance: bool,
    /// The distance between query and key.
    pub(super) distance: usize,
    /// The number of the composition in [`KINDS`].
    pub(super) kind: usize,
    /// The sender of a composition; the receiver is the head that all views share.
    pub(super) sender: usize,
}

impl Weights {
    /// The head that all views share, in its block.
    pub(super) fn head(scene: &Scene) -> (usize, usize) {
        (scene.block(), scene.cursor.head)
    }

    /// The neuron that all views share.
    pub(super) fn neuron(scene: &Scene) -> usize {
        scene.cursor.index(Axis::DMlp).min(scene.schema.dims.d_mlp.saturating_sub(1))
    }

    /// The receiver of a composition, counted through the layers.
    pub(super) fn receiver(scene: &Scene) -> usize {
        scene.block() * scene.schema.dims.n_heads + scene.cursor.head
    }

    pub(super) fn circuit(&self, scene: &Scene) -> OfCircuit {
        let circuit = match self.what {
            What::Qk => Circuit::Qk { distance: self.distance },
            What::Ov | What::Neuron | What::Composition => Circuit::Ov,
        };
        OfCircuit { head: Self::head(scene), circuit, compare: scene.compared_models() }
    }

    fn of_neuron(scene: &Scene) -> OfNeuron {
        OfNeuron { block: scene.block(), neuron: Self::neuron(scene), compare: scene.compared_models() }
    }

    fn composition(&self, scene: &Scene) -> OfComposition {
        OfComposition(KINDS[self.kind], scene.compared_models())
    }

    pub(super) fn asks(&self, scene: &Scene) -> Request {
        match self.what {
            What::Ov | What::Qk => Request::new(self.circuit(scene)),
            What::Neuron => Request::new(Self::of_neuron(scene)),
            What::Composition => Request::new(self.composition(scene)),
        }
    }

    pub(super) fn directions<'a>(&self, scene: &'a Scene) -> Option<Result<&'a Arc<Directions>, &'a str>> {
        scene.seen(&self.circuit(scene))
    }

    pub(super) fn tokens(scene: &Scene) -> Option<Result<&Arc<Sides>, &str>> {
        scene.seen(&Self::of_neuron(scene))
    }

    pub(super) fn scores<'a>(&self, scene: &'a Scene) -> Option<Result<&'a Arc<Vec<f32>>, &'a str>> {
        scene.seen(&self.composition(scene))
    }

    /// The rows of the list that the cursor moves in.
    pub(super) fn rows(&self, scene: &Scene) -> usize {
        match (self.what, self.directions(scene)) {
            (What::Qk, Some(Ok(found))) if self.by_distance => found.distances.len(),
            (What::Ov | What::Qk, Some(Ok(found))) => found.directions.len(),
            (What::Ov | What::Qk | What::Neuron | What::Composition, _) => 0,
        }
    }
}

/// `L1H2`, by its number through the layers.
pub(super) fn name_of_head(number: usize, n_heads: usize) -> String {
    format!("L{}H{}", number / n_heads.max(1), number % n_heads.max(1))
}
