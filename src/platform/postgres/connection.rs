//! Pooled connections and transactions.
//!
//! # Invariants
//!
//! A connection returns to the pool only when no statement and no transaction is open on it; otherwise it is closed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::Object;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement, ToStatement};

use super::DatabaseMonitor;
use crate::foundation::error::{ConstraintExt, Error, Result};

/// The parameters of a statement, `$1` first.
pub type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];
type QueryResult<T> = std::result::Result<T, QueryError>;

/// Why a statement has no result.
#[derive(Debug)]
pub enum QueryError {
    /// The server's error, or that of the connection.
    Postgres(tokio_postgres::Error),
    /// The server did not respond within this time.
    NoResponse(Duration),
}

impl QueryError {
    fn code(&self) -> Option<&SqlState> {
        match self {
            QueryError::Postgres(error) => error.code(),
            QueryError::NoResponse(_) => None,
        }
    }

    /// Whether the server, or the session, refuses writes: it is a standby since a failover.
    pub fn is_read_only(&self) -> bool {
        self.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// Whether the server has no disk space or memory, or its disk fails.
    pub(crate) fn lacks_resources(&self) -> bool {
        // A statement that exceeds `temp_file_limit` is the only one that fails.
        let is_other =
            |code: &SqlState| [SqlState::TOO_MANY_CONNECTIONS, SqlState::CONFIGURATION_LIMIT_EXCEEDED].contains(code);
        self.code()
            .is_some_and(|code| (code.code().starts_with("53") && !is_other(code)) || *code == SqlState::IO_ERROR)
    }

    /// Whether the statement failed because of the server and not because of the statement or its concurrent transactions.
    pub(crate) fn is_outage(&self) -> bool {
        match (self, self.code()) {
            (QueryError::NoResponse(_), _) => true,
            (_, Some(code)) => {
                let is_unavailable = ["08", "57P"].iter().any(|class| code.code().starts_with(class));
                let is_refused = self.is_read_only() || self.lacks_resources();
                is_unavailable || is_refused || *code == SqlState::TOO_MANY_CONNECTIONS
            }
            (QueryError::Postgres(error), None) => error.is_closed(),
        }
    }

    /// The name of the violated constraint or unique index.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            QueryError::Postgres(error) => error.as_db_error()?.constraint(),
            QueryError::NoResponse(_) => None,
        }
    }
}

impl From<tokio_postgres::Error> for QueryError {
    fn from(error: tokio_postgres::Error) -> QueryError {
        QueryError::Postgres(error)
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryError::Postgres(error) => match error.as_db_error() {
                Some(error) => error.fmt(f),
                None => error.fmt(f),
            },
            QueryError::NoResponse(timeout) => {
                write!(f, "PostgreSQL did not respond to a statement within {} ms", timeout.as_millis())
            }
        }
    }
}

impl std::error::Error for QueryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            QueryError::Postgres(error) => error.source(),
            QueryError::NoResponse(_) => None,
        }
    }
}

impl From<QueryError> for Error {
    #[track_caller]
    fn from(cause: QueryError) -> Error {
        match cause {
            QueryError::Postgres(cause) => Error::from(cause),
            QueryError::NoResponse(_) => Error::unavailable(cause),
        }
    }
}

impl<T> ConstraintExt<T> for QueryResult<T> {
    #[track_caller]
    fn on_constraint(self, name: &str, error: impl FnOnce() -> Error) -> Result<T> {
        match self {
            Ok(value) => Ok(value),
            Err(cause) if cause.constraint() == Some(name) => Err(error().with_cause(cause)),
            Err(cause) => Err(Error::from(cause)),
        }
    }
}

/// Runs statements: a [`Connection`], a [`Transaction`] or a shared connection.
///
/// Statements whose futures are polled together (`tokio::join!`) are pipelined in the order of their first polls.
pub trait Executor: Sync {
    /// Prepares a statement, once per connection.
    fn prepare_cached(&self, sql: &str) -> impl Future<Output = QueryResult<Statement>> + Send;

