//! Pooled connections and transactions that cannot go back to the pool while a statement or a transaction is open on them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement, ToStatement};

use crate::foundation::error::{Error, Result};

/// The parameters of a statement, `$1` first.
pub type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];
type Answer<T> = std::result::Result<T, tokio_postgres::Error>;

/// What runs statements: a [`Connection`], a [`Transaction`] or a share of a connection.
///
/// Statements whose futures are polled together (`tokio::join!`) are pipelined in the order of their first polls.
pub trait Executor: Sync {
    /// Prepares a statement once for each connection.
    fn prepare_cached(&self, sql: &str) -> impl Future<Output = Answer<Statement>> + Send;

    /// Returns all rows.
    fn query<T>(&self, statement: &T, parameters: Parameters<'_>) -> impl Future<Output = Answer<Vec<Row>>> + Send
    where
        T: ?Sized + ToStatement + Sync;

    /// Returns the only row; no row and several rows are errors.
    fn query_one<T>(&self, statement: &T, parameters: Parameters<'_>) -> impl Future<Output = Answer<Row>> + Send
    where
        T: ?Sized + ToStatement + Sync;

    /// Returns the row if there is one; several rows are an error.
    fn query_opt<T>(
        &self,
        statement: &T,
        parameters: Parameters<'_>,
    ) -> impl Future<Output = Answer<Option<Row>>> + Send
    where
        T: ?Sized + ToStatement + Sync;

    /// Returns how many rows were affected.
    fn execute<T>(&self, statement: &T, parameters: Parameters<'_>) -> impl Future<Output = Answer<u64>> + Send
    where
        T: ?Sized + ToStatement + Sync;
}

/// A connection of the pool. It returns to the pool when it is dropped idle, and is closed when it is dropped while a statement runs on
/// it (a deadline passed, a task was cancelled): the next user would have to wait behind that statement.
pub struct Connection {
    object: Option<Object>,
    /// Statements that were sent and not answered, and one for an open transaction.
    running: AtomicUsize,
}

impl Connection {
    pub fn new(object: Object) -> Connection {
        Connection { object: Some(object), running: AtomicUsize::new(0) }
    }

    /// Begins a transaction with the first statement that it runs, in the same round trip.
    pub fn begin(self) -> Transaction {
        Transaction { connection: self, begun: AtomicBool::new(false), failed: AtomicBool::new(false) }
    }

    fn object(&self) -> &Object {
        self.object.as_ref().expect("only drop takes it")
    }

    /// A future that is dropped before its end leaves the count up.
    async fn run<T>(&self, statement: impl Future<Output = T>) -> T {
        self.running.fetch_add(1, Ordering::Relaxed);
        let answer = statement.await;
        self.running.fetch_sub(1, Ordering::Relaxed);
        answer
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if *self.running.get_mut() > 0 {
            drop(self.object.take().map(Object::take));
        }
    }
}

impl Executor for Connection {
    async fn prepare_cached(&self, sql: &str) -> Answer<Statement> {
        self.run(self.object().prepare_cached(sql)).await
    }

    async fn query<T>(&self, statement: &T, parameters: Parameters<'_>) -> Answer<Vec<Row>>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.run(self.object().query(statement, parameters)).await
    }

    async fn query_one<T>(&self, statement: &T, parameters: Parameters<'_>) -> Answer<Row>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.run(self.object().query_one(statement, parameters)).await
    }

    async fn query_opt<T>(&self, statement: &T, parameters: Parameters<'_>) -> Answer<Option<Row>>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.run(self.object().query_opt(statement, parameters)).await
    }

    async fn execute<T>(&self, statement: &T, parameters: Parameters<'_>) -> Answer<u64>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.run(self.object().execute(statement, parameters)).await
    }
}

/// A transaction and the connection that it runs on. Dropped without [`Transaction::commit`] or [`Transaction::rollback`], it
/// closes the connection, which ends the transaction.
pub struct Transaction {
    connection: Connection,
    begun: AtomicBool,
    failed: AtomicBool,
}

impl Transaction {
    /// Commits; the connection returns to the pool.
    ///
    /// # Errors
    /// Also when a statement has failed and its error was not passed on: PostgreSQL would roll back and report success.
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

    /// Runs the last statement and commits in one round trip. When the statement fails, everything is rolled back.
    pub async fn query_one_and_commit(self, statement: &Statement, parameters: Parameters<'_>) -> Answer<Row> {
        let (row, ended) = tokio::join!(self.query_one(statement, parameters), self.end_open("commit"));
        let row = row?;
        ended?;
        Ok(row)
    }

    async fn end(self, sql: &str) -> Answer<()> {
        if self.begun.load(Ordering::Relaxed) { self.end_open(sql).await } else { Ok(()) }
    }

    async fn end_open(&self, sql: &str) -> Answer<()> {
        self.connection.run(self.connection.object().batch_execute(sql)).await?;
        // That of `run` in this transaction's place.
        self.connection.running.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    async fn run<T>(&self, statement: impl Future<Output = Answer<T>>) -> Answer<T> {
        let answer = if self.begun.swap(true, Ordering::Relaxed) {
            statement.await
        } else {
            self.connection.running.fetch_add(1, Ordering::Relaxed);
            let (begun, answer) = tokio::join!(self.connection.object().batch_execute("begin"), statement);
            begun.and(answer)
        };
        if answer.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        answer
    }
}

impl Executor for Transaction {
    async fn prepare_cached(&self, sql: &str) -> Answer<Statement> {
        self.connection.prepare_cached(sql).await
    }

    async fn query<T>(&self, statement: &T, parameters: Parameters<'_>) -> Answer<Vec<Row>>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.run(self.connection.query(statement, parameters)).await
    }

    async fn query_one<T>(&self, statement: &T, parameters: Parameters<'_>) -> Answer<Row>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.run(self.connection.query_one(statement, parameters)).await
    }

    async fn query_opt<T>(&self, statement: &T, parameters: Parameters<'_>) -> Answer<Option<Row>>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.run(self.connection.query_opt(statement, parameters)).await
    }

    async fn execute<T>(&self, statement: &T, parameters: Parameters<'_>) -> Answer<u64>
    where
        T: ?Sized + ToStatement + Sync,
    {
        self.run(self.connection.execute(statement, parameters)).await
    }
}
