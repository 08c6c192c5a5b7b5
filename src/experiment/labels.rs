//! Labels of features, from Neuronpedia's exports.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::ExperimentError;
use crate::{
    fs::{ReadError, read_text, without_mark},
    model::DEMO_LABELS,
};

/// The largest file of labels.
const LIMIT: u64 = 256 << 20;

/// Labels by feature, of a JSON array or of JSON lines: objects with `index` (a number or its text) and `description`. The
/// first of several descriptions of a feature counts.
///
/// # Errors
/// The file can't be read, or an object is not a label.
pub fn read_labels(path: &Path) -> Result<BTreeMap<u32, String>, ExperimentError> {
    let failed = |reason| ExperimentError::Read { path: path.to_path_buf(), reason };
    let text = read_text(path, LIMIT).map_err(|reason: ReadError| failed(reason))?;
    labels(without_mark(&text)).map_err(|(line, reason)| ExperimentError::File {
        path: path.to_path_buf(),
        line,
        column: 1,
        reason,
    })
}

/// The labels of the demo's own dictionary.
pub(super) fn demo_labels() -> BTreeMap<u32, String> {
    // a test reads them
    labels(DEMO_LABELS).unwrap_or_default()
}

/// The labels of a text; else the line that is none, and why.
fn labels(text: &str) -> Result<BTreeMap<u32, String>, (usize, String)> {
    let wrong = |line: usize, reason: String| (line, reason);
    let mut labels = BTreeMap::new();
    let mut add = |line: usize, value: &Value| {
        let index = value.get("index");
        let index = index.and_then(|index| index.as_u64().or_else(|| index.as_str()?.parse().ok()));
        let index = index.and_then(|index| u32::try_from(index).ok());
        let (Some(index), Some(text)) = (index, value.get("description").and_then(Value::as_str)) else {
            return Err(wrong(line, "expected objects with `index` and `description`".into()));
        };
        labels.entry(index).or_insert_with(|| text.trim().to_string());
        Ok(())
    };
    if text.trim_start().starts_with('[') {
        let all: Vec<Value> = serde_json::from_str(text).map_err(|e| wrong(e.line(), e.to_string()))?;
        all.iter().try_for_each(|value| add(1, value))?;
    } else {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let value: Value = serde_json::from_str(line).map_err(|e| wrong(number + 1, e.to_string()))?;
            add(number + 1, &value)?;
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_from_arrays_and_from_lines() {
        let dir = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            let path = dir.path().join("labels");
            std::fs::write(&path, text).unwrap();
            read_labels(&path)
        };
        let object = r#"{"modelId":"pythia-70m","layer":"3-res-sm","index":"17","description":" names "}"#;
        let expected = BTreeMap::from([(17, "names".to_string())]);
        assert_eq!(read(object).unwrap(), expected);
        assert_eq!(read(&format!("\n{object}\n{object}\n")).unwrap(), expected);
        assert_eq!(read(&format!("[{object}]")).unwrap(), expected);
        assert_eq!(read(r#"{"index": 17, "description": "names"}"#).unwrap(), expected);
        let refused = |text: &str, reason: &str| {
            let found = read(text).unwrap_err().to_string();
            assert!(found.contains(reason), "{found}");
        };
        refused(&format!("{object}\n{{}}"), "line 2, column 1: expected objects with `index`");
        refused("{\"index\": -1, \"description\": \"x\"}", "expected objects");
        refused("nonsense", "line 1");
        refused("[1, 2", "EOF");
    }
}
