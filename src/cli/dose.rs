//! `dose`: the prediction over the number of one edit.

use std::{io::Write, sync::atomic::AtomicBool};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    Usage,
    dose_args::DoseArgs,
    prepare::{self, Prepared},
    run::{print_vectors, vectors_json},
    sweep::question,
};
use crate::{
    analysis::{cell, short_number},
    engine::{Control, Dose, DoseCurve, DosePoint, Engine, Spec, Steered, amounts, usual_amounts},
    experiment::{PromptParser, Token},
    hooks::{Capture, Edit},
    printed,
};

pub(super) fn main(args: &DoseArgs) -> Result<()> {
    let Prepared { mut engine, setup, .. } = prepare::headless(&args.model, &args.prompt, &args.edits)?;
    let spec = setup.spec();
    let varied = varied(&spec.edits, args.vary)?;
    let amounts = range(&spec.edits[varied], args)?;
    let parser = PromptParser::from(&engine.loaded);
    let tokens = args.token.iter().map(|text| parser.token(text).context("--token"));
    let tokens = tokens.collect::<Result<Vec<Token>>>()?;
    let cancel = AtomicBool::new(false);
    let control = Control { cancel: &cancel, progress: &|_, _| {} };
    let question = question(&mut engine, &spec, &setup, (&args.target, &args.distractor), control)?;
    let ids = tokens.iter().map(|token| token.id).collect();
    let dose = Dose { edits: spec.edits.clone(), varied, amounts, question, tokens: ids };
    let curve = engine.dose(&spec, &dose, control, &mut |_| {})?;
    let keep = Capture::Only(engine.steered_points(&spec));
    let outcome = engine.run(&spec, &keep, spec.tokens.len().saturating_sub(1), control)?;
    let vectors = engine.steered(&spec, &outcome.baseline)?;
    let found = Found { spec: &spec, dose: &dose, curve: &curve, tokens: &tokens, vectors: &vectors, engine: &engine };
    let mut out = printed::stdout();
    if args.json {
        writeln!(out, "{}", found.report())?;
    } else if args.csv {
        found.write_csv(&mut out)?;
    } else {
        found.print(&mut out)?;
        print_vectors(&mut out, &vectors)?;
    }
    out.flush()?;
    Ok(())
}

/// The number of the edit that is varied: that of `--vary`, counted from 1, or the only one that it can be.
fn varied(edits: &[Edit], given: Option<u16>) -> Result<usize, Usage> {
    if let Some(given) = given {
        let edit = edits
            .get(usize::from(given) - 1)
            .ok_or_else(|| Usage(format!("--vary {given}: expected 1 to {}, the number of an edit", edits.len())));
        return match edit?.op.number() {
            Some(_) => Ok(usize::from(given) - 1),
            None => Err(Usage(format!("--vary {given}: that edit has no number to vary"))),
        };
    }
    let among = |has: &dyn Fn(&Edit) -> bool| -> Vec<usize> {
        edits.iter().enumerate().filter(|(_, edit)| edit.op.number().is_some() && has(edit)).map(|(at, _)| at).collect()
    };
    match (&among(&|edit| edit.op.vector().is_some())[..], &among(&|_| true)[..]) {
        ([one], _) | ([], [one]) => Ok(*one),
        (_, []) => Err(Usage(
            "expected an edit with a number to vary, such as --edit 'blocks.3.hook_resid_post += 4 * NAME'".into(),
        )),
        (..) => Err(Usage("several edits have a number: name one with --vary N, counted from 1".into())),
    }
}

fn range(edit: &Edit, args: &DoseArgs) -> Result<Vec<f32>, Usage> {
    let usual = usual_amounts(edit.op);
    let missing = || Usage("that edit's number is not finite: give --from and --to".into());
    let from = args.from.or(usual.map(|(from, _)| from)).ok_or_else(missing)?;
    let to = args.to.or(usual.map(|(_, to)| to)).ok_or_else(missing)?;
    let all = amounts(from, to, args.points.into());
    match all.iter().find(|amount| edit.op.with_number(**amount).is_none()) {
        Some(amount) => Err(Usage(format!("`{edit}` can't have the number {amount}: noise takes numbers from 0"))),
        None => Ok(all),
    }
}

