//! Which keys do what: the default bindings, and those of the configuration file.

use crossterm::event::KeyEvent;

use super::{
    action::Action,
    bindings::{BINDINGS, Binding, Group, bind},
    key::{Key, ch, ctrl},
};
use crate::suggest::{did_you_mean, nearest};

/// The key of a view.
pub struct ViewKey {
    pub name: &'static str,
    pub doc: &'static str,
    pub key: Option<char>,
}

/// Every binding with its keys in this configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keymap(Vec<Bound>);

/// A binding with its keys in this configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    pub group: Group,
    pub binding: Binding,
    pub keys: Vec<Key>,
}

impl Keymap {
    /// The default keys, including those of the views.
    #[must_use]
    pub fn new(views: impl IntoIterator<Item = ViewKey>) -> Self {
        let shown = |(number, view): (usize, ViewKey)| Bound {
            group: Group::Views,
            binding: bind(Action::View(number), view.name, &[], view.doc),
            keys: view.key.map(ch).into_iter().collect(),
        };
        let mut views: Vec<Bound> = views.into_iter().enumerate().map(shown).collect();
        let mut all = Vec::new();
        for (group, bindings) in BINDINGS {
            if *group == Group::Views {
                all.append(&mut views);
            }
            all.extend(bindings.iter().map(|b| Bound { group: *group, binding: *b, keys: b.keys.to_vec() }));
        }
        Self(all)
    }

    /// Bind the named action to these keys only; another action that had one of them loses it.
    ///
    /// # Errors
    /// There is no such action, or Ctrl-C is among the keys, which always quits.
    pub fn bind(&mut self, name: &str, keys: &[Key]) -> Result<(), String> {
        let Some(at) = self.0.iter().position(|bound| bound.binding.name == name) else {
            let suggestion = did_you_mean(&nearest(name, self.0.iter().map(|bound| bound.binding.name)));
            return Err(format!("there is no action `{name}`{suggestion}"));
        };
        let always = ctrl('c');
        if keys.contains(&always) && self.0[at].binding.action != Action::Quit {
            return Err(format!("{always} always quits; it can't be bound to `{name}`"));
        }
        for other in &mut self.0 {
            other.keys.retain(|key| !keys.contains(key));
        }
        self.0[at].keys = keys.to_vec();
        Ok(())
    }

    /// The action bound to a key, if any.
    pub(crate) fn action(&self, event: &KeyEvent) -> Option<Action> {
        let bound = |bound: &&Bound| bound.keys.iter().any(|key| key.matches(event));
        self.0.iter().find(bound).map(|bound| bound.binding.action)
    }

    /// Every binding with its current keys.
    pub fn bindings(&self) -> impl Iterator<Item = &Bound> {
        self.0.iter()
    }

    /// The binding of an action.
    #[must_use]
    pub fn bound(&self, action: Action) -> Option<&Bound> {
        self.0.iter().find(|bound| bound.binding.action == action)
    }

    /// The first key of an action, as the screen shows it; its name if it has none.
    #[must_use]
    pub fn key(&self, action: Action) -> String {
        let bound = self.bound(action);
        let first = bound.and_then(|bound| bound.keys.first()).map(ToString::to_string);
        first.unwrap_or_else(|| bound.map(|bound| format!(":{}", bound.binding.name)).unwrap_or_default())
    }

    /// The table of keys for the documentation, in Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let row = |Bound { binding, keys, .. }: &Bound| {
            let keys: Vec<String> = keys.iter().map(|k| format!("`{k}`")).collect();
            format!("| {} | `{}` | {} |\n", keys.join(" "), binding.name, binding.doc)
        };
        let rows: String = self.bindings().map(row).collect();
        format!("| key | name | what it does |\n|---|---|---|\n{rows}")
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::{KeyCode, KeyModifiers};

    use super::*;

    fn all() -> impl Iterator<Item = &'static Binding> {
        BINDINGS.iter().flat_map(|(_, bindings)| bindings.iter())
    }

    #[test]
    fn no_key_is_bound_twice() {
        let keys: Vec<Key> = all().flat_map(|b| b.keys.iter().copied()).collect();
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key), "{key} is bound twice");
        }
        let all: Vec<&Binding> = all().collect();
        for (i, binding) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| b.name != binding.name && b.action != binding.action));
            assert!(!binding.doc.is_empty());
        }
    }

    #[test]
    fn shift_does_not_hide_a_character() {
        let event = |modifiers| KeyEvent::new(KeyCode::Char('}'), modifiers);
        let keys = Keymap::new([]);
        assert_eq!(keys.action(&event(KeyModifiers::SHIFT)), Some(Action::NextBlock));
        assert_eq!(keys.action(&event(KeyModifiers::NONE)), Some(Action::NextBlock));
        assert_eq!(keys.action(&event(KeyModifiers::CONTROL)), None);
    }

    #[test]
    fn every_key_round_trips() {
        for key in all().flat_map(|b| b.keys) {
            assert_eq!(key.to_string().parse::<Key>(), Ok(*key));
        }
        assert_eq!("F5".parse::<Key>().unwrap().to_string(), "F5");
        assert_eq!("Alt-Left".parse::<Key>().unwrap().to_string(), "Alt-Left");
        assert_eq!("-".parse::<Key>().unwrap(), ch('-'));
        for wrong in ["", "F13", "Ctrl-", "Hyper-x", "ab"] {
            assert!(wrong.parse::<Key>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rebound_key_leaves_its_first_action() {
        let mut keys = Keymap::new([]);
        let x: Key = "x".parse().unwrap();
        keys.bind("ablate", &[x]).unwrap();
        let event = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
        assert_eq!(keys.action(&event('x')), Some(Action::Ablate));
        assert_eq!(keys.action(&event('a')), None);
        assert_eq!(keys.key(Action::DeleteEdit), "Del");
        assert!(keys.bind("abblate", &[x]).unwrap_err().contains("did you mean `ablate`?"));
        assert!(keys.bind("up", &["Ctrl-C".parse().unwrap()]).unwrap_err().contains("always quits"));
        keys.bind("quit", &["Q".parse().unwrap()]).unwrap();
        assert_eq!((keys.key(Action::Quit), keys.action(&event('q'))), ("Q".into(), None));
        assert_eq!("Alt-A".parse::<Key>().unwrap().to_string(), "Alt-A");
    }
}
