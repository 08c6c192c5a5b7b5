//! `doctor --cache`: a cache of another program, held to our run of the same tokens.

use std::{collections::BTreeSet, io::Write, path::Path, sync::atomic::AtomicBool};

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use super::{Usage, args::DoctorArgs, prepare};
use crate::{
    analysis::short_number,
    engine::{CacheCheck, CheckedPart, Control, Engine, KnownReason, Spec},
    experiment::{ModelChoice, PromptParser},
    hooks::{BlockHook, Capture, HookPoint, Schema},
    model::{CacheFile, CacheSource, Holds, Loaded, Processing},
    printed::{self, escaped},
};

/// The tokens of the cache, and what is known about them.
struct Tokens {
    ids: Vec<u32>,
    in_file: bool,
    /// The cache has the beginning-of-sequence token before the prompt that was given.
    bos: bool,
}

/// What was found.
struct Report<'a> {
    file: &'a CacheFile,
    engine: &'a Engine,
    check: CacheCheck,
    tokens: Tokens,
    parts: Vec<CheckedPart>,
    /// Hooks of the model that the cache does not have.
    missing: Vec<HookPoint>,
}

pub(super) fn main(path: &Path, args: &DoctorArgs) -> Result<()> {
    let file = CacheFile::open(path)?;
    // of this run both views are known, so that a cache with the other can be recognised
    let choice = ModelChoice { processing: Processing::Folded, ..ModelChoice::from(&args.model) };
    let loaded = choice.load(&mut super::progress::Bar::on_stderr().into_callback())?;
    prepare::print_notes(&loaded.notes);
    let tokens = tokens(&file, args, &loaded)?;
    let unprocessed = args.model.no_processing || file.source.is_unprocessed();
    let processing = if unprocessed { Processing::None } else { Processing::Folded };
    let check = CacheCheck { processing, tolerance: args.tolerance };

    let mut schema = Schema::new(loaded.model.config.dims());
    let opt_in = file.parts.iter().filter_map(|part| match part.holds {
        Holds::Hook(point) if point.is_opt_in() => Some(point),
        Holds::Hook(_) | Holds::Tokens | Holds::FinalStream | Holds::HiddenState(_) | Holds::Qkv(_) | Holds::Logits => {
            None
        }
    });
    let enabled: BTreeSet<HookPoint> = opt_in.collect();
    schema.set_enabled(enabled.clone());
    let mut engine = Engine::new(loaded, schema);
    let spec = Spec { tokens: tokens.ids.clone(), enabled, ..Spec::default() };
    let cancel = AtomicBool::new(false);
    let last = spec.tokens.len().saturating_sub(1);
    let outcome = engine.run(&spec, &Capture::All, last, Control { cancel: &cancel, progress: &|_, _| {} })?;
    let mut parts = Vec::new();
    engine.check_cache(&outcome.run, &file, check, &cancel, &mut |part| parts.push(part))?;
    let missing = missing(&file, &engine.schema);
    let report = Report { file: &file, engine: &engine, check, tokens, parts, missing };

    let mut out = printed::stdout();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report.json())?)?;
    } else {
        report.print(&mut out)?;
    }
    out.flush()?;
    match report.parts.iter().filter(|part| part.is_unexplained()).count() {
        0 => Ok(()),
        1 => Err(anyhow!("1 tensor diverges without a known reason")),
        n => Err(anyhow!("{n} tensors diverge without a known reason")),
    }
}

