//! `brandgate work`: the background jobs of all brands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use brandgate::config::BrandConfig;
use brandgate::platform::postgres::Purpose;
use brandgate::server::admin;
use brandgate::tenant::brand::Brand;
use brandgate::tenant::reload::ConfigSource;
use brandgate::workers;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::serve::admin_socket;
use crate::supervisor::{ProcessRole, Signals, Supervisor, open_all};
use crate::systemd::{self, InheritedSockets};

/// How long a shutdown waits for running jobs; a database that does not respond must not delay a restart.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(clap::Args)]
pub(crate) struct WorkArguments {
    /// Answer /metrics, /healthz and /readyz at this loopback address, in plain HTTP
    #[arg(long, env = "BRANDGATE_WORK_ADMIN", default_value = "127.0.0.1:9446")]
    admin: SocketAddr,
}

/// The jobs of all brands under one configuration.
struct Jobs {
    stop: CancellationToken,
    running: TaskTracker,
}

impl Jobs {
    fn start(brands: &[Arc<Brand>]) -> Jobs {
        let jobs = Jobs { stop: CancellationToken::new(), running: TaskTracker::new() };
        for brand in brands {
            jobs.running.spawn(workers::run(brand.clone(), jobs.stop.clone()));
        }
        jobs.running.close();
        jobs
    }

    /// Finishes what runs and starts nothing more.
    async fn stop(self) {
        self.stop.cancel();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.running.wait()).await.is_err() {
            tracing::warn!("jobs did not finish in time; abandoned, and run again after their claims expire");
        }
    }
}

/// The running jobs; none until all databases are ready.
#[derive(Default)]
struct Worker(Option<Jobs>);

impl ProcessRole for Worker {
    const ACTIVITY: &'static str = "working for";

    fn start(&mut self, brands: &[Arc<Brand>], all_ready: bool) {
        if all_ready {
            self.0 = Some(Jobs::start(brands));
        }
    }

    async fn reloaded(&mut self, brands: &[Arc<Brand>]) {
        if let Some(jobs) = self.0.take() {
            jobs.stop().await;
            self.0 = Some(Jobs::start(brands));
        }
    }

    async fn shut_down(self, _brands: &[Arc<Brand>]) {
        if let Some(jobs) = self.0 {
            jobs.stop().await;
        }
    }
}

pub(crate) async fn run(
    configs: Vec<BrandConfig>,
    source: ConfigSource,
    arguments: WorkArguments,
) -> Result<(), String> {
    let signals = Signals::listen();
    let admin_socket = admin_socket(&mut InheritedSockets::from_environment()?, arguments.admin)?;
    let brands = crate::build_brands(configs, Purpose::Work)?;
    tokio::spawn(systemd::notify_watchdog());
    let opening = tokio::spawn(open_all(brands.clone()));
    let brands = Arc::new(ArcSwap::from_pointee(brands));
    tokio::spawn(admin::serve(admin_socket, brands.clone()));
    Supervisor::new(Worker::default(), brands, source, signals, opening).run().await
}
