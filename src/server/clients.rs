//! A brand's open connections by client network, and which of them are closed when connections run short.
//!
//! # Invariants
//!
//! - A network is known here as long as it has a connection.
//! - Only idle connections are closed for others: a request or response in progress is never cut off.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::Limits;
use crate::http::rate_limit::network_of;
use crate::server::connection_snapshot::Lifecycle;
use crate::server::connection_state::ConnectionState;
use crate::tenant::account::{Account, Bounds, Level, Reservation, Resource};

/// A connection with more refusals because of unread responses is closed.
const TOLERATED_REFUSALS: u32 = 50;

/// A connection that holds no more keeps its place when its network is over its bound.
const TOLERATED_BYTES: u64 = 16_384;

/// A connection without a complete first request is closed for others only when it is older: its client may be about to
/// send it.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// A connection is closed for others only when it has been idle longer: browsers send requests in quick succession.
const IDLE_GRACE: Duration = Duration::from_millis(100);

/// How long a connection that waits for another to close waits before more idle ones are closed.
const EVICTION_INTERVAL: Duration = Duration::from_millis(100);

/// The network of connections whose PROXY header has not arrived.
const UNKNOWN_NETWORK: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The connections of one brand.
pub(crate) struct Clients {
    brand: Arc<Account>,
    limits: Mutex<Limits>,
    networks: Mutex<HashMap<IpAddr, Network>>,
    next_id: AtomicU64,
    /// Notified when a connection closes.
    closed: Notify,
}

struct Network {
    account: Arc<Account>,
    connections: HashMap<u64, Arc<ConnectionHandle>>,
}

/// What others need to know of a connection to close it.
pub(crate) struct ConnectionHandle {
    accepted_at: Instant,
    /// Set after the handshake.
    state: OnceLock<Arc<ConnectionState>>,
    is_evicted: AtomicBool,
    is_aborted: AtomicBool,
    /// Requests that were refused because of what the client has not read.
    refusals: AtomicU32,
    waker: AtomicWaker,
}

impl ConnectionHandle {
    fn new() -> ConnectionHandle {
        ConnectionHandle {
            accepted_at: Instant::now(),
            state: OnceLock::new(),
            is_evicted: AtomicBool::new(false),
            is_aborted: AtomicBool::new(false),
            refusals: AtomicU32::new(0),
            waker: AtomicWaker::new(),
        }
    }

    /// The handshake is complete: from now on the connection is idle when its state says so.
    pub(super) fn set_state(&self, state: &Arc<ConnectionState>) {
        // Set once: a connection has one handshake.
        let _ = self.state.set(state.clone());
    }

