//! The figures that nobody counts as they happen: they are asked for when somebody looks at `/metrics`.
//!
//! Called by `admin`. It asks the domains, as `workers` does, and keeps what it was told for a while, so that many who look cost
//! the database no more than one. What must never happen: who looks waits for a database that does not answer.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::tenant::brand::Brand;
use crate::{mail, payments};

/// How long what was told is told again.
const FRESH_FOR: Duration = Duration::from_secs(5);

/// How long the database may take to tell it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Brings the figures of all brands up to date.
pub async fn collect(brands: &[Arc<Brand>]) {
    static LOOKED: LazyLock<Mutex<Option<Instant>>> = LazyLock::new(Mutex::default);
    let mut looked = LOOKED.lock().await;
    if looked.is_none_or(|at| at.elapsed() >= FRESH_FOR) {
        futures_util::future::join_all(brands.iter().map(|brand| look_at(brand))).await;
        *looked = Some(Instant::now());
    }
    drop(looked);
    for brand in brands {
        brand.metrics.connections(brand.connections());
        let (entries, bytes) = brand.cache.size();
        brand.metrics.cache(entries, bytes);
    }
}

async fn look_at(brand: &Brand) {
    let metrics = &brand.metrics;
    let (lacks, mail, payments) = tokio::join!(
        brand.unavailable_dependencies(),
        tokio::time::timeout(PATIENCE, mail::queue_metrics(brand)),
        tokio::time::timeout(PATIENCE, payments::counts(brand)),
    );
    for part in ["postgresql", "redis"] {
        metrics.up(part, !lacks.iter().any(|lack| lack == part));
    }
    let (mail, payments) = (mail.ok().and_then(Result::ok), payments.ok().and_then(Result::ok));
    metrics.queue("mail", mail);
    metrics.queue("receipts", payments.as_ref().map(|figures| figures.receipts));
    for (index, state) in payments::STATES.into_iter().enumerate() {
        metrics.payments(state, payments.as_ref().map(|figures| figures.by_state[index]));
    }
}
