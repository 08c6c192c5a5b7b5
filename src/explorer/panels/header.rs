use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use crate::{
    paint::{Theme, text},
    printed::counted,
    views::{Phase, Scene},
};

/// One line: the model, how it was loaded, the prompt's tokens, and the outcome of the run on the screen.
pub(in crate::explorer) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene, theme: Theme) {
    let sep = || Span::styled(theme.separator(), theme.dim());
    let model = &scene.model;
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
    if let Some(against) = &scene.against {
        let against = text::visible(against, theme);
        left.extend([Span::styled(" against ", theme.dim()), Span::styled(against, theme.title())]);
    }
    let always = left.len();
    left.extend([sep(), Span::raw(model.processing.name()), sep(), Span::raw(model.device.as_str())]);

    let mut right: Vec<Span<'_>> = Vec::new();
    if let Some(step) = scene.checkpoints.wanted.and_then(|to| scene.checkpoints.steps.get(to)) {
        let percent =
            scene.checkpoints.fetching.get(&step.revision).map(|p| format!(" {} %", p.done * 100 / p.total.max(1)));
        let going = format!("to {}{}", step.revision, percent.unwrap_or_default());
        right.extend([Span::styled(going, theme.accent()), sep()]);
    }
    match &scene.runs.phase {
        Phase::Running { block: 0, blocks: 0 } => right.push(Span::styled("running", theme.accent())),
        Phase::Running { block, blocks } => {
            right.push(Span::styled(format!("running, block {block}/{blocks}"), theme.accent()));
        }
        Phase::Failed(_) => right.push(Span::styled("failed", theme.error())),
        Phase::Cancelled => right.push(Span::styled("cancelled", theme.changed())),
        Phase::Done => {}
    }
    if let Some(stopped) = scene.runs.held() {
        right.push(Span::styled(format!("held at {}", stopped.at), theme.changed()));
    } else if let (Some(shown), Phase::Done) = (&scene.runs.shown, &scene.runs.phase) {
        right.push(Span::raw(format!("{:.0} ms", shown.summary.elapsed_ms.max(1.0))));
        let edits = shown.spec.edits.len();
        if edits > 0 {
            right.extend([sep(), Span::raw(counted(edits, "edit"))]);
        }
        if scene.is_compared() {
            let kl = format!("KL {}", text::number(shown.summary.kl_at_end()));
            right.extend([sep(), Span::styled(kl, theme.changed())]);
        }
    }
    if let Some(undefined) = scene.runs.shown.as_ref().map(|shown| shown.summary.undefined_rows).filter(|n| *n > 0) {
        // without a finite score there is no softmax; these rows were set to 0, as in the reference
        right.extend([sep(), Span::styled(format!("{undefined} undefined attention rows"), theme.changed())]);
    }
    if let Some(contrast) = &scene.prompts.contrast {
        right.extend([sep(), Span::styled(format!("contrast {} tokens", contrast.len()), theme.dim())]);
    }
    right.push(Span::raw(" "));

    // the prompt is shortened first, then the device is left out, then the processing
    let width = |spans: &[Span<'_>]| spans.iter().map(|s| s.content.width()).sum::<usize>();
    let total = usize::from(area.width);
    let gap = theme.separator().width();
    while width(&left) + gap + width(&right) > total && left.len() > always {
        left.truncate(left.len() - 2);
    }
    let room = total.saturating_sub(width(&left) + width(&right) + 2 * gap);
    if room > 3 {
        left.push(sep());
        left.extend(prompt(scene, room, theme));
    }
    left.push(sep());
    left.extend(right);
    frame.render_widget(Line::from(left), area);
}

/// The tokens of the prompt, with the one under the cursor marked; in a long prompt, those around it and their number.
fn prompt(scene: &Scene, room: usize, theme: Theme) -> Vec<Span<'static>> {
    let tokens: Vec<String> = scene.tokens().iter().map(|token| text::visible(&token.text, theme)).collect();
    let at = scene.cursor.pos.min(tokens.len().saturating_sub(1));
    let columns = |tokens: &[String]| tokens.iter().map(|token| token.width() + 1).sum::<usize>() + 1;
    let count = format!("{} tokens ", tokens.len());
    let (mut first, mut end) = (at, (at + 1).min(tokens.len()));
    let whole = columns(&tokens) <= room;
    let left = if whole { room } else { room.saturating_sub(count.len() + 2 * theme.ellipsis().width()) };
    // tokens are added on both sides as long as there is room
    while (first > 0 && columns(&tokens[first - 1..end]) <= left)
        || (end < tokens.len() && columns(&tokens[first..=end]) <= left)
    {
        if first > 0 && columns(&tokens[first - 1..end]) <= left {
            first -= 1;
        }
        if end < tokens.len() && columns(&tokens[first..=end]) <= left {
            end += 1;
        }
    }
    let mut spans = Vec::new();
    if !whole {
        spans.push(Span::styled(count, theme.dim()));
    }
    let edge = |more: bool| Span::styled(if more { theme.ellipsis() } else { "\"" }, theme.dim());
    spans.push(edge(first > 0));
    for (number, token) in tokens.iter().enumerate().take(end).skip(first) {
        if number > first {
            spans.push(Span::styled("|", theme.dim()));
        }
        let style = match () {
            () if number == at => theme.accent(),
            // of a continuation
            () if number >= scene.prompts.prompt().len() => theme.changed(),
            () => theme.dim(),
        };
        spans.push(Span::styled(text::cut(token, left.max(4), theme), style));
    }
    spans.push(edge(end < tokens.len()));
    let used: usize = spans.iter().map(Span::width).sum();
    if used <= room { spans } else { vec![Span::styled(text::cut(&tokens.join("|"), room, theme), theme.dim())] }
}
