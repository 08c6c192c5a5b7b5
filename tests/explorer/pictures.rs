//! What the screen shows, colours included.

use super::*;

#[test]
fn shape_wide() {
    let mut program = Program::start(WIDE, &[]);
    program.find("0.attn q");
    insta::assert_snapshot!(program.screen(TRUE));
}

#[test]
fn shape_with_edits_small() {
    let mut program =
        Program::start(SMALL, &["blocks.1.attn.hook_z[head=2] = 0", "blocks.0.attn.hook_pattern[query=0 key=1:] = 0"]);
    program.find("2 mlp_out");
    insta::assert_snapshot!(program.screen(TRUE));
}

fn attention(size: (u16, u16), theme: Theme) -> String {
    let mut program = Program::start(size, &[]);
    program.find("1 attn z");
    program.keys("3 > > a");
    program.screen(theme)
}

#[test]
fn attention_wide() {
    insta::assert_snapshot!(attention(WIDE, TRUE));
}

#[test]
fn attention_small() {
    insta::assert_snapshot!(attention(SMALL, TRUE));
}

#[test]
fn attention_in_256_colours() {
    insta::assert_snapshot!(attention(
        SMALL,
        Theme { depth: ColorDepth::Ansi256, ascii: false, light: false, pixels: None }
    ));
}

#[test]
fn attention_in_16_colours() {
    insta::assert_snapshot!(attention(
        SMALL,
        Theme { depth: ColorDepth::Ansi16, ascii: false, light: false, pixels: None }
    ));
}

#[test]
fn attention_without_colour_in_ascii() {
    let screen = attention(SMALL, Theme { depth: ColorDepth::None, ascii: true, light: false, pixels: None });
    let text = screen.split("---\n").next().unwrap();
    assert!(text.is_ascii(), "{text}");
    insta::assert_snapshot!(screen);
}

#[test]
fn a_long_prompt_is_pooled_and_says_so() {
    let dims = Dims {
        n_layers: 2,
        n_heads: 2,
        d_head: 8,
        d_model: 16,
        d_mlp: 64,
        d_vocab: 500,
        parallel: true,
        activation: ACTIVATIONS[0].words,
    };
    let prompt = (0..100).map(|i| format!(" w{i}")).collect();
    let mut program = Program::with(dims, prompt, SMALL, &[]);
    program.keys("3");
    let screen = program.screen(TRUE);
    assert!(screen.contains("cell: max of"), "{screen}");
    insta::assert_snapshot!(screen);
}

#[test]
fn lens_view() {
    let mut program = Program::start(SMALL, &[]);
    program.keys("5 Tab k h");
    assert_eq!(program.state.view().cursor(&program.state.scene), Some((3, PROMPT.len() - 2)));
    insta::assert_snapshot!("lens_small", program.screen(TRUE));
    program.event(Event::Resize(WIDE.0, WIDE.1));
    insta::assert_snapshot!("lens_wide", program.screen(TRUE));
}

#[test]
fn heads_view() {
    let mut program = Program::start(SMALL, &[]);
    program.keys("7 Tab j j l");
    insta::assert_snapshot!("heads_small", program.screen(TRUE));
    insta::assert_snapshot!(
        "heads_16_colours",
        program.screen(Theme { depth: ColorDepth::Ansi16, ascii: false, light: false, pixels: None })
    );
    // the head under the cursor is the one that is ablated and looked at
    program.keys("a Enter");
    assert_eq!(program.state.scene.edits.active()[0].to_string(), "blocks.2.attn.hook_z[head=1] = 0");
    assert_eq!(program.state.tab, Tab::Attention);
}

#[test]
fn logits_view() {
    let mut program = Program::start(SMALL, &["blocks.1.attn.hook_z[head=2] = 0"]);
    program.keys("4");
    insta::assert_snapshot!(program.screen(TRUE));
}

#[test]
fn help_and_finder() {
    let mut program = Program::start(SMALL, &[]);
    program.keys("?");
    insta::assert_snapshot!("help", program.screen(TRUE));
    program.keys("Esc / 3 p");
    insta::assert_snapshot!("finder", program.screen(TRUE));
}

