//! `brandgate work`: what is done behind the requests, for all brands, until told to stop.

use std::time::Duration;

use brandgate::brand::Brand;
use brandgate::config::BrandConfig;
use brandgate::workers;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::serve::{open_all, wait_for_signal};

/// What has begun may take so long to end; a silent database must not hold up a restart.
const LONGEST_END: Duration = Duration::from_secs(15);

pub async fn run(configs: Vec<BrandConfig>) -> Result<(), String> {
    let brands = configs.into_iter().map(Brand::new).collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    tokio::select! {
        opened = open_all(brands.clone()) => opened?,
        () = wait_for_signal() => return Ok(()),
    }
    let (stop, running) = (CancellationToken::new(), TaskTracker::new());
    for brand in brands {
        running.spawn(workers::run(brand, stop.clone()));
    }
    tracing::info!("working for all brands");
    wait_for_signal().await;
    tracing::info!("stopping: what has been begun is finished");
    stop.cancel();
    running.close();
    if tokio::time::timeout(LONGEST_END, running.wait()).await.is_err() {
        tracing::warn!("something is still waited for; it is left, and done again by whoever comes next");
    }
    Ok(())
}
