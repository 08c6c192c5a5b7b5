//! Completions of lines that name hooks: edits and predicates.

use ratatui::text::{Line, Span};

use crate::{
    hooks::{Axis, BlockHook, HookPoint, Schema, Target},
    paint::{Theme, text},
};

/// The hooks that a target names, with or without a selection; none if it names no hook here.
pub(super) fn target_points(target: &str, schema: &Schema) -> Vec<HookPoint> {
    let name = target.split('[').next().unwrap_or_default().trim();
    name.parse::<Target>().ok().and_then(|target| target.points(&schema.dims).ok()).unwrap_or_default()
}

/// The axes that can be selected of what a target names.
pub(super) fn target_axes(target: &str, schema: &Schema) -> Vec<Axis> {
    let points = target_points(target, schema);
    let axes = points.first().map(|point| schema.axes(*point)).unwrap_or_default();
    axes.into_iter().filter(|axis| *axis != Axis::One).collect()
}

/// Names of hooks that `works` says yes to, with the block number as typed, or `blocks.*`. Any part of the name matches; names that
/// begin as typed come first.
pub(super) fn names(typed: &str, works: impl Fn(HookPoint) -> bool) -> Vec<String> {
    let blocks = typed.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')).map_or("*", |(blocks, _)| blocks);
    let part = typed.strip_prefix("blocks.").map_or(typed, |rest| rest.split_once('.').map_or("", |(_, hook)| hook));
    let in_blocks = BlockHook::ALL.into_iter().filter(|hook| works(HookPoint::Block(0, *hook)));
    let outside = HookPoint::GLOBAL.into_iter().filter(|point| works(*point)).map(|p| p.to_string());
    let mut names: Vec<String> = in_blocks.map(|hook| format!("blocks.{blocks}.{}", hook.name())).collect();
    names.extend(outside);
    names.retain(|name| name.contains(part) && name != typed);
    names.sort_by_key(|name| !name.starts_with(typed));
    names
}

/// Words that begin as typed, after what comes before them.
pub(super) fn starting(before: &str, typed: &str, all: impl IntoIterator<Item = String>) -> Vec<String> {
    let fits = all.into_iter().filter(|name| name.starts_with(typed) && name != typed);
    fits.map(|name| format!("{before}{name}")).collect()
}

/// The rest of a selection that is open at the end of a line, of some axes.
pub(super) fn in_selection(line: &str, axes: &[Axis]) -> Vec<String> {
    let at = line.rfind(['[', ' ']).map_or(0, |i| i + 1);
    let (before, typed) = line.split_at(at);
    if typed.contains('=') {
        return vec![format!("{line}]")];
    }
    starting(before, typed, axes.iter().map(|axis| format!("{axis}=")))
}

/// Completions one below the other, the first with the key that takes it.
pub(super) fn lines(completions: &[String], width: u16, theme: Theme) -> impl Iterator<Item = Line<'static>> + '_ {
    completions.iter().enumerate().map(move |(i, line)| {
        let key = if i == 0 { "Tab " } else { "    " };
        let line = text::cut(line, usize::from(width).saturating_sub(6), theme);
        Line::from(vec![Span::styled(format!("  {key}"), theme.title()), Span::styled(line, theme.dim())])
    })
}
