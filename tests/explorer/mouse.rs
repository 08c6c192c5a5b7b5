//! Clicks, drags and the wheel.

use super::*;

#[test]
fn clicking_an_edit_selects_it_even_in_a_scrolled_list() {
    let lines =
        ["hook_embed = 0", "blocks.0.hook_mlp_out = 0", "blocks.1.hook_mlp_out = 0", "blocks.2.hook_mlp_out = 0"];
    let mut program = Program::start(SMALL, &lines);
    program.state.scene.layout.focus = Focus::Edits;
    program.keys("G");
    let layout = program.state.scene.layout;
    let (area, visible) = (layout.areas().edits, layout.visible_edits(3, 4));
    assert_eq!(visible, 2..4);
    // two rows an edit: the second visible one starts two rows below the first
    let click = MouseEvent {
        kind: MouseEventKind::Down(MouseButton::Left),
        column: area.x + 10,
        row: area.y + 1,
        modifiers: KeyModifiers::NONE,
    };
    program.event(Event::Mouse(click, None));
    assert_eq!(program.state.scene.edits.cursor, 2);
    // on the box, it is switched off as well
    program.event(Event::Mouse(MouseEvent { column: area.x + 2, row: area.y + 3, ..click }, None));
    assert!(
        program
            .state
            .scene
            .edits
            .lines
            .iter()
            .all(|line| line.on == (line.edit.to_string() != lines[program.state.scene.edits.cursor]))
    );
}

#[test]
fn the_mouse_selects_rows_and_tabs() {
    let mut program = Program::start(WIDE, &[]);
    program.click((10, 4));
    assert_eq!(program.state.scene.trees.shown().cursor(), 2);
    let tab = program.find_text("3 Attention");
    program.click(tab);
    assert_eq!(program.state.tab, Tab::Attention);
    // a hint is a key
    let hint = program.find_text("? help");
    program.click(hint);
    assert!(matches!(program.state.overlay, Some(Overlay::Help(_))));
}

#[test]
fn a_click_selects_and_a_second_click_enters() {
    let mut program = Program::start(WIDE, &[]);
    program.find("1 attn z");
    program.keys("7");
    let (x, y) = program.find_text("blocks.3  ");
    let at = (x + 10 + 14 * 2 + 3, y);
    program.click(at);
    assert_eq!(
        (program.state.scene.block(), program.state.scene.cursor.head, program.state.scene.layout.focus),
        (3, 2, Focus::View)
    );
    program.click(at);
    assert_eq!(program.state.tab, Tab::Attention);
    program.keys("5");
    let (x, y) = program.find_text("1 pre");
    program.click((x + 9 + 9 * 2, y));
    assert_eq!(program.state.view().cursor(&program.state.scene), Some((1, 2)));
    program.keys("m 3 m m");
    assert_eq!(program.state.views.attention.heads, HeadScope::Model);
    let (x, y) = program.find_text("L2");
    program.click((x + 5, y));
    assert_eq!((program.state.scene.block(), program.state.scene.cursor.head), (2, 0));
}

#[test]
fn the_split_moves_by_key_and_by_drag_and_a_panel_can_be_maximised() {
    let mut program = Program::start(WIDE, &[]);
    let width = |program: &Program| program.state.scene.layout.areas().tree.width;
    let before = width(&program);
    program.keys(")");
    assert_eq!(width(&program), before + 4);
    program.keys("( (");
    assert_eq!(width(&program), before - 4);
    let mouse = |kind, column| Event::Mouse(MouseEvent { kind, column, row: 10, modifiers: KeyModifiers::NONE }, None);
    let border = width(&program) - 1;
    program.event(mouse(MouseEventKind::Down(MouseButton::Left), border));
    program.event(mouse(MouseEventKind::Drag(MouseButton::Left), 70));
    program.event(mouse(MouseEventKind::Up(MouseButton::Left), 70));
    program.event(mouse(MouseEventKind::Drag(MouseButton::Left), 90));
    assert_eq!(width(&program), 71);
    // it stays when the terminal is resized, as far as there is room
    program.event(Event::Resize(80, 24));
    assert_eq!(width(&program), 60);
    program.event(Event::Resize(WIDE.0, WIDE.1));
    assert_eq!(width(&program), 71);
    program.keys("Tab z");
    assert_eq!(
        (program.state.scene.layout.areas().view.width, program.state.scene.layout.areas().tree.width),
        (160, 0)
    );
    program.keys("Esc");
    assert_eq!(width(&program), 71);
}
