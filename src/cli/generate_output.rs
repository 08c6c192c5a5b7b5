//! How `generate` prints: a row for each token as it comes, or one JSON object at the end.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde_json::{Value, json};

use crate::{
    engine::{Continuation, Continued, Engine, NewToken, Pair, Sampling, Spec, StopReason, TokenBreakpoint, TokenHit},
    predicate::Match,
    printed::{self, Printed, escaped},
};

/// Durations in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub load: f64,
    /// Reading the prompt.
    pub prompt: f64,
    pub generate: f64,
    /// The pass over the new tokens that keeps their activations.
    pub cache: Option<f64>,
    pub total: f64,
}

pub(super) struct Output<'a> {
    to: Printed<BufWriter<StdoutLock<'static>>>,
    json: bool,
    engine: &'a Engine,
    spec: &'a Spec,
    /// Rows printed of this sample.
    rows: usize,
}

/// The width of a token in a row.
const TOKEN: usize = 18;

impl<'a> Output<'a> {
    pub fn new(json: bool, engine: &'a Engine, spec: &'a Spec, times: &Times) -> io::Result<Self> {
        let mut output = Self { to: printed::stdout(), json, engine, spec, rows: 0 };
        if !json {
            let (loaded, tokens) = (&engine.loaded, spec.tokens.len());
            let (name, processing, place) =
                (escaped(&loaded.name), loaded.model.processing.name(), loaded.model.place());
            let Times { load, prompt, .. } = times;
            writeln!(
                output.to,
                "{name} · {processing} · {place} · {tokens} tokens · load {load:.0} ms, prompt {prompt:.0} ms"
            )?;
            for edit in &spec.edits {
                writeln!(output.to, "edit: {edit}")?;
            }
            output.to.flush()?;
        }
        Ok(output)
    }

    /// The heading of one of several samples.
    pub fn begin(&mut self, number: u64) -> io::Result<()> {
        if self.json { Ok(()) } else { writeln!(self.to, "\nsample {}", number + 1) }
    }

    /// A row: what each continuation goes on with.
    pub fn pair(&mut self, pair: Pair) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let edited = !self.spec.edits.is_empty();
        if self.rows == 0 {
            let title = if edited { "unedited" } else { "token" };
            write!(self.to, "\n{:>4}  {title:TOKEN$} {:>7}", "", "prob")?;
            let rest = if edited {
                format!("   {:TOKEN$} {:>7}  {:>10}", "edited", "prob", "(unedited)")
            } else {
                String::new()
            };
            writeln!(self.to, "{rest}")?;
        }
        self.rows += 1;
        let text = |token: NewToken| format!("{:?}", self.engine.loaded.tokenizer.token(token.id));
        let cells = |token: Option<NewToken>| {
            let (text, prob) = token.map_or(Default::default(), |token| (text(token), percent(token.prob)));
            format!("{text:TOKEN$} {prob:>7}")
        };
        let mut row = format!("{:>4}  {}", self.rows, cells(pair.unedited));
        if edited {
            let before = pair.edited.map_or(String::new(), |token| percent(token.baseline_prob));
            row = format!("{row}   {}  {before:>10}", cells(pair.edited));
        }
        writeln!(self.to, "{}", row.trim_end())?;
        self.to.flush()
    }

    /// The texts of a sample, and why each ended.
    pub fn end(&mut self, made: &Continued) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        self.rows = 0;
        writeln!(self.to)?;
        let name = if made.edited.is_some() { "unedited" } else { "text" };
        for (name, made) in [(name, Some(&made.unedited)), ("edited", made.edited.as_ref())] {
            let Some(Continuation { tokens, stop }) = made else { continue };
            let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
            let (text, tokens) = (self.engine.loaded.tokenizer.decode(&ids), printed::counted(ids.len(), "token"));
            let why = stop.map_or(String::new(), |stop| self.why(stop));
            writeln!(self.to, "{name}, {tokens}{why}: {text:?}")?;
        }
        self.to.flush()
    }

    fn why(&self, stop: StopReason) -> String {
        match stop {
            StopReason::Length => " (--max-new-tokens)".into(),
            StopReason::EndOfText => ", ended by the end-of-text token".into(),
            StopReason::Context => {
                let context = self.engine.loaded.model.config.context;
                format!(", stopped at the model's context of {context} tokens")
            }
            StopReason::NoToken => ", stopped because the logits give no next token".into(),
            StopReason::Breakpoint => ", stopped by a breakpoint".into(),
            StopReason::Cancelled => ", stopped".into(),
        }
    }

    /// What comes after all samples.
    pub fn finish(
        mut self,
        samples: &[Continued],
        sampling: &Sampling,
        several: bool,
        times: &Times,
    ) -> io::Result<()> {
        let tokens = |made: &Continued| made.own().tokens.len();
        let tokens: usize = samples.iter().map(tokens).sum();
        if self.json {
            let report = report((self.engine, self.spec), samples, sampling, several, times);
            writeln!(self.to, "{report}")?;
        } else if tokens > 0 {
            #[allow(clippy::cast_precision_loss, reason = "a number of tokens")]
            let rate = tokens as f64 / (times.generate / 1e3);
            writeln!(self.to, "\n{:.0} ms, {rate:.1} tokens a second", times.generate)?;
        }
        self.to.flush()
    }
}

