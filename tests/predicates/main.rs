//! Predicates: their text, and the places where they hold against a naive reading.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod naive;

use std::ops::ControlFlow;

use naive::{Activations, arrays, naive_places, row_major};
use proptest::prelude::*;
use pythia_tui::{
    analysis::head_scores,
    hooks::{Dims, Schema},
    model::ACTIVATIONS,
    predicate::{Comparison, Condition, Function, Place, Predicate, PredicateError, Program, Quantity, Search},
};

const N_POS: usize = 4;
const TOKENS: [u32; N_POS] = [5, 2, 5, 2];

fn schema() -> Schema {
    Schema::new(Dims {
        n_layers: 3,
        n_heads: 2,
        d_head: 3,
        d_model: 6,
        d_mlp: 5,
        d_vocab: 11,
        parallel: true,
        activation: ACTIVATIONS[0].words,
    })
}

fn search(
    predicate: &Predicate,
    schema: &Schema,
    now: &Activations,
    before: &Activations,
) -> Result<Vec<(Place, f64)>, PredicateError> {
    let program = Program::new(predicate, schema, N_POS)?;
    let mut search = Search::new(&program, &TOKENS);
    let mut all = vec![];
    for point in schema.points().into_iter().filter(|point| program.wants(*point)) {
        let (values, baseline) = (row_major(&now[&point]), row_major(&before[&point]));
        let flow = search.see(point, &values, Some(&baseline), &mut |found| {
            all.push((found.place.clone(), found.value));
            ControlFlow::Continue(())
        });
        assert!(flow.is_continue());
    }
    Ok(all)
}

/// A hook with perhaps a selection, under perhaps some functions.
fn quantity() -> impl Strategy<Value = String> {
    let blocks = prop::sample::select(vec!["*", "0", "1", "1-2", "0,2"]);
    let hooks = prop::sample::select(vec![
        ("attn.hook_pattern", &["head", "query", "key"][..]),
        ("attn.hook_attn_scores", &["head", "query", "key"]),
        ("attn.hook_z", &["pos", "head", "d_head"]),
        ("hook_resid_post", &["pos", "d_model"]),
        ("hook_mlp_out", &["pos", "d_model"]),
        ("mlp.hook_post", &["pos", "d_mlp"]),
        ("ln1.hook_scale", &["pos"]),
        // of the blocks alone
        ("", &["pos"]),
        // outside them
        ("hook_embed", &["pos", "d_model"]),
        ("ln_final.hook_normalized", &["pos", "d_model"]),
    ]);
    let slots = prop::sample::select(vec!["-1", "0", "1", "0,2", "1:", ":2", "0:2,-1", "1,1"]);
    // scores are of patterns alone
    let functions: Vec<Function> = Function::ALL.into_iter().filter(|f| f.score().is_none()).collect();
    let function = prop::sample::select(functions);
    let call = (function, prop::option::of(0..3usize), prop::bool::weighted(0.1));
    let selected = prop::collection::vec((0..3usize, slots), 0..3);
    (blocks, hooks, selected, prop::collection::vec(call, 0..3)).prop_map(|(blocks, (hook, axes), selected, calls)| {
        let mut text = match hook {
            "hook_embed" | "ln_final.hook_normalized" => hook.to_string(),
            "" => format!("blocks.{blocks}"),
            hook => format!("blocks.{blocks}.{hook}"),
        };
        let mut seen = vec![];
        for (i, slots) in selected {
            let axis = axes[i % axes.len()];
            // there are two heads
            let slots = if axis == "head" && slots.contains('2') { "1" } else { slots };
            if !seen.iter().any(|s: &String| s.starts_with(axis)) {
                seen.push(format!("{axis}={slots}"));
            }
        }
        if !seen.is_empty() {
            text += &format!("[{}]", seen.join(" "));
        }
        for (i, (function, axis, all)) in calls.into_iter().enumerate() {
            let function = if i > 0 && function == Function::Delta { Function::Max } else { function };
            let over = match axis {
                _ if !function.reduces() => String::new(),
                _ if all => " over all".into(),
                Some(axis) => format!(" over {}", axes[axis % axes.len()]),
                None => String::new(),
            };
            text = format!("{}({text}{over})", function.name());
        }
        text
    })
}

fn predicate() -> impl Strategy<Value = String> {
    let condition = prop::sample::select(vec![
        "> 0", "> 0.5", "< -1", ">= 1", "<= 0", "== 1", "!= 0", "> 2.5", "is nan", "is inf", "< inf", "== -inf",
    ]);
    let test = (quantity(), condition).prop_map(|(quantity, condition)| format!("{quantity} {condition}"));
    test.prop_recursive(3, 6, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("not ({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and {b}")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("{a} or ({b})")),
        ]
    })
}

