use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use super::{Theme, text};
use crate::app::{Phase, State};

/// One line: the model, how it was loaded, the prompt's tokens, and how the run on the screen went.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let sep = || Span::styled(theme.separator(), theme.dim());
    let model = &state.model;
    let mut left = vec![Span::raw(" "), Span::styled(text::visible(&model.name, theme), theme.title())];
    if let Some(branch) = &model.branch {
        left.push(Span::styled(format!("@{branch}"), theme.title()));
    }
    if let Some(commit) = &model.revision {
        let commit = commit.get(..8).unwrap_or(commit);
        left.push(Span::styled(format!("{}{commit}", if model.branch.is_some() { " " } else { "@" }), theme.dim()));
    }
    if let Some(note) = &model.note {
        left.push(Span::styled(format!(" ({note})"), theme.changed()));
    }
    let always = left.len();
    left.extend([sep(), Span::raw(model.processing.name()), sep(), Span::raw(model.device.as_str())]);

    let mut right: Vec<Span<'_>> = Vec::new();
    if let Some(step) = state.training.wanted.and_then(|to| state.training.steps.get(to)) {
        let percent =
            state.training.fetching.get(&step.revision).map(|p| format!(" {} %", p.done * 100 / p.total.max(1)));
        let going = format!("to {}{}", step.revision, percent.unwrap_or_default());
        right.extend([Span::styled(going, theme.accent()), sep()]);
    }
    match &state.phase {
        Phase::Running { block: 0, blocks: 0 } => right.push(Span::styled("running", theme.accent())),
        Phase::Running { block, blocks } => {
            right.push(Span::styled(format!("running, block {block}/{blocks}"), theme.accent()));
        }
        Phase::Failed(_) => right.push(Span::styled("failed", theme.error())),
        Phase::Cancelled => right.push(Span::styled("cancelled", theme.changed())),
        Phase::Done => {}
    }
    if let (Some(shown), Phase::Done) = (&state.shown, &state.phase) {
        right.push(Span::raw(format!("{:.0} ms", shown.summary.elapsed_ms.max(1.0))));
        let edits = shown.spec.edits.len();
        if edits > 0 {
            let plural = if edits == 1 { "" } else { "s" };
            let kl = Span::styled(format!("KL {}", text::number(shown.summary.kl_at_end())), theme.changed());
            right.extend([sep(), Span::raw(format!("{edits} edit{plural}")), sep(), kl]);
        }
    }
    if let Some(undefined) = state.shown.as_ref().map(|shown| shown.summary.undefined_rows).filter(|n| *n > 0) {
        // no finite score, so no softmax; they were set to 0, as the reference does
        right.extend([sep(), Span::styled(format!("{undefined} undefined attention rows"), theme.changed())]);
    }
    if let Some(contrast) = &state.contrast {
        right.extend([sep(), Span::styled(format!("contrast {} tokens", contrast.len()), theme.dim())]);
    }
    right.push(Span::raw(" "));

    // the prompt gives way first, then the device, then how the weights were processed
    let width = |spans: &[Span<'_>]| spans.iter().map(|s| s.content.width()).sum::<usize>();
    let total = usize::from(area.width);
    let gap = theme.separator().width();
    while width(&left) + gap + width(&right) > total && left.len() > always {
        left.truncate(left.len() - 2);
    }
    let room = total.saturating_sub(width(&left) + width(&right) + 2 * gap + 2);
    if room > 3 {
        let prompt: Vec<String> = state.tokens.iter().map(|t| text::visible(&t.text, theme)).collect();
        let prompt = text::cut(&prompt.join("|"), room, theme);
        left.extend([sep(), Span::styled(format!("\"{prompt}\""), theme.dim())]);
    }
    left.push(sep());
    left.extend(right);
    frame.render_widget(Line::from(left), area);
}