/// A finished curve.
struct Found<'a> {
    spec: &'a Spec,
    dose: &'a Dose,
    curve: &'a DoseCurve,
    tokens: &'a [Token],
    vectors: &'a [Steered],
    engine: &'a Engine,
}

impl Found<'_> {
    fn points(&self) -> impl Iterator<Item = &DosePoint> {
        self.curve.points.iter().flatten()
    }

    fn report(&self) -> Value {
        let loaded = &self.engine.loaded;
        let token = |id: u32| json!({"id": id, "text": loaded.tokenizer.token(id)});
        let point = |point: &DosePoint| {
            json!({
                "amount": point.amount,
                "kl": point.measure.kl,
                "logit_diff": point.measure.logit_diff,
                "prob": point.measure.prob,
                "probs": point.probs,
            })
        };
        let question = self.dose.question;
        json!({
            "model": loaded.name,
            "revision": loaded.revision,
            "processing": loaded.model.processing.name(),
            "device": loaded.model.place().to_string(),
            "tokens": self.spec.tokens.iter().map(|id| token(*id)).collect::<Vec<_>>(),
            "edits": self.dose.edits.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "vary": self.dose.varied + 1,
            "target": token(question.target),
            "distractor": question.distractor.map_or(Value::Null, token),
            "prob_tokens": self.tokens.iter().map(|one| token(one.id)).collect::<Vec<_>>(),
            "unedited": self.curve.unedited.map(|m| json!({"logit_diff": m.logit_diff, "prob": m.prob})),
            "points": self.points().map(point).collect::<Vec<_>>(),
            "vectors": vectors_json(self.spec, self.vectors),
        })
    }

    fn write_csv(&self, out: &mut impl Write) -> Result<()> {
        let mut csv = csv::Writer::from_writer(out);
        let of = |token: &Token| format!("prob {}", Value::from(token.text.as_str()));
        let header = ["amount", "kl", "logit_diff", "prob"].map(String::from);
        csv.write_record(header.into_iter().chain(self.tokens.iter().map(of)))?;
        for point in self.points() {
            let measure = &point.measure;
            let numbers = [point.amount.into(), measure.kl, measure.logit_diff, measure.prob];
            csv.write_record(numbers.iter().chain(&point.probs).map(|x| cell(*x)))?;
        }
        csv.flush()?;
        Ok(())
    }

    fn print(&self, out: &mut impl Write) -> Result<()> {
        const BAR: usize = 24;
        let text = |id: u32| format!("{:?}", self.engine.loaded.tokenizer.token(id));
        let question = self.dose.question;
        let target = text(question.target);
        let difference =
            question.distractor.map_or_else(|| target.clone(), |other| format!("{target} - {}", text(other)));
        writeln!(out, "the number of {}, after the last position", self.dose.edits[self.dose.varied])?;
        writeln!(out, "logit diff {difference}, prob {target}; KL from the run without edits, in nats\n")?;
        write!(out, "{:>10} {:>9} {:>10} {:>7}", "amount", "KL", "logit diff", "prob")?;
        for token in self.tokens {
            write!(out, " {:>9}", format!("{:?}", token.text))?;
        }
        writeln!(out)?;
        let finite = |point: &&DosePoint| point.measure.kl.is_finite();
        let most = self.points().filter(finite).map(|point| point.measure.kl).fold(0.0, f64::max);
        for point in self.points() {
            let measure = &point.measure;
            let numbers = [f64::from(point.amount), measure.kl, measure.logit_diff].map(short_number);
            write!(out, "{:>10} {:>9} {:>10} {:>7}", numbers[0], numbers[1], numbers[2], percent(measure.prob))?;
            for prob in &point.probs {
                write!(out, " {:>9}", percent(*prob))?;
            }
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "the length of a bar"
            )]
            let bar = if most > 0.0 { (measure.kl.max(0.0) / most * BAR as f64).round() as usize } else { 0 };
            writeln!(out, "{}", format!("  {}", "#".repeat(bar.min(BAR))).trim_end())?;
        }
        Ok(())
    }
}

fn percent(prob: f64) -> String {
    if prob.is_nan() { "none".into() } else { format!("{:.1} %", prob * 100.0) }
}
