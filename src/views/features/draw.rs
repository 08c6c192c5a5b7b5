use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::state::{Features, Listed};
use crate::{
    engine::{Compare, Links},
    keys::Action,
    paint::{
        Region, Theme,
        heatmap::{around, offset},
        row, say, text, titled,
    },
    views::Scene,
};

pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Features,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let Some((hook, d_sae)) = view.hook(scene) else {
        let how = "There is no dictionary here. Start with --sae [HOOK=]NAME or --sae [HOOK=]DIR; the demo has one of its own.";
        return say(frame, area, how, theme);
    };
    let choices = [(scene.key(Action::ChangeLayout), &["position", "tokens"][..], usize::from(view.over_tokens))];
    let title = format!("{hook}, {d_sae} features");
    frame.render_widget(Line::from(titled(title, &choices, area.width.into(), theme)), row(area, 0));
    if view.over_tokens {
        over_tokens(frame, area, view, scene, hits, theme);
    } else {
        at_position(frame, area, view, scene, hits, theme);
    }
}

/// The features of the position, the strongest first.
fn at_position(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Features,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let found = match view.found(scene) {
        Some(Ok(found)) => found,
        Some(Err(why)) => return say(frame, row(area, 1), why, theme),
        None => return say(frame, row(area, 1), scene.waiting(), theme),
    };
    let at = match (&found.features.baseline, scene.compare()) {
        (Some(before), Compare::Baseline) => before,
        (_, Compare::Edited | Compare::Difference | Compare::Baseline) => &found.features.run,
    };
    let token = scene.tokens().get(at.pos).map(|t| text::visible(&t.text, theme)).unwrap_or_default();
    let (mse, explained) = (text::number(at.mse), at.variance_explained);
    let explained = if explained.is_nan() { "-".into() } else { text::percent(explained).trim().to_string() };
    let about =
        format!("at {} \"{token}\": {} active (L0)   mse {mse}   variance explained {explained}", at.pos, at.l0);
    frame.render_widget(Span::styled(text::cut(&about, area.width.into(), theme), theme.dim()), row(area, 1));
    let all = view.listed(scene).unwrap_or_default();
    if all.is_empty() {
        return say(frame, row(area, 2), "no feature is active here", theme);
    }
    let chosen = view.chosen(scene);
    let cursor = all.iter().position(|one| Some(one.id) == chosen).unwrap_or(0);
    let list = Rect { y: offset(area.y, 2).min(area.bottom()), height: area.height.saturating_sub(2), ..area };
    let visible = around(cursor, list.height.into(), all.len());
    let most = all.iter().map(|one| one.value.abs()).fold(0.0, f64::max);
    for (y, number) in visible.clone().enumerate() {
        let line = feature(&all[number], number == cursor, most, area.width.into(), scene, theme);
        frame.render_widget(line, Rect { y: offset(list.y, y), height: 1, ..list });
    }
    hits.push(Region::list(list, visible.collect()));
}

/// Columns of a bar, and from how many on there is room for one.
const BAR: usize = 10;
const ROOM: usize = 60;

fn feature(one: &Listed, here: bool, most: f64, width: usize, scene: &Scene, theme: Theme) -> Line<'static> {
    let style = if here { theme.selected(true) } else { Style::new() };
    let mut spans = vec![Span::styled(format!("{:>6} {:>9}", one.id, text::number(one.value)), style)];
    if let Some(was) = one.was.filter(|_| scene.compare() == Compare::Edited) {
        let style = if (was - one.value).abs() > 5e-5 { theme.changed() } else { theme.dim() };
        spans.push(Span::styled(format!(" {} {:>9}", theme.from(), text::number(was)), style));
    }
    spans.push(Span::raw(" "));
    if width >= ROOM {
        let share = if most > 0.0 { one.value / most } else { 0.0 };
        let bar = theme.row_bar(share.abs(), BAR);
        let style = if share < 0.0 { theme.changed() } else { theme.accent() };
        spans.push(Span::styled(format!("{} ", text::fit(&bar, BAR, theme)), style));
    }
    let left = width.saturating_sub(spans.iter().map(Span::width).sum());
    let label = one.label.as_ref().map(|label| text::visible(label, theme));
    let tokens: Vec<String> = one.promoted.iter().map(|token| text::label(token, theme)).collect();
    match label {
        Some(label) => {
            let label = text::cut(&label, left, theme);
            let left = left.saturating_sub(2 + Span::raw(label.as_str()).width());
            spans.push(Span::styled(label, theme.title()));
            spans.push(Span::styled(format!("  {}", text::joined(&tokens, " ", left, theme)), theme.dim()));
        }
        None => spans.push(Span::styled(text::joined(&tokens, " ", left, theme), theme.dim())),
    }
    Line::from(spans)
}

