//! What an edit did, and the reason if it had no effect.

use std::{collections::BTreeMap, fmt};

use crate::hooks::{Axis, Edit, Effect, HookPoint, Op, Plan, Schema, Step, readers};

/// What one edit did: at its hook points, and by itself to the output.
#[derive(Clone, Debug, PartialEq)]
pub struct EditEffect {
    pub effect: Effect,
    /// KL(baseline || run with this edit alone) in nats, at each position from the first requested one.
    pub kl: Vec<f64>,
    /// Why it has no effect, if it has none.
    pub no_effect: Option<NoEffect>,
}

impl EditEffect {
    /// KL at the last position.
    #[must_use]
    pub fn kl_at_end(&self) -> f64 {
        self.kl.last().copied().unwrap_or(f64::NAN)
    }
}

/// Why an edit changed nothing, or why nothing of its change remains.
#[derive(Clone, Debug, PartialEq)]
pub enum NoEffect {
    /// Every key that it selects comes after its query: the mask hides it from the softmax.
    Masked,
    /// The operation leaves these values as they were.
    Already(Op),
    /// Another edit overwrites everything that its change could reach.
    Overwritten(Edit),
    /// It is the only edit, and no prediction changes: LayerNorm or softmax removes a constant, or nothing reads the
    /// values.
    NoOutputChange,
}

impl fmt::Display for NoEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Masked => f.write_str("masked: the keys come after their queries"),
            Self::Overwritten(by) => write!(f, "overwritten by {by}"),
            Self::NoOutputChange => {
                f.write_str("no prediction changes: LayerNorm or softmax removes the change, or nothing reads it")
            }
            Self::Already(op) => f.write_str(&op.unmoved()),
        }
    }
}

/// Why edit number `number` has no effect, if its plan and what it did show that.
pub(super) fn no_effect(
    number: usize,
    edits: &[Edit],
    plan: &Plan,
    effects: &[Effect],
    schema: &Schema,
) -> Option<NoEffect> {
    let own = || plan.steps.iter().filter(|step| step.edit == number);
    if effects[number].changed == 0 {
        return Some(if own().all(is_masked) { NoEffect::Masked } else { NoEffect::Already(edits[number].op) });
    }
    // an edit that changed nothing overwrote nothing
    let sets = |step: &Step| sets(step) && effects[step.edit].changed > 0;
    let lost = lost(plan, schema, &sets);
    let mut by = None;
    for step in own() {
        let at_once = plan
            .steps
            .iter()
            .find(|later| later.edit > number && later.point == step.point && sets(later) && covers(later, step));
        by = Some(at_once.map(|later| later.edit).or_else(|| lost.get(&step.point).copied())?);
    }
    by.map(|by| NoEffect::Overwritten(edits[by].clone()))
}

/// The hook points from which nothing reaches the logits, each with the edit that is the reason.
fn lost(plan: &Plan, schema: &Schema, sets: &dyn Fn(&Step) -> bool) -> BTreeMap<HookPoint, usize> {
    let set_whole = |point: HookPoint| {
        let whole = |step: &&Step| step.point == point && sets(step) && step.indices.along.iter().all(Option::is_none);
        plan.steps.iter().find(whole).map(|step| step.edit)
    };
    let mut lost = BTreeMap::new();
    // what reads a hook comes after it
    for point in schema.points().into_iter().rev() {
        let reasons = readers(point, schema).into_iter().map(|r| set_whole(r).or_else(|| lost.get(&r).copied()));
        if let Some(reason) = reasons.collect::<Option<Vec<_>>>().and_then(|all| all.first().copied()) {
            lost.insert(point, reason);
        }
    }
    lost
}

/// Whether nothing of the previous values remains.
fn sets(step: &Step) -> bool {
    // a path adds to what is there, and beside features there is what they leave out
    step.sent.is_none() && !step.features && step.op.overwrites()
}

/// Whether what one step selects at a hook contains what another does there.
fn covers(outer: &Step, inner: &Step) -> bool {
    let same_axes = outer.features == inner.features;
    let along = outer.indices.along.iter().zip(&inner.indices.along).enumerate();
    along.into_iter().all(|(axis, along)| match along {
        (None, _) => true,
        // features write to all of a position
        (Some(_), Some(_)) if axis > 0 && !same_axes => false,
        (Some(outer), Some(inner)) => inner.iter().all(|at| outer.contains(at)),
        (Some(_), None) => false,
    })
}

