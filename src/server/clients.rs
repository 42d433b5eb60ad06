//! A brand's open connections by client network, and which of them are closed when connections, bytes or requests run short.
//!
//! # Invariants
//!
//! - A network is known here as long as it has a connection, and as long as something is held for one that has closed.
//! - A response in progress is cut off only when its client has stalled and another client needs what is held for it, or its
//!   connection while none is idle.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::Limits;
use crate::foundation::error::Error;
use crate::http::rate_limit::network_of;
use crate::server::connection_handle::ConnectionHandle;
use crate::server::refusals::{self, Refusals};
use crate::telemetry::metrics::Metrics;
use crate::tenant::account::{Account, Bounds, Level, Reservation, Resource};

/// A connection that holds no more keeps its place when its network is over its bound.
const TOLERATED_BYTES: u64 = 16_384;

/// How long a connection that waits for another to close waits before more idle ones are closed.
const EVICTION_INTERVAL: Duration = Duration::from_millis(100);

/// A network in which no connection was found that holds enough is not searched again for less than this time: its refusals would cost
/// others more than it does itself.
const SEARCH_INTERVAL: Duration = Duration::from_millis(100);

/// Fewer networks than this are not searched for those that hold nothing any more.
const MIN_PRUNED_NETWORKS: usize = 64;

/// The network of connections whose PROXY header has not arrived.
const UNKNOWN_NETWORK: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The connections of one brand.
pub(crate) struct Clients {
    brand: Arc<Account>,
    refusals: Arc<Refusals>,
    limits: Mutex<Limits>,
    networks: Mutex<Networks>,
    next_id: AtomicU64,
    /// Notified when a connection closes.
    closed: Notify,
}

#[derive(Default)]
struct Networks {
    by_address: HashMap<IpAddr, Network>,
    /// Above so many, those that hold nothing any more are forgotten.
    prune_above: usize,
    /// Of the network that holds most.
    searches: Searches,
}

struct Network {
    account: Arc<Account>,
    connections: HashMap<u64, Arc<ConnectionClient>>,
    searches: Searches,
}

/// The last search for stalled connections, of each resource: its time, and how much one of them held at most.
type Searches = [Option<(Instant, u64)>; Resource::COUNT];

impl Network {
    /// Whether nothing is held for it, not even by a handler that has outlived its connection.
    fn is_unused(&self) -> bool {
        self.connections.is_empty() && Arc::strong_count(&self.account) == 1
    }
}

/// The client at the other end of a connection, and what is held for it.
pub struct ConnectionClient {
    pub(crate) address: IpAddr,
    pub(crate) account: Arc<Account>,
    pub(super) handle: Arc<ConnectionHandle>,
    clients: Arc<Clients>,
}

impl ConnectionClient {
    /// As [`Account::reserve`] of the connection; where its network or brand is at its bound, for the price of a connection
    /// that has stalled.
    ///
    /// # Errors
    /// The level whose bound would be passed.
    pub(super) fn reserve(&self, resource: Resource, amount: u64, brand_percent: u64) -> Result<Reservation, Level> {
        self.account.reserve(resource, amount, brand_percent).or_else(|level| {
            let is_made = self.clients.make_room(self, resource, level, amount, Instant::now());
            is_made.then(|| self.account.hold(resource, amount)).ok_or(level)
        })
    }

    /// As [`Reservation::grow`] of a reservation of the connection; where its network or brand is at its bound, for the price
    /// of a connection that has stalled.
    ///
    /// # Errors
    /// The level whose bound would be passed.
    pub(super) fn grow(&self, held: &mut Reservation, amount: u64, brand_percent: u64) -> Result<(), Level> {
        held.grow(amount, brand_percent).or_else(|level| {
            let is_made = self.clients.make_room(self, Resource::Bytes, level, amount, Instant::now());
            is_made.then(|| held.grow_beyond(amount)).ok_or(level)
        })
    }

    /// Notes a read that was refused because of bytes that were not read yet, at this level. Refusals take memory, too: a
    /// stalled connection with many of its own in a row, or with a share of a network that is over its bound, is closed. A client
    /// that reads has only sent more requests at once than its share, and keeps its connection.
    pub(super) fn bytes_refused(&self, level: Level, now: Instant) {
        let network_is_over = || self.account.parent().is_some_and(|network| network.is_over(Resource::Bytes));
        let is_too_much = match level {
            Level::Connection => self.handle.refused(),
            Level::Network => self.account.held(Resource::Bytes) > TOLERATED_BYTES && network_is_over(),
            Level::Brand => false,
        };
        if is_too_much && self.handle.is_stalled(now) {
            self.handle.abort();
        }
    }

