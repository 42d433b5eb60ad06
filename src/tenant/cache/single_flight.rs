//! Questions that are on their way to the database, so that one answer serves all who ask the same meanwhile.
//!
//! Used by `cache` alone. What must never happen: somebody who asks after an edit is given the answer to a question that began
//! before it, or waits for one that nobody will answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::foundation::error::{Error, Result};
use crate::http::cached_response::CachedResponse;
use crate::tenant::cache::change_log::{ChangeLog, Version};
use crate::tenant::cache::{CacheKey, Made};

type Outcome = Option<Result<Arc<CachedResponse>, Arc<Error>>>;

#[derive(Default)]
pub(super) struct SingleFlight(Mutex<HashMap<CacheKey, Flight>>);

struct Flight {
    began_at: Version,
    outcome: watch::Receiver<Outcome>,
}

/// The one who asks. When they leave without an answer, those who wait see it, and one of them asks instead.
struct Leader<'f> {
    flights: &'f SingleFlight,
    key: &'f [u8],
    began_at: Version,
    outcome: watch::Sender<Outcome>,
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.get(self.key).is_some_and(|flight| flight.began_at == self.began_at) {
            flights.remove(self.key);
        }
    }
}

impl SingleFlight {
    pub(super) async fn join(
        &self,
        key: &[u8],
        changes: &ChangeLog,
        make: impl Future<Output = Result<CachedResponse>>,
    ) -> Result<Made> {
        loop {
            match self.board(key, changes.now()) {
                Ok(leader) => return leader.ask(make).await,
                Err(mut waiting) => {
                    let outcome = waiting.wait_for(Option::is_some).await.ok().and_then(|told| told.clone());
                    match outcome {
                        Some(Ok(answer)) => return Ok(Made { answer, began_at: None }),
                        Some(Err(error)) => return Err(error.for_coalesced_request()),
                        None => {}
                    }
                }
            }
        }
    }

    /// The flight that began at this very moment of the log, or the lead of a new one.
    fn board<'f>(&'f self, key: &'f [u8], now: Version) -> Result<Leader<'f>, watch::Receiver<Outcome>> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(key)
            && flight.began_at == now
        {
            return Err(flight.outcome.clone());
        }
        let (outcome, waiting) = watch::channel(None);
        flights.insert(key.into(), Flight { began_at: now, outcome: waiting });
        Ok(Leader { flights: self, key, began_at: now, outcome })
    }
}

impl Leader<'_> {
    async fn ask(self, make: impl Future<Output = Result<CachedResponse>>) -> Result<Made> {
        let made = make.await.map(Arc::new);
        let (told, outcome) = match made {
            Ok(answer) => (Ok(answer.clone()), Ok(Made { answer, began_at: Some(self.began_at) })),
            Err(error) => {
                let again = error.for_coalesced_request();
                (Err(Arc::new(error)), Err(again))
            }
        };
        self.outcome.send_replace(Some(told));
        outcome
    }
}
