use ratatui::{
    Frame,
    layout::{Position, Rect},
    text::{Line, Span},
};

use super::{Theme, overlay, say, text};
use crate::app::{Finder, State};

/// The `/` overlay: the query and the hooks it matches.
pub(super) fn draw(frame: &mut Frame<'_>, screen: Rect, finder: &Finder, state: &State, theme: Theme) {
    let inner = overlay(frame, screen, (60, 16), "find a hook", theme);
    if inner.height == 0 || inner.width < 4 {
        return;
    }
    let query = Line::from(vec![Span::styled("/ ", theme.title()), Span::raw(finder.input.value().to_string())]);
    frame.render_widget(query, Rect { height: 1, ..inner });
    let column = u16::try_from(finder.input.visual_cursor()).unwrap_or(0) + 2;
    frame.set_cursor_position(Position::new((inner.x + column).min(inner.right() - 1), inner.y));
    let list = Rect { y: inner.y + 1, height: inner.height - 1, ..inner };
    if finder.matches.is_empty() {
        return say(frame, list, "no hook has all of these in its name", theme);
    }
    let first = (finder.cursor + 1).saturating_sub(list.height.into());
    for ((i, point), y) in finder.matches.iter().enumerate().skip(first).take(list.height.into()).zip(list.y..) {
        let style = match (i == finder.cursor, state.schema.check(*point)) {
            (true, _) => theme.selected(true),
            (false, Ok(())) => ratatui::style::Style::new(),
            (false, Err(_)) => theme.dim(),
        };
        let name = text::fit(&format!("  {point}"), list.width.into(), theme);
        frame.render_widget(Line::from(Span::styled(name, style)), Rect::new(list.x, y, list.width, 1));
    }
}