    /// 503 for a request that would exceed a limit of this client, which is recorded.
    #[track_caller]
    pub(super) fn overloaded(&self, resource: Resource, level: Level) -> Error {
        self.clients.refusals.record(resource, level);
        refusals::overloaded()
    }

    /// Notes that the client has room for a response again.
    pub(super) fn bytes_granted(&self) {
        self.handle.granted();
    }
}

/// An admitted connection; dropping it makes room for another. Its fields are dropped in this order.
pub(crate) struct ConnectionSlot {
    pub(super) client: Arc<ConnectionClient>,
    reservation: Option<Reservation>,
    membership: Membership,
}

/// The entry of a connection in its network.
struct Membership {
    clients: Arc<Clients>,
    network: IpAddr,
    id: u64,
}

impl ConnectionSlot {
    /// Moves the connection of a load balancer to the network of the client whose address its PROXY header states. It keeps its
    /// handle, so that who waits for its eviction still learns of it.
    ///
    /// # Errors
    /// The level that has too many connections.
    pub(super) fn move_to(mut self, address: IpAddr) -> Result<ConnectionSlot, Level> {
        if self.membership.network != UNKNOWN_NETWORK {
            return Ok(self);
        }
        let clients = self.membership.clients.clone();
        // Locked until it has its place again: no other connection takes it in between.
        let mut networks = lock(&clients.networks);
        drop(self.reservation.take());
        let moved = clients.admit_with(&mut networks, Some(address), self.client.handle.clone());
        drop(networks);
        moved
    }
}

impl Clients {
    /// `brand` is the account of the brand itself.
    pub(crate) fn new(brand: Arc<Account>, limits: Limits, metrics: Metrics) -> Arc<Clients> {
        brand.set_bounds(&Bounds::of_brand(&limits));
        Arc::new(Clients {
            brand,
            refusals: Refusals::new(metrics),
            limits: Mutex::new(limits),
            networks: Mutex::default(),
            next_id: AtomicU64::new(0),
            closed: Notify::new(),
        })
    }

    pub(super) fn refusals(&self) -> &Arc<Refusals> {
        &self.refusals
    }

