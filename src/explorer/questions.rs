//! Requests about the run on the screen, whatever the view: where predicates hold, and the values of watches.

use std::{ops::ControlFlow, sync::atomic::AtomicBool};

use crate::{
    engine::{Ask, Control, FindError, Finished, Needs, Reads, Unseen},
    predicate::{Match, Predicate, Quantity},
};

/// Places in a list; further ones are only counted.
const LISTED: usize = 2000;

/// Where each of some predicates holds, as far as the run is computed.
#[derive(Clone, Debug, PartialEq)]
pub struct OfPlaces(pub Vec<Predicate>);

/// Where a predicate holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    pub count: u64,
    /// The first of them, in execution order.
    pub listed: Vec<Match>,
}

/// The values of each of some watches, as far as the run is computed.
#[derive(Clone, Debug, PartialEq)]
pub struct OfWatches(pub Vec<Quantity>);

fn unseen(error: FindError) -> Unseen {
    match error {
        FindError::Run(error) => Unseen::Run(error),
        FindError::Predicate(error) => Unseen::Nothing(error.to_string()),
    }
}

impl Ask for OfPlaces {
    /// One for each predicate.
    type Answer = Vec<Places>;

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn reads(&self) -> Reads {
        Reads::Anything
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        let control = Control { cancel, progress: &|_, _| {} };
        let of = |predicate: &Predicate| {
            let mut places = Places::default();
            let mut found = |found: &Match| {
                places.count += 1;
                if places.listed.len() < LISTED {
                    places.listed.push(found.clone());
                }
                ControlFlow::Continue(())
            };
            finished.engine.find_in(finished.outcome, predicate, &mut found, control).map_err(unseen)?;
            Ok(places)
        };
        self.0.iter().map(of).collect()
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        _that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        self.answer(this, cancel, tell)
    }
}

impl Ask for OfWatches {
    /// For each quantity its values, in execution order, or why it has none.
    type Answer = Vec<Result<Vec<Match>, String>>;

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn reads(&self) -> Reads {
        Reads::Anything
    }

    fn answer(
        &self,
        finished: &mut Finished<'_>,
        cancel: &AtomicBool,
        _tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        let of = |quantity: &Quantity| match finished.engine.watched(finished.outcome, quantity, cancel) {
            Ok(values) => Ok(Ok(values)),
            Err(error) => match unseen(error) {
                Unseen::Nothing(why) => Ok(Err(why)),
                run @ Unseen::Run(_) => Err(run),
            },
        };
        self.0.iter().map(of).collect()
    }

    fn both(
        &self,
        this: &mut Finished<'_>,
        _that: &mut Finished<'_>,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Self::Answer),
    ) -> Result<Self::Answer, Unseen> {
        self.answer(this, cancel, tell)
    }
}
