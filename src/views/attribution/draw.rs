//! Direct logit attribution: what each component of the residual stream contributes to the target's logit.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use super::{
    component::Component,
    state::{Attribution as AttributionView, compared},
};
use crate::{
    engine::{Attribution, Compare},
    keys::Action,
    paint::{
        Region, Theme, bar_eighths, below,
        grid::Grid,
        heatmap::{around, offset},
        row, say,
        scale::Scale,
        text, titled,
    },
    views::Scene,
};

/// Columns of a component's name.
const NAME: usize = 20;

pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &AttributionView,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let Some((target, distractor)) = scene.answer() else {
        return say(frame, area, scene.waiting_for_answer(), theme);
    };
    let token = |text: &str| format!("\"{}\"", text::visible(text, theme));
    let minus = if theme.ascii { "-" } else { "−" };
    let of = match &distractor {
        Some(distractor) => format!("{} {minus} {}", token(&target.text), token(&distractor.text)),
        None => token(&target.text),
    };
    let after = scene.tokens().get(scene.cursor.pos).map(|t| token(&t.text)).unwrap_or_default();
    let title = format!("logit of {of} after {} {after}", scene.cursor.pos);
    let choices = [(scene.key(Action::ChangeLayout), &["bars", "map"][..], usize::from(view.by_layer))];
    frame.render_widget(Line::from(titled(title, &choices, area.width.into(), theme)), row(area, 0));
    let seen = match view.seen(scene) {
        Some(Ok(seen)) => seen,
        Some(Err(why)) => return say(frame, row(area, 1), why, theme),
        None => return say(frame, row(area, 1), scene.waiting_for_answer(), theme),
    };
    let shown = compared(seen, scene.compare());
    let (parts, baseline) = (&*shown, seen.baseline.as_ref());
    frame.render_widget(sum(parts, area.width.into(), theme), row(area, 1));
    let below = Rect { y: area.y + 3.min(area.height), height: area.height.saturating_sub(3), ..area };
    if view.by_layer {
        map(frame, below, parts, (view, scene), hits, theme);
    } else {
        bars(frame, below, parts, baseline, (view, scene), hits, theme);
    }
}

/// The sum of the parts beside the logit, in numbers.
fn sum(parts: &Attribution, width: usize, theme: Theme) -> Line<'static> {
    let n = |x: f64| format!("{x:.4}");
    let past = Component::all(parts).contains(&Component::Remainder);
    let rest = if past { parts.remainder() } else { 0.0 };
    let off = (parts.remainder() - rest).abs();
    let long = format!("components {} + constant {}", n(parts.sum()), n(parts.constant));
    let long = if past { format!("{long} + past the components {}", n(rest)) } else { long };
    let short = format!("{} + {}", n(parts.sum()), n(parts.constant));
    let short = if past { format!("{short} + {}", n(rest)) } else { short };
    let exact = |name: &str| format!(" = {name}{}", n(parts.logit));
    let off = format!("   error {off:.1e}");
    let (sum, exact, off) = if long.len() + exact("logit ").len() + off.len() <= width {
        (long, exact("logit "), off)
    } else {
        (short, exact("logit "), String::new())
    };
    Line::from(vec![Span::raw(sum), Span::styled(exact, theme.title()), Span::styled(off, theme.dim())])
}

