//! Values by number, where most numbers are there.

use std::collections::BTreeMap;

/// A map from numbers that mostly follow one another, which takes little more memory than its values.
#[derive(Clone, Debug)]
pub struct Numbered<T> {
    /// By number divided by [`BLOCK`].
    blocks: BTreeMap<usize, Box<[Option<T>]>>,
    len: usize,
}

const BLOCK: usize = 64;

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { blocks: BTreeMap::new(), len: 0 }
    }
}

impl<T> Numbered<T> {
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[must_use]
    pub fn contains(&self, number: usize) -> bool {
        self.blocks.get(&(number / BLOCK)).is_some_and(|block| block[number % BLOCK].is_some())
    }

    /// Set the value of a number; returns the one that was there.
    pub fn insert(&mut self, number: usize, value: T) -> Option<T> {
        let empty = || (0..BLOCK).map(|_| None).collect();
        let before = self.blocks.entry(number / BLOCK).or_insert_with(empty)[number % BLOCK].replace(value);
        self.len += usize::from(before.is_none());
        before
    }

    pub fn remove(&mut self, number: usize) -> Option<T> {
        let before = self.blocks.get_mut(&(number / BLOCK)).and_then(|block| block[number % BLOCK].take());
        self.len -= usize::from(before.is_some());
        before
    }

    /// The numbers in order, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.blocks.iter().flat_map(|(block, values)| {
            let first = block * BLOCK;
            values.iter().enumerate().filter_map(move |(at, value)| Some((first + at, value.as_ref()?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(changes in proptest::collection::vec((0usize..300, any::<bool>(), any::<u8>()), 0..200)) {
            let (mut found, mut expected) = (Numbered::default(), BTreeMap::new());
            for (number, adds, value) in changes {
                if adds {
                    prop_assert_eq!(found.insert(number, value), expected.insert(number, value));
                } else {
                    prop_assert_eq!(found.remove(number), expected.remove(&number));
                }
                prop_assert_eq!((found.len(), found.is_empty()), (expected.len(), expected.is_empty()));
            }
            prop_assert!((0..310).all(|number| found.contains(number) == expected.contains_key(&number)));
            prop_assert!(found.iter().eq(expected.iter().map(|(number, value)| (*number, value))));
        }
    }
}
