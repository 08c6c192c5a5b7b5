//! The names and shapes of hooks in a picture.

use crate::hooks::{BlockHook, HookPoint, Schema};

/// Whether the forward pass computes a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    On,
    Off,
    Derived,
}

/// How names and shapes are written in one picture.
#[derive(Clone, Copy)]
pub(super) struct Labels<'a> {
    pub schema: &'a Schema,
    /// The prompt's length; without it, shapes name the axes that depend on it.
    pub positions: Option<usize>,
    /// `hook_q` instead of `q`.
    pub long: bool,
    /// `[2, 8, 64]` instead of `[2,8,64]`.
    pub spaced: bool,
}

impl Labels<'_> {
    /// Its name within its module.
    pub fn name(&self, point: HookPoint) -> &'static str {
        let name = point.short_name();
        let within = name.rsplit('.').next().unwrap_or(name);
        match (self.long, point.block_hook()) {
            (true, _) => within,
            (false, Some(BlockHook::AttnScores)) => "scores",
            (false, _) => within.strip_prefix("hook_").unwrap_or(within),
        }
    }

    /// Its shape; empty for a hook that is off, and `(unread)` for one that is on but read by nothing.
    pub fn shape(&self, point: HookPoint) -> String {
        if self.state(point) == State::On && self.schema.is_unread(point) {
            return "(unread)".into();
        }
        if self.state(point) == State::Off {
            return String::new();
        }
        let size = |axis: &crate::hooks::Axis| match self.positions {
            None if axis.is_position() => axis.name().to_string(),
            positions => self.schema.size(*axis, positions.unwrap_or(0)).to_string(),
        };
        let sizes: Vec<String> = self.schema.axes(point).iter().map(size).collect();
        format!("[{}]", sizes.join(if self.spaced { ", " } else { "," }))
    }

    /// The columns of name and shape, without the mark.
    pub fn len(&self, point: HookPoint) -> usize {
        let shape = self.shape(point).len();
        self.name(point).len() + if shape == 0 { 0 } else { shape + 1 }
    }

    /// The columns of the longest label among these hooks of a block.
    pub fn longest(&self, block: usize, hooks: &[BlockHook], shapes: bool) -> usize {
        let len = |hook: &BlockHook| {
            let point = HookPoint::Block(block, *hook);
            if shapes { self.len(point) } else { self.name(point).len() }
        };
        hooks.iter().map(len).max().unwrap_or(0)
    }

    pub fn state(&self, point: HookPoint) -> State {
        if self.schema.is_derived(point) {
            State::Derived
        } else if point.is_opt_in() && !self.schema.is_enabled(point) {
            State::Off
        } else {
            State::On
        }
    }
}
