//! The table of all metrics: one line each.
//!
//! A line is `name: Type [in Unit] [labels] "help"`, where the name is the exposed one without the prefix `brandgate_` and
//! without the suffix `_total` of counters. The macro registers the family and generates an accessor of the same name, such
//! as [`Metrics::rate_limited`].
//!
//! # Invariants
//!
//! Every label has a bounded set of values (a brand, a route pattern, a status, a job): nothing that a client sends becomes a
//! label. Names follow prometheus.io/docs/practices/naming.

use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::telemetry::metrics::Metrics;

/// From a cached response to the deadline of a request.
const LATENCY_BUCKETS_S: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0];

pub(super) type FloatCounter = Counter<f64, AtomicU64>;
pub(super) type FloatGauge = Gauge<f64, AtomicU64>;
type Family<L, M> = prometheus_client::metrics::family::Family<L, M, fn() -> M>;

/// How a new time series of a family is created.
trait NewSeries: Sized {
    fn new_series() -> Self;
}

macro_rules! new_series {
    ($($kind:ty => $new:expr),+) => {
        $(impl NewSeries for $kind {
            fn new_series() -> $kind {
                $new
            }
        })+
    };
}

new_series! {
    Counter => Counter::default(),
    FloatCounter => FloatCounter::default(),
    Gauge => Gauge::default(),
    FloatGauge => FloatGauge::default(),
    Histogram => Histogram::new(LATENCY_BUCKETS_S)
}