    /// Asks the connection to close as soon as what it does is done.
    pub(super) fn evict(&self) {
        self.is_evicted.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Closes the connection at once, with all that waits to be sent.
    pub(super) fn abort(&self) {
        self.is_aborted.store(true, Ordering::Release);
        self.evict();
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.is_aborted.load(Ordering::Acquire)
    }

    /// Completes when the connection is to be closed. One task at a time may wait; it registers its waker once.
    pub(super) async fn evicted(&self) {
        let mut is_registered = false;
        std::future::poll_fn(|cx| {
            if !is_registered {
                self.waker.register(cx.waker());
                is_registered = true;
            }
            match self.is_evicted.load(Ordering::Acquire) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    /// Whether closing it cuts nothing off, and it has not been asked to close yet.
    fn is_evictable(&self, now: Instant) -> bool {
        if self.is_evicted.load(Ordering::Relaxed) {
            return false;
        }
        let Some(state) = self.state.get() else { return now >= self.accepted_at + FIRST_REQUEST_GRACE };
        let snapshot = state.snapshot();
        let idle_from = match snapshot.lifecycle {
            Lifecycle::AwaitingFirstRequest => snapshot.created_at + FIRST_REQUEST_GRACE,
            Lifecycle::KeepAlive | Lifecycle::LastResponse => snapshot.last_activity + IDLE_GRACE,
        };
        !snapshot.requests.any() && !snapshot.is_writing() && now >= idle_from
    }
}

/// The client at the other end of a connection, and what is held for it.
#[derive(Clone)]
pub struct ConnectionClient {
    pub(crate) address: IpAddr,
    pub(crate) account: Arc<Account>,
    pub(super) handle: Arc<ConnectionHandle>,
}

impl ConnectionClient {
    /// Notes a read that was refused because of bytes that were not read yet, at this level. Refusals take memory, too: a
    /// connection with many of its own in a row, or with a share of a network that is over its bound, is closed.
    pub(super) fn bytes_refused(&self, level: Level) {
        let network_is_over = || self.account.parent().is_some_and(|network| network.is_over(Resource::Bytes));
        let is_too_much = match level {
            Level::Connection => self.handle.refusals.fetch_add(1, Ordering::Relaxed) >= TOLERATED_REFUSALS,
            Level::Network => self.account.held(Resource::Bytes) > TOLERATED_BYTES && network_is_over(),
            Level::Brand => false,
        };
        if is_too_much {
            self.handle.abort();
        }
    }

    /// Notes that the client has room for a response again.
    pub(super) fn bytes_granted(&self) {
        if self.handle.refusals.load(Ordering::Relaxed) > 0 {
            self.handle.refusals.store(0, Ordering::Relaxed);
        }
    }
}

/// An admitted connection; dropping it makes room for another.
pub(crate) struct ConnectionSlot {
    clients: Arc<Clients>,
    network: IpAddr,
    id: u64,
    pub(super) client: ConnectionClient,
    reservation: Option<Reservation>,
}

impl ConnectionSlot {
    /// Moves the connection of a load balancer to the network of the client whose address its PROXY header states.
    ///
    /// # Errors
    /// The level that has too many connections.
    pub(super) fn move_to(self, address: IpAddr) -> Result<ConnectionSlot, Level> {
        if self.network != UNKNOWN_NETWORK {
            return Ok(self);
        }
        let clients = self.clients.clone();
        drop(self);
        clients.admit(Some(address))
    }
}

impl Clients {
    /// `brand` is the account of the brand itself.
    pub(crate) fn new(brand: Arc<Account>, limits: Limits) -> Arc<Clients> {
        Arc::new(Clients {
            brand,
            limits: Mutex::new(limits),
            networks: Mutex::default(),
            next_id: AtomicU64::new(0),
            closed: Notify::new(),
        })
    }

    /// Applies other limits to new connections and requests.
    pub(crate) fn set_limits(&self, limits: Limits) {
        self.brand.set_bounds(&Bounds::of_brand(&limits));
        *lock(&self.limits) = limits;
        for (address, network) in lock(&self.networks).iter() {
            if *address != UNKNOWN_NETWORK {
                network.account.set_bounds(&Bounds::of_network(&limits));
            }
        }
        self.closed.notify_waiters();
    }

    /// Admits a connection from this address (`None`: its PROXY header will tell). When the brand has no connection left,
    /// closes idle ones until there is one.
    ///
    /// # Errors
    /// The client's network has too many connections.
    pub(crate) async fn admit_when_possible(
        self: &Arc<Clients>,
        address: Option<IpAddr>,
    ) -> Result<ConnectionSlot, Level> {
        loop {
            let mut closed = std::pin::pin!(self.closed.notified());
            closed.as_mut().enable();
            match self.admit(address) {
                Err(Level::Brand) => {
                    self.evict_idle(Instant::now());
                    let _ = tokio::time::timeout(EVICTION_INTERVAL, closed).await;
                }
                admitted => return admitted,
            }
        }
    }

    /// Admits a connection from this address.
    ///
    /// # Errors
    /// The level that has too many connections.
    pub(crate) fn admit(self: &Arc<Clients>, address: Option<IpAddr>) -> Result<ConnectionSlot, Level> {
        let limits = *lock(&self.limits);
        let network_address = address.map_or(UNKNOWN_NETWORK, network_of);
        let mut networks = lock(&self.networks);
        let network = networks.entry(network_address).or_insert_with(|| {
            let bounds = if address.is_some() { Bounds::of_network(&limits) } else { Bounds::UNLIMITED };
            let account = Account::new(Level::Network, &bounds, Some(self.brand.clone()));
            Network { account, connections: HashMap::new() }
        });
        let account = Account::new(Level::Connection, &Bounds::of_connection(&limits), Some(network.account.clone()));
        match account.reserve(Resource::Connections, 1, 100) {
            Ok(reservation) => {
                let id = self.next_id.fetch_add(1, Ordering::Relaxed);
                let handle = Arc::new(ConnectionHandle::new());
                network.connections.insert(id, handle.clone());
                let client = ConnectionClient { address: address.unwrap_or(UNKNOWN_NETWORK), account, handle };
                let reservation = Some(reservation);
                Ok(ConnectionSlot { clients: self.clone(), network: network_address, id, client, reservation })
            }
            Err(level) => {
                if network.connections.is_empty() {
                    networks.remove(&network_address);
                }
                Err(level)
            }
        }
    }

    /// Closes idle connections of the largest network that has some, a tenth of its connections; returns how many.
    fn evict_idle(&self, now: Instant) -> usize {
        let networks = lock(&self.networks);
        let has_idle = |network: &&Network| network.connections.values().any(|connection| connection.is_evictable(now));
        let Some(largest) = networks.values().filter(has_idle).max_by_key(|network| network.connections.len()) else {
            return 0;
        };
        let idle = largest.connections.values().filter(|connection| connection.is_evictable(now));
        idle.take(largest.connections.len().div_ceil(10)).map(|connection| connection.evict()).count()
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        {
            let mut networks = lock(&self.clients.networks);
            drop(self.reservation.take());
            if let Some(network) = networks.get_mut(&self.network) {
                network.connections.remove(&self.id);
                if network.connections.is_empty() {
                    networks.remove(&self.network);
                }
            }
        }
        self.clients.closed.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients() -> Arc<Clients> {
        let limits = Limits {
            connections: 10,
            connections_per_address: 6,
            requests: 100,
            requests_per_address: 10,
            reads_percent: 80,
            writes_percent: 95,
            uploads: 10,
            uploads_per_address: 5,
            buffered_bytes: 1_000,
            buffered_bytes_per_address: 500,
            buffered_bytes_per_connection: 100,
            min_send_bytes_per_s: 1_000,
            header_fields: 100,
            head_bytes: 65_536,
            body_bytes: 262_144,
            h2_streams: 100,
        };
        Clients::new(Account::new(Level::Brand, &Bounds::of_brand(&limits), None), limits)
    }

    fn admit(clients: &Arc<Clients>, address: &str) -> Result<ConnectionSlot, Level> {
        clients.admit(Some(address.parse().expect("an address")))
    }

    #[test]
    fn one_network_gets_its_share_and_leaves_the_rest_to_others() {
        let clients = clients();
        let mut first: Vec<_> =
            (0..6).map(|host| admit(&clients, &format!("2001:db8::{host}")).expect("within the share")).collect();
        assert_eq!(admit(&clients, "2001:db8::99").err(), Some(Level::Network));
        let second: Vec<_> = (0..4).map(|_| admit(&clients, "192.0.2.1").expect("within the share")).collect();
        assert_eq!(admit(&clients, "192.0.2.2").err(), Some(Level::Brand));
        first.pop();
        assert!(admit(&clients, "192.0.2.2").is_ok());
        drop((first, second));
        assert_eq!(lock(&clients.networks).len(), 0, "networks without connections are forgotten");
        assert_eq!(clients.brand.held(Resource::Connections), 0);
    }

    #[test]
    fn idle_connections_of_the_largest_network_are_closed_first() {
        let clients = clients();
        let slots = |count, address| -> Vec<_> {
            (0..count).map(|_| admit(&clients, address).expect("within the share")).collect()
        };
        let (large, small) = (slots(5, "192.0.2.1"), slots(3, "192.0.2.2"));
        let state = Arc::new(ConnectionState::new());
        let _request = state.start_request();
        large[..4].iter().for_each(|slot| slot.client.handle.set_state(&state));
        let evicted = |slots: &[ConnectionSlot]| {
            slots.iter().filter(|slot| slot.client.handle.is_evicted.load(Ordering::Relaxed)).count()
        };
        assert_eq!(clients.evict_idle(Instant::now()), 0, "their first requests may be on their way");
        let later = Instant::now() + FIRST_REQUEST_GRACE;
        assert_eq!(clients.evict_idle(later), 1);
        assert!((evicted(&large[4..]), evicted(&small)) == (1, 0), "the only idle one of the largest");
        assert_eq!(clients.evict_idle(later), 1);
        assert_eq!((evicted(&large), evicted(&small)), (1, 1), "the others are busy");
    }

    #[tokio::test]
    async fn connection_over_the_limit_is_admitted_when_another_closes() {
        let clients = clients();
        let mut slots: Vec<_> =
            (0..10).map(|number| admit(&clients, &format!("192.0.2.{number}")).expect("within the limit")).collect();
        let waiting = clients.admit_when_possible(Some("192.0.2.99".parse().expect("an address")));
        let close_evicted = async {
            loop {
                slots.retain(|slot| !slot.client.handle.is_evicted.load(Ordering::Relaxed));
                tokio::time::sleep(EVICTION_INTERVAL).await;
            }
        };
        let admitted = tokio::select! {
            admitted = waiting => admitted,
            () = close_evicted => unreachable!("it never ends"),
        };
        assert!(admitted.is_ok());
    }

    #[test]
    fn connection_of_a_balancer_belongs_to_the_client_of_its_header() {
        let clients = clients();
        let unknown: Vec<_> = (0..7).map(|_| clients.admit(None).expect("not limited by network")).collect();
        let moved: Vec<_> = unknown.into_iter().map(|slot| slot.move_to("192.0.2.1".parse().expect("one"))).collect();
        assert_eq!(moved.iter().filter(|slot| slot.is_ok()).count(), 6);
        assert_eq!(clients.brand.held(Resource::Connections), 6);
    }
}
