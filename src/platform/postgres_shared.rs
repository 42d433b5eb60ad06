//! Shared connections: concurrent short reads are pipelined over a few PostgreSQL connections.
//!
//! This is cheaper than a pooled connection for each read.
//!
//! # Invariants
//!
//! Only single, fast reads run on a shared connection. Transactions, settings and slow statements would delay all statements
//! behind them, so they use a connection of the pool.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use deadpool_postgres::{Object, Pool};
use tokio::sync::watch;
use tokio_postgres::{Row, Statement, ToStatement};

use crate::config::DatabaseConfig;
use crate::foundation::error::{Error, Result, ResultExt};
use crate::platform::postgres::{self, DatabaseMonitor, Executor, Parameters, Purpose, QueryError};

pub(crate) struct SharedConnections {
    pool: Pool,
    database: Arc<DatabaseConfig>,
    /// The time limit for a read.
    read_timeout: Duration,
    monitor: Arc<DatabaseMonitor>,
    slots: Box<[Arc<Slot>]>,
    next: AtomicUsize,
}

/// A place for one connection, which is opened on demand.
#[derive(Default)]
struct Slot {
    connection: ArcSwapOption<ClosedOnDrop>,
    /// The result of the task that is opening a connection.
    opening: Mutex<Option<watch::Receiver<OpenResult>>>,
}

/// `None` until the connection is open or has failed to open.
type OpenResult = Option<Result<Arc<ClosedOnDrop>, Arc<Error>>>;

/// A connection that is closed after its last user, not returned to the pool: statements may still run on it.
struct ClosedOnDrop(Option<Object>);

impl Drop for ClosedOnDrop {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}

/// A read's reference to a shared connection.
pub struct SharedConnection<'r> {
    slot: &'r Arc<Slot>,
    connection: Arc<ClosedOnDrop>,
    timeout: Duration,
    monitor: &'r DatabaseMonitor,
}

impl SharedConnections {
    /// # Errors
    /// As [`postgres::pool`].
    pub(crate) fn new(
        config: &DatabaseConfig,
        purpose: Purpose,
        monitor: Arc<DatabaseMonitor>,
    ) -> Result<SharedConnections> {
        let count = config.shared_connections;
        let slots = (0..count).map(|_| Arc::default()).collect();
        // A blocked connection stays open until its readers time out, while its replacement is in use.
        let pool = postgres::pool(config, 2 * count, purpose)?;
        Ok(SharedConnections {
            pool,
            database: Arc::new(config.clone()),
            read_timeout: config.response_timeout,
            monitor,
            slots,
            next: AtomicUsize::new(0),
        })
    }

    /// The next connection, round robin; opened if necessary.
    ///
    /// # Errors
    /// 503 while PostgreSQL is unavailable.
    pub(crate) async fn get(&self) -> Result<SharedConnection<'_>> {
        let slot = &self.slots[self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len()];
        let connection = match slot.connection() {
            Some(connection) => connection,
            None => {
                let opened = slot.open(&self.pool, &self.database).await;
                opened.inspect_err(|error| self.monitor.connection_failed(error))?
            }
        };
        Ok(SharedConnection { slot, connection, timeout: self.read_timeout, monitor: &self.monitor })
    }

    /// The number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.slots.iter().filter(|slot| slot.connection().is_some()).count()
    }
}

impl Slot {
    /// The connection, if it is open.
    fn connection(&self) -> Option<Arc<ClosedOnDrop>> {
        let is_open = |connection: &Arc<ClosedOnDrop>| connection.0.as_ref().is_some_and(|object| !object.is_closed());
        self.connection.load_full().filter(is_open)
    }

    /// Opens the connection, or waits for the task that is opening it. The task is independent of the readers, which a timeout
    /// cancels: if each of them retried after the failed attempt of another, the last one would wait for all attempts.
    async fn open(self: &Arc<Slot>, pool: &Pool, database: &Arc<DatabaseConfig>) -> Result<Arc<ClosedOnDrop>> {
        let mut receiver = self.join(pool, database);
        let result = tokio::time::timeout(database.pool_wait, receiver.wait_for(Option::is_some)).await;
        let result = result.map_err(|_| postgres::no_response(database, database.pool_wait))?;
        match result.or_internal()?.as_ref() {
            Some(Ok(connection)) => Ok(connection.clone()),
            Some(Err(error)) => Err(error.duplicate()),
            None => Err(Error::internal("the task ended without a result")),
        }
    }

    /// Starts the task that opens the connection, unless it is running.
    fn join(self: &Arc<Slot>, pool: &Pool, database: &Arc<DatabaseConfig>) -> watch::Receiver<OpenResult> {
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = opening.as_ref() {
            return receiver.clone();
        }
        // The task may have ended before the lock was taken.
        if let Some(connection) = self.connection() {
            return watch::channel(Some(Ok(connection))).1;
        }
        let (sender, receiver) = watch::channel(None);
        *opening = Some(receiver.clone());
        let (slot, pool, database) = (self.clone(), pool.clone(), database.clone());
        tokio::spawn(async move {
            // Frees the closed connection's place in the pool.
            slot.connection.store(None);
            let opened = pool.get().await.map(|object| Arc::new(ClosedOnDrop(Some(object))));
            slot.connection.store(opened.as_ref().ok().cloned());
            *slot.opening.lock().unwrap_or_else(PoisonError::into_inner) = None;
            sender.send_replace(Some(opened.map_err(|error| Arc::new(postgres::unavailable(&database, error)))));
        });
        receiver
    }
}

impl SharedConnection<'_> {
    /// Limits the time of a read over this connection. After a timeout, later reads use a new connection.
    ///
    /// # Errors
    /// 503 after the timeout.
    pub async fn with_timeout<T>(&self, read: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.timeout, read).await {
            Ok(result) => result,
            Err(_) => {
                self.slot.connection.compare_and_swap(&Some(self.connection.clone()), None);
                let error = QueryError::NoResponse(self.timeout);
                self.monitor.statement_failed(&error);
                Err(Error::from(error))
            }
        }
    }

    /// The result of a statement, of whose error the monitor takes notice.
    fn observe<T>(&self, result: Result<T, tokio_postgres::Error>) -> Result<T, QueryError> {
        result.map_err(QueryError::from).inspect_err(|error| self.monitor.statement_failed(error))
    }

    fn object(&self) -> &Object {
        self.connection.0.as_ref().expect("only drop takes it")
    }
}

impl Executor for SharedConnection<'_> {
    async fn prepare_cached(&self, sql: &str) -> Result<Statement, QueryError> {
        self.observe(self.object().prepare_cached(sql).await)
    }

    async fn query<T>(&self, statement: &T, parameters: Parameters<'_>) -> Result<Vec<Row>, QueryError>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.observe(self.object().query(statement, parameters).await)
    }

    async fn query_one<T>(&self, statement: &T, parameters: Parameters<'_>) -> Result<Row, QueryError>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.observe(self.object().query_one(statement, parameters).await)
    }

    async fn query_opt<T>(&self, statement: &T, parameters: Parameters<'_>) -> Result<Option<Row>, QueryError>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.observe(self.object().query_opt(statement, parameters).await)
    }

    async fn execute<T>(&self, statement: &T, parameters: Parameters<'_>) -> Result<u64, QueryError>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.observe(self.object().execute(statement, parameters).await)
    }
}
