use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::{Theme, input_line, overlay, text};
use crate::{
    app::{PromptLine, TextLine},
    experiment::Token,
};

/// The prompt and the contrast prompt as lines of text, and the tokens they become.
pub(super) fn draw(frame: &mut Frame<'_>, screen: Rect, open: &PromptLine, theme: Theme) {
    let inner = overlay(frame, screen, (120, 16), "prompts", theme);
    if inner.height == 0 || inner.width < 4 {
        return;
    }
    let rows = [Constraint::Length(1), Constraint::Fill(1)];
    let [hint, below] = Layout::vertical(rows).areas(inner);
    let said = "Tab: the other line   Up, Down: earlier prompts   Enter: run";
    frame.render_widget(Line::from(Span::styled(text::cut(said, hint.width.into(), theme), theme.dim())), hint);
    let [prompt, contrast] = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(below);
    let other = |i: usize| open.lines[1 - i].tokens.as_ref().map_or(&[][..], |tokens| tokens.as_slice());
    for (i, (name, area)) in [("prompt   > ", prompt), ("contrast > ", contrast)].into_iter().enumerate() {
        line(frame, area, name, &open.lines[i], other(i), open.active == i, theme);
    }
}

fn line(frame: &mut Frame<'_>, area: Rect, name: &str, line: &TextLine, other: &[Token], active: bool, theme: Theme) {
    input_line(frame, area, name, &line.input, active, theme);
    let below = match &line.tokens {
        Err(why) => vec![Line::from(Span::styled(why.clone(), theme.error()))],
        Ok(tokens) if tokens.is_empty() => vec![Line::from(Span::styled("none", theme.dim()))],
        Ok(tokens) => {
            let mut spans = vec![Span::styled(format!("{} tokens  ", tokens.len()), theme.accent())];
            // a token takes a column at least
            let visible = usize::from(area.width) * usize::from(area.height);
            for (i, token) in tokens.iter().enumerate().take(visible) {
                // where both prompts have tokens, those that differ stand out
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
