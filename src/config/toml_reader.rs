//! Reading a TOML file so that every fault of it is told at once, each with its line.
//!
//! Used by `config` alone. serde stops at the first fault and knows no lines for a missing key, so the parsed table is
//! walked by hand: each key is asked for once, and what nobody asked for is a fault too.

use std::cell::RefCell;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong with a file. Prints as `brands/dexar.toml:12: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    pub file: PathBuf,
    /// From 1; 0 where the file as a whole is meant.
    pub line: usize,
    pub message: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.message),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.message),
        }
    }
}

/// From here on two words are one, mistyped.
const LIKE: f64 = 0.8;

/// 1 for the same, 0 for nothing in common.
fn likeness(a: &str, b: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(a, b).max(strsim::jaro_winkler(a, b))
}

/// A file under examination and what was found so far.
pub struct Examination {
    file: PathBuf,
    text: String,
    faults: RefCell<Vec<ConfigProblem>>,
}

impl Examination {
    pub fn new(file: &Path, text: String) -> Examination {
        Examination { file: file.to_owned(), text, faults: RefCell::default() }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Notes a fault at a byte of the text; `None` means the whole file.
    pub fn fault(&self, byte: Option<usize>, message: impl Into<String>) {
        let line = byte.map_or(0, |byte| 1 + self.text[..byte.min(self.text.len())].matches('\n').count());
        self.faults.borrow_mut().push(ConfigProblem { file: self.file.clone(), line, message: message.into() });
    }

    pub fn into_faults(self) -> Vec<ConfigProblem> {
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|fault| fault.line);
        faults
    }
}

/// A table of the file. Its getters note what is missing or of the wrong kind and answer with something harmless, so that
/// reading goes on to the next fault.
pub struct Section<'a, 'i> {
    examination: &'a Examination,
    /// `""` for the root, `"tls."` for `[tls]`.
    prefix: String,
    table: Option<&'a DeTable<'i>>,
    /// Where to point when a key of this table is missing.
    start: Option<usize>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a, 'i> Section<'a, 'i> {
    pub fn root(examination: &'a Examination, table: &'a DeTable<'i>) -> Section<'a, 'i> {
        Section { examination, prefix: String::new(), table: Some(table), start: None, asked: RefCell::default() }
    }

    fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.ask(key);
        self.table?.get(key)
    }

    fn ask(&self, key: &'static str) {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
    }

    fn missing(&self, key: &str, example: &str) {
        self.examination.fault(self.start, format!("{}{key} is missing (for example {example})", self.prefix));
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        self.examination.fault(Some(value.span().start), format!("{}{key}: expected {expected}", self.prefix));
    }

    /// Notes a fault at the value of `key`, or at the section where the key is absent.
    pub fn fault(&self, key: &str, message: impl fmt::Display) {
        let byte = self.table.and_then(|table| table.get(key)).map(|value| value.span().start).or(self.start);
        self.examination.fault(byte, format!("{}{key}: {message}", self.prefix));
    }

    /// A table below this one; a missing one reads as an empty one, whose required keys are then reported.
    pub fn section(&self, key: &'static str) -> Section<'a, 'i> {
        let value = self.value(key);
        let table = value.and_then(|value| value.get_ref().as_table());
        if let (Some(value), None) = (value, table) {
            self.wrong(key, value, "a section");
        }
        Section {
            examination: self.examination,
            prefix: format!("{}{key}.", self.prefix),
            table,
            start: value.map(|value| value.span().start),
            asked: RefCell::default(),
        }
    }

    /// A table below this one, or `None` where the file has none.
    pub fn optional_section(&self, key: &'static str) -> Option<Section<'a, 'i>> {
        self.ask(key);
        self.has(key).then(|| self.section(key))
    }

    /// Whether the file has this key, with whatever value.
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// A string that must be there.
    pub fn string(&self, key: &'static str, example: &str) -> String {
        if !self.has(key) {
            self.ask(key);
            self.missing(key, example);
            return String::new();
        }
        self.optional_string(key).unwrap_or_default()
    }

    pub fn optional_string(&self, key: &'static str) -> Option<String> {
        let value = self.value(key)?;
        match value.get_ref().as_str() {
            Some(text) if !text.is_empty() => Some(text.to_owned()),
            _ => {
                self.wrong(key, value, "a text in quotes");
                None
            }
        }
    }

    /// A list of at least one string.
    pub fn strings(&self, key: &'static str, example: &str) -> Vec<String> {
        let Some(value) = self.value(key) else {
            self.missing(key, example);
            return Vec::new();
        };
        let list: Option<Vec<String>> = value
            .get_ref()
            .as_array()
            .and_then(|array| array.iter().map(|entry| entry.get_ref().as_str().map(str::to_owned)).collect());
        match list {
            Some(list) if !list.is_empty() => list,
            _ => {
                self.wrong(key, value, &format!("a list of texts, for example {example}"));
                Vec::new()
            }
        }
    }

    /// A list of strings; an absent or an empty one is empty.
    pub fn optional_strings(&self, key: &'static str, example: &str) -> Vec<String> {
        let value = self.value(key).map(|value| value.get_ref().as_array());
        match value {
            None => Vec::new(),
            Some(Some(list)) if list.is_empty() => Vec::new(),
            Some(_) => self.strings(key, example),
        }
    }

    /// A whole number within limits; the default where the key is absent.
    pub fn number(&self, key: &'static str, limits: RangeInclusive<u32>, default: u32) -> u32 {
        let Some(value) = self.value(key) else { return default };
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|integer| u32::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok());
        match number {
            Some(number) if limits.contains(&number) => number,
            _ => {
                self.wrong(key, value, &format!("a whole number from {} to {}", limits.start(), limits.end()));
                default
            }
        }
    }

    /// Whatever was not asked for until now is a fault.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        for (key, _) in self.table.into_iter().flatten() {
            let word = &**key.get_ref();
            if asked.contains(&word) {
                continue;
            }
            let meant = asked.iter().copied().max_by(|a, b| likeness(word, a).total_cmp(&likeness(word, b)));
            let known = match meant.filter(|meant| likeness(word, meant) > LIKE) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("known here: {}", asked.join(", ")),
            };
            self.examination.fault(Some(key.span().start), format!("unknown key {}{word}; {known}", self.prefix));
        }
    }
}
