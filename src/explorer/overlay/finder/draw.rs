use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::search::Finder;
use crate::{
    paint::{Theme, input_line, overlay, say, text},
    views::Scene,
};

/// The `/` overlay: the query and the hooks it matches.
pub(in crate::explorer) fn draw(frame: &mut Frame<'_>, screen: Rect, finder: &Finder, scene: &Scene, theme: Theme) {
    let inner = overlay(frame, screen, (60, 16), "find a hook", theme);
    if inner.height == 0 || inner.width < 4 {
        return;
    }
    input_line(frame, inner, "/ ", &finder.input, true, theme);
    let list = Rect { y: inner.y + 1, height: inner.height - 1, ..inner };
    if finder.matches.is_empty() {
        return say(frame, list, "no hook name matches", theme);
    }
    let first = (finder.cursor + 1).saturating_sub(list.height.into());
    for ((i, point), y) in finder.matches.iter().enumerate().skip(first).take(list.height.into()).zip(list.y..) {
        let style = match (i == finder.cursor, scene.schema.check(*point)) {
            (true, _) => theme.selected(true),
            (false, Ok(())) => ratatui::style::Style::new(),
            (false, Err(_)) => theme.dim(),
        };
        let name = text::fit(&format!("  {point}"), list.width.into(), theme);
        frame.render_widget(Line::from(Span::styled(name, style)), Rect::new(list.x, y, list.width, 1));
    }
}
