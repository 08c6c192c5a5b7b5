//! Whether two checkpoints have the same weights, by the hashes of their weight files. Some published training checkpoints are
//! copies of others.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
};

use ring::digest::{Context, SHA256};

use super::{
    KeepGoing,
    digest::{digest_of, is_hash},
    files::WEIGHTS,
};
use crate::model::ModelError;

/// The weight files of a checkpoint by name, each with its SHA-256 in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WeightHashes(pub BTreeMap<String, String>);

impl WeightHashes {
    /// Those of a directory in the published layout. Files of the Hugging Face cache are named by their hash and are not read.
    ///
    /// # Errors
    /// A file can't be read, there are no weights, or `keep_going` returned false.
    pub fn of_directory(directory: &Path, keep_going: KeepGoing<'_>) -> Result<Self, ModelError> {
        let mut hashes = BTreeMap::new();
        for entry in fs::read_dir(directory).map_err(ModelError::io(directory))? {
            let entry = entry.map_err(ModelError::io(directory))?;
            let Some(name) = entry.file_name().into_string().ok().filter(|name| format_of(name).is_some()) else {
                continue;
            };
            let path = entry.path();
            let target = path.canonicalize().map_err(ModelError::io(&path))?;
            let hash = match target.file_name().and_then(|name| name.to_str()).filter(|name| is_hash(name)) {
                Some(name) => name.to_string(),
                None => sha256(&target, keep_going)?,
            };
            hashes.insert(name, hash);
        }
        if hashes.is_empty() {
            return Err(ModelError::MissingFile(directory.to_path_buf(), "model.safetensors or pytorch_model.bin"));
        }
        Ok(Self(hashes))
    }

    /// Whether the files of one format are the same; a checkpoint may be published in several.
    #[must_use]
    pub fn are_same_as(&self, other: &Self) -> bool {
        WEIGHTS.into_iter().any(|format| {
            let of = |(name, _): &(&String, &String)| format_of(name) == Some(format);
            let mut own = self.0.iter().filter(of).peekable();
            own.peek().is_some() && own.eq(other.0.iter().filter(of))
        })
    }

    /// Checkpoints with the same weights, as indices into `all`: every group of two or more, in the order of their first members.
    #[must_use]
    pub fn copies(all: &[&Self]) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (at, hashes) in all.iter().enumerate() {
            match groups.iter_mut().find(|group| group.iter().any(|other| all[*other].are_same_as(hashes))) {
                Some(group) => group.push(at),
                None => groups.push(vec![at]),
            }
        }
        groups.retain(|group| group.len() > 1);
        groups
    }
}

/// The name in [`WEIGHTS`] that a file, or a shard of it, has the format of: `model-00001-of-00002.safetensors` is of
/// `model.safetensors`.
pub(super) fn format_of(name: &str) -> Option<&'static str> {
    WEIGHTS.into_iter().find(|weights| {
        let Some((stem, ending)) = weights.rsplit_once('.') else { return false };
        let inner = name.strip_prefix(stem).and_then(|rest| rest.strip_suffix(ending)?.strip_suffix('.'));
        inner.is_some_and(|shard| shard.is_empty() || shard.starts_with('-') && shard.contains("-of-"))
    })
}

fn sha256(path: &Path, keep_going: KeepGoing<'_>) -> Result<String, ModelError> {
    let digest = File::open(path).and_then(|mut file| digest_of(Context::new(&SHA256), &mut file, keep_going));
    let digest = digest.map_err(ModelError::io(path))?.ok_or(ModelError::Stopped)?;
    let hex = |hex: String, byte: &u8| format!("{hex}{byte:02x}");
    Ok(digest.as_ref().iter().fold(String::new(), hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(files: &[(&str, &str)]) -> WeightHashes {
        WeightHashes(files.iter().map(|(name, hash)| ((*name).into(), (*hash).into())).collect())
    }

    #[test]
    fn weight_files_are_known_by_their_names() {
        for (name, format) in [
            ("model.safetensors", Some("model.safetensors")),
            ("model-00001-of-00002.safetensors", Some("model.safetensors")),
            ("pytorch_model.bin", Some("pytorch_model.bin")),
            ("pytorch_model-00002-of-00002.bin", Some("pytorch_model.bin")),
            ("model.safetensors.index.json", None),
            ("model-old.safetensors", None),
            ("optimizer.bin", None),
            ("tokenizer.json", None),
        ] {
            assert_eq!(format_of(name), format, "{name}");
        }
    }

    #[test]
    fn one_format_in_common_decides() {
        let both = hashes(&[("model.safetensors", "a"), ("pytorch_model.bin", "b")]);
        let torch = hashes(&[("pytorch_model.bin", "b")]);
        let other = hashes(&[("model.safetensors", "c")]);
        let shards = hashes(&[("model-1-of-2.safetensors", "a"), ("model-2-of-2.safetensors", "a")]);
        assert!(both.are_same_as(&torch));
        assert!(!torch.are_same_as(&other));
        assert!(!both.are_same_as(&shards));
        assert!(!WeightHashes::default().are_same_as(&WeightHashes::default()));
        let all = [&other, &both, &shards, &torch];
        assert_eq!(WeightHashes::copies(&all), [[1, 3]]);
    }

    #[test]
    fn files_of_a_directory_are_hashed() {
        let directory = tempfile::tempdir().unwrap();
        let missing = WeightHashes::of_directory(directory.path(), &|| true).unwrap_err();
        assert!(missing.to_string().contains("model.safetensors"), "{missing}");
        fs::write(directory.path().join("model.safetensors"), "abc").unwrap();
        fs::write(directory.path().join("config.json"), "{}").unwrap();
        let found = WeightHashes::of_directory(directory.path(), &|| true).unwrap();
        // FIPS 180-2, appendix B.1
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(found, hashes(&[("model.safetensors", expected)]));
        assert!(matches!(WeightHashes::of_directory(directory.path(), &|| false), Err(ModelError::Stopped)));
    }
}
