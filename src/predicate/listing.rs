//! Which tests of a predicate name the places that are listed, and what has to hold there.

use super::Predicate;

/// A predicate over tests by number.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Formula {
    Test(usize),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

/// The places of a test at which a formula holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listing {
    pub test: usize,
    pub formula: Formula,
}

impl Formula {
    /// Number the tests of a predicate from `next` on, from the left.
    pub(super) fn of(predicate: &Predicate, next: &mut usize) -> Self {
        let mut part = |predicate: &Predicate| Box::new(Self::of(predicate, next));
        match predicate {
            Predicate::Test(_) => {
                *next += 1;
                Self::Test(*next - 1)
            }
            Predicate::Not(inner) => Self::Not(part(inner)),
            Predicate::And(left, right) => Self::And(part(left), part(right)),
            Predicate::Or(left, right) => Self::Or(part(left), part(right)),
        }
    }

    /// `A or B` lists the places of both; `A and B` those of A where B holds too; `not A` all places of A where A does not hold.
    pub(super) fn listings(&self) -> Vec<Listing> {
        match self {
            Self::Test(test) => vec![Listing { test: *test, formula: self.clone() }],
            Self::Not(inner) => {
                let listing = |test| Listing { test, formula: self.clone() };
                inner.subjects().into_iter().map(listing).collect()
            }
            Self::And(left, right) => {
                let and = |listing: Listing| Listing {
                    test: listing.test,
                    formula: Self::And(Box::new(listing.formula), right.clone()),
                };
                left.listings().into_iter().map(and).collect()
            }
            Self::Or(left, right) => [left.listings(), right.listings()].concat(),
        }
    }

    /// The tests whose places it is about.
    fn subjects(&self) -> Vec<usize> {
        match self {
            Self::Test(test) => vec![*test],
            Self::Not(inner) => inner.subjects(),
            Self::And(left, _) => left.subjects(),
            Self::Or(left, right) => [left.subjects(), right.subjects()].concat(),
        }
    }

    /// The tests in it.
    pub(super) fn tests(&self) -> Vec<usize> {
        match self {
            Self::Test(test) => vec![*test],
            Self::Not(inner) => inner.tests(),
            Self::And(left, right) | Self::Or(left, right) => [left.tests(), right.tests()].concat(),
        }
    }

    /// Whether it holds where `truth` says so of each test.
    pub(super) fn holds(&self, truth: &impl Fn(usize) -> bool) -> bool {
        match self {
            Self::Test(test) => truth(*test),
            Self::Not(inner) => !inner.holds(truth),
            Self::And(left, right) => left.holds(truth) && right.holds(truth),
            Self::Or(left, right) => left.holds(truth) || right.holds(truth),
        }
    }

    /// Whether it can be true, and whether it can be false, where of the tests only one is known.
    fn possible(&self, test: usize, truth: bool) -> (bool, bool) {
        match self {
            Self::Test(of) if *of == test => (truth, !truth),
            Self::Test(_) => (true, true),
            Self::Not(inner) => {
                let (yes, no) = inner.possible(test, truth);
                (no, yes)
            }
            Self::And(left, right) => {
                let (a, b) = (left.possible(test, truth), right.possible(test, truth));
                (a.0 && b.0, a.1 || b.1)
            }
            Self::Or(left, right) => {
                let (a, b) = (left.possible(test, truth), right.possible(test, truth));
                (a.0 || b.0, a.1 && b.1)
            }
        }
    }
}

impl Listing {
    /// Whether places can be listed at which its own test is of this truth.
    pub(super) fn can_list(&self, truth: bool) -> bool {
        self.formula.possible(self.test, truth).0
    }

    /// Whether its own test alone decides.
    pub(super) fn is_plain(&self) -> bool {
        self.formula == Formula::Test(self.test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listings(text: &str) -> Vec<(usize, bool, bool)> {
        let formula = Formula::of(&text.parse().unwrap(), &mut 0);
        formula.listings().iter().map(|l| (l.test, l.can_list(true), l.can_list(false))).collect()
    }

    #[test]
    fn the_left_side_of_a_conjunction_is_listed() {
        let [a, b, c] = ["hook_embed > 1", "hook_embed < 2", "hook_embed == 3"];
        assert_eq!(listings(a), [(0, true, false)]);
        assert_eq!(listings(&format!("{a} and {b}")), [(0, true, false)]);
        assert_eq!(listings(&format!("{a} or {b}")), [(0, true, false), (1, true, false)]);
        assert_eq!(listings(&format!("not {a}")), [(0, false, true)]);
        assert_eq!(listings(&format!("not {a} and {b}")), [(0, false, true)]);
        assert_eq!(listings(&format!("not ({a} and {b})")), [(0, true, true)]);
        assert_eq!(listings(&format!("({a} or {b}) and not {c}")), [(0, true, false), (1, true, false)]);
    }
}
