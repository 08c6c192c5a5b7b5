use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr;

use super::{side::Side, state::Continue, tree::Branch};
use crate::{
    engine::{Compare, StopReason},
    experiment::GenerationSetting,
    keys::Action,
    paint::{
        Region, Theme, change_share,
        heatmap::{around, offset},
        row, say, text,
    },
    views::{Focus, Scene},
};

/// The columns of the candidates, and those from which on they stand beside the texts.
const CANDIDATES: u16 = 30;
const BESIDE: u16 = 92;

/// The texts side by side, token by token, and the candidates for the token under the cursor; or the list of branches.
///
/// ```text
/// s: temperature 0   top-k all   top-p 1   seed 0   tokens 24   samples 1
///      unedited                  edited                        by block
///    0 ␣to                       ␣to
///    1 ␣Mary            98.6%    ␣John            67.7%   0.9% ▂▅██
/// ```
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &Continue,
    scene: &Scene,
    hits: &mut Vec<Region>,
    theme: Theme,
) {
    frame.render_widget(settings(view, scene, area.width.into(), theme), row(area, 0));
    let body = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(1), ..area };
    if let Some(Err(why)) = view.seen(scene) {
        return say(frame, body, why, theme);
    }
    if view.listing.is_some() {
        return branches(frame, body, view, scene, hits, theme);
    }
    let (texts, beside) = if body.width >= BESIDE {
        let left = Rect { width: body.width - CANDIDATES - 2, ..body };
        (left, Rect { x: left.right() + 2, width: CANDIDATES, ..body })
    } else {
        let below = if view.row(scene) > 0 && body.height >= 12 { (body.height / 3).min(10) } else { 0 };
        let upper = Rect { height: body.height - below, ..body };
        (upper, Rect { y: upper.bottom(), height: below, ..body })
    };
    tokens(frame, texts, view, scene, hits, theme);
    candidates(frame, beside, view, scene, hits, theme);
}

/// The settings, with the selected one highlighted.
fn settings(view: &Continue, scene: &Scene, width: usize, theme: Theme) -> Line<'static> {
    let mut spans = vec![Span::styled(format!("{} ", scene.key(Action::Switch)), theme.dim())];
    for (number, name) in GenerationSetting::ALL.into_iter().enumerate() {
        let gap = if number == 0 { "" } else { "  " };
        let shown = format!("{} {}", name.label(), view.settings.value(name));
        let used: usize = spans.iter().map(Span::width).sum();
        if used + gap.len() + shown.width() > width {
            break;
        }
        let style = if view.setting == Some(name) { theme.selected(true) } else { theme.dim() };
        spans.extend([Span::raw(gap), Span::styled(shown, style)]);
    }
    Line::from(spans)
}

/// Where the columns of the texts are.
struct Columns {
    /// Of a token.
    token: usize,
    /// A probability is shown beside that of a token, of the unedited and of the edited text: without the edits, or in the other
    /// model.
    beside: [bool; 2],
    /// Columns of the change bars.
    bars: usize,
    edited: bool,
}

impl Columns {
    const NUMBER: usize = 4;
    /// A probability, after a space.
    const PROB: usize = 7;
    const GAP: usize = 3;

    fn new(width: usize, edited: bool, models: bool, n_layers: usize) -> Self {
        if !edited {
            let token = width.saturating_sub(Self::NUMBER + 1 + Self::PROB).clamp(4, 24);
            return Self { token, beside: [false; 2], bars: 0, edited };
        }
        let fixed = Self::NUMBER + 1 + 2 * Self::PROB + Self::GAP;
        let left = width.saturating_sub(fixed);
        // a token of some columns on each side first, then the other probability, then the bars
        let (tokens, others) = if models { (12, 2 * Self::PROB) } else { (24, Self::PROB) };
        let has_others = left >= tokens + others;
        let left = left.saturating_sub(if has_others { others } else { 0 });
        let bars = n_layers.min(left.saturating_sub(17)).min(32);
        let token = (left.saturating_sub(bars + 1) / 2).clamp(4, 18);
        Self { token, beside: [has_others && models, has_others], bars, edited }
    }

    /// The columns of a side's token and probabilities.
    fn of(&self, side: Side) -> usize {
        self.token + Self::PROB + if self.beside[side as usize] { Self::PROB } else { 0 }
    }
}

