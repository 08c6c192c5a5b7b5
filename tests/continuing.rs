//! What Continue shows is what generation and runs of the longer text give.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test fails by panicking")]

mod common;

use std::cell::RefCell;

use common::{engine, run, spec};
use pythia_tui::{
    analysis::log_normaliser,
    engine::{Answer, Beginning, Compare, Report, Request, Sampling, Serve, Session, Spec, Stop, Want},
    hooks::{BlockHook, HookPoint},
    model::Processing,
    views::continuation::{Added, Job, OfContinuation, Progress},
};

const PROMPT: [u32; 5] = [3, 14, 15, 92, 65];

/// What a worker says to a request, in order.
fn answers(session: &mut Session, number: u64, spec: &Spec, ask: OfContinuation) -> Vec<Progress> {
    let requests = vec![Request::new(ask)];
    let want = Want { run: number, spec: spec.clone(), requests, measure: false, hold: None };
    let answers: RefCell<Vec<Answer>> = RefCell::default();
    let report = |report| {
        if let Report::Saw { answer, .. } = report {
            answers.borrow_mut().push(answer.unwrap());
        }
    };
    session.serve(&want, &Stop::default(), &report).unwrap();
    answers.into_inner().iter().map(|answer| answer.get::<Progress>().unwrap().clone()).collect()
}

fn job(count: usize) -> Job {
    let beginning = Beginning { unedited: Some(vec![]), edited: Some(vec![]), ..Beginning::default() };
    Job { beginning, count, sampling: Sampling::GREEDY, sample: 0, breakpoints: vec![] }
}

fn ids(added: &Added) -> Vec<u32> {
    added.tokens.iter().map(|made| made.token.id).collect()
}

#[test]
fn texts_are_told_token_by_token_and_resume_where_they_were() {
    let spec = spec(&PROMPT, &["blocks.0.hook_mlp_out += 2", "blocks.1.attn.hook_z[pos=-1] *= -4"]);
    let mut session = Session::new(engine("parallel-25", Processing::Folded, &[]));
    let told =
        answers(&mut session, 1, &spec, OfContinuation { job: Some(job(6)), at: Some(4), compare: Compare::Edited });
    let lengths: Vec<usize> = told.iter().map(|told| told.edited.as_ref().unwrap().tokens.len()).collect();
    assert_eq!(lengths, [0, 1, 2, 3, 4, 5, 6, 6]);
    let is_done: Vec<bool> = told.iter().map(|told| told.is_done).collect();
    assert_eq!(is_done, [false, false, false, false, false, false, false, true]);
    let (unedited, edited) = (told[7].unedited.clone().unwrap(), told[7].edited.clone().unwrap());
    assert_ne!(ids(&unedited), ids(&edited));
    // the candidates of the first token are those of the last position
    let next = told[7].next.clone().unwrap();
    assert_eq!((next.top[0].id, next.was[0].id), (ids(&edited)[0], ids(&unedited)[0]));
    // a run that looks at the continuation asks for the rest
    let grown = Spec { tokens: [&PROMPT[..], &ids(&edited)[..4]].concat(), generated: 4, ..spec.clone() };
    let beginning = Beginning {
        unedited: Some(ids(&unedited)[..4].to_vec()),
        edited: Some(ids(&edited)[..4].to_vec()),
        ..Beginning::default()
    };
    let rest =
        OfContinuation { job: Some(Job { beginning, ..job(6) }), at: Some(PROMPT.len() + 1), compare: Compare::Edited };
    let told = answers(&mut session, 2, &grown, rest).pop().unwrap();
    assert_eq!(ids(&told.unedited.unwrap()), ids(&unedited)[4..]);
    assert_eq!(ids(told.edited.as_ref().unwrap()), ids(&edited)[4..]);
    assert_eq!(told.next.unwrap().top[0].id, ids(&edited)[2]);
    // changes are those of the whole continuation
    assert_eq!(told.edited.unwrap().changes.len(), 6);
}

