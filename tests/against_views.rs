//! What views show of two models: of each what a start with that model alone shows, and the difference.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::{
    engine,
    explorer::Explorer,
    program::micro,
    run, spec,
    two_models::{EDIT, IDS, arrays, other, start, table},
};
use crossterm::event::KeyCode;
use pythia_tui::{
    engine::{Compare, Other, Reading, Session},
    experiment::{Distractor, Token},
    explorer::Event,
    hooks::HookPoint,
    model::Processing,
    views::{
        Focus, Holding, Tab, Table,
        circuit::{OfParts, Part, Scores},
    },
};

const SIZE: (u16, u16) = (160, 45);
const LAST: &str = "blocks.1.hook_resid_post";

/// Both models, this one alone and that one alone, about the same tokens.
fn three(edits: &[&str]) -> [Explorer; 3] {
    let starts = [(micro(), Some(other())), (micro(), None), (other(), None)];
    starts.map(|(model, against)| {
        let mut explorer = start(&model, against.as_deref(), edits, SIZE);
        let token = |id: u32| Token { id, text: id.to_string() };
        explorer.state.scene.target = Some(token(7));
        explorer.state.scene.distractor = Distractor::Chosen(token(40));
        explorer
    })
}

fn points(explorer: &Explorer) -> Vec<HookPoint> {
    explorer.state.scene.schema.points()
}

/// Each number of one table less that of the other, in f32.
fn less(this: &Table, that: &Table) -> Vec<Vec<f32>> {
    let pairs = arrays(this).into_iter().zip(arrays(that));
    pairs.map(|(a, b)| a.iter().zip(&b).map(|(a, b)| Compare::Difference.of(*a, *b)).collect()).collect()
}

/// The last column, by the first.
fn column(table: &Table) -> BTreeMap<String, f64> {
    table.rows.iter().map(|row| (row[0].clone(), row.last().unwrap().parse().unwrap())).collect()
}

#[test]
fn a_held_pass_stands_beside_the_other_model() {
    let at: HookPoint = "blocks.1.attn.hook_z".parse().unwrap();
    for edits in [&[][..], &[EDIT]] {
        let [mut both, mut this, mut that] = three(edits);
        let whole = both.state.scene.runs.shown.clone().unwrap().changes;
        both.state.scene.stops.holding = Holding::At(at);
        both.event(Event::Start);
        let shown = both.state.scene.runs.shown.clone().unwrap();
        assert_eq!(shown.held.unwrap().at, at);
        let computed: BTreeMap<HookPoint, f64> = whole.into_iter().filter(|(point, _)| *point <= at).collect();
        assert_eq!(shown.changes, computed, "the distance of every hook that was computed, and of no other");
        for point in points(&both) {
            let name = point.to_string();
            if point > at {
                both.state.scene.select(point);
                both.event(Event::Start);
                assert!(both.state.table().is_none() && both.screen().contains("not computed yet"), "{name}");
                continue;
            }
            let (own, other) = (
                table(&mut this, Tab::Values, &name, Compare::Edited),
                table(&mut that, Tab::Values, &name, Compare::Edited),
            );
            for (compare, expected) in [
                (Compare::Edited, arrays(&own)),
                (Compare::Baseline, arrays(&other)),
                (Compare::Difference, less(&own, &other)),
            ] {
                assert_eq!(arrays(&table(&mut both, Tab::Values, &name, compare)), expected, "{name} {compare}");
            }
        }
        assert!(both.screen().contains("held at blocks.1.attn.hook_z"), "{}", both.screen());
        assert!(both.screen().contains("difference"), "{}", both.screen());
    }
}