fn tokens(frame: &mut Frame<'_>, area: Rect, view: &Continue, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
    let branches = Side::ALL.map(|side| view.branch(scene, side));
    let models = scene.compared_models() == Compare::Difference;
    let columns = Columns::new(area.width.into(), branches[1].is_some(), models, scene.schema.dims.n_layers);
    let mut heading = vec![Span::raw(" ".repeat(Columns::NUMBER + 1))];
    for (side, _) in Side::ALL.into_iter().zip(branches).filter(|(_, branch)| branch.is_some()) {
        let own = side.name(scene);
        let name = match view.tree(scene, side) {
            Some(tree) if tree.branches.len() > 1 => format!("{own} {}/{}", tree.shown + 1, tree.branches.len()),
            Some(_) | None => own.to_string(),
        };
        let style = if side == view.side(scene) { theme.title() } else { theme.dim() };
        let gap = if side == Side::Edited { Columns::GAP } else { 0 };
        heading.push(Span::raw(" ".repeat(gap)));
        heading.push(Span::styled(text::fit(&name, columns.token + Columns::PROB, theme), style));
        if columns.beside[side as usize] {
            let named = match (models, side) {
                (false, _) => "before",
                (true, Side::Unedited) => Side::Edited.name(scene),
                (true, Side::Edited) => Side::Unedited.name(scene),
            };
            heading.push(Span::styled(format!("{named:>p$}", p = Columns::PROB), theme.dim()));
        }
    }
    if columns.bars >= 6 {
        let what = if models { " apart by block" } else { " change by block" };
        heading.push(Span::styled(text::cut(what, columns.bars + 1, theme), theme.dim()));
    }
    frame.render_widget(Line::from(heading), row(area, 0));
    let rows = 1 + branches.iter().flatten().map(|branch| branch.tokens.len()).max().unwrap_or(0);
    let ends = ends(&branches, view, scene);
    let foot = u16::from(!ends.is_empty());
    let list = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(1 + foot), ..area };
    let here = view.row(scene);
    // while the texts grow, their ends are on the screen
    let growing = view.is_growing(scene) && here == 0;
    let visible = around(if growing { rows - 1 } else { here }, list.height.into(), rows);
    for (y, number) in visible.clone().enumerate() {
        let line = line(number, here, &branches, &columns, view, scene, theme);
        frame.render_widget(line, Rect { y: offset(list.y, y), height: u16::from(y < list.height.into()), ..list });
    }
    if foot > 0 {
        let last = Rect { y: list.bottom(), height: foot.min(area.bottom().saturating_sub(list.bottom())), ..area };
        frame.render_widget(Span::styled(text::cut(&ends, area.width.into(), theme), theme.dim()), last);
    }
    let middle = Columns::NUMBER + 1 + columns.of(Side::Unedited) + 1;
    let side = |x: usize| usize::from(columns.edited && x > middle);
    hits.push(Region::cells(list, visible.collect(), (0..usize::from(area.width)).map(side).collect()));
}

/// Why the texts on the screen do not go on, where that is not their number of tokens.
fn ends(branches: &[Option<&Branch>; 2], view: &Continue, scene: &Scene) -> String {
    let stopped = view.is_stopped().then(|| format!("stopped by Esc: {} resumes", scene.key(Action::Rerun)));
    let said = Side::ALL.into_iter().zip(branches).filter_map(|(side, branch)| {
        let why = match branch.as_ref()?.stop? {
            StopReason::Length | StopReason::Cancelled => return None,
            StopReason::EndOfText => "ended by the end-of-text token",
            StopReason::Context => "stopped at the model's context length",
            StopReason::NoToken => "stopped: the logits give no next token",
            StopReason::Breakpoint => "stopped at a breakpoint",
        };
        Some(format!("{} {why}", side.name(scene)))
    });
    stopped.into_iter().chain(said).collect::<Vec<_>>().join("; ")
}

/// A row: a token of each text.
fn line(
    number: usize,
    here: usize,
    branches: &[Option<&Branch>; 2],
    columns: &Columns,
    view: &Continue,
    scene: &Scene,
    theme: Theme,
) -> Line<'static> {
    let width = columns.token;
    let mut spans = vec![Span::styled(format!("{number:>w$} ", w = Columns::NUMBER), theme.dim())];
    let focused = scene.layout.focus == Focus::View && view.choosing.is_none();
    for (side, branch) in Side::ALL.into_iter().zip(branches) {
        let Some(branch) = branch else { continue };
        if side == Side::Edited {
            spans.push(Span::raw(" ".repeat(Columns::GAP)));
        }
        let is_here = number == here && side == view.side(scene);
        if number == 0 {
            let last = scene.prompts.prompt().last().map(|token| text::label(&token.text, theme)).unwrap_or_default();
            let style = if is_here { theme.selected(focused) } else { theme.dim() };
            spans.push(Span::styled(text::fit(&format!("{last} (prompt)"), columns.of(side), theme), style));
            continue;
        }
        let other = branches[usize::from(side == Side::Unedited)];
        let Some(made) = branch.tokens.get(number - 1) else {
            spans.push(Span::raw(" ".repeat(columns.of(side))));
            continue;
        };
        let differs = other.and_then(|other| other.tokens.get(number - 1)).is_some_and(|o| o.token.id != made.token.id);
        let is_fork = branch.from.is_some_and(|(_, after)| after == number - 1);
        let style = match () {
            () if is_here => theme.selected(focused),
            () if is_fork => theme.title(),
            () if differs && side == Side::Edited => theme.changed(),
            () => Style::new(),
        };
        let label = text::fit(&text::label(&made.token.text, theme), width, theme);
        spans.push(Span::styled(label, style));
        spans.push(Span::raw(format!(" {}", text::percent(made.prob))));
        if columns.beside[side as usize] {
            let beside = match scene.compared_models() {
                Compare::Edited | Compare::Baseline => Some(made.baseline_prob),
                Compare::Difference => branch.others.get(number - 1).copied(),
            };
            let moved = beside.is_some_and(|beside| (made.prob - beside).abs() >= 0.0005);
            let style = if moved { theme.changed() } else { theme.dim() };
            let shown = beside.map_or_else(|| " ".repeat(Columns::PROB - 1), text::percent);
            spans.push(Span::styled(format!(" {shown}"), style));
        }
        if let Some(changes) = branch.changes.get(number - 1).filter(|_| columns.bars > 0 && side == Side::Edited) {
            spans.push(Span::styled(format!(" {}", bars(changes, columns.bars, theme)), theme.changed()));
        }
    }
    Line::from(spans)
}

