//! Prompts, generation, and the tokens of the logit difference.

use super::*;

#[test]
fn the_prompt_is_edited_in_place_and_earlier_ones_come_back() {
    let mut program = Program::start(SMALL, &["hook_embed[pos=5] = 0", "blocks.0.hook_mlp_out = 0"]);
    program.keys("p");
    program.event(Event::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)));
    program.keys("Enter");
    assert!(prompt_line(&program).lines[0].tokens.is_err(), "an empty prompt is not accepted");
    program.event(Event::Paste("Two new\r\nwords".into()));
    assert_eq!(prompt_line(&program).lines[0].input.value(), "Two new\nwords");
    insta::assert_snapshot!("prompt", program.screen(TRUE));
    program.keys("Enter");
    assert_eq!(
        program.state.scene.prompts.tokens.iter().map(|t| t.text.as_str()).collect::<Vec<_>>(),
        ["Two", "new", "words"]
    );
    // position 5 no longer exists
    assert_eq!(program.state.scene.edits.active().len(), 1);
    assert!(program.state.scene.message.as_ref().unwrap().text.contains("1 of the edits"));
    assert_eq!(program.posted.last().unwrap().spec.tokens, [100, 101, 102]);
    program.event(Event::Key(KeyEvent::new(KeyCode::Char('p'), KeyModifiers::NONE)));
    program.event(Event::Key(KeyEvent::new(KeyCode::Up, KeyModifiers::NONE)));
    assert_eq!(prompt_line(&program).lines[0].input.value(), PROMPT.concat());
    // leaving it changes nothing
    let runs = program.state.scene.runs.number;
    program.keys("Esc");
    assert_eq!((program.state.scene.runs.number, program.state.scene.prompts.tokens.len()), (runs, 3));
}

#[test]
fn a_prompt_entered_before_its_tokens_are_known_runs_once_they_are() {
    let mut program = Program::start(SMALL, &[]);
    program.encodes = false;
    let tokens = || Ok(vec![Token { id: 7, text: "new".into() }]);
    let typing = Purpose::Typing { contrast: false };
    program.keys("p");
    let asked = program.event(Event::Paste("!".into()));
    let text = format!("{}!", PROMPT.concat());
    assert_eq!(asked, [Effect::Tokenize(typing, text.clone())]);
    let runs = program.state.scene.runs.number;
    program.keys("Enter");
    assert!(program.state.overlay.is_some() && program.state.scene.runs.number == runs);
    // of an earlier text
    program.event(Event::Tokenized(typing, "older".into(), tokens()));
    assert!(program.state.overlay.is_some() && program.state.scene.runs.number == runs);
    program.event(Event::Tokenized(typing, text, tokens()));
    assert!(program.state.overlay.is_none() && program.state.scene.runs.number == runs + 1);
    assert_eq!(program.posted.last().unwrap().spec.tokens, [7]);
    // further typing cancels the pending run
    program.keys("p x Enter y");
    program.event(Event::Tokenized(typing, "newx".into(), tokens()));
    program.event(Event::Tokenized(typing, format!("{}xy", text_of(&program)), tokens()));
    assert!(program.state.overlay.is_some() && program.state.scene.runs.number == runs + 1);
    // an answer for lines that have been closed
    program.keys("Esc");
    program.event(Event::Tokenized(typing, "late".into(), tokens()));
    assert!(program.state.overlay.is_none() && program.state.scene.runs.number == runs + 1);
}

/// The prompt that is typed, without the last two characters.
fn text_of(program: &Program) -> String {
    let text = prompt_line(program).lines[0].input.value();
    text.chars().take(text.chars().count() - 2).collect()
}

