use std::borrow::Cow;

use super::request::{OfHead, OfHeads};
use crate::{
    engine::{Compare, Thumbnails, WhichAttention, WithBaseline},
    hooks::{Axis, BlockHook, Edit, HookPoint, Op},
    keys::{Action, Motion},
    views::{AblationScope, Room, Scene, moved, sideways, stepped},
};

#[derive(Clone, Debug)]
pub struct Attention {
    pub which: WhichAttention,
    pub heads: HeadScope,
    /// The zoom of one head: 0 shows all of it, 1 every value around the cursor, 2 also numbers.
    pub(super) zoom: u8,
    pub(super) scope: AblationScope,
}

/// How many heads are on the screen at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadScope {
    /// One head, large.
    One,
    /// The heads of a block beside each other.
    Block,
    /// Every head of the model.
    Model,
}

impl HeadScope {
    pub const ALL: [Self; 3] = [Self::One, Self::Block, Self::Model];
}

impl Default for Attention {
    fn default() -> Self {
        let (which, heads, scope) = (WhichAttention::Pattern, HeadScope::One, AblationScope::Cell);
        Self { which, heads, zoom: 0, scope }
    }
}

impl Attention {
    /// The choices of the view's keys, for its title.
    pub(super) fn choices(&self, scene: &Scene) -> [(String, &'static [&'static str], usize); 2] {
        const WHICH: [&str; 3] = ["pattern", "scores", "value-weighted"];
        const HEADS: [&str; 3] = ["one head", "block", "model"];
        let which = WhichAttention::ALL.iter().position(|which| *which == self.which).unwrap_or(0);
        let heads = HeadScope::ALL.iter().position(|heads| *heads == self.heads).unwrap_or(0);
        [(scene.key(Action::Switch), &WHICH, which), (scene.key(Action::ChangeLayout), &HEADS, heads)]
    }

    pub(super) fn one_head(&self, scene: &Scene) -> Option<OfHead> {
        Some(OfHead { block: scene.block(), head: scene.cursor.head, which: self.which, numbers: scene.numbers()? })
    }

    pub(super) fn many_heads(&self, scene: &Scene, room: Room) -> Option<OfHeads> {
        Some(OfHeads {
            block: (self.heads == HeadScope::Block).then_some(scene.block()),
            which: self.which,
            numbers: scene.numbers()?,
            compare: scene.chosen_compare,
            side: self.thumbnail(scene, room),
        })
    }

    pub(super) fn seen_head<'a>(&self, scene: &'a Scene) -> Option<Result<&'a WithBaseline<Vec<f32>>, &'a str>> {
        scene.seen(&self.one_head(scene)?)
    }

    pub(super) fn seen_heads<'a>(&self, scene: &'a Scene, room: Room) -> Option<Result<&'a Thumbnails, &'a str>> {
        scene.seen(&self.many_heads(scene, room)?)
    }

    /// The matrix of the one head on the screen, with the comparison applied, row-major `[query, key]`.
    pub(super) fn matrix<'a>(&self, scene: &'a Scene) -> Option<Cow<'a, [f32]>> {
        if self.heads != HeadScope::One {
            return None;
        }
        let head = self.seen_head(scene)?.ok()?;
        Some(match scene.compare() {
            Compare::Edited => Cow::Borrowed(head.run.as_slice()),
            compare @ (Compare::Difference | Compare::Baseline) => Cow::Owned(head.compared(compare)),
        })
    }

    /// Move between heads: in a block's grid, up and down are other heads of the block.
    pub(super) fn move_among_heads(&mut self, scene: &mut Scene, motion: Motion) {
        let heads = scene.schema.dims.n_heads;
        if let Some(by) = sideways(motion) {
            scene.cursor.head = stepped(scene.cursor.head, by, heads);
            return;
        }
        match (self.heads, motion) {
            (HeadScope::Block, Motion::Up | Motion::Down) => {
                let across = self.tiles(self.thumbnail(scene, scene.layout.room()), scene, scene.layout.room()).across;
                let head = scene.cursor.head;
                let next = if motion == Motion::Up { head.checked_sub(across) } else { Some(head + across) };
                scene.cursor.head = next.filter(|head| *head < heads).unwrap_or(head);
            }
            (HeadScope::One | HeadScope::Block | HeadScope::Model, _) => {
                let (block, page) = (scene.block(), scene.layout.page());
                select_block(scene, moved(block, motion, page, scene.schema.dims.n_layers));
            }
        }
    }
}

/// Select the same hook in another block, or `hook_z` if there is none.
pub(in crate::views) fn select_block(scene: &mut Scene, block: usize) {
    if block != scene.block() {
        let hook = scene.point().block_hook().unwrap_or(BlockHook::Z);
        scene.select(HookPoint::Block(block, hook));
    }
}

/// The edit that ablates a head.
pub(in crate::views) fn ablated_head(block: usize, head: usize) -> Edit {
    Edit::at(HookPoint::Block(block, BlockHook::Z), &[(Axis::Head, head)], Op::Set(0.0))
}
