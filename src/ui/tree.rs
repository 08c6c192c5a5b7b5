use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use super::{Theme, text};
use crate::{
    app::{Action, Focus, Node, State, hook_name},
    hooks::HookPoint,
    model::module_of,
};

/// Modules and hooks with their shapes; a bar for how far each differs from the baseline, a mark where an edit is.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let focused = state.focus == Focus::Tree;
    let face = if state.hf { " modules " } else { " hooks " };
    let mut block = theme.panel(focused).title(Line::from(Span::styled(face, theme.title())));
    // the module of a hook, or the other face
    let other = if state.hf { "TransformerLens" } else { "Hugging Face" };
    let foot = match state.tree.entry(state.tree.selected()).node {
        Node::Hook(point) if !state.hf => module_of(point).0,
        Node::Hook(point) => point.to_string(),
        _ => format!("{}: {other}", state.keymap().key(Action::Face)),
    };
    let foot = text::cut(&foot, usize::from(area.width).saturating_sub(4), theme);
    block = block.title_bottom(Line::from(Span::styled(format!(" {foot} "), theme.dim())).right_aligned());
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let edited = state.edited();
    let rows = state.tree.rows().iter().skip(state.tree.offset).take(inner.height.into());
    for (number, y) in rows.zip(inner.y..) {
        let line = line(*number, usize::from(inner.width), &edited, state, theme, focused);
        frame.render_widget(line, Rect::new(inner.x, y, inner.width, 1));
    }
}

fn line(
    number: usize,
    width: usize,
    edited: &std::collections::BTreeSet<HookPoint>,
    state: &State,
    theme: Theme,
    focused: bool,
) -> Line<'static> {
    let entry = state.tree.entry(number);
    let selected = number == state.tree.selected();
    let indent = " ".repeat(entry.depth * if state.hf { 1 } else { 2 });
    let open = state.tree.is_open(number);
    let changes = state.shown.as_ref().map(|shown| &shown.changes);
    let change_of = |point: HookPoint| changes.and_then(|changes| changes.get(&point).copied());
    let (name, shape, mut style, change, is_edited) = match &entry.node {
        Node::Module { name, class } => {
            // what is folded away must not hide that it is edited, or that it changed
            let inside = || state.tree.hooks_in(number);
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
            let (shape, style) = shape(*point, state, theme);
            let name = if state.hf { format!("  {}", hook_label(*point, theme)) } else { hook_name(*point).into() };
            (name, shape, style, change_of(*point), edited.contains(point))
        }
    };
    if is_edited {
        style = theme.changed();
    }
    let mark = match (is_edited, theme.ascii) {
        (true, true) => "*",
        (true, false) => "●",
        _ => " ",
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

/// In Hugging Face's tree a hook stands among parameters, so it has a sign.
fn hook_label(point: HookPoint, theme: Theme) -> String {
    let sign = if theme.ascii { "@" } else { "◇" };
    format!("{sign} {}", hook_name(point))
}

fn shape(point: HookPoint, state: &State, theme: Theme) -> (String, Style) {
    let schema = &state.schema;
    match point {
        _ if schema.check(point).is_ok() => (format!("{:?}", schema.shape(point, state.tokens.len())), Style::new()),
        _ if schema.is_derived(point) => ("derived".into(), theme.dim()),
        _ => ("off".into(), theme.dim()),
    }
}

/// Relative change on a logarithmic scale: a thousandth is nothing to see, 1 is the full height.
fn change_share(relative: f64) -> f64 {
    if relative <= 0.0 { 0.0 } else { ((relative.log10() + 3.0) / 3.0).clamp(0.05, 1.0) }
}
