//! A lock of a table or a row that makes statements wait.

use tokio_postgres::NoTls;

use super::services::eventually_async;
use super::site::Site;

/// A transaction that locks the table of items, or one of its rows, exclusively.
pub(crate) struct TableLock(tokio_postgres::Client);

impl TableLock {
    pub(crate) async fn on_items(site: &Site, brand: &str) -> TableLock {
        TableLock::with(site, &format!("lock table {brand}.item in access exclusive mode")).await
    }

    pub(crate) async fn on_item(site: &Site, brand: &str, item_id: i64) -> TableLock {
        TableLock::with(site, &format!("select from {brand}.item where item_id = {item_id} for update")).await
    }

    async fn with(site: &Site, lock: &str) -> TableLock {
        let url = site.services.admin_url(&site.database);
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("the server is up");
        tokio::spawn(async move { drop(connection.await) });
        client.batch_execute(&format!("begin; {lock}")).await.expect("the lock is free");
        TableLock(client)
    }

    /// Runs a statement in the transaction.
    pub(crate) async fn execute(&self, statement: &str) {
        self.0.batch_execute(statement).await.expect("no other transaction is in the way");
    }

    /// The number of waiting statements of pools: of requests and jobs.
    pub(crate) async fn waiting(&self) -> i64 {
        // A transaction sees the `pg_stat_activity` of its first look at it.
        self.0.batch_execute("select pg_stat_clear_snapshot()").await.expect("the connection is open");
        let waiting = "select count(*) from pg_locks join pg_stat_activity using (pid) where not granted \
                       and datname = current_database() and application_name like 'brandgate %'";
        self.0.query_one(waiting, &[]).await.expect("the connection is open").get(0)
    }

    /// Waits until `count` statements wait.
    pub(crate) async fn await_waiting(&self, count: i64) {
        let enough = async || (self.waiting().await >= count).then_some(());
        eventually_async("statements wait for the lock", 20, enough).await;
    }

    pub(crate) async fn release(self) {
        self.0.batch_execute("commit").await.expect("the connection is open");
    }
}
