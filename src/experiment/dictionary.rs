//! Dictionaries that arguments and files name.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{ExperimentError, labels::demo_labels};
use crate::{
    fs,
    hooks::{Axis, BlockHook, HookPoint, Schema},
    model::{Dictionary, DictionaryLayout, Hub, Kind, ModelError, OnProgress, Parts, Placement, repository},
};

/// The name of the demo's own dictionary.
pub(super) const DEMO: &str = "demo";

/// `[HOOK=]DIR`, `[HOOK=]NAME[/FOLDER]` of the hub, or `demo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DictionaryChoice {
    /// The hook to use it at; by default, the one that it was trained at.
    pub hook: Option<HookPoint>,
    pub name: String,
}

impl FromStr for DictionaryChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (hook, name) = match text.split_once('=') {
            Some((hook, name)) => (Some(hook.trim().parse::<HookPoint>().map_err(|e| e.to_string())?), name),
            None => (None, text),
        };
        match name.trim() {
            "" => Err("expected [HOOK=]NAME or [HOOK=]DIR".into()),
            name => Ok(Self { hook, name: name.into() }),
        }
    }
}

impl fmt::Display for DictionaryChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hook.map_or(Ok(()), |hook| write!(f, "{hook}="))?;
        f.write_str(&self.name)
    }
}

impl DictionaryChoice {
    /// The dictionary, downloaded if it is not on this machine, and its hook.
    ///
    /// # Errors
    /// There is no such dictionary, it can't be fetched or read, its hook is not known, or it does not fit there.
    pub fn load(
        &self,
        schema: &Schema,
        place: &Placement,
        hub: &Hub,
        on_progress: OnProgress<'_>,
    ) -> Result<(HookPoint, Dictionary), ExperimentError> {
        let dictionary = if self.name == DEMO {
            let mut own = Dictionary::demo(place)?;
            own.labels = demo_labels();
            own
        } else {
            Dictionary::open(&self.directory(hub, on_progress)?, place)?
        };
        let hook = self.hook.or(dictionary.hook).ok_or(ExperimentError::NoHook)?;
        schema.check(hook).map_err(ExperimentError::Dictionary)?;
        let axes = schema.axes(hook);
        let size: usize = axes.iter().skip(1).map(|axis| schema.size(*axis, 1)).product();
        if axes.first() != Some(&Axis::Pos) || hook == HookPoint::Tokens {
            return Err(ExperimentError::NoVectors { hook });
        }
        if size != dictionary.d_in {
            return Err(ExperimentError::OtherSize { hook, size, d_in: dictionary.d_in });
        }
        Ok((hook, dictionary))
    }

    /// The same, where a path counts from `directory` and then stands from the root of the file system.
    pub(super) fn below(&self, directory: &Path) -> Self {
        let path = directory.join(fs::expanded(Path::new(&self.name)));
        let name = if self.is_path(&path) { fs::absolute(&path).display().to_string() } else { self.name.clone() };
        Self { hook: self.hook, name }
    }

    /// Whether the name is a path, which leads to `path`, rather than one of the hub.
    fn is_path(&self, path: &Path) -> bool {
        let looks = self.name.starts_with(['.', '~', '/']) || self.name.contains('$');
        self.name != DEMO && (looks || path.is_dir() || Path::new(&self.name).is_absolute())
    }

    fn directory(&self, hub: &Hub, on_progress: OnProgress<'_>) -> Result<PathBuf, ModelError> {
        let path = fs::expanded(Path::new(&self.name));
        if self.is_path(&path) {
            // of a directory with a dictionary for each hook, the one of this hook
            let inside = self.hook.and_then(folder).map(|folder| path.join(folder)).filter(|inside| inside.is_dir());
            return Ok(inside.unwrap_or(path));
        }
        let parts: Vec<&str> = self.name.splitn(3, '/').collect();
        let (name, own) = match parts[..] {
            [owner, name, folder] => (format!("{owner}/{name}"), Some(folder.trim_end_matches('/').to_string())),
            _ => (self.name.clone(), None),
        };
        let sets = DictionaryLayout::ALL.map(DictionaryLayout::files);
        let sets: Vec<&[&str]> = sets.iter().map(|set| &set[..]).collect();
        let parts = Parts {
            kind: Kind::Model,
            repository: &repository(&name)?,
            revision: "main",
            folder: &own.or(self.hook.and_then(folder)).unwrap_or_default(),
            sets: &sets,
        };
        hub.parts(&parts, on_progress)
    }
}

/// sparsify's folder for a hook.
fn folder(hook: HookPoint) -> Option<String> {
    match hook {
        HookPoint::Block(block, BlockHook::ResidPost) => Some(format!("layers.{block}")),
        HookPoint::Block(block, BlockHook::MlpOut) => Some(format!("layers.{block}.mlp")),
        HookPoint::Block(block, BlockHook::AttnOut) => Some(format!("layers.{block}.attention")),
        HookPoint::Tokens
        | HookPoint::Embed
        | HookPoint::Block(..)
        | HookPoint::LnFinalScale
        | HookPoint::LnFinalNormalized => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_may_stand_before_the_name() {
        let choice = |text: &str| text.parse::<DictionaryChoice>();
        let named = choice("blocks.3.hook_resid_post=sae-pythia-70m-deduped-32k").unwrap();
        assert_eq!(named.hook.unwrap().to_string(), "blocks.3.hook_resid_post");
        assert_eq!(choice("a/b/c").unwrap(), DictionaryChoice { hook: None, name: "a/b/c".into() });
        for text in ["./saes", "blocks.0.hook_mlp_out=EleutherAI/x"] {
            assert_eq!(choice(text).unwrap().to_string(), text);
        }
        assert!(choice("blocks.0.hook_mlp_ot=x").unwrap_err().contains("did you mean `blocks.0.hook_mlp_out`"));
        assert!(choice("hook_embed=").unwrap_err().contains("expected [HOOK=]NAME"));
    }
}
