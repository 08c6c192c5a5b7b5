use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use super::line::CommandLine;
use crate::paint::{Theme, heatmap::around, input_line, overlay, row, say, text};

/// The `:` line and its completions, with their keys.
pub(in crate::explorer) fn draw(frame: &mut Frame<'_>, screen: Rect, open: &CommandLine, theme: Theme) {
    let inner = overlay(frame, screen, (110, 18), "commands", theme);
    input_line(frame, inner, ":", &open.input, true, theme);
    let list = Rect { y: inner.y + 1.min(inner.height), height: inner.height.saturating_sub(1), ..inner };
    if open.completions.is_empty() {
        let typed = open.input.value().contains(' ');
        let said = if typed { "Enter runs it" } else { "no action or command matches" };
        return say(frame, list, said, theme);
    }
    let widest = |of: fn(&super::Completion) -> usize| open.completions.iter().map(of).max().unwrap_or(0);
    let (name, keys) = (widest(|c| c.line.width()).min(40), widest(|c| c.keys.width()).min(14));
    let visible = around(open.cursor, list.height.into(), open.completions.len());
    for (number, y) in visible.zip(0..) {
        let completion = &open.completions[number];
        let style = if number == open.cursor { theme.selected(true) } else { Style::new() };
        let room = usize::from(list.width).saturating_sub(name + keys + 4);
        let spans = vec![
            Span::styled(text::fit(&completion.line, name, theme), style),
            Span::styled(format!(" {} ", text::fit(&completion.keys, keys, theme)), theme.accent()),
            Span::styled(text::cut(completion.doc, room, theme), theme.dim()),
        ];
        frame.render_widget(Line::from(spans), row(list, y));
    }
}
