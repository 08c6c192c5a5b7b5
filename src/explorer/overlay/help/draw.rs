use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};
use unicode_width::UnicodeWidthStr;

use super::page::HelpPage;
use crate::{
    explorer::state::State,
    keys::{Action, Bound},
    paint::{Theme, input_line, overlay, row, say, text},
};

/// A key with its description, below a heading.
struct Entry {
    heading: String,
    keys: String,
    doc: String,
}

/// The keys that match the filter, in a scrolling overlay.
pub(in crate::explorer) fn draw(frame: &mut Frame<'_>, screen: Rect, page: &HelpPage, state: &State, theme: Theme) {
    let filter = page.filter.value().to_lowercase();
    let entries: Vec<Entry> = entries(state).into_iter().filter(|entry| entry.matches(&filter)).collect();
    let widest = entries.iter().map(|entry| entry.keys.width()).max().unwrap_or(0);
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut heading = None;
    let room = usize::from(screen.width).saturating_sub(widest + 5);
    for entry in &entries {
        if heading != Some(&entry.heading) {
            heading = Some(&entry.heading);
            lines.push(Line::from(Span::styled(entry.heading.clone(), theme.title())));
        }
        for (number, part) in text::wrap(&entry.doc, room).into_iter().enumerate() {
            let keys = if number == 0 { entry.keys.as_str() } else { "" };
            let keys = Span::styled(format!("{keys:>widest$}  "), theme.accent());
            lines.push(Line::from(vec![keys, Span::raw(part)]));
        }
    }
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let size = (110, rows.saturating_add(3).max(6));
    let inner = overlay(frame, screen, size, "keys", theme);
    if inner.height == 0 {
        return;
    }
    input_line(frame, inner, "filter: ", &page.filter, true, theme);
    let list = Rect { y: inner.y + 1, height: inner.height - 1, ..inner };
    if lines.is_empty() {
        return say(frame, list, "no key matches", theme);
    }
    let scroll = page.scroll.min(rows.saturating_sub(list.height));
    frame.render_widget(Paragraph::new(lines).scroll((scroll, 0)), list);
    if rows > list.height {
        let shown = format!(" {}-{} of {rows} ", scroll + 1, (scroll + list.height).min(rows));
        let mark = Line::from(Span::styled(shown, theme.dim())).right_aligned();
        frame.render_widget(mark, Rect { width: inner.width, ..row(inner, 0) });
    }
}

impl Entry {
    fn matches(&self, filter: &str) -> bool {
        filter
            .split_whitespace()
            .all(|word| [&self.heading, &self.keys, &self.doc].iter().any(|text| text.to_lowercase().contains(word)))
    }
}

/// The keys of the current view, then every binding by group.
fn entries(state: &State) -> Vec<Entry> {
    let keys = &state.scene.keys;
    let all = |bound: &Bound| bound.keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let here = state.view().hints(&state.scene).into_iter().map(|(action, what): (Action, &str)| Entry {
        heading: format!("Here, in {}", state.tab.title()),
        keys: keys.bound(action).map(all).unwrap_or_default(),
        doc: what.into(),
    });
    let bound = keys.bindings().map(|bound| Entry {
        heading: bound.group.title().into(),
        keys: all(bound),
        doc: bound.binding.doc.into(),
    });
    here.chain(bound).collect()
}
