//! The search for the places of a predicate, one activation after the other.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::ControlFlow,
};

use super::{Activation, Match, Place, Program, Site, bits::Bits, join::Lookup, program::Group, scan::Asked};
use crate::hooks::HookPoint;

/// Receives what is found, and says whether to go on.
pub type Found<'f> = dyn FnMut(&Match) -> ControlFlow<()> + 'f;

/// A search through one run; a copy goes on from where it is. Activations are shown to it in execution order, each once; of places that depend on later hooks
/// it keeps numbers and values, and of tests that other places depend on one bit for each place.
#[derive(Clone)]
pub struct Search<'p> {
    program: &'p Program,
    /// Of the prompt.
    tokens: &'p [u32],
    /// By number of the test and of its site.
    truths: BTreeMap<(usize, usize), Bits>,
    pending: VecDeque<Pending>,
}

/// What may be listed at a hook, for each member of the group.
#[derive(Clone)]
struct Pending {
    point: HookPoint,
    candidates: Vec<Vec<(usize, f64)>>,
}

impl<'p> Search<'p> {
    #[must_use]
    pub fn new(program: &'p Program, tokens: &'p [u32]) -> Self {
        Self { program, tokens, truths: BTreeMap::new(), pending: VecDeque::new() }
    }

    /// Look through an activation, and call `found` with every place that is decided by now: in execution order, and within
    /// a hook in row-major order, each once. Breaks when `found` does.
    ///
    /// # Shapes
    /// `values` and `baseline`: row-major, without the batch axis. Without a baseline nothing has changed.
    pub fn see(
        &mut self,
        point: HookPoint,
        values: &[f32],
        baseline: Option<&[f32]>,
        found: &mut Found<'_>,
    ) -> ControlFlow<()> {
        let program = self.program;
        let values = &Activation { values, baseline, tokens: self.tokens };
        for (test, tested) in program.tests.iter().enumerate() {
            let Some(site) = tested.site_at(point).filter(|site| tested.kept_until.contains_key(site)) else {
                continue;
            };
            let mut bits = Bits::none(tested.sites[site].places());
            let mut set = |at: usize, _: f64| {
                bits.set(at);
                ControlFlow::Continue(())
            };
            // it never breaks
            let _ = tested.sites[site].scan(values, tested.condition, Asked::Holding, &mut set);
            self.truths.insert((test, site), bits);
        }
        if let Some(group) = program.groups.get(&point) {
            if self.pending.is_empty()
                && let [(listing, site)] = group.members[..]
                && program.listings[listing].is_plain()
            {
                self.list(listing, site, values, found)?;
            } else {
                let candidates = group.members.iter().map(|(listing, site)| self.candidates(*listing, *site, values));
                let candidates = candidates.collect();
                self.pending.push_back(Pending { point, candidates });
            }
        }
        while self.pending.front().is_some_and(|pending| program.is_ready(pending.point, point)) {
            if let Some(pending) = self.pending.pop_front() {
                self.decide(pending, found)?;
            }
        }
        let kept =
            |test: usize, site: usize| program.tests[test].kept_until.get(&site).is_some_and(|until| *until > point);
        self.truths.retain(|(test, site), _| kept(*test, *site));
        ControlFlow::Continue(())
    }

    /// The places that their own test decides.
    fn list(&self, listing: usize, site: usize, values: &Activation<'_>, found: &mut Found<'_>) -> ControlFlow<()> {
        let tested = &self.program.tests[self.program.listings[listing].test];
        let site = &tested.sites[site];
        let mut listed = Match { place: Place { point: site.point, at: vec![] }, value: 0.0 };
        let mut row = 0..0;
        site.scan(values, tested.condition, Asked::Holding, &mut |at, value| {
            site.next(at, &mut row, &mut listed.place.at);
            listed.value = value;
            found(&listed)
        })
    }

    /// The places that may be listed, and their values.
    fn candidates(&self, listing: usize, site: usize, values: &Activation<'_>) -> Vec<(usize, f64)> {
        let listing = &self.program.listings[listing];
        let asked = match (listing.can_list(true), listing.can_list(false)) {
            (true, true) => Asked::All,
            (true, false) => Asked::Holding,
            (false, true) => Asked::Failing,
            (false, false) => return vec![],
        };
        let tested = &self.program.tests[listing.test];
        let mut all = vec![];
        let mut push = |at: usize, value: f64| {
            all.push((at, value));
            ControlFlow::Continue(())
        };
        // it never breaks
        let _ = tested.sites[site].scan(values, tested.condition, asked, &mut push);
        all
    }

    /// List what is pending at a hook.
    fn decide(&self, pending: Pending, found: &mut Found<'_>) -> ControlFlow<()> {
        let Some(Group { members, .. }) = self.program.groups.get(&pending.point) else {
            return ControlFlow::Continue(());
        };
        let mut all: Vec<Match> = vec![];
        for ((listing, site), candidates) in members.iter().zip(pending.candidates) {
            let own = &self.program.tests[self.program.listings[*listing].test].sites[*site];
            let holds = self.formula(*listing, own);
            let listed = candidates.into_iter().filter(|(at, value)| holds(*at, *value));
            all.extend(listed.map(|(at, value)| Match { place: own.place(at), value }));
        }
        if members.len() > 1 {
            // a stable order: of equal places the first that is written stays
            all.sort_by(|a, b| a.place.cmp(&b.place));
            all.dedup_by(|b, a| a.place == b.place);
        }
        all.iter().try_for_each(found)
    }

    /// Whether a listing's formula holds at a place of its own test, by its number and the value there.
    fn formula<'s>(&'s self, listing: usize, own: &'s Site) -> impl Fn(usize, f64) -> bool + 's {
        let listing = &self.program.listings[listing];
        let lookup = |test: usize| {
            let tested = &self.program.tests[test];
            let seen = tested.seen_from(own.point);
            let truths = seen.filter_map(|site| Some((&tested.sites[site], self.truths.get(&(test, site))?)));
            (test, Lookup::new(own, tested, truths))
        };
        let others = listing.formula.tests().into_iter().filter(|test| *test != listing.test);
        let lookups: BTreeMap<usize, Lookup> = others.map(lookup).collect();
        move |at, value| {
            let numbers = own.numbers(at);
            listing.formula.holds(&|test| match lookups.get(&test) {
                Some(lookup) => lookup.holds(&numbers),
                None => self.program.tests[test].condition.holds(value),
            })
        }
    }
}

impl Program {
    /// Whether all that decides what is listed at `listed` is known once the pass has come to `now`.
    fn is_ready(&self, listed: HookPoint, now: HookPoint) -> bool {
        self.groups.get(&listed).is_none_or(|group| group.ready <= now)
    }
}
