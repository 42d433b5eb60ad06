//! Names of public types: no two types of production code share one.

use std::collections::BTreeMap;

use crate::layering::files_under;

/// Used in several modules by convention, and always qualified by the module: `import::Error`.
const SHARED_NAMES: [&str; 2] = ["Error", "Config"];

/// The name of the struct, enum, trait or type alias that a line declares with any visibility but private.
fn public_type(line: &str) -> Option<&str> {
    let declaration = line.trim_start().strip_prefix("pub")?;
    let declaration = match declaration.strip_prefix('(') {
        Some(restricted) => restricted.split_once(')')?.1,
        None => declaration,
    };
    let (keyword, name) = declaration.strip_prefix(' ')?.split_once(' ')?;
    if !["struct", "enum", "trait", "type"].contains(&keyword) {
        return None;
    }
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    Some(&name[..end]).filter(|name| !name.is_empty())
}

#[test]
fn no_two_public_types_share_a_name() {
    let files = files_under("src", "rs");
    let mut declared: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in files.iter().filter(|file| !file.name.starts_with("src/bin/sandbox/")) {
        let code = file.text.split("#[cfg(test)]\nmod tests {").next().expect("split yields at least one part");
        for name in code.lines().filter_map(public_type) {
            declared.entry(name).or_default().push(&file.name);
        }
    }
    assert!(declared.len() > 150, "only {} types were found: {declared:?}", declared.len());
    let shared: Vec<_> =
        declared.iter().filter(|(name, files)| files.len() > 1 && !SHARED_NAMES.contains(name)).collect();
    assert!(shared.is_empty(), "rename all but one: {shared:#?}");
}

#[test]
fn declarations_of_public_types_are_recognized() {
    assert_eq!(public_type("pub struct Cache {"), Some("Cache"));
    assert_eq!(public_type("    pub(super) enum Outcome<'a> {"), Some("Outcome"));
    assert_eq!(public_type("pub(in crate::tenant) trait Executor: Sync {"), Some("Executor"));
    assert_eq!(public_type("pub type Version = u64;"), Some("Version"));
    for line in
        ["struct Private;", "pub fn find() {}", "pub struct $name {", "/// pub struct Comment", "public struct X;"]
    {
        assert_eq!(public_type(line), None, "{line}");
    }
}
