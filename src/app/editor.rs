use tui_input::Input;

use crate::hooks::{Axis, BlockHook, Edit, HookPoint, Operation, Plan, Schema};

/// The line editor for an edit: text, what it means so far, and how it could go on.
#[derive(Clone, Debug)]
pub struct Editor {
    pub input: Input,
    /// The edit in the list that is rewritten; None adds one.
    pub replaces: Option<usize>,
    /// The edit and what it selects, or what is wrong with the line.
    pub verdict: Result<(Edit, String), Problem>,
    /// Ways to go on from the end of the line, best first.
    pub completions: Vec<String>,
}

/// What is wrong with a line, and from which character on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub message: String,
    pub column: Option<usize>,
}

/// What an edit is checked against.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub schema: &'a Schema,
    pub n_pos: usize,
    pub contrast: Option<usize>,
}

impl Editor {
    pub(super) fn open(text: &str, replaces: Option<usize>, setting: Setting<'_>) -> Self {
        let input = Input::new(text.to_string());
        let verdict = Err(Problem { message: String::new(), column: None });
        let mut editor = Self { input, replaces, verdict, completions: Vec::new() };
        editor.refresh(setting);
        editor
    }

    /// Take the first completion.
    pub(super) fn complete(&mut self, setting: Setting<'_>) {
        if let Some(first) = self.completions.first() {
            self.input = Input::new(first.clone());
            self.refresh(setting);
        }
    }

    /// Judge the line anew, after it changed.
    pub(super) fn refresh(&mut self, setting: Setting<'_>) {
        let line = self.input.value();
        self.verdict = judge(line, setting);
        self.completions = completions(line, setting.schema);
    }
}

/// Parse and resolve a line.
pub(super) fn judge(line: &str, setting: Setting<'_>) -> Result<(Edit, String), Problem> {
    let edit: Edit = line.parse().map_err(|e: crate::hooks::ParseError| {
        let nearest = e.nearest.first().map(|n| format!("; did you mean {n}?")).unwrap_or_default();
        Problem { message: format!("{}{nearest}", e.message), column: Some(e.column()) }
    })?;
    let plan = Plan::resolve(std::slice::from_ref(&edit), setting.schema, setting.n_pos, setting.contrast)
        .map_err(|e| Problem { message: e.to_string(), column: None })?;
    let values: usize = plan.steps.iter().map(|step| step.indices.values()).sum();
    let shape = plan.steps.first().map(|step| {
        let part = |(i, axis): (usize, &Axis)| format!("{axis} {}", step.indices.count(i));
        step.indices.axes.iter().enumerate().map(part).collect::<Vec<_>>().join(", ")
    });
    let hooks = plan.steps.len();
    let of = if hooks == 1 { "1 hook".into() } else { format!("{hooks} hooks") };
    Ok((edit, format!("selects {values} values: [{}] of {of}", shape.unwrap_or_default())))
}

/// Lines that start with `line`: hook names while the target is typed, then axes, then operations.
fn completions(line: &str, schema: &Schema) -> Vec<String> {
    let starting = |prefix: &str, typed: &str, all: Vec<String>| -> Vec<String> {
        let fits = all.into_iter().filter(|name| name.starts_with(typed) && name != typed);
        fits.map(|name| format!("{prefix}{name}")).collect()
    };
    match (line.find('['), line.find(']')) {
        (None, _) if !line.trim_end().contains(' ') && !line.ends_with(' ') => targets(line, schema),
        (Some(_), None) => {
            let at = line.rfind(['[', ' ']).map_or(0, |i| i + 1);
            let (before, typed) = line.split_at(at);
            if typed.contains('=') {
                return vec![format!("{line}]")];
            }
            let axes = target_axes(line, schema).into_iter().map(|axis| format!("{axis}=")).collect();
            starting(before, typed, axes)
        }
        (_, close) => {
            let at = close.map_or_else(|| line.find(' ').unwrap_or(line.len()), |i| i + 1);
            let (before, typed) = line.split_at(at);
            let operations = Operation::ALL.map(|operation| operation.usual().to_string());
            starting(&format!("{before} "), typed.trim_start(), operations.to_vec())
        }
    }
}

/// Names of hooks that can be edited: with the block number as typed, or `blocks.*`; any part of the name will do.
fn targets(typed: &str, schema: &Schema) -> Vec<String> {
    let blocks = typed.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')).map_or("*", |(blocks, _)| blocks);
    let part = typed.strip_prefix("blocks.").map_or(typed, |rest| rest.split_once('.').map_or("", |(_, hook)| hook));
    let works = |point: HookPoint| schema.check(point).is_ok();
    let in_blocks = BlockHook::ALL.into_iter().filter(|hook| works(HookPoint::Block(0, *hook)));
    let outside = HookPoint::GLOBAL.into_iter().filter(|point| works(*point)).map(|p| p.to_string());
    let mut names: Vec<String> = in_blocks.map(|hook| format!("blocks.{blocks}.{}", hook.name())).collect();
    names.extend(outside);
    names.retain(|name| name.contains(part) && name != typed);
    names.sort_by_key(|name| !name.starts_with(typed));
    names
}

fn target_axes(line: &str, schema: &Schema) -> Vec<Axis> {
    let target = line.split('[').next().unwrap_or_default().trim();
    let points = target.parse::<crate::hooks::Target>().ok().and_then(|t| t.points(&schema.dims).ok());
    let axes = points.and_then(|points| points.first().map(|point| schema.axes(*point))).unwrap_or_default();
    axes.into_iter().filter(|axis| *axis != Axis::One).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hooks::Dims, model::ACTIVATIONS};

    fn schema() -> Schema {
        Schema::new(Dims {
            n_layers: 4,
            n_heads: 4,
            d_head: 32,
            d_model: 128,
            d_mlp: 512,
            d_vocab: 960,
            parallel: true,
            activation: ACTIVATIONS[0].words,
        })
    }

    fn open(line: &str) -> Editor {
        Editor::open(line, None, Setting { schema: &schema(), n_pos: 7, contrast: None })
    }

    #[test]
    fn completions_lead_from_nothing_to_an_edit() {
        assert_eq!(open("blocks.1.attn.hook_p").completions[0], "blocks.1.attn.hook_pattern");
        assert_eq!(open("pattern").completions[0], "blocks.*.attn.hook_pattern");
        assert_eq!(open("blocks.1.attn.hook_z[h").completions, ["blocks.1.attn.hook_z[head="]);
        assert_eq!(open("blocks.1.attn.hook_z[head=2").completions, ["blocks.1.attn.hook_z[head=2]"]);
        assert_eq!(open("blocks.1.attn.hook_z[head=2] = m").completions, ["blocks.1.attn.hook_z[head=2] = mean"]);
        assert_eq!(open("hook_embed ").completions[0], "hook_embed = 0");
        // what can't be edited is not offered
        assert!(open("resid_mid").completions.is_empty());
    }

    #[test]
    fn the_verdict_tells_what_is_selected_or_wrong() {
        let (edit, selected) = open("blocks.*.attn.hook_z[head=0,2 pos=-1] = 0").verdict.unwrap();
        assert_eq!(edit.to_string(), "blocks.*.attn.hook_z[head=0,2 pos=-1] = 0");
        assert_eq!(selected, "selects 256 values: [pos 1, head 2, d_head 32] of 4 hooks");
        let problem = open("blocks.0.attn.hook_zz = 0").verdict.unwrap_err();
        assert_eq!(problem.column, Some(9));
        assert!(open("blocks.0.attn.hook_z[head=9] = 0").verdict.unwrap_err().message.contains("0 to 3"));
    }
}
