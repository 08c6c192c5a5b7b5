use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::listed;
use crate::{
    explorer::state::State,
    keys::Action,
    paint::{Theme, heatmap::around, overlay, row, text},
    views::Tab,
};

/// Columns of the list, and in it of a key and of a title.
const WIDTH: u16 = 120;
const KEY: usize = 5;
const TITLE: usize = 13;

/// The views by group, each with its key and what it shows; views without anything to show say why.
pub(in crate::explorer) fn draw(frame: &mut Frame<'_>, screen: Rect, at: usize, state: &State, theme: Theme) {
    let (scene, tabs) = (&state.scene, listed());
    let room = usize::from(screen.width.min(WIDTH)).saturating_sub(2 + KEY + TITLE);
    let mut lines = Vec::new();
    let mut cursor = 0;
    let mut group = None;
    for (number, tab) in tabs.iter().enumerate() {
        let view = state.views.get(*tab);
        let about = view.about();
        if group != Some(about.group) {
            group = Some(about.group);
            lines.push(Line::from(Span::styled(about.group.title(), theme.title())));
        }
        if number == at {
            cursor = lines.len();
        }
        let action = Tab::ALL.iter().position(|other| other == tab).map(Action::View);
        let key = action.and_then(|action| scene.keys.bound(action)).and_then(|bound| bound.keys.first());
        let key = key.map(ToString::to_string).unwrap_or_default();
        let why = view.unavailable(scene);
        let doc = about.doc.split_once(": ").map_or(about.doc, |(_, what)| what);
        let what = why.as_ref().map_or_else(|| doc.to_string(), |why| format!("{why}; {doc}"));
        let style = match (number == at, why.is_some()) {
            (true, _) => theme.selected(true),
            (false, true) => theme.dim(),
            (false, false) => Style::new(),
        };
        lines.push(Line::from(vec![
            Span::styled(format!("  {key:>2} "), theme.dim()),
            Span::styled(text::fit(about.title, TITLE, theme), style),
            Span::styled(text::cut(&what, room, theme), theme.dim()),
        ]));
    }
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let inner = overlay(frame, screen, (WIDTH, rows.saturating_add(2)), "views", theme);
    let visible = around(cursor, inner.height.into(), lines.len());
    for (line, y) in lines.into_iter().skip(visible.start).zip(0..inner.height) {
        frame.render_widget(line, row(inner, y));
    }
}
