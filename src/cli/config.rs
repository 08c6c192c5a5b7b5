//! The configuration file: keys and looks.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use etcetera::BaseStrategy;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::args::{Background, Color};
use crate::{
    app::{Key, Keymap},
    fs::{ReadError, read_toml},
    printed::{self, escaped},
};

/// What the configuration file says, or its defaults.
#[derive(Debug, Default)]
pub(super) struct Config {
    pub keys: Keymap,
    pub color: Option<Color>,
    pub background: Option<Background>,
    pub ascii: bool,
}

/// A configuration file that can't be used, by line.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    #[error("can't read {}: {reason}", printed::path(.path))]
    Read { path: PathBuf, reason: ReadError },
    #[error("{}, line {line}: {}", printed::path(.path), escaped(.reason))]
    Line { path: PathBuf, line: usize, reason: String },
}

impl Config {
    /// The file that was named; or else the one at the platform's usual place, if there is one.
    pub(super) fn find(named: Option<&Path>) -> Result<Self, ConfigError> {
        let usual = || {
            let base = etcetera::choose_base_strategy().ok()?;
            Some(base.config_dir().join("pythia-tui").join("config.toml")).filter(|path| path.exists())
        };
        let Some(path) = named.map(Path::to_path_buf).or_else(usual) else { return Ok(Self::default()) };
        let text = read_toml(&path).map_err(|reason| ConfigError::Read { path: path.clone(), reason })?;
        Self::parse(&text).map_err(|(at, reason)| {
            let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
            ConfigError::Line { path, line, reason }
        })
    }

    /// An error comes with the byte it begins at.
    pub(super) fn parse(text: &str) -> Result<Self, (usize, String)> {
        let table =
            DeTable::parse(text).map_err(|e| (e.span().map_or(0, |span| span.start), e.message().to_string()))?;
        let mut config = Self::default();
        for (name, value) in table.get_ref() {
            let at = value.span().start;
            let wrong = |expected: &str| (at, format!("`{}`: expected {expected}", name.get_ref()));
            match name.get_ref().as_ref() {
                "color" => config.color = Some(choice(value).ok_or_else(|| wrong(&choices::<Color>()))?),
                "background" => {
                    config.background = Some(choice(value).ok_or_else(|| wrong(&choices::<Background>()))?);
                }
                "ascii" => config.ascii = value.get_ref().as_bool().ok_or_else(|| wrong("true or false"))?,
                "keys" => {
                    let keys = value.get_ref().as_table().ok_or_else(|| wrong("a table: [keys]"))?;
                    let mut taken: Vec<(Key, String)> = Vec::new();
                    for (action, bound) in keys {
                        let at = |(reason, at): (String, usize)| (at, reason);
                        let bound = parse_keys(action.get_ref(), bound).map_err(at)?;
                        if let Some((key, other)) = taken.iter().find(|(key, _)| bound.contains(key)) {
                            let reason = format!("{key} is bound to `{other}` and to `{}`", action.get_ref());
                            return Err((action.span().start, reason));
                        }
                        taken.extend(bound.iter().map(|key| (*key, action.get_ref().to_string())));
                        let bind = config.keys.bind(action.get_ref(), &bound);
                        bind.map_err(|reason| (action.span().start, reason))?;
                    }
                }
                other => {
                    let reason =
                        format!("there is no setting `{other}`; there are color, background, ascii and [keys]");
                    return Err((name.span().start, reason));
                }
            }
        }
        Ok(config)
    }
}

/// One key, or a list of them.
fn parse_keys(action: &str, value: &Spanned<DeValue<'_>>) -> Result<Vec<Key>, (String, usize)> {
    let at = value.span().start;
    let key = |value: &DeValue<'_>, at: usize| {
        let text = value.as_str().ok_or((format!("`{action}`: expected a key or a list of keys, as texts"), at))?;
        text.parse::<Key>().map_err(|reason| (reason, at))
    };
    match value.get_ref() {
        DeValue::Array(all) => all.iter().map(|one| key(one.get_ref(), one.span().start)).collect(),
        one => Ok(vec![key(one, at)?]),
    }
}

fn choice<T: ValueEnum>(value: &Spanned<DeValue<'_>>) -> Option<T> {
    T::from_str(value.get_ref().as_str()?, true).ok()
}

fn choices<T: ValueEnum>() -> String {
    let names = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    let names: Vec<String> = names.map(|value| format!("\"{}\"", value.get_name())).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> (usize, String) {
        Config::parse(text).unwrap_err()
    }

    #[test]
    fn keys_and_looks_are_read() {
        let config =
            Config::parse("background = 'light'\ncolor = '256'\n[keys]\nablate = ['F2', 'x']\nquit = 'Ctrl-Q'\n");
        let config = config.unwrap();
        assert!(matches!((config.background, config.color), (Some(Background::Light), Some(Color::C256))));
        assert_eq!(config.keys.key(crate::app::Action::Ablate), "F2");
        assert_eq!(config.keys.key(crate::app::Action::DeleteEdit), "Del");
        assert_eq!(config.keys.key(crate::app::Action::Quit), "Ctrl-Q");
        assert_eq!(Config::parse("").unwrap().keys, Keymap::default());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let text = "ascii = true\n[keys]\nablat = 'a'\n";
        let (at, reason) = wrong(text);
        assert!(text[at..].starts_with("ablat") && reason.contains("did you mean `ablate`?"), "{at} {reason}");
        let text = "[keys]\nablate = ['a', 'Hyper-a']\n";
        let (at, reason) = wrong(text);
        assert!(text[at..].starts_with("'Hyper-a'") && reason.contains("is no key"), "{at} {reason}");
        assert!(wrong("colour = 'none'").1.contains("there is no setting `colour`"));
        let reason = wrong("\"\\u001b[2J\\n\" = 1").1;
        let shown = ConfigError::Line { path: "a\u{7}\n.toml".into(), line: 1, reason }.to_string();
        assert!(shown.starts_with("a\\u0007\\n.toml, line 1: there is no setting `\\u001b[2J\\n`"), "{shown}");
        assert!(wrong("color = 'mauve'").1.contains("\"truecolor\", \"256\""));
        assert!(wrong("ascii = 'yes'").1.contains("true or false"));
        assert_eq!(wrong("ascii = true\nascii = false").0, 13);
        assert!(wrong("[keys]\nup = 'w'\ndown = ['s', 'w']").1.contains("w is bound to"));
    }
}