/// The tokens in the file, else those that were given.
fn tokens(file: &CacheFile, args: &DoctorArgs, loaded: &Loaded) -> Result<Tokens> {
    let prompt = &args.prompt;
    let parser = PromptParser::from(loaded);
    let given = match (&prompt.prompt, &prompt.tokens) {
        (None, None) => None,
        (Some(text), _) => Some(parser.prompt(text, prompt.prepend_bos)?),
        (None, Some(ids)) => Some(parser.ids(ids, prompt.prepend_bos)?),
    };
    let given: Option<Vec<u32>> = given.map(|tokens| tokens.iter().map(|token| token.id).collect());
    let with_bos = |ids: &[u32]| [&[loaded.model.config.bos], ids].concat();
    match (file.tokens()?, given) {
        (Some(ids), None) => {
            parser.ids(&ids, false)?;
            Ok(Tokens { ids, in_file: true, bos: false })
        }
        (Some(ids), Some(given)) if ids == given => Ok(Tokens { ids, in_file: true, bos: false }),
        (Some(ids), Some(given)) if ids == with_bos(&given) => Ok(Tokens { ids, in_file: true, bos: true }),
        (Some(ids), Some(_)) => Err(Usage(format!(
            "the cache is of the tokens {}, and those of the prompt are others: leave the prompt out",
            list(&ids)
        ))
        .into()),
        (None, Some(given)) => match file.n_pos() {
            Some(n) if n == given.len() + 1 => Ok(Tokens { ids: with_bos(&given), in_file: false, bos: true }),
            Some(n) if n != given.len() => Err(Usage(format!(
                "the cache is of {n} tokens, and the prompt has {}: give the prompt of the cache",
                given.len()
            ))
            .into()),
            Some(_) | None => Ok(Tokens { ids: given, in_file: false, bos: false }),
        },
        (None, None) => {
            let n = file.n_pos().map_or_else(String::new, |n| format!(" {n}"));
            Err(Usage(format!(
                "the cache does not hold its{n} tokens (as `tokens`, `input_ids` or `hook_tokens`): give a prompt or --tokens"
            ))
            .into())
        }
    }
}

fn list(ids: &[u32]) -> String {
    const SHOWN: usize = 16;
    let shown: Vec<String> = ids.iter().take(SHOWN).map(ToString::to_string).collect();
    shown.join(",") + if ids.len() > SHOWN { ",..." } else { "" }
}

/// The hooks that the model has and a cache of hooks does not.
fn missing(file: &CacheFile, schema: &Schema) -> Vec<HookPoint> {
    if file.source.is_unprocessed() {
        return vec![];
    }
    let held: BTreeSet<HookPoint> = file.parts.iter().filter_map(|part| part.holds.hook(&schema.dims)).collect();
    schema.points().into_iter().filter(|point| !held.contains(point) && *point != HookPoint::Tokens).collect()
}

fn is_rotated(point: &HookPoint) -> bool {
    matches!(point, HookPoint::Block(_, BlockHook::RotQ | BlockHook::RotK))
}

