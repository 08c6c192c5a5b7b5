//! The explorer's view in an experiment: what the user was looking at, to be written and restored.

use serde::{Deserialize, Serialize};

use crate::{
    engine::{Compare, Map, Reading},
    experiment::{self, View, text},
    hooks::{HookPoint, Op, Schema},
    views::{Quantity, Tab},
};

/// An experiment with the explorer's view.
pub type Experiment = experiment::Experiment<SavedView>;

/// What the explorer opens or continues with.
pub type Setup = experiment::Setup<SavedView>;

/// What the user was looking at: the `[view]` table.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SavedView {
    #[serde(with = "text")]
    pub tab: Tab,
    #[serde(with = "text")]
    pub hook: HookPoint,
    #[serde(default)]
    pub head: usize,
    #[serde(default)]
    pub position: usize,
    #[serde(default)]
    pub key: usize,
    #[serde(default = "edited", with = "text")]
    pub compare: Compare,
    /// What is shown of activations; by default, their values.
    #[serde(default, with = "text", skip_serializing_if = "is_value")]
    pub reading: Reading,
    #[serde(default = "zero", with = "text")]
    pub map: Map,
    /// What Training charts.
    #[serde(default = "probability", with = "text")]
    pub number: Quantity,
}

fn edited() -> Compare {
    Compare::Edited
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_value(reading: &Reading) -> bool {
    *reading == Reading::Value
}

fn zero() -> Map {
    Map::Ablate(Op::Set(0.0))
}

fn probability() -> Quantity {
    Quantity::Probability
}

impl View for SavedView {
    fn map(&self) -> Map {
        self.map
    }

    fn check(&self, schema: &Schema, n_pos: Option<usize>) -> Result<(), String> {
        if !schema.all_points().contains(&self.hook) {
            return Err(format!("this model has no `{}`", self.hook));
        }
        let heads = Some(schema.dims.n_heads);
        for (what, value, n) in
            [("head", self.head, heads), ("position", self.position, n_pos), ("key", self.key, n_pos)]
        {
            if let Some(n) = n.filter(|n| value >= *n) {
                return Err(format!("{what} {value} is out of range: expected 0 to {}", n.saturating_sub(1)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_view_is_an_error_with_its_position() {
        let text = "version = 1\nmodel = 'demo'\n[view]\ntab = 'atention'\nhook = 'hook_embed'\n";
        let wrong = Experiment::parse(text).unwrap_err();
        assert_eq!(wrong.place(text), (4, 7));
        assert!(wrong.reason.contains("attention"), "{}", wrong.reason);
    }
}
