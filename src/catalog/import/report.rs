//! The result of an import for its operator: how much changed, which records were rejected or corrected, and why.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::time::Duration;

use super::record::{ProblemKind, RecordProblem};

/// Further reasons are counted together.
const MAX_REASONS: usize = 100;

/// How many records are named for each reason; the others are only counted.
const MAX_EXAMPLES: usize = 5;

/// Rejected, incomplete and corrected records, counted by reason.
#[derive(Default)]
pub struct ImportReport {
    rejected: BTreeMap<String, ReasonCount>,
    incomplete: BTreeMap<String, ReasonCount>,
    corrected: BTreeMap<String, ReasonCount>,
    /// Receives every record in place of the counts, until an attempt of the merge has succeeded.
    collected: Option<Vec<RecordProblem>>,
    /// Receives every record as a JSON line.
    full: Option<Box<dyn Write + Send>>,
    /// The first error of `full`, which is not written to after it.
    write_error: Option<std::io::Error>,
}

#[derive(Default)]
struct ReasonCount {
    count: u64,
    examples: Vec<String>,
}

impl ImportReport {
    /// A report that also writes every record to `full`, as JSON lines.
    pub fn with_full(full: Box<dyn Write + Send>) -> ImportReport {
        ImportReport { full: Some(full), ..ImportReport::default() }
    }

    /// A report of an attempt, which is added to the report of the import or dropped.
    pub(super) fn collecting() -> ImportReport {
        ImportReport { collected: Some(Vec::new()), ..ImportReport::default() }
    }

    /// Adds the records of an attempt.
    pub(super) fn append(&mut self, attempt: ImportReport) {
        attempt.collected.into_iter().flatten().for_each(|problem| self.add(problem));
    }

    /// Adds a record with a problem.
    pub fn add(&mut self, problem: RecordProblem) {
        if let Some(collected) = &mut self.collected {
            return collected.push(problem);
        }
        let (kind, reasons) = match problem.kind {
            ProblemKind::Rejected => ("rejected", &mut self.rejected),
            ProblemKind::Incomplete => ("incomplete", &mut self.incomplete),
            ProblemKind::Corrected => ("notice", &mut self.corrected),
        };
        count(reasons, &problem);
        self.write_full(kind, &problem);
    }

    /// How many records were rejected.
    pub fn rejected(&self) -> u64 {
        self.rejected.values().map(|reason| reason.count).sum::<u64>() + self.collected_of(ProblemKind::Rejected)
    }

    /// How many records were imported without a value that was not understood.
    pub fn incomplete(&self) -> u64 {
        self.incomplete.values().map(|reason| reason.count).sum::<u64>() + self.collected_of(ProblemKind::Incomplete)
    }

    fn collected_of(&self, kind: ProblemKind) -> u64 {
        self.collected.iter().flatten().filter(|problem| problem.kind == kind).count() as u64
    }

    fn write_full(&mut self, kind: &str, record: &RecordProblem) {
        let Some(full) = &mut self.full else { return };
        let line = serde_json::json!({ "kind": kind, "record": record.record, "reason": record.reason });
        if let Err(error) = writeln!(full, "{line}") {
            self.write_error = Some(error);
            self.full = None;
        }
    }

    /// Flushes the full report.
    ///
    /// # Errors
    /// When the full report is incomplete.
    pub fn finish(&mut self) -> std::io::Result<()> {
        match (self.write_error.take(), self.full.take()) {
            (Some(error), _) => Err(error),
            (None, Some(mut full)) => full.flush(),
            (None, None) => Ok(()),
        }
    }
}

fn count(reasons: &mut BTreeMap<String, ReasonCount>, record: &RecordProblem) {
    let is_full = reasons.len() >= MAX_REASONS && !reasons.contains_key(&record.reason);
    let text = if is_full { "other reasons".to_owned() } else { printable(&record.reason) };
    let reason = reasons.entry(text).or_default();
    reason.count += 1;
    if reason.examples.len() < MAX_EXAMPLES {
        reason.examples.push(printable(&record.record));
    }
}

/// Text of a file must not control the terminal.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "?")
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, reasons) in
            [("rejected", &self.rejected), ("incomplete", &self.incomplete), ("corrected", &self.corrected)]
        {
            for (reason, ReasonCount { count, examples }) in reasons {
                let more = if *count > examples.len() as u64 { ", …" } else { "" };
                writeln!(f, "{title}: {count} × {reason} ({}{more})", examples.join(", "))?;
            }
        }
        Ok(())
    }
}

/// How many rows of one kind an import changed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ChangeCounts {
    pub new: u64,
    pub changed: u64,
    pub removed: u64,
}

/// The changes that an import made, or with `dry_run` would have made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ImportSummary {
    pub regions: ChangeCounts,
    pub categories: ChangeCounts,
    pub items: ChangeCounts,
    pub reviews: ChangeCounts,
    /// Usable item records of the files, whether or not they changed anything.
    pub items_read: u64,
    /// Files of which every record was rejected.
    pub unusable_files: u64,
    /// Counts from which units were subtracted that were sold since the time of their file.
    pub reduced_counts: u64,
    /// From opening the first file to the last row of the staging table.
    pub staging: Duration,
}

impl fmt::Display for ImportSummary {
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
