//! Random edits.

use proptest::prelude::*;
use pythia_tui::{
    engine::Engine,
    hooks::{Axis, AxisSelection, Blocks, Edit, Op, Selection, Slot, Target},
};

/// A random edit of a hook that fires in `engine`, with any operation and a selection that is valid in a prompt of `n_pos` tokens.
pub fn any_edit(engine: &Engine, n_pos: usize) -> impl Strategy<Value = Edit> + use<> {
    let schema = engine.schema.clone();
    let points = schema.points();
    let op = prop_oneof![
        prop::sample::select(vec![0.0f32, 1.0, -2.5, f32::INFINITY, f32::NEG_INFINITY]).prop_map(Op::Set),
        (-2.0f32..2.0).prop_map(Op::Scale),
        (-2.0f32..2.0).prop_map(Op::Add),
        Just(Op::Mean),
        Just(Op::Freeze),
        Just(Op::Patch),
        (0.0f32..1.0, 0u64..9).prop_map(|(sd, seed)| Op::Noise { sd, seed }),
    ];
    (
        0..points.len(),
        any::<bool>(),
        prop::collection::vec((any::<bool>(), any::<u16>(), any::<u16>(), any::<bool>()), 4),
        op,
    )
        .prop_map(move |(at, everywhere, choices, op)| {
            let point = points[at];
            let target = match point.block_hook() {
                Some(hook) if everywhere => Target::Block(Blocks::All, hook),
                _ => point.into(),
            };
            let (axes, shape) = (schema.axes(point), schema.shape(point, n_pos));
            let chosen =
                axes.iter().zip(shape).zip(choices).filter(|((axis, _), (chosen, ..))| *chosen && **axis != Axis::One);
            let selection = chosen
                .map(|((axis, n), (_, a, b, slice))| {
                    let n = i64::try_from(n).unwrap();
                    let (a, b) = (i64::from(a) % n, i64::from(b) % n);
                    let slot = if slice { Slot::Slice(Some(a.min(b)), Some(a.max(b) + 1)) } else { Slot::Index(a - n) };
                    AxisSelection { axis: *axis, slots: vec![slot] }
                })
                .collect();
            Edit { sender: None, features: false, target, selection: Selection(selection), op }
        })
}
