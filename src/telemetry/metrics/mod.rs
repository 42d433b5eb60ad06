//! Metrics for Prometheus, in the text formats of OpenMetrics and of Prometheus.

mod exposition;
mod families;
mod process;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

pub use exposition::ExpositionFormat;
use families::{
    FAMILIES, book_checked_timestamp_seconds, book_errors, payments, queue_failed, queue_oldest_seconds, queue_waiting,
    stock_held_ratio,
};

/// The length of a queue of outgoing messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Queue {
    pub waiting: i64,
    /// Failed permanently; needs manual action.
    pub failed: i64,
    /// Age of the oldest waiting message; 0 when none waits.
    pub oldest_s: f64,
}

/// The statuses of a route that start at 0: what it answers when all is well, and what alerts count.
const INITIAL_STATUSES: [u16; 4] = [200, 500, 503, 504];

/// The metrics of one brand. Clones, and all instances of one name, share their values.
#[derive(Clone)]
pub struct Metrics {
    brand: &'static str,
    // Looked up once, because every request updates them.
    open_connections: Gauge,
    accepted_connections: Counter,
    requests: Arc<ArcSwap<Vec<Arc<RequestSeries>>>>,
    cache_hits: Counter,
    cache_stale_hits: Counter,
    cache_misses: Counter,
}

/// The time series of one combination of labels.
struct RequestSeries {
    method: &'static str,
    route: &'static str,
    status: u16,
    count: Counter,
    duration: Histogram,
}

