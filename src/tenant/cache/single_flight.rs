//! Request coalescing: concurrent requests for the same response share one query of the database.
//!
//! # Invariants
//!
//! A request that arrives after an edit never receives a response whose query started before the edit: it joins a flight only
//! at the same version of the change log. A request never waits for a flight whose leader was cancelled, and is never refused
//! because its leader's client is at a limit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::foundation::error::{Error, Kind, Result};
use crate::http::cached_response::CachedResponse;
use crate::tenant::cache::CacheKey;
use crate::tenant::cache::change_log::{ChangeLog, Version};

/// `None` until the leader's query ends.
type FlightResult = Option<Result<Arc<CachedResponse>, Arc<Error>>>;

/// The queries in progress, by cache key.
#[derive(Default)]
pub(super) struct SingleFlight(Mutex<HashMap<CacheKey, Flight>>);

struct Flight {
    version: Version,
    result: watch::Receiver<FlightResult>,
}

/// A response of a flight.
pub(super) struct Fetched {
    pub response: Arc<CachedResponse>,
    /// The version at which the query started. `None` for a follower: the leader caches the response.
    pub version: Option<Version>,
}

/// The request that runs the query. When it is dropped without a result, its followers are notified, and one of them becomes
/// the leader.
struct Leader<'f> {
    flights: &'f SingleFlight,
    key: &'f [u8],
    version: Version,
    result: watch::Sender<FlightResult>,
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.get(self.key).is_some_and(|flight| flight.version == self.version) {
            flights.remove(self.key);
        }
    }
}

impl SingleFlight {
    /// The response of `fetch`, or of another request's `fetch` for the same key and version.
    ///
    /// # Errors
    /// Those of the `fetch` that ran.
    pub(super) async fn join(
        &self,
        key: &[u8],
        changes: &ChangeLog,
        fetch: impl Future<Output = Result<CachedResponse>>,
    ) -> Result<Fetched> {
        loop {
            match self.lead_or_follow(key, changes.version()) {
                Ok(leader) => return leader.run(fetch).await,
                Err(mut follower) => {
                    let result = follower.wait_for(Option::is_some).await.ok().and_then(|result| result.clone());
                    match result {
                        Some(Ok(response)) => return Ok(Fetched { response, version: None }),
                        Some(Err(error)) => return Err(error.duplicate()),
                        // The leader was cancelled or refused.
                        None => {}
                    }
                }
            }
        }
    }

    /// The lead of a new flight, or as `Err` the result of the flight that started at the same version.
    fn lead_or_follow<'f>(
        &'f self,
        key: &'f [u8],
        version: Version,
    ) -> Result<Leader<'f>, watch::Receiver<FlightResult>> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(key)
            && flight.version == version
        {
            return Err(flight.result.clone());
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(key.into(), Flight { version, result: receiver });
        Ok(Leader { flights: self, key, version, result: sender })
    }
}

impl Leader<'_> {
    async fn run(self, fetch: impl Future<Output = Result<CachedResponse>>) -> Result<Fetched> {
        match fetch.await.map(Arc::new) {
            Ok(response) => {
                self.result.send_replace(Some(Ok(response.clone())));
                Ok(Fetched { response, version: Some(self.version) })
            }
            // Its followers are within other limits: one of them leads.
            Err(error) if matches!(error.kind, Kind::Overloaded { .. }) => Err(error),
            Err(error) => {
                let duplicate = error.duplicate();
                self.result.send_replace(Some(Err(Arc::new(error))));
                Err(duplicate)
            }
        }
    }
}
