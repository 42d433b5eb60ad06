//! Tests of the connections of a brand by client network.

use super::*;
use crate::server::connection_handle::FIRST_REQUEST_GRACE;
use crate::server::connection_state::{BodyInFlight, ConnectionState};

fn clients_with(connections: usize, connections_per_address: usize) -> Arc<Clients> {
    let limits = Limits {
        connections,
        connections_per_address,
        requests: 100,
        requests_per_address: 10,
        reads_percent: 80,
        writes_percent: 95,
        uploads: 10,
        uploads_per_address: 5,
        buffered_bytes: 1_000,
        buffered_bytes_per_address: 500,
        buffered_bytes_per_connection: 200,
        min_send_bytes_per_s: 1_000,
        header_fields: 100,
        head_bytes: 65_536,
        body_bytes: 262_144,
        h2_streams: 100,
    };
    Clients::new(Account::new(Level::Brand, &Bounds::of_brand(&limits), None), limits, Metrics::of("test"))
}

fn clients() -> Arc<Clients> {
    clients_with(10, 6)
}

fn admit(clients: &Arc<Clients>, address: &str) -> Result<ConnectionSlot, Level> {
    clients.admit(Some(address.parse().expect("an address")))
}

fn slots(clients: &Arc<Clients>, count: usize, address: &str) -> Vec<ConnectionSlot> {
    (0..count).map(|_| admit(clients, address).expect("within the share")).collect()
}

fn evicted(slots: &[ConnectionSlot]) -> usize {
    slots.iter().filter(|slot| slot.client.handle.is_evicted()).count()
}

#[test]
fn one_network_gets_its_share_and_leaves_the_rest_to_others() {
    let clients = clients();
    let mut first: Vec<_> =
        (0..6).map(|host| admit(&clients, &format!("2001:db8::{host}")).expect("within the share")).collect();
    assert_eq!(admit(&clients, "2001:db8::99").err(), Some(Level::Network));
    let second = slots(&clients, 4, "192.0.2.1");
    assert_eq!(admit(&clients, "192.0.2.2").err(), Some(Level::Brand));
    first.pop();
    assert!(admit(&clients, "192.0.2.2").is_ok());
    drop((first, second));
    assert_eq!(lock(&clients.networks).by_address.len(), 0, "networks without connections are forgotten");
    assert_eq!(clients.brand.held(Resource::Connections), 0);
}

#[test]
fn network_is_known_as_long_as_something_is_held_for_it() {
    let clients = clients();
    let slot = admit(&clients, "192.0.2.1").expect("the first");
    let detached = slot.client.account.reserve(Resource::Requests, 10, 100).expect("within the share");
    drop(slot);
    let again = admit(&clients, "192.0.2.1").expect("connections are left");
    assert_eq!(again.client.account.reserve(Resource::Requests, 1, 100).err(), Some(Level::Network));
    drop((detached, again));
    assert_eq!(lock(&clients.networks).by_address.len(), 0);
    // Without another connection of theirs, networks are forgotten when there are many.
    let detached: Vec<_> = (0..2 * MIN_PRUNED_NETWORKS)
        .map(|host| {
            let slot = admit(&clients, &format!("198.51.100.{host}")).expect("connections are left");
            slot.client.account.hold(Resource::Bytes, 1)
        })
        .collect();
    assert_eq!(lock(&clients.networks).by_address.len(), 2 * MIN_PRUNED_NETWORKS);
    drop(detached);
    (0..=2 * MIN_PRUNED_NETWORKS).for_each(|host| drop(admit(&clients, &format!("203.0.113.{host}"))));
    assert!(lock(&clients.networks).by_address.len() <= MIN_PRUNED_NETWORKS);
}

#[test]
fn idle_connections_of_the_largest_network_are_closed_first() {
    let clients = clients();
    let (large, small) = (slots(&clients, 5, "192.0.2.1"), slots(&clients, 3, "192.0.2.2"));
    let state = Arc::new(ConnectionState::new());
    let _request = state.start_request();
    large[..4].iter().for_each(|slot| slot.client.handle.set_state(&state));
    assert_eq!(clients.evict(Instant::now()), 0, "their first requests may be on their way");
    let later = Instant::now() + 2 * FIRST_REQUEST_GRACE;
    assert_eq!(clients.evict(later), 1);
    assert!((evicted(&large[4..]), evicted(&small)) == (1, 0), "the only idle one of the largest");
    assert_eq!(clients.evict(later), 1);
    assert_eq!((evicted(&large), evicted(&small)), (1, 1), "the others are busy");
}

#[test]
fn connections_that_are_closing_are_waited_for_and_the_longest_idle_go_first() {
    let clients = clients_with(40, 30);
    let slots = slots(&clients, 30, "192.0.2.1");
    for slot in &slots {
        let state = Arc::new(ConnectionState::new());
        drop(state.start_request());
        slot.client.handle.set_state(&state);
        std::thread::sleep(Duration::from_millis(2));
    }
    let now = Instant::now() + Duration::from_millis(500);
    assert_eq!(clients.evict(now), 3, "a tenth");
    assert_eq!((evicted(&slots[..3]), evicted(&slots)), (3, 3), "those that have been idle longest");
    assert_eq!(clients.evict(now), 0, "they are about to close");
    let mut slots = slots.into_iter();
    drop(slots.next());
    assert_eq!(clients.evict(now), 1, "one has closed, and still there is no room");
    let slots: Vec<_> = slots.collect();
    assert_eq!((evicted(&slots[..3]), evicted(&slots)), (3, 3));
    assert_eq!(clients.evict(now + 10 * FIRST_REQUEST_GRACE), 3, "those that got work are not waited for");
}