/// A label is text with a `'static` lifetime unless the table gives its type.
macro_rules! label_type {
    () => { &'static str };
    ($kind:ty) => { $kind };
}

macro_rules! unit {
    () => {
        None
    };
    ($unit:ident) => {
        Some(Unit::$unit)
    };
}

macro_rules! metrics {
    (
        process { $($process:ident: $process_kind:ident $(in $process_unit:ident)? $process_help:literal;)+ }
        gateway { $($gateway:ident: $gateway_kind:ident $(in $gateway_unit:ident)? $gateway_help:literal;)+ }
        brand {
            $($name:ident: $kind:ident $(in $unit:ident)? [$($label:ident $(: $label_kind:ty)?),*] $help:literal;)+
        }
    ) => {
        $(pub(super) mod $name {
            use super::EncodeLabelSet;

            #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
            pub(in crate::telemetry::metrics) struct Labels {
                pub brand: &'static str,
                $(pub $label: label_type!($($label_kind)?)),*
            }
        })+

        pub(super) struct Families {
            $(pub $process: $process_kind,)+
            $(pub $gateway: $gateway_kind,)+
            $(pub $name: Family<$name::Labels, $kind>,)+
            pub registry: Registry,
        }

        pub(super) static FAMILIES: LazyLock<Families> = LazyLock::new(|| {
            let mut families = Families {
                $($process: $process_kind::default(),)+
                $($gateway: $gateway_kind::default(),)+
                $($name: Family::new_with_constructor($kind::new_series),)+
                registry: Registry::default(),
            };
            let registry = &mut families.registry;
            $(register(registry, stringify!($process), $process_help, unit!($($process_unit)?), &families.$process);)+
            let registry = registry.sub_registry_with_prefix("brandgate");
            registry.register("build", "Version of the running program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
            $(register(registry, stringify!($name), $help, unit!($($unit)?), &families.$name);)+
            $(register(registry, stringify!($gateway), $gateway_help, unit!($($gateway_unit)?), &families.$gateway);)+
            families.config_last_reload_successful.set(1);
            families
        });

        impl Metrics {
            $(
                #[doc = $help]
                pub fn $name(&self $(, $label: label_type!($($label_kind)?))*) -> $kind {
                    FAMILIES.$name.get_or_create_owned(&$name::Labels { brand: self.brand, $($label),* })
                }
            )+
        }
    };
}

metrics! {
    // Of the process, under the names that every Prometheus client library uses.
    process {
        process_resident_memory_bytes: Gauge in Bytes "Resident memory size";
        process_open_fds: Gauge "Open file descriptors";
        process_threads: Gauge "Threads of the process";
        process_cpu_seconds: FloatCounter in Seconds "User and system CPU time";
    }
    // Of the process, prefixed with `brandgate_`.
    gateway {
        config_last_reload_successful: Gauge "Whether the last configuration reload succeeded; 1 before the first";
        config_last_reload_success_timestamp_seconds: Gauge in Seconds "Time of the last successful configuration reload";
    }
    // Of one brand: prefixed with `brandgate_`, and with the first label `brand`.
    brand {
        brand_up: Gauge [] "Whether the process serves the brand; 0 while its configuration, certificate, listeners or database cannot be used";
        http_requests: Counter [method, route, status: u16] "HTTP responses sent";
        http_request_duration_seconds: Histogram in Seconds [method, route] "Time from the request's headers to its response";
        connections: Gauge [] "Open client connections";
        connections_accepted: Counter [] "Client connections accepted";
        tls_handshakes: Counter [result] "TLS handshakes: full, resumed or failed";
        rate_limited: Counter [budget] "Requests rejected by a rate limit";
        limit_refusals: Counter [limit, level] "Connections and requests refused because a limit was reached: of the connection, the address or the brand";
        limit_held: Gauge [limit] "What clients hold: connections, uploads, requests in progress, buffered bytes";
        cache_lookups: Counter [result] "Lookups in the response cache: hit, miss, or stale while PostgreSQL is unavailable";
        cache_entries: Gauge [] "Responses in the cache";
        cache_size_bytes: Gauge in Bytes [] "Memory used by the response cache";
        search_queries_uncounted: Counter [] "Searches that `brandgate search report` lacks, because there were more different queries than [search] counted_queries";
        postgresql_connections: Gauge [state] "PostgreSQL connections of the pool (open, idle), requests that wait for one (waited_for), and shared connections";
        up: Gauge [part] "Whether a dependency of the brand works; postgresql_writes: PostgreSQL is not read-only; postgresql_connections: it accepts new connections";
        clock_offset_seconds: FloatGauge in Seconds [] "How far the clock of PostgreSQL, which decides on expiry, is ahead of this machine's";
        tls_certificate_not_after_timestamp_seconds: Gauge in Seconds [] "Expiry time of the certificate in use";
        queue_waiting: Gauge [queue] "Messages waiting to be sent";
        queue_failed: Gauge [queue] "Messages that failed permanently and need manual action";
        queue_oldest_seconds: FloatGauge in Seconds [queue] "Age of the oldest waiting message";
        payments: Gauge [state] "Payments by state; to_settle and unknown (money without an order) need manual action";
        stock_held_ratio: FloatGauge [owner] "Mean share of an item's stock that open payments hold: of users (with a session) and of visitors (without)";
        book_errors: Gauge [book] "Rows of stored data that disagreed with others at the last nightly check; need manual action";
        book_checked_timestamp_seconds: Gauge in Seconds [book] "Time of the last nightly check of stored data";
        worker_passes: Counter [pass] "Runs of background jobs";
        worker_pass_failures: Counter [pass] "Failed runs of background jobs";
        worker_passes_seconds: FloatCounter in Seconds [pass] "Time spent in background jobs";
        worker_pass_last_success_timestamp_seconds: Gauge in Seconds [pass] "Time of the job's last successful run, or of the start of the process";
    }
}

/// `name` ends with the unit, which the registry adds again.
fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, unit: Option<Unit>, metric: &M) {
    match unit {
        Some(unit) => {
            let suffix = format!("_{}", unit.as_str());
            registry.register_with_unit(name.strip_suffix(&suffix).unwrap_or(name), help, unit, metric.clone());
        }
        None => registry.register(name, help, metric.clone()),
    }
}
