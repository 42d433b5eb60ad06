//! `brandgate serve`: all brands, until told to stop.

use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::time::Duration;

use crate::systemd::{self, Inherited};
use arc_swap::ArcSwap;
use brandgate::config::BrandConfig;

use brandgate::platform::postgres::Purpose;
use brandgate::routes::routes;
use brandgate::server::brand_listener::BrandListener;
use brandgate::server::shutdown::Shutdown;
use brandgate::server::{accept, admin};
use brandgate::telemetry::traces;
use brandgate::tenant::brand::Brand;
use brandgate::tenant::reload::{ConfigSource, Reloaded};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::process::{self, Asked, LONGEST_OPENING, Requests};

const DOING: &str = "serving";

/// How often the certificates' files are looked at.
const LOOK_AT_CERTIFICATES_EVERY: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub struct Arguments {
    /// Where /metrics, /healthz and /readyz are answered, in plain HTTP; loopback only
    #[arg(long, env = "BRANDGATE_ADMIN", default_value = "127.0.0.1:9445")]
    admin: SocketAddr,
}

pub async fn run(configs: Vec<BrandConfig>, source: ConfigSource, arguments: Arguments) -> Result<(), String> {
    let mut requests = Requests::new();
    traces::start()?;
    let mut inherited = Inherited::take()?;
    let by_systemd = !inherited.is_empty();
    let admin_socket = admin_socket(&mut inherited, arguments.admin)?;
    let brands = configs
        .into_iter()
        .map(|config| Brand::new(config, Purpose::Visitors))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| e.to_string())?;
    // The databases are asked while the certificates are loaded: the first use of cryptography takes its time.
    let mut opening = tokio::spawn(process::open_all(brands.clone()));
    brands.iter().for_each(|brand| brand.follow_catalog_changes());
    let ending = Shutdown::default();
    let (doors, sockets) = prepare(&brands, &mut inherited, &ending)?;
    for name in inherited.names_left() {
        tracing::warn!("systemd hands over a socket {name}, but there is no such brand");
    }
    requests.take_reloads();
    let present = Arc::new(ArcSwap::from_pointee(brands));
    tokio::spawn(admin::serve(admin_socket, present.clone()));
    tokio::spawn(systemd::tell_watchdog());

    let running = TaskTracker::new();
    // Until the databases are open, or are found to be away, visitors wait in the kernel's queue instead of being refused.
    let mut waiting: Vec<_> = doors.iter().cloned().zip(sockets).collect();
    let (patience, mut is_open) = (tokio::time::sleep(LONGEST_OPENING), false);
    tokio::pin!(patience);
    let mut look = tokio::time::interval(LOOK_AT_CERTIFICATES_EVERY);
    let ended = loop {
        tokio::select! {
            opened = &mut opening, if !is_open => match opened.map_err(|e| e.to_string()).flatten() {
                Ok(()) => is_open = true,
                Err(sentence) => break Err(sentence),
            },
            () = &mut patience, if !waiting.is_empty() => {}
            _ = look.tick() => {
                renew_certificates(&doors);
                continue;
            }
            asked = requests.next() => match asked {
                Asked::Stop => break Ok(()),
                Asked::Reload(asker) => {
                    let former = present.load_full();
                    let exchange = |renewed: &Reloaded| exchange(&doors, renewed);
                    if let Some(renewal) = process::reload(asker, &source, &former, DOING, exchange) {
                        present.store(Arc::new(renewal.brands.clone()));
                        renewal.tell();
                    }
                    continue;
                }
            },
        }
        for (door, sockets) in waiting.drain(..) {
            running.spawn(door.serve(sockets));
        }
        let status = process::status(DOING, &present.load());
        if is_open {
            tracing::info!("{status}");
        }
        systemd::ready(&status);
    };
    tracing::info!("stopping: running requests end");
    systemd::stopping();
    // Before anybody was let in, nothing is served to the end.
    let drains = present.load().iter().map(|brand| brand.config.timeouts.drain).max().filter(|_| waiting.is_empty());
    drop(waiting);
    ending.run(drains.unwrap_or_default(), by_systemd).await;
    running.close();
    running.wait().await;
    tokio::task::spawn_blocking(traces::flush).await.map_err(|e| e.to_string())?;
    ended
}

