use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use crate::{
    engine::{NOT_YET, NoEffect},
    experiment::EditLine,
    explorer::State,
    keys::Action,
    paint::{Theme, say, text},
    views::{Focus, Phase, Scene},
};

/// The edits, each with the proof of what it did, and below them what `a` would do.
pub(in crate::explorer) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    if area.width < 3 || area.height < 3 {
        return;
    }
    let scene = &state.scene;
    let total = scene.edits.lines.len();
    let visible = scene.layout.visible_edits(scene.edits.cursor, total);
    let title = match total {
        n if visible.len() < n => format!(" edits {} to {} of {n} ", visible.start + 1, visible.end),
        _ => " edits ".into(),
    };
    let keys = &scene.keys;
    let ablate = keys.key(Action::Ablate);
    let target = match state.cannot_ablate() {
        None => state.ablation().to_string(),
        Some(why) => format!("not possible, {why}"),
    };
    // if a path is too long, its beginning shows the sender; for other edits, the end shows the operation
    let room = usize::from(area.width).saturating_sub(ablate.width() + 6);
    let target = match target.contains("->") {
        true => text::cut(&target, room, theme),
        false => text::cut_start(&target, room, theme),
    };
    let target = Span::styled(format!(" {ablate}: {target} "), theme.dim());
    let block = theme
        .panel(scene.layout.focus == Focus::Edits)
        .title(Line::from(Span::styled(title, theme.title())))
        .title_bottom(Line::from(target).right_aligned());
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if total == 0 {
        let write = keys.key(Action::ChangeEdit);
        let forms = [
            format!("none: {ablate} ablates what is selected, {write} writes an edit"),
            format!("none: {ablate} ablates, {write} writes an edit"),
            "none".into(),
        ];
        return say(frame, inner, longest(forms, inner.width.into()), theme);
    }
    let below = scene.layout.areas().rows_per_edit() == 2;
    let mut y = inner.y;
    for (i, edit) in scene.edits.lines.iter().enumerate().take(visible.end).skip(visible.start) {
        let room = usize::from(inner.width).saturating_sub(4);
        let proof = proof(i, if below { room } else { room * 3 / 5 }, scene, theme);
        for line in lines(edit, proof, i == scene.edits.cursor, inner.width.into(), below, scene, theme) {
            if y < inner.bottom() {
                frame.render_widget(line, Rect::new(inner.x, y, inner.width, 1));
            }
            y += 1;
        }
    }
}

/// What the edit did, if the run on the screen had exactly these edits. Where room is short, whole facts are left out
/// instead of being cut.
fn proof(at: usize, room: usize, scene: &Scene, theme: Theme) -> Span<'static> {
    if !scene.edits.lines[at].on {
        return Span::styled("off", theme.dim());
    }
    let delta = if theme.ascii { "|d|" } else { "|Δ|" };
    let effect = match (scene.effect(at), &scene.runs.phase) {
        (Some(effect), _) => Some(effect),
        (None, Phase::Failed(_) | Phase::Cancelled) => {
            return Span::styled(format!("not run ({} runs)", scene.key(Action::Rerun)), theme.changed());
        }
        (None, _) => None,
    };
    let Some(e) = effect else { return Span::styled(theme.ellipsis(), theme.dim()) };
    let held = scene.runs.held().is_some();
    if held && e.effect.touched == 0 {
        return Span::styled(NOT_YET, theme.dim());
    }
    let change = text::number(e.effect.delta_l2);
    if let Some(why) = &e.no_effect {
        let short = match why {
            NoEffect::Masked => "masked".into(),
            NoEffect::Overwritten(_) => "overwritten".into(),
            NoEffect::NoOutputChange => "no prediction changes".into(),
            NoEffect::Already(_) => why.to_string(),
        };
        let forms = [format!("no effect on {}: {why}", e.effect.touched), format!("no effect: {short}"), short];
        return Span::styled(longest(forms, room), theme.error());
    }
    // of a held pass there is no output yet
    let (kl, least) = if held {
        (format!("KL {NOT_YET}"), format!("{delta} {change}"))
    } else {
        let kl = format!("KL alone {}", text::number(e.kl_at_end()));
        (kl.clone(), kl)
    };
    let forms =
        [format!("touched {}  {delta} {change}  {kl}", e.effect.touched), format!("{delta} {change}  {kl}"), least];
    let plan = scene.setting().plan(&scene.edits.lines[at].edit).ok();
    if let Some(caution) = plan.and_then(|plan| plan.caution()) {
        let said = forms.iter().map(|form| format!("{form}  {caution}")).chain([caution.to_string()]);
        return Span::styled(longest(said, room), theme.changed());
    }
    Span::styled(longest(forms, room), theme.changed())
}

/// The first form that fits.
fn longest(forms: impl IntoIterator<Item = String>, room: usize) -> String {
    forms.into_iter().find(|form| form.width() <= room).unwrap_or_default()
}

fn lines(
    edit: &EditLine,
    proof: Span<'static>,
    chosen: bool,
    width: usize,
    below: bool,
    scene: &Scene,
    theme: Theme,
) -> Vec<Line<'static>> {
    let mark = Span::raw(if edit.on { "[x] " } else { "[ ] " });
    let style = match (chosen, edit.on) {
        (true, _) => theme.selected(scene.layout.focus == Focus::Edits),
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
