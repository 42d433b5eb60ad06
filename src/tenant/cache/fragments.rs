//! Parts of catalogue responses, cached beside whole responses and invalidated with them.

use std::time::Instant;

use bytes::Bytes;

use crate::foundation::error::Result;
use crate::foundation::language::Language;
use crate::http::cached_response::CachedResponse;
use crate::tenant::cache::change_log::Version;
use crate::tenant::cache::{Cache, Lookup};

/// Bytes that responses are composed of, under a key that no request target has.
#[derive(Debug, Clone)]
pub struct Fragment {
    pub bytes: Bytes,
    pub language: Language,
}

impl Fragment {
    fn of(response: &CachedResponse) -> Fragment {
        Fragment { bytes: response.json().clone(), language: response.language() }
    }

    /// `item_ids`: the items whose changes invalidate it.
    fn into_response(self, item_ids: Vec<i64>) -> CachedResponse {
        CachedResponse::new(self.bytes, self.language, item_ids, "")
    }
}

impl Cache {
    /// A fragment that is current at `now`.
    pub fn find_fragment(&self, key: &[u8], now: Instant) -> Option<Fragment> {
        match self.find(key, now) {
            Lookup::Current(response) => Some(Fragment::of(&response)),
            _ => None,
        }
    }

    /// Caches a fragment that was read from the database after `started_at`; a change of any of `item_ids` invalidates
    /// it.
    pub fn insert_fragment(&self, key: &[u8], fragment: Fragment, item_ids: Vec<i64>, started_at: Version) {
        self.insert(key, &fragment.into_response(item_ids).into(), started_at);
    }

    /// Loads a fragment that concerns no single item and caches it; concurrent loads of a key are coalesced.
    ///
    /// # Errors
    /// Those of `load`, for all callers that waited for it.
    pub async fn load_fragment(&self, key: &[u8], load: impl Future<Output = Result<Fragment>>) -> Result<Fragment> {
        let response = self.fetch(key, async { Ok(load.await?.into_response(Vec::new())) }).await?;
        Ok(Fragment::of(&response))
    }
}
