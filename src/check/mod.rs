//! The checks of `brandgate check`: files, certificates, PostgreSQL, isolation and Redis of a brand with a valid file.
//!
//! # Invariants
//! - A check changes nothing.
//! - A server that does not respond costs at most [`CHECK_TIMEOUT`] and hides no other finding.

mod books;
mod certificates;
mod database;
mod redis;
mod service_user;

pub use books::books;

use std::time::Duration;

use crate::config::BrandConfig;
use crate::foundation::clock::Clock;
use crate::platform::postgres::Purpose;
use crate::server::tls;
use crate::tenant::brand::Brand;

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `certificate`, `postgresql`, …
    pub subject: &'static str,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Passed(String),
    /// The brand can be served, but the operator should know.
    Warning(String),
    Failed(String),
}

/// Timeout of each check of a server.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

impl Finding {
    pub fn new(subject: &'static str, verdict: Verdict) -> Finding {
        Finding { subject, verdict }
    }
}

/// The findings about one subject: errors and warnings, or one that it passed.
struct Findings {
    subject: &'static str,
    found: Vec<Finding>,
}

impl Findings {
    fn about(subject: &'static str) -> Findings {
        Findings { subject, found: Vec::new() }
    }

    fn error(&mut self, message: impl Into<String>) {
        self.found.push(Finding::new(self.subject, Verdict::Failed(message.into())));
    }

    fn warning(&mut self, message: impl Into<String>) {
        self.found.push(Finding::new(self.subject, Verdict::Warning(message.into())));
    }

    fn or_passed(mut self, message: impl Into<String>) -> Vec<Finding> {
        if self.found.is_empty() {
            self.found.push(Finding::new(self.subject, Verdict::Passed(message.into())));
        }
        self.found
    }
}

/// Waits at most [`CHECK_TIMEOUT`] for a check.
///
/// # Errors
/// A message about the timeout.
pub async fn with_timeout<T>(check: impl Future<Output = T>) -> Result<T, String> {
    let timed_out = |_| format!("no response within {} s", CHECK_TIMEOUT.as_secs());
    tokio::time::timeout(CHECK_TIMEOUT, check).await.map_err(timed_out)
}

/// The checks of this machine's files; `all` are all brands, which must share nothing.
pub fn offline(config: &BrandConfig, all: &[BrandConfig], clock: &Clock) -> Vec<Finding> {
    let mut findings = certificates::certificate(config, clock);
    findings.extend(certificates::unreadable_by_service(config));
    findings.extend(certificates::secrets(config));
    let warnings = config.warnings(all).into_iter();
    findings.extend(warnings.map(|warning| Finding::new("settings", Verdict::Warning(warning))));
    findings
}

/// Why a process that starts now would not serve the brand; `None` if it would.
pub async fn start_problem(config: &BrandConfig) -> Option<String> {
    if let Err(message) = tls::load(&config.tls, &config.name, &Clock::default()) {
        return Some(message);
    }
    let brand = match Brand::new(config.clone(), Purpose::Work) {
        Ok(brand) => brand,
        Err(error) => return Some(error.to_string()),
    };
    match with_timeout(brand.check_ready()).await {
        Ok(result) => result.err().map(|error| error.to_string()),
        Err(timeout) => Some(format!("PostgreSQL: {timeout}")),
    }
}

/// The checks of PostgreSQL and Redis; `all` are all brands: this one must have no rights on their schemas, and they share a server's
/// connections.
pub async fn online(config: &BrandConfig, all: &[BrandConfig], clock: &Clock) -> Vec<Finding> {
    let (mut findings, redis) = tokio::join!(database::check(config, all, clock), with_timeout(redis::check(config)));
    findings.extend(redis.unwrap_or_else(|message| vec![Finding::new("redis", Verdict::Failed(message))]));
    findings
}
