//! What a brand's clients hold, accounted for each connection, each client network and the brand as a whole.
//!
//! # Invariants
//!
//! - An amount that is reserved at a connection is reserved at its network and at its brand too, or nowhere.
//! - What a client may hold is bounded at every level, so a client that holds too much is refused before others are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::Limits;

/// What is accounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    /// Open connections.
    Connections,
    /// Requests whose body has not arrived.
    Uploads,
    /// Requests from the start of their handler until their response has been handed to the socket.
    Requests,
    /// Bytes of heads, bodies and responses that are not shared with the cache.
    Bytes,
}

impl Resource {
    /// The number of resources.
    pub(crate) const COUNT: usize = 4;

    pub(crate) const ALL: [Resource; Resource::COUNT] =
        [Resource::Connections, Resource::Uploads, Resource::Requests, Resource::Bytes];

    /// The label in metrics and the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Resource::Connections => "connections",
            Resource::Uploads => "uploads",
            Resource::Requests => "requests",
            Resource::Bytes => "bytes",
        }
    }
}

/// Whose limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Connection,
    Network,
    Brand,
}

impl Level {
    /// The label in metrics and the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::Connection => "connection",
            Level::Network => "address",
            Level::Brand => "brand",
        }
    }
}

/// How much of each resource one connection, network or brand may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub connections: u64,
    pub uploads: u64,
    pub requests: u64,
    pub bytes: u64,
}

impl Bounds {
    /// For connections whose network is not known yet.
    pub(crate) const UNLIMITED: Bounds =
        Bounds { connections: u64::MAX, uploads: u64::MAX, requests: u64::MAX, bytes: u64::MAX };

    /// What all clients of a brand together may hold.
    pub(crate) fn of_brand(limits: &Limits) -> Bounds {
        Bounds {
            connections: limits.connections as u64,
            uploads: limits.uploads as u64,
            requests: limits.requests as u64,
            bytes: limits.buffered_bytes,
        }
    }

    /// What the clients of one network together may hold.
    pub(crate) fn of_network(limits: &Limits) -> Bounds {
        Bounds {
            connections: limits.connections_per_address as u64,
            uploads: limits.uploads_per_address as u64,
            requests: limits.requests_per_address as u64,
            bytes: limits.buffered_bytes_per_address,
        }
    }

    /// What one connection may hold.
    pub(crate) fn of_connection(limits: &Limits) -> Bounds {
        Bounds { connections: 1, bytes: limits.buffered_bytes_per_connection, ..Bounds::of_network(limits) }
    }

    fn values(&self) -> [u64; Resource::COUNT] {
        [self.connections, self.uploads, self.requests, self.bytes]
    }
}

/// What one connection, network or brand holds.
pub(crate) struct Account {
    level: Level,
    parent: Option<Arc<Account>>,
    held: [AtomicU64; Resource::COUNT],
    /// Changed by a reload.
    bounds: [AtomicU64; Resource::COUNT],
}

impl Account {
    pub(crate) fn new(level: Level, bounds: &Bounds, parent: Option<Arc<Account>>) -> Arc<Account> {
        Arc::new(Account { level, parent, held: Default::default(), bounds: bounds.values().map(AtomicU64::new) })
    }

    /// Applies other bounds; what is held already stays.
    pub(crate) fn set_bounds(&self, bounds: &Bounds) {
        for (bound, value) in self.bounds.iter().zip(bounds.values()) {
            bound.store(value, Ordering::Relaxed);
        }
    }

    pub(crate) fn held(&self, resource: Resource) -> u64 {
        self.held[resource as usize].load(Ordering::Relaxed)
    }

    /// The account of the next level: of the network, or of the brand.
    pub(crate) fn parent(&self) -> Option<&Arc<Account>> {
        self.parent.as_ref()
    }

    /// Reserves `amount` at this level and all above, of which the brand grants at most `brand_percent` of its bound.
    ///
    /// # Errors
    /// The level whose bound would be passed; nothing is reserved then.
    pub(crate) fn reserve(
        self: &Arc<Account>,
        resource: Resource,
        amount: u64,
        brand_percent: u64,
    ) -> Result<Reservation, Level> {
        self.add(resource, amount, brand_percent)?;
        Ok(Reservation { account: self.clone(), resource, amount })
    }