/// Probabilities that do not exist are `null`.
fn report(
    (engine, spec): (&Engine, &Spec),
    samples: &[Continued],
    sampling: &Sampling,
    several: bool,
    times: &Times,
) -> Value {
    let loaded = &engine.loaded;
    let text = |id: u32| loaded.tokenizer.token(id);
    let token =
        |t: &NewToken| json!({"id": t.id, "text": text(t.id), "prob": t.prob, "baseline_prob": t.baseline_prob});
    let tokens = |made: &Continuation| made.tokens.iter().map(token).collect::<Vec<_>>();
    let stop = |made: &Continuation| made.stop.map(StopReason::name);
    let hit = |hit: &TokenHit| {
        let Match { place, value } = &hit.found;
        json!({"token": hit.token, "place": place.to_string(), "value": value})
    };
    let breakpoint = |b: &TokenBreakpoint| {
        json!({
            "when": b.when.to_string(), "log": b.logs, "tokens": b.tokens, "first": b.first.as_ref().map(hit),
        })
    };
    let sample = |made: &Continued| {
        let (unedited, edited) = (&made.unedited, made.own());
        json!({
            "new_tokens": tokens(edited),
            "unedited": tokens(unedited),
            "stop": stop(edited),
            "unedited_stop": stop(unedited),
            "breakpoints": made.breakpoints.iter().map(breakpoint).collect::<Vec<_>>(),
        })
    };
    let prompt: Vec<Value> = spec.tokens.iter().map(|&id| json!({"id": id, "text": text(id)})).collect();
    let mut report = json!({
        "model": loaded.name,
        "revision": loaded.revision,
        "processing": loaded.model.processing.name(),
        "device": loaded.model.place().to_string(),
        "tokens": prompt,
        "edits": spec.edits.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "undefined_attention_rows": samples.iter().map(|made| made.undefined_rows).sum::<usize>(),
        "time_ms": {
            "load": times.load, "prompt": times.prompt, "generate": times.generate, "total": times.total,
        },
    });
    if let Some(cache) = times.cache {
        report["time_ms"]["cache"] = cache.into();
    }
    let mut samples: Vec<Value> = samples.iter().map(sample).collect();
    if several {
        report["samples"] = samples.into();
    } else if let (Some(Value::Object(one)), Value::Object(report)) = (samples.pop(), &mut report) {
        report.extend(one);
    }
    report
}

fn percent(prob: f64) -> String {
    if prob.is_nan() { "none".into() } else { format!("{:.1} %", prob * 100.0) }
}
