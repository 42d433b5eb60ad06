//! The process's own figures, as every Prometheus client names them, read from /proc when somebody looks.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// The kernel's ticks a second in /proc/self/stat: USER_HZ is 100 on every architecture that Debian has.
const TICKS_PER_S: f64 = 100.0;

#[derive(Default)]
pub struct ProcessMetrics {
    resident_bytes: Gauge,
    open_fds: Gauge,
    threads: Gauge,
    cpu_s: Counter<f64, AtomicU64>,
}

impl ProcessMetrics {
    pub fn register(&self, registry: &mut Registry) {
        let help = "Memory that the process holds";
        registry.register_with_unit("process_resident_memory", help, Unit::Bytes, self.resident_bytes.clone());
        registry.register("process_open_fds", "Open descriptors", self.open_fds.clone());
        registry.register("process_threads", "Threads", self.threads.clone());
        registry.register_with_unit("process_cpu", "Processor time used", Unit::Seconds, self.cpu_s.clone());
    }
}

/// Reads what there is; what cannot be read stays as it was.
pub fn look(figures: &ProcessMetrics) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> Option<i64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    if let Some(kilobytes) = field("VmRSS:") {
        figures.resident_bytes.set(kilobytes * 1_024);
    }
    if let Some(threads) = field("Threads:") {
        figures.threads.set(threads);
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        figures.open_fds.set(entries.count().try_into().unwrap_or(i64::MAX));
    }
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field, the program's name, may hold anything; user and system time are the 12th and 13th after it.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: f64 = after.split_ascii_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    figures.cpu_s.inner().store((ticks / TICKS_PER_S).to_bits(), std::sync::atomic::Ordering::Relaxed);
}
