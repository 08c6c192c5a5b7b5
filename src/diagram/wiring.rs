//! The wiring graph, including hooks that are off or derived: where a hook's value goes.

use std::collections::BTreeSet;

use crate::hooks::{BlockHook as B, HookPoint, Schema};

const SPLIT: [B; 3] = [B::QInput, B::KInput, B::VInput];
const LN1: [B; 2] = [B::Ln1Scale, B::Ln1Normalized];
const LN2: [B; 2] = [B::Ln2Scale, B::Ln2Normalized];

/// Every other hook point whose value an edit of `from` can change, including those that are off or derived, since they
/// show the values on their wires. Empty for a hook that nothing reads.
#[must_use]
pub fn reaches(from: HookPoint, schema: &Schema) -> BTreeSet<HookPoint> {
    let mut reached = BTreeSet::new();
    let mut ahead = if schema.is_derived(from) { vec![] } else { next(from, schema) };
    // ln1 runs on each copy of the stream separately; its hooks show the copy for the values, which runs last
    if let HookPoint::Block(block, copy @ (B::QInput | B::KInput | B::VInput)) = from {
        let read_by = if copy == B::QInput {
            B::Q
        } else if copy == B::KInput {
            B::K
        } else {
            B::V
        };
        ahead = vec![HookPoint::Block(block, read_by)];
        if copy == B::VInput {
            reached.extend(LN1.map(|hook| HookPoint::Block(block, hook)));
        }
    }
    while let Some(point) = ahead.pop() {
        if reached.insert(point) {
            ahead.extend(next(point, schema));
        }
    }
    reached
}

/// The hooks that come next on the wires that leave `point`.
#[must_use]
pub fn next(point: HookPoint, schema: &Schema) -> Vec<HookPoint> {
    let (block, hook) = match point {
        HookPoint::Tokens => return vec![HookPoint::Embed],
        HookPoint::Embed => return vec![HookPoint::Block(0, B::ResidPre)],
        HookPoint::LnFinalScale => return vec![HookPoint::LnFinalNormalized],
        HookPoint::LnFinalNormalized => return vec![],
        HookPoint::Block(block, hook) => (block, hook),
    };
    let (parallel, split) = (schema.dims.parallel, schema.is_split(block));
    let here: Vec<B> = match hook {
        B::ResidPre => {
            let mut all = vec![B::AttnIn, B::ResidMid];
            // the inputs of q, k and v are copies of the stream, not of attn_in
            all.extend(SPLIT.iter().filter(|_| split));
            all.extend(parallel.then_some(B::MlpIn));
            all
        }
        B::AttnIn => {
            if split {
                vec![]
            } else {
                SPLIT.to_vec()
            }
        }
        B::QInput | B::KInput | B::VInput => LN1.to_vec(),
        B::Ln1Scale => vec![B::Ln1Normalized],
        B::Ln1Normalized => vec![B::Q, B::K, B::V],
        B::Q => vec![B::RotQ],
        B::K => vec![B::RotK],
        B::V | B::Pattern => vec![B::Z],
        B::RotQ | B::RotK => vec![B::AttnScores],
        B::AttnScores => vec![B::Pattern],
        B::Z => vec![B::Result],
        B::Result => vec![B::AttnOut],
        B::AttnOut => vec![B::ResidMid],
        B::ResidMid if parallel => vec![B::ResidPost],
        B::ResidMid => vec![B::MlpIn, B::ResidPost],
        B::MlpIn => LN2.to_vec(),
        B::Ln2Scale => vec![B::Ln2Normalized],
        B::Ln2Normalized => vec![B::MlpPre],
        B::MlpPre => vec![B::MlpPost],
        B::MlpPost => vec![B::MlpOut],
        B::MlpOut => vec![B::ResidPost],
        B::ResidPost if block + 1 < schema.dims.n_layers => return vec![HookPoint::Block(block + 1, B::ResidPre)],
        B::ResidPost => return HookPoint::AFTER.to_vec(),
    };
    here.into_iter().map(|hook| HookPoint::Block(block, hook)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hooks::{Dims, readers},
        model::ACTIVATIONS,
    };
    use proptest::prelude::*;

    fn dims(parallel: bool) -> Dims {
        Dims {
            n_layers: 2,
            n_heads: 4,
            d_head: 8,
            d_model: 32,
            d_mlp: 96,
            d_vocab: 96,
            parallel,
            activation: ACTIVATIONS[0].words,
        }
    }

    fn read_by(from: HookPoint, schema: &Schema) -> BTreeSet<HookPoint> {
        let (mut found, mut ahead) = (BTreeSet::new(), readers(from, schema));
        while let Some(point) = ahead.pop() {
            if found.insert(point) {
                ahead.extend(readers(point, schema));
            }
        }
        found
    }

    proptest! {
        #[test]
        fn what_is_computed_is_reached_where_the_forward_pass_reads_it(parallel: bool, on in prop::collection::vec(any::<bool>(), 13)) {
            let mut schema = Schema::new(dims(parallel));
            let opt_in: Vec<HookPoint> = schema.all_points().into_iter().filter(|point| point.is_opt_in()).collect();
            prop_assert_eq!(opt_in.len(), on.len());
            schema.set_enabled(opt_in.into_iter().zip(on).filter(|(_, on)| *on).map(|(point, _)| point).collect());
            for from in schema.points() {
                let computed: BTreeSet<HookPoint> =
                    reaches(from, &schema).into_iter().filter(|point| schema.check(*point).is_ok()).collect();
                let read = read_by(from, &schema);
                // `readers` does not tell the runs of ln1 apart
                if let HookPoint::Block(_, B::QInput | B::KInput | B::VInput) = from {
                    prop_assert!(computed.is_subset(&read));
                } else {
                    prop_assert_eq!(computed, read, "{}", from);
                }
            }
        }
    }

    #[test]
    fn a_copy_for_the_queries_reaches_no_keys_and_no_values() {
        let schema = Schema::new(dims(true));
        let reached = reaches(HookPoint::Block(1, B::QInput), &schema);
        for (hook, expected) in [(B::Q, true), (B::K, false), (B::V, false), (B::Ln1Scale, false), (B::Z, true)] {
            assert_eq!(reached.contains(&HookPoint::Block(1, hook)), expected, "{}", hook.name());
        }
        assert!(reaches(HookPoint::Block(1, B::ResidMid), &schema).is_empty());
    }
}
