//! The work behind the requests: every pass of every domain, and who drives it.
//!
//! Called by `bin/brandgate work`, on as many instances as there are: a pass takes no input, may run twice at once, and does
//! its own claiming. What must never happen: a pass that fails ends the others.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::brand::Brand;
use crate::error::Result;
use crate::{cart, payments, telegram};

type Work = Pin<Box<dyn Future<Output = Result<u64>> + Send>>;

/// Work that is done every so often; it returns how much there was to do.
struct Pass {
    name: &'static str,
    every: Duration,
    run: fn(Arc<Brand>) -> Work,
}

/// Every pass there is.
static PASSES: &[Pass] = &[
    Pass {
        name: "forget carts",
        every: Duration::from_secs(600),
        run: |brand| Box::pin(async move { cart::forget(&brand).await }),
    },
    Pass {
        name: "follow payments",
        every: Duration::from_secs(1),
        run: |brand| Box::pin(async move { payments::worker::follow(&brand).await }),
    },
];

/// Does a brand's work until `stop`; what has been begun is finished.
pub async fn run(brand: Arc<Brand>, stop: CancellationToken) {
    let running = TaskTracker::new();
    for pass in PASSES {
        running.spawn(drive(pass, brand.clone(), stop.clone()));
    }
    running.spawn(telegram::worker::run(brand, stop));
    running.close();
    running.wait().await;
}

async fn drive(pass: &'static Pass, brand: Arc<Brand>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match (pass.run)(brand.clone()).await {
            Ok(0) => {}
            Ok(done) => tracing::info!(brand = brand.name(), pass = pass.name, done, "worked"),
            Err(error) => tracing::warn!(brand = brand.name(), pass = pass.name, %error, "will be tried again"),
        }
        tokio::select! {
            () = tokio::time::sleep(pass.every) => {}
            () = stop.cancelled() => {}
        }
    }
}
