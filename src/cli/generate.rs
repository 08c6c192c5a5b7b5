//! `generate`: continuations of a prompt, with the edits and without.

use std::{sync::atomic::Ordering, time::Instant};

use anyhow::Result;

use super::{
    Usage,
    breakpoints::given_breakpoints,
    generate_args::GenerateArgs,
    generate_output::{Output, Times},
    interrupted::Signals,
    prepare::{self, Prepared},
    run::note_undefined_rows,
};
use crate::{
    analysis::short_number,
    engine::{Continued, Control, Engine, Sampling, TokenBreakpoint, TokenHit, check_cache_name, save_cache},
    hooks::RunError,
    printed,
};

pub(super) fn main(args: &GenerateArgs) -> Result<()> {
    let began = Instant::now();
    let ms = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
    let sampling = sampling(args)?;
    if let Some(path) = &args.save_cache {
        check_cache_name(path).map_err(|e| Usage(format!("--save-cache: {e}")))?;
    }
    let Prepared { mut engine, setup, .. } = prepare::headless(&args.model, &args.prompt, &args.edits)?;
    let spec = setup.spec();
    let mut times = Times { load: ms(began), ..Times::default() };
    let signals = Signals::catch()?;
    let cancel = signals.stopped.clone();
    let reading = Instant::now();
    let context = engine.loaded.model.config.context;
    let count = usize::try_from(args.max_new_tokens).unwrap_or(usize::MAX);
    let longest = spec.tokens.len().saturating_add(count).min(context.max(spec.tokens.len()));
    let given = given_breakpoints(&args.breakpoints, &mut engine, &spec, longest)?;
    let kept = setup.breakpoints.iter().filter(|breakpoint| breakpoint.on);
    let kept = kept.map(|breakpoint| TokenBreakpoint::new(breakpoint.when.clone(), breakpoint.log));
    let given = given.into_iter().map(|when| TokenBreakpoint::new(when, false));
    let breakpoints: Vec<TokenBreakpoint> = given.chain(kept).collect();
    let control = Control { cancel: &cancel, progress: &|_, _| {} };
    let interrupted = |error: RunError| -> anyhow::Error {
        match error {
            RunError::Cancelled => signals.interrupted("").into(),
            other => other.into(),
        }
    };
    let generation = engine.watched_generation(&spec, &breakpoints, args.save_cache.is_some(), control);
    let generation = generation.map_err(interrupted)?;
    times.prompt = ms(reading);
    let mut output = Output::new(args.json, &engine, &spec, &times)?;
    let generating = Instant::now();
    let mut samples = Vec::new();
    for number in 0..u64::from(args.samples) {
        if args.samples > 1 {
            output.begin(number)?;
        }
        let mut failed = None;
        let made = generation.sample(&engine, count, &sampling, number, &cancel, &mut |pair| {
            if let Err(error) = output.pair(pair) {
                failed = Some(error);
                cancel.store(true, Ordering::Relaxed);
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        output.end(&made)?;
        let sample = (args.samples > 1).then_some(number);
        note_breakpoints(&made, sample, &engine);
        samples.push(made);
        if cancel.load(Ordering::Relaxed) {
            break;
        }
    }
    times.generate = ms(generating);
    let mut save = || -> Result<()> {
        if cancel.load(Ordering::Relaxed) {
            return Err(signals.interrupted("").into());
        }
        let (Some(path), Some(made)) = (&args.save_cache, samples.first()) else { return Ok(()) };
        let saving = Instant::now();
        let new = made.own().tokens.iter().map(|token| token.id);
        let run = generation.run(&engine, &new.collect::<Vec<_>>(), control).map_err(interrupted)?;
        times.cache = Some(ms(saving));
        Ok(save_cache(&engine, &run, path)?)
    };
    // what was generated is printed also where it can't be saved
    let saved = save();
    times.total = ms(began);
    note_undefined_rows(samples.iter().map(|made| made.undefined_rows).sum());
    output.finish(&samples, &sampling, args.samples > 1, &times)?;
    saved
}

/// Say on stderr what stopped a sample, and what its logging breakpoints found.
fn note_breakpoints(made: &Continued, sample: Option<u64>, engine: &Engine) {
    let sample = sample.map_or_else(String::new, |number| format!("sample {}: ", number + 1));
    let text = made.own();
    let at = |hit: &TokenHit| {
        let token = text.tokens.get(hit.token).map(|token| engine.loaded.tokenizer.token(token.id)).unwrap_or_default();
        let (place, value) = (&hit.found.place, short_number(hit.found.value));
        format!("token {} {token:?}: {place} = {value}", hit.token + 1)
    };
    for TokenBreakpoint { when, logs, tokens, first } in &made.breakpoints {
        match (first, logs) {
            (Some(hit), false) => printed::note(format_args!("{sample}stopped after {} ({when})", at(hit))),
            (Some(hit), true) => {
                let tokens = printed::counted(*tokens, "token");
                printed::note(format_args!("{sample}{when}: true at {tokens}, first {}", at(hit)));
            }
            (None, true) => printed::note(format_args!("{sample}{when}: true at no token")),
            (None, false) => {}
        }
    }
}

/// # Errors
/// Several samples without a temperature, which would all be equal.
fn sampling(args: &GenerateArgs) -> Result<Sampling, Usage> {
    let temperature = args.temperature.unwrap_or(0.0);
    if args.samples > 1 && temperature == 0.0 {
        let equal = "--samples: without a temperature above 0 all samples are equal; give --temperature T";
        return Err(Usage(equal.into()));
    }
    let top_k = args.top_k.map(|k| usize::try_from(k).unwrap_or(usize::MAX));
    Ok(Sampling { temperature, top_k, top_p: args.top_p, seed: args.seed.unwrap_or(0) })
}