impl Report<'_> {
    fn first(&self) -> Option<&CheckedPart> {
        self.parts.iter().find(|part| part.diverges)
    }

    fn first_unexplained(&self) -> Option<&CheckedPart> {
        self.parts.iter().find(|part| part.is_unexplained())
    }

    /// Sentences about what is not a divergence.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.tokens.bos {
            notes.push(
                "the cache has the beginning-of-sequence token before the prompt, as TransformerLens prepends it by default: give \
                 --prepend-bos"
                    .into(),
            );
        }
        let (rotated, others): (Vec<HookPoint>, Vec<HookPoint>) = self.missing.iter().copied().partition(is_rotated);
        if self.file.source == CacheSource::TransformerBridge && !rotated.is_empty() {
            notes.push(
                "the cache has no hook_rot_q and hook_rot_k, which TransformerBridge (TransformerLens 4) does not have"
                    .into(),
            );
        }
        let lacking =
            if self.file.source == CacheSource::TransformerBridge { others.len() } else { self.missing.len() };
        if lacking > 0 {
            let hooks = if lacking == 1 { "hook of the model is" } else { "hooks of the model are" };
            notes.push(format!("{lacking} {hooks} not in the cache"));
        }
        match self.file.unknown.len() {
            0 => {}
            n => notes.push(format!("not compared, as no hook has such a value: {}", shortened(&self.file.unknown, n))),
        }
        notes
    }

    fn print(&self, out: &mut impl Write) -> Result<()> {
        let loaded = &self.engine.loaded;
        writeln!(
            out,
            "{}: {}, {} tokens{}",
            printed::path(&self.file.path),
            self.file.source.title(),
            self.tokens.ids.len(),
            if self.tokens.in_file { " (in the file)" } else { "" },
        )?;
        let n = self.parts.len();
        let tensors = if n == 1 { "tensor" } else { "tensors" };
        writeln!(out, "{n} {tensors} held to {}, {}", escaped(&loaded.name), self.check.processing.name())?;
        match self.first() {
            None => match self.parts.iter().max_by(|a, b| a.agreement.relative().total_cmp(&b.agreement.relative())) {
                Some(part) => writeln!(
                    out,
                    "all agree: the largest difference is {} of scale, at {}",
                    short_number(part.agreement.relative()),
                    escaped(&part.name)
                )?,
                None => writeln!(out, "nothing to compare")?,
            },
            Some(first) => {
                self.print_divergence(out, "first divergence", first)?;
                let diverging = self.parts.iter().filter(|part| part.diverges).count();
                let unexplained = self.parts.iter().filter(|part| part.is_unexplained()).count();
                match self.first_unexplained() {
                    Some(other) if other.name != first.name => {
                        writeln!(out, "{diverging} of {n} diverge, {unexplained} without a known reason")?;
                        self.print_divergence(out, "first without a known reason", other)?;
                    }
                    Some(_) => writeln!(out, "{diverging} of {n} diverge, {unexplained} without a known reason")?,
                    None => writeln!(out, "{diverging} of {n} diverge, all for known reasons")?,
                }
            }
        }
        for note in self.notes() {
            writeln!(out, "note: {}", escaped(&note))?;
        }
        Ok(())
    }

    fn print_divergence(&self, out: &mut impl Write, what: &str, part: &CheckedPart) -> Result<()> {
        let CheckedPart { name, hook, agreement, reasons, .. } = part;
        let of = if name == hook { String::new() } else { format!(" ({hook})") };
        writeln!(
            out,
            "{what}: {}{of}, by {}, {} of scale, at {:?}",
            escaped(name),
            short_number(agreement.absolute),
            short_number(agreement.relative()),
            part.place()
        )?;
        for reason in reasons {
            writeln!(out, "  reason: {}", reason.sentence(self.check.processing))?;
        }
        if reasons.is_empty() {
            writeln!(
                out,
                "  no known reason: what comes before it agrees or is explained, so look at how this value is computed"
            )?;
        }
        Ok(())
    }

    /// Numbers that are not finite are `null`.
    fn json(&self) -> Value {
        let loaded = &self.engine.loaded;
        let reason =
            |reason: &KnownReason| json!({"name": reason.name(), "text": reason.sentence(self.check.processing)});
        let part = |part: &CheckedPart| {
            json!({
                "tensor": part.name,
                "hook": part.hook,
                "shape": part.shape,
                "dtype": part.dtype,
                "absolute": part.agreement.absolute,
                "scale": part.agreement.scale,
                "relative": part.agreement.relative(),
                "relative_l2": part.agreement.change.relative(),
                "at": part.place(),
                "diverges": part.diverges,
                "reasons": part.reasons.iter().map(reason).collect::<Vec<_>>(),
            })
        };
        let token = |id: &u32| json!({"id": id, "text": loaded.tokenizer.token(*id)});
        json!({
            "file": self.file.path.display().to_string(),
            "format": self.file.source.name(),
            "model": loaded.name,
            "revision": loaded.revision,
            "processing": self.check.processing.name(),
            "device": loaded.model.place().to_string(),
            "tokens": self.tokens.ids.iter().map(token).collect::<Vec<_>>(),
            "tokens_in_file": self.tokens.in_file,
            "bos_prepended": self.tokens.bos,
            "tolerance": self.check.tolerance,
            "compared": self.parts.iter().map(part).collect::<Vec<_>>(),
            "first_divergence": self.first().map(part),
            "first_unexplained": self.first_unexplained().map(part),
            "missing": self.missing.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "not_compared": self.file.unknown,
            "notes": self.notes(),
        })
    }
}

fn shortened(names: &[String], n: usize) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = if n > SHOWN { format!(" and {} more", n - SHOWN) } else { String::new() };
    shown.join(", ") + &more
}