/// Counts a connection as open until it is dropped.
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub fn of(brand: &str) -> Metrics {
        let brand = static_name(brand);
        let family =
            |result| FAMILIES.cache_lookups.get_or_create_owned(&families::cache_lookups::Labels { brand, result });
        Metrics {
            brand,
            open_connections: FAMILIES.connections.get_or_create_owned(&families::connections::Labels { brand }),
            accepted_connections: FAMILIES
                .connections_accepted
                .get_or_create_owned(&families::connections_accepted::Labels { brand }),
            requests: Arc::default(),
            cache_hits: family("hit"),
            cache_stale_hits: family("stale"),
            cache_misses: family("miss"),
        }
    }

    /// The name of the brand.
    pub fn brand(&self) -> &'static str {
        self.brand
    }

    /// Creates the series of the routes, handshakes and rate limits, so that they start at 0 and their first increase is seen.
    pub fn register<'r>(
        &self,
        routes: impl Iterator<Item = (&'r hyper::Method, &'static str)>,
        quotas: impl Iterator<Item = &'static str>,
    ) {
        for (method, route) in routes {
            for status in INITIAL_STATUSES {
                self.http_requests(method_label(method), route, status);
            }
            self.http_request_duration_seconds(method_label(method), route);
        }
        for result in ["resumed", "full", "failed"] {
            self.tls_handshakes(result);
        }
        for quota in quotas {
            self.rate_limited(quota);
        }
        self.search_queries_uncounted();
    }

    /// Counts a response. `route` is a pattern of the router, or empty when no route matched.
    pub fn request_finished(&self, method: &hyper::Method, route: &'static str, status: u16, duration: Duration) {
        let method = method_label(method);
        let route = if route.is_empty() { "none" } else { route };
        let known = self.requests.load();
        let found = known.iter().find(|of| of.method == method && of.route == route && of.status == status);
        let series = match found {
            Some(series) => series,
            None => &self.add_request_series(method, route, status),
        };
        series.count.inc();
        series.duration.observe(duration.as_secs_f64());
    }

    /// There are few combinations, so searching a list is faster than the hashing of a family.
    fn add_request_series(&self, method: &'static str, route: &'static str, status: u16) -> Arc<RequestSeries> {
        let series = Arc::new(RequestSeries {
            method,
            route,
            status,
            count: self.http_requests(method, route, status),
            duration: self.http_request_duration_seconds(method, route),
        });
        self.requests.rcu(|known| known.iter().chain([&series]).cloned().collect::<Vec<_>>());
        series
    }

    pub fn connection_opened(&self) -> OpenConnection {
        self.accepted_connections.inc();
        self.open_connections.inc();
        OpenConnection(self.open_connections.clone())
    }

    /// `None`: the handshake failed or timed out.
    pub fn handshake_finished(&self, resumed: Option<bool>) {
        let result = match resumed {
            Some(true) => "resumed",
            Some(false) => "full",
            None => "failed",
        };
        self.tls_handshakes(result).inc();
    }

    /// A current response was served from the cache.
    pub fn cache_hit(&self) {
        self.cache_hits.inc();
    }

    /// A response was served from the cache that the database could not confirm.
    pub fn cache_stale_hit(&self) {
        self.cache_stale_hits.inc();
    }

    /// The database was queried for a response that will be cached.
    pub fn cache_miss(&self) {
        self.cache_misses.inc();
    }

    /// A background job starts: until its first success, the time of the last success is that of its start.
    pub fn register_job(&self, job: &'static str) {
        self.worker_pass_last_success_timestamp_seconds(job).set(now_s());
        self.worker_passes(job);
        self.worker_pass_failures(job);
        self.worker_passes_seconds(job);
    }

    /// A run of a background job ended.
    pub fn job_finished(&self, job: &'static str, succeeded: bool, duration: Duration) {
        self.worker_passes(job).inc();
        self.worker_passes_seconds(job).inc_by(duration.as_secs_f64());
        match succeeded {
            true => drop(self.worker_pass_last_success_timestamp_seconds(job).set(now_s())),
            false => drop(self.worker_pass_failures(job).inc()),
        }
    }

    /// `None`: unknown at present, so the series are removed rather than left at an old value.
    pub fn set_queue(&self, queue: &'static str, length: Option<Queue>) {
        let brand = self.brand;
        match length {
            Some(length) => {
                self.queue_waiting(queue).set(length.waiting);
                self.queue_failed(queue).set(length.failed);
                self.queue_oldest_seconds(queue).set(length.oldest_s);
            }
            None => {
                FAMILIES.queue_waiting.remove(&queue_waiting::Labels { brand, queue });
                FAMILIES.queue_failed.remove(&queue_failed::Labels { brand, queue });
                FAMILIES.queue_oldest_seconds.remove(&queue_oldest_seconds::Labels { brand, queue });
            }
        }
    }

    /// Sets how many rows of a book disagree, and when it was checked (Unix time); `None` as in [`Metrics::set_queue`].
    pub fn set_book(&self, book: &'static str, checked: Option<(i64, i64)>) {
        let brand = self.brand;
        match checked {
            Some((errors, checked_at_s)) => {
                self.book_errors(book).set(errors);
                self.book_checked_timestamp_seconds(book).set(checked_at_s);
            }
            None => {
                FAMILIES.book_errors.remove(&book_errors::Labels { brand, book });
                FAMILIES.book_checked_timestamp_seconds.remove(&book_checked_timestamp_seconds::Labels { brand, book });
            }
        }
    }

    /// Sets how many payments are in a state; `None` as in [`Metrics::set_queue`].
    pub fn set_payments(&self, state: &'static str, count: Option<i64>) {
        match count {
            Some(count) => drop(self.payments(state).set(count)),
            None => drop(FAMILIES.payments.remove(&payments::Labels { brand: self.brand, state })),
        }
    }

    /// Sets the share of the stock that open payments of these owners hold; `None` as in [`Metrics::set_queue`].
    pub fn set_stock_held(&self, owner: &'static str, share: Option<f64>) {
        match share {
            Some(share) => drop(self.stock_held_ratio(owner).set(share)),
            None => drop(FAMILIES.stock_held_ratio.remove(&stock_held_ratio::Labels { brand: self.brand, owner })),
        }
    }
}

/// A reload of the configuration ended.
pub fn reload_finished(succeeded: bool) {
    FAMILIES.config_last_reload_successful.set(succeeded.into());
    if succeeded {
        FAMILIES.config_last_reload_success_timestamp_seconds.set(now_s());
    }
}

