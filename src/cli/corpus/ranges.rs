//! Sets of whole numbers that mostly follow one another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A set, kept as ranges: the first number of each with the one after its last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, end)| number < *end)
    }

    pub fn insert(&mut self, number: u64) {
        if self.contains(number) {
            return;
        }
        let end = self.0.remove(&(number + 1)).unwrap_or(number + 1);
        match self.0.range_mut(..number).next_back() {
            Some((_, before)) if *before == number => *before = end,
            _ => {
                self.0.insert(number, end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(numbers in proptest::collection::vec(0u64..30, 0..40)) {
            let (mut ranges, all) = (Ranges::default(), numbers.iter().copied().collect::<BTreeSet<_>>());
            for number in &numbers {
                ranges.insert(*number);
            }
            prop_assert!((0..40).all(|number| ranges.contains(number) == all.contains(&number)));
            // as few ranges as possible
            let starts = all.iter().filter(|number| number.checked_sub(1).is_none_or(|before| !all.contains(&before))).count();
            prop_assert_eq!(ranges.0.len(), starts);
            let kept: Ranges = serde_json::from_str(&serde_json::to_string(&ranges).unwrap()).unwrap();
            prop_assert_eq!(kept, ranges);
        }
    }
}
