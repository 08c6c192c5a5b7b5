//! Moving along the pass, among hooks, and within views.

use super::*;

#[test]
fn stepping_follows_the_forward_pass() {
    let mut program = Program::start(SMALL, &[]);
    let points = program.state.scene.schema.points();
    for (i, point) in points.iter().enumerate() {
        assert_eq!((program.state.scene.point(), program.state.scene.step()), (*point, Some((i + 1, points.len()))));
        program.keys("]");
    }
    program.keys("[");
    assert_eq!(program.state.scene.point(), points[points.len() - 2]);
    program.find("0 pat");
    program.keys("} }");
    assert_eq!(program.state.scene.point().to_string(), "blocks.2.attn.hook_pattern");
    program.keys("{");
    assert_eq!(program.state.scene.point().to_string(), "blocks.1.attn.hook_pattern");
}

#[test]
fn a_search_needs_all_its_words_and_n_wraps_around() {
    let mut program = Program::start(SMALL, &[]);
    program.find("3 pat");
    assert_eq!(program.state.scene.point().to_string(), "blocks.3.attn.hook_pattern");
    program.find("hook_pattern");
    let mut seen: Vec<String> = (0..4)
        .map(|_| {
            program.keys("n");
            program.state.scene.point().to_string()
        })
        .collect();
    seen.sort();
    assert_eq!(seen, (0..4).map(|b| format!("blocks.{b}.attn.hook_pattern")).collect::<Vec<_>>());
    program.find("zzz");
    assert!(program.state.scene.message.as_ref().unwrap().text.contains("no hook matches `zzz`"));
}

#[test]
fn the_other_tree_keeps_the_selected_hook() {
    let mut program = Program::start(SMALL, &[]);
    for point in program.state.scene.schema.all_points() {
        program.keys("f");
        program.state.scene.select(point);
        program.keys("f");
        assert_eq!(program.state.scene.point(), point);
    }
    // each hook is in Hugging Face's tree once, and stepping works there too
    program.find("2 pattern");
    program.keys("f ]");
    assert_eq!(program.state.scene.point().to_string(), "blocks.2.attn.hook_z");
    assert_eq!(
        program.state.scene.trees.shown().path().join("."),
        "GPTNeoXForCausalLM.gpt_neox.layers.2.attention.dense.hook_z"
    );
}

#[test]
fn values_move_along_two_axes_and_a_third() {
    let mut program = Program::start(WIDE, &[]);
    program.find("1 attn q");
    program.keys("2 Tab l l k");
    let look = |program: &Program| {
        let request = program.state.requests().remove(0);
        let OfSlice { point, slice, numbers: _ } = request.get().unwrap();
        (point.to_string(), *slice)
    };
    let (point, slice) = look(&program);
    assert_eq!(point, "blocks.1.attn.hook_q");
    assert_eq!((slice.rows, slice.columns), (hooks::Axis::Pos, hooks::Axis::DHead));
    assert_eq!(
        (program.state.scene.cursor.index(slice.rows), program.state.scene.cursor.index(slice.columns)),
        (PROMPT.len() - 2, 2)
    );
    program.keys("> >");
    assert_eq!(look(&program).1.fixed, Some((hooks::Axis::Head, 2)));
    program.keys("s");
    assert_eq!((look(&program).1.rows, look(&program).1.columns), (hooks::Axis::Pos, hooks::Axis::Head));
    program.keys("s s");
    // with the columns sorted by a row, the cursor follows their order
    program.keys("g c *");
    let (columns, values) = matrix(&program);
    let mut order: Vec<usize> = (0..columns).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    let at = |program: &Program| {
        (program.state.scene.cursor.index(slice.rows), program.state.scene.cursor.index(slice.columns))
    };
    let furthest = values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    assert_eq!(values[at(&program).0 * columns + at(&program).1].abs(), furthest);
    let before = order.iter().position(|c| *c == at(&program).1).unwrap();
    program.keys("l");
    assert_eq!(order.iter().position(|c| *c == at(&program).1).unwrap(), (before + 1).min(columns - 1));
    // the difference is the edited value minus the baseline's
    program.keys("a d");
    assert_eq!(program.state.scene.compare(), Compare::Difference);
    let (_, difference) = matrix(&program);
    assert_eq!(difference[3], values[3] / 2.0);
}

