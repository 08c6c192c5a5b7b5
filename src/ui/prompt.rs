use ratatui::{
    Frame,
    layout::{Position, Rect},
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::{Theme, overlay, text};
use crate::app::PromptLine;

/// The prompt as a line of text, and the tokens it becomes.
pub(super) fn draw(frame: &mut Frame<'_>, screen: Rect, prompt: &PromptLine, theme: Theme) {
    let inner = overlay(frame, screen, (120, 12), "prompt", theme);
    if inner.height == 0 || inner.width < 4 {
        return;
    }
    let width = usize::from(inner.width).saturating_sub(3);
    let scroll = prompt.input.visual_scroll(width);
    let shown: String = text::visible(prompt.input.value(), theme).chars().skip(scroll).collect();
    let line = Line::from(vec![Span::styled("> ", theme.title()), Span::raw(shown)]);
    frame.render_widget(line, Rect { height: 1, ..inner });
    let column = u16::try_from(2 + prompt.input.visual_cursor().saturating_sub(scroll)).unwrap_or(0);
    frame.set_cursor_position(Position::new((inner.x + column).min(inner.right() - 1), inner.y));

    let below = match &prompt.tokens {
        Err(why) => vec![Line::from(Span::styled(why.clone(), theme.error()))],
        Ok(tokens) => {
            let count = format!("{} tokens   Up, Down: earlier prompts", tokens.len());
            let mut spans: Vec<Span<'_>> = Vec::new();
            for token in tokens {
                spans.push(Span::raw(text::label(&token.text, theme)));
                spans.push(Span::styled(format!(" {}  ", token.id), theme.dim()));
            }
            vec![Line::from(Span::styled(count, theme.accent())), Line::from(spans)]
        }
    };
    let area = Rect { y: inner.y + 1, height: inner.height - 1, ..inner };
    frame.render_widget(Paragraph::new(below).wrap(Wrap { trim: false }), area);
}