#[tokio::test]
async fn connection_over_the_limit_is_admitted_when_another_closes() {
    let clients = clients();
    let mut slots: Vec<_> =
        (0..10).map(|number| admit(&clients, &format!("192.0.2.{number}")).expect("within the limit")).collect();
    let waiting = clients.admit_when_possible(Some("192.0.2.99".parse().expect("an address")));
    let close_evicted = async {
        loop {
            slots.retain(|slot| !slot.client.handle.is_evicted());
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
    let handles: Vec<_> = unknown.iter().map(|slot| slot.client.handle.clone()).collect();
    let moved: Vec<_> = unknown.into_iter().map(|slot| slot.move_to("192.0.2.1".parse().expect("one"))).collect();
    assert_eq!(moved.iter().filter(|slot| slot.is_ok()).count(), 6);
    assert_eq!(clients.brand.held(Resource::Connections), 6);
    let is_same = |(slot, handle): (&Result<ConnectionSlot, Level>, &Arc<ConnectionHandle>)| {
        slot.as_ref().is_ok_and(|slot| Arc::ptr_eq(&slot.client.handle, handle))
    };
    assert!(moved.iter().zip(&handles).take(6).all(is_same), "its handshake waits for the eviction of this handle");
}

#[tokio::test]
async fn stalled_connections_are_closed_for_others_while_none_is_idle() {
    let clients = clients_with(30, 20);
    let busy = slots(&clients, 9, "192.0.2.1");
    let state = Arc::new(ConnectionState::new());
    let _request = state.start_request();
    busy.iter().for_each(|slot| slot.client.handle.set_state(&state));
    let large: Vec<_> = (0..12).map(|_| stalled(&clients, "192.0.2.2", 0)).collect();
    let small: Vec<_> = (0..8).map(|_| stalled(&clients, "192.0.2.3", 0)).collect();
    let (idle, now) = (admit(&clients, "192.0.2.3").expect("within the share"), Instant::now());
    assert_eq!(clients.evict(now), 0, "none has stalled yet");
    let later = now + Duration::from_secs(2);
    assert_eq!(clients.evict(later), 1);
    assert!(idle.client.handle.is_evicted() && !idle.client.handle.is_aborted(), "idle ones go first");
    drop(idle);
    let aborted = |all: &[(ConnectionSlot, BodyInFlight, Reservation)]| {
        all.iter().filter(|(slot, ..)| slot.client.handle.is_aborted()).count()
    };
    assert_eq!(clients.evict(later), 2, "a tenth");
    assert_eq!((aborted(&large), aborted(&small), evicted(&busy)), (2, 0, 0), "of the network that holds most");
}

/// A connection whose client has taken nothing of a response for two seconds, and what is held for it.
fn stalled(clients: &Arc<Clients>, address: &str, bytes: u64) -> (ConnectionSlot, BodyInFlight, Reservation) {
    let slot = admit(clients, address).expect("within the share");
    let state = Arc::new(ConnectionState::new());
    let body = state.start_request().into_body();
    slot.client.handle.set_state(&state);
    let held = slot.client.account.hold(Resource::Bytes, bytes);
    (slot, body, held)
}

#[test]
fn refusals_close_a_connection_that_has_stalled_and_no_other() {
    for level in [Level::Connection, Level::Network] {
        let clients = clients();
        let (slot, ..) = &stalled(&clients, "192.0.2.1", 2 * TOLERATED_BYTES);
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(2));
        (0..200).for_each(|_| slot.client.bytes_refused(level, now));
        assert!(!slot.client.handle.is_aborted(), "its client may be about to read");
        slot.client.bytes_refused(Level::Brand, later);
        assert!(!slot.client.handle.is_aborted(), "the others of the brand hold as much");
        slot.client.bytes_refused(level, later);
        assert!(slot.client.handle.is_aborted());
    }
}

#[tokio::test]
async fn client_whose_network_is_at_its_bound_gets_what_the_largest_stalled_connection_holds() {
    let clients = clients();
    let (first, second) = (stalled(&clients, "192.0.2.1", 150), stalled(&clients, "192.0.2.1", 200));
    let elsewhere = stalled(&clients, "192.0.2.2", 250);
    let busy = admit(&clients, "192.0.2.1").expect("within the share");
    let _busy = busy.client.account.hold(Resource::Bytes, 200);
    let neighbour = admit(&clients, "192.0.2.1").expect("within the share");
    let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(10));
    let make_room =
        |client: &ConnectionClient, level, amount, at| clients.make_room(client, Resource::Bytes, level, amount, at);
    let is_aborted = |(slot, ..): &(ConnectionSlot, BodyInFlight, Reservation)| slot.client.handle.is_aborted();
    assert!(!make_room(&neighbour.client, Level::Network, 100, now), "none has stalled yet");
    assert!(!make_room(&neighbour.client, Level::Network, 201, later), "none holds as much");
    assert!(!make_room(&neighbour.client, Level::Connection, 100, later), "it is its own bound");
    assert!(make_room(&neighbour.client, Level::Network, 100, later), "it gets what the largest holds");
    assert!(is_aborted(&second) && !is_aborted(&first) && !is_aborted(&elsewhere));
    assert!(!make_room(&first.0.client, Level::Network, 10, later), "it has stalled itself");
    assert!(make_room(&neighbour.client, Level::Network, 50, later), "the next one");
    assert!(is_aborted(&first) && !busy.client.handle.is_aborted(), "whose client reads keeps its response");
    assert!(!make_room(&neighbour.client, Level::Network, 50, later), "no stalled one is left");
    // At the bound of the brand, the network that holds most has to give.
    drop((first, second));
    assert!(!is_aborted(&elsewhere) && make_room(&neighbour.client, Level::Brand, 100, later));
    assert!(is_aborted(&elsewhere));
}
