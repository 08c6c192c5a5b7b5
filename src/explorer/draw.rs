//! Draws the state as a frame.

use ratatui::{Frame, layout::Rect};

use super::{
    panels::{caption, edits, header, hints, next, stops, tree, view},
    state::State,
};
use crate::paint::{Region, Theme};

/// Draw the whole screen; returns the regions that can be clicked, and the pictures.
pub fn draw(frame: &mut Frame<'_>, state: &State, theme: Theme) -> Vec<Region> {
    // a dialog can cover text, but not a picture
    let theme = Theme { pixels: theme.pixels.filter(|_| state.overlay.is_none()), ..theme };
    let screen = frame.area();
    let areas = state.scene.layout.areas();
    // the terminal may have shrunk since the last resize event
    let fit = |area: Rect| area.intersection(screen);
    let mut regions = Vec::new();
    header::draw(frame, fit(areas.header), &state.scene, theme);
    tree::draw(frame, fit(areas.tree), &state.scene, theme);
    view::draw(frame, fit(areas.view), state, &mut regions, theme);
    view::draw_side(frame, fit(areas.side), state, &mut regions, theme);
    caption::draw(frame, fit(areas.caption), state, &mut regions, theme);
    edits::draw(frame, fit(areas.edits), state, theme);
    stops::draw(frame, fit(areas.stops), state, theme);
    next::draw(frame, fit(areas.next), &state.scene, theme);
    hints::draw(frame, fit(areas.hints), state, &mut regions, theme);
    if let Some(overlay) = &state.overlay {
        // the hints stay visible
        let above = Rect { height: screen.height.saturating_sub(areas.hints.height), ..screen };
        overlay.draw(frame, above, state, theme);
    }
    regions
}
