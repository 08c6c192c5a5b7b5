//! Places of a run where a predicate holds, found while the pass computes it.

use std::{cell::RefCell, collections::BTreeMap, ops::ControlFlow, sync::atomic::AtomicBool};

use candle_core::{DType, Tensor};

use super::{Control, Engine, Outcome, Run, Spec, control::go_on, dictionaries::Unedited, host::with_values};
use crate::{
    hooks::{BlockHook, Capture, HookPoint, Interventions, Observer, Plan, References, RunError, Schema},
    model::Start,
    predicate::{Activation, Found, Match, Predicate, PredicateError, Program, Quantity, Search, Site},
};

/// Why a search came to no end.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error(transparent)]
    Predicate(Box<PredicateError>),
    #[error(transparent)]
    Run(#[from] RunError),
}

impl From<PredicateError> for FindError {
    fn from(error: PredicateError) -> Self {
        Self::Predicate(Box::new(error))
    }
}

impl FindError {
    /// As an error of the run that was searched, whatever it is about.
    #[must_use]
    pub fn into_run(self) -> RunError {
        match self {
            Self::Predicate(error) => candle_core::Error::Msg(error.to_string()).into(),
            Self::Run(error) => error,
        }
    }

    /// Whether what was asked for is wrong, rather than the model or the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Predicate(_) => true,
            Self::Run(reason) => reason.is_usage(),
        }
    }
}

/// What a search tells beside the places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// Attention rows without a finite score that were seen, set to 0.
    pub undefined_rows: usize,
    /// It was stopped before the end of the pass.
    pub stopped: bool,
}

impl Engine {
    /// Check a predicate and the edits against the model and the prompt, without a run.
    ///
    /// # Errors
    /// A hook, axis or index that does not exist here, an edit that can't be carried out.
    pub fn check_search(&mut self, spec: &Spec, predicate: &Predicate) -> Result<(), FindError> {
        self.enable(spec);
        self.plan(&spec.edits, spec).map_err(RunError::from)?;
        Program::new(predicate, &self.schema, spec.tokens.len())?;
        Ok(())
    }

    /// Check a predicate against the model, with the hooks that `spec` turns on, and texts of up to `n_pos` tokens.
    ///
    /// # Errors
    /// A hook, axis or index that does not exist there.
    pub fn check_breakpoint(&mut self, spec: &Spec, predicate: &Predicate, n_pos: usize) -> Result<(), FindError> {
        self.enable(spec);
        Program::new(predicate, &self.schema, n_pos)?;
        Ok(())
    }

