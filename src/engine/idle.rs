//! Why an edit makes no difference.

use std::{collections::BTreeMap, fmt};

use crate::hooks::{Axis, BlockHook, Edit, Effect, HookPoint, Indices, Op, Plan, Schema, Step, readers};

/// Why an edit changed nothing, or why nothing of its change is left.
#[derive(Clone, Debug, PartialEq)]
pub enum Idle {
    /// Every key that it selects comes after its query: the mask hides it from the softmax.
    Masked,
    /// The values were already what the operation makes of them.
    Already(Op),
    /// Another edit sets everything that its change could reach.
    Overwritten(Edit),
    /// The only edit, and no prediction changes: a constant that LayerNorm or softmax takes out, or what nothing reads.
    Unfelt,
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Masked => f.write_str("masked: the keys come after their queries"),
            Self::Overwritten(by) => write!(f, "overwritten by {by}"),
            Self::Unfelt => f.write_str("no prediction moves: LayerNorm or softmax takes it out, or nothing reads it"),
            Self::Already(op) => f.write_str(&op.unmoved()),
        }
    }
}

/// Why the edit of a number makes no difference, if that can be told from the plan and from what it did.
pub(super) fn idle(number: usize, edits: &[Edit], plan: &Plan, effects: &[Effect], schema: &Schema) -> Option<Idle> {
    let own = || plan.steps.iter().filter(|step| step.edit == number);
    if effects[number].changed == 0 {
        return Some(if own().all(is_masked) { Idle::Masked } else { Idle::Already(edits[number].op) });
    }
    // what changed nothing overwrote nothing
    let sets = |step: &Step| sets(step) && effects[step.edit].changed > 0;
    let lost = lost(plan, schema, &sets);
    let mut by = None;
    for step in own() {
        let at_once = plan.steps.iter().find(|later| {
            later.edit > number && later.point == step.point && sets(later) && covers(&later.indices, &step.indices)
        });
        by = Some(at_once.map(|later| later.edit).or_else(|| lost.get(&step.point).copied())?);
    }
    by.map(|by| Idle::Overwritten(edits[by].clone()))
}

/// The hook points of which nothing reaches the logits, each with an edit that is the reason.
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

/// Whether nothing of what was there before is left.
fn sets(step: &Step) -> bool {
    step.op.overwrites()
}

fn covers(outer: &Indices, inner: &Indices) -> bool {
    outer.along.iter().zip(&inner.along).all(|(outer, inner)| match (outer, inner) {
        (None, _) => true,
        (Some(outer), Some(inner)) => inner.iter().all(|at| outer.contains(at)),
        (Some(_), None) => false,
    })
}

fn is_masked(step: &Step) -> bool {
    if !matches!(step.point.block_hook(), Some(BlockHook::AttnScores | BlockHook::Pattern)) {
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
        idle(0, &edits, &plan, &effects, &schema).map(|idle| idle.to_string())
    }

    #[test]
    fn a_change_of_nothing_has_its_reason() {
        let pattern = "blocks.0.attn.hook_pattern[head=0 query=2 key=";
        assert_eq!(why(&[&format!("{pattern}3] = 0")], 0).unwrap(), "masked: the keys come after their queries");
        assert_eq!(why(&[&format!("{pattern}2] = 0")], 0).unwrap(), "already 0");
        assert_eq!(why(&["hook_embed *= 1"], 0).unwrap(), "a factor of 1");
        assert_eq!(why(&["hook_embed[pos=0] = patch"], 0).unwrap(), "the contrast prompt has the same values there");
        assert_eq!(why(&["hook_embed = 0"], 3), None);
    }

    #[test]
    fn what_changed_nothing_overwrote_nothing() {
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
        assert_eq!(idle(0, &edits, &plan, &effects, &schema), None);
        assert_eq!(idle(1, &edits, &plan, &effects, &schema), Some(Idle::Already(Op::Set(0.0))));
    }

    #[test]
    fn a_change_of_which_nothing_is_left_names_the_edit_that_took_it() {
        let by = |lines: &[&str]| why(lines, 1);
        let over = |line: &str| Some(format!("overwritten by {line}"));
        assert_eq!(by(&["blocks.0.hook_mlp_out += 1", "blocks.0.hook_mlp_out = 0"]), over("blocks.0.hook_mlp_out = 0"));
        // an earlier one, a smaller one, and one that builds on what is there do not
        assert_eq!(by(&["blocks.0.hook_mlp_out[pos=1] = 2", "blocks.0.hook_mlp_out[pos=0] = 0"]), None);
        assert_eq!(by(&["blocks.0.hook_mlp_out = 0", "blocks.0.hook_mlp_out *= 2"]), None);
        let cell = "blocks.0.hook_mlp_out[pos=1 d_model=3] = 0";
        assert_eq!(by(&[cell, "blocks.0.hook_mlp_out[pos=0:2] = 1"]), over("blocks.0.hook_mlp_out[pos=0:2] = 1"));
        // further down, where everything that reads it is set
        assert_eq!(by(&["blocks.1.attn.hook_q = 1", "blocks.1.hook_attn_out = 0"]), over("blocks.1.hook_attn_out = 0"));
        assert_eq!(by(&["hook_embed = 1", "blocks.1.hook_resid_post = 0"]), over("blocks.1.hook_resid_post = 0"));
        assert_eq!(by(&["blocks.2.hook_resid_post = 1", "blocks.1.hook_resid_post = 0"]), None);
        // of several places, one that is left is enough
        assert_eq!(by(&["blocks.0-1.hook_mlp_out = 1", "blocks.0.hook_mlp_out = 0"]), None);
    }
}