#[test]
fn given_tokens_are_read_with_their_probabilities_before_others_are_chosen() {
    let spec = spec(&PROMPT, &["blocks.0.hook_mlp_out += 2"]);
    let mut session = Session::new(engine("parallel-25", Processing::Folded, &[]));
    let then = [vec![7, 9, 11], vec![90, 3]];
    let beginning = Beginning { then: then.clone(), ..job(5).beginning };
    let ask = OfContinuation { job: Some(Job { beginning, ..job(5) }), at: None, compare: Compare::Edited };
    let told = answers(&mut session, 1, &spec, ask).pop().unwrap();
    let texts = [told.unedited.unwrap(), told.edited.unwrap()];
    for (text, then) in texts.iter().zip(&then) {
        assert_eq!((text.tokens.len(), &ids(text)[..then.len()]), (5, &then[..]));
    }
    assert_eq!(texts[1].changes.len(), 5);
    // the same probabilities as in a run of the text so far, and from there on the likeliest tokens
    for (at, made) in texts[1].tokens.iter().enumerate() {
        let tokens = [&PROMPT[..], &ids(&texts[1])[..at]].concat();
        let grown = Spec { generated: at, tokens, ..spec.clone() };
        let ask = OfContinuation { job: None, at: Some(PROMPT.len() + at - 1), compare: Compare::Edited };
        let next = answers(&mut session, 2, &grown, ask).pop().unwrap().next.unwrap();
        assert!(at < 2 || next.top[0].id == made.token.id);
        let prob = |logits: &[f32]| (f64::from(logits[made.token.id as usize]) - log_normaliser(logits)).exp();
        assert!((prob(&next.logits) - made.prob).abs() <= 1e-6);
        assert!((prob(next.baseline.as_ref().unwrap()) - made.baseline_prob).abs() <= 1e-6);
    }
    // given tokens are read where fewer are wanted
    let beginning = Beginning { edited: None, then, ..job(1).beginning };
    let ask = OfContinuation { job: Some(Job { beginning, ..job(1) }), at: None, compare: Compare::Edited };
    let told = answers(&mut session, 3, &spec, ask).pop().unwrap();
    assert_eq!((ids(&told.unedited.unwrap()), told.edited), (vec![7, 9, 11], None));
}

#[test]
fn change_bars_and_candidates_equal_a_run_of_the_longer_text() {
    for edits in [
        &["blocks.0.hook_resid_post += 0.5"][..],
        // of the prompt's last position, which is not that of the longer text
        &["blocks.1.attn.hook_z[pos=-1] = 0", "blocks.0.hook_mlp_out[pos=1:3] *= 2"],
        // the run resumes after block 0, which stays as it was
        &["blocks.1.hook_mlp_out *= 2"],
    ] {
        let spec = spec(&PROMPT, edits);
        let mut session = Session::new(engine("parallel-25", Processing::Folded, &[]));
        let told =
            answers(&mut session, 1, &spec, OfContinuation { job: Some(job(5)), at: None, compare: Compare::Edited })
                .pop()
                .unwrap();
        let edited = told.edited.unwrap();
        let tokens = [&PROMPT[..], &ids(&edited)].concat();
        // written out: negative positions counted from the prompt's end
        let lines: Vec<String> = edits.iter().map(|line| line.replace("pos=-1", "pos=4")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut engine = engine("parallel-25", Processing::Folded, &[]);
        let outcome = run(&mut engine, &common::spec(&tokens, &lines)).unwrap();
        let n_layers = engine.schema.dims.n_layers;
        for block in 0..n_layers {
            let point = HookPoint::Block(block, BlockHook::ResidPost);
            let rows = |run| -> Vec<Vec<f32>> {
                engine.activation(run, point).unwrap().unwrap().squeeze(0).unwrap().to_vec2().unwrap()
            };
            let (before, after) = (rows(&outcome.baseline), rows(&outcome.run));
            for at in 0..5 {
                let pair = before[PROMPT.len() + at].iter().zip(&after[PROMPT.len() + at]);
                let (moved, norm) = pair.fold((0f64, 0f64), |(moved, norm), (a, b)| {
                    (moved + f64::from(b - a).powi(2), norm + f64::from(*a).powi(2))
                });
                let (expected, found) = ((moved / norm).sqrt(), edited.changes[at][block]);
                assert!(
                    (expected - found).abs() <= 1e-5,
                    "{edits:?} block {block} token {at}: {found}, not {expected}"
                );
            }
        }
        assert!(edited.changes.iter().flatten().any(|change| *change > 0.01));
        // the run that every view shows has the probabilities of the texts
        let grown = Spec { tokens: tokens.clone(), generated: 5, ..spec.clone() };
        for (at, made) in edited.tokens.iter().enumerate() {
            let ask = OfContinuation { job: None, at: Some(PROMPT.len() + at - 1), compare: Compare::Edited };
            let next = answers(&mut session, 2, &grown, ask).pop().unwrap().next.unwrap();
            let found = next.top.iter().find(|one| one.id == made.token.id).unwrap();
            assert!((found.prob - made.prob).abs() <= 1e-6 && (found.baseline_prob - made.baseline_prob).abs() <= 1e-6);
        }
    }
}
