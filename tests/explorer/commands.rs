//! The command line, and keys by name.

use super::*;

#[test]
fn commands_do_what_keys_do_and_more() {
    let mut program = Program::start(SMALL, &[]);
    command(&mut program, "hook blocks.2.attn.hook_pattern");
    assert_eq!(program.state.scene.point().to_string(), "blocks.2.attn.hook_pattern");
    command(&mut program, "view lens");
    assert_eq!(program.state.tab, Tab::Lens);
    command(&mut program, "edit blocks.*.hook_mlp_out *= 0.5");
    assert_eq!(program.state.scene.edits.active()[0].to_string(), "blocks.*.hook_mlp_out *= 0.5");
    command(&mut program, "head 3");
    command(&mut program, "position 2");
    assert_eq!((program.state.scene.cursor.head, program.state.scene.cursor.pos), (3, 2));
    command(&mut program, "undo");
    assert!(program.state.scene.edits.lines.is_empty());
    command(&mut program, "prompt Two more words");
    assert_eq!(program.state.scene.prompts.tokens.len(), 3);
    command(&mut program, "contrast some others here");
    assert_eq!(program.posted.last().unwrap().spec.contrast, Some(vec![100, 101, 102]));
    command(&mut program, "contrast");
    assert_eq!(program.posted.last().unwrap().spec.contrast, None);
    command(&mut program, "target \" Mary\"");
    assert_eq!(program.state.scene.target.as_ref().unwrap().text, "Mary");
    for (line, said) in [
        ("hed 3", "did you mean `head`?"),
        ("head 9", "from 0 to 3"),
        ("hook blocks.9.hook_mlp_out", "blocks 0 to 3"),
        ("view nothing", "expected one of diagram, shape, values"),
        ("edit blocks.0.hook_mlp_out[pos=99] = 0", "out of range"),
        ("enable blocks.0.attn.hook_z", "opt-in"),
        ("head", "takes N"),
    ] {
        command(&mut program, line);
        let message = program.state.scene.message.as_ref().unwrap();
        assert!(message.error && message.text.contains(said), "{line}: {}", message.text);
    }
    // Tab completes, Esc and an empty Backspace leave
    program.keys(": v i e w Space a t t Tab Enter");
    assert_eq!(program.state.tab, Tab::Attention);
    program.keys(": Backspace");
    assert!(program.state.overlay.is_none());
}

#[test]
fn every_action_can_be_asked_for_by_name() {
    for bound in keymap().bindings() {
        let mut program = Program::start(SMALL, &["hook_embed = 0"]);
        command(&mut program, bound.binding.name);
        let refused = program.state.scene.message.as_ref().is_some_and(|m| m.text.contains("there is no command"));
        assert!(!refused, "{}", bound.binding.name);
    }
}

#[test]
fn keys_can_be_given_to_other_actions() {
    let mut keys = keymap();
    keys.bind("ablate", &["Z".parse::<Key>().unwrap()]).unwrap();
    let mut program = Program::start_with(keys);
    program.keys("a");
    assert!(program.state.scene.edits.lines.is_empty());
    program.keys("Z");
    assert_eq!(program.state.scene.edits.lines.len(), 1);
    program.keys("? a b l a t e");
    assert!(program.screen(TRUE).contains("Z  ablate the hook"));
}

#[test]
fn the_documentation_shows_the_keys_as_they_are() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/keys.md")).unwrap();
    let table = keymap().table();
    assert!(page.ends_with(&table), "the table in docs/keys.md should be:\n{table}");
    assert!(keymap().bindings().all(|bound| !bound.binding.doc.is_empty()));
}

#[test]
fn a_target_is_one_token() {
    let mut program = Program::start(WIDE, &[]);
    command(&mut program, "target \" Mary\"");
    assert!(program.screen(TRUE).contains("the target is \"Mary\", without a leading space"));
    command(&mut program, "target Mary Ann");
    assert!(program.screen(TRUE).contains("\"Mary Ann\" is 2 tokens (\"Mary\" \"Ann\"); the target is one token"));
    assert_eq!(program.state.scene.target.as_ref().unwrap().text, "Mary", "the target stays");
    command(&mut program, "distractor a b c");
    assert!(program.screen(TRUE).contains("the distractor is one token"));
}

#[test]
fn a_head_of_another_block_is_named_with_its_block() {
    let mut program = Program::start(WIDE, &[]);
    command(&mut program, "head 2.1");
    assert_eq!(program.state.scene.point().to_string(), "blocks.2.attn.hook_z");
    assert_eq!((program.state.scene.block(), program.state.scene.cursor.head), (2, 1));
    command(&mut program, "head 3");
    assert_eq!((program.state.scene.block(), program.state.scene.cursor.head), (2, 3));
    for (words, expected) in
        [("9.0", "a block from 0 to 3"), ("0.9", "a head from 0 to 3"), ("x", "a number from 0 to 3")]
    {
        command(&mut program, &format!("head {words}"));
        assert!(program.screen(TRUE).contains(expected), "{words}");
    }
    command(&mut program, "ablate foo");
    assert!(program.screen(TRUE).contains("ablate takes no words"));
}

#[test]
fn a_contrast_prompt_of_another_length_is_marked() {
    let mut program = Program::start(WIDE, &[]);
    program.keys("P O n e");
    let screen = program.screen(TRUE);
    assert!(screen.contains("1 tokens  the prompt has 9: patching needs the same number"), "{screen}");
}

#[test]
fn every_key_has_one_action() {
    let mut keys: Vec<String> =
        keymap().bindings().flat_map(|bound| bound.keys.iter().map(ToString::to_string).collect::<Vec<_>>()).collect();
    keys.sort();
    let twice: Vec<&String> = keys.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}
