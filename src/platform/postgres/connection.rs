//! Pooled connections and transactions.
//!
//! # Invariants
//!
//! A connection returns to the pool only when no statement and no transaction is open on it; otherwise it is closed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use deadpool_postgres::Object;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement, ToStatement};

use crate::foundation::error::{Error, Result};

/// The parameters of a statement, `$1` first.
pub type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];
type QueryResult<T> = std::result::Result<T, tokio_postgres::Error>;

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
/// cancelled task), it is closed, because the next user would have to wait for that statement.
pub struct Connection {
    object: Option<Object>,
    /// The number of statements without a result, plus one for an open transaction.
    pending: AtomicUsize,
    /// Released after the connection.
    permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    pub fn new(object: Object) -> Connection {
        Connection { object: Some(object), pending: AtomicUsize::new(0), permit: None }
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

    /// Dropping the future before its completion leaves the statement pending.
    async fn run<T>(&self, statement: impl Future<Output = T>) -> T {
        self.pending.fetch_add(1, Ordering::Relaxed);
        let result = statement.await;
        self.pending.fetch_sub(1, Ordering::Relaxed);
        result
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if *self.pending.get_mut() > 0 {
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
            let (begin, result) = tokio::join!(self.connection.object().batch_execute("begin"), statement);
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
