//! The outage of a dependency, logged once when it begins and once when it ends.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The pause between two probes during an outage.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// Consecutive successful probes that end an outage: a dependency that fails every other time has not recovered.
const PROBES: u32 = 4;

const NONE: u8 = 0;
const SUSPECTED: u8 = 1;
const ACTIVE: u8 = 2;

/// What a failure says about the dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The dependency itself reported that it cannot serve at present.
    Reported,
    /// A slow response or a lost connection, which may be due to that request alone: a probe decides.
    Suspicion,
}

/// Whether a dependency is known to fail. Requests that succeed do not end an outage, because those that read may succeed while
/// those that write fail; only probes do, as long as no request fails with a reported failure. Probing ends when the outage is dropped.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    state: AtomicU8,
    /// The number of reported failures.
    reports: AtomicU64,
}

impl Outage {
    pub(crate) fn is_active(&self) -> bool {
        self.state.load(Ordering::Relaxed) == ACTIVE
    }

    /// Takes notice of a failure. An outage begins at once with a reported failure, and after a failed probe with a suspicion: calls
    /// `log_begin`, probes until the dependency has recovered, and calls `log_end`. `probe` must not own this outage.
    pub(crate) fn notice<F: Future<Output = bool> + Send + 'static>(
        self: &Arc<Outage>,
        sign: Sign,
        log_begin: impl FnOnce() + Send + 'static,
        probe: impl Fn() -> F + Send + 'static,
        log_end: impl FnOnce() + Send + 'static,
    ) {
        let outage = Arc::downgrade(self);
        match sign {
            Sign::Reported => {
                self.reports.fetch_add(1, Ordering::Relaxed);
                let previous = self.state.swap(ACTIVE, Ordering::Relaxed);
                if previous != ACTIVE {
                    log_begin();
                }
                // The task of a suspicion continues as that of the outage.
                if previous == NONE {
                    tokio::spawn(end_after_probes(outage, probe, log_end));
                }
            }
            Sign::Suspicion => {
                if !self.moves(NONE, SUSPECTED) {
                    return;
                }
                tokio::spawn(async move {
                    let is_available = probe().await;
                    let Some(suspected) = outage.upgrade() else { return };
                    if is_available && suspected.moves(SUSPECTED, NONE) {
                        return;
                    }
                    if suspected.moves(SUSPECTED, ACTIVE) {
                        log_begin();
                    }
                    drop(suspected);
                    end_after_probes(outage, probe, log_end).await;
                });
            }
        }
    }

    fn moves(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Probes until enough probes have succeeded without a reported failure in between, then ends the outage.
async fn end_after_probes<F: Future<Output = bool> + Send>(
    outage: Weak<Outage>,
    probe: impl Fn() -> F + Send,
    log_end: impl FnOnce() + Send,
) {
    let (mut successes, mut reports) = (0, None);
    while successes < PROBES {
        tokio::time::sleep(PROBE_INTERVAL).await;
        if outage.strong_count() == 0 {
            return;
        }
        let is_available = probe().await;
        let Some(outage) = outage.upgrade() else { return };
        let reports_before = reports.replace(outage.reports.load(Ordering::Relaxed));
        let is_quiet = reports_before.is_none() || reports_before == reports;
        successes = if is_available && is_quiet { successes + 1 } else { 0 };
    }
    let Some(outage) = outage.upgrade() else { return };
    outage.state.store(NONE, Ordering::Relaxed);
    log_end();
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    type Log = Arc<Mutex<Vec<&'static str>>>;

    /// Reports a failure. `probe` is called with the number of the probe, from 0.
    fn notice(outage: &Arc<Outage>, sign: Sign, log: &Log, probe: impl FnMut(usize) -> bool + Send + 'static) {
        let (begin, end) = (log.clone(), log.clone());
        let probe = Mutex::new((0, probe));
        let probe = move || {
            let mut probe = probe.lock().expect("no panic");
            let number = probe.0;
            probe.0 += 1;
            std::future::ready((probe.1)(number))
        };
        let write = |log: &Log, line| log.lock().expect("no panic").push(line);
        outage.notice(sign, move || write(&begin, "begin"), probe, move || write(&end, "end"));
    }

    /// Waits until every task has ended, and returns what was logged.
    async fn until_ended(log: &Log) -> Vec<&'static str> {
        while Arc::strong_count(log) > 1 {
            tokio::time::sleep(PROBE_INTERVAL / 10).await;
        }
        log.lock().expect("no panic").clone()
    }

    #[tokio::test]
    async fn outage_ends_after_consecutive_successes_and_is_logged_once() {
        let (outage, log) = (Arc::default(), Log::default());
        // A success between two failures does not count.
        let results = [false, true, false, true, true, true, true];
        notice(&outage, Sign::Reported, &log, move |number| results[number]);
        assert!(outage.is_active());
        notice(&outage, Sign::Suspicion, &log, |_| panic!("an outage is active"));
        assert_eq!(until_ended(&log).await, ["begin", "end"]);
        assert!(!outage.is_active());
    }

    #[tokio::test]
    async fn suspicion_is_an_outage_only_after_a_failed_probe() {
        let (outage, log) = (Arc::default(), Log::default());
        let results = [true];
        notice(&outage, Sign::Suspicion, &log, move |number| results[number]);
        notice(&outage, Sign::Suspicion, &log, |_| panic!("one probe at a time"));
        assert!(!outage.is_active());
        assert_eq!(until_ended(&log).await, [] as [&str; 0]);
        let results = [false, true, true, true, true];
        notice(&outage, Sign::Suspicion, &log, move |number| results[number]);
        assert_eq!(until_ended(&log).await, ["begin", "end"]);
        assert!(!outage.is_active());
    }

    #[tokio::test]
    async fn failure_that_is_reported_during_a_suspicion_begins_one_outage() {
        let (outage, log) = (Arc::default(), Log::default());
        let results = [true; 5];
        notice(&outage, Sign::Suspicion, &log, move |number| results[number]);
        notice(&outage, Sign::Reported, &log, |_| panic!("one probe at a time"));
        assert!(outage.is_active());
        assert_eq!(until_ended(&log).await, ["begin", "end"]);
        assert!(!outage.is_active());
    }

    #[tokio::test]
    async fn outage_lasts_while_failures_are_reported() {
        let (outage, log) = (Arc::<Outage>::default(), Log::default());
        let (inner, probes) = (Arc::downgrade(&outage), Arc::new(AtomicU64::new(0)));
        let count = probes.clone();
        notice(&outage, Sign::Reported, &log, move |number| {
            count.fetch_add(1, Ordering::Relaxed);
            if number == 3 {
                let outage = inner.upgrade().expect("the test has it");
                outage.notice(Sign::Reported, || panic!("logged once"), || std::future::ready(true), || ());
            }
            true
        });
        assert_eq!(until_ended(&log).await, ["begin", "end"]);
        assert_eq!(probes.load(Ordering::Relaxed), 8, "four after the last failure");
    }

    #[tokio::test]
    async fn probing_ends_when_the_owner_is_dropped() {
        for sign in [Sign::Reported, Sign::Suspicion] {
            let (outage, log) = (Arc::<Outage>::default(), Log::default());
            let owner = Arc::new(Mutex::new(Some(outage.clone())));
            notice(&outage, sign, &log, move |number| {
                assert!(number <= 2, "no probe after the drop");
                if number == 2 {
                    drop(owner.lock().expect("no panic").take());
                }
                false
            });
            drop(outage);
            assert_eq!(until_ended(&log).await, ["begin"]);
        }
    }
}
