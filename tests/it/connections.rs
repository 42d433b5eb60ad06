//! Pooled connections: which of them return to the pool, and that none returns with an open transaction or a running statement.

use std::time::Duration;

use brandgate::config;
use brandgate::platform::postgres::{self, Connection, Executor, Purpose};
use deadpool_postgres::Pool;

use crate::harness::Site;

/// A site and a pool with a single connection, so that each user gets the connection of the last one.
fn pool_of_one() -> (Site, Pool) {
    let site = Site::new(&["dexar"]);
    let credentials = site.directory.path().join("credentials");
    let config = config::load_file(&site.brand_path("dexar"), Some(&credentials)).expect("a valid file");
    let pool = postgres::pool(&config.database, 1, Purpose::Work).expect("no certificates");
    (site, pool)
}

async fn connection(pool: &Pool) -> Connection {
    Connection::new(pool.get().await.expect("a connection"), Duration::from_secs(20), None)
}

/// The server process of a connection, and whether a transaction is open on it: `now()` is constant in a transaction.
async fn state(connection: &Connection) -> (i32, bool) {
    let now = async || connection.query_one("select pg_backend_pid(), now()::text", &[]).await.expect("a row");
    let (first, second) = (now().await, now().await);
    (first.get(0), first.get::<_, String>(1) == second.get::<_, String>(1))
}

async fn insert(executor: &impl Executor, name: &str) {
    let sql = "insert into lease (name, holder, expires_at) values ($1, 'test', now())";
    assert_eq!(executor.execute(sql, &[&name]).await.expect("inserted"), 1);
}

#[tokio::test]
async fn idle_connection_returns_to_the_pool_after_success_and_after_an_error() {
    let (_site, pool) = pool_of_one();
    let first = connection(&pool).await;
    let (pid, _) = state(&first).await;
    drop(first);
    let second = connection(&pool).await;
    second.query_one("select 1 / 0", &[]).await.expect_err("a division by zero");
    drop(second);
    assert_eq!(state(&connection(&pool).await).await, (pid, false));
}

#[tokio::test]
async fn connection_with_a_cancelled_statement_is_closed() {
    let (_site, pool) = pool_of_one();
    let first = connection(&pool).await;
    let (pid, _) = state(&first).await;
    let slow = first.query_one("select pg_sleep(60)", &[]);
    tokio::time::timeout(Duration::from_millis(50), slow).await.expect_err("it still runs");
    drop(first);
    let (next, _) = state(&connection(&pool).await).await;
    assert_ne!(next, pid);
}

#[tokio::test]
async fn dropped_transaction_is_rolled_back() {
    let (site, pool) = pool_of_one();
    let first = connection(&pool).await;
    let (pid, _) = state(&first).await;
    let transaction = first.begin();
    insert(&transaction, "dropped").await;
    drop(transaction);
    let (next, is_open) = state(&connection(&pool).await).await;
    assert!(next != pid && !is_open);
    assert_eq!(site.sql_as("dexar", "select count(*) from lease").expect("a count"), "0");
}

#[tokio::test]
async fn completed_transaction_returns_its_connection() {
    let (site, pool) = pool_of_one();
    let first = connection(&pool).await;
    let (pid, _) = state(&first).await;
    let transaction = first.begin();
    insert(&transaction, "committed").await;
    transaction.commit().await.expect("committed");
    let transaction = connection(&pool).await.begin();
    insert(&transaction, "rolled back").await;
    transaction.rollback().await.expect("rolled back");
    connection(&pool).await.begin().commit().await.expect("nothing to commit");
    let transaction = connection(&pool).await.begin();
    insert(&transaction, "with the commit").await;
    let statement = transaction.prepare_cached("select count(*) from lease").await.expect("prepared");
    let row = transaction.query_one_and_commit(&statement, &[]).await.expect("committed");
    assert_eq!(row.get::<_, i64>(0), 2);
    assert_eq!(state(&connection(&pool).await).await, (pid, false));
    assert_eq!(
        site.sql_as("dexar", "select string_agg(name, ', ' order by name) from lease").expect("names"),
        "committed, with the commit"
    );
}

#[tokio::test]
async fn transaction_with_a_failed_statement_is_not_committed() {
    let (site, pool) = pool_of_one();
    let transaction = connection(&pool).await.begin();
    insert(&transaction, "before").await;
    transaction.query_one("select 1 / 0", &[]).await.expect_err("a division by zero");
    transaction.commit().await.expect_err("PostgreSQL would roll back and report success");
    let transaction = connection(&pool).await.begin();
    insert(&transaction, "before").await;
    let statement = transaction.prepare_cached("select 1 / 0").await.expect("prepared");
    transaction.query_one_and_commit(&statement, &[]).await.expect_err("a division by zero");
    assert!(!state(&connection(&pool).await).await.1);
    assert_eq!(site.sql_as("dexar", "select count(*) from lease").expect("a count"), "0");
}
