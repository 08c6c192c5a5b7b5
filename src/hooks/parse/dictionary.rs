use std::ops::Range;

use super::{Parsed, Parser};
use crate::hooks::features::{FEATURES, INSIDE};

impl<'a> Parser<'a> {
    /// A hook's name, where what stands below it is the features of a dictionary.
    pub(super) fn of_dictionary(&mut self, hook: &'a str, inside: &str, span: Range<usize>) -> Parsed<&'a str> {
        if FEATURES.strip_prefix(INSIDE) != Some(inside) {
            let what =
                "only `hook_sae_acts_post`, a dictionary's features, can be edited; its other hooks follow from it";
            return self.fail(span, what, vec![format!("{hook}{FEATURES}")]);
        }
        self.features = Some(span);
        Ok(hook)
    }

    /// Fail if the features of a dictionary were named.
    pub(super) fn no_features(&mut self) -> Parsed<()> {
        match self.features.take() {
            Some(span) => self.fail(span, "the features of a dictionary can only be the target of an edit", vec![]),
            None => Ok(()),
        }
    }
}