/// Values of which many are equal, and some are not finite.
fn values() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        8 => prop::sample::select(vec![0.0f32, 1.0, -1.0, 0.5, 2.0, -3.5, 0.25]),
        1 => prop::sample::select(vec![f32::NEG_INFINITY, f32::INFINITY, f32::NAN]),
    ];
    prop::collection::vec(value, 97)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_search_finds_what_a_naive_reading_finds(text in predicate(), now in values(), before in values()) {
        let schema = schema();
        let mut cycle = now.iter().cycle().copied();
        let now = arrays(&schema, &mut || cycle.next().unwrap());
        let mut cycle = before.iter().cycle().copied();
        let before = arrays(&schema, &mut || cycle.next().unwrap());
        let predicate: Predicate = text.parse().unwrap();
        let found = match search(&predicate, &schema, &now, &before) {
            Ok(found) => found,
            // an axis that is gone already
            Err(PredicateError::Selection(_) | PredicateError::NothingLeft { .. } | PredicateError::NoHook { .. }) => {
                return Err(TestCaseError::reject("no such axis"));
            }
            Err(other) => panic!("{text}: {other}"),
        };
        let expected = naive_places(&predicate, &schema, &now, &before);
        let places = |all: &[(Place, f64)]| all.iter().map(|(place, _)| place.to_string()).collect::<Vec<_>>();
        prop_assert_eq!(places(&found), places(&expected), "{}", text);
        for ((place, a), (_, b)) in found.iter().zip(&expected) {
            let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-12 * b.abs();
            prop_assert!(same, "{text}: {place} is {a}, not {b}");
        }
    }

    #[test]
    fn the_canonical_form_parses_to_the_same(text in predicate()) {
        let predicate: Predicate = text.parse().unwrap();
        let written = predicate.to_string();
        prop_assert_eq!(&written.parse::<Predicate>().unwrap(), &predicate, "{} as {}", text, written);
        prop_assert!(written.len() <= text.len());
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z0-9_.*()<>=! \\[\\]-]{0,60}", end in ".{0,5}") {
        let _ = format!("{text}{end}").parse::<Predicate>().map_err(|e| e.to_string());
        let _ = format!("abs({text}{end}").parse::<Quantity>().map_err(|e| e.to_string());
    }
}

#[test]
fn errors_point_at_the_column_and_suggest_names() {
    let wrong = |text: &str| {
        let e = text.parse::<Predicate>().unwrap_err();
        (e.column(), e.message, e.nearest)
    };
    let (column, message, nearest) = wrong("nrom(hook_embed) > 3");
    assert_eq!((column, nearest), (0, vec!["norm".to_string()]));
    assert!(message.starts_with("there is no function `nrom`"), "{message}");
    let (column, _, nearest) = wrong("norm(blocks.3.hook_mlp_uot) > 3");
    assert_eq!((column, nearest), (14, vec!["blocks.3.hook_mlp_out".to_string()]));
    let (column, message, _) = wrong("hook_embed = 3");
    assert_eq!(column, 11);
    assert!(message.contains("`==`"), "{message}");
    let (column, message, nearest) = wrong("norm(hook_embed over poss) > 3");
    assert_eq!((column, nearest), (21, vec!["pos".to_string()]));
    assert!(message.contains("no axis `poss`"), "{message}");
    assert_eq!(wrong("hook_embed > 3 and").0, 18);
    assert_eq!(wrong("(hook_embed > 3").0, 15);
    assert_eq!(wrong("hook_embed > 3) ").0, 14);
    assert!(wrong("hook_embed == nan").1.contains("is nan"));
    assert_eq!(wrong("hook_embed is naan").2, ["nan"]);
    assert!(wrong("abs(hook_embed over pos) > 1").1.contains("goes along no axis"));
    assert!(wrong("delta(norm(hook_embed)) > 1").1.contains("delta(HOOK)"));
    assert!(wrong("hook_embed").1.contains("a comparison was expected"));
    assert!(wrong("").1.contains("a hook such as"));
    assert!(wrong(&"(".repeat(5000)).1.contains("nested"));
    assert!(wrong(&"not ".repeat(5000)).1.contains("nested"));
    assert!(wrong(&vec!["hook_embed > 1"; 200].join(" or ")).1.contains("at most"));
    let error = "hook_embed > 3".parse::<Quantity>().unwrap_err();
    assert_eq!(error.column(), 11);
}

