//! What the process counts, for Prometheus (OpenMetrics text, `GET /metrics` of the admin listener).
//!
//! Whoever does something counts it through the brand's [`Metrics`]; `admin` renders. Every label has few values: a brand, a route
//! of `routes`, a status, a pass. What must never happen: a label takes what a client sent, so that memory grows with requests.
//! Names after prometheus.io/docs/practices/naming.

mod process;
mod series;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use series::{ALL, Handshake, Lookups, Of, OfBudget, OfPart, OfPass, OfQueue, OfRequest, OfRoute, OfState};

/// How long a queue is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Queue {
    pub waiting: i64,
    /// Given up; a person looks at it.
    pub failed: i64,
    /// Since the oldest that waits was put there; 0 when nothing waits.
    pub oldest_s: f64,
}

/// One brand's figures. Clones, and all that are made for one name, are the same.
#[derive(Clone)]
pub struct Metrics {
    brand: &'static str,
    connections: Gauge,
    accepted: Counter,
    answers: Arc<ArcSwap<Vec<Arc<Answers>>>>,
    cache_hits: Counter,
    cache_stale: Counter,
    cache_misses: Counter,
}

/// The series of one kind of answer.
struct Answers {
    of: OfRequest,
    count: Counter,
    seconds: Histogram,
}

/// An open connection; it is counted until it is dropped.
pub struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub fn of(brand: &str) -> Metrics {
        let brand = lasting(brand);
        let cache = |result| ALL.cache.get_or_create_owned(&Lookups { brand, result });
        Metrics {
            answers: Arc::default(),
            cache_hits: cache("hit"),
            cache_stale: cache("stale"),
            cache_misses: cache("miss"),
            brand,
            connections: ALL.connections.get_or_create_owned(&Of { brand }),
            accepted: ALL.accepted.get_or_create_owned(&Of { brand }),
        }
    }

    /// Whose they are.
    pub fn brand(&self) -> &'static str {
        self.brand
    }

    /// An answer left; `route` is a pattern of `routes`, or empty when none was found.
    pub fn request_finished(&self, method: &hyper::Method, route: &'static str, status: u16, took: Duration) {
        let (brand, method) = (self.brand, known(method));
        let route = if route.is_empty() { "none" } else { route };
        let of = OfRequest { brand, method, route, status };
        let answers = self.answers.load();
        let found = answers.iter().find(|answers| answers.of == of);
        let answers = match found {
            Some(answers) => answers,
            None => &self.remember(of),
        };
        answers.count.inc();
        answers.seconds.observe(took.as_secs_f64());
    }

    /// There are as many as routes, methods and statuses, so a short list is quicker than the registry's hashing.
    fn remember(&self, of: OfRequest) -> Arc<Answers> {
        let OfRequest { brand, method, route, .. } = of;
        let answers = Arc::new(Answers {
            count: ALL.requests.get_or_create_owned(&of),
            seconds: ALL.request_seconds.get_or_create_owned(&OfRoute { brand, method, route }),
            of,
        });
        self.answers.rcu(|former| former.iter().chain([&answers]).cloned().collect::<Vec<_>>());
        answers
    }

    pub fn connection_opened(&self) -> Open {
        self.accepted.inc();
        self.connections.inc();
        Open(self.connections.clone())
    }

    /// `None`: it failed or took too long.
    pub fn handshake_finished(&self, resumed: Option<bool>) {
        let result = match resumed {
            Some(true) => "resumed",
            Some(false) => "full",
            None => "failed",
        };
        ALL.handshakes.get_or_create(&Handshake { brand: self.brand, result }).inc();
    }

    /// A request was one too many of its budget.
    pub fn rate_limited(&self, budget: &'static str) {
        ALL.refused.get_or_create(&OfBudget { brand: self.brand, budget }).inc();
    }

    /// A response left from the cache.
    pub fn cache_hit(&self) {
        self.cache_hits.inc();
    }

    /// A response left from the cache that the database could not confirm.
    pub fn cache_stale_hit(&self) {
        self.cache_stale.inc();
    }

    /// The database was queried for a response that will be cached.
    pub fn cache_miss(&self) {
        self.cache_misses.inc();
    }

    /// The answers in the cache and the bytes that they take.
    pub fn cache(&self, entries: usize, bytes: u64) {
        let of = Of { brand: self.brand };
        ALL.cache_entries.get_or_create(&of).set(entries.try_into().unwrap_or(i64::MAX));
        ALL.cache_bytes.get_or_create(&of).set(bytes.try_into().unwrap_or(i64::MAX));
    }

    /// A pass will be made from now on: one that never succeeds stands since here.
    pub fn register_job(&self, pass: &'static str) {
        ALL.pass_succeeded_at.get_or_create(&OfPass { brand: self.brand, pass }).set(now_s());
    }

    /// A pass of the workers ended.
    pub fn job_finished(&self, pass: &'static str, succeeded: bool, took: Duration) {
        let of = OfPass { brand: self.brand, pass };
        ALL.passes.get_or_create(&of).inc();
        ALL.pass_seconds.get_or_create(&of).inc_by(took.as_secs_f64());
        match succeeded {
            true => drop(ALL.pass_succeeded_at.get_or_create(&of).set(now_s())),
            false => drop(ALL.pass_failures.get_or_create(&of).inc()),
        }
    }

    /// When the certificate in use ends, in seconds since 1970.
    pub fn certificate(&self, not_after_s: i64) {
        ALL.certificate_ends_at.get_or_create(&Of { brand: self.brand }).set(not_after_s);
    }

    /// Connections to PostgreSQL, and how many there are of each sort.
    pub fn connections(&self, counts: [(&'static str, usize); 4]) {
        for (state, count) in counts {
            ALL.pool.get_or_create(&OfState { brand: self.brand, state }).set(count.try_into().unwrap_or(i64::MAX));
        }
    }

    /// Whether a part that the brand stands on answers.
    pub fn up(&self, part: &'static str, is_up: bool) {
        ALL.up.get_or_create(&OfPart { brand: self.brand, part }).set(is_up.into());
    }

    /// `None`: it cannot be told now, and no old figure may stand for it.
    pub fn queue(&self, queue: &'static str, figures: Option<Queue>) {
        let of = OfQueue { brand: self.brand, queue };
        match figures {
            Some(figures) => {
                ALL.queue_waiting.get_or_create(&of).set(figures.waiting);
                ALL.queue_failed.get_or_create(&of).set(figures.failed);
                ALL.queue_oldest_s.get_or_create(&of).set(figures.oldest_s);
            }
            None => {
                ALL.queue_waiting.remove(&of);
                ALL.queue_failed.remove(&of);
                ALL.queue_oldest_s.remove(&of);
            }
        }
    }

    /// How many payments there are in a state; `None` as in [`Metrics::queue`].
    pub fn payments(&self, state: &'static str, count: Option<i64>) {
        let of = OfState { brand: self.brand, state };
        match count {
            Some(count) => drop(ALL.payments.get_or_create(&of).set(count)),
            None => drop(ALL.payments.remove(&of)),
        }
    }
}

/// A reload of the process ended.
pub fn reload_finished(succeeded: bool) {
    ALL.reload_successful.set(succeeded.into());
    if succeeded {
        ALL.reload_succeeded_at.set(now_s());
    }
}

/// Everything as OpenMetrics text.
pub fn render() -> Result<String, std::fmt::Error> {
    process::look(&ALL.process);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &ALL.registry)?;
    Ok(text)
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().try_into().unwrap_or(i64::MAX))
}

