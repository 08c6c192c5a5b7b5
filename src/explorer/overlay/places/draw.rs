use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use super::list::PlaceList;
use crate::{
    analysis::short_number,
    paint::{Theme, heatmap::around, overlay, row, say, text},
    printed::counted,
    views::Scene,
};

/// How many places there are, and each with its value.
pub(in crate::explorer) fn draw(frame: &mut Frame<'_>, screen: Rect, list: &PlaceList, scene: &Scene, theme: Theme) {
    let inner = overlay(frame, screen, (90, 20), &list.predicate.to_string(), theme);
    if inner.height == 0 || inner.width < 4 {
        return;
    }
    let ask = list.ask();
    let places = match scene.seen(&ask) {
        None => return say(frame, inner, "searching", theme),
        Some(Err(why)) => return say(frame, inner, why.to_string(), theme),
        Some(Ok(all)) => match all.first() {
            Some(places) => places,
            None => return,
        },
    };
    let so_far = scene.runs.held().map(|stopped| format!(" up to {}", stopped.at)).unwrap_or_default();
    if places.listed.is_empty() {
        return say(frame, inner, format!("no place{so_far}"), theme);
    }
    let listed = places.listed.len();
    let more = if places.count > listed as u64 { format!(", the first {listed} are listed") } else { String::new() };
    let head = format!("{}{so_far}{more}", counted(places.count, "place"));
    frame.render_widget(Line::from(Span::styled(head, theme.dim())), row(inner, 0));
    let visible = around(list.cursor, usize::from(inner.height) - 1, listed);
    for (number, y) in visible.zip(1..inner.height) {
        let found = &places.listed[number];
        let value = short_number(found.value);
        let style = if number == list.cursor { theme.selected(true) } else { Style::new() };
        let room = usize::from(inner.width).saturating_sub(value.width() + 4);
        let name = text::fit(&found.place.to_string(), room, theme);
        frame.render_widget(Line::from(Span::styled(format!(" {name}  {value} "), style)), row(inner, y));
    }
}