/// The components, the largest first, as bars to the left and right of 0.
fn bars(
    frame: &mut Frame<'_>,
    area: Rect,
    parts: &Attribution,
    baseline: Option<&Attribution>,
    (view, scene): (&AttributionView, &Scene),
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let all = view.components(scene);
    let Some(chosen) = view.chosen(scene) else { return };
    let at = all.iter().position(|c| *c == chosen).unwrap_or(0);
    let visible = around(at, area.height.into(), all.len());
    let most = all.first().map_or(0.0, |c| c.of(parts).abs());
    let baseline = baseline.filter(|_| scene.compare() == Compare::Edited);
    let numbers = 9 + if baseline.is_some() { 13 } else { 0 };
    let half = usize::from(area.width).saturating_sub(NAME + numbers + 3) / 2;
    for (y, number) in visible.clone().enumerate() {
        let component = all[number];
        let value = component.of(parts);
        let style = if component == chosen { theme.selected(true) } else { ratatui::style::Style::new() };
        let name = text::fit(&component.name(), NAME, theme);
        let mut spans = vec![Span::styled(name, style), Span::raw(format!(" {value:>8.4}"))];
        if let Some(before) = baseline.map(|before| component.of(before)) {
            let style = if (before - value).abs() > 5e-5 { theme.changed() } else { theme.dim() };
            let arrow = theme.from();
            spans.push(Span::styled(format!(" {arrow:>2} {before:>8.4}"), style));
        }
        if half > 2 && most > 0.0 {
            spans.extend(bar(value / most, half, theme));
        }
        frame.render_widget(Line::from(spans), Rect { y: offset(area.y, y), height: 1, ..area });
    }
    hits.push(Region::list(area, visible.collect()));
}

/// A bar from the middle: to the right above 0, to the left below.
fn bar(share: f64, half: usize, theme: Theme) -> Vec<Span<'static>> {
    let axis = Span::styled(if theme.ascii { "|" } else { "│" }, theme.dim());
    if share < 0.0 {
        let length = bar_eighths(-share, half);
        // to the left, a terminal can draw only whole, half and eighth columns
        let end = match (theme.ascii, length % 8) {
            (_, 0) => "",
            (true, _) => "-",
            (false, 1..=2) => "▕",
            (false, 3..=5) => "▐",
            (false, _) => "█",
        };
        let full = end.to_string() + &if theme.ascii { "-" } else { "█" }.repeat(length / 8);
        let pad = " ".repeat(1 + half - full.width().min(half));
        return vec![Span::raw(pad), Span::styled(full, theme.accent()), axis];
    }
    vec![Span::raw(" ".repeat(1 + half)), axis, Span::styled(theme.row_bar(share, half), theme.changed())]
}

/// Layers down, heads across, with the MLP at the end of its row.
fn map(
    frame: &mut Frame<'_>,
    area: Rect,
    parts: &Attribution,
    (view, scene): (&AttributionView, &Scene),
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    let heads = scene.schema.dims.n_heads;
    let component = |layer: usize, column: usize| match column {
        column if column == heads => Component::Mlp(layer),
        head => Component::Head(layer, head),
    };
    let mapped = Component::all(parts).into_iter().filter(|c| matches!(c, Component::Head(..) | Component::Mlp(_)));
    let scale = Scale::Around(mapped.map(|c| c.of(parts).abs()).fold(0.0, f64::max));
    let rows: Vec<String> = (0..parts.heads.len()).map(|layer| format!("L{layer}")).collect();
    let columns: Vec<String> = (0..heads).map(|head| head.to_string()).chain(["mlp".into()]).collect();
    let chosen = view.chosen(scene);
    let grid = Grid {
        rows: &rows,
        columns: &columns,
        apart: Some(heads),
        value: &|layer, column| Some(component(layer, column).of(parts)),
        scale,
        cursor: match chosen {
            Some(Component::Head(layer, head)) => Some((layer, head)),
            Some(Component::Mlp(layer)) => Some((layer, heads)),
            _ => None,
        },
    };
    let bottom = grid.draw(frame, Rect { height: area.height.saturating_sub(1), ..area }, hits, theme);
    if let Some(chosen) = chosen {
        let said = format!("{}  {}", chosen.name(), text::number(chosen.of(parts)));
        let line =
            Line::from([vec![Span::styled(said, theme.title()), Span::raw("   ")], scale.legend(theme)].concat());
        frame.render_widget(line, below(area, bottom, 1));
    }
}
