//! The outage of a dependency, logged once when it begins and once when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The pause between two probes during an outage.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// Consecutive successful probes that end an outage: a dependency that fails every other time has not recovered.
const PROBES: u32 = 4;

/// Whether a dependency is known to fail. Requests that succeed do not end an outage, because those that read may succeed while
/// those that write fail; only probes do.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    is_active: AtomicBool,
}

impl Outage {
    pub(crate) fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Relaxed)
    }

    /// Begins an outage unless one is active: calls `log_begin`, probes until the dependency has recovered, and calls `log_end`.
    pub(crate) fn begin<F: Future<Output = bool> + Send>(
        self: &Arc<Outage>,
        log_begin: impl FnOnce(),
        probe: impl Fn() -> F + Send + 'static,
        log_end: impl FnOnce() + Send + 'static,
    ) {
        if self.is_active() || self.is_active.swap(true, Ordering::Relaxed) {
            return;
        }
        log_begin();
        let outage = self.clone();
        tokio::spawn(async move {
            let mut successes = 0;
            while successes < PROBES {
                tokio::time::sleep(PROBE_INTERVAL).await;
                successes = if probe().await { successes + 1 } else { 0 };
            }
            outage.is_active.store(false, Ordering::Relaxed);
            log_end();
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn outage_ends_after_consecutive_successes_and_is_logged_once() {
        let outage = Arc::new(Outage::default());
        let log = Arc::new(Mutex::new(Vec::new()));
        let (ended, has_ended) = tokio::sync::oneshot::channel();
        // The last one is the first: a success between two failures does not count.
        let results = Arc::new(Mutex::new(vec![true, true, true, true, false, true, false]));
        let probe = {
            let results = results.clone();
            move || std::future::ready(results.lock().expect("no panic").pop().expect("no probe after the end"))
        };
        let write = |line: &'static str| log.lock().expect("no panic").push(line);
        let log_end = {
            let log = log.clone();
            move || {
                log.lock().expect("no panic").push("end");
                ended.send(()).expect("the test waits");
            }
        };
        outage.begin(|| write("begin"), probe, log_end);
        assert!(outage.is_active());
        outage.begin(|| write("again"), || std::future::ready(true), || ());
        has_ended.await.expect("the task ends");
        assert!(!outage.is_active());
        assert!(results.lock().expect("no panic").is_empty(), "all results were used");
        assert_eq!(*log.lock().expect("no panic"), ["begin", "end"]);
    }
}
