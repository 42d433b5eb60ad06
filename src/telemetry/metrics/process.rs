//! Metrics of the process itself, read from /proc (proc(5)) at each scrape.

use std::sync::atomic::Ordering;

use crate::telemetry::metrics::families::Families;

/// The unit of the CPU times in /proc/self/stat: USER_HZ is 100 on every architecture of Debian.
const TICKS_PER_S: f64 = 100.0;

/// Updates the metrics of the process; a value that cannot be read keeps its last state.
pub(super) fn collect(families: &Families) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> Option<i64> {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        value.split_ascii_whitespace().next()?.parse().ok()
    };
    if let Some(kibibytes) = field("VmRSS:") {
        families.process_resident_memory_bytes.set(kibibytes * 1_024);
    }
    if let Some(threads) = field("Threads:") {
        families.process_threads.set(threads);
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        families.process_open_fds.set(entries.count().try_into().unwrap_or(i64::MAX));
    }
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field, the program's name in parentheses, may contain spaces. User and system time are the 12th and 13th after it.
    let after_name = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: f64 = after_name.split_ascii_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    families.process_cpu_seconds.inner().store((ticks / TICKS_PER_S).to_bits(), Ordering::Relaxed);
}
