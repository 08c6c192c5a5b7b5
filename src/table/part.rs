use super::Metadata;

/// What a file holds of an experiment: kept in the metadata of Parquet, so that parts can be checked before they are merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The kind of experiment, as its command is called: `grid`, `corpus`.
    pub of: String,
    /// A hash of everything that determines the numbers.
    pub fingerprint: String,
    /// Which shard, from 0, of how many.
    pub shard: (usize, usize),
    /// The number of units (a grid's cells, a corpus's prompts) of the whole experiment.
    pub units: usize,
    /// The column that holds the number of a row's unit, from 0. Rows are in its order; a unit may have several.
    pub key: String,
}

const OF: &str = "pythia-tui.of";
const FINGERPRINT: &str = "pythia-tui.fingerprint";
const SHARD: &str = "pythia-tui.shard";
const UNITS: &str = "pythia-tui.units";
const KEY: &str = "pythia-tui.key";

impl Part {
    /// Add it to a file's metadata.
    pub fn write(&self, metadata: &mut Metadata) {
        let (at, of) = self.shard;
        for (key, value) in [
            (OF, self.of.clone()),
            (FINGERPRINT, self.fingerprint.clone()),
            (SHARD, format!("{}/{of}", at + 1)),
            (UNITS, self.units.to_string()),
            (KEY, self.key.clone()),
        ] {
            metadata.insert(key.into(), value);
        }
    }

    /// Read it from a file's metadata; None if the file says nothing of this kind.
    #[must_use]
    pub fn read(metadata: &Metadata) -> Option<Self> {
        let text = |key: &str| metadata.get(key).cloned();
        let shard = text(SHARD)?;
        let (number, of) = shard.split_once('/')?;
        let (number, of): (usize, usize) = (number.parse().ok()?, of.parse().ok()?);
        Some(Self {
            of: text(OF)?,
            fingerprint: text(FINGERPRINT)?,
            shard: (number.checked_sub(1).filter(|at| *at < of)?, of),
            units: text(UNITS)?.parse().ok()?,
            key: text(KEY)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_and_nonsense_does_not() {
        let part = Part { of: "grid".into(), fingerprint: "0123".into(), shard: (2, 3), units: 12, key: "cell".into() };
        let mut metadata = Metadata::new();
        part.write(&mut metadata);
        assert_eq!(metadata[SHARD], "3/3");
        assert_eq!(Part::read(&metadata), Some(part));
        for shard in ["0/3", "4/3", "3", "a/b", ""] {
            metadata.insert(SHARD.into(), shard.into());
            assert_eq!(Part::read(&metadata), None, "{shard}");
        }
        assert_eq!(Part::read(&Metadata::new()), None);
    }
}
