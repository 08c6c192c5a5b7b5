use super::{Parsed, Parser};
use crate::hooks::op_facts::Arguments;

impl Parser<'_> {
    /// A standard deviation, optionally with a seed.
    pub(super) fn deviation(&mut self) -> Parsed<Arguments> {
        let (sd, span) = self.next_word();
        let number = self.number(sd, span.clone())?;
        if !number.is_finite() || number < 0.0 {
            return self.fail(span, "a standard deviation is finite and not negative", vec![]);
        }
        Ok(Arguments { number, seed: self.seed("the standard deviation")?, ..Arguments::default() })
    }

    /// A seed, or nothing.
    pub(super) fn perhaps_seed(&mut self) -> Parsed<Arguments> {
        Ok(Arguments { seed: self.seed("`resample`")?, ..Arguments::default() })
    }

    /// `seed N`; 0 if nothing more follows.
    fn seed(&mut self, after: &str) -> Parsed<u64> {
        self.spaces();
        if self.rest().is_empty() {
            return Ok(0);
        }
        let (word, span) = self.next_word();
        if word != "seed" {
            return self.fail(span, format!("only `seed N` can follow {after}"), vec![]);
        }
        let (seed, span) = self.next_word();
        match seed.parse() {
            Ok(seed) => Ok(seed),
            Err(_) => self.fail(span, "a seed is a whole number from 0", vec![]),
        }
    }
}