/// The change after each block as a bar; where there are more blocks than columns, the largest of those that share one.
fn bars(changes: &[f64], columns: usize, theme: Theme) -> String {
    let columns = columns.min(changes.len()).max(1);
    let part = |at: usize| &changes[at * changes.len() / columns..(at + 1) * changes.len() / columns];
    let largest = |part: &[f64]| part.iter().copied().fold(0.0f64, |most, x| if x.is_nan() { x } else { most.max(x) });
    (0..columns).map(|at| theme.bar(change_share(largest(part(at))))).collect()
}

fn candidates(frame: &mut Frame<'_>, area: Rect, view: &Continue, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
    if area.height < 2 || view.row(scene) == 0 {
        return;
    }
    let side = view.side(scene);
    let title = format!("candidates for token {}, {}", view.row(scene), side.name(scene));
    let style = if view.choosing.is_some() { theme.title() } else { theme.dim() };
    frame.render_widget(Span::styled(text::cut(&title, area.width.into(), theme), style), row(area, 0));
    let Some(all) = view.candidates(scene) else {
        return say(frame, row(area, 1), scene.waiting(), theme);
    };
    let list = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let taken = view.branch(scene, side).and_then(|branch| branch.tokens.get(view.row(scene).checked_sub(1)?));
    let visible = around(view.choosing.unwrap_or(0), list.height.into(), all.len());
    for (y, number) in visible.clone().enumerate() {
        let one = &all[number];
        let prob = if side == Side::Edited { one.prob } else { one.baseline_prob };
        let is_taken = taken.is_some_and(|made| made.token.id == one.id);
        let style = match () {
            () if view.choosing == Some(number) => theme.selected(true),
            () if is_taken => theme.title(),
            () => Style::new(),
        };
        let sign = if is_taken { "> " } else { "  " };
        let width = usize::from(list.width).saturating_sub(10).min(20);
        let label = text::fit(&text::label(&one.text, theme), width, theme);
        let spans = vec![Span::raw(sign), Span::styled(label, style), Span::raw(format!(" {}", text::percent(prob)))];
        frame.render_widget(Line::from(spans), Rect { y: offset(list.y, y), height: 1, ..list });
    }
    hits.push(Region::cells(list, visible.collect(), vec![Side::ALL.len(); list.width.into()]));
}

/// Every branch, each below the one that it leaves, with its own text.
fn branches(frame: &mut Frame<'_>, area: Rect, view: &Continue, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
    let all = view.listed(scene);
    let cursor = view.listing.unwrap_or(0);
    let visible = around(cursor, area.height.into(), all.len());
    for (y, number) in visible.clone().enumerate() {
        let (side, at, depth) = all[number];
        let Some((tree, branch)) = view.tree(scene, side).and_then(|tree| Some((tree, tree.branches.get(at)?))) else {
            continue;
        };
        let from = branch.from.map_or(0, |(_, after)| after);
        let sample = if view.settings.distinct() > 1 || branch.sample > 0 {
            format!(" sample {}", branch.sample + 1)
        } else {
            String::new()
        };
        let sign = if tree.shown == at { ">" } else { " " };
        let left = branch.from.map_or(String::new(), |(_, after)| format!(" from token {}", after + 1));
        let name = format!("{sign} {}{}{sample}{left}", "  ".repeat(depth.min(8)), side.name(scene));
        let style = if number == cursor { theme.selected(scene.layout.focus == Focus::View) } else { Style::new() };
        let room = usize::from(area.width).saturating_sub(name.width() + 2);
        let said = text::cut(&text::visible(&branch.text(from), theme), room, theme);
        let line = Line::from(vec![Span::styled(name, style), Span::styled(format!("  {said}"), theme.dim())]);
        frame.render_widget(line, Rect { y: offset(area.y, y), height: 1, ..area });
    }
    hits.push(Region::list(area, visible.collect()));
}