    /// Holds `amount` whatever the bounds are: for what exists already and cannot be refused any more.
    pub(crate) fn hold(self: &Arc<Account>, resource: Resource, amount: u64) -> Reservation {
        hold(self, resource, amount);
        Reservation { account: self.clone(), resource, amount }
    }

    /// Whether this level holds more than its bound.
    pub(crate) fn is_over(&self, resource: Resource) -> bool {
        self.held(resource) > self.bounds[resource as usize].load(Ordering::Relaxed)
    }

    fn add(self: &Arc<Account>, resource: Resource, amount: u64, brand_percent: u64) -> Result<(), Level> {
        let mut account = Some(self);
        while let Some(at) = account {
            let bound = at.bounds[resource as usize].load(Ordering::Relaxed);
            let bound = match at.level {
                Level::Brand if brand_percent < 100 => bound.saturating_mul(brand_percent).div_ceil(100),
                _ => bound,
            };
            let before = at.held[resource as usize].fetch_add(amount, Ordering::Relaxed);
            // A connection that holds nothing may hold one response of any size.
            let is_only = at.level == Level::Connection && resource == Resource::Bytes && before == 0;
            if before.saturating_add(amount) > bound && !is_only {
                self.release_up_to(at, resource, amount);
                return Err(at.level);
            }
            account = at.parent.as_ref();
        }
        Ok(())
    }

    /// Releases what was reserved from this level up to `last`.
    fn release_up_to(self: &Arc<Account>, last: &Account, resource: Resource, amount: u64) {
        let mut account = Some(self);
        while let Some(at) = account {
            at.held[resource as usize].fetch_sub(amount, Ordering::Relaxed);
            if std::ptr::eq(Arc::as_ptr(at), last) {
                return;
            }
            account = at.parent.as_ref();
        }
    }
}

/// An amount that is held until this is dropped.
pub(crate) struct Reservation {
    account: Arc<Account>,
    resource: Resource,
    amount: u64,
}

impl Reservation {
    /// Reserves `amount` more, of at most `brand_percent` of the brand's bound.
    ///
    /// # Errors
    /// The level whose bound would be passed; as much as before is held then.
    pub(crate) fn grow(&mut self, amount: u64, brand_percent: u64) -> Result<(), Level> {
        self.account.add(self.resource, amount, brand_percent)?;
        self.amount += amount;
        Ok(())
    }

    /// Holds `amount` more whatever the bounds are.
    pub(crate) fn grow_beyond(&mut self, amount: u64) {
        hold(&self.account, self.resource, amount);
        self.amount += amount;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        release(&self.account, self.resource, self.amount);
    }
}

fn hold(account: &Arc<Account>, resource: Resource, amount: u64) {
    let mut account = Some(account);
    while let Some(at) = account {
        at.held[resource as usize].fetch_add(amount, Ordering::Relaxed);
        account = at.parent.as_ref();
    }
}

