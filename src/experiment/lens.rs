//! Lenses that arguments name.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::ExperimentError;
use crate::{
    fs,
    model::{
        Hub, JACOBIAN_LENS_ENDING, Kind, Lens, LensKind, Loaded, ModelError, OnProgress, Parts, Source,
        TUNED_LENS_FILES,
    },
    suggest,
};

/// `logit`, `tuned`, `tuned=DIR`, `jacobian`, `jacobian=FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LensChoice {
    pub kind: LensKind,
    /// Its file or directory; by default, the published lens.
    pub path: Option<PathBuf>,
}

impl FromStr for LensChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = text.split_once('=').map_or((text, None), |(name, path)| (name, Some(path)));
        let kind = suggest::by_name("lens", name, &LensKind::ALL, LensKind::name)?;
        match (kind, path) {
            (LensKind::Logit, Some(_)) => Err("the logit lens has no file; expected `logit`".into()),
            (_, Some("")) => Err(format!("`{name}=` names no file; expected `{name}` or `{name}=PATH`")),
            (_, path) => Ok(Self { kind, path: path.map(|path| fs::expanded(Path::new(path))) }),
        }
    }
}

impl fmt::Display for LensChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        self.path.as_ref().map_or(Ok(()), |path| write!(f, "={}", path.display()))
    }
}

impl LensChoice {
    /// The lens for a model, downloaded if it is published and not on this machine.
    ///
    /// # Errors
    /// There is no such lens, it can't be fetched or read, or it does not fit the model.
    pub fn load(
        &self,
        (source, loaded): (&Source, &Loaded),
        hub: &Hub,
        on_progress: OnProgress<'_>,
    ) -> Result<Lens, ExperimentError> {
        let (config, place) = (&loaded.model.config, loaded.model.place());
        let mut lens = match self.kind {
            LensKind::Logit => return Ok(Lens::logit(config.n_layers)),
            LensKind::Tuned => {
                let directory = match &self.path {
                    Some(path) => path.clone(),
                    None => tuned(self.repository(source)?, hub, on_progress)?,
                };
                Lens::tuned(&directory, config, &loaded.name, &place)?
            }
            LensKind::Jacobian => {
                let file = match &self.path {
                    Some(path) => jacobian_in(path),
                    None => jacobian(self.repository(source)?, hub, on_progress)?,
                };
                Lens::jacobian(&file, config, &place)?
            }
        };
        if let (None, Source::Snapshot { revision, .. }) = (&self.path, source)
            && revision != "main"
        {
            let name = self.kind.name();
            lens.notes.push(format!("the published {name} lens was trained on revision main, and this is {revision}"));
        }
        Ok(lens)
    }

    /// The repository of the model that a published lens is for.
    fn repository<'a>(&self, source: &'a Source) -> Result<&'a str, ExperimentError> {
        match source {
            Source::Snapshot { repository, .. } => Ok(repository),
            Source::Demo | Source::Directory(_) | Source::Cache(_) => {
                Err(ExperimentError::NoPublishedLens { name: self.kind.name() })
            }
        }
    }
}

fn tuned(repository: &str, hub: &Hub, on_progress: OnProgress<'_>) -> Result<PathBuf, ModelError> {
    let parts = Parts {
        kind: Kind::Space,
        repository: "AlignmentResearch/tuned-lens",
        revision: "main",
        folder: &format!("lens/{repository}"),
        sets: &[&TUNED_LENS_FILES],
    };
    hub.parts(&parts, on_progress)
}

fn jacobian(repository: &str, hub: &Hub, on_progress: OnProgress<'_>) -> Result<PathBuf, ModelError> {
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let file = format!("{name}{JACOBIAN_LENS_ENDING}");
    let parts = Parts {
        kind: Kind::Model,
        repository: "neuronpedia/jacobian-lens",
        revision: "main",
        folder: &format!("{name}/jlens/Salesforce-wikitext"),
        sets: &[&[&file]],
    };
    Ok(hub.parts(&parts, on_progress)?.join(&file))
}

/// The lens in a directory that holds one, else the path itself.
fn jacobian_in(path: &Path) -> PathBuf {
    let files = path.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let is_lens = |file: &PathBuf| file.to_string_lossy().ends_with(JACOBIAN_LENS_ENDING);
    let mut found: Vec<PathBuf> = files.filter(is_lens).collect();
    match found.pop() {
        Some(only) if found.is_empty() => only,
        _ => path.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lenses_are_named_with_or_without_a_place() {
        let choice = |text: &str| text.parse::<LensChoice>();
        assert_eq!(choice("logit").unwrap(), LensChoice { kind: LensKind::Logit, path: None });
        assert_eq!(choice("tuned=a/b").unwrap(), LensChoice { kind: LensKind::Tuned, path: Some("a/b".into()) });
        for text in ["logit", "tuned", "jacobian", "tuned=a", "jacobian=a=b.pt"] {
            assert_eq!(choice(text).unwrap().to_string(), text);
        }
        for (text, reason) in
            [("tunde", "did you mean `tuned`"), ("logit=a", "has no file"), ("tuned=", "names no file"), ("", "logit")]
        {
            assert!(choice(text).unwrap_err().contains(reason), "{text}: {}", choice(text).unwrap_err());
        }
    }
}
