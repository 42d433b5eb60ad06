//! SQL of the check of the books. The queries of the books are in files of their own.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Client;

use super::BookErrors;
use crate::foundation::error::Result;
use crate::platform::postgres::{Executor, Transaction};

/// The result of the last nightly check of a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedBook {
    pub book: String,
    /// Rows that disagree.
    pub errors: i64,
    pub checked_at: Timestamp,
}

/// Begins a transaction that reads one snapshot, and whose statements the server ends after `timeout`.
pub(super) async fn begin_snapshot(client: &Client, timeout: Duration) -> Result<()> {
    client.batch_execute("begin isolation level repeatable read read only").await?;
    let timeout_ms = timeout.as_millis().to_string();
    client.execute("select set_config('statement_timeout', $1, true)", &[&timeout_ms]).await?;
    Ok(())
}

/// Runs the query of a book.
pub(super) async fn errors(client: &Client, sql: &str, limit: i64) -> Result<Vec<String>> {
    let rows = client.query(sql, &[&limit]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// `false` when a check was started since `due`.
pub(super) async fn claim(client: &impl Executor, due: Timestamp, now: Timestamp) -> Result<bool> {
    let statement = client
        .prepare_cached(
            r"insert into books_run (started_at) values ($2)
              on conflict (only_row) do update set started_at = excluded.started_at where books_run.started_at < $1",
        )
        .await?;
    Ok(client.execute(&statement, &[&due, &now]).await? == 1)
}

/// Undoes [`claim`] after a failure.
pub(super) async fn release(client: &impl Executor) -> Result<()> {
    let statement = client.prepare_cached("delete from books_run").await?;
    client.execute(&statement, &[]).await?;
    Ok(())
}

/// Replaces the stored results and commits.
pub(super) async fn save(transaction: Transaction, checked: &[BookErrors], now: Timestamp) -> Result<()> {
    let clear = transaction.prepare_cached("delete from book_check").await?;
    let insert = transaction
        .prepare_cached(
            r"insert into book_check (book, errors, checked_at)
              select book, errors, $3 from unnest($1::text[], $2::bigint[]) b (book, errors)",
        )
        .await?;
    let books: Vec<&str> = checked.iter().map(|checked| checked.book).collect();
    let errors: Vec<i64> =
        checked.iter().map(|checked| i64::try_from(checked.rows.len()).unwrap_or(i64::MAX)).collect();
    transaction.execute(&clear, &[]).await?;
    transaction.execute(&insert, &[&books, &errors, &now]).await?;
    transaction.commit().await
}

pub(super) async fn last_checked(client: &impl Executor) -> Result<Vec<CheckedBook>> {
    let statement = client.prepare_cached("select book, errors, checked_at from book_check order by book").await?;
    let rows = client.query(&statement, &[]).await?;
    let checked = rows.iter().map(|row| CheckedBook {
        book: row.get("book"),
        errors: row.get("errors"),
        checked_at: row.get("checked_at"),
    });
    Ok(checked.collect())
}
