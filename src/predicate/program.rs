//! A predicate against a model and a prompt: what is computed where, and what is kept until when.

use std::collections::BTreeMap;

use super::{
    Condition, Predicate, PredicateError, Site, Subject, Test,
    listing::{Formula, Listing},
};
use crate::hooks::{Axis, HookPoint, Schema, Slot, Target};

/// A predicate against a model and a prompt.
pub struct Program {
    pub(super) tests: Vec<Tested>,
    pub(super) listings: Vec<Listing>,
    /// By the hook whose places are listed.
    pub(super) groups: BTreeMap<HookPoint, Group>,
    needs_baseline: bool,
}

/// A test with every hook that it reads.
pub(super) struct Tested {
    pub condition: Condition,
    /// In execution order.
    pub sites: Vec<Site>,
    /// Whether it leaves the block open.
    several: bool,
    /// The axes that it fixes at one index.
    fixed: Vec<Axis>,
    /// Where its truth is kept for other tests' places: until the pass has come to this hook, by number of the site.
    pub kept_until: BTreeMap<usize, HookPoint>,
}

/// What is listed at a hook.
pub(super) struct Group {
    /// Number of the listing and of its test's site, in the order in which they are written.
    pub members: Vec<(usize, usize)>,
    /// The hook at which all that decides, here and at the hooks before, is known.
    pub ready: HookPoint,
}

impl Tested {
    fn new(text: &str, test: &Test, schema: &Schema, n_pos: usize) -> Result<Self, PredicateError> {
        let Test { quantity, condition } = test;
        let several = match &quantity.of {
            Subject::Hook(region) => match &region.target {
                Target::Block(blocks, _) => blocks.are_several(),
                Target::Global(_) => false,
            },
            Subject::Blocks(blocks, _) => blocks.are_several(),
        };
        let one = |slots: &[Slot]| matches!(slots, [Slot::Index(_)]);
        let selected = quantity.of.selection().0.iter();
        let fixed = selected.filter(|selected| one(&selected.slots)).map(|selected| selected.axis).collect();
        let sites = quantity.sites(text, schema, n_pos)?;
        Ok(Self { condition: *condition, sites, several, fixed, kept_until: BTreeMap::new() })
    }

    /// Numbers of the sites that a place at `point` looks at: the one at its own hook, else those of its block.
    pub(super) fn seen_from(&self, point: HookPoint) -> impl Iterator<Item = usize> {
        let own = self.site_at(point);
        let looks = move |site: &Site| match (site.point.block(), point.block()) {
            (Some(own), Some(block)) => !self.several || own == block,
            (None, _) | (_, None) => true,
        };
        let seen = move |(number, site): (usize, &Site)| {
            let here = own.map_or_else(|| looks(site), |own| own == number);
            here.then_some(number)
        };
        self.sites.iter().enumerate().filter_map(seen)
    }

    /// Whether a place's own index along an axis decides where the test is looked at.
    pub(super) fn follows(&self, axis: Axis) -> bool {
        !self.fixed.contains(&axis)
    }

    pub(super) fn site_at(&self, point: HookPoint) -> Option<usize> {
        self.sites.binary_search_by_key(&point, |site| site.point).ok()
    }
}

impl Program {
    /// # Errors
    /// A hook that this model does not compute, an axis or index that does not exist.
    pub fn new(predicate: &Predicate, schema: &Schema, n_pos: usize) -> Result<Self, PredicateError> {
        let text = predicate.to_string();
        let mut written = vec![];
        tests(predicate, &mut written);
        let tested = |test: &&Test| Tested::new(&text, test, schema, n_pos);
        let mut tests = written.iter().map(tested).collect::<Result<Vec<_>, _>>()?;
        let listings = Formula::of(predicate, &mut 0).listings();
        let mut groups: BTreeMap<HookPoint, Group> = BTreeMap::new();
        for (number, listing) in listings.iter().enumerate() {
            for (site, at) in tests[listing.test].sites.iter().enumerate().map(|(i, site)| (i, site.point)) {
                let others = listing.formula.tests().into_iter().filter(|test| *test != listing.test);
                let seen = others.flat_map(|test| {
                    let tested = &tests[test];
                    tested.seen_from(at).map(move |site| tested.sites[site].point)
                });
                let ready = seen.fold(at, HookPoint::max);
                let group = groups.entry(at).or_insert_with(|| Group { members: vec![], ready });
                group.members.push((number, site));
                group.ready = group.ready.max(ready);
            }
        }
        // what comes before in execution order is also listed before
        let mut latest = None;
        for group in groups.values_mut() {
            group.ready = latest.map_or(group.ready, |latest| group.ready.max(latest));
            latest = Some(group.ready);
        }
        for (at, Group { members, ready }) in &groups {
            for (listing, _) in members {
                let Listing { test: own, formula } = &listings[*listing];
                for test in formula.tests().into_iter().filter(|test| test != own) {
                    let seen: Vec<usize> = tests[test].seen_from(*at).collect();
                    for site in seen {
                        let until = tests[test].kept_until.entry(site).or_insert(*ready);
                        *until = (*until).max(*ready);
                    }
                }
            }
        }
        let needs_baseline = written.iter().any(|test| test.quantity.needs_baseline());
        Ok(Self { tests, listings, groups, needs_baseline })
    }

    /// Whether a test reads `point`.
    #[must_use]
    pub fn wants(&self, point: HookPoint) -> bool {
        self.tests.iter().any(|test| test.site_at(point).is_some())
    }

    /// The last hook that a test reads.
    #[must_use]
    pub fn last(&self) -> Option<HookPoint> {
        self.tests.iter().filter_map(|test| test.sites.last()).map(|site| site.point).max()
    }

    /// Whether it compares with the unedited run.
    #[must_use]
    pub fn needs_baseline(&self) -> bool {
        self.needs_baseline
    }
}

/// The tests of a predicate, from the left.
fn tests<'p>(predicate: &'p Predicate, to: &mut Vec<&'p Test>) {
    match predicate {
        Predicate::Test(test) => to.push(test),
        Predicate::Not(inner) => tests(inner, to),
        Predicate::And(left, right) | Predicate::Or(left, right) => {
            tests(left, to);
            tests(right, to);
        }
    }
}
