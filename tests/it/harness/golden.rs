//! Golden files: reviewed responses in `tests/data/golden`.

use std::path::Path;

use serde_json::Value;

use super::site::data;

/// Compares a value with a golden file, including the order of members. `UPDATE_GOLDEN=1` writes the file instead, for review.
#[track_caller]
pub fn assert_golden(name: &str, value: &Value) {
    let path = data(&format!("golden/{name}.json"));
    let text = serde_json::to_string_pretty(value).expect("JSON") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(Path::new(&path).parent().expect("in a directory")).expect("writable");
        return std::fs::write(&path, text).expect("writable");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (mut expected, mut actual) = (golden.lines(), text.lines());
    for line in 1.. {
        match (expected.next(), actual.next()) {
            (None, None) => return,
            (expected, actual) => assert_eq!(actual, expected, "{path}:{line} (left: response, right: golden file)"),
        }
    }
}