    /// Applies other limits to new connections and requests.
    pub(crate) fn set_limits(&self, limits: Limits) {
        self.brand.set_bounds(&Bounds::of_brand(&limits));
        *lock(&self.limits) = limits;
        for (address, network) in &lock(&self.networks).by_address {
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
                    self.evict(Instant::now());
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
        self.admit_with(&mut lock(&self.networks), address, Arc::new(ConnectionHandle::new()))
    }

    fn admit_with(
        self: &Arc<Clients>,
        networks: &mut Networks,
        address: Option<IpAddr>,
        handle: Arc<ConnectionHandle>,
    ) -> Result<ConnectionSlot, Level> {
        let limits = *lock(&self.limits);
        let network_address = address.map_or(UNKNOWN_NETWORK, network_of);
        let network = networks.get_or_insert(network_address, || {
            let bounds = if address.is_some() { Bounds::of_network(&limits) } else { Bounds::UNLIMITED };
            Account::new(Level::Network, &bounds, Some(self.brand.clone()))
        });
        let account = Account::new(Level::Connection, &Bounds::of_connection(&limits), Some(network.account.clone()));
        let reserved = account.reserve(Resource::Connections, 1, 100);
        if reserved.is_ok() {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            let address = address.unwrap_or(UNKNOWN_NETWORK);
            let client = Arc::new(ConnectionClient { address, account, handle, clients: self.clone() });
            network.connections.insert(id, client.clone());
            let membership = Membership { clients: self.clone(), network: network_address, id };
            return reserved.map(|reservation| ConnectionSlot { client, reservation: Some(reservation), membership });
        }
        drop(account);
        networks.remove_unused(network_address);
        reserved.map(|_| unreachable!("it is an error"))
    }

    /// Closes connections of the largest network that has idle ones, those that have been idle longest; where no network has any,
    /// of the largest that has stalled ones. At most a tenth of its size is closing at any time, so that one connection that
    /// waits does not cost all others theirs. Returns how many it closes.
    fn evict(&self, now: Instant) -> usize {
        let networks = lock(&self.networks);
        let is_closing = |client: &&Arc<ConnectionClient>| client.handle.is_closing(now);
        let size =
            |network: &Network| network.connections.len() - network.connections.values().filter(is_closing).count();
        let closing = networks.by_address.values().map(|it| it.connections.len() - size(it)).sum();
        let largest = |with: fn(&Network, Instant) -> Vec<(Instant, &ConnectionClient)>| {
            let found = networks.by_address.values().map(|network| (size(network), with(network, now)));
            let (size, mut connections) = found.filter(|(_, found)| !found.is_empty()).max_by_key(|(size, _)| *size)?;
            connections.sort_by_key(|(since, _)| *since);
            connections.truncate(size.div_ceil(10).saturating_sub(closing));
            Some(connections)
        };
        if let Some(idle) = largest(Network::idle) {
            idle.iter().for_each(|(_, client)| client.handle.evict());
            return idle.len();
        }
        let stalled = largest(Network::stalled).unwrap_or_default();
        for (_, client) in &stalled {
            client.handle.abort();
            self.refusals.record(Resource::Connections, Level::Brand);
        }
        stalled.len()
    }

    /// Closes a connection whose client has stalled, so that `amount` of what it holds is released for `client`: the one that
    /// holds most, of the client's network if that is at its bound, or of the network that holds most of the brand. Returns
    /// whether there is one that holds more than `client` itself.
    fn make_room(
        &self,
        client: &ConnectionClient,
        resource: Resource,
        level: Level,
        amount: u64,
        now: Instant,
    ) -> bool {
        let least = amount.max(client.account.held(resource) + u64::from(client.handle.is_stalled(now)));
        let is_futile = |searches: &Searches| {
            searches[resource as usize].is_some_and(|(at, most)| now < at + SEARCH_INTERVAL && most < least)
        };
        let networks = &mut *lock(&self.networks);
        let (network, searches) = match level {
            Level::Connection => return false,
            Level::Network => {
                let Some(network) = networks.by_address.get_mut(&network_of(client.address)) else { return false };
                (&network.connections, &mut network.searches)
            }
            Level::Brand if is_futile(&networks.searches) => return false,
            Level::Brand => {
                let largest = networks.by_address.values().max_by_key(|network| network.account.held(resource));
                let Some(network) = largest else { return false };
                (&network.connections, &mut networks.searches)
            }
        };
        if is_futile(searches) {
            return false;
        }
        let stalled = network.values().filter(|other| other.handle.is_stalled(now));
        let most = stalled.max_by_key(|other| other.account.held(resource));
        let held = most.map_or(0, |most| most.account.held(resource));
        searches[resource as usize] = Some((now, held));
        let Some(most) = most.filter(|_| held >= least) else { return false };
        most.handle.abort();
        self.refusals.record(resource, level);
        true
    }
}

impl Network {
    /// Its idle connections, and from when on each could be closed.
    fn idle(&self, now: Instant) -> Vec<(Instant, &ConnectionClient)> {
        let idle = self.connections.values().filter_map(|client| {
            let since = client.handle.evictable_from().filter(|since| *since <= now)?;
            Some((since, &**client))
        });
        idle.collect()
    }

    /// Its stalled connections, and when the client of each last took part of a response.
    fn stalled(&self, now: Instant) -> Vec<(Instant, &ConnectionClient)> {
        let stalled =
            self.connections.values().filter_map(|client| Some((client.handle.stalled_since(now)?, &**client)));
        stalled.collect()
    }
}

impl Networks {
    fn get_or_insert(&mut self, address: IpAddr, account: impl FnOnce() -> Arc<Account>) -> &mut Network {
        if self.by_address.len() >= self.prune_above.max(MIN_PRUNED_NETWORKS) {
            self.by_address.retain(|_, network| !network.is_unused());
            self.prune_above = 2 * self.by_address.len();
        }
        let network = self.by_address.entry(address);
        network.or_insert_with(|| Network {
            account: account(),
            connections: HashMap::new(),
            searches: Searches::default(),
        })
    }

    fn remove_unused(&mut self, address: IpAddr) {
        if self.by_address.get(&address).is_some_and(Network::is_unused) {
            self.by_address.remove(&address);
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        {
            let mut networks = lock(&self.clients.networks);
            if let Some(network) = networks.by_address.get_mut(&self.network) {
                network.connections.remove(&self.id);
            }
            networks.remove_unused(self.network);
        }
        self.clients.closed.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
