//! Background jobs: the table of all jobs and the loop that runs each one periodically.
//!
//! # Invariants
//!
//! A job takes no input, is idempotent and claims its own work, so several instances may run it at the same time. A job that
//! fails does not affect the others.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::foundation::error::Result;
use crate::platform::failure_streak::FailureStreak;
use crate::platform::postgres::is_unavailable;
use crate::tenant::brand::Brand;
use crate::{books, cart, catalog, mail, payments, search, telegram};

type JobFuture = Pin<Box<dyn Future<Output = Result<u64>> + Send>>;

/// A periodic job. It returns how many rows or messages it processed; after a run that processed some, it runs again at once.
struct Job {
    /// The label `pass` of its metrics.
    name: &'static str,
    interval: Duration,
    run: fn(Arc<Brand>) -> JobFuture,
}

/// The minimum interval after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

static JOBS: &[Job] = &[
    // Sets the clock of this process to the database's.
    Job {
        name: "set clock",
        interval: Duration::from_secs(1),
        run: |brand| Box::pin(async move { brand.set_clock().await.map(|()| 0) }),
    },
    // Deletes the carts of visitors that expired.
    Job {
        name: "forget carts",
        interval: Duration::from_secs(600),
        run: |brand| Box::pin(async move { cart::delete_expired(&brand).await }),
    },
    // Deletes old rows of the catalogue's change log.
    Job {
        name: "forget changes",
        interval: Duration::from_secs(600),
        run: |brand| Box::pin(async move { catalog::delete_old_changes(&brand).await }),
    },
    // Removes personal data whose retention has ended.
    Job {
        name: "forget mails",
        interval: Duration::from_secs(600),
        run: |brand| Box::pin(async move { mail::forget(&brand).await }),
    },
    Job {
        name: "forget addresses",
        interval: Duration::from_secs(600),
        run: |brand| Box::pin(async move { payments::forget_addresses(&brand).await }),
    },
    // Deletes old counts of searches.
    Job {
        name: "forget searches",
        interval: Duration::from_secs(600),
        run: |brand| Box::pin(async move { search::query_counts::delete_old(&brand).await }),
    },
    // Checks once a night that the stored data agrees.
    Job {
        name: "check books",
        interval: Duration::from_secs(600),
        run: |brand| Box::pin(async move { books::check_nightly(&brand).await }),
    },
    // Writes the stock that a killed import has left unwritten.
    Job {
        name: "complete imports",
        interval: Duration::from_secs(5),
        run: |brand| Box::pin(async move { catalog::complete_import(&brand).await }),
    },
    // Sends queued mail by SMTP.
    Job {
        name: "send mail",
        interval: Duration::from_secs(1),
        run: |brand| Box::pin(async move { mail::send_due(&brand).await }),
    },
    // Registers fiscal receipts of completed payments with the provider.
    Job {
        name: "receipts",
        interval: Duration::from_secs(1),
        run: |brand| Box::pin(async move { payments::receipt::send_due(&brand).await }),
    },
    // Queues the receipts that are missing.
    Job {
        name: "missing receipts",
        interval: Duration::from_secs(60),
        run: |brand| Box::pin(async move { payments::receipt::queue_missing(&brand).await }),
    },
    // Polls the provider for the status of refunds in progress.
    Job {
        name: "follow refunds",
        interval: Duration::from_secs(1),
        run: |brand| Box::pin(async move { payments::follow_refunds(&brand).await }),
    },
    // Polls the provider for the status of refunds of money without an order.
    Job {
        name: "follow unknown money",
        interval: Duration::from_secs(60),
        run: |brand| Box::pin(async move { payments::unknown_money::follow_refunds(&brand).await }),
    },
    // Polls the provider for the status of open payments.
    Job {
        name: "follow payments",
        interval: Duration::from_secs(1),
        run: |brand| Box::pin(async move { payments::worker::poll_due(&brand).await }),
    },
];

/// Runs all jobs of a brand and its Telegram bot until `stop` is cancelled; jobs in progress finish first.
pub async fn run(brand: Arc<Brand>, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    for job in JOBS {
        tasks.spawn(run_job(job, brand.clone(), stop.clone()));
    }
    mail::log_delivery_config(&brand);
    tasks.spawn(telegram::worker::run(brand, stop));
    tasks.close();
    tasks.wait().await;
}

async fn run_job(job: &'static Job, brand: Arc<Brand>, stop: CancellationToken) {
    brand.metrics.register_job(job.name);
    let mut failures = FailureStreak::default();
    while !stop.is_cancelled() {
        let mut pause = job.interval;
        let started_at = Instant::now();
        let result = (job.run)(brand.clone()).await;
        brand.metrics.job_finished(job.name, result.is_ok(), started_at.elapsed());
        if result.is_ok()
            && let Some(failed_runs) = failures.succeeded()
        {
            tracing::info!(brand = brand.name(), job = job.name, failed_runs, "background job succeeds again");
        }
        match result {
            Ok(0) => {}
            // There may be more than one run processes.
            Ok(processed) => {
                tracing::debug!(brand = brand.name(), job = job.name, processed, "background job finished");
                continue;
            }
            Err(error) => {
                pause = pause.max(RETRY_INTERVAL);
                let (brand, job, retry_in_s) = (brand.name(), job.name, pause.as_secs());
                if failures.failed(is_unavailable(&error)) {
                    tracing::warn!(brand, job, %error, retry_in_s, "background job failed; it is retried until it succeeds");
                } else {
                    tracing::debug!(brand, job, %error, retry_in_s, "background job failed again");
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}
