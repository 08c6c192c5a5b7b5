//! The bottom line: the keys that do something here, or a message.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span, Text},
    widgets::Clear,
};
use unicode_width::UnicodeWidthStr;

use crate::{
    explorer::{overlay::Overlay, state::State},
    keys::{Action, Keymap, Motion},
    paint::{Region, Theme, text},
    views::{Focus, Panels, Phase},
};

/// Rows that a message may take.
const ROWS: usize = 5;

/// A key with what it does here.
enum Hint {
    Action(Action, &'static str),
    /// A key of a dialog, which has no action.
    Key(&'static str, &'static str),
}

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
    let (hints, always) = hints(state);
    let always: Vec<Named> = always.iter().map(|hint| named(hint, &state.scene.keys)).collect();
    let room = usize::from(area.width).saturating_sub(always.iter().map(Named::width).sum());
    let mut line = area;
    if let Some((said, style)) = message(state, theme) {
        // beside the hints if it is short enough, else on separate rows
        let short = wrapped(&said, room.saturating_sub(2), theme);
        let (rows, width) = match short.as_slice() {
            [row] => (vec![row.clone()], u16::try_from(row.width() + 2).unwrap_or(area.width)),
            _ => (wrapped(&said, usize::from(area.width).saturating_sub(2), theme), area.width),
        };
        // the last row is for the hints
        let height = u16::try_from(rows.len()).unwrap_or(1).min(area.y + 1);
        let place = Rect { y: area.y + 1 - height, height, width, ..area };
        clear(frame, place, regions);
        let lines = rows.into_iter().map(|row| Line::from(Span::styled(format!(" {row}"), style)));
        frame.render_widget(Text::from(lines.collect::<Vec<_>>()), place);
        line = Rect { x: area.x + width, width: area.width - width, ..area };
    } else if let Some((said, style)) = whole_edit(state, theme).filter(|_| area.y > 0) {
        let above = Rect { y: area.y - 1, height: 1, ..area };
        let said = text::cut(&said, usize::from(area.width).saturating_sub(1), theme);
        clear(frame, above, regions);
        frame.render_widget(Span::styled(format!(" {said}"), style), above);
    }
    let room = usize::from(line.width).saturating_sub(usize::from(area.width) - room);
    let mut shown = fitting(hints.iter().map(|hint| named(hint, &state.scene.keys)), room);
    shown.extend(always);
    draw_line(frame, line, shown, regions, theme);
}

/// A message, an error, or the value under the mouse.
fn message(state: &State, theme: Theme) -> Option<(String, Style)> {
    let scene = &state.scene;
    match (&scene.message, &scene.runs.phase, &state.hovered) {
        (Some(message), _, _) => {
            Some((message.text.clone(), if message.error { theme.error() } else { theme.accent() }))
        }
        (None, Phase::Failed(message), _) => Some((message.clone(), theme.error())),
        (None, _, Some(hit)) => state.view().describe(scene, *hit).map(|said| (said, theme.accent())),
        (None, _, None) => None,
    }
}

/// The complete selected edit if its panel may have cut it, and why it has no effect if it has none.
fn whole_edit(state: &State, theme: Theme) -> Option<(String, Style)> {
    let scene = &state.scene;
    let line = scene.edits.selected().filter(|_| scene.layout.focus == Focus::Edits)?;
    let edit = line.edit.to_string();
    let why = scene.effect(scene.edits.cursor).and_then(|effect| effect.no_effect.as_ref());
    let fits = edit.width() + 6 <= usize::from(scene.layout.areas().edits.width);
    match why {
        None if fits => None,
        None => Some((edit, theme.accent())),
        Some(why) => Some((format!("{edit}   no effect: {why}"), theme.accent())),
    }
}

/// Clear room for text; a picture keeps only what is above it.
fn clear(frame: &mut Frame<'_>, place: Rect, regions: &mut [Region]) {
    frame.render_widget(Clear, place);
    for region in regions {
        region.keep_picture_above(place.y);
    }
}

