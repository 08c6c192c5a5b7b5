//! What the explorer asks about a finished run. Each view has its own request type, and gets answers of that request's
//! type.

use std::{any::Any, fmt, sync::Arc, sync::atomic::AtomicBool};

use super::{attribution_error::AttributionError, finished::Finished, reads::Reads};
use crate::hooks::{HookPoint, RunError};

/// A question about a finished run, and how it is answered.
pub trait Ask: fmt::Debug + PartialEq + Send + Sync + 'static {
    type Answer: Send + Sync + 'static;

    /// What has to be computed before there is an answer.
    fn needs(&self) -> Needs;

    /// What it is made from beside what the run computed.
    fn reads(&self) -> Reads;

    /// Answer from a finished run. `tell` passes on an answer that is not complete yet.
    ///
    /// # Errors
    /// [`RunError::Cancelled`] once `cancel` is set, any other [`RunError`], or why there is nothing to see.
    fn answer(
        &self,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen>;

    /// Answer from the runs of two models: what is about a run and its baseline is then about this run and that one.
    ///
    /// # Errors
    /// As [`Self::answer`].
    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen>;
}

/// What an answer is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// All of the pass.
    Pass,
    /// The pass as far as this hook.
    Hook(HookPoint),
    /// Whatever there is.
    Nothing,
}

/// Why a request has no answer.
#[derive(Debug)]
pub enum Unseen {
    Run(RunError),
    /// There is nothing to see, and why.
    Nothing(String),
}

impl<E: Into<RunError>> From<E> for Unseen {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

impl Unseen {
    /// Why an attribution has no answer: an error of the run itself, or what was expected.
    #[must_use]
    pub fn from_attribution(error: AttributionError) -> Self {
        match error {
            AttributionError::Run(error) => Self::Run(error),
            other => Self::Nothing(other.to_string()),
        }
    }
}

/// A request of any view.
#[derive(Clone)]
pub struct Request(Arc<dyn AnyAsk>);

/// An answer to a [`Request`], of the type that its [`Ask`] names.
#[derive(Clone)]
pub struct Answer(Arc<dyn Any + Send + Sync>);

impl Request {
    #[must_use]
    pub fn new(ask: impl Ask) -> Self {
        Self(Arc::new(ask))
    }

    /// The question, if it is of this type.
    #[must_use]
    pub fn get<A: Ask>(&self) -> Option<&A> {
        self.0.as_any().downcast_ref()
    }

    /// What has to be computed before there is an answer.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.0.needs()
    }

    /// What it is made from beside what the run computed.
    #[must_use]
    pub fn reads(&self) -> Reads {
        self.0.reads()
    }

    /// Answer it; see [`Ask::answer`].
    ///
    /// # Errors
    /// As [`Ask::answer`].
    pub fn answer(
        &self,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Answer),
    ) -> Result<Answer, Unseen> {
        self.0.answer(finished, cancel, tell)
    }

    /// Answer it from the runs of two models; see [`Ask::both`].
    ///
    /// # Errors
    /// As [`Ask::both`].
    pub fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Answer),
    ) -> Result<Answer, Unseen> {
        self.0.both(this, that, cancel, tell)
    }
}

impl Answer {
    #[must_use]
    pub fn new(answer: impl Any + Send + Sync) -> Self {
        Self(Arc::new(answer))
    }

    /// What the answer says, if it is of this type.
    #[must_use]
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl PartialEq for Request {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(&*other.0)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Equal only if it is the same object.
impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

/// An [`Ask`] of any type.
trait AnyAsk: fmt::Debug + Send + Sync {
    fn as_any(&self) -> &dyn Any;

    fn equals(&self, other: &dyn AnyAsk) -> bool;

    fn needs(&self) -> Needs;

    fn reads(&self) -> Reads;

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Answer),
    ) -> Result<Answer, Unseen>;

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Answer),
    ) -> Result<Answer, Unseen>;
}

impl<A: Ask> AnyAsk for A {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn equals(&self, other: &dyn AnyAsk) -> bool {
        other.as_any().downcast_ref::<A>().is_some_and(|other| self == other)
    }

    fn needs(&self) -> Needs {
        Ask::needs(self)
    }

    fn reads(&self) -> Reads {
        Ask::reads(self)
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Answer),
    ) -> Result<Answer, Unseen> {
        let mut tell = |answer| tell(Answer::new(answer));
        Ask::answer(self, finished, cancel, &mut tell).map(Answer::new)
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Answer),
    ) -> Result<Answer, Unseen> {
        let mut tell = |answer| tell(Answer::new(answer));
        Ask::both(self, this, that, cancel, &mut tell).map(Answer::new)
    }
}
