//! A TOML reader that collects every problem of a file with its line, and every setting that the code declares.
//!
//! serde stops at the first problem and knows no line for a missing key, so the parsed table is walked by hand. A setting is declared
//! where it is read: `section.key(name, help)` and a getter, which knows type, default and range. The configuration reference
//! ([`super::reference`]) is made of these declarations.

use std::cell::RefCell;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::{Document, Setting};
use crate::foundation::secret::Secret;

/// A table of the file. Its getters report what is missing or of the wrong kind and return a harmless value, so that reading
/// continues to the next problem.
pub(super) struct Section<'a, 'i> {
    document: &'a Document,
    /// Empty for the keys above all sections.
    name: &'static str,
    table: Option<&'a DeTable<'i>>,
    /// The position that is reported for a missing key of this table.
    start: Option<usize>,
    needs_restart: bool,
    known_keys: RefCell<Vec<&'static str>>,
}

impl<'a, 'i> Section<'a, 'i> {
    pub(super) fn root(document: &'a Document, table: &'a DeTable<'i>, help: &'static str) -> Section<'a, 'i> {
        document.declare_section("", help);
        Section {
            document,
            name: "",
            table: Some(table),
            start: None,
            needs_restart: false,
            known_keys: RefCell::default(),
        }
    }

    /// A table below this one; a missing one reads as an empty one, whose required keys are then reported.
    pub(super) fn section(&self, name: &'static str, help: &'static str) -> Section<'a, 'i> {
        self.document.declare_section(name, help);
        let value = self.value(name);
        let table = value.and_then(|value| value.get_ref().as_table());
        if let (Some(value), None) = (value, table) {
            self.wrong(name, value, &format!("a section [{name}]"));
        }
        Section {
            document: self.document,
            name,
            table,
            start: value.map(|value| value.span().start),
            needs_restart: false,
            known_keys: RefCell::default(),
        }
    }

    /// A table below this one, or `None` where the file has none.
    pub(super) fn optional_section(&self, name: &'static str, help: &'static str) -> Option<Section<'a, 'i>> {
        self.add_known_key(name);
        (self.has(name) || self.document.reads_all_sections()).then(|| self.section(name, help))
    }

    /// The same section, none of whose changes is applied by a reload.
    pub(super) fn needs_restart(self) -> Section<'a, 'i> {
        Section { needs_restart: true, ..self }
    }

    /// Declares a key; a getter of [`Key`] reads it.
    pub(super) fn key(&self, name: &'static str, help: &'static str) -> Key<'_, 'a, 'i> {
        Key { section: self, name, help, values: "", default: None, needs_restart: self.needs_restart }
    }

    /// Whether the file has this key, with any value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Adds a problem at the value of `key`, or at the section where the key is absent.
    pub(super) fn problem(&self, key: &str, message: impl fmt::Display) {
        let byte = self.table.and_then(|table| table.get(key)).map(|value| value.span().start).or(self.start);
        self.document.problem(byte, format!("{}{key}: {message}", self.prefix()));
    }

    /// Reports every key of the table that was not declared.
    pub(super) fn finish(self) {
        let known_keys = self.known_keys.borrow();
        for (key, _) in self.table.into_iter().flatten() {
            let word = &**key.get_ref();
            if known_keys.contains(&word) {
                continue;
            }
            let closest = known_keys.iter().copied().max_by(|a, b| similarity(word, a).total_cmp(&similarity(word, b)));
            let hint = match closest.filter(|closest| similarity(word, closest) > MIN_TYPO_SIMILARITY) {
                Some(closest) => format!("did you mean {closest}?"),
                None => format!("known keys: {}", known_keys.join(", ")),
            };
            self.document.problem(Some(key.span().start), format!("unknown key {}{word}; {hint}", self.prefix()));
        }
    }

    /// `tls.` for `[tls]`.
    fn prefix(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!("{}.", self.name) }
    }

    fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.add_known_key(key);
        self.table?.get(key)
    }

    fn add_known_key(&self, key: &'static str) {
        let mut known_keys = self.known_keys.borrow_mut();
        if !known_keys.contains(&key) {
            known_keys.push(key);
        }
    }

    fn missing(&self, key: &str, example: &str) {
        let message = format!("{}{key} is missing; for example {key} = {example}", self.prefix());
        self.document.problem(self.start, message);
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        self.document.problem(Some(value.span().start), format!("{}{key}: expected {expected}", self.prefix()));
    }
}

