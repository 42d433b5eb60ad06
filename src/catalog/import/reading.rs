//! What the readers of all formats share: their rules, and the errors of files that none of them takes.

use std::io;

use jiff::Timestamp;

/// What a file is read with.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadRules {
    /// Decides whether a price with a period is in force.
    pub now: Timestamp,
    /// How much a compressed file may unpack to.
    pub max_unpacked_bytes: u64,
}

pub(super) const EXPECTED: &str = "expected a YML feed, a Google product feed, JSON or CSV, plain or in gzip or zip";

/// The message for a file that is something else.
pub(super) fn refusal(name: &str) -> io::Error {
    invalid(&format!("the file is {name}; {EXPECTED}"))
}

pub(super) fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