fn release(account: &Arc<Account>, resource: Resource, amount: u64) {
    let mut account = Some(account);
    while let Some(at) = account {
        at.held[resource as usize].fetch_sub(amount, Ordering::Relaxed);
        account = at.parent.as_ref();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRAND: Bounds = Bounds { connections: 100, uploads: 10, requests: 100, bytes: 1_000 };
    const NETWORK: Bounds = Bounds { connections: 10, uploads: 5, requests: 20, bytes: 300 };
    const CONNECTION: Bounds = Bounds { connections: 1, uploads: 5, requests: 20, bytes: 200 };

    fn accounts() -> (Arc<Account>, Arc<Account>, Arc<Account>) {
        let brand = Account::new(Level::Brand, &BRAND, None);
        let network = Account::new(Level::Network, &NETWORK, Some(brand.clone()));
        let connection = Account::new(Level::Connection, &CONNECTION, Some(network.clone()));
        (brand, network, connection)
    }

    #[test]
    fn an_amount_is_held_at_every_level_until_it_is_dropped() {
        let (brand, network, connection) = accounts();
        let held = connection.reserve(Resource::Bytes, 150, 100).expect("within the bounds");
        let all = || [&brand, &network, &connection].map(|account| account.held(Resource::Bytes));
        assert_eq!(all(), [150; 3]);
        drop(held);
        assert_eq!(all(), [0; 3]);
    }

    #[test]
    fn a_refusal_names_the_level_and_reserves_nothing() {
        let (brand, network, connection) = accounts();
        let first = connection.reserve(Resource::Bytes, 200, 100).expect("within the bounds");
        assert_eq!(connection.reserve(Resource::Bytes, 1, 100).err(), Some(Level::Connection));
        let other = Account::new(Level::Connection, &CONNECTION, Some(network.clone()));
        assert_eq!(other.reserve(Resource::Bytes, 101, 100).err(), Some(Level::Network));
        let held = [&other, &network, &brand].map(|account| account.held(Resource::Bytes));
        assert_eq!(held, [0, 200, 200]);
        drop(first);
        assert!(other.reserve(Resource::Bytes, 101, 100).is_ok());
    }

    #[test]
    fn a_single_response_may_be_larger_than_the_bound_of_its_connection() {
        let (_, _, connection) = accounts();
        let first = connection.reserve(Resource::Bytes, 300, 100).expect("it is the only one");
        assert_eq!(connection.reserve(Resource::Bytes, 1, 100).err(), Some(Level::Connection));
        drop(first);
        assert_eq!(connection.reserve(Resource::Bytes, 301, 100).err(), Some(Level::Network));
    }

    #[test]
    fn one_network_cannot_take_what_another_needs() {
        let (brand, network, _) = accounts();
        let all: Vec<_> = (0..100).filter_map(|_| network.reserve(Resource::Connections, 1, 100).ok()).collect();
        assert_eq!(all.len(), 10);
        let other = Account::new(Level::Network, &NETWORK, Some(brand.clone()));
        assert!(other.reserve(Resource::Connections, 1, 100).is_ok());
    }

    #[test]
    fn a_share_of_the_brand_is_left_to_more_important_requests() {
        let (brand, ..) = accounts();
        let reads: Vec<_> = (0..200).filter_map(|_| brand.reserve(Resource::Requests, 1, 80).ok()).collect();
        assert_eq!(reads.len(), 80);
        let writes: Vec<_> = (0..200).filter_map(|_| brand.reserve(Resource::Requests, 1, 95).ok()).collect();
        assert_eq!(writes.len(), 15);
        assert!(brand.reserve(Resource::Requests, 1, 100).is_ok());
    }

    #[test]
    fn reservation_grows_within_the_bounds() {
        let (brand, _, connection) = accounts();
        let mut held = connection.reserve(Resource::Bytes, 0, 100).expect("nothing");
        held.grow(150, 100).expect("within the bounds");
        assert_eq!(held.grow(51, 100), Err(Level::Connection));
        assert_eq!(brand.held(Resource::Bytes), 150);
        drop(held);
        assert_eq!(brand.held(Resource::Bytes), 0);
    }

    #[test]
    fn what_cannot_be_refused_is_held_beyond_the_bounds() {
        let (brand, _, connection) = accounts();
        let mut held = connection.hold(Resource::Bytes, 4_000);
        held.grow_beyond(1_000);
        assert_eq!(brand.held(Resource::Bytes), 5_000);
        assert!(connection.is_over(Resource::Bytes) && brand.is_over(Resource::Bytes));
        assert_eq!(connection.reserve(Resource::Bytes, 1, 100).err(), Some(Level::Connection));
        drop(held);
        assert!(!connection.is_over(Resource::Bytes));
    }

    #[test]
    fn bounds_change_while_amounts_are_held() {
        let (brand, ..) = accounts();
        let held = brand.reserve(Resource::Uploads, 8, 100).expect("within the bounds");
        brand.set_bounds(&Bounds { uploads: 4, ..BRAND });
        assert_eq!(brand.reserve(Resource::Uploads, 1, 100).err(), Some(Level::Brand));
        drop(held);
        assert!(brand.reserve(Resource::Uploads, 4, 100).is_ok());
    }

    #[test]
    fn threads_that_race_are_granted_no_more_than_the_bound() {
        let (brand, ..) = accounts();
        let (granted, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if let Ok(held) = brand.reserve(Resource::Uploads, 3, 100) {
                            most.fetch_max(granted.fetch_add(3, Ordering::SeqCst) + 3, Ordering::SeqCst);
                            granted.fetch_sub(3, Ordering::SeqCst);
                            drop(held);
                        }
                    }
                });
            }
        });
        assert_eq!(brand.held(Resource::Uploads), 0);
        let most = most.into_inner();
        assert!((3..=BRAND.uploads).contains(&most), "{most}");
    }
}
