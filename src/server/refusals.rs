//! Refusals because of a limit: counted in the metrics, and logged when they begin and when they have ended.
//!
//! # Invariants
//!
//! - However many clients are refused, the log has at most two lines for each limit and level in [`QUIET_PERIOD`].

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::foundation::error::{Error, Kind};
use crate::telemetry::metrics::Metrics;
use crate::tenant::account::{Level, Resource};

/// Refusals have ended when there was none for this time.
const QUIET_PERIOD: Duration = Duration::from_secs(5);

/// The refusals of one brand.
pub(super) struct Refusals {
    metrics: Metrics,
    episodes: Mutex<Vec<Episode>>,
}

/// Refusals at one limit, each within [`QUIET_PERIOD`] of the one before.
struct Episode {
    resource: Resource,
    level: Level,
    last: Instant,
    count: u64,
}

impl Refusals {
    pub(super) fn new(metrics: Metrics) -> Arc<Refusals> {
        Arc::new(Refusals { metrics, episodes: Mutex::default() })
    }

    /// Counts a client that is refused, or disconnected for another one, because of this limit. Must be called within a runtime.
    pub(super) fn record(self: &Arc<Refusals>, resource: Resource, level: Level) {
        self.metrics.limit_refusals(resource.name(), level.name()).inc();
        if self.continues(resource, level, Instant::now()) {
            return;
        }
        tracing::warn!(
            brand = self.metrics.brand(),
            limit = resource.name(),
            level = level.name(),
            "refusing clients that exceed a limit; raise it in [limits] of the brand's file if they are genuine"
        );
        tokio::spawn(await_end(Arc::downgrade(self), resource, level));
    }

    /// Adds a refusal to its episode; `false` when it is the first one.
    fn continues(&self, resource: Resource, level: Level, now: Instant) -> bool {
        let mut episodes = self.episodes.lock().unwrap_or_else(PoisonError::into_inner);
        match episodes.iter_mut().find(|it| it.resource == resource && it.level == level) {
            Some(episode) => {
                episode.last = now;
                episode.count += 1;
                true
            }
            None => {
                episodes.push(Episode { resource, level, last: now, count: 1 });
                false
            }
        }
    }

    /// Ends an episode without refusals since [`QUIET_PERIOD`] and returns their number; otherwise, when it may end.
    fn end(&self, resource: Resource, level: Level, now: Instant) -> Result<u64, Instant> {
        let mut episodes = self.episodes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = episodes.iter().position(|it| it.resource == resource && it.level == level) else {
            return Ok(0);
        };
        let may_end_at = episodes[index].last + QUIET_PERIOD;
        if now < may_end_at { Err(may_end_at) } else { Ok(episodes.swap_remove(index).count) }
    }
}

/// Waits for the end of an episode and logs it.
async fn await_end(refusals: Weak<Refusals>, resource: Resource, level: Level) {
    while let Some(refusals) = refusals.upgrade() {
        match refusals.end(resource, level, Instant::now()) {
            Ok(count) => {
                let (brand, limit, level) = (refusals.metrics.brand(), resource.name(), level.name());
                tracing::info!(brand, limit, level, count, "no client exceeds the limit any more");
                return;
            }
            Err(may_end_at) => {
                drop(refusals);
                tokio::time::sleep_until(may_end_at).await;
            }
        }
    }
}

/// 503 with `Retry-After`: a limit is reached.
#[track_caller]
pub(super) fn overloaded() -> Error {
    Error::new(
        Kind::Overloaded { retry_after_s: 1 },
        "overloaded",
        "Too many requests are being answered at the moment; please try again in a second.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_each_limit_begin_and_end_once() {
        let refusals = Refusals::new(Metrics::of("test"));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (resource, level) = (Resource::Requests, Level::Network);
        assert!(!refusals.continues(resource, level, at(0)), "it begins");
        assert!(refusals.continues(resource, level, at(3)));
        assert!(!refusals.continues(resource, Level::Brand, at(3)), "another level");
        assert!(!refusals.continues(Resource::Bytes, level, at(3)), "another limit");
        assert_eq!(refusals.end(resource, level, at(5)), Err(at(8)), "the last one counts");
        assert!(refusals.continues(resource, level, at(7)));
        assert_eq!(refusals.end(resource, level, at(8)), Err(at(12)));
        assert_eq!(refusals.end(resource, level, at(12)), Ok(3));
        assert!(!refusals.continues(resource, level, at(12)), "it begins again");
        assert_eq!(refusals.end(Resource::Bytes, level, at(12)), Ok(1));
    }
}
