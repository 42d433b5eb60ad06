//! `brandgate work`: what is done behind the requests, for all brands, until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::systemd::{self, Inherited};
use arc_swap::ArcSwap;
use brandgate::config::BrandConfig;
use brandgate::platform::postgres::Purpose;
use brandgate::server::admin;
use brandgate::tenant::brand::Brand;
use brandgate::tenant::reload::ConfigSource;
use brandgate::workers;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::process::{self, Asked, LONGEST_OPENING, Requests};
use crate::serve::admin_socket;

const DOING: &str = "working for";

/// What has begun may take so long to end; a silent database must not hold up a restart.
const LONGEST_END: Duration = Duration::from_secs(15);

#[derive(clap::Args)]
pub struct Arguments {
    /// Where /metrics, /healthz and /readyz are answered, in plain HTTP; loopback only
    #[arg(long, env = "BRANDGATE_WORK_ADMIN", default_value = "127.0.0.1:9446")]
    admin: SocketAddr,
}

/// The work of all brands under one configuration.
struct Shift {
    stop: CancellationToken,
    running: TaskTracker,
}

impl Shift {
    fn begin(brands: &[Arc<Brand>]) -> Shift {
        let shift = Shift { stop: CancellationToken::new(), running: TaskTracker::new() };
        for brand in brands {
            shift.running.spawn(workers::run(brand.clone(), shift.stop.clone()));
        }
        shift.running.close();
        shift
    }

    async fn end(self) {
        self.stop.cancel();
        if tokio::time::timeout(LONGEST_END, self.running.wait()).await.is_err() {
            tracing::warn!("something is still waited for; it is left, and done again by whoever comes next");
        }
    }
}

pub async fn run(configs: Vec<BrandConfig>, source: ConfigSource, arguments: Arguments) -> Result<(), String> {
    let mut requests = Requests::new();
    let admin_socket = admin_socket(&mut Inherited::take()?, arguments.admin)?;
    requests.take_reloads();
    let brands = configs
        .into_iter()
        .map(|config| Brand::new(config, Purpose::Work))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| e.to_string())?;
    tokio::spawn(systemd::tell_watchdog());
    let mut present = brands.clone();
    let shown = Arc::new(ArcSwap::from_pointee(brands.clone()));
    tokio::spawn(admin::serve(admin_socket, shown.clone()));
    let mut shift: Option<Shift> = None;
    let opening = process::open_all(brands);
    tokio::pin!(opening);
    let (patience, mut is_told) = (tokio::time::sleep(LONGEST_OPENING), false);
    tokio::pin!(patience);
    let ended = loop {
        tokio::select! {
            opened = &mut opening, if shift.is_none() => match opened {
                Ok(()) => shift = Some(Shift::begin(&present)),
                Err(sentence) => break Err(sentence),
            },
            () = &mut patience, if !is_told => {}
            asked = requests.next() => match asked {
                Asked::Stop => break Ok(()),
                Asked::Reload(asker) => {
                    if let Some(renewal) = process::reload(asker, &source, &present, DOING, |_| Ok(())) {
                        present.clone_from(&renewal.brands);
                        shown.store(Arc::new(present.clone()));
                        if let Some(former) = shift.take() {
                            former.end().await;
                            shift = Some(Shift::begin(&present));
                        }
                        renewal.tell();
                    }
                    continue;
                }
            },
        }
        is_told = true;
        let status = process::status(DOING, &present);
        if shift.is_some() {
            tracing::info!("{status}");
        }
        systemd::ready(&status);
    };
    tracing::info!("stopping: what has been begun is finished");
    systemd::stopping();
    if let Some(shift) = shift {
        shift.end().await;
    }
    ended
}