#[test]
fn attribution_goes_to_the_head_under_the_cursor_and_ablates_it() {
    let mut program = Program::start(WIDE, &[]);
    program.keys("6 Tab");
    let table = program.state.table().unwrap();
    let sizes: Vec<f64> = table.rows.iter().map(|row| row[1].parse::<f64>().unwrap().abs()).collect();
    assert!(sizes.windows(2).all(|w| w[0] >= w[1]));
    program.keys("g");
    assert_eq!(table.rows[0][0], "3_mlp_out");
    program.keys("a");
    assert_eq!(program.state.scene.edits.active()[0].to_string(), "blocks.3.hook_mlp_out = 0");
    program.keys("u m");
    // the MLP is after the last head of its row
    let row = |program: &Program| program.state.view().cursor(&program.state.scene).unwrap();
    program.keys("k k");
    assert_eq!(row(&program), (1, 4));
    program.keys("h");
    assert_eq!(row(&program), (1, 3));
    program.keys("l h j Enter");
    assert_eq!(
        (program.state.tab, program.state.scene.block(), program.state.scene.cursor.head),
        (Tab::Attention, 2, 3)
    );
    program.keys("6 m g");
    while program.state.cannot_ablate().is_none() {
        program.keys("j");
    }
    program.keys("a");
    assert!(program.state.scene.message.as_ref().unwrap().text.contains("no hook holds"));
}

#[test]
fn a_tree_of_36_layers_and_40_heads_is_walked_to_its_end() {
    let dims = Dims {
        n_layers: 36,
        n_heads: 40,
        d_head: 8,
        d_model: 320,
        d_mlp: 64,
        d_vocab: 960,
        parallel: true,
        activation: ACTIVATIONS[0].words,
    };
    let mut program = Program::with(dims, (0..512).map(|i| format!(" w{i}")).collect(), WIDE, &[]);
    let points = program.state.scene.schema.points();
    assert_eq!(points.len(), 36 * 18 + 3);
    for point in &points {
        assert_eq!(program.state.scene.point(), *point);
        program.keys("]");
    }
    for keys in ["3", "m", "m", "6", "7", "2", "f"] {
        program.keys(keys);
        assert!(program.screen(TRUE).contains("ln_final"));
    }
}

/// The number of columns of the values on the screen, and the values.
fn matrix(program: &Program) -> (usize, Vec<f32>) {
    let (_, shape, values) = program.state.table().unwrap().arrays.remove(0);
    (shape[1], values)
}

#[test]
fn patching_a_part_of_the_circuit_makes_its_edit() {
    let mut program = Program::start(WIDE, &[]);
    program.keys("C");
    assert!(program.screen(TRUE).contains("opens a line for the contrast prompt"));
    command(&mut program, &format!("contrast {}", ["x"; 9].join(" ")));
    program.keys("Tab j Enter");
    assert_eq!(program.state.scene.edits.active()[0].to_string(), "blocks.0.attn.hook_z[head=0] = patch");
    program.keys("u s Enter");
    let path = program.state.scene.edits.active()[0].to_string();
    assert!(path.contains(" -> "), "{path}");
    // fewer and more edges
    program.keys("m < < >");
    assert!(program.screen(TRUE).contains("the circuit is the 8 strongest edges"));
}

