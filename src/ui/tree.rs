use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use super::{Theme, text};
use crate::{
    app::{EditLine, Focus, Node, Row, State},
    hooks::{BlockHook, HookPoint},
};

/// Modules and hooks with their shapes; a bar for how far each differs from the baseline, a mark where an edit is.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let focused = state.focus == Focus::Tree;
    let mut block = theme.panel(focused).title(Line::from(Span::styled(" hooks ", theme.title())));
    if let Some((step, of)) = state.step() {
        block =
            block.title_bottom(Line::from(Span::styled(format!(" step {step} of {of} "), theme.dim())).right_aligned());
    }
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let rows = state.tree.rows().iter().skip(state.tree.offset).take(inner.height.into());
    for (row, y) in rows.zip(inner.y..) {
        let line = line(row, usize::from(inner.width), state, theme, focused);
        frame.render_widget(line, Rect::new(inner.x, y, inner.width, 1));
    }
}

fn line(row: &Row, width: usize, state: &State, theme: Theme, focused: bool) -> Line<'static> {
    let selected = row.node == state.tree.selected();
    let indent = " ".repeat(row.depth * 2);
    let (name, shape, mut style, change) = match row.node {
        Node::Group(group) => {
            let within = if row.open { None } else { change_within(row.node, state) };
            (format!("{}{}", theme.fold(row.open), group.label()), String::new(), Style::new(), within)
        }
        Node::Hook(point) => hook(point, state, theme),
    };
    let edits_at = |hit: &dyn Fn(HookPoint) -> bool| {
        let points = |line: &EditLine| line.edit.target.points(&state.schema.dims).unwrap_or_default();
        state.edits.iter().any(|line| line.on && points(line).into_iter().any(hit))
    };
    let edited = match row.node {
        Node::Hook(point) => edits_at(&|p| p == point),
        // what is folded away must not hide that it is edited
        Node::Group(group) => !row.open && edits_at(&|p| group.contains(p)),
    };
    if edited {
        style = theme.changed();
    }
    let mark = if edited { if theme.ascii { "*" } else { "●" } } else { " " };
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

fn hook(point: HookPoint, state: &State, theme: Theme) -> (String, String, Style, Option<f64>) {
    let schema = &state.schema;
    let short = point.short_name();
    let name = short.rsplit('.').next().unwrap_or(short).to_string();
    let fires = schema.check(point).is_ok();
    let shape = match point {
        _ if fires => format!("{:?}", schema.shape(point, state.tokens.len())),
        HookPoint::Block(_, BlockHook::ResidMid) => "derived".into(),
        _ => "off".into(),
    };
    let change = state.shown.as_ref().and_then(|shown| shown.changes.get(&point).copied());
    (name, shape, if fires { Style::new() } else { theme.dim() }, change)
}

/// The largest change of a hook in a folded group.
fn change_within(node: Node, state: &State) -> Option<f64> {
    let shown = state.shown.as_ref()?;
    let Node::Group(group) = node else { return None };
    let inside = shown.changes.iter().filter(|(point, _)| group.contains(**point));
    inside.map(|(_, change)| *change).max_by(f64::total_cmp)
}

/// Relative change on a logarithmic scale: a thousandth is nothing to see, 1 is the full height.
fn change_share(relative: f64) -> f64 {
    if relative <= 0.0 { 0.0 } else { ((relative.log10() + 3.0) / 3.0).clamp(0.05, 1.0) }
}