#[test]
fn gradient_totals_are_of_the_model_that_is_shown() {
    for (edits, reading) in [(&[][..], Reading::Gradient), (&[EDIT], Reading::TimesValue), (&[], Reading::TimesChange)]
    {
        let mut all = three(edits);
        all.iter_mut().for_each(|explorer| explorer.state.scene.reading = reading);
        let [mut both, mut this, mut that] = all;
        let totals = |explorer: &mut Explorer, compare| column(&table(explorer, Tab::Diagram, LAST, compare));
        let (own, other) = (totals(&mut this, Compare::Edited), totals(&mut that, Compare::Edited));
        assert_ne!(own, other);
        assert_eq!(totals(&mut both, Compare::Edited), own);
        assert_eq!(totals(&mut both, Compare::Baseline), other);
        // of a difference, the total of what Values shows
        let found = totals(&mut both, Compare::Difference);
        assert!(both.screen().contains("difference"), "{}", both.screen());
        for point in ["hook_embed", "blocks.0.hook_resid_post", "blocks.1.hook_mlp_out", LAST] {
            let shown = arrays(&table(&mut both, Tab::Values, point, Compare::Difference)).remove(0);
            let (sum, squares) = shown.iter().map(|x| f64::from(*x)).fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
            let expected = if reading == Reading::Gradient { f64::sqrt(squares) } else { sum };
            assert!(
                (found[point] - expected).abs() <= 1e-9 + 1e-6 * expected.abs(),
                "{reading} {point}: {found:?} {expected}"
            );
        }
    }
}

/// The scores on the screen; `keys` are pressed in the view first.
fn scores(explorer: &mut Explorer, compare: Compare) -> Scores {
    explorer.state.tab = Tab::Circuit;
    explorer.state.scene.chosen_compare = compare;
    explorer.event(Event::Start);
    let ask = explorer.state.requests().into_iter().find_map(|request| request.get::<OfParts>().cloned()).unwrap();
    let seen = explorer.state.scene.seen(&ask).unwrap().unwrap().clone();
    assert_eq!(seen.left, 0);
    seen
}

fn by_part(scores: &Scores) -> BTreeMap<Part, (f64, Option<f64>)> {
    scores.parts.iter().map(|(part, estimate, exact)| (*part, (*estimate, *exact))).collect()
}

#[test]
fn circuits_differ_part_by_part() {
    for edits in [&[][..], &[EDIT]] {
        let mut all = three(edits);
        // nodes, edges, the curve of edges, edges by exact effect
        for keys in ["", "s", "mmm", "mcc"] {
            for explorer in &mut all {
                (explorer.state.tab, explorer.state.scene.chosen_compare) = (Tab::Circuit, Compare::Edited);
                keys.chars().for_each(|key| explorer.press(KeyCode::Char(key)));
            }
            let [both, this, that] = &mut all;
            let (own, other) = (scores(this, Compare::Edited), scores(that, Compare::Edited));
            // of the difference before, exact effects of more parts are known
            let alone = |found: Scores, of: &Scores| {
                let parts = found
                    .parts
                    .iter()
                    .zip(&of.parts)
                    .map(|((part, estimate, exact), (.., of))| (*part, *estimate, exact.filter(|_| of.is_some())));
                Scores { parts: parts.collect(), ..found }
            };
            assert_eq!(alone(scores(both, Compare::Edited), &own), own, "{keys}");
            assert_eq!(alone(scores(both, Compare::Baseline), &other), other, "{keys}");
            let found = scores(both, Compare::Difference);
            assert_eq!(
                (found.value, found.contrast_value),
                (own.value - other.value, own.contrast_value - other.contrast_value)
            );
            assert_eq!(found.parts.len(), own.parts.len());
            let (own_parts, other_parts) = (by_part(&own), by_part(&other));
            let exact = |scores: &Scores| scores.parts.iter().filter(|(.., exact)| exact.is_some()).count();
            for (part, estimate, exact) in &found.parts {
                let ((a, exact_a), (b, exact_b)) = (own_parts[part], other_parts[part]);
                assert_eq!(*estimate, a - b, "{part:?}");
                if let (Some(exact), Some(a), Some(b)) = (exact, exact_a, exact_b) {
                    assert!((exact - (a - b)).abs() < 1e-9, "{part:?}: {exact} {a} {b}");
                }
            }
            assert!(exact(&found) >= exact(&own).min(48), "those that differ most were patched in both");
            let by_exact = keys == "mcc";
            let size = |(_, estimate, exact): &(Part, f64, Option<f64>)| {
                if by_exact { exact.unwrap() } else { *estimate }.abs()
            };
            assert!(
                found.parts.iter().map(size).is_sorted_by(|a, b| a >= b),
                "{keys}: the largest difference comes first"
            );
            let faithful = |scores: &Scores| scores.circuit.clone().map(|found| found.unwrap().faithfulness);
            assert_eq!(faithful(&found), faithful(&own).zip(faithful(&other)).map(|(a, b)| a - b));
            assert_eq!(faithful(&found).is_some(), !keys.is_empty());
            assert_eq!(found.curve.len(), own.curve.len());
            for ((found, a), b) in found.curve.iter().zip(&own.curve).zip(&other.curve) {
                assert_eq!((found.edges, found.faithfulness), (a.edges, a.faithfulness - b.faithfulness));
            }
            let screen = both.screen();
            assert!(screen.contains("difference"), "{screen}");
            assert_eq!(screen.contains("each model's own 12 of"), !keys.is_empty(), "{screen}");
            assert!(
                both.state.views.circuit.run_circuit(&both.state.scene).is_err_and(|why| why.contains("this model"))
            );
        }
    }
}