#[test]
fn a_narrow_screen_shows_the_panel_in_focus() {
    let mut program = Program::start((40, 12), &["blocks.1.attn.hook_z[head=2] = 0"]);
    assert!(program.screen(TRUE).contains("hook_resid_pre"));
    program.keys("Tab 3");
    assert!(program.screen(TRUE).contains("Attention") && !program.screen(TRUE).contains("hook_resid_pre"));
    program.keys("Tab");
    assert!(program.screen(TRUE).contains("KL alone"));
}

/// The views in each of their layouts, and the keys that show them.
const VIEWS: [(&str, &str); 42] = [
    ("diagram", "0"),
    ("shape", "1"),
    ("values", "2"),
    ("values_in_colours", "2 m"),
    ("attention", "3"),
    ("attention_of_a_block", "3 m"),
    ("attention_of_every_head", "3 m m"),
    ("logits", "4"),
    ("continue", "$ Tab j j"),
    ("continue_with_candidates", "$ Tab j j j Enter j"),
    ("continue_as_a_tree", "$ Tab j j Enter j Enter m"),
    ("lens", "5"),
    ("lens_by_kl", "5 s"),
    ("lenses_side_by_side", "5 m"),
    ("lenses_of_the_target", "5 m m"),
    ("features", "I"),
    ("feature_over_the_tokens", "I m"),
    ("attribution", "6"),
    ("attribution_as_a_map", "6 m"),
    ("heads", "7"),
    ("weights_ov", "Q"),
    ("weights_qk", "Q s"),
    ("weights_by_distance", "Q s m"),
    ("weights_of_a_neuron", "Q s s"),
    ("weights_composition", "Q s s s"),
    ("sweep", "8"),
    ("dose", "~ Tab l l l"),
    ("dose_by_probability", "~ s s"),
    ("circuit", "C"),
    ("circuit_as_a_graph_of_edges", "C s m"),
    ("circuit_of_features", "C s s"),
    ("circuit_as_a_scatter", "C m m"),
    ("circuit_as_a_curve", "C m m m >"),
    ("gradient_of_shape", "1 B"),
    ("gradient_of_values", "2 B"),
    ("gradient_times_value", "2 m B B"),
    ("gradient_of_attention", "3 B"),
    ("gradient_times_change_of_heads", "3 m B B B"),
    ("gradient_in_the_diagram", "0 B"),
    ("gradient_times_change_in_the_diagram", "0 B B B"),
    ("why_a_score", "X"),
    ("why_a_logit", "X s"),
];

/// A snapshot of every view with one edit on, after some keys.
fn every_view(name: &str, size: (u16, u16), theme: Theme, keys: &str) {
    for (view, shows) in VIEWS {
        let mut program = Program::start(size, &["blocks.1.attn.hook_z[head=2] = 0"]);
        // a contrast prompt, for the views that patch from it
        command(&mut program, &format!("contrast {}", ["x"; 9].join(" ")));
        program.find("1 attn z");
        program.keys(keys);
        program.keys(shows);
        let screen = program.screen(theme);
        assert!(!theme.ascii || screen.is_ascii(), "{view}: {:?}", screen.chars().find(|c| !c.is_ascii()));
        insta::assert_snapshot!(format!("view_{view}_{name}"), screen);
    }
}

#[test]
fn every_view_wide() {
    every_view("wide", WIDE, TRUE, "");
}

#[test]
fn every_view_small() {
    every_view("small", SMALL, TRUE, "");
}

#[test]
fn every_view_on_a_light_background() {
    every_view("light", SMALL, Theme { light: true, ..TRUE }, "");
}

#[test]
fn every_view_without_colour() {
    every_view("plain", SMALL, Theme { depth: ColorDepth::None, ascii: true, light: false, pixels: None }, "");
}

#[test]
fn every_view_of_a_difference() {
    every_view("difference", SMALL, TRUE, "d");
}

#[test]
fn overlays() {
    let mut program = Program::start(SMALL, &[]);
    program.keys(":");
    insta::assert_snapshot!("command", program.screen(TRUE));
    program.keys("v i e w Space");
    insta::assert_snapshot!("command_words", program.screen(TRUE));
    program.keys("Esc S");
    insta::assert_snapshot!("save", program.screen(TRUE));
    program.event(Event::Saved("demo.svg".into(), Err(NotSaved::Exists)));
    assert!(program.screen(TRUE).contains("exists: Enter replaces it"));
    program.keys("Esc f");
    insta::assert_snapshot!("modules", program.screen(TRUE));
}