    /// Returns all rows.
    fn query<T>(&self, statement: &T, parameters: Parameters<'_>) -> impl Future<Output = QueryResult<Vec<Row>>> + Send
    where
        T: ?Sized + ToStatement + Sync;

    /// Returns the only row; it is an error if there is none or more than one.
    fn query_one<T>(&self, statement: &T, parameters: Parameters<'_>) -> impl Future<Output = QueryResult<Row>> + Send
    where
        T: ?Sized + ToStatement + Sync;

    /// Returns the row if there is one; it is an error if there is more than one.
    fn query_opt<T>(
        &self,
        statement: &T,
        parameters: Parameters<'_>,
    ) -> impl Future<Output = QueryResult<Option<Row>>> + Send
    where
        T: ?Sized + ToStatement + Sync;

    /// Returns the number of affected rows.
    fn execute<T>(&self, statement: &T, parameters: Parameters<'_>) -> impl Future<Output = QueryResult<u64>> + Send
    where
        T: ?Sized + ToStatement + Sync;
}

/// A connection of the pool. Dropping it returns it to the pool if it is idle. If a statement is still running (after a timeout or a
/// cancelled task), it is closed, because the next user would have to wait for that statement. It is also closed after an error of
/// the server, such as that it is read-only: a new connection may reach another server.
pub struct Connection {
    object: Option<Object>,
    /// The number of statements without a result, plus one for an open transaction.
    pending: AtomicUsize,
    has_server_error: AtomicBool,
    response_timeout: Duration,
    monitor: Option<Arc<DatabaseMonitor>>,
    /// Released after the connection.
    permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// `response_timeout` limits the time of each statement; `monitor` takes notice of errors of the server.
    pub fn new(object: Object, response_timeout: Duration, monitor: Option<Arc<DatabaseMonitor>>) -> Connection {
        let (pending, has_server_error) = (AtomicUsize::new(0), AtomicBool::new(false));
        Connection { object: Some(object), pending, has_server_error, response_timeout, monitor, permit: None }
    }

    /// The same connection, which holds a permit until it is dropped.
    pub fn holding(mut self, permit: OwnedSemaphorePermit) -> Connection {
        self.permit = Some(permit);
        self
    }

    /// Returns a transaction that begins in the same round trip as its first statement.
    pub fn begin(self) -> Transaction {
        Transaction { connection: self, has_begun: AtomicBool::new(false), failed: AtomicBool::new(false) }
    }

    fn object(&self) -> &Object {
        self.object.as_ref().expect("only drop takes it")
    }

    /// Dropping the future before its completion, and a timeout, leave the statement pending.
    async fn run<T>(&self, statement: impl Future<Output = Result<T, tokio_postgres::Error>>) -> QueryResult<T> {
        self.pending.fetch_add(1, Ordering::Relaxed);
        let result = match tokio::time::timeout(self.response_timeout, statement).await {
            Ok(result) => {
                self.pending.fetch_sub(1, Ordering::Relaxed);
                result.map_err(QueryError::from)
            }
            Err(_) => Err(QueryError::NoResponse(self.response_timeout)),
        };
        if let Err(error) = &result
            && error.is_outage()
        {
            self.has_server_error.store(true, Ordering::Relaxed);
            if let Some(monitor) = &self.monitor {
                monitor.statement_failed(error);
            }
        }
        result
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if *self.pending.get_mut() > 0 || *self.has_server_error.get_mut() {
            drop(self.object.take().map(Object::take));
        }
    }
}

impl Executor for Connection {
    async fn prepare_cached(&self, sql: &str) -> QueryResult<Statement> {
        self.run(self.object().prepare_cached(sql)).await
    }

    async fn query<T>(&self, statement: &T, parameters: Parameters<'_>) -> QueryResult<Vec<Row>>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.run(self.object().query(statement, parameters)).await
    }

    async fn query_one<T>(&self, statement: &T, parameters: Parameters<'_>) -> QueryResult<Row>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.run(self.object().query_one(statement, parameters)).await
    }

    async fn query_opt<T>(&self, statement: &T, parameters: Parameters<'_>) -> QueryResult<Option<Row>>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.run(self.object().query_opt(statement, parameters)).await
    }

    async fn execute<T>(&self, statement: &T, parameters: Parameters<'_>) -> QueryResult<u64>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.run(self.object().execute(statement, parameters)).await
    }
}

/// A transaction that owns its connection. Dropping it without [`Transaction::commit`] or [`Transaction::rollback`] closes the
/// connection, which rolls the transaction back.
pub struct Transaction {
    connection: Connection,
    has_begun: AtomicBool,
    failed: AtomicBool,
}

impl Transaction {
    /// Commits; the connection returns to the pool.
    ///
    /// # Errors
    /// Also if a statement failed and its error was ignored: PostgreSQL would roll back and report success.
    pub async fn commit(self) -> Result<()> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(Error::internal("the transaction has a failed statement and cannot be committed"));
        }
        Ok(self.end("commit").await?)
    }

    /// Rolls back; the connection returns to the pool.
    pub async fn rollback(self) -> Result<()> {
        Ok(self.end("rollback").await?)
    }

    /// Runs the last statement and commits in one round trip. If the statement fails, the transaction is rolled back.
    pub async fn query_one_and_commit(self, statement: &Statement, parameters: Parameters<'_>) -> QueryResult<Row> {
        let (row, ended) = tokio::join!(self.query_one(statement, parameters), self.end_open("commit"));
        let row = row?;
        ended?;
        Ok(row)
    }

    /// Like [`Transaction::query_one_and_commit`], with a `check` of what the statement has written: if the check fails, the transaction
    /// is rolled back too.
    pub async fn query_one_check_and_commit(
        self,
        (statement, parameters): (&Statement, Parameters<'_>),
        (check, check_parameters): (&Statement, Parameters<'_>),
    ) -> QueryResult<Row> {
        let (row, checked, ended) = tokio::join!(
            self.query_one(statement, parameters),
            self.execute(check, check_parameters),
            self.end_open("commit")
        );
        let row = row?;
        checked?;
        ended?;
        Ok(row)
    }

    async fn end(self, sql: &str) -> QueryResult<()> {
        if self.has_begun.load(Ordering::Relaxed) { self.end_open(sql).await } else { Ok(()) }
    }

    async fn end_open(&self, sql: &str) -> QueryResult<()> {
        self.connection.run(self.connection.object().batch_execute(sql)).await?;
        // The transaction is closed, which `run` counted as pending.
        self.connection.pending.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    async fn run<T>(&self, statement: impl Future<Output = QueryResult<T>>) -> QueryResult<T> {
        let result = if self.has_begun.swap(true, Ordering::Relaxed) {
            statement.await
        } else {
            self.connection.pending.fetch_add(1, Ordering::Relaxed);
            let (begin, result) =
                tokio::join!(self.connection.run(self.connection.object().batch_execute("begin")), statement);
            begin.and(result)
        };
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl Executor for Transaction {
    async fn prepare_cached(&self, sql: &str) -> QueryResult<Statement> {
        self.connection.prepare_cached(sql).await
    }

    async fn query<T>(&self, statement: &T, parameters: Parameters<'_>) -> QueryResult<Vec<Row>>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.run(self.connection.query(statement, parameters)).await
    }

    async fn query_one<T>(&self, statement: &T, parameters: Parameters<'_>) -> QueryResult<Row>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.run(self.connection.query_one(statement, parameters)).await
    }

    async fn query_opt<T>(&self, statement: &T, parameters: Parameters<'_>) -> QueryResult<Option<Row>>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.run(self.connection.query_opt(statement, parameters)).await
    }

    async fn execute<T>(&self, statement: &T, parameters: Parameters<'_>) -> QueryResult<u64>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.run(self.connection.execute(statement, parameters)).await
    }
}
