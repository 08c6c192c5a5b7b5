//! The band below the view: the current step of a tour, or the text of presenter mode.

use ratatui::{
    Frame,
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use crate::{
    explorer::{
        state::State,
        tour::{Part, Tour, fitted, shown},
    },
    keys::Action,
    paint::{Region, Theme, row, text},
    views::Panels,
};

pub(in crate::explorer) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    state: &State,
    regions: &mut Vec<Region>,
    theme: Theme,
) {
    if area.is_empty() {
        return;
    }
    let presenting = state.scene.layout.panels == Panels::Presented;
    let words = Rect {
        x: area.x + 1.min(area.width),
        y: area.y + 1.min(area.height),
        width: area.width.saturating_sub(2),
        height: area.height.saturating_sub(if presenting { 2 } else { 1 }),
    };
    let width = usize::from(words.width);
    let lines = shown(state.view(), &state.scene, state.tour.as_ref(), width, theme);
    for ((part, said), at) in fitted(lines, words.height.into(), width, theme).into_iter().zip(0..) {
        let style = style(part, presenting, theme);
        frame.render_widget(Line::from(Span::styled(said, style)), row(words, at));
    }
    if !presenting {
        rule(frame, row(area, 0), state, regions, theme);
    }
}

fn style(part: Part, presenting: bool, theme: Theme) -> Style {
    match part {
        Part::Said if presenting => Style::new().add_modifier(Modifier::BOLD),
        Part::Said => Style::new(),
        Part::Formula => theme.accent(),
        Part::Press => theme.title(),
        Part::Change => theme.changed().add_modifier(Modifier::BOLD),
    }
}

/// The line above a step: its title, its number, and the keys of the tour.
fn rule(frame: &mut Frame<'_>, area: Rect, state: &State, regions: &mut Vec<Region>, theme: Theme) {
    let Some((tour, (at, step))) = state.tour.as_ref().and_then(|tour| Some((tour, tour.step()?))) else { return };
    let (border, width) = (if theme.ascii { "-" } else { "─" }, usize::from(area.width));
    let keys = [(Action::Tour, "next"), (Action::TourBack, "back"), (Action::Escape, "leave")];
    let keys: Vec<_> = keys.into_iter().map(|(action, what)| (action, state.scene.key(action), what)).collect();
    let size = |(_, key, what): &(Action, String, &str)| key.width() + what.width() + 3;
    let needs: usize = keys.iter().map(size).sum::<usize>() + 1;
    let title = title(tour, at, &step.title, width.saturating_sub(needs + 4), theme);
    let gap = width.saturating_sub(title.width() + needs + 1);
    let mut spans = vec![
        Span::styled(border, theme.dim()),
        Span::styled(title, theme.title()),
        Span::styled(border.repeat(gap), theme.dim()),
    ];
    let mut column = spans.iter().map(Span::width).sum::<usize>();
    for hint in keys {
        let size = size(&hint);
        let place = Rect {
            x: area.x.saturating_add(u16::try_from(column).unwrap_or(u16::MAX)),
            width: u16::try_from(size).unwrap_or(0),
            ..area
        };
        let (action, key, what) = hint;
        regions.push(Region::action(place.intersection(area), action));
        column += size;
        let what = Span::styled(format!(" {what} "), theme.dim());
        spans.extend([Span::raw(" "), Span::styled(key, theme.title()), what]);
    }
    spans.push(Span::styled(border, theme.dim()));
    frame.render_widget(Line::from(spans), area);
}

/// ` 3 of 12 · The residual stream `, with the tour's title before it where there is room.
fn title(tour: &Tour, at: usize, step: &str, room: usize, theme: Theme) -> String {
    let visible = |title: &str| text::visible(&text::plain(title, theme), theme);
    let (sep, place) = (theme.separator(), format!("{} of {}", at + 1, tour.steps().len()));
    let short = format!("{place}{sep}{}", visible(step));
    let long = format!("{}{sep}{short}", visible(&tour.title));
    let title = if long.width() + 2 <= room { long } else { text::cut(&short, room.saturating_sub(2), theme) };
    format!(" {title} ")
}