/// From this similarity on, an unknown key is taken for a mistyped known one.
const MIN_TYPO_SIMILARITY: f64 = 0.8;

/// 1 for equal words, 0 for words that have nothing in common.
fn similarity(a: &str, b: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(a, b).max(strsim::jaro_winkler(a, b))
}

/// Where the values of secrets are: which brand reads them, and the directory of the credentials.
#[derive(Clone, Copy)]
pub(super) struct SecretSource<'a> {
    pub brand: &'a str,
    pub credentials: Option<&'a Path>,
}

/// A declared key of a section.
#[derive(Clone, Copy)]
pub(super) struct Key<'s, 'a, 'i> {
    section: &'s Section<'a, 'i>,
    name: &'static str,
    help: &'static str,
    values: &'static str,
    default: Option<&'static str>,
    needs_restart: bool,
}

impl Key<'_, '_, '_> {
    /// A change of this key is not applied by a reload.
    pub(super) fn needs_restart(self) -> Self {
        Key { needs_restart: true, ..self }
    }

    /// What the reference says about accepted values, where the getter does not know it.
    pub(super) fn values(self, values: &'static str) -> Self {
        Key { values, ..self }
    }

    /// What the reference says about the default, where it depends on other keys.
    pub(super) fn default(self, default: &'static str) -> Self {
        Key { default: Some(default), ..self }
    }

    fn declare(&self, kind: &'static str, default: Option<String>, values: String) {
        let setting = Setting {
            key: self.name,
            help: self.help,
            kind,
            default: self.default.map(str::to_owned).or(default),
            values: if self.values.is_empty() { values } else { self.values.to_owned() },
            needs_restart: self.needs_restart,
        };
        self.section.document.declare(self.section.name, setting);
    }

    /// A required string; empty after a problem.
    pub(super) fn string(self, example: &str) -> String {
        self.declare("string", None, String::new());
        self.required_string(example)
    }

    pub(super) fn optional_string(self) -> Option<String> {
        self.declare("string", Some(String::new()), String::new());
        self.read_string()
    }

    pub(super) fn string_or(self, default: &str) -> String {
        self.declare("string", Some(format!("\"{default}\"")), String::new());
        self.read_string().unwrap_or_else(|| default.to_owned())
    }

    /// A required path; empty after a problem.
    pub(super) fn path(self, example: &str) -> PathBuf {
        self.declare("path", None, String::new());
        self.required_string(example).into()
    }

    pub(super) fn optional_path(self) -> Option<PathBuf> {
        self.declare("path", Some(String::new()), String::new());
        self.read_string().map(PathBuf::from)
    }

    /// One of several words; the first is the default.
    pub(super) fn choice<T: Copy>(self, words: &[(&str, T)]) -> T {
        let quoted: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let words_in_code: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        self.declare("string", Some(quoted[0].clone()), words_in_code.join(", "));
        let Some(text) = self.read_string() else { return words[0].1 };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return *value;
        }
        let (last, first) = quoted.split_last().expect("a choice has words");
        self.section.problem(self.name, format!("expected {} or {last}", first.join(", ")));
        words[0].1
    }

    /// A required list of at least one string.
    pub(super) fn strings(self, example: &str) -> Vec<String> {
        self.declare("list of strings", None, String::new());
        self.read_strings(example)
    }

    /// A list of strings; an absent one is empty.
    pub(super) fn optional_strings(self, example: &str) -> Vec<String> {
        self.declare("list of strings", Some("[]".to_owned()), String::new());
        let value = self.section.value(self.name).map(|value| value.get_ref().as_array());
        match value {
            None => Vec::new(),
            Some(Some(list)) if list.is_empty() => Vec::new(),
            Some(_) => self.read_strings(example),
        }
    }

    pub(super) fn number(self, range: RangeInclusive<u32>, default: u32) -> u32 {
        let kind = if self.name.ends_with("_bytes") || self.name.contains("_bytes_per_") { "bytes" } else { "number" };
        self.read_number(kind, range, default)
    }

    pub(super) fn milliseconds(self, range: RangeInclusive<u32>, default: u32) -> Duration {
        Duration::from_millis(self.read_number("milliseconds", range, default).into())
    }

    pub(super) fn seconds(self, range: RangeInclusive<u32>, default: u32) -> Duration {
        Duration::from_secs(self.read_number("seconds", range, default).into())
    }

    /// An optional secret, named by its credential or its path.
    pub(super) fn secret(self, source: SecretSource<'_>) -> Option<Secret> {
        self.declare("secret", Some(String::new()), String::new());
        self.read_secret(&self.read_string()?, source)
    }

    /// A required secret; `None` after a problem.
    pub(super) fn required_secret(self, source: SecretSource<'_>, example: &str) -> Option<Secret> {
        self.declare("secret", None, String::new());
        let name = self.required_string(example);
        if name.is_empty() { None } else { self.read_secret(&name, source) }
    }

    /// A required list of secrets, without those that have a problem.
    pub(super) fn secrets(self, source: SecretSource<'_>, example: &str) -> Vec<Secret> {
        self.declare("list of secrets", None, String::new());
        let names = self.read_strings(example);
        names.iter().filter_map(|name| self.read_secret(name, source)).collect()
    }

    fn required_string(&self, example: &str) -> String {
        if !self.section.has(self.name) {
            self.section.add_known_key(self.name);
            self.section.missing(self.name, example);
            return String::new();
        }
        self.read_string().unwrap_or_default()
    }

    fn read_string(&self) -> Option<String> {
        let value = self.section.value(self.name)?;
        match value.get_ref().as_str() {
            Some(text) if !text.is_empty() => Some(text.to_owned()),
            _ => {
                self.section.wrong(self.name, value, "a string in quotes");
                None
            }
        }
    }

    fn read_strings(&self, example: &str) -> Vec<String> {
        let Some(value) = self.section.value(self.name) else {
            self.section.missing(self.name, example);
            return Vec::new();
        };
        let list: Option<Vec<String>> = value
            .get_ref()
            .as_array()
            .and_then(|array| array.iter().map(|entry| entry.get_ref().as_str().map(str::to_owned)).collect());
        match list {
            Some(list) if !list.is_empty() => list,
            _ => {
                self.section.wrong(self.name, value, &format!("a list of strings, for example {example}"));
                Vec::new()
            }
        }
    }

    fn read_number(&self, kind: &'static str, range: RangeInclusive<u32>, default: u32) -> u32 {
        self.declare(kind, Some(default.to_string()), format!("{} to {}", range.start(), range.end()));
        let Some(value) = self.section.value(self.name) else { return default };
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|integer| u32::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok());
        match number {
            Some(number) if range.contains(&number) => number,
            _ => {
                let expected = format!("a whole number from {} to {}", range.start(), range.end());
                self.section.wrong(self.name, value, &expected);
                default
            }
        }
    }

    fn read_secret(&self, name: &str, source: SecretSource<'_>) -> Option<Secret> {
        let brand = source.brand;
        if !name.starts_with('/') && (name.contains('/') || !name.starts_with(&format!("{brand}."))) {
            // The message does not repeat the value: it may be the secret itself, written here by mistake.
            let expected = format!(
                "expected the name of a credential that begins with {brand}., or the absolute path of its file"
            );
            self.section.problem(self.name, expected);
            return None;
        }
        match Secret::read(name, source.credentials) {
            Ok(secret) => Some(secret),
            Err(message) => {
                self.section.problem(self.name, message);
                None
            }
        }
    }
}
