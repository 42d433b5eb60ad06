//! Every series that there is, by name, with its labels.
//!
//! Filled by the functions of `metrics`, registered here and nowhere else.

use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::telemetry::metrics::process::ProcessMetrics;

macro_rules! labels {
    ($($name:ident { $($label:ident: $kind:ty),+ })+) => {
        $(#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub struct $name {
            $(pub $label: $kind),+
        })+
    };
}

labels! {
    Of { brand: &'static str }
    OfRequest { brand: &'static str, method: &'static str, route: &'static str, status: u16 }
    OfRoute { brand: &'static str, method: &'static str, route: &'static str }
    Handshake { brand: &'static str, result: &'static str }
    Lookups { brand: &'static str, result: &'static str }
    OfBudget { brand: &'static str, budget: &'static str }
    OfPass { brand: &'static str, pass: &'static str }
    OfState { brand: &'static str, state: &'static str }
    OfPart { brand: &'static str, part: &'static str }
    OfQueue { brand: &'static str, queue: &'static str }
}

type Seconds = Gauge<f64, AtomicU64>;

/// From an answer out of memory to the deadline of a request.
const LATENCIES_S: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0];

fn latencies() -> Histogram {
    Histogram::new(LATENCIES_S)
}

pub struct Series {
    pub requests: Family<OfRequest, Counter>,
    pub request_seconds: Family<OfRoute, Histogram, fn() -> Histogram>,
    pub connections: Family<Of, Gauge>,
    pub accepted: Family<Of, Counter>,
    pub handshakes: Family<Handshake, Counter>,
    pub refused: Family<OfBudget, Counter>,
    pub cache: Family<Lookups, Counter>,
    pub cache_entries: Family<Of, Gauge>,
    pub cache_bytes: Family<Of, Gauge>,
    pub pool: Family<OfState, Gauge>,
    pub up: Family<OfPart, Gauge>,
    pub certificate_ends_at: Family<Of, Gauge>,
    pub queue_waiting: Family<OfQueue, Gauge>,
    pub queue_failed: Family<OfQueue, Gauge>,
    pub queue_oldest_s: Family<OfQueue, Seconds>,
    pub payments: Family<OfState, Gauge>,
    pub passes: Family<OfPass, Counter>,
    pub pass_failures: Family<OfPass, Counter>,
    pub pass_seconds: Family<OfPass, Counter<f64, AtomicU64>>,
    pub pass_succeeded_at: Family<OfPass, Gauge>,
    pub reload_successful: Gauge,
    pub reload_succeeded_at: Gauge,
    pub process: ProcessMetrics,
    pub registry: Registry,
}

pub static ALL: LazyLock<Series> = LazyLock::new(|| {
    let mut series = Series {
        requests: Family::default(),
        request_seconds: Family::new_with_constructor(latencies),
        connections: Family::default(),
        accepted: Family::default(),
        handshakes: Family::default(),
        refused: Family::default(),
        cache: Family::default(),
        cache_entries: Family::default(),
        cache_bytes: Family::default(),
        pool: Family::default(),
        up: Family::default(),
        certificate_ends_at: Family::default(),
        queue_waiting: Family::default(),
        queue_failed: Family::default(),
        queue_oldest_s: Family::default(),
        payments: Family::default(),
        passes: Family::default(),
        pass_failures: Family::default(),
        pass_seconds: Family::default(),
        pass_succeeded_at: Family::default(),
        reload_successful: Gauge::default(),
        reload_succeeded_at: Gauge::default(),
        process: ProcessMetrics::default(),
        registry: Registry::default(),
    };
    register(&mut series);
    series
});

fn register(series: &mut Series) {
    let mut registry = Registry::default();
    series.process.register(&mut registry);
    let ours = registry.sub_registry_with_prefix("brandgate");
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    ours.register("build", "The program that runs", build);
    ours.register("http_requests", "Answers, by route and status", series.requests.clone());
    let help = "From the head of a request to its answer";
    ours.register_with_unit("http_request_duration", help, Unit::Seconds, series.request_seconds.clone());
    ours.register("connections", "Connections that are open", series.connections.clone());
    ours.register("connections_accepted", "Connections that were accepted", series.accepted.clone());
    ours.register("tls_handshakes", "Handshakes: full, resumed or failed", series.handshakes.clone());
    ours.register("rate_limited", "Requests that were one too many, by budget", series.refused.clone());
    let help =
        "Answers of the catalogue: remembered (hit), asked of the database (miss), given while it is away (stale)";
    ours.register("cache_lookups", help, series.cache.clone());
    ours.register("cache_entries", "Answers that are remembered", series.cache_entries.clone());
    ours.register_with_unit("cache_size", "What they take", Unit::Bytes, series.cache_bytes.clone());
    let help =
        "Connections to PostgreSQL: open, idle of these, requests that wait for one; shared ones of short reads beside";
    ours.register("postgresql_connections", help, series.pool.clone());
    ours.register("up", "Whether a part that the brand stands on answers", series.up.clone());
    let (name, help) = ("tls_certificate_not_after_timestamp", "When the certificate in use ends");
    ours.register_with_unit(name, help, Unit::Seconds, series.certificate_ends_at.clone());
    ours.register("queue_waiting", "What waits to be sent", series.queue_waiting.clone());
    ours.register("queue_failed", "What was given up and waits for a person", series.queue_failed.clone());
    let help = "Since the oldest that waits was queued";
    ours.register_with_unit("queue_oldest", help, Unit::Seconds, series.queue_oldest_s.clone());
    ours.register("payments", "Payments by state; to_settle is for a person", series.payments.clone());
    ours.register("worker_passes", "Passes of the workers", series.passes.clone());
    ours.register("worker_pass_failures", "Passes that failed", series.pass_failures.clone());
    ours.register_with_unit("worker_passes", "Time spent in passes", Unit::Seconds, series.pass_seconds.clone());
    let (name, help) = ("worker_pass_last_success_timestamp", "When a pass last succeeded, or the process began");
    ours.register_with_unit(name, help, Unit::Seconds, series.pass_succeeded_at.clone());
    let help = "Whether the last reload was taken; 1 before the first";
    ours.register("config_last_reload_successful", help, series.reload_successful.clone());
    series.reload_successful.set(1);
    let (name, help) = ("config_last_reload_success_timestamp", "When a configuration was last taken by a reload");
    ours.register_with_unit(name, help, Unit::Seconds, series.reload_succeeded_at.clone());
    series.registry = registry;
}
