//! The failures in a row of something that is repeated, such as a background job: which of them the log has.

/// Failures in a row. Of an outage the log has the first failure and the end, however long it lasts.
#[derive(Debug, Default)]
pub(crate) struct FailureStreak {
    failures: u32,
    /// Whether the last failure was one of a dependency.
    is_outage: bool,
}

impl FailureStreak {
    /// Counts a failure, of a dependency (`is_outage`) or of another kind. Returns whether it is to be logged: it is the first in
    /// a row of its kind.
    pub(crate) fn failed(&mut self, is_outage: bool) -> bool {
        let is_news = self.failures == 0 || self.is_outage != is_outage;
        self.failures = self.failures.saturating_add(1);
        self.is_outage = is_outage;
        is_news
    }

    /// Ends the streak. Returns how many failures it had; `None` when there was none.
    pub(crate) fn succeeded(&mut self) -> Option<u32> {
        Some(std::mem::take(&mut self.failures)).filter(|failures| *failures > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_failure_of_each_kind_and_the_end_are_news() {
        let mut streak = FailureStreak::default();
        assert_eq!(streak.succeeded(), None);
        assert_eq!([true, true, false, false].map(|is_outage| streak.failed(is_outage)), [true, false, true, false]);
        assert_eq!((streak.succeeded(), streak.succeeded()), (Some(4), None));
        assert!(streak.failed(false), "another streak");
    }
}
