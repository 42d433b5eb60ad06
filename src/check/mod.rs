//! What a sysadmin runs before a start or a reload: everything that could go wrong, tried.
//!
//! Called by `bin/brandgate check` for each brand whose file was read without a fault; that adds what the domains say of the outside.
//! It changes nothing. What must never happen: a server that does not answer holds it up, or hides what was found before.

mod database;
mod files;
mod redis;
mod service;

use std::time::Duration;

use crate::config::BrandConfig;
use crate::foundation::clock::Clock;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `certificate`, `postgresql`, …
    pub subject: &'static str,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Good(String),
    /// It runs like this, but somebody should know.
    Warning(String),
    ConfigProblem(String),
}

/// How long any server may take to show what is asked of it.
pub const PATIENCE: Duration = Duration::from_secs(5);

impl Finding {
    pub fn new(subject: &'static str, verdict: Verdict) -> Finding {
        Finding { subject, verdict }
    }
}

/// What was found of one subject: its faults and warnings, or the sentence that says that it is good.
struct Findings {
    subject: &'static str,
    found: Vec<Finding>,
}

impl Findings {
    fn of(subject: &'static str) -> Findings {
        Findings { subject, found: Vec::new() }
    }

    fn fault(&mut self, sentence: impl Into<String>) {
        self.found.push(Finding::new(self.subject, Verdict::ConfigProblem(sentence.into())));
    }

    fn warning(&mut self, sentence: impl Into<String>) {
        self.found.push(Finding::new(self.subject, Verdict::Warning(sentence.into())));
    }

    fn or_good(mut self, sentence: impl Into<String>) -> Vec<Finding> {
        if self.found.is_empty() {
            self.found.push(Finding::new(self.subject, Verdict::Good(sentence.into())));
        }
        self.found
    }
}

/// Waits for a server's verdict, as long as [`PATIENCE`] lasts.
///
/// # Errors
/// The sentence that it was late.
pub async fn patiently<T>(asked: impl Future<Output = T>) -> Result<T, String> {
    let late = |_| format!("no answer within {} s", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, asked).await.map_err(late)
}

/// What can be seen on this machine alone; `all` are all brands, which must share nothing.
pub fn offline(config: &BrandConfig, all: &[BrandConfig], clock: &Clock) -> Vec<Finding> {
    let mut findings = files::certificate(config, clock);
    findings.extend(files::secrets(config));
    findings.extend(config.warnings(all).into_iter().map(|doubt| Finding::new("settings", Verdict::Warning(doubt))));
    findings
}

/// What PostgreSQL and Redis show; `all` are all brands: their schemas must be closed to this one, and they share a server's connections.
pub async fn online(config: &BrandConfig, all: &[BrandConfig], clock: &Clock) -> Vec<Finding> {
    let (mut findings, redis) = tokio::join!(database::look(config, all, clock), patiently(redis::look(config)));
    findings.extend(redis.unwrap_or_else(|late| vec![Finding::new("redis", Verdict::ConfigProblem(late))]));
    findings
}
