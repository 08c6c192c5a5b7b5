//! The panel of the view: tabs in its border, the view, and below it what it shows.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use crate::{
    engine::Compare,
    explorer::state::State,
    keys::{Action, Keymap},
    paint::{Region, Theme, choices, text},
    views::{Focus, Scene, Tab, View},
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
    let compared = comparison(state, theme);
    let room = usize::from(area.width).saturating_sub(compared.as_ref().map_or(0, |line| line.width() + 1));
    let shown = Span::styled(format!(" {} ", shown(state, room, theme)), theme.dim());
    let mut block = theme
        .panel(state.scene.layout.focus == Focus::View)
        .title(tabs(area, state, regions, theme))
        .title_bottom(Line::from(shown).right_aligned());
    if let Some(compared) = compared {
        block = block.title_bottom(compared);
    }
    let inner = block.inner(area);
    frame.render_widget(block, area);
    state.view().draw(frame, inner, &state.scene, regions, theme);
}

/// The view beside the main one; a click on it makes it the main one.
pub(in crate::explorer) fn draw_side(
    frame: &mut Frame<'_>,
    area: Rect,
    state: &State,
    regions: &mut Vec<Region>,
    theme: Theme,
) {
    let Some(tab) = state.side().filter(|_| !area.is_empty()) else { return };
    let view = state.views.get(tab);
    let number = Tab::ALL.iter().position(|other| *other == tab).unwrap_or(0);
    let title = labels(tab, &state.scene.keys, usize::from(area.width)).into_iter().find(|(n, _)| *n == number);
    let title = title.map_or_else(|| tab.title().to_string(), |(_, label)| label);
    let mut block = theme.panel(false).title(Line::from(Span::styled(format!(" {title} "), theme.dim())));
    let room = usize::from(area.width).saturating_sub(6);
    if let Some(subject) = subject(view, &state.scene, room, theme) {
        block = block.title_bottom(Line::from(Span::styled(format!(" {subject} "), theme.dim())).right_aligned());
    }
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let mut inside = Vec::new();
    view.draw(frame, inner, &state.scene, &mut inside, theme);
    regions.extend(inside.into_iter().filter(|region| region.as_picture().is_some()));
    regions.push(Region::action(area, Action::View(number)));
}

/// As many tabs as the border has room for, each of which can be clicked.
fn tabs(area: Rect, state: &State, regions: &mut Vec<Region>, theme: Theme) -> Line<'static> {
    let border = if theme.ascii { "-" } else { "─" };
    let mut spans = Vec::new();
    let mut column = 0;
    for (number, label) in labels(state.tab, &state.scene.keys, usize::from(area.width.saturating_sub(2))) {
        spans.push(Span::styled(border, theme.dim()));
        column += 1;
        let style = if Tab::ALL.get(number) == Some(&state.tab) { theme.title() } else { theme.dim() };
        let width = label.width();
        let place =
            Rect { x: area.x.saturating_add(1 + column), width: u16::try_from(width).unwrap_or(0), height: 1, ..area };
        regions.push(Region::action(place.intersection(area), Action::View(number)));
        spans.push(Span::styled(label, style));
        column += u16::try_from(width).unwrap_or(0);
    }
    Line::from(spans)
}

/// How many of the last tabs go without titles where the others have theirs.
const KEYS_ALONE: usize = 12;

/// The labels of the tabs with their numbers: key and title where all or all but a few fit in `width`, else only the chosen one with
/// its title, and the keys of as many around it as fit.
fn labels(chosen: Tab, keys: &Keymap, width: usize) -> Vec<(usize, String)> {
    let all = || Tab::ALL.iter().enumerate();
    let key = |number: usize| keys.bound(Action::View(number)).and_then(|bound| bound.keys.first());
    let full = |number: usize, tab: Tab| match key(number) {
        Some(key) => format!("{key} {}", tab.title()),
        None => tab.title().to_string(),
    };
    let needs = |labels: &[(usize, String)]| labels.iter().map(|(_, label)| label.width() + 1).sum::<usize>();
    // of the last ones the keys alone, where it is they that do not fit
    for titled in (Tab::ALL.len() - KEYS_ALONE..=Tab::ALL.len()).rev() {
        let label = |(number, tab): (usize, &Tab)| match key(number) {
            Some(key) if number >= titled && *tab != chosen => (number, key.to_string()),
            Some(_) | None => (number, full(number, *tab)),
        };
        let wide: Vec<_> = all().map(label).collect();
        if needs(&wide) <= width {
            return wide;
        }
    }
    let narrow = |(number, tab): (usize, &Tab)| match (*tab == chosen, key(number)) {
        (true, _) => Some((number, full(number, *tab))),
        (false, key) => key.map(|key| (number, key.to_string())),
    };
    let narrow: Vec<_> = all().filter_map(narrow).collect();
    let here = narrow.iter().position(|(number, _)| Tab::ALL.get(*number) == Some(&chosen)).unwrap_or(0);
    let mut visible = 0..narrow.len();
    while visible.len() > 1 && needs(&narrow[visible.clone()]) > width {
        if here - visible.start > visible.end - 1 - here { visible.start += 1 } else { visible.end -= 1 }
    }
    let visible = &narrow[visible];
    if needs(visible) <= width {
        return visible.to_vec();
    }
    all().filter(|(_, tab)| **tab == chosen).map(|(number, tab)| (number, tab.title().to_string())).collect()
}

