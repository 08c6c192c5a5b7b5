//! State to frame: one file a panel, each a pure function of the state.

mod attention;
mod attribution;
mod command;
mod editor;
mod edits;
mod finder;
mod grid;
mod header;
mod heads;
mod heatmap;
mod help;
mod hints;
mod lens;
mod logits;
mod patterns;
mod prompt;
mod save;
mod scale;
mod shape;
mod svg;
mod sweep;
mod text;
mod theme;
mod training;
mod tree;
mod values;

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

use crate::{
    app::{Action, Extent, Focus, Overlay, Region, State, Tab},
    engine::Compare,
};

pub use svg::svg;
pub use theme::{ColorDepth, Theme};

/// Draw the whole screen; returns what can be clicked in the view.
pub fn draw(frame: &mut Frame<'_>, state: &State, theme: Theme) -> Vec<Region> {
    let screen = frame.area();
    let areas = state.areas();
    // the terminal may have shrunk since the state last heard of it
    let fit = |area: Rect| area.intersection(screen);
    let mut hits = Vec::new();
    header::draw(frame, fit(areas.header), state, theme);
    tree::draw(frame, fit(areas.tree), state, theme);
    view(frame, fit(areas.view), state, &mut hits, theme);
    edits::draw(frame, fit(areas.edits), state, theme);
    logits::draw_next(frame, fit(areas.next), state, theme);
    hints::draw(frame, fit(areas.hints), state, theme);
    match &state.overlay {
        None => {}
        Some(Overlay::Find(finder)) => finder::draw(frame, screen, finder, state, theme),
        Some(Overlay::Edit(editor)) => editor::draw(frame, screen, editor, theme),
        Some(Overlay::Prompt(open)) => prompt::draw(frame, screen, open, theme),
        Some(Overlay::Command(line)) => command::draw(frame, screen, line, theme),
        Some(Overlay::Save(line)) => save::draw(frame, screen, line, theme),
        Some(Overlay::Help(scroll)) => help::draw(frame, screen, *scroll, state, theme),
    }
    hits
}

/// The right-hand panel: tabs in its border, and the chosen view; where in the pass it is, below.
fn view(frame: &mut Frame<'_>, area: Rect, state: &State, hits: &mut Vec<Region>, theme: Theme) {
    if area.is_empty() {
        return;
    }
    let mut title: Vec<Span<'_>> = Vec::new();
    let mut column = 0;
    for (tab, name, at) in state.tab.titles(area.width.saturating_sub(2).into()) {
        let style = if tab == state.tab { theme.title() } else { theme.dim() };
        let border = if theme.ascii { "-" } else { "─" };
        // a gap of one column is a piece of the border
        let gap = at.saturating_sub(column);
        let gap = if gap > 1 { " ".repeat(gap) } else { border.repeat(gap) };
        title.extend([Span::styled(gap, theme.dim()), Span::styled(name, style)]);
        column = at + name.len();
    }
    if state.tab.titles(area.width.saturating_sub(2).into()).first().is_some_and(|(_, _, at)| *at > 1) {
        title.push(Span::raw(" "));
    }
    let compared = comparison(state, theme);
    let room = usize::from(area.width).saturating_sub(compared.as_ref().map_or(0, |span| span.width() + 1));
    let crumbs = Span::styled(format!(" {} ", breadcrumb(state, room, theme)), theme.dim());
    let block = theme
        .panel(state.focus == Focus::View)
        .title(Line::from(title))
        .title_bottom(Line::from(crumbs).right_aligned());
    let block = match compared {
        Some(compared) => block.title_bottom(Line::from(compared)),
        None => block,
    };
    let inner = block.inner(area);
    frame.render_widget(block, area);
    match state.tab {
        Tab::Shape => shape::draw(frame, inner, state, theme),
        Tab::Values => values::draw(frame, inner, state, hits, theme),
        Tab::Attention if state.looks.extent == Extent::Head => attention::draw(frame, inner, state, hits, theme),
        Tab::Attention => patterns::draw(frame, inner, state, hits, theme),
        Tab::Logits => logits::draw(frame, inner, state, hits, theme),
        Tab::Lens => lens::draw(frame, inner, state, hits, theme),
        Tab::Attribution => attribution::draw(frame, inner, state, hits, theme),
        Tab::Heads => heads::draw(frame, inner, state, hits, theme),
        Tab::Sweep => sweep::draw(frame, inner, state, hits, theme),
        Tab::Training => training::draw(frame, inner, state, hits, theme),
    }
}

/// Where the selected hook lies in the model, and when it fires in the pass.
fn breadcrumb(state: &State, width: usize, theme: Theme) -> String {
    let path = state.tree.path();
    let step = state.step().map(|(step, of)| format!("   step {step} of {of}")).unwrap_or_default();
    let room = width.saturating_sub(6);
    // what is furthest out gives way first
    let forms = (0..path.len()).map(|first| path[first..].join(theme.within()) + &step);
    let shortest = || text::cut(&path[path.len() - 1], room, theme);
    forms.into_iter().find(|form| form.chars().count() <= room).unwrap_or_else(shortest)
}

/// What of the edited run and the baseline a view shows, and the key that changes it; nothing without edits.
fn comparison(state: &State, theme: Theme) -> Option<Span<'static>> {
    let edited = state.shown.as_ref().is_some_and(|shown| !shown.spec.edits.is_empty());
    let style = if state.compare() == Compare::Edited { theme.dim() } else { theme.changed() };
    // Shape and Training show both, and a sweep is on top of the edits
    let applies = !matches!(state.tab, Tab::Shape | Tab::Sweep | Tab::Training);
    (edited && applies)
        .then(|| Span::styled(format!(" {}: {} ", state.keymap().key(Action::Compare), state.compare().title()), style))
}

/// A quiet sentence where there is nothing else to show.
fn say(frame: &mut Frame<'_>, area: Rect, text: impl Into<String>, theme: Theme) {
    let text = Paragraph::new(text.into()).style(theme.dim()).wrap(Wrap { trim: true });
    frame.render_widget(text, area);
}

/// Row `number` of an area; empty below its end.
fn row(area: Rect, number: u16) -> Rect {
    Rect { y: area.y + number.min(area.height), height: u16::from(number < area.height), ..area }
}

/// Write text where it fits on the screen, and nothing where it does not.
fn put(buffer: &mut Buffer, x: u16, y: u16, text: impl AsRef<str>, style: Style) {
    if buffer.area.contains(Position::new(x, y)) {
        buffer.set_string(x, y, text, style);
    }
}

/// An overlay in the middle of the screen, cleared and framed; returns its inside.
fn overlay(frame: &mut Frame<'_>, screen: Rect, size: (u16, u16), title: &str, theme: Theme) -> Rect {
    let (width, height) = (size.0.min(screen.width), size.1.min(screen.height));
    let area = Rect::new((screen.width - width) / 2, (screen.height - height) / 2, width, height);
    frame.render_widget(ratatui::widgets::Clear, area);
    let block: Block<'_> = theme.panel(true).title(Line::from(Span::styled(format!(" {title} "), theme.title())));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}

/// A line of text that is being edited, on the first row of `area`, after `sign`; the terminal's cursor is in it if it is
/// the one typed in. Returns the first character that is shown.
fn input_line(frame: &mut Frame<'_>, area: Rect, sign: &str, input: &Input, active: bool, theme: Theme) -> usize {
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
