//! Typed access to the fields of a JSON object, with errors that name them.

use serde_json::Value;

use crate::model::ModelError;

/// The numbers that a field accepts.
pub(super) struct Range {
    pub within: fn(f64) -> bool,
    pub expected: &'static str,
}

/// Typed access to the fields, with errors that name them.
pub(super) struct Fields<'a> {
    pub json: &'a Value,
    /// The prefix of their names: `rope_scaling.`
    pub within: &'a str,
}

impl Fields<'_> {
    pub fn wrong<T>(&self, name: &str, found: &Value, expected: &str) -> Result<T, ModelError> {
        const LONGEST: usize = 80;
        let mut found = found.to_string();
        if let Some((end, _)) = found.char_indices().nth(LONGEST) {
            found.truncate(end);
            found.push_str("...");
        }
        Err(ModelError::Config(format!("{}{name} is {found}; expected {expected}", self.within)))
    }

    pub fn size(&self, name: &str, largest: u64) -> Result<usize, ModelError> {
        let expected = format!("a whole number from 1 to {largest}");
        let Some(value) = self.json.get(name) else {
            return Err(ModelError::Config(format!("{name} is missing; expected {expected}")));
        };
        let size = value.as_u64().filter(|n| (1..=largest).contains(n)).and_then(|n| usize::try_from(n).ok());
        size.map_or_else(|| self.wrong(name, value, &expected), Ok)
    }

    pub fn number(&self, name: &str, default: f64, range: &Range) -> Result<f64, ModelError> {
        match self.json.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => {
                let number = value.as_f64().filter(|x| (range.within)(*x));
                number.map_or_else(|| self.wrong(name, value, range.expected), Ok)
            }
        }
    }

    /// A token id; 0 if there is none, as Hugging Face assumes.
    pub fn token(&self, name: &str) -> Result<u32, ModelError> {
        match self.json.get(name) {
            None | Some(Value::Null) => Ok(0),
            Some(value) => {
                let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
                id.map_or_else(|| self.wrong(name, value, "a token id, a whole number from 0"), Ok)
            }
        }
    }

    /// A token id or a list of them; none where the field is null, and `default` where it is missing.
    pub fn tokens(&self, name: &str, default: &[u32]) -> Result<Vec<u32>, ModelError> {
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let Some(value) = self.json.get(name) else { return Ok(default.to_vec()) };
        let ids = match value {
            Value::Null => Some(vec![]),
            Value::Array(ids) => ids.iter().map(id).collect(),
            one => id(one).map(|id| vec![id]),
        };
        ids.map_or_else(|| self.wrong(name, value, "a token id, a whole number from 0, or a list of them"), Ok)
    }

    pub fn flag(&self, name: &str, default: bool) -> Result<bool, ModelError> {
        match self.json.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value.as_bool().map_or_else(|| self.wrong(name, value, "true or false"), Ok),
        }
    }

    pub fn text(&self, name: &str, default: &'static str) -> Result<&str, ModelError> {
        match self.json.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value.as_str().map_or_else(|| self.wrong(name, value, "a name"), Ok),
        }
    }
}