/// All metrics in a text format.
pub fn render(format: ExpositionFormat) -> Result<String, std::fmt::Error> {
    process::collect(&FAMILIES);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &FAMILIES.registry)?;
    Ok(match format {
        ExpositionFormat::OpenMetrics => text,
        ExpositionFormat::Prometheus => exposition::to_prometheus(&text),
    })
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().try_into().unwrap_or(i64::MAX))
}

/// A brand's name with the `'static` lifetime of a label. Leaks each distinct name once.
fn static_name(name: &str) -> &'static str {
    static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.iter().find(|known| **known == name) {
        return known;
    }
    let leaked: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.push(leaked);
    leaked
}

/// A method as a label: `other` for all methods without a time series of their own, because a client may send any word.
pub fn method_label(method: &hyper::Method) -> &'static str {
    ["GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "PUT"]
        .into_iter()
        .find(|name| *name == method.as_str())
        .unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_methods_share_one_series() {
        let metrics = Metrics::of("unit");
        for word in ["BREW", "WHEN", "PROPFIND"] {
            let method = hyper::Method::from_bytes(word.as_bytes()).expect("a token");
            metrics.request_finished(&method, "", 405, Duration::from_millis(2));
        }
        let text = render(ExpositionFormat::OpenMetrics).expect("text");
        let count = "brandgate_http_requests_total{brand=\"unit\",method=\"other\",route=\"none\",status=\"405\"} 3";
        assert!(text.lines().any(|l| l == count), "{text}");
        let bucket = "brandgate_http_request_duration_seconds_bucket{le=\"0.0025\",brand=\"unit\",method=\"other\",route=\"none\"} 3";
        assert!(text.lines().any(|l| l == bucket), "{text}");
        assert!(text.ends_with("# EOF\n"));
        let older = render(ExpositionFormat::Prometheus).expect("text");
        assert!(older.lines().any(|l| l == count) && older.lines().any(|l| l == bucket), "{older}");
        assert!(
            older.contains("# TYPE brandgate_http_requests_total counter\n") && !older.contains("# EOF"),
            "{older}"
        );
    }

    #[test]
    fn registered_series_start_at_zero() {
        Metrics::of("fresh").register([(&hyper::Method::POST, "/cart")].into_iter(), ["cart"].into_iter());
        let text = render(ExpositionFormat::OpenMetrics).expect("text");
        for series in [
            "brandgate_http_requests_total{brand=\"fresh\",method=\"POST\",route=\"/cart\",status=\"200\"} 0",
            "brandgate_http_requests_total{brand=\"fresh\",method=\"POST\",route=\"/cart\",status=\"503\"} 0",
            "brandgate_http_request_duration_seconds_count{brand=\"fresh\",method=\"POST\",route=\"/cart\"} 0",
            "brandgate_tls_handshakes_total{brand=\"fresh\",result=\"failed\"} 0",
            "brandgate_rate_limited_total{brand=\"fresh\",budget=\"cart\"} 0",
        ] {
            assert!(text.lines().any(|line| line == series), "{series}\n{text}");
        }
    }

    #[test]
    fn unknown_queue_length_removes_the_series() {
        let metrics = Metrics::of("absent");
        metrics.set_queue("mail", Some(Queue { waiting: 2, failed: 1, oldest_s: 30.5 }));
        let series = |text: &str| text.lines().filter(|l| l.contains("brand=\"absent\",queue=")).count();
        assert_eq!(series(&render(ExpositionFormat::OpenMetrics).expect("text")), 3);
        metrics.set_queue("mail", None);
        assert_eq!(series(&render(ExpositionFormat::OpenMetrics).expect("text")), 0);
    }

    #[test]
    fn connection_is_counted_as_open_until_it_is_dropped() {
        let metrics = Metrics::of("open");
        let (one, two) = (metrics.connection_opened(), Metrics::of("open").connection_opened());
        assert_eq!(metrics.open_connections.get(), 2);
        drop((one, two));
        assert_eq!((metrics.open_connections.get(), metrics.accepted_connections.get()), (0, 2));
    }
}
