use std::collections::BTreeSet;

use tui_input::Input;

use crate::{
    explorer::overlay::completion::{in_selection, names, starting, target_axes, target_points},
    hooks::{Axis, BlockHook, Edit, HookPoint, Indices, Operation, ParseError, Plan, Schema, Step, VectorName},
    suggest::did_you_mean,
    views::Setting,
};

/// The line editor for an edit: its text, the meaning so far, and completions.
#[derive(Clone, Debug)]
pub struct Editor {
    pub input: Input,
    /// The edit in the list that it replaces; None adds one.
    pub replaces: Option<usize>,
    /// The edit and what it selects, or what is wrong with the line.
    pub verdict: Result<(Edit, String), Problem>,
    /// Completions at the end of the line, best first.
    pub completions: Vec<String>,
}

/// What is wrong with a line, and at which character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub message: String,
    pub column: Option<usize>,
}

impl Editor {
    pub(crate) fn open(text: &str, replaces: Option<usize>, setting: Setting<'_>) -> Self {
        let input = Input::new(text.to_string());
        let verdict = Err(Problem { message: String::new(), column: None });
        let mut editor = Self { input, replaces, verdict, completions: Vec::new() };
        editor.refresh(setting);
        editor
    }

    /// Apply the first completion.
    pub(super) fn complete(&mut self, setting: Setting<'_>) {
        if let Some(first) = self.completions.first() {
            self.input = Input::new(first.clone());
            self.refresh(setting);
        }
    }

    /// Check the line again after a change.
    pub(super) fn refresh(&mut self, setting: Setting<'_>) {
        let line = self.input.value();
        self.verdict = judge(line, setting);
        self.completions = completions(line, setting.schema);
    }
}

/// Parse and resolve a line.
pub(crate) fn judge(line: &str, setting: Setting<'_>) -> Result<(Edit, String), Problem> {
    let edit: Edit = line.parse().map_err(|e: ParseError| {
        let suggestion = did_you_mean(&e.nearest);
        Problem { message: format!("{}{suggestion}", e.message), column: Some(e.column()) }
    })?;
    let plan = setting.plan(&edit).map_err(|e| Problem { message: e.to_string(), column: None })?;
    let caution = plan.caution().map(|caution| format!("; {caution}")).unwrap_or_default();
    let selected = format!("{}{caution}", selected(&plan));
    Ok((edit, selected))
}

/// What an edit selects: values of hooks; for a path, what is sent and what receives it.
fn selected(plan: &Plan) -> String {
    let shape = |indices: &Indices| {
        let part = |(i, axis): (usize, &Axis)| format!("{} {axis}", indices.count(i));
        indices.axes.iter().enumerate().map(part).collect::<Vec<_>>().join(", ")
    };
    let of = |hooks: usize| if hooks == 1 { "1 hook".into() } else { format!("{hooks} hooks") };
    let values: usize = plan.steps.iter().map(|step| step.indices.values()).sum();
    let here = plan.steps.first().map(|step| shape(&step.indices)).unwrap_or_default();
    let receivers: BTreeSet<HookPoint> = plan.steps.iter().map(|step| step.point).collect();
    let Some(sent) = plan.steps.first().and_then(|step| step.sent.as_ref()) else {
        return format!("selects {values} values: [{here}] of {}", of(receivers.len()));
    };
    let senders: BTreeSet<HookPoint> = plan.steps.iter().map(Step::source).collect();
    let there = shape(&sent.indices);
    format!("sends [{there}] of {} to [{here}] of {}: {values} values", of(senders.len()), of(receivers.len()))
}

/// Lines that start with `line`: hook names while a target is typed, then axes, then operations; after a path's `->`,
/// receivers that its sender can reach.
fn completions(line: &str, schema: &Schema) -> Vec<String> {
    match line.split_once("->") {
        None => continued(line, schema, targets),
        Some((sender, rest)) => {
            let lines = continued(rest.trim_start(), schema, |typed, schema| receivers(sender, typed, schema));
            lines.into_iter().map(|rest| format!("{} -> {rest}", sender.trim_end())).collect()
        }
    }
}

