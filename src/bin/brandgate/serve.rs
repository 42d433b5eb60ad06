//! `brandgate serve`: all brands, until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;

use brandgate::brand::Brand;
use brandgate::clock::Clock;
use brandgate::config::BrandConfig;
use brandgate::routes::routes;
use brandgate::serve::Door;
use brandgate::{admin, net};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[derive(clap::Args)]
pub struct Arguments {
    /// Where /healthz and /readyz are answered, in plain HTTP; loopback only
    #[arg(long, env = "BRANDGATE_ADMIN", default_value = "127.0.0.1:9445")]
    admin: SocketAddr,
}

pub async fn run(configs: Vec<BrandConfig>, arguments: Arguments) -> Result<(), String> {
    if !arguments.admin.ip().is_loopback() {
        return Err(format!("--admin {}: only a loopback address, it shows all brands", arguments.admin));
    }
    let admin_socket = net::listen::bind(arguments.admin)?;
    let brands = configs.into_iter().map(Brand::new).collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    let doors = prepare(&brands)?;
    let stop = CancellationToken::new();
    let router = Arc::new(routes());
    let running = TaskTracker::new();
    for door in doors {
        running.spawn(door.serve(router.clone(), stop.clone()));
    }
    tokio::spawn(admin::serve(admin_socket, brands.clone().into()));

    let opened = open_all(brands);
    let mut ended = Ok(());
    tokio::select! {
        opened = opened => match opened {
            Ok(()) => { tracing::info!("all brands are served"); wait_for_signal().await }
            Err(sentence) => ended = Err(sentence),
        },
        () = wait_for_signal() => {}
    }
    tracing::info!("stopping: no new connections, running requests end");
    stop.cancel();
    running.close();
    running.wait().await;
    ended
}

/// Binds every brand's addresses and loads its certificate; all faults come at once.
fn prepare(brands: &[Arc<Brand>]) -> Result<Vec<Door>, String> {
    let mut faults = Vec::new();
    let mut doors = Vec::new();
    for brand in brands {
        match Door::prepare(brand.clone()) {
            Ok(door) => {
                if door.not_after() < Clock::default().now() {
                    let expired = door.not_after();
                    tracing::error!(brand = brand.name(), %expired, "the certificate has expired: browsers refuse it");
                }
                doors.push(door);
            }
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() { Ok(doors) } else { Err(faults.join("\nbrandgate: ")) }
}

/// Waits until every brand's database is there and fit; one that is unfit ends the process, for a person to mend.
pub async fn open_all(brands: Vec<Arc<Brand>>) -> Result<(), String> {
    let opening = brands.iter().map(|brand| async move {
        brand.open().await?;
        let listen: Vec<String> = brand.config.listen.iter().map(ToString::to_string).collect();
        tracing::info!(brand = brand.name(), listen = listen.join(", "), url = brand.config.public_url, "open");
        Ok::<_, String>(())
    });
    futures_util::future::try_join_all(opening).await.map(|_| ())
}

pub async fn wait_for_signal() {
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be listened to");
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be listened to");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
