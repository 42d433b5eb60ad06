//! What an import tells the person who started it: how much changed, and which records were left out and why.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::time::Duration;

use super::record::Rejected;

/// How many reasons are told apart.
const MOST_REASONS: usize = 100;

/// How many records are named for each reason; the rest is counted.
const EXAMPLES: usize = 5;

/// Rejected records, counted by reason, and notices: corrections that a person should know of.
#[derive(Default)]
pub struct ImportReport {
    rejected: BTreeMap<String, Reason>,
    notices: BTreeMap<String, Reason>,
    /// Where every single one is written, as JSON lines.
    full: Option<Box<dyn Write + Send>>,
    /// Why not all of them are there.
    lost: Option<std::io::Error>,
}

#[derive(Default)]
struct Reason {
    count: u64,
    examples: Vec<String>,
}

impl ImportReport {
    /// A report that also writes every record to `full`, a line each.
    pub fn with_full(full: Box<dyn Write + Send>) -> ImportReport {
        ImportReport { full: Some(full), ..ImportReport::default() }
    }

    /// A record that was left out.
    pub fn reject(&mut self, rejected: Rejected) {
        self.write_full("rejected", &rejected);
        note(&mut self.rejected, rejected);
    }

    /// A record that was taken with a correction.
    pub fn notice(&mut self, notice: Rejected) {
        self.write_full("notice", &notice);
        note(&mut self.notices, notice);
    }

    /// How many records were left out.
    pub fn rejected(&self) -> u64 {
        self.rejected.values().map(|reason| reason.count).sum()
    }

    fn write_full(&mut self, kind: &str, record: &Rejected) {
        let Some(full) = &mut self.full else { return };
        let line = serde_json::json!({ "kind": kind, "record": record.record, "reason": record.reason });
        if let Err(error) = writeln!(full, "{line}") {
            self.lost = Some(error);
            self.full = None;
        }
    }

    /// Nothing comes any more.
    ///
    /// # Errors
    /// Not everything could be written.
    pub fn finish(&mut self) -> std::io::Result<()> {
        match (self.lost.take(), self.full.take()) {
            (Some(error), _) => Err(error),
            (None, Some(mut full)) => full.flush(),
            (None, None) => Ok(()),
        }
    }
}

fn note(reasons: &mut BTreeMap<String, Reason>, record: Rejected) {
    let is_one_too_many = reasons.len() >= MOST_REASONS && !reasons.contains_key(&record.reason);
    let text = if is_one_too_many { "other reasons".to_owned() } else { printable(&record.reason) };
    let reason = reasons.entry(text).or_default();
    reason.count += 1;
    if reason.examples.len() < EXAMPLES {
        reason.examples.push(printable(&record.record));
    }
}

/// A file's own text must not steer the terminal.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "?")
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, reasons) in [("left out", &self.rejected), ("taken with a correction", &self.notices)] {
            for (reason, Reason { count, examples }) in reasons {
                let more = if *count > examples.len() as u64 { ", …" } else { "" };
                writeln!(f, "{title}: {count} × {reason} ({}{more})", examples.join(", "))?;
            }
        }
        Ok(())
    }
}

/// How many of one kind of thing an import touched.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ChangeCounts {
    pub new: u64,
    pub changed: u64,
    pub removed: u64,
}

/// What an import did, or with `--dry-run` would do.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    pub regions: ChangeCounts,
    pub categories: ChangeCounts,
    pub items: ChangeCounts,
    pub reviews: ChangeCounts,
    /// Item records of the files that could be used, whether or not they changed anything.
    pub items_read: u64,
    /// From opening the first file to the last row in the staging table.
    pub staging: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<12}{:>10}{:>10}{:>10}", "", "new", "changed", "removed")?;
        for (name, changes) in [
            ("regions", self.regions),
            ("categories", self.categories),
            ("items", self.items),
            ("reviews", self.reviews),
        ] {
            writeln!(f, "{name:<12}{:>10}{:>10}{:>10}", changes.new, changes.changed, changes.removed)?;
        }
        Ok(())
    }
}
