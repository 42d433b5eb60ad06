//! Answers as they were read and found right once, kept under `tests/data/golden`.

use std::path::Path;

use serde_json::Value;

use super::site::data;

/// Compares with the file, member by member in the same order; `UPDATE_GOLDEN=1` writes it instead, to be read by a person.
#[track_caller]
pub fn assert_golden(name: &str, value: &Value) {
    let path = data(&format!("golden/{name}.json"));
    let text = serde_json::to_string_pretty(value).expect("JSON") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(Path::new(&path).parent().expect("in a directory")).expect("writable");
        return std::fs::write(&path, text).expect("writable");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (mut wanted, mut got) = (golden.lines(), text.lines());
    for line in 1.. {
        match (wanted.next(), got.next()) {
            (None, None) => return,
            (wanted, got) => assert_eq!(got, wanted, "{path}:{line} (left: what the gateway answered)"),
        }
    }
}
