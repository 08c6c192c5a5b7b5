use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use unicode_width::UnicodeWidthStr;

use super::{Theme, say, text};
use crate::app::{EditLine, Focus, State};

/// The edits, each with the proof of what it did.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    if area.width < 3 || area.height < 3 {
        return;
    }
    let focused = state.focus == Focus::Edits;
    let block = theme.panel(focused).title(Line::from(Span::styled(" edits ", theme.title())));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if state.edits.is_empty() {
        let invitation = format!("none; a sets {}", state.ablation());
        return say(frame, inner, invitation, theme);
    }
    // where an edit and its proof do not fit beside each other, the proof goes below
    let rows = if inner.width < 76 { 2 } else { 1 };
    let fit = (usize::from(inner.height) / rows).max(1);
    let first = (state.edit_cursor + 1).saturating_sub(fit);
    let mut number = state.edits[..first].iter().filter(|l| l.on).count();
    let mut y = inner.y;
    for (i, edit) in state.edits.iter().enumerate().skip(first).take(fit) {
        let proof = proof(edit, number, state, theme);
        number += usize::from(edit.on);
        for line in lines(edit, proof, i == state.edit_cursor, inner.width.into(), rows == 2, state, theme) {
            if y < inner.bottom() {
                frame.render_widget(line, Rect::new(inner.x, y, inner.width, 1));
            }
            y += 1;
        }
    }
}

/// What the edit did, if the run on the screen had just these edits; `number` counts the edits that are on.
fn proof(line: &EditLine, number: usize, state: &State, theme: Theme) -> Span<'static> {
    if !line.on {
        return Span::styled("off", theme.dim());
    }
    let shown = state.shown.as_ref().filter(|shown| shown.run == state.run);
    let delta = if theme.ascii { "|d|" } else { "|Δ|" };
    match shown.and_then(|shown| shown.summary.effects.get(number)) {
        None => Span::styled(theme.ellipsis(), theme.dim()),
        Some(e) if e.effect.changed == 0 => {
            Span::styled(format!("changed nothing: all {} values were so already", e.effect.touched), theme.error())
        }
        Some(e) => {
            let (change, kl) = (text::number(e.effect.delta_l2), text::number(e.kl.last().copied().unwrap_or(0.0)));
            Span::styled(format!("touched {}  {delta} {change}  KL {kl}", e.effect.touched), theme.changed())
        }
    }
}

fn lines(
    edit: &EditLine,
    proof: Span<'static>,
    chosen: bool,
    width: usize,
    below: bool,
    state: &State,
    theme: Theme,
) -> Vec<Line<'static>> {
    let mark = Span::raw(if edit.on { "[x] " } else { "[ ] " });
    let style = match (chosen, edit.on) {
        (true, _) => theme.selected(state.focus == Focus::Edits),
        (false, true) => Style::new(),
        (false, false) => theme.dim(),
    };
    let room = width.saturating_sub(4 + if below { 0 } else { proof.width() + 2 });
    let name = text::cut(&edit.edit.to_string(), room, theme);
    let gap = Span::raw(" ".repeat(2 + room.saturating_sub(name.width())));
    let name = Span::styled(name, style);
    if below {
        return vec![Line::from(vec![mark, name]), Line::from(vec![Span::raw("    "), proof])];
    }
    vec![Line::from(vec![mark, name, gap, proof])]
}