/// One feature at every position, with what it promotes and what it is linked to.
fn over_tokens(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Features,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let followed = match view.followed(scene) {
        Some(Ok(followed)) => followed,
        Some(Err(why)) => return say(frame, row(area, 1), why, theme),
        None => return say(frame, row(area, 1), scene.waiting(), theme),
    };
    let (width, about) = (usize::from(area.width), &followed.about);
    let label = about.label.as_ref().map(|label| format!(": {}", text::visible(label, theme))).unwrap_or_default();
    let name = format!("feature {}{label}", view.feature.unwrap_or_default());
    frame.render_widget(Span::styled(text::cut(&name, width, theme), theme.title()), row(area, 1));
    let mut facts: Vec<(&str, String)> = Vec::new();
    let tokens = |list: &[String]| {
        let list: Vec<String> = list.iter().map(|token| text::label(token, theme)).collect();
        text::joined(&list, " ", width.saturating_sub(12), theme)
    };
    if about.tokens.is_some() {
        facts.push(("promotes", tokens(&followed.promoted)));
        facts.push(("suppresses", tokens(&followed.suppressed)));
    }
    let links = |links: &Links| {
        let one = |linked: &crate::engine::Linked| {
            let label = linked.label.as_ref().map(|label| format!(" {}", text::visible(label, theme)));
            format!("{}{} {}", linked.feature, label.unwrap_or_default(), text::number(f64::from(linked.weight)))
        };
        let all: Vec<String> = links.features.iter().map(one).collect();
        let list =
            text::joined(&all, theme.separator(), width.saturating_sub(14 + links.hook.to_string().len()), theme);
        format!("{}: {list}", links.hook)
    };
    facts.extend(about.written_by.as_ref().map(|found| ("written by", links(found))));
    facts.extend(about.read_by.as_ref().map(|found| ("read by", links(found))));
    let values = view.activations(scene).unwrap_or_default();
    let room = usize::from(area.height).saturating_sub(2);
    // the tokens have at least half of the room
    facts.truncate(room / 2);
    for (y, (name, said)) in facts.iter().enumerate() {
        let line = Line::from(vec![Span::styled(format!("{name:<11} "), theme.dim()), Span::raw(said.clone())]);
        frame.render_widget(line, row(area, u16::try_from(y + 2).unwrap_or(u16::MAX)));
    }
    let top = offset(area.y, 2 + facts.len());
    let list = Rect { y: top.min(area.bottom()), height: area.bottom().saturating_sub(top), ..area };
    let visible = around(scene.cursor.pos, list.height.into(), values.len());
    let most = values.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
    for (y, pos) in visible.clone().enumerate() {
        let (value, here) = (f64::from(values[pos]), pos == scene.cursor.pos);
        let token = scene.tokens().get(pos).map(|token| text::label(&token.text, theme)).unwrap_or_default();
        let style = if here { theme.selected(true) } else { Style::new() };
        let share = if most > 0.0 { value / most } else { 0.0 };
        let shown = if value == 0.0 { String::new() } else { text::number(value) };
        let bar = theme.row_bar(share.abs(), width.saturating_sub(32).min(40));
        let colour = if share < 0.0 { theme.changed() } else { theme.accent() };
        let line = Line::from(vec![
            Span::styled(format!("{pos:>4} {}", text::fit(&token, 14, theme)), style),
            Span::raw(format!(" {shown:>9} ")),
            Span::styled(bar, colour),
        ]);
        frame.render_widget(line, Rect { y: offset(list.y, y), height: 1, ..list });
    }
    hits.push(Region::list(list, visible.collect()));
}
