use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use crate::{
    hooks::HookPoint,
    keys::Action,
    model::module_of,
    paint::{Theme, change_share, text},
    views::{Focus, Node, Scene, hook_name},
};

/// Modules and hooks with their shapes, with a bar for how far each differs from the baseline, and a mark for edits.
pub(in crate::explorer) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene, theme: Theme) {
    let focused = scene.layout.focus == Focus::Tree;
    let face = if scene.trees.is_modules { " modules " } else { " hooks " };
    let mut block = theme.panel(focused).title(Line::from(Span::styled(face, theme.title())));
    // the module of a hook, or the other tree
    let other = if scene.trees.is_modules { "TransformerLens" } else { "Hugging Face" };
    let foot = match scene.trees.shown().entry(scene.trees.shown().selected()).node {
        Node::Hook(point) if !scene.trees.is_modules => module_of(point).0,
        Node::Hook(point) => point.to_string(),
        _ => format!("{}: {other}", scene.key(Action::ModuleTree)),
    };
    let foot = text::cut(&foot, usize::from(area.width).saturating_sub(4), theme);
    block = block.title_bottom(Line::from(Span::styled(format!(" {foot} "), theme.dim())).right_aligned());
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let edited = scene.edited();
    let rows = scene.trees.shown().rows().iter().skip(scene.trees.shown().offset).take(inner.height.into());
    for (number, y) in rows.zip(inner.y..) {
        let line = line(*number, usize::from(inner.width), &edited, scene, theme, focused);
        frame.render_widget(line, Rect::new(inner.x, y, inner.width, 1));
    }
}

fn line(
    number: usize,
    width: usize,
    edited: &std::collections::BTreeSet<HookPoint>,
    scene: &Scene,
    theme: Theme,
    focused: bool,
) -> Line<'static> {
    let entry = scene.trees.shown().entry(number);
    let selected = number == scene.trees.shown().selected();
    let indent = " ".repeat(entry.depth * if scene.trees.is_modules { 1 } else { 2 });
    let open = scene.trees.shown().is_open(number);
    let changes = scene.runs.shown.as_ref().map(|shown| &shown.changes);
    let change_of = |point: HookPoint| changes.and_then(|changes| changes.get(&point).copied());
    let (name, shape, mut style, change, is_edited) = match &entry.node {
        Node::Module { name, class } => {
            // folded modules still show that something in them is edited or changed
            let inside = || scene.trees.shown().hooks_in(number);
            let change =
                if open { None } else { inside().filter_map(change_of).max_by(|a, b| a.abs().total_cmp(&b.abs())) };
            let is_edited = !open && inside().any(|point| edited.contains(&point));
            (
                format!("{}{name}", theme.fold(open)),
                class.unwrap_or_default().to_string(),
                Style::new(),
                change,
                is_edited,
            )
        }
        Node::Parameter { name, shape } => (format!("  {name}"), format!("{shape:?}"), theme.dim(), None, false),
        Node::Hook(point) => {
            let (shape, style) = shape(*point, scene, theme);
            let name = if scene.trees.is_modules {
                format!("  {}", hook_label(*point, theme))
            } else {
                hook_name(*point).into()
            };
            (name, shape, style, change_of(*point), edited.contains(point))
        }
    };
    // a module whose first hook is later is later as a whole
    let first = match &entry.node {
        Node::Hook(point) => Some(*point),
        Node::Module { .. } => scene.trees.shown().hooks_in(number).min(),
        Node::Parameter { .. } => None,
    };
    if first.is_some_and(|point| scene.is_later(point)) {
        style = theme.dim();
    }
    if is_edited {
        style = theme.changed();
    }
    let is_held = scene.runs.held().is_some_and(|stopped| match &entry.node {
        Node::Hook(point) => *point == stopped.at,
        Node::Module { .. } => !open && scene.trees.shown().hooks_in(number).any(|point| point == stopped.at),
        Node::Parameter { .. } => false,
    });
    let mark = match (is_held, is_edited, theme.ascii) {
        (true, _, true) => ">",
        (true, _, false) => "▶",
        (false, true, true) => "*",
        (false, true, false) => "●",
        (false, false, _) => " ",
    };
    let bar = change.map_or(' ', |c| theme.bar(change_share(c)));
    let room = width.saturating_sub(3);
    let name = format!("{indent}{name}");
    let gap = room.saturating_sub(name.width() + shape.width());
    let left = if gap == 0 { text::fit(&name, room, theme) } else { format!("{name}{}", " ".repeat(gap)) };
    let shape = if gap == 0 { String::new() } else { shape };
    if selected {
        let all = format!("{mark}{left}{shape} ");
        let style = theme.selected(focused);
        return Line::from(vec![Span::styled(all, style), Span::styled(bar.to_string(), theme.changed())]);
    }
    Line::from(vec![
        Span::styled(mark, theme.changed()),
        Span::styled(left, style),
        Span::styled(shape, theme.dim()),
        Span::styled(format!(" {bar}"), theme.changed()),
    ])
}

/// In Hugging Face's tree, hooks are among parameters, so they have a mark.
fn hook_label(point: HookPoint, theme: Theme) -> String {
    let sign = if theme.ascii { "@" } else { "◇" };
    format!("{sign} {}", hook_name(point))
}

fn shape(point: HookPoint, scene: &Scene, theme: Theme) -> (String, Style) {
    let schema = &scene.schema;
    match point {
        _ if schema.check(point).is_ok() => (format!("{:?}", schema.shape(point, scene.tokens().len())), Style::new()),
        _ if schema.is_derived(point) => ("derived".into(), theme.dim()),
        _ => ("off".into(), theme.dim()),
    }
}