/// What the view shows: the hook and when it fires in the pass, or the view's own subject.
fn shown(state: &State, width: usize, theme: Theme) -> String {
    let scene = &state.scene;
    let room = width.saturating_sub(6);
    subject(state.view(), scene, room, theme).unwrap_or_else(|| breadcrumb(scene, room, theme))
}

/// The gradient that a view shows, or its subject if that is not the selected hook.
fn subject(view: &dyn View, scene: &Scene, room: usize, theme: Theme) -> Option<String> {
    let compare = if view.compares(scene) { scene.compare() } else { Compare::Edited };
    let forms = if view.reads() { scene.gradient_caption(compare, theme) } else { vec![] };
    let notes = view.gradient_notes(scene, theme);
    let with_notes = |form: &String| match notes.is_empty() {
        true => vec![form.clone()],
        false => notes.iter().map(|note| format!("{note}  {form}")).collect(),
    };
    let forms: Vec<String> = forms.iter().flat_map(with_notes).collect();
    match (forms.iter().find(|form| form.width() <= room), forms.last()) {
        (Some(fits), _) => Some(fits.clone()),
        (None, Some(shortest)) => Some(text::cut(shortest, room, theme)),
        (None, None) => Some(text::cut(&text::visible(&view.subject(scene)?, theme), room, theme)),
    }
}

/// The place of the selected hook in the model, and when it fires in the pass.
fn breadcrumb(scene: &Scene, room: usize, theme: Theme) -> String {
    let path = scene.trees.shown().path();
    let step = scene.step().map(|(step, of)| format!("   step {step} of {of}")).unwrap_or_default();
    // the outermost parts are left out first
    let forms = (0..path.len()).map(|first| path[first..].join(theme.within()) + &step);
    let shortest = || text::cut(&path[path.len() - 1], room, theme);
    forms.into_iter().find(|form| form.chars().count() <= room).unwrap_or_else(shortest)
}

/// Which of two runs or their difference a view shows, and the key that changes it; nothing if there is one run.
fn comparison(state: &State, theme: Theme) -> Option<Line<'static>> {
    let scene = &state.scene;
    if !scene.is_compared() || !state.view().compares(scene) {
        return None;
    }
    let at = Compare::ALL.iter().position(|compare| *compare == scene.compare()).unwrap_or(0);
    let room = usize::from(scene.layout.areas().view.width) / 2;
    let mut spans = choices(&scene.key(Action::Compare), &scene.sides(), at, room, theme);
    if scene.compare() != Compare::Edited {
        spans = spans.into_iter().map(|span| span.patch_style(theme.changed())).collect();
    }
    spans.insert(0, Span::raw(" "));
    spans.push(Span::raw(" "));
    Some(Line::from(spans))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::keymap;

    #[test]
    fn every_tab_has_its_number_and_the_chosen_one_its_name() {
        let keys = keymap();
        for tab in Tab::ALL.iter().copied() {
            for width in 12..160 {
                let labels = labels(tab, &keys, width);
                assert!(labels.iter().map(|(_, label)| label.width() + 1).sum::<usize>() <= width, "{tab} in {width}");
                assert!(labels.iter().any(|(_, label)| label.contains(tab.title())), "{tab} in {width}");
            }
            assert_eq!(labels(tab, &keys, 160).len(), Tab::ALL.len());
        }
    }
}