/// A message on as many rows as it needs, up to the limit.
fn wrapped(said: &str, width: usize, theme: Theme) -> Vec<String> {
    let said = text::visible(said.lines().next().unwrap_or_default(), theme);
    let mut rows = text::wrap(&said, width.max(1));
    if rows.len() > ROWS {
        rows.truncate(ROWS);
        rows[ROWS - 1].push_str(theme.ellipsis());
    }
    rows
}

/// A hint with the key that is bound to its action.
struct Named {
    key: String,
    what: &'static str,
    action: Option<Action>,
}

impl Named {
    fn width(&self) -> usize {
        self.key.width() + self.what.width() + 3
    }
}

fn named(hint: &Hint, keys: &Keymap) -> Named {
    match hint {
        Hint::Action(action, what) => Named { key: keys.key(*action), what, action: Some(*action) },
        Hint::Key(key, what) => Named { key: (*key).to_string(), what, action: None },
    }
}

/// The first hints that fit, up to the first one that does not.
fn fitting(hints: impl Iterator<Item = Named>, room: usize) -> Vec<Named> {
    let mut left = room;
    hints
        .take_while(|hint| {
            let fits = hint.width() <= left;
            left = left.saturating_sub(hint.width());
            fits
        })
        .collect()
}

/// Hints side by side, each of which can be clicked.
fn draw_line(frame: &mut Frame<'_>, area: Rect, hints: Vec<Named>, regions: &mut Vec<Region>, theme: Theme) {
    let mut spans = Vec::new();
    let mut column = area.x;
    for hint in hints {
        let width = u16::try_from(hint.width()).unwrap_or(0);
        let place = Rect { x: column, width, ..area }.intersection(area);
        regions.extend(hint.action.map(|action| Region::action(place, action)));
        column = column.saturating_add(width);
        let what = Span::styled(format!(" {} ", hint.what), theme.dim());
        spans.extend([Span::raw(" "), Span::styled(hint.key, theme.title()), what]);
    }
    frame.render_widget(Line::from(spans), area);
}