/// The admin listener's socket, systemd's or our own.
pub fn admin_socket(inherited: &mut Inherited, address: SocketAddr) -> Result<TcpListener, String> {
    let socket = match inherited.named("admin").pop() {
        Some(socket) => TcpListener::from_std(socket).map_err(|e| format!("systemd's socket admin: {e}"))?,
        None => {
            refuse_public(address)?;
            accept::bind(address)?
        }
    };
    refuse_public(socket.local_addr().map_err(|e| e.to_string())?)?;
    Ok(socket)
}

fn refuse_public(address: SocketAddr) -> Result<(), String> {
    match address.ip().is_loopback() {
        true => Ok(()),
        false => Err(format!("--admin {address}: only a loopback address, it shows all brands")),
    }
}

/// Takes or binds every brand's sockets and loads its certificate; all faults come at once.
fn prepare(
    brands: &[Arc<Brand>],
    inherited: &mut Inherited,
    ending: &Shutdown,
) -> Result<(Vec<BrandListener>, Vec<Vec<TcpListener>>), String> {
    let router = Arc::new(routes());
    let by_systemd = !inherited.is_empty();
    let (mut faults, mut doors, mut all_sockets) = (Vec::new(), Vec::new(), Vec::new());
    for brand in brands {
        match sockets_of(brand, inherited.named(brand.name())) {
            Ok(sockets) => {
                let addresses = sockets.iter().filter_map(|socket| socket.local_addr().ok());
                let addresses: Vec<String> = addresses.map(|address| address.to_string()).collect();
                tracing::info!(brand = brand.name(), listen = addresses.join(", "), "listening");
                all_sockets.push(sockets);
            }
            Err(sentence) => {
                let name = brand.name();
                let hint =
                    format!("; systemd hands over no socket {name}: systemctl enable --now brandgate@{name}.socket");
                faults.push(format!("{name}: {sentence}{}", if by_systemd { &hint } else { "" }));
            }
        }
    }
    // After all sockets, because a certificate takes its time: no brand's visitors are refused while another's is loaded.
    for brand in brands {
        match BrandListener::new(brand.clone(), router.clone(), ending.clone()) {
            Ok(door) => {
                if let Some(refusal) = door.refusal() {
                    let file = brand.config.tls.certificate.display();
                    tracing::error!(brand = brand.name(), "{file} {refusal}: browsers refuse it");
                }
                doors.push(door);
            }
            Err(sentence) => faults.push(sentence),
        }
    }
    if faults.is_empty() { Ok((doors, all_sockets)) } else { Err(faults.join("\nbrandgate: ")) }
}

fn sockets_of(brand: &Brand, handed: Vec<StdTcpListener>) -> Result<Vec<TcpListener>, String> {
    if handed.is_empty() {
        return brand.config.listen.iter().map(|address| accept::bind(*address)).collect();
    }
    handed.into_iter().map(|socket| TcpListener::from_std(socket).map_err(|e| e.to_string())).collect()
}

/// All doors or none.
fn exchange(doors: &[BrandListener], renewed: &Reloaded) -> Result<(), String> {
    let rehearsed = doors.iter().zip(&renewed.brands).map(|(door, brand)| door.prepare(brand.clone()));
    let rehearsed = rehearsed.collect::<Result<Vec<_>, _>>()?;
    for (door, present) in doors.iter().zip(rehearsed) {
        door.apply(present);
    }
    Ok(())
}

fn renew_certificates(doors: &[BrandListener]) {
    for door in doors {
        let brand = door.brand();
        match door.renew() {
            None => {}
            Some(Ok(not_after)) => tracing::info!(brand = brand.name(), %not_after, "a new certificate is in use"),
            Some(Err(sentence)) => {
                tracing::error!("the certificate was replaced, but the former stays in use: {sentence}");
            }
        }
    }
}
