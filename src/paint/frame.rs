//! Pieces of a frame that all panels and views draw with.

use ratatui::{
    Frame,
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
    text::{Line, Span},
    widgets::{Block, Paragraph, Wrap},
};
use tui_input::Input;
use unicode_width::UnicodeWidthStr;

use super::{Theme, text};

/// A quiet sentence for when there is nothing else to show.
pub(crate) fn say(frame: &mut Frame<'_>, area: Rect, text: impl Into<String>, theme: Theme) {
    let text = Paragraph::new(text.into()).style(theme.dim()).wrap(Wrap { trim: true });
    frame.render_widget(text, area);
}

/// The part of an area from row `top` of the screen on, after a free row if there is room for one, with up to `rows`
/// rows.
pub(crate) fn below(area: Rect, top: u16, rows: u16) -> Rect {
    let gap = u16::from(top + rows < area.bottom());
    let y = (top + gap).min(area.bottom());
    Rect { y, height: rows.min(area.bottom() - y), ..area }
}

/// Row `number` of an area; empty below its end.
pub(crate) fn row(area: Rect, number: u16) -> Rect {
    Rect { y: area.y + number.min(area.height), height: u16::from(number < area.height), ..area }
}

/// Write as much of a text as fits on the screen.
pub(crate) fn put(buffer: &mut Buffer, x: u16, y: u16, text: impl AsRef<str>, style: Style) {
    if buffer.area.contains(Position::new(x, y)) {
        buffer.set_string(x, y, text, style);
    }
}

/// An overlay in the middle of the screen, cleared and framed; returns its inside.
pub(crate) fn overlay(frame: &mut Frame<'_>, screen: Rect, size: (u16, u16), title: &str, theme: Theme) -> Rect {
    let (width, height) = (size.0.min(screen.width), size.1.min(screen.height));
    let area = Rect::new((screen.width - width) / 2, (screen.height - height) / 2, width, height);
    frame.render_widget(ratatui::widgets::Clear, area);
    let block: Block<'_> = theme.panel(true).title(Line::from(Span::styled(format!(" {title} "), theme.title())));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}

/// A line of text that is being edited, on the first row of `area`, after `sign`. It has the terminal's cursor if it is
/// typed in. Returns the first visible character.
pub(crate) fn input_line(
    frame: &mut Frame<'_>,
    area: Rect,
    sign: &str,
    input: &Input,
    active: bool,
    theme: Theme,
) -> usize {
    if area.height == 0 || area.width < 4 {
        return 0;
    }
    let width = usize::from(area.width).saturating_sub(sign.len() + 1);
    let value = input.value();
    let cursor = value.char_indices().nth(input.cursor()).map_or(value.len(), |(at, _)| at);
    // back from the cursor as far as there is room: the line may be far longer than the screen is wide
    let mut room = width;
    let fits = |(_, c): &(usize, char)| {
        let left = room.checked_sub(text::columns(*c, theme));
        room = left.unwrap_or(room);
        left.is_some()
    };
    let first = value[..cursor].char_indices().rev().take_while(fits).last().map_or(cursor, |(at, _)| at);
    let before = text::visible(&value[first..cursor], theme);
    let after: String = value[cursor..].chars().take(width + 1).collect();
    let sign_style = if active { theme.title() } else { theme.dim() };
    let shown = [before.as_str(), &text::visible(&after, theme)].concat();
    let line = Line::from(vec![Span::styled(sign.to_string(), sign_style), Span::raw(shown)]);
    frame.render_widget(line, Rect { height: 1, ..area });
    if active {
        let column = u16::try_from(sign.len() + before.width()).unwrap_or(0);
        frame.set_cursor_position(Position::new((area.x + column).min(area.right() - 1), area.y));
    }
    value[..first].chars().count()
}

/// Redraw the axes of a chart in ASCII; ratatui has no other set of lines for them.
pub(crate) fn axes_in_ascii(frame: &mut Frame<'_>, area: Rect) {
    for at in area.positions() {
        let cell = &mut frame.buffer_mut()[at];
        let ascii = match cell.symbol() {
            "│" => '|',
            "─" => '-',
            "└" => '+',
            _ => continue,
        };
        cell.set_char(ascii);
    }
}
