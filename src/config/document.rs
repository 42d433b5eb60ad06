//! A configuration file while it is read: its text, its problems, and the settings that the code declares.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

/// One problem of a configuration file. Prints as `brands/dexar.toml:12: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    pub file: PathBuf,
    /// From 1; 0 for the file as a whole.
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

/// A setting as the code declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub key: &'static str,
    pub help: &'static str,
    /// `number`, `milliseconds`, `string` …
    pub kind: &'static str,
    /// `None` for a required key.
    pub default: Option<String>,
    /// The range or the accepted words; empty where any value of the kind is accepted.
    pub values: String,
    pub needs_restart: bool,
}

/// A section with its settings, in the order of their declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SectionSettings {
    /// Empty for the keys above all sections.
    pub name: &'static str,
    pub help: &'static str,
    pub settings: Vec<Setting>,
}

/// A file that is being read: its text, the problems and the declared settings so far.
pub(super) struct Document {
    file: PathBuf,
    text: String,
    problems: RefCell<Vec<ConfigProblem>>,
    sections: RefCell<Vec<SectionSettings>>,
    /// Whether optional sections are read although the file does not have them.
    reads_all_sections: bool,
}

impl Document {
    pub(super) fn new(file: &Path, text: String) -> Document {
        Document {
            file: file.to_owned(),
            text,
            problems: RefCell::default(),
            sections: RefCell::default(),
            reads_all_sections: false,
        }
    }

    /// An empty file, read for the settings that the code declares.
    pub(super) fn for_reference() -> Document {
        Document { reads_all_sections: true, ..Document::new(Path::new("reference.toml"), String::new()) }
    }

    pub(super) fn reads_all_sections(&self) -> bool {
        self.reads_all_sections
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Adds a problem at a byte of the text; `None` is the whole file. A message may repeat a part of the file, whose control
    /// characters must not reach the log.
    pub(super) fn problem(&self, byte: Option<usize>, message: impl Into<String>) {
        let line = byte.map_or(0, |byte| 1 + self.text[..byte.min(self.text.len())].matches('\n').count());
        let message = message.into().replace(char::is_control, " ");
        self.problems.borrow_mut().push(ConfigProblem { file: self.file.clone(), line, message });
    }

    pub(super) fn into_problems(self) -> Vec<ConfigProblem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.line);
        problems
    }

    pub(super) fn into_sections(self) -> Vec<SectionSettings> {
        self.sections.into_inner()
    }

    pub(super) fn declare_section(&self, name: &'static str, help: &'static str) {
        let mut sections = self.sections.borrow_mut();
        if !sections.iter().any(|section| section.name == name) {
            sections.push(SectionSettings { name, help, settings: Vec::new() });
        }
    }

    pub(super) fn declare(&self, section: &str, setting: Setting) {
        let mut sections = self.sections.borrow_mut();
        if let Some(section) = sections.iter_mut().find(|declared| declared.name == section)
            && !section.settings.iter().any(|declared| declared.key == setting.key)
        {
            section.settings.push(setting);
        }
    }
}
