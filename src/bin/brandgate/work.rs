//! `brandgate work`: the background jobs of all brands.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use brandgate::config::{LoadedBrands, UnavailableConfig};
use brandgate::platform::postgres::Purpose;
use brandgate::server::admin_listener;
use brandgate::tenant::brand::Brand;
use brandgate::tenant::brands::SharedBrands;
use brandgate::tenant::reload::ConfigSource;
use brandgate::workers;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::process_role::ProcessRole;
use crate::serve::admin_socket;
use crate::supervisor::{RetryArguments, Signals, Supervisor};
use crate::systemd::{self, InheritedSockets};

/// How long a shutdown waits for running jobs; a database that does not respond must not delay a restart.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(clap::Args)]
pub(crate) struct WorkArguments {
    /// Answer /metrics, /healthz and /readyz at this loopback address, in plain HTTP
    #[arg(long, env = "BRANDGATE_WORK_ADMIN", default_value = "127.0.0.1:9446")]
    admin: SocketAddr,
    #[command(flatten)]
    retry: RetryArguments,
}

/// The jobs of a brand under one configuration.
struct Jobs {
    brand: String,
    stop: CancellationToken,
    running: TaskTracker,
}

impl Jobs {
    fn start(brand: &Arc<Brand>) -> Jobs {
        let (stop, running) = (CancellationToken::new(), TaskTracker::new());
        let jobs = Jobs { brand: brand.name().to_owned(), stop, running };
        jobs.running.spawn(workers::run(brand.clone(), jobs.stop.clone()));
        jobs.running.close();
        jobs
    }

    /// Finishes what runs and starts nothing more.
    async fn stop(self) {
        self.stop.cancel();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.running.wait()).await.is_err() {
            let brand = self.brand;
            tracing::warn!(brand, "jobs did not finish in time; abandoned, and run again after their claims expire");
        }
    }
}

/// The running jobs by brand; none of a brand until its database is ready.
#[derive(Default)]
struct Worker(HashMap<String, Jobs>);

impl ProcessRole for Worker {
    const ACTIVITY: &'static str = "working for";
    const UNIT: &'static str = "brandgate-work";
    const IN_PROGRESS: &'static str = "jobs";
    const PURPOSE: Purpose = Purpose::Work;

    fn prepare(&mut self, _brand: &Arc<Brand>) -> Result<(), String> {
        Ok(())
    }

    fn start(&mut self, brand: &Arc<Brand>) {
        if brand.is_ready() {
            self.0.entry(brand.name().to_owned()).or_insert_with(|| Jobs::start(brand));
        }
    }

    fn refuse(&mut self, _name: &str, _config: Option<&UnavailableConfig>) {}

    fn reconfigure(&mut self, _brand: &Arc<Brand>) -> Result<(), String> {
        Ok(())
    }

    async fn reloaded(&mut self, brands: &[Arc<Brand>]) {
        let former: Vec<Jobs> = brands.iter().filter_map(|brand| self.0.remove(brand.name())).collect();
        futures_util::future::join_all(former.into_iter().map(Jobs::stop)).await;
        brands.iter().for_each(|brand| self.start(brand));
    }

    async fn shut_down(self, _brands: &[Arc<Brand>]) {
        futures_util::future::join_all(self.0.into_values().map(Jobs::stop)).await;
    }
}

/// # Errors
/// A socket or option that cannot be used; no brand that can be served.
pub(crate) async fn run(loaded: LoadedBrands, source: ConfigSource, arguments: WorkArguments) -> Result<(), String> {
    let signals = Signals::listen();
    let admin_socket = admin_socket(&mut InheritedSockets::from_environment()?, arguments.admin)?;
    tokio::spawn(systemd::notify_watchdog());
    let brands = SharedBrands::default();
    tokio::spawn(admin_listener::serve(admin_socket, brands.clone()));
    Supervisor::new(Worker::default(), brands, source, signals, &arguments.retry).run(loaded).await
}
