//! Few connections that short reads share: their statements are sent one behind the other without waiting for answers.
//!
//! Used by `brand` for reads of one statement that is quick whatever is asked. It is cheaper than a pool: a connection of its own for
//! each read costs PostgreSQL and us more than the reading. What must never happen: a transaction, a setting or a slow statement
//! on one of them, because everybody behind it waits; those take a connection of the pool.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use deadpool_postgres::{Object, Pool};
use tokio::sync::watch;
use tokio_postgres::{Row, Statement, ToStatement};

use crate::config::DatabaseConfig;
use crate::foundation::error::{Error, Result, ResultExt};
use crate::platform::postgres::{self, Executor, Parameters, Purpose};

pub struct SharedConnections {
    pool: Pool,
    /// How long a connection is waited for, and an answer over it.
    patience: Duration,
    places: Box<[Arc<Slot>]>,
    next: AtomicUsize,
}

/// Where one connection is, once it was needed.
#[derive(Default)]
struct Slot {
    connection: ArcSwapOption<Connection>,
    /// What the task that opens it anew will say.
    opening: Mutex<Option<watch::Receiver<Opening>>>,
}

/// What came of opening a connection, to all who wait for it; `None`: nothing yet.
type Opening = Option<Result<Arc<Connection>, Arc<Error>>>;

/// It is closed, not given back, when the last who reads over it is done: what is running on it nobody knows.
struct Connection(Option<Object>);

impl Drop for Connection {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}

/// One read's share of a connection.
pub struct SharedConnection<'r> {
    place: &'r Arc<Slot>,
    connection: Arc<Connection>,
    patience: Duration,
}

impl SharedConnections {
    pub fn new(config: &DatabaseConfig, purpose: Purpose) -> SharedConnections {
        let count = config.shared_connections;
        let places = (0..count).map(|_| Arc::default()).collect();
        // One that is stuck is replaced while its readers still wait for it.
        let pool = postgres::pool(config, 2 * count, purpose);
        SharedConnections { pool, patience: config.pool_wait, places, next: AtomicUsize::new(0) }
    }

    /// The next connection in turn, opened if need be.
    ///
    /// # Errors
    /// 503 while PostgreSQL is away.
    pub async fn get(&self) -> Result<SharedConnection<'_>> {
        let place = &self.places[self.next.fetch_add(1, Ordering::Relaxed) % self.places.len()];
        let connection = match place.open() {
            Some(connection) => connection,
            None => place.opened(&self.pool, self.patience).await?,
        };
        Ok(SharedConnection { place, connection, patience: self.patience })
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.places.iter().filter(|place| place.open().is_some()).count()
    }
}

impl Slot {
    fn open(&self) -> Option<Arc<Connection>> {
        let is_open = |connection: &Arc<Connection>| connection.0.as_ref().is_some_and(|object| !object.is_closed());
        self.connection.load_full().filter(is_open)
    }

    /// The connection when it is there. It is opened once for all who wait, by a task that none of them can cancel: whoever
    /// waited for another's failed try would otherwise begin one of their own, and the last would wait for all of them.
    async fn opened(self: &Arc<Slot>, pool: &Pool, patience: Duration) -> Result<Arc<Connection>> {
        let mut waiting = self.join(pool);
        let told = tokio::time::timeout(patience, waiting.wait_for(Option::is_some)).await.or_unavailable()?;
        match told.or_internal()?.as_ref() {
            Some(Ok(connection)) => Ok(connection.clone()),
            Some(Err(error)) => Err(error.for_coalesced_request()),
            None => Err(Error::internal("a connection is neither open nor failed")),
        }
    }

    fn join(self: &Arc<Slot>, pool: &Pool) -> watch::Receiver<Opening> {
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = opening.as_ref() {
            return waiting.clone();
        }
        // Whoever opened it was done between our look and this lock.
        if let Some(connection) = self.open() {
            return watch::channel(Some(Ok(connection))).1;
        }
        let (told, waiting) = watch::channel(None);
        *opening = Some(waiting.clone());
        let (place, pool) = (self.clone(), pool.clone());
        tokio::spawn(async move {
            // The closed one makes room for its successor.
            place.connection.store(None);
            let opened = pool.get().await.map(|object| Arc::new(Connection(Some(object))));
            place.connection.store(opened.as_ref().ok().cloned());
            *place.opening.lock().unwrap_or_else(PoisonError::into_inner) = None;
            told.send_replace(Some(opened.map_err(|error| Arc::new(Error::from(error)))));
        });
        waiting
    }
}

impl SharedConnection<'_> {
    /// What was asked over this connection, when it is answered soon enough. One that is silent for longer is left to those who
    /// wait for it already; whoever comes next opens another.
    ///
    /// # Errors
    /// 503 when it is late.
    pub async fn with_timeout<T>(&self, asked: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.patience, asked).await {
            Ok(answered) => answered,
            Err(late) => {
                self.place.connection.compare_and_swap(&Some(self.connection.clone()), None);
                Err(Error::unavailable(late))
            }
        }
    }
}

impl SharedConnection<'_> {
    fn object(&self) -> &Object {
        self.connection.0.as_ref().expect("only drop takes it")
    }
}

impl Executor for SharedConnection<'_> {
    async fn prepare_cached(&self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        self.object().prepare_cached(sql).await
    }

    async fn query<T>(&self, statement: &T, parameters: Parameters<'_>) -> Result<Vec<Row>, tokio_postgres::Error>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.object().query(statement, parameters).await
    }

    async fn query_one<T>(&self, statement: &T, parameters: Parameters<'_>) -> Result<Row, tokio_postgres::Error>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.object().query_one(statement, parameters).await
    }

    async fn query_opt<T>(
        &self,
        statement: &T,
        parameters: Parameters<'_>,
    ) -> Result<Option<Row>, tokio_postgres::Error>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.object().query_opt(statement, parameters).await
    }

    async fn execute<T>(&self, statement: &T, parameters: Parameters<'_>) -> Result<u64, tokio_postgres::Error>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.object().execute(statement, parameters).await
    }
}
