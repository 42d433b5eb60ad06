//! Settings and reader of `[search]`: how long requests wait for the search index, and how searches are counted.

use std::time::Duration;

use super::toml_reader::Section;

/// How long requests wait for the search index, and how searches are counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchConfig {
    /// For the latest changes of the catalogue, before the database is searched instead.
    pub catch_up: Duration,
    /// From the start of the process for the first index, before the database is searched instead.
    pub first_build: Duration,
    /// For an index that alone can answer, before the request fails.
    pub ready: Duration,
    /// How many searches are computed at once; 0: as many as the machine has cores.
    pub threads: usize,
    /// Between two writes of the counts of searches.
    pub count_interval: Duration,
    /// How many different queries are counted a day, and kept in memory between two writes.
    pub counted_queries: u32,
    /// How many days the counts of searches are kept.
    pub report_days: u32,
}

pub(super) fn read_search(root: &Section<'_, '_>) -> SearchConfig {
    let help = "How long requests wait for the search index, which is built in memory after a start and follows the catalogue; and how searches \
                are counted, without anything of who searched, for `brandgate search report`.";
    let section = root.section("search", help);
    let search = SearchConfig {
        catch_up: section
            .key("catch_up_ms", "A plain search waits that long for the latest changes; then the database is searched instead.")
            .milliseconds(1..=60_000, 300),
        first_build: section
            .key(
                "first_build_ms",
                "After a start, a plain search waits until that time for the first index, so that a small shop gives the same \
                 responses from the beginning.",
            )
            .milliseconds(0..=60_000, 2_000),
        ready: section
            .key("ready_ms", "How long facets, suggestions, and filtered or sorted pages wait for the index before they fail with 503.")
            .milliseconds(1..=60_000, 10_000),
        threads: section
            .key("threads", "How many searches are computed at once, beside all other requests; 0: as many as the machine has cores.")
            .needs_restart()
            .number(0..=256, 0) as usize,
        count_interval: section
            .key("count_interval_s", "Seconds between two writes of the counts of searches into the database.")
            .seconds(1..=3_600, 60),
        counted_queries: section
            .key("counted_queries", "How many different queries are counted a day, and kept in memory between two writes; further ones are not.")
            .number(1..=1_000_000, 10_000),
        report_days: section.key("report_days", "Days for which the counts of searches are kept.").number(1..=3_650, 90),
    };
    section.finish();
    search
}
