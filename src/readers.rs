//! Few connections that short reads share: their statements are sent one behind the other without waiting for answers.
//!
//! Used by `brand` for reads of one statement that is quick whatever is asked. It is cheaper than a pool: a connection of its own for
//! each read costs PostgreSQL and us more than the reading. What must never happen: a transaction, a setting or a slow statement
//! on one of them, because everybody behind it waits; those take a connection of the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use deadpool_postgres::{Object, Pool};
use tokio::sync::Mutex;

use crate::config::DatabaseConfig;
use crate::db;
use crate::error::{Error, Result};

pub struct Readers {
    pool: Pool,
    /// How long a connection is waited for, and an answer over it.
    patience: Duration,
    places: Box<[Place]>,
    next: AtomicUsize,
}

/// Where one connection is, once it was needed.
#[derive(Default)]
struct Place {
    connection: ArcSwapOption<Connection>,
    /// Whoever opens it anew.
    opening: Mutex<()>,
}

/// It is closed, not given back, when the last who reads over it is done: what is running on it nobody knows.
struct Connection(Option<Object>);

impl Drop for Connection {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}

/// One read's share of a connection.
pub struct Reader<'r> {
    place: &'r Place,
    connection: Arc<Connection>,
    patience: Duration,
}

impl Readers {
    pub fn new(config: &DatabaseConfig) -> Readers {
        let count = config.shared_connections;
        let places = (0..count).map(|_| Place::default()).collect();
        // One that is stuck is replaced while its readers still wait for it.
        Readers { pool: db::pool(config, 2 * count), patience: config.pool_wait, places, next: AtomicUsize::new(0) }
    }

    /// The next connection in turn, opened if need be.
    ///
    /// # Errors
    /// 503 while PostgreSQL is away.
    pub async fn get(&self) -> Result<Reader<'_>> {
        let place = &self.places[self.next.fetch_add(1, Ordering::Relaxed) % self.places.len()];
        let connection = match place.open() {
            Some(connection) => connection,
            // Those who wait for the one who opens it must not each wait for a server that is silent.
            None => {
                tokio::time::timeout(self.patience, place.connect(&self.pool)).await.map_err(Error::unavailable)??
            }
        };
        Ok(Reader { place, connection, patience: self.patience })
    }
}

impl Place {
    fn open(&self) -> Option<Arc<Connection>> {
        let is_open = |connection: &Arc<Connection>| connection.0.as_ref().is_some_and(|object| !object.is_closed());
        self.connection.load_full().filter(is_open)
    }

    async fn connect(&self, pool: &Pool) -> Result<Arc<Connection>> {
        let _opening = self.opening.lock().await;
        if let Some(connection) = self.open() {
            return Ok(connection);
        }
        // The closed one makes room for its successor.
        self.connection.store(None);
        let connection = Arc::new(Connection(Some(pool.get().await?)));
        self.connection.store(Some(connection.clone()));
        Ok(connection)
    }
}

impl Reader<'_> {
    /// What was asked over this connection, when it is answered soon enough. One that is silent for longer is left to those who
    /// wait for it already; whoever comes next opens another.
    ///
    /// # Errors
    /// 503 when it is late.
    pub async fn answer<T>(&self, asked: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.patience, asked).await {
            Ok(answered) => answered,
            Err(late) => {
                self.place.connection.compare_and_swap(&Some(self.connection.clone()), None);
                Err(Error::unavailable(late))
            }
        }
    }
}

impl std::ops::Deref for Reader<'_> {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.connection.0.as_ref().expect("it is there until it is dropped")
    }
}
