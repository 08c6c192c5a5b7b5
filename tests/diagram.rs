//! The wiring diagram: snapshots, and properties in every room and for every model.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;
use pythia_tui::{
    diagram::{Direction, Picture, Role, Subject, wiring},
    hooks::{BlockHook, Dims, HookPoint, Schema},
    model::ACTIVATIONS,
};

/// The view's inside on screens of 160 x 45, 120 x 36 and 80 x 24.
const ROOMS: [(&str, (usize, usize)); 3] = [("full", (110, 38)), ("middle", (76, 30)), ("reduced", (50, 15))];

fn dims(parallel: bool) -> Dims {
    Dims {
        n_layers: 6,
        n_heads: 8,
        d_head: 64,
        d_model: 512,
        d_mlp: 2048,
        d_vocab: 50304,
        parallel,
        activation: ACTIVATIONS[0].words,
    }
}

fn subject(schema: &Schema, block: usize) -> Subject<'_> {
    Subject { schema, block, folded: false, positions: Some(13) }
}

#[test]
fn looks() {
    for (name, room) in ROOMS {
        for parallel in [true, false] {
            let schema = Schema::new(dims(parallel));
            let kind = if parallel { "parallel" } else { "sequential" };
            for ascii in [false, true] {
                let picture = |block| Picture::of(&subject(&schema, block), room, ascii, None).text();
                let form = if ascii { "ascii" } else { "unicode" };
                // the first block, one within, the last
                let blocks = if ascii { &[0][..] } else { &[0, 2, 5] };
                let between = format!("{}\n", "~".repeat(room.0));
                let text = blocks.iter().map(|block| picture(*block)).collect::<Vec<_>>().join(&between);
                insta::assert_snapshot!(format!("{name}_{kind}_{form}"), text);
            }
        }
    }
}

#[test]
fn opt_in_hooks_that_are_on() {
    let mut schema = Schema::new(dims(true));
    for name in ["hook_tokens", "hook_attn_in", "hook_q_input", "hook_mlp_in", "hook_result"] {
        schema.enable(name).unwrap();
    }
    let subject = Subject { folded: true, positions: None, ..subject(&schema, 0) };
    insta::assert_snapshot!(Picture::of(&subject, (110, 38), false, None).text());
}