/// Completions of a target, its selection and an operation; `targets` completes a name.
fn continued(line: &str, schema: &Schema, targets: impl Fn(&str, &Schema) -> Vec<String>) -> Vec<String> {
    match (line.find('['), line.find(']')) {
        (None, _) if !line.trim_end().contains(' ') && !line.ends_with(' ') => targets(line, schema),
        (Some(_), None) => in_selection(line, &target_axes(line, schema)),
        (_, close) => {
            let named = vector_names(line, schema);
            if !named.is_empty() {
                return named;
            }
            let at = close.map_or_else(|| line.find(' ').unwrap_or(line.len()), |i| i + 1);
            let (before, typed) = line.split_at(at);
            starting(&format!("{before} "), typed.trim_start(), ways_on(before, schema))
        }
    }
}

/// The line with each name of a vector that begins as what is typed after `*` or `proj`.
fn vector_names(line: &str, schema: &Schema) -> Vec<String> {
    let after = |sign: &str| line.rfind(sign).map(|at| at + sign.len());
    let Some(at) = after("* ").or_else(|| after("proj ")).filter(|at| !line[*at..].contains(' ')) else {
        return vec![];
    };
    let (before, typed) = line.split_at(at);
    let names = schema.vectors().defined().keys().map(VectorName::as_str);
    names.filter(|name| name.starts_with(typed) && *name != typed).map(|name| format!("{before}{name}")).collect()
}

/// What can follow a target: the operations, and an arrow if a path can start there. After a sender that is off, only
/// the arrow.
fn ways_on(target: &str, schema: &Schema) -> Vec<String> {
    let points = target_points(target, schema);
    let is_off = points.iter().any(|point| point.sends() && schema.check(*point).is_err());
    let alone = |operation: &Operation| !operation.needs_corpus();
    let operations = Operation::ALL.into_iter().filter(alone).flat_map(|operation| operation.usual(schema.vectors()));
    let operations = operations.map(|op| op.to_string());
    let arrow = points.iter().any(|point| point.sends()).then(|| "-> ".to_string());
    operations.filter(|_| !is_off).chain(arrow).collect()
}

/// Inputs that everything named by `sender` can send to: in the typed blocks, or in each block.
fn receivers(sender: &str, typed: &str, schema: &Schema) -> Vec<String> {
    let senders = target_points(sender, schema);
    let reached = |points: &[HookPoint]| {
        let from_all = |to: &HookPoint| senders.iter().all(|from| schema.has_path(*from, *to));
        !senders.is_empty() && !points.is_empty() && points.iter().all(from_all)
    };
    let mut names: Vec<String> = match typed.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        Some((blocks, _)) => {
            let all = BlockHook::ALL.into_iter().map(|hook| format!("blocks.{blocks}.{}", hook.name()));
            all.filter(|name| reached(&target_points(name, schema))).collect()
        }
        None => schema.all_points().into_iter().filter(|to| reached(&[*to])).map(|to| to.to_string()).collect(),
    };
    let part = typed.strip_prefix("blocks.").map_or(typed, |rest| rest.split_once('.').map_or(typed, |(_, hook)| hook));
    names.retain(|name| name.contains(part) && name != typed);
    names.sort_by_key(|name| !name.starts_with(typed));
    names
}

