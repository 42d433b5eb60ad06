//! The work behind the requests: every pass of every domain, and who drives it.
//!
//! Called by `bin/brandgate work`, on as many instances as there are: a pass takes no input, may run twice at once, and does
//! its own claiming. What must never happen: a pass that fails ends the others.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::foundation::error::Result;
use crate::tenant::brand::Brand;
use crate::{cart, catalog, mail, payments, telegram};

type Work = Pin<Box<dyn Future<Output = Result<u64>> + Send>>;

/// Work that is done every so often; it returns how much there was to do.
struct Job {
    name: &'static str,
    every: Duration,
    run: fn(Arc<Brand>) -> Work,
}

/// What failed once a second would only fill the log.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Every pass there is.
static JOBS: &[Job] = &[
    Job {
        name: "forget carts",
        every: Duration::from_secs(600),
        run: |brand| Box::pin(async move { cart::forget(&brand).await }),
    },
    Job {
        name: "forget changes",
        every: Duration::from_secs(600),
        run: |brand| Box::pin(async move { catalog::forget_changes(&brand).await }),
    },
    Job {
        name: "send mail",
        every: Duration::from_secs(1),
        run: |brand| Box::pin(async move { mail::send_due(&brand).await }),
    },
    Job {
        name: "receipts",
        every: Duration::from_secs(1),
        run: |brand| Box::pin(async move { payments::receipt::send_due(&brand).await }),
    },
    Job {
        name: "follow payments",
        every: Duration::from_secs(1),
        run: |brand| Box::pin(async move { payments::worker::poll_due(&brand).await }),
    },
];

/// Does a brand's work until `stop`; what has been begun is finished.
pub async fn run(brand: Arc<Brand>, stop: CancellationToken) {
    let running = TaskTracker::new();
    for pass in JOBS {
        running.spawn(run_job(pass, brand.clone(), stop.clone()));
    }
    mail::tell_whether_it_is_sent(&brand);
    running.spawn(telegram::worker::run(brand, stop));
    running.close();
    running.wait().await;
}

async fn run_job(pass: &'static Job, brand: Arc<Brand>, stop: CancellationToken) {
    brand.metrics.register_job(pass.name);
    while !stop.is_cancelled() {
        let mut pause = pass.every;
        let begun = Instant::now();
        let ended = (pass.run)(brand.clone()).await;
        brand.metrics.job_finished(pass.name, ended.is_ok(), begun.elapsed());
        match ended {
            Ok(0) => {}
            // There may be more of it.
            Ok(done) => {
                tracing::debug!(brand = brand.name(), pass = pass.name, done, "worked");
                continue;
            }
            Err(error) => {
                tracing::warn!(brand = brand.name(), pass = pass.name, %error, "will be tried again");
                pause = pause.max(AFTER_FAILURE);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}
