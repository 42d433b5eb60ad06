//! Settings and reader of `[search]`, how long requests wait for the search index.

use std::time::Duration;

use super::toml_reader::Section;

/// How long requests wait for the search index.
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
}

pub(super) fn read_search(root: &Section<'_, '_>) -> SearchConfig {
    let help = "How long requests wait for the search index, which is built in memory after a start and follows the catalogue.";
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
    };
    section.finish();
    search
}