/// Names of hooks that can be edited, and then those where only a path can start.
fn targets(typed: &str, schema: &Schema) -> Vec<String> {
    let mut names = names(typed, |point| schema.check(point).is_ok() || point.sends());
    let only_sends = |name: &String| target_points(name, schema).iter().any(|point| schema.check(*point).is_err());
    names.sort_by_cached_key(|name| (!name.starts_with(typed), only_sends(name)));
    names
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
        // hooks that can't be edited are not offered
        assert!(open("resid_mid").completions.is_empty());
    }

    #[test]
    fn completions_lead_to_a_path() {
        // a sender that is off is offered after the hooks that can be edited, and after it only the arrow
        assert_eq!(open("blocks.1.attn.hook_r").completions.last().unwrap(), "blocks.1.attn.hook_result");
        assert_eq!(open("blocks.1.attn.hook_result[h").completions, ["blocks.1.attn.hook_result[head="]);
        let sender = "blocks.1.attn.hook_result[head=2] ";
        assert_eq!(open(sender).completions, [format!("{sender}-> ")]);
        assert_eq!(open("hook_embed ").completions.last().unwrap(), "hook_embed -> ");
        assert!(!open("blocks.0.attn.hook_z ").completions.concat().contains("->"));
        // only later readers with an input of their own
        let receivers = open(&format!("{sender}-> ")).completions;
        assert_eq!(receivers[0], format!("{sender}-> blocks.2.hook_q_input"));
        assert_eq!(receivers.len(), 2 * 4 + 1, "{receivers:?}");
        assert_eq!(receivers[8], format!("{sender}-> blocks.3.hook_resid_post"));
        assert_eq!(open(&format!("{sender}->k_in")).completions.len(), 2);
        assert!(open(&format!("{sender}-> blocks.1.")).completions.is_empty());
        assert_eq!(open("hook_embed -> blocks.*.mlp").completions, ["hook_embed -> blocks.*.hook_mlp_in"]);
        assert!(open("blocks.9.hook_mlp_out -> ").completions.is_empty());
        let receiver = format!("{sender}-> blocks.3.hook_q_input");
        assert_eq!(open(&format!("{receiver}[h")).completions, [format!("{receiver}[head=")]);
        assert_eq!(open(&format!("{receiver}[head=1] = m")).completions, [format!("{receiver}[head=1] = mean")]);
        assert!(!open(&format!("{receiver} ")).completions.last().unwrap().ends_with("-> "));
    }

    #[test]
    fn every_offered_receiver_completes_a_path() {
        for parallel in [false, true] {
            let schema = Schema::new(Dims { parallel, ..schema().dims });
            let setting = Setting { schema: &schema, n_pos: 7, contrast: None };
            let mut offered = 0;
            for sender in schema.all_points().into_iter().filter(|point| point.sends()) {
                let all: Vec<HookPoint> = schema.all_points();
                let receivers = completions(&format!("{sender} -> "), &schema);
                let legal = all.iter().filter(|to| judge(&format!("{sender} -> {to} = 0"), setting).is_ok()).count();
                assert_eq!(receivers.len(), legal, "{sender}");
                for line in receivers {
                    assert!(judge(&format!("{line} = 0"), setting).is_ok(), "{line}");
                    offered += 1;
                }
            }
            assert!(offered > 50, "{offered}");
        }
    }

    #[test]
    fn the_verdict_on_a_path_says_what_is_sent_where_or_suggests_a_correction() {
        let line = "blocks.0.attn.hook_result[head=1] -> blocks.2-3.hook_q_input[head=0,2] *= 0.5";
        let selected = open(line).verdict.unwrap().1;
        let sent =
            "sends [7 pos, 1 head, 128 d_model] of 1 hook to [7 pos, 2 head, 128 d_model] of 2 hooks: 3584 values";
        assert_eq!(selected, sent);
        let wrong = |line: &str| open(line).verdict.unwrap_err();
        for (line, column, instead) in [
            ("blocks.0.attn.hook_z -> blocks.1.hook_mlp_in = 0", 0, "did you mean `blocks.0.attn.hook_result`?"),
            ("blocks.0.hook_mlp_ou -> blocks.1.hook_mlp_in = 0", 9, "did you mean `blocks.0.hook_mlp_out`?"),
            ("hook_embd -> blocks.1.hook_mlp_in = 0", 0, "did you mean `hook_embed`?"),
            ("hook_embed -> blocks.*.attn.hook_q = 0", 14, "did you mean `blocks.*.hook_q_input`?"),
            ("hook_embed -> blocks.1.hook_v_inpt = 0", 23, "did you mean `blocks.1.hook_v_input`?"),
        ] {
            let problem = wrong(line);
            assert!(problem.message.ends_with(instead), "{line}: {}", problem.message);
            assert_eq!(problem.column, Some(column), "{line}");
        }
        assert!(wrong("blocks.2.hook_mlp_out -> blocks.2.hook_q_input = 0").message.contains("before either writes"));
    }

    #[test]
    fn the_verdict_says_what_is_selected_or_wrong() {
        let (edit, selected) = open("blocks.*.attn.hook_z[head=0,2 pos=-1] = 0").verdict.unwrap();
        assert_eq!(edit.to_string(), "blocks.*.attn.hook_z[head=0,2 pos=-1] = 0");
        assert_eq!(selected, "selects 256 values: [1 pos, 2 head, 32 d_head] of 4 hooks");
        let (_, selected) = open("blocks.0.attn.hook_attn_scores[head=0] = 0").verdict.unwrap();
        assert_eq!(selected, "selects 49 values: [1 head, 7 query, 7 key] of 1 hook; unmasks later keys");
        let problem = open("blocks.0.attn.hook_zz = 0").verdict.unwrap_err();
        assert_eq!(problem.column, Some(9));
        assert!(open("blocks.0.attn.hook_z[head=9] = 0").verdict.unwrap_err().message.contains("0 to 3"));
    }
}
