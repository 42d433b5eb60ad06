//! Gauges that are computed at scrape time: queue lengths, payments by state, held stock, connections, cache size.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::books::CheckedBook;
use crate::foundation::error::Result;
use crate::telemetry::metrics::Metrics;
use crate::tenant::account::{Level, Resource};
use crate::tenant::brand::{Brand, DEPENDENCIES};
use crate::{books, mail, payments};

/// The minimum time between two queries of the databases, however many clients scrape.
const QUERY_INTERVAL: Duration = Duration::from_secs(5);

/// The time limit of a query; after it, its gauges are absent.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// Updates the gauges of all brands.
pub(crate) async fn collect(brands: &[Arc<Brand>]) {
    static LAST_QUERIED: LazyLock<Mutex<Option<Instant>>> = LazyLock::new(Mutex::default);
    let mut last_queried = LAST_QUERIED.lock().await;
    if last_queried.is_none_or(|at| at.elapsed() >= QUERY_INTERVAL) {
        futures_util::future::join_all(brands.iter().map(|brand| query(brand))).await;
        *last_queried = Some(Instant::now());
    }
    drop(last_queried);
    for brand in brands {
        let metrics = &brand.metrics;
        for (state, count) in brand.connection_counts() {
            metrics.postgresql_connections(state).set(gauge(count));
        }
        for resource in Resource::ALL {
            // The series exists before the first refusal, so that its rate is known.
            metrics.limit_refusals(resource.name(), Level::Brand.name());
            metrics.limit_held(resource.name()).set(gauge(brand.account.held(resource)));
        }
        let (entries, bytes) = brand.cache.size();
        metrics.clock_offset_seconds().set(brand.clock.ahead_of_machine().as_secs_f64());
        metrics.cache_entries().set(gauge(entries));
        metrics.cache_size_bytes().set(gauge(bytes));
    }
}

fn gauge(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

async fn query(brand: &Brand) {
    let metrics = &brand.metrics;
    let (unavailable, mail, payments, held, books) = tokio::join!(
        brand.unavailable_dependencies(),
        tokio::time::timeout(QUERY_TIMEOUT, mail::queue_metrics(brand)),
        tokio::time::timeout(QUERY_TIMEOUT, payments::counts(brand)),
        tokio::time::timeout(QUERY_TIMEOUT, payments::held_shares(brand)),
        tokio::time::timeout(QUERY_TIMEOUT, books::last_checked(brand)),
    );
    for part in DEPENDENCIES {
        metrics.up(part).set((!unavailable.contains(&part)).into());
    }
    let (mail, payments) = (mail.ok().and_then(Result::ok), payments.ok().and_then(Result::ok));
    set_books(metrics, &books.ok().and_then(Result::ok).unwrap_or_default());
    metrics.set_queue("mail", mail);
    metrics.set_queue("receipts", payments.as_ref().map(|counts| counts.receipts));
    let held = held.ok().and_then(Result::ok);
    metrics.set_stock_held("users", held.map(|shares| shares.users));
    metrics.set_stock_held("visitors", held.map(|shares| shares.visitors));
    for (index, state) in payments::STATES.into_iter().enumerate() {
        metrics.set_payments(state, payments.as_ref().map(|counts| counts.by_state[index]));
    }
}

/// A book that was never checked, or does not apply to the brand, has no series.
fn set_books(metrics: &Metrics, checked: &[CheckedBook]) {
    for name in books::names() {
        let book = checked.iter().find(|checked| checked.book == name);
        metrics.set_book(name, book.map(|book| (book.errors, book.checked_at.as_second())));
    }
}
