//! No key, mouse event or size upsets the explorer.

use super::*;

fn any_purpose() -> impl Strategy<Value = Purpose> {
    prop::sample::select(vec![
        Purpose::Typing { contrast: false },
        Purpose::Typing { contrast: true },
        Purpose::Prompt,
        Purpose::Contrast,
        Purpose::Find,
        Purpose::Target,
        Purpose::Distractor,
    ])
}

fn any_event() -> impl Strategy<Value = Event> {
    // every bound key, those that lines of text take, and some that do nothing
    let bound = keymap();
    let bound = bound.bindings().flat_map(|bound| bound.keys.iter().map(|key| key.event()));
    let keys: Vec<KeyEvent> = bound
        .chain("12.\"\u{e9}\u{4e2d}".chars().map(|c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)))
        .chain([KeyCode::Backspace, KeyCode::F(5)].map(|code| KeyEvent::new(code, KeyModifiers::NONE)))
        .chain([
            KeyEvent::new(KeyCode::Char('a'), KeyModifiers::CONTROL),
            KeyEvent::new(KeyCode::Up, KeyModifiers::SHIFT),
        ])
        .collect();
    let kinds = prop::sample::select(vec![
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::ScrollDown,
        MouseEventKind::ScrollUp,
        MouseEventKind::Moved,
        MouseEventKind::Drag(MouseButton::Left),
        MouseEventKind::Up(MouseButton::Left),
    ]);
    prop_oneof![
        12 => prop::sample::select(keys).prop_map(Event::Key),
        3 => (kinds, 0u16..170, 0u16..50).prop_map(|(kind, column, row)| Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }, None)),
        1 => "[ -~\\n]{0,30}".prop_map(Event::Paste),
        1 => (1u16..170, 1u16..50).prop_map(|(w, h)| Event::Resize(w, h)),
        1 => (1u16..12, 1u16..8).prop_map(|(w, h)| Event::Resize(w, h)),
        1 => (0u64..9).prop_map(|run| Event::Report(Report::Failed { run, message: "broken".into() })),
        1 => (0u64..9, 0usize..4).prop_map(|(run, block)| Event::Report(Report::Progress { run, block, blocks: 4 })),
        1 => (any_purpose(), "[a-c ]{0,3}", prop::collection::vec(0u32..960, 0..4)).prop_map(|(purpose, text, ids)| {
            let tokens: Vec<Token> = ids.into_iter().map(|id| Token { id, text: id.to_string() }).collect();
            Event::Tokenized(purpose, text, if tokens.is_empty() { Err("no tokens".into()) } else { Ok(tokens) })
        }),
        1 => prop::sample::select(vec![
            Event::Suspend,
            Event::Continued,
            Event::Loading("another".into()),
            Event::Opened("x.toml".into(), Err("can't read".into())),
        ]),
    ]
}

/// As many as `PROPTEST_CASES` says.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(128, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_upsets_it(events in prop::collection::vec((any_event(), any::<bool>(), any::<bool>()), 1..60), depth in 0usize..4, ascii: bool, light: bool) {
        let depths = [ColorDepth::True, ColorDepth::Ansi256, ColorDepth::Ansi16, ColorDepth::None];
        let mut program = Program::start((80, 24), &[]);
        program.state.have_tour(Some(tour::guided()));
        let mut regions = vec![];
        for (event, answers, encodes) in events {
            (program.answers, program.encodes) = (answers, encodes);
            // the target under the pointer is what was drawn there
            let event = match event {
                Event::Mouse(mouse, _) => {
                    let hit = regions.iter().find_map(|region: &Region| region.at(mouse.column, mouse.row));
                    Event::Mouse(mouse, hit)
                }
                other => other,
            };
            program.event(event);
            let scene = &program.state.scene;
            let (cursor, tokens) = (&scene.cursor, scene.tokens().len());
            prop_assert!(cursor.head < 4 && cursor.pos < tokens && cursor.key < tokens);
            prop_assert!(scene.edits.cursor < scene.edits.lines.len().max(1));
            prop_assert!(program.state.views.get(Tab::Sweep).ablation(scene, true).is_some(), "the sweep's cursor is off its map");
            let tree = scene.trees.shown();
            prop_assert_eq!(tree.rows()[tree.cursor()], tree.selected());
            let height = scene.layout.areas().tree_height();
            prop_assert!(height == 0 || (tree.offset..tree.offset + height).contains(&tree.cursor()), "the cursor is out of sight");
            let (width, height) = program.state.scene.layout.size;
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            let theme = Theme { depth: depths[depth], ascii, light, pixels: None };
            terminal.draw(|frame| regions = draw(frame, &program.state, theme)).unwrap();
        }
    }
}