/// The role of each cell, as a letter.
#[test]
fn roles() {
    let schema = Schema::new(dims(true));
    let picture = Picture::of(&subject(&schema, 0), (76, 30), false, None);
    let letter = |role: Role| match role {
        Role::Blank => ' ',
        Role::Wire => 'w',
        Role::Stream => 's',
        Role::Adder => '+',
        Role::Frame => 'f',
        Role::Operation => 'o',
        Role::Hook => 'H',
        Role::Off => 'O',
        Role::Derived => 'D',
        Role::Shape => '#',
        Role::Title => 't',
    };
    let rows = picture.cells.chunks(picture.width);
    let text: Vec<String> =
        rows.map(|row| row.iter().map(|cell| letter(cell.role)).collect::<String>().trim_end().to_string()).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn a_change_lights_what_it_reaches() {
    let schema = Schema::new(dims(true));
    let edited = HookPoint::Block(2, BlockHook::Pattern);
    let mut changed = wiring::reaches(edited, &schema);
    changed.insert(edited);
    let picture = Picture::of(&subject(&schema, 2), (110, 38), false, None);
    let lit = picture.lit(&changed);
    let cells = picture.cells.chunks(picture.width).map(|row| {
        let shown = |cell: &pythia_tui::diagram::Cell| match cell.hook {
            Some(hook) if changed.contains(&hook) => cell.symbol,
            _ if cell.wires.iter().any(|wire| lit[*wire]) => cell.symbol,
            _ => ' ',
        };
        row.iter().map(shown).collect::<String>().trim_end().to_string()
    });
    insta::assert_snapshot!(cells.collect::<Vec<_>>().join("\n"));
}

fn any_schema() -> impl Strategy<Value = Schema> {
    let size = prop_oneof![1_usize..200, 1_usize..200_000];
    let dims = (1_usize..6, 1_usize..130, size.clone(), size.clone(), size, any::<bool>(), 0..ACTIVATIONS.len());
    let dims = dims.prop_map(|(n_layers, n_heads, d_head, d_model, d_mlp, parallel, activation)| Dims {
        n_layers,
        n_heads,
        d_head,
        d_model,
        d_mlp,
        d_vocab: 50304,
        parallel,
        activation: ACTIVATIONS[activation].words,
    });
    (dims, prop::collection::vec(any::<bool>(), 31)).prop_map(|(dims, on)| {
        let mut schema = Schema::new(dims);
        let opt_in = schema.all_points().into_iter().filter(|point| point.is_opt_in());
        schema.set_enabled(opt_in.zip(on).filter(|(_, on)| *on).map(|(point, _)| point).collect());
        schema
    })
}

/// The hooks that the picture of a block has to contain.
fn required(schema: &Schema, block: usize, folded: bool) -> BTreeSet<HookPoint> {
    let mut all: BTreeSet<HookPoint> = BlockHook::ALL.map(|hook| HookPoint::Block(block, hook)).into();
    if folded || block == 0 {
        all.extend(HookPoint::BEFORE);
    }
    if folded || block + 1 == schema.dims.n_layers {
        all.extend(HookPoint::AFTER);
    }
    all
}

/// Every row of a frame begins and ends with its border.
fn frames_are_whole(picture: &Picture) -> Result<(), TestCaseError> {
    let corners = |y: usize| {
        (0..picture.width).filter(move |x| {
            picture.cell(*x, y).is_some_and(|cell| cell.role == Role::Frame && "╭╮".contains(cell.symbol))
        })
    };
    for y in 0..picture.height {
        for x in corners(y) {
            let below = (y + 1..picture.height).map(|y| picture.cell(x, y).unwrap());
            let border: Vec<char> = below.take_while(|cell| cell.role == Role::Frame).map(|cell| cell.symbol).collect();
            prop_assert!(border.contains(&'╰') || border.contains(&'╯'), "column {}\n{}", x, picture.text());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn every_hook_is_there_once_and_whole(
        schema in any_schema(), columns in 50_usize..260, rows in 15_usize..90, ascii: bool, folded: bool,
        positions in prop_oneof![Just(None), (1_usize..5000).prop_map(Some)],
    ) {
        let mut all = Vec::new();
        for block in 0..if folded { 1 } else { schema.dims.n_layers } {
            let subject = Subject { schema: &schema, block, folded, positions };
            let picture = Picture::of(&subject, (columns, rows), ascii, None);
            prop_assert!(picture.width <= columns && picture.height <= rows);
            prop_assert_eq!(picture.cells.len(), picture.width * picture.height);
            let drawn: Vec<HookPoint> = picture.places.iter().map(|place| place.hook).collect();
            let required: Vec<HookPoint> = required(&schema, block, folded).into_iter().collect();
            prop_assert_eq!(&drawn, &required);
            all.extend(drawn);
            let mut cells = 0;
            for place in &picture.places {
                prop_assert!(place.x + place.width <= picture.width && place.y < picture.height, "{:?}", place);
                prop_assert!((place.x..place.x + place.width).contains(&place.mark));
                let mark = picture.cell(place.mark, place.y).unwrap().symbol;
                prop_assert!((if ascii { "*o%" } else { "●○◌" }).contains(mark), "{:?}", place);
                for x in place.x..place.x + place.width {
                    // nothing was written over it
                    prop_assert_eq!(picture.cell(x, place.y).unwrap().hook, Some(place.hook), "\n{}", picture.text());
                    prop_assert_eq!(picture.hook_at(x, place.y), Some(place.hook));
                    // and it hides no other hook's wire, except for the copies that pass by hook_attn_in
                    let own = |wire: &usize| {
                        let wire = &picture.wires[*wire];
                        wire.from.contains(&place.hook) || wire.to.contains(&place.hook)
                    };
                    let wires = &picture.cell(x, place.y).unwrap().wires;
                    let passed = place.hook.block_hook() == Some(BlockHook::AttnIn);
                    prop_assert!(passed || wires.iter().all(own), "{:?}\n{}", place, picture.text());
                }
                cells += place.width;
            }
            frames_are_whole(&picture)?;
            prop_assert_eq!(cells, picture.cells.iter().filter(|cell| cell.hook.is_some()).count());
            let text = picture.text();
            prop_assert_eq!(ascii, text.is_ascii(), "{}", text);
            // the adders, and the arrows into them
            let sign = if ascii { "(+)" } else { "⊕" };
            prop_assert_eq!(text.matches(sign).count(), 2, "{}", text);
        }
        if !folded {
            prop_assert_eq!(all, schema.all_points());
        }
    }

    #[test]
    fn small_rooms_show_the_part_around_the_focus(
        schema in any_schema(), columns in 0_usize..120, rows in 0_usize..40, ascii: bool, at in 0_usize..25,
    ) {
        let focus = HookPoint::Block(0, BlockHook::ALL[at]);
        let picture = Picture::of(&subject(&schema, 0), (columns, rows), ascii, Some(focus));
        prop_assert!(picture.width <= columns && picture.height <= rows);
        prop_assert_eq!(picture.cells.len(), picture.width * picture.height);
        if columns > 0 && rows > 0 {
            let place = picture.place(focus).unwrap();
            prop_assert!(place.width > 0 && place.x + place.width <= picture.width && place.y < picture.height);
            prop_assert_eq!(picture.cell(place.x, place.y).unwrap().hook, Some(focus));
        }
        let _ = Picture::of(&subject(&schema, 0), (columns, rows), ascii, None);
    }

    #[test]
    fn steps_lead_from_every_hook_to_every_other(
        schema in any_schema(), columns in 1_usize..260, rows in 1_usize..90, folded: bool,
    ) {
        let subject = Subject { folded, ..subject(&schema, schema.dims.n_layers - 1) };
        let picture = Picture::of(&subject, (columns, rows), false, None);
        let required = required(&schema, subject.block, folded);
        let neighbours = |hook: &HookPoint| (*hook, Direction::ALL.map(|direction| picture.step(*hook, direction)));
        let steps: HashMap<HookPoint, [HookPoint; 4]> = required.iter().map(neighbours).collect();
        for from in &required {
            let (mut reached, mut ahead) = (BTreeSet::new(), vec![*from]);
            while let Some(hook) = ahead.pop() {
                if reached.insert(hook) {
                    ahead.extend(steps[&hook]);
                }
            }
            let missed: Vec<String> = required.difference(&reached).map(ToString::to_string).collect();
            prop_assert!(missed.is_empty(), "from {}: {:?}\n{}", from, missed, picture.text());
        }
    }
}

/// Wires connect the hooks that the graph connects, along the drawn lines.
#[test]
fn wires_join_the_hooks_that_the_graph_joins() {
    for (parallel, split) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut schema = Schema::new(dims(parallel));
        if split {
            schema.enable("hook_q_input").unwrap();
        }
        for (_, room) in ROOMS {
            let picture = Picture::of(&subject(&schema, 2), room, false, None);
            let mut drawn: BTreeSet<(HookPoint, HookPoint)> = BTreeSet::new();
            for wire in &picture.wires {
                drawn.extend(wire.from.iter().flat_map(|from| wire.to.iter().map(move |to| (*from, *to))));
            }
            for from in required(&schema, 2, false) {
                for to in wiring::next(from, &schema) {
                    // inputs are drawn through ln1 to the vectors computed from them, and the divisor is inside ln1
                    let through_ln = matches!(
                        from.block_hook(),
                        Some(BlockHook::QInput | BlockHook::KInput | BlockHook::VInput | BlockHook::MlpIn)
                    );
                    assert!(through_ln || drawn.contains(&(from, to)), "{from} to {to}");
                }
            }
            let known = |(from, to): &(HookPoint, HookPoint)| wiring::reaches(*from, &schema).contains(to);
            let derived = |(from, _): &(HookPoint, HookPoint)| schema.is_derived(*from);
            let wrong: Vec<_> = drawn.iter().filter(|pair| !known(pair) && !derived(pair)).collect();
            assert!(wrong.is_empty(), "{wrong:?}");
        }
    }
}

#[test]
fn steps_follow_the_wires() {
    use BlockHook as B;
    let schema = Schema::new(dims(true));
    for (name, room) in ROOMS {
        let picture = Picture::of(&subject(&schema, 2), room, false, None);
        let step = |from: B, direction| picture.step(HookPoint::Block(2, from), direction).block_hook().unwrap();
        for (from, direction, to) in [
            (B::Q, Direction::Down, B::RotQ),
            (B::RotQ, Direction::Up, B::Q),
            (B::K, Direction::Down, B::RotK),
            (B::RotQ, Direction::Down, B::AttnScores),
            (B::AttnScores, Direction::Down, B::Pattern),
            (B::Pattern, Direction::Down, B::Z),
            (B::Q, Direction::Right, B::K),
            (B::K, Direction::Right, B::V),
            (B::V, Direction::Left, B::K),
            (B::MlpPre, Direction::Down, B::MlpPost),
            (B::MlpPost, Direction::Down, B::MlpOut),
            (B::MlpIn, Direction::Down, B::Ln2Scale),
            (B::ResidPre, Direction::Down, B::ResidMid),
            (B::ResidPost, Direction::Up, B::ResidMid),
            (B::AttnIn, Direction::Right, B::ResidPre),
            (B::ResidPre, Direction::Right, B::MlpIn),
            (B::AttnOut, Direction::Right, B::ResidMid),
            (B::MlpOut, Direction::Left, B::ResidPost),
            (B::Result, Direction::Up, B::Z),
        ] {
            assert_eq!(step(from, direction), to, "{name}: {} {direction:?}", from.name());
        }
    }
}
