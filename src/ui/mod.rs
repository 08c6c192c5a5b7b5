//! State to frame: one file a panel, each a pure function of the state.

mod attention;
mod editor;
mod edits;
mod finder;
mod header;
mod heads;
mod heatmap;
mod help;
mod hints;
mod lens;
mod logits;
mod prompt;
mod shape;
mod text;
mod theme;
mod tree;

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, Paragraph, Wrap},
};

use crate::app::{Focus, State, Tab, areas};

pub use theme::{ColorDepth, Theme};

/// Draw the whole screen.
pub fn draw(frame: &mut Frame<'_>, state: &State, theme: Theme) {
    let screen = frame.area();
    let areas = areas(screen.width, screen.height, state.focus);
    header::draw(frame, areas.header, state, theme);
    tree::draw(frame, areas.tree, state, theme);
    view(frame, areas.view, state, theme);
    edits::draw(frame, areas.edits, state, theme);
    logits::draw_next(frame, areas.next, state, theme);
    hints::draw(frame, areas.hints, state, theme);
    if let Some(finder) = &state.finder {
        finder::draw(frame, screen, finder, state, theme);
    }
    if let Some(editor) = &state.editor {
        editor::draw(frame, screen, editor, theme);
    }
    if let Some(line) = &state.prompt {
        prompt::draw(frame, screen, line, theme);
    }
    if let Some(scroll) = state.help {
        help::draw(frame, screen, scroll, theme);
    }
}

/// The right-hand panel: tabs in its border, and the chosen view.
fn view(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let mut title: Vec<Span<'_>> = Vec::new();
    for tab in Tab::ALL {
        let style = if tab == state.tab { theme.title() } else { theme.dim() };
        title.extend([Span::raw(" "), Span::styled(tab.title(), style), Span::raw(" ")]);
    }
    let block = theme.panel(state.focus == Focus::View).title(Line::from(title));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    match state.tab {
        Tab::Shape => shape::draw(frame, inner, state, theme),
        Tab::Attention => attention::draw(frame, inner, state, theme),
        Tab::Logits => logits::draw(frame, inner, state, theme),
        Tab::Lens => lens::draw(frame, inner, state, theme),
        Tab::Heads => heads::draw(frame, inner, state, theme),
    }
}

/// A quiet sentence where there is nothing else to show.
fn say(frame: &mut Frame<'_>, area: Rect, text: impl Into<String>, theme: Theme) {
    let text = Paragraph::new(text.into()).style(theme.dim()).wrap(Wrap { trim: true });
    frame.render_widget(text, area);
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