    /// Run `spec` once, and call `found` with every place of the (edited) run where `predicate` holds, until it breaks. The
    /// pass ends with the last hook that is asked about. Nothing of it is kept; where the predicate compares with the
    /// unedited run, both are computed side by side.
    ///
    /// # Errors
    /// A predicate or an edit that does not fit, cancellation, tensor errors.
    pub fn find(
        &mut self,
        spec: &Spec,
        predicate: &Predicate,
        found: &mut Found<'_>,
        control: Control<'_>,
    ) -> Result<Searched, FindError> {
        self.ready(spec, control)?;
        let program = Program::new(predicate, &self.schema, spec.tokens.len())?;
        let plan = self.plan(&spec.edits, spec).map_err(RunError::from)?;
        let reads = plan.frozen().next().is_some() || plan.patched().next().is_some() || plan.has_features();
        let base = if reads {
            let frozen = plan.frozen().map(|point| self.kept_for(point)).collect();
            let last = spec.tokens.len().saturating_sub(1);
            Some(self.base(spec, &Capture::Only(frozen), last, &[&plan], control)?)
        } else {
            None
        };
        let plans = match program.needs_baseline() && !spec.edits.is_empty() {
            true => vec![Plan { edits: spec.edits.len(), ..Plan::default() }, plan],
            false => vec![plan],
        };
        let references = base.as_ref().map_or_else(References::default, super::base::Base::references);
        let n_layers = self.schema.dims.n_layers;
        let progress = |block| (control.progress)(block, n_layers);
        let rows = [spec.tokens.clone()];
        let (search, fired) = (Search::new(&program, &spec.tokens), Firings::default());
        let state = RefCell::new(Watched { search, found, fired, ended: None });
        let watcher = Watcher { program: &program, schema: &self.schema, state };
        let d_vocab = self.schema.dims.d_vocab;
        let none = Unedited::default();
        let dictionaries = self.dictionaries(&spec.tokens, base.as_ref().map_or(&none, |base| &base.features));
        let mut hooks = Interventions::new(&plans, &spec.edits, Capture::None, references, d_vocab)
            .with_dictionaries(&dictionaries)
            .cancelled_by(control.cancel)
            .reporting(&progress)
            .observed_by(&watcher);
        let passed = self.loaded.model.normalized(Start::Tokens(&rows), &self.schema, &mut hooks);
        let undefined_rows = hooks.undefined_rows;
        let ended = watcher.state.borrow().ended;
        match (passed, ended) {
            (Ok(_), _) => Ok(Searched { undefined_rows, stopped: false }),
            (Err(RunError::Cancelled), Some(stopped)) => Ok(Searched { undefined_rows, stopped }),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// The same for a run that is there already, of all that it kept or that can be made of it.
    ///
    /// # Errors
    /// A predicate that does not fit, cancellation, tensor errors.
    pub fn find_in(
        &self,
        outcome: &Outcome,
        predicate: &Predicate,
        found: &mut Found<'_>,
        control: Control<'_>,
    ) -> Result<(), FindError> {
        let program = Program::new(predicate, &self.schema, outcome.spec.tokens.len())?;
        let mut search = Search::new(&program, &outcome.spec.tokens);
        let baseline = outcome.unedited().filter(|_| program.needs_baseline());
        for point in self.schema.points().into_iter().filter(|point| program.wants(*point)) {
            go_on(control.cancel)?;
            let value = |run: &Run| -> Result<Option<Tensor>, RunError> { self.activation(run, point) };
            let Some(now) = value(&outcome.run)? else { continue };
            let before = baseline.map(value).transpose()?.flatten();
            if show(&mut search, point, &now, before.as_ref(), found)?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Values of a watch.
const WATCHED: usize = 1 << 16;

impl Engine {
    /// The values of a quantity at every place of a run, of the hooks that it computed, in execution order.
    ///
    /// # Errors
    /// A quantity that does not fit or has too many values, cancellation, tensor errors.
    pub fn watched(
        &self,
        outcome: &Outcome,
        quantity: &Quantity,
        cancel: &AtomicBool,
    ) -> Result<Vec<Match>, FindError> {
        let sites = quantity.sites(&quantity.to_string(), &self.schema, outcome.spec.tokens.len())?;
        let places = sites.iter().map(Site::places).sum();
        if places > WATCHED {
            return Err(PredicateError::TooMany { quantity: quantity.to_string(), places, most: WATCHED }.into());
        }
        let baseline = outcome.unedited().filter(|_| quantity.needs_baseline());
        let mut all = vec![];
        for site in sites {
            go_on(cancel)?;
            let Some(now) = self.activation(&outcome.run, site.point)? else { continue };
            let before = baseline.map(|run| self.activation(run, site.point)).transpose()?.flatten();
            let before = before.map(|before| with_values(&before, <[f32]>::to_vec)).transpose()?;
            let tokens = &outcome.spec.tokens;
            let baseline = before.as_deref();
            let values = with_values(&now, |values| site.values(&Activation { values, baseline, tokens }))?;
            all.extend(values.into_iter().enumerate().map(|(at, value)| Match { place: site.place(at), value }));
        }
        Ok(all)
    }
}

/// Shows what a pass computes to a search.
struct Watcher<'p, 'f> {
    program: &'p Program,
    schema: &'p Schema,
    state: RefCell<Watched<'p, 'f>>,
}

/// How far a pass was searched.
struct Watched<'p, 'f> {
    search: Search<'p>,
    found: &'f mut Found<'f>,
    fired: Firings,
    /// The pass was ended, and whether that was before its last hook that is asked about.
    ended: Option<bool>,
}

/// Inputs of a block whose queries, keys and values read streams of their own: LayerNorm runs on each, and what a run keeps is
/// of the last.
const INPUTS: usize = 3;

/// How often LayerNorm's hooks fired in a pass.
#[derive(Default)]
pub(super) struct Firings(BTreeMap<HookPoint, usize>);

impl Firings {
    /// Whether a hook that fires now fires again in this pass.
    pub(super) fn fires_again(&mut self, point: HookPoint, schema: &Schema) -> bool {
        let HookPoint::Block(block, BlockHook::Ln1Scale | BlockHook::Ln1Normalized) = point else { return false };
        let fired = self.0.entry(point).or_default();
        *fired += 1;
        schema.is_split(block) && *fired < INPUTS
    }
}

impl Observer for Watcher<'_, '_> {
    fn wants(&self, point: HookPoint) -> bool {
        self.program.wants(point)
    }

    fn see(&self, point: HookPoint, value: &Tensor, row_of_plan: &[usize]) -> Result<(), RunError> {
        let Watched { search, found, fired, ended } = &mut *self.state.borrow_mut();
        if fired.fires_again(point, self.schema) {
            return Ok(());
        }
        let rows = row_of_plan.iter().map(|row| value.narrow(0, *row, 1)).collect::<candle_core::Result<Vec<_>>>()?;
        // with two rows, the first is the baseline's
        let Some((now, earlier)) = rows.split_last() else {
            return Err(candle_core::Error::Msg(format!("no row of {point}")).into());
        };
        let before = earlier.first();
        let flow = show(search, point, now, before, found)?;
        if flow.is_break() || self.program.last() == Some(point) {
            *ended = Some(flow.is_break());
            return Err(RunError::Cancelled);
        }
        Ok(())
    }
}

/// Show an activation `[1, ...]`, and the unedited one if it is compared.
pub(super) fn show(
    search: &mut Search<'_>,
    point: HookPoint,
    now: &Tensor,
    before: Option<&Tensor>,
    found: &mut Found<'_>,
) -> Result<ControlFlow<()>, RunError> {
    // token ids are whole numbers
    let float = |t: &Tensor| if t.dtype() == DType::U32 { t.to_dtype(DType::F32) } else { Ok(t.clone()) };
    let (now, before) = (float(now)?, before.map(float).transpose()?);
    match before {
        None => with_values(&now, |now| search.see(point, now, None, found)),
        Some(before) => {
            with_values(&before, |before| with_values(&now, |now| search.see(point, now, Some(before), found)))?
        }
    }
}
