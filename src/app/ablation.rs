//! What `a` ablates: whatever is under the cursor.

use super::{Component, Extent, Focus, State, Tab, editor::Setting, navigate::cycle, views::Grain};
use crate::{
    engine::{WhichAttention, lens_points},
    hooks::{Axis, BlockHook, Edit, HookPoint, Op, Plan},
};

impl State {
    /// What `a` would do: ablate what is under the cursor of the view, else the head or the component that is on the
    /// screen, else the whole hook.
    #[must_use]
    pub fn ablation(&self) -> Edit {
        let head = |block: usize, head: usize| {
            Edit::at(HookPoint::Block(block, BlockHook::Z), &[(Axis::Head, head)], Op::Set(0.0))
        };
        let in_view = if self.focus == Focus::View { self.ablation_in_view(self.looks.grain) } else { None };
        if let Some(edit) = in_view {
            return edit;
        }
        match self.tab {
            Tab::Attention | Tab::Heads => head(self.block(), self.head),
            Tab::Sweep => self.swept_edit().unwrap_or_else(|| self.point().into()),
            Tab::Attribution => match self.chosen_component() {
                Some(Component::Head(block, number)) => head(block, number),
                Some(other) => other.point().unwrap_or(self.point()).into(),
                None => self.point().into(),
            },
            _ => self.point().into(),
        }
    }

    /// The ablation of so much around the view's cursor, where the view has one.
    fn ablation_in_view(&self, grain: Grain) -> Option<Edit> {
        let (rows, columns) = (matches!(grain, Grain::Cell | Grain::Row), matches!(grain, Grain::Cell | Grain::Column));
        let places = |axes: Vec<Axis>| -> Vec<(Axis, usize)> {
            let there = axes.into_iter().filter(|axis| *axis != Axis::One);
            there.map(|axis| (axis, self.index(axis))).collect()
        };
        match self.tab {
            Tab::Values => {
                let slice = self.slice();
                let mut axes = self.schema.axes(self.point());
                axes.retain(|axis| match axis {
                    axis if *axis == slice.rows => rows,
                    axis if *axis == slice.columns => columns,
                    _ => grain != Grain::Whole,
                });
                Some(Edit::at(self.point(), &places(axes), Op::Set(0.0)))
            }
            Tab::Attention if self.looks.extent == Extent::Head && (rows || columns) => {
                // what is -inf before the softmax gets no attention, and the rest sums to 1
                let (hook, op) = match self.looks.which {
                    WhichAttention::Scores => (BlockHook::AttnScores, Op::Set(f32::NEG_INFINITY)),
                    _ => (BlockHook::Pattern, Op::Set(0.0)),
                };
                let taken = [(Axis::Head, true), (Axis::Query, rows), (Axis::Key, columns)];
                let axes = taken.into_iter().filter(|(_, taken)| *taken).map(|(axis, _)| axis).collect();
                Some(Edit::at(HookPoint::Block(self.block(), hook), &places(axes), op))
            }
            Tab::Lens => {
                let points = lens_points(self.schema.dims.n_layers);
                let point = points.get(self.lens_layer).copied()?;
                Some(Edit::at(point, &places(vec![Axis::Pos]), Op::Set(0.0)))
            }
            _ => None,
        }
    }

    /// Ablate so much from now on: the next more or less that makes a difference here; whether there is one.
    pub(super) fn next_grain(&mut self) -> bool {
        let now = self.ablation();
        let mut grain = self.looks.grain;
        for _ in Grain::ALL {
            grain = cycle(&Grain::ALL, grain, 1);
            let before = std::mem::replace(&mut self.looks.grain, grain);
            if self.ablation() != now {
                return true;
            }
            self.looks.grain = before;
        }
        false
    }

    /// Why `a` would be refused, if it would.
    #[must_use]
    pub fn cannot_ablate(&self) -> Option<String> {
        if let (Tab::Attribution, Some(chosen)) = (self.tab, self.chosen_component())
            && chosen.point().is_none()
        {
            return Some(format!("no hook holds the {}", chosen.name()));
        }
        if self.tab == Tab::Attribution && self.chosen_component().is_none() {
            return Some("the attribution is not there yet".into());
        }
        let Setting { schema, n_pos, contrast } = self.setting();
        Plan::resolve(&[self.ablation()], schema, n_pos, contrast).err().map(|error| error.to_string())
    }
}
