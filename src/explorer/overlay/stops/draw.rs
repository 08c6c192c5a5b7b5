use ratatui::{Frame, layout::Rect};

use crate::{
    explorer::{panels::stops, state::State},
    keys::Action,
    paint::{Theme, overlay, row, say},
};

/// Breakpoints with their hits, and watches with their values.
pub(in crate::explorer) fn draw(frame: &mut Frame<'_>, screen: Rect, at: usize, state: &State, theme: Theme) {
    let n = state.scene.stops.len();
    let rows = u16::try_from(n).unwrap_or(u16::MAX).clamp(1, 20);
    let inner = overlay(frame, screen, (110, rows + 2), "breakpoints and watches", theme);
    if n == 0 {
        let keys = [Action::Breakpoint, Action::Watch].map(|action| state.scene.key(action));
        let said = format!("none: {} makes a breakpoint of what is under the cursor, {} a watch", keys[0], keys[1]);
        return say(frame, inner, said, theme);
    }
    let first = (at + 1).saturating_sub(inner.height.into());
    for (number, y) in (first..n).zip(0..inner.height) {
        frame.render_widget(stops::line(number, Some(at), inner.width.into(), state, theme), row(inner, y));
    }
}
