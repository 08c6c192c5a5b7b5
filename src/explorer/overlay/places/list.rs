use crate::{explorer::questions::OfPlaces, predicate::Predicate};

/// A predicate, and the cursor in the list of its places.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaceList {
    pub predicate: Predicate,
    pub cursor: usize,
}

impl PlaceList {
    #[must_use]
    pub fn ask(&self) -> OfPlaces {
        OfPlaces(vec![self.predicate.clone()])
    }
}
