use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use super::{Theme, say, text};
use crate::{
    app::{Action, Focus, Phase, State},
    engine::Idle,
    experiment::EditLine,
};

/// The edits, each with the proof of what it did; below them what `a` would do.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    if area.width < 3 || area.height < 3 {
        return;
    }
    let (total, visible) = (state.edits.len(), state.visible_edits());
    let title = match total {
        n if visible.len() < n => format!(" edits {} to {} of {n} ", visible.start + 1, visible.end),
        _ => " edits ".into(),
    };
    let keys = state.keymap();
    let ablate = keys.key(Action::Ablate);
    let target = match state.cannot_ablate() {
        None => Span::styled(format!(" {ablate}: {} ", state.ablation()), theme.dim()),
        Some(_) => Span::styled(format!(" {ablate}: not {} ", state.ablation().target), theme.dim()),
    };
    let block = theme
        .panel(state.focus == Focus::Edits)
        .title(Line::from(Span::styled(title, theme.title())))
        .title_bottom(Line::from(target).right_aligned());
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if total == 0 {
        return say(
            frame,
            inner,
            format!("none: {ablate} ablates what is selected, {} writes an edit", keys.key(Action::ChangeEdit)),
            theme,
        );
    }
    let below = state.areas().rows_per_edit() == 2;
    let mut y = inner.y;
    for (i, edit) in state.edits.iter().enumerate().take(visible.end).skip(visible.start) {
        let room = usize::from(inner.width).saturating_sub(4);
        let proof = proof(i, if below { room } else { room * 3 / 5 }, state, theme);
        for line in lines(edit, proof, i == state.edit_cursor, inner.width.into(), below, state, theme) {
            if y < inner.bottom() {
                frame.render_widget(line, Rect::new(inner.x, y, inner.width, 1));
            }
            y += 1;
        }
    }
}

/// What the edit did, if the run on the screen had just these edits. Whole facts are left out where there is no room, rather
/// than cut.
fn proof(at: usize, room: usize, state: &State, theme: Theme) -> Span<'static> {
    if !state.edits[at].on {
        return Span::styled("off", theme.dim());
    }
    let delta = if theme.ascii { "|d|" } else { "|Δ|" };
    let effect = match (state.effect(at), &state.phase) {
        (Some(effect), _) => Some(effect),
        (None, Phase::Failed(_) | Phase::Cancelled) => {
            return Span::styled(format!("not run ({} runs)", state.keymap().key(Action::Rerun)), theme.changed());
        }
        (None, _) => None,
    };
    let Some(e) = effect else { return Span::styled(theme.ellipsis(), theme.dim()) };
    let (change, kl) = (text::number(e.effect.delta_l2), text::number(e.kl_at_end()));
    if let Some(why) = &e.idle {
        let short = match why {
            Idle::Masked => "masked".into(),
            Idle::Overwritten(_) => "overwritten".into(),
            Idle::Unfelt => "no prediction moves".into(),
            Idle::Already(_) => why.to_string(),
        };
        let forms = [format!("no effect on {}: {why}", e.effect.touched), format!("no effect: {short}"), short];
        return Span::styled(longest(forms, room), theme.error());
    }
    let forms = [
        format!("touched {}  {delta} {change}  KL alone {kl}", e.effect.touched),
        format!("{delta} {change}  KL alone {kl}"),
        format!("KL alone {kl}"),
    ];
    Span::styled(longest(forms, room), theme.changed())
}

/// The first form that fits.
fn longest(forms: [String; 3], room: usize) -> String {
    forms.into_iter().find(|form| form.width() <= room).unwrap_or_default()
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
