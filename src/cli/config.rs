//! The configuration file: keys and appearance.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use etcetera::BaseStrategy;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::args::{Background, Color, Graphics};
use crate::{
    fs::{ReadError, read_toml},
    keys::{Key, Keymap},
    printed::{self, escaped},
    views::keymap,
};

/// The byte where a mistake begins, and what is wrong.
type Mistake = (usize, String);

/// The settings of the configuration file, and defaults for the rest.
#[derive(Debug)]
pub(super) struct Config {
    pub keys: Keymap,
    pub color: Option<Color>,
    pub background: Option<Background>,
    pub ascii: bool,
    pub graphics: Option<Graphics>,
}

/// Why a configuration file can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    #[error("can't read {}: {reason}", printed::path(.path))]
    Read { path: PathBuf, reason: ReadError },
    #[error("{}, line {line}: {}", printed::path(.path), escaped(.reason))]
    Line { path: PathBuf, line: usize, reason: String },
}

impl Default for Config {
    fn default() -> Self {
        Self { keys: keymap(), color: None, background: None, ascii: false, graphics: None }
    }
}

impl Config {
    /// Read the named file, or else `pythia-tui/config.toml` in the configuration directory if it exists.
    ///
    /// # Errors
    /// The file can't be read, or a setting is wrong; with its line.
    pub(super) fn find(named: Option<&Path>) -> Result<Self, ConfigError> {
        let default_path = || {
            let base = etcetera::choose_base_strategy().ok()?;
            Some(base.config_dir().join("pythia-tui").join("config.toml")).filter(|path| path.exists())
        };
        let Some(path) = named.map(Path::to_path_buf).or_else(default_path) else { return Ok(Self::default()) };
        let text = read_toml(&path).map_err(|reason| ConfigError::Read { path: path.clone(), reason })?;
        Self::parse(&text).map_err(|(at, reason)| {
            let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
            ConfigError::Line { path, line, reason }
        })
    }

    /// # Errors
    /// The byte where the mistake begins, and what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, Mistake> {
        let table =
            DeTable::parse(text).map_err(|e| (e.span().map_or(0, |span| span.start), e.message().to_string()))?;
        let mut config = Self::default();
        for (name, value) in table.get_ref() {
            let expected = |what: &str| (value.span().start, format!("`{}`: expected {what}", name.get_ref()));
            match name.get_ref().as_ref() {
                "color" => config.color = Some(choice(value).ok_or_else(|| expected(&choices::<Color>()))?),
                "background" => {
                    config.background = Some(choice(value).ok_or_else(|| expected(&choices::<Background>()))?);
                }
                "graphics" => {
                    config.graphics = Some(choice(value).ok_or_else(|| expected(&choices::<Graphics>()))?);
                }
                "ascii" => config.ascii = value.get_ref().as_bool().ok_or_else(|| expected("true or false"))?,
                "keys" => {
                    let table = value.get_ref().as_table().ok_or_else(|| expected("a table: [keys]"))?;
                    bind_keys(&mut config.keys, table)?;
                }
                other => {
                    let reason =
                        format!("there is no setting `{other}`; expected color, background, ascii, graphics or [keys]");
                    return Err((name.span().start, reason));
                }
            }
        }
        Ok(config)
    }
}

/// Bind the actions in `[keys]`; no key may belong to two of them.
fn bind_keys(keymap: &mut Keymap, table: &DeTable<'_>) -> Result<(), Mistake> {
    let mut taken: Vec<(Key, &str)> = Vec::new();
    for (action, value) in table {
        let (name, at) = (action.get_ref().as_ref(), action.span().start);
        let keys = parse_keys(name, value)?;
        if let Some((key, other)) = taken.iter().find(|(key, _)| keys.contains(key)) {
            return Err((at, format!("{key} is bound to `{other}` and to `{name}`")));
        }
        taken.extend(keys.iter().map(|key| (*key, name)));
        keymap.bind(name, &keys).map_err(|reason| (at, reason))?;
    }
    Ok(())
}

/// One key, or a list of them.
fn parse_keys(action: &str, value: &Spanned<DeValue<'_>>) -> Result<Vec<Key>, Mistake> {
    let parse_key = |value: &DeValue<'_>, at: usize| {
        let text = value.as_str().ok_or((at, format!("`{action}`: expected a key or a list of keys, as strings")))?;
        text.parse::<Key>().map_err(|reason| (at, reason))
    };
    match value.get_ref() {
        DeValue::Array(all) => all.iter().map(|one| parse_key(one.get_ref(), one.span().start)).collect(),
        one => Ok(vec![parse_key(one, value.span().start)?]),
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
    fn keys_and_appearance_are_read() {
        let config = Config::parse(
            "background = 'light'\ncolor = '256'\ngraphics = 'sixel'\n[keys]\nablate = ['F2', 'x']\nquit = 'Ctrl-Q'\n",
        );
        let config = config.unwrap();
        assert!(matches!((config.background, config.color), (Some(Background::Light), Some(Color::C256))));
        assert_eq!(config.graphics, Some(Graphics::Sixel));
        assert_eq!(config.keys.key(crate::keys::Action::Ablate), "F2");
        assert_eq!(config.keys.key(crate::keys::Action::DeleteEdit), "Del");
        assert_eq!(config.keys.key(crate::keys::Action::Quit), "Ctrl-Q");
        assert_eq!(Config::parse("").unwrap().keys, keymap());
    }

    #[test]
    fn errors_name_the_mistake_and_its_position() {
        let text = "ascii = true\n[keys]\nablat = 'a'\n";
        let (at, reason) = wrong(text);
        assert!(text[at..].starts_with("ablat") && reason.contains("did you mean `ablate`?"), "{at} {reason}");
        let text = "[keys]\nablate = ['a', 'Hyper-a']\n";
        let (at, reason) = wrong(text);
        assert!(text[at..].starts_with("'Hyper-a'") && reason.contains("is not a key"), "{at} {reason}");
        assert!(wrong("colour = 'none'").1.contains("there is no setting `colour`"));
        let reason = wrong("\"\\u001b[2J\\n\" = 1").1;
        let shown = ConfigError::Line { path: "a\u{7}\n.toml".into(), line: 1, reason }.to_string();
        assert!(shown.starts_with("a\\u0007\\n.toml, line 1: there is no setting `\\u001b[2J\\n`"), "{shown}");
        assert!(wrong("color = 'mauve'").1.contains("\"truecolor\", \"256\""));
        assert!(wrong("graphics = 'png'").1.contains("\"auto\", \"kitty\", \"sixel\", \"none\""));
        assert!(wrong("ascii = 'yes'").1.contains("true or false"));
        assert_eq!(wrong("ascii = true\nascii = false").0, 13);
        assert!(wrong("[keys]\nup = 'w'\ndown = ['s', 'w']").1.contains("w is bound to"));
    }
}