/// A brand's name as a label that lives as long as the process. There are as many as brands.
fn lasting(name: &str) -> &'static str {
    static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.iter().find(|known| **known == name) {
        return known;
    }
    let lasting: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.push(lasting);
    lasting
}

/// The methods that have a series of their own, and `other`: a client may send any word.
pub fn known(method: &hyper::Method) -> &'static str {
    ["GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "PUT"]
        .into_iter()
        .find(|name| *name == method.as_str())
        .unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_invents_is_one_series() {
        let metrics = Metrics::of("unit");
        for word in ["BREW", "WHEN", "PROPFIND"] {
            let method = hyper::Method::from_bytes(word.as_bytes()).expect("a token");
            metrics.request_finished(&method, "", 405, Duration::from_millis(2));
        }
        let text = render().expect("text");
        let line = "brandgate_http_requests_total{brand=\"unit\",method=\"other\",route=\"none\",status=\"405\"} 3";
        assert!(text.lines().any(|l| l == line), "{text}");
        let bucket = "brandgate_http_request_duration_seconds_bucket{le=\"0.0025\",brand=\"unit\",method=\"other\",route=\"none\"} 3";
        assert!(text.lines().any(|l| l == bucket), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn what_cannot_be_told_is_absent() {
        let metrics = Metrics::of("absent");
        metrics.queue("mail", Some(Queue { waiting: 2, failed: 1, oldest_s: 30.5 }));
        let series = |text: &str| text.lines().filter(|l| l.contains("brand=\"absent\",queue=")).count();
        assert_eq!(series(&render().expect("text")), 3);
        metrics.queue("mail", None);
        assert_eq!(series(&render().expect("text")), 0);
    }

    #[test]
    fn an_open_connection_is_counted_until_it_ends() {
        let metrics = Metrics::of("open");
        let (one, two) = (metrics.connection_opened(), Metrics::of("open").connection_opened());
        assert_eq!(metrics.connections.get(), 2);
        drop((one, two));
        assert_eq!((metrics.connections.get(), metrics.accepted.get()), (0, 2));
    }
}