fn is_masked(step: &Step) -> bool {
    if !step.point.is_square() {
        return false;
    }
    let end = |axis: Axis, last: bool| {
        let i = step.indices.axes.iter().position(|a| *a == axis)?;
        match &step.indices.along[i] {
            Some(along) => if last { along.last() } else { along.first() }.copied(),
            None => Some(if last { step.indices.shape[i] - 1 } else { 0 }),
        }
    };
    matches!((end(Axis::Key, false), end(Axis::Query, true)), (Some(key), Some(query)) if key > query)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hooks::Dims, model::ACTIVATIONS};

    fn why(lines: &[&str], changed: usize) -> Option<String> {
        let dims = Dims {
            n_layers: 3,
            n_heads: 2,
            d_head: 4,
            d_model: 8,
            d_mlp: 16,
            d_vocab: 50,
            parallel: true,
            activation: ACTIVATIONS[0].words,
        };
        let schema = Schema::new(dims);
        let edits: Vec<Edit> = lines.iter().map(|line| line.parse().unwrap()).collect();
        let plan = Plan::resolve(&edits, &schema, 5, Some(5)).unwrap();
        let mut effects = vec![Effect { touched: 1, changed: 1, delta_l2: 1.0 }; edits.len()];
        effects[0].changed = changed;
        no_effect(0, &edits, &plan, &effects, &schema).map(|why| why.to_string())
    }

    #[test]
    fn an_edit_that_changed_nothing_gives_the_reason() {
        let pattern = "blocks.0.attn.hook_pattern[head=0 query=2 key=";
        assert_eq!(why(&[&format!("{pattern}3] = 0")], 0).unwrap(), "masked: the keys come after their queries");
        assert_eq!(why(&[&format!("{pattern}2] = 0")], 0).unwrap(), "already 0");
        assert_eq!(why(&["hook_embed *= 1"], 0).unwrap(), "a factor of 1");
        assert_eq!(why(&["hook_embed[pos=0] = patch"], 0).unwrap(), "the contrast prompt has the same values there");
        assert_eq!(why(&["hook_embed = 0"], 3), None);
    }

    #[test]
    fn an_edit_that_changed_nothing_overwrites_nothing() {
        let dims = Dims {
            n_layers: 1,
            n_heads: 1,
            d_head: 8,
            d_model: 8,
            d_mlp: 16,
            d_vocab: 50,
            parallel: true,
            activation: ACTIVATIONS[0].words,
        };
        let schema = Schema::new(dims);
        let edits = vec!["hook_embed = 0".parse::<Edit>().unwrap(); 2];
        let plan = Plan::resolve(&edits, &schema, 5, None).unwrap();
        let effects = [1, 0].map(|changed| Effect { touched: 1, changed, delta_l2: 0.0 });
        assert_eq!(no_effect(0, &edits, &plan, &effects, &schema), None);
        assert_eq!(no_effect(1, &edits, &plan, &effects, &schema), Some(NoEffect::Already(Op::Set(0.0))));
    }

    #[test]
    fn an_overwritten_change_names_the_edit_that_overwrote_it() {
        let by = |lines: &[&str]| why(lines, 1);
        let over = |line: &str| Some(format!("overwritten by {line}"));
        assert_eq!(by(&["blocks.0.hook_mlp_out += 1", "blocks.0.hook_mlp_out = 0"]), over("blocks.0.hook_mlp_out = 0"));
        // an earlier edit, a smaller one, and one that builds on the previous values do not overwrite it
        assert_eq!(by(&["blocks.0.hook_mlp_out[pos=1] = 2", "blocks.0.hook_mlp_out[pos=0] = 0"]), None);
        assert_eq!(by(&["blocks.0.hook_mlp_out = 0", "blocks.0.hook_mlp_out *= 2"]), None);
        let cell = "blocks.0.hook_mlp_out[pos=1 d_model=3] = 0";
        assert_eq!(by(&[cell, "blocks.0.hook_mlp_out[pos=0:2] = 1"]), over("blocks.0.hook_mlp_out[pos=0:2] = 1"));
        // further downstream, if every reader is overwritten
        assert_eq!(by(&["blocks.1.attn.hook_q = 1", "blocks.1.hook_attn_out = 0"]), over("blocks.1.hook_attn_out = 0"));
        assert_eq!(by(&["hook_embed = 1", "blocks.1.hook_resid_post = 0"]), over("blocks.1.hook_resid_post = 0"));
        assert_eq!(by(&["blocks.2.hook_resid_post = 1", "blocks.1.hook_resid_post = 0"]), None);
        // one remaining place of several is enough
        assert_eq!(by(&["blocks.0-1.hook_mlp_out = 1", "blocks.0.hook_mlp_out = 0"]), None);
    }
}