/// The keys that do something here, the most useful first, and those that are always shown.
fn hints(state: &State) -> (Vec<Hint>, Vec<Hint>) {
    if let Some(overlay) = &state.overlay {
        return (overlay_hints(overlay), vec![]);
    }
    let always = vec![Hint::Action(Action::Help, "help"), Hint::Action(Action::Command, "commands")];
    let scene = &state.scene;
    let mut hints = match scene.layout.focus {
        Focus::Tree => {
            let mut hints = vec![
                Hint::Action(Action::NextHook, "next hook"),
                Hint::Action(Action::Ablate, "ablate"),
                Hint::Action(Action::PickView, "views"),
                Hint::Action(Action::NextFocus, "into the view"),
            ];
            if scene.point().is_opt_in() {
                hints.insert(0, Hint::Action(Action::Enable, "turn on or off"));
            }
            // the view's own keys work from here too
            let view = state.view().hints(scene).into_iter();
            let of_view = view.filter(|(action, _)| {
                matches!(action, Action::Switch | Action::ChangeLayout | Action::NextHead | Action::Gradient)
            });
            hints.extend(of_view.map(|(action, what)| Hint::Action(action, what)));
            hints.extend([Hint::Action(Action::NextBlock, "next block"), Hint::Action(Action::Find, "find")]);
            hints
        }
        Focus::View => {
            let view = state.view().hints(scene);
            let mut hints: Vec<Hint> = view.into_iter().map(|(action, what)| Hint::Action(action, what)).collect();
            if !hints.iter().any(|hint| matches!(hint, Hint::Action(Action::Ablate, _))) {
                hints.push(Hint::Action(Action::Ablate, "ablate"));
            }
            hints
        }
        Focus::Edits if scene.edits.lines.is_empty() => vec![Hint::Action(Action::NewEdit, "new edit")],
        Focus::Edits => vec![
            Hint::Action(Action::ToggleEdit, "on/off"),
            Hint::Action(Action::ChangeEdit, "change"),
            Hint::Action(Action::More, "more"),
            Hint::Action(Action::Less, "less"),
            Hint::Action(Action::DeleteEdit, "delete"),
            Hint::Action(Action::NewEdit, "new"),
            Hint::Action(Action::EditDown, "move down"),
        ],
    };
    if scene.runs.held().is_some() {
        let steps = [
            (Action::Step, "step"),
            (Action::StepOver, "over"),
            (Action::StepOut, "out"),
            (Action::StepBack, "back"),
            (Action::Continue, "continue"),
        ];
        hints.splice(0..0, steps.map(|(action, what)| Hint::Action(action, what)));
    }
    if scene.layout.panels == Panels::Presented {
        // the keys for what the panels would show
        let in_tour = state.tour.as_ref().is_some_and(|tour| tour.step().is_some());
        let tour = [Hint::Action(Action::Tour, "next"), Hint::Action(Action::TourBack, "back")];
        let first = tour.into_iter().filter(|_| in_tour).chain([Hint::Action(Action::Present, "panels")]);
        hints.splice(0..0, first);
    }
    // after an edit, what it did and how to take it back come before the rest
    let after_edit = [
        (scene.edits.can_undo(), Hint::Action(Action::Undo, "undo")),
        (scene.is_compared() && state.view().compares(scene), Hint::Action(Action::Compare, "compare")),
    ];
    let at = hints.len().min(2);
    hints.splice(at..at, after_edit.into_iter().filter(|(here, _)| *here).map(|(_, hint)| hint));
    hints.extend(match scene.layout.focus {
        Focus::Tree => vec![],
        Focus::View => vec![Hint::Action(Action::NextFocus, "to the edits"), Hint::Action(Action::PickView, "views")],
        Focus::Edits => vec![Hint::Action(Action::NextFocus, "to the tree"), Hint::Action(Action::PickView, "views")],
    });
    hints.extend([Hint::Action(Action::Prompt, "prompt"), Hint::Action(Action::Quit, "quit")]);
    (hints, always)
}

fn overlay_hints(overlay: &Overlay) -> Vec<Hint> {
    let close = || Hint::Key("Esc", "close");
    let choose = || Hint::Key("Up Down", "choose");
    match overlay {
        Overlay::Help(_) => vec![Hint::Key("type", "filter"), Hint::Key("Up Down PgUp PgDn", "scroll"), close()],
        Overlay::Views(_) => vec![choose(), Hint::Action(Action::Move(Motion::Enter), "show"), close()],
        Overlay::Find(_) => vec![Hint::Key("type", "filter"), choose(), Hint::Key("Enter", "go"), close()],
        Overlay::Edit(_) | Overlay::Predicate(_) => {
            vec![Hint::Key("Tab", "complete"), Hint::Key("Enter", "apply"), close()]
        }
        Overlay::Prompt(_) => vec![
            Hint::Key("Enter", "run"),
            Hint::Key("Ctrl-U", "clear"),
            Hint::Key("Tab", "the other prompt"),
            Hint::Key("Up Down", "earlier prompts"),
            close(),
        ],
        Overlay::Command(_) => {
            vec![
                Hint::Key("type", "search"),
                choose(),
                Hint::Key("Tab", "complete"),
                Hint::Key("Enter", "run"),
                close(),
            ]
        }
        Overlay::Save(_) => vec![Hint::Key("Tab", "another format"), Hint::Key("Enter", "write"), close()],
        Overlay::Places(_) => {
            vec![choose(), Hint::Key("Enter", "go there"), Hint::Action(Action::Grep, "another search"), close()]
        }
        Overlay::Stops(_) => vec![
            choose(),
            Hint::Key("Enter", "go to the last hit"),
            Hint::Action(Action::ToggleEdit, "on/off"),
            Hint::Action(Action::Switch, "hold or log"),
            Hint::Action(Action::ChangeEdit, "change"),
            Hint::Action(Action::DeleteEdit, "delete"),
            close(),
        ],
    }
}