#[test]
fn an_edge_becomes_a_path_that_is_previewed_and_undone() {
    let mut program = Program::start(SMALL, &[]);
    command(&mut program, &format!("contrast {}", ["x"; 9].join(" ")));
    program.keys("C Tab s j j");
    let offered = program.state.ablation().to_string();
    assert!(offered.contains(" -> ") && offered.ends_with("= patch"), "{offered}");
    assert!(program.screen(TRUE).contains(&format!("a: {}", &offered[..30])), "{}", program.screen(TRUE));
    program.keys("Enter");
    assert_eq!(program.state.scene.edits.active()[0].to_string(), offered);
    // an edit with a number slides, and a typed path can be completed
    program.keys("u");
    assert!(program.state.scene.edits.lines.is_empty());
    program.keys("i");
    program.event(Event::Paste("hook_embed -> blocks.3.mlp".into()));
    program.keys("Tab");
    program.event(Event::Paste(" *= 0.5".into()));
    insta::assert_snapshot!("path_editor_small", program.screen(TRUE));
    program.keys("Enter Tab + +");
    let line = |program: &Program| program.state.scene.edits.lines[0].edit.to_string();
    assert_eq!(line(&program), "hook_embed -> blocks.3.hook_mlp_in *= 0.7");
    program.keys("-");
    assert_eq!(line(&program), "hook_embed -> blocks.3.hook_mlp_in *= 0.6");
}

/// The key cycles the readings in these four views only; requests, titles, copies and experiments follow.
#[test]
fn gradients_are_asked_for_where_they_are_shown() {
    let mut program = Program::start(SMALL, &[]);
    let asked = |program: &Program| program.posted.last().unwrap().requests.clone();
    let numbers = |program: &Program| asked(program)[0].get::<OfSlice>().unwrap().numbers;
    program.keys("2");
    assert_eq!(numbers(&program), Numbers::Values);
    program.keys("B");
    assert!(matches!(numbers(&program), Numbers::Gradients { times: Factor::One, .. }));
    assert!(program.state.table_name().ends_with("-gradient"), "{}", program.state.table_name());
    let runs = program.state.scene.runs.number;
    program.keys("B");
    assert!(matches!(numbers(&program), Numbers::Gradients { times: Factor::Value, .. }));
    // no contrast prompt: left out, with the reason
    program.keys("B");
    assert_eq!(numbers(&program), Numbers::Values);
    assert!(program.screen(TRUE).contains("there is no contrast prompt"));
    // no run is needed for any of it
    assert_eq!(program.state.scene.runs.number, runs);
    command(&mut program, &format!("contrast {}", ["x"; 9].join(" ")));
    program.keys("B B B");
    assert!(matches!(numbers(&program), Numbers::Gradients { times: Factor::Change, .. }));
    let kept = program.state.experiment();
    assert!(toml::to_string(&kept).unwrap().contains("reading = \"gradient-times-change\""));
    // another target is another gradient
    let before = numbers(&program);
    program.keys("4 Tab j j t Esc 2");
    assert!(numbers(&program) != before && numbers(&program).is_gradient());
    // other views neither ask for gradients nor change what is shown
    program.keys("7 B");
    assert!(program.screen(TRUE).contains("shows no gradients"));
    assert!(asked(&program).iter().all(|request| request.get::<OfSlice>().is_none()));
    program.keys("0");
    assert!(asked(&program)[0].get::<OfEveryHook>().is_some());
    program.keys("B");
    assert!(program.state.requests().is_empty());
}

#[test]
fn why_leads_to_the_component() {
    let mut program = Program::start(WIDE, &[]);
    program.find("1 pattern");
    program.keys("3 X Tab j j Enter");
    let scene = &program.state.scene;
    assert_eq!((program.state.tab, scene.point().to_string()), (Tab::Attention, "blocks.0.attn.hook_z".into()));
    assert_eq!(scene.cursor.head, 1);
    // and back
    program.event(Event::Key(KeyEvent::new(KeyCode::Char('o'), KeyModifiers::CONTROL)));
    assert_eq!(
        (program.state.tab, program.state.scene.point().to_string()),
        (Tab::Why, "blocks.1.attn.hook_pattern".into())
    );
}