#[test]
fn weights_are_of_either_model_or_their_difference() {
    let mut all = three(&[]);
    // OV, QK, its distances, a neuron, composition into queries and keys
    for keys in ["", "s", "m", "s", "s", "m"] {
        for explorer in &mut all {
            explorer.state.tab = Tab::Weights;
            keys.chars().for_each(|key| explorer.press(KeyCode::Char(key)));
        }
        let [both, this, that] = &mut all;
        let shown = |explorer: &mut Explorer, compare| table(explorer, Tab::Weights, "blocks.1.hook_mlp_out", compare);
        let (own, other) = (shown(this, Compare::Edited), shown(that, Compare::Edited));
        assert_ne!(own, other);
        assert_eq!(shown(both, Compare::Edited), own);
        assert_eq!(shown(both, Compare::Baseline), other);
        let found = shown(both, Compare::Difference);
        match found.header[0].as_str() {
            "distance" | "from" => {
                for ((found, a), b) in arrays(&found).iter().zip(arrays(&own)).zip(arrays(&other)) {
                    let close =
                        |((found, a), b): ((&f32, f32), f32)| (found - (a - b)).abs() <= 1e-6 * (a.abs() + b.abs());
                    assert!(found.iter().zip(a).zip(b).all(close));
                }
            }
            // their numbers are tested where they are computed
            "direction" => {
                assert!(found.header.contains(&"component".into()) && both.screen().contains("between tokens"))
            }
            "rank" => assert!(both.screen().contains("more here") && found != own && found != other),
            other => panic!("{other}"),
        }
        assert!(both.state.table_name().ends_with("-less-parallel-100"), "{}", both.state.table_name());
    }
}

/// What Continue shows once its texts have ended.
fn texts(explorer: &mut Explorer, compare: Compare) -> Table {
    (0..3).for_each(|_| drop(table(explorer, Tab::Continue, "hook_embed", compare)));
    table(explorer, Tab::Continue, "hook_embed", compare)
}