/// A head's score is what the table of scores says of its pattern.
#[test]
fn scores_are_those_of_the_heads() {
    let schema = schema();
    let mut number = 0.0;
    let mut next = || {
        number = (number * 7.0 + 0.3) % 1.0;
        number
    };
    let now = arrays(&schema, &mut next);
    for function in Function::ALL {
        let Some(score) = function.score() else { continue };
        for (selection, heads) in [("", vec![0, 1]), ("[head=1]", vec![1]), ("[head=-1,0]", vec![0, 1])] {
            let text = format!("{}(blocks.1-2.attn.hook_pattern{selection}) >= 0", function.name());
            let predicate: Predicate = text.parse().unwrap();
            assert_eq!(predicate.to_string().parse::<Predicate>().unwrap(), predicate);
            let found = search(&predicate, &schema, &now, &now).unwrap();
            let mut expected = vec![];
            for block in [1, 2] {
                let point = format!("blocks.{block}.attn.hook_pattern").parse().unwrap();
                let pattern = row_major(&now[&point]);
                for head in &heads {
                    let value = score.of(&head_scores(&pattern[head * 16..(head + 1) * 16], &TOKENS));
                    expected.push((format!("{point}[head={head}]"), value));
                }
            }
            let found: Vec<(String, f64)> = found.into_iter().map(|(place, x)| (place.to_string(), x)).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
    // its places take part in everything else
    let text = "max(induction(blocks.*.attn.hook_pattern)) > 0 and norm(blocks.*.hook_mlp_out over all) > 0";
    assert_eq!(search(&text.parse().unwrap(), &schema, &now, &now).unwrap().len(), 3);
}

#[test]
fn a_score_is_of_whole_patterns_alone() {
    let wrong = |text: &str| {
        let e = text.parse::<Predicate>().unwrap_err();
        (e.column(), e.message, e.nearest)
    };
    let (column, message, nearest) = wrong("induction(blocks.2.attn.hook_z) > 0.4");
    assert_eq!((column, nearest), (10, vec!["induction(blocks.2.attn.hook_pattern)".to_string()]));
    assert!(message.contains("a score of an attention pattern"), "{message}");
    assert_eq!(wrong("first_token(hook_embed) > 1").2, ["first_token(blocks.*.attn.hook_pattern)"]);
    assert_eq!(wrong("first_token(blocks.1-2) > 1").2, ["first_token(blocks.1-2.attn.hook_pattern)"]);
    assert!(wrong("induction(blocks.0.attn.hook_pattern[query=1]) > 1").1.contains("`query` can't be selected"));
    assert!(wrong("induction(abs(blocks.0.attn.hook_pattern)) > 1").1.contains("induction(HOOK)"));
    assert!(wrong("induction(blocks.0.attn.hook_pattern over head) > 1").1.contains("goes along no axis"));
    assert_eq!(wrong("inducton(blocks.0.attn.hook_pattern) > 1").2, ["induction"]);
}

#[test]
fn what_the_model_does_not_have_is_refused() {
    let refused = |text: &str| {
        let predicate: Predicate = text.parse().unwrap();
        Program::new(&predicate, &schema(), N_POS).err().unwrap().to_string()
    };
    assert!(refused("blocks.7.hook_mlp_out > 1").contains("there is no block 7"));
    assert!(refused("blocks.0.attn.hook_result > 1").contains("--enable attn.hook_result"));
    assert!(refused("blocks.0.hook_resid_mid > 1").contains("never computes blocks.0.hook_resid_mid"));
    assert!(refused("blocks.0.hook_mlp_out[head=1] > 1").contains("has no axis `head`"));
    assert!(refused("norm(blocks.0.hook_mlp_out over head) > 1").contains("has no axis `head`"));
    assert!(refused("blocks.0.hook_mlp_out[pos=9] > 1").contains("out of range"));
    assert!(refused("norm(norm(norm(hook_embed))) > 1").contains("no axis is left for `norm`"));
    assert!(refused("blocks.1[vocab=1] > 1").contains("none of these hooks"));
}

#[test]
fn every_hook_is_meant_by_the_blocks_alone() {
    let schema = schema();
    let of = |text: &str| {
        let predicate: Predicate = text.parse().unwrap();
        let program = Program::new(&predicate, &schema, N_POS).unwrap();
        schema.points().into_iter().filter(|point| program.wants(*point)).count()
    };
    assert_eq!(of("blocks.* is nan"), schema.points().len());
    assert_eq!(of("blocks.1 is nan"), 18);
    assert_eq!(of("blocks.0,2[query=-1] is nan"), 4);
    let number = Condition::Compare(Comparison::Greater, 0.1);
    assert!(number.holds(f64::from(0.2f32)) && !number.holds(f64::from(0.1f32)));
}
