use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::line::{PromptLine, TextLine};
use crate::{
    experiment::Token,
    paint::{Theme, input_line, overlay, text},
};

/// The prompt and the contrast prompt as lines of text, with their tokens.
pub(in crate::explorer) fn draw(frame: &mut Frame<'_>, screen: Rect, open: &PromptLine, theme: Theme) {
    let inner = overlay(frame, screen, (120, 16), "prompts", theme);
    if inner.height == 0 || inner.width < 4 {
        return;
    }
    let [prompt, contrast] = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(inner);
    let other = |i: usize| open.lines[1 - i].tokens.as_ref().map_or(&[][..], |tokens| tokens.as_slice());
    for (i, area) in [prompt, contrast].into_iter().enumerate() {
        line(frame, area, i == 1, &open.lines[i], other(i), open.active == i, theme);
    }
}

fn line(
    frame: &mut Frame<'_>,
    area: Rect,
    contrast: bool,
    line: &TextLine,
    other: &[Token],
    active: bool,
    theme: Theme,
) {
    let name = if contrast { "contrast > " } else { "prompt   > " };
    input_line(frame, area, name, &line.input, active, theme);
    let below = match &line.tokens {
        Err(why) => vec![Line::from(Span::styled(why.clone(), theme.error()))],
        Ok(tokens) if tokens.is_empty() => vec![Line::from(Span::styled("none", theme.dim()))],
        Ok(tokens) => {
            let count = Span::styled(format!("{} tokens  ", tokens.len()), theme.accent());
            // a prompt alone needs no warning; a contrast prompt is for patching
            let warning = (contrast && !other.is_empty() && other.len() != tokens.len()).then(|| {
                Span::styled(
                    format!("the prompt has {}: patching needs the same number  ", other.len()),
                    theme.changed(),
                )
            });
            let mut spans: Vec<Span<'_>> = [count].into_iter().chain(warning).collect();
            // a token takes at least one column
            let visible = usize::from(area.width) * usize::from(area.height);
            for (i, token) in tokens.iter().enumerate().take(visible) {
                // where both prompts have tokens, the differences are highlighted
                let differs = !other.is_empty() && other.get(i) != Some(token);
                let style = if differs { theme.changed() } else { ratatui::style::Style::new() };
                spans.push(Span::styled(text::label(&token.text, theme), style));
                spans.push(Span::styled(format!(" {}  ", token.id), theme.dim()));
            }
            vec![Line::from(spans)]
        }
    };
    let area = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(1), ..area };
    frame.render_widget(Paragraph::new(below).wrap(Wrap { trim: false }), area);
}