/// The cells of a column.
fn cells(table: &Table, name: &str) -> Vec<String> {
    let at =
        table.header.iter().position(|header| header == name).unwrap_or_else(|| panic!("{name}: {:?}", table.header));
    table.rows.iter().map(|row| row[at].clone()).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn both_models_continue_the_prompt_and_read_each_other() {
    for edits in [&[][..], &[EDIT]] {
        let [mut both, mut this, mut that] = three(edits);
        let (own, other) = (texts(&mut this, Compare::Edited), texts(&mut that, Compare::Edited));
        assert_eq!(texts(&mut both, Compare::Edited), own);
        assert_eq!(texts(&mut both, Compare::Baseline), other);
        let found = texts(&mut both, Compare::Difference);
        let side = if edits.is_empty() { "unedited" } else { "edited" };
        let screen = both.screen();
        let heads = |line: &str| line.contains(" that ") && line.contains(" this ") && !line.contains("difference");
        assert!(screen.lines().any(heads), "{screen}");
        for (name, alone, reader, fixture) in [
            ("parallel-25", &own, "parallel-100", "parallel-100"),
            ("parallel-100", &other, "parallel-25", "parallel-25"),
        ] {
            assert_eq!(cells(&found, name), cells(alone, side), "{name}");
            // the other model's run of the whole text
            let token = |cell: &String| -> u32 {
                // without a tokenizer, tokens are named by their ids
                cell.trim_start_matches("\"<|").trim_end_matches("|>\"").parse().unwrap()
            };
            let new: Vec<u32> = cells(&found, name).iter().map(token).collect();
            let prompt: Vec<u32> = IDS.split(',').map(|id| id.parse().unwrap()).collect();
            let whole = spec(&[&prompt[..], &new].concat(), edits);
            let mut engine = engine(fixture, Processing::Folded, &[]);
            let outcome = run(&mut engine, &whole).unwrap();
            let logits: Vec<Vec<f32>> = outcome.run.logits.squeeze(0).unwrap().to_vec2().unwrap();
            let in_other = cells(&found, &format!("its probability in {reader}"));
            assert_eq!(in_other.len(), new.len());
            for (at, (id, shown)) in new.iter().zip(in_other).enumerate() {
                let row = &logits[prompt.len() + at - 1];
                let sum: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
                let expected = f64::from(row[*id as usize]).exp() / sum;
                let shown: f64 = shown.parse().unwrap();
                assert!((shown - expected).abs() < 1e-6, "{name} token {at}: {shown} {expected}");
            }
        }
        // another choice by the other model: its text goes on, and is read again
        both.state.scene.layout.focus = Focus::View;
        both.press(KeyCode::Left);
        both.press(KeyCode::Down);
        both.press(KeyCode::Enter);
        both.press(KeyCode::Down);
        both.press(KeyCode::Enter);
        let branched = texts(&mut both, Compare::Difference);
        assert_ne!(cells(&branched, "parallel-100")[0], cells(&found, "parallel-100")[0]);
        assert_eq!(cells(&branched, "parallel-25"), cells(&found, "parallel-25"));
        let read = cells(&branched, "its probability in parallel-25").len();
        assert_eq!(read, cells(&branched, "parallel-100").len(), "its text went on, and was read again");
    }
}

#[test]
fn tables_call_the_other_model_by_its_name() {
    let [mut both, ..] = three(&[]);
    let header = |both: &mut Explorer, tab| table(both, tab, LAST, Compare::Edited).header.join(",");
    assert_eq!(header(&mut both, Tab::Shape), "statistic,value,parallel-100");
    assert_eq!(header(&mut both, Tab::Logits), "rank,id,token,logit,probability,parallel-100 probability");
    assert!(header(&mut both, Tab::Lens).ends_with("kl from final,kl from parallel-100"));
    assert_eq!(header(&mut both, Tab::Diagram), "hook,shape,relative distance from parallel-100");
    let names = |both: &mut Explorer, tab| -> Vec<String> {
        table(both, tab, LAST, Compare::Edited).arrays.into_iter().map(|(name, ..)| name).collect()
    };
    assert_eq!(names(&mut both, Tab::Logits), ["logits", "parallel-100"]);
    assert!(names(&mut both, Tab::Lens).contains(&"kl_from_parallel-100".into()));
    let mut named = |compare| {
        table(&mut both, Tab::Values, LAST, compare);
        both.state.table_name()
    };
    let of = named(Compare::Edited);
    assert!(of.starts_with("parallel-25-"), "{of}");
    assert_eq!(named(Compare::Baseline), of.replace("parallel-25", "parallel-100"));
    assert_eq!(named(Compare::Difference), format!("{of}-less-parallel-100"));
}

#[test]
fn the_other_model_stays_while_this_one_changes() {
    // from one checkpoint to another, as the explorer's sessions do
    let other = Other::new(engine("parallel-100", Processing::Folded, &[]));
    let [mut first, mut second, _] = three(&[EDIT]);
    first.session = Session::new(engine("parallel-25", Processing::Folded, &[])).against(other.clone());
    second.session = Session::new(engine("parallel-100", Processing::Folded, &[])).against(other);
    for (explorer, differs) in [(&mut first, true), (&mut second, false)] {
        explorer.state.scene.against = Some("parallel-100".into());
        explorer.state.scene.runs.forget_wanted();
        let found = arrays(&table(explorer, Tab::Values, LAST, Compare::Difference));
        assert_eq!(found[0].iter().any(|x| *x != 0.0), differs);
    }
}