#[test]
fn lines_have_a_limit_and_say_so() {
    for (key, limit) in [("/", 256), ("e", 4096), (":", 4096), ("&", 4096), ("S", 4096), ("p", 1 << 20)] {
        let mut program = Program::start(SMALL, &[]);
        program.encodes = false;
        program.keys(key);
        let length = |program: &Program| match program.state.overlay.as_ref().unwrap() {
            Overlay::Find(line) => line.input.value().len(),
            Overlay::Edit(line) => line.input.value().len(),
            Overlay::Command(line) => line.input.value().len(),
            Overlay::Save(line) => line.input.value().len(),
            Overlay::Prompt(open) => open.lines[0].input.value().len(),
            Overlay::Predicate(line) => line.input.value().len(),
            Overlay::Help(_) | Overlay::Views(_) | Overlay::Stops(_) | Overlay::Places(_) => panic!("no line"),
        };
        let said = |program: &Program| program.state.scene.message.as_ref().map(|message| message.text.clone());
        // two bytes a character: the last does not fit where one is left
        // a suggested name gives way to what is pasted
        let before = if key == "S" { 0 } else { length(&program) };
        program.event(Event::Paste("é".repeat(limit)));
        assert!((limit - 1..=limit).contains(&length(&program)), "{key}: {}", length(&program));
        let left_out = 2 * limit - (length(&program) - before);
        assert_eq!(
            said(&program),
            Some(format!("this line holds {limit} bytes: the last {left_out} of the paste were left out"))
        );
        program.keys("x x");
        assert_eq!(length(&program), limit, "{key}");
        assert_eq!(said(&program), Some(format!("this line is full: it holds {limit} bytes")));
        program.keys("Backspace");
        assert!(said(&program).is_none() && length(&program) < limit);
        program.screen(TRUE);
    }
}

#[test]
fn generation_goes_step_by_step_and_back() {
    let mut program = Program::start(SMALL, &["hook_embed[pos=-1] *= 2"]);
    program.keys(".");
    assert_eq!(
        (program.state.scene.prompts.tokens.len(), program.state.scene.prompts.tokens.last().unwrap().text.as_str()),
        (10, " Mary")
    );
    assert_eq!(program.state.scene.cursor.pos, 9, "the cursor stays at the last position");
    // the one chosen in Logits
    program.keys("4 Tab j .");
    assert_eq!(program.state.scene.prompts.tokens.last().unwrap().text, " John");
    assert_eq!(program.posted.last().unwrap().spec.tokens[..9], (10..19).collect::<Vec<u32>>()[..]);
    program.keys(", ,");
    assert_eq!(program.posted.last().unwrap().spec.tokens, (10..19).collect::<Vec<u32>>());
    program.keys(",");
    assert!(program.state.scene.message.as_ref().unwrap().text.contains("no token was appended"));
    program.keys("p");
    assert_eq!(prompt_line(&program).lines[0].input.value(), PROMPT.concat());
    program.keys("Esc");
    program.state.scene.model.config.context = 9;
    program.keys(".");
    assert!(program.state.scene.message.as_ref().unwrap().text.contains("already has 9 tokens"));
}

#[test]
fn the_target_and_the_distractor_are_chosen_among_the_next_tokens() {
    let mut program = Program::start(SMALL, &[]);
    let answer = |program: &Program| {
        let (target, distractor) = program.state.scene.answer().unwrap();
        (target.text, distractor.map(|token| token.text))
    };
    // the baseline's likeliest
    assert_eq!(answer(&program), (" John".into(), Some("\n".into())));
    program.keys("4 Tab t");
    assert_eq!(answer(&program), (" Mary".into(), Some(" John".into())));
    program.keys("j j j D");
    assert_eq!(answer(&program), (" Mary".into(), Some(" the".into())));
    let effects = program.keys("6");
    let [Effect::Post(Want { requests, .. })] = &effects[..] else { panic!("{effects:?}") };
    let asked = requests[0].get::<OfLogit>().unwrap();
    assert_eq!((asked.target, asked.distractor), (0, Some(3)));
    program.keys("4 D");
    assert_eq!(answer(&program), (" Mary".into(), None));
}
