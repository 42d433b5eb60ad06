//! SQL of a test outside the gateway, and databases that are copied instead of migrated.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use tokio_postgres::{Config, NoTls, SimpleQueryMessage, SimpleQueryRow};

/// Runs statements on a new connection and returns the rows as psql prints them unaligned: columns separated by `|`, NULL empty.
///
/// # Errors
/// The server's error, as psql prints it.
pub(super) fn run(config: &Config, sql: &str) -> Result<String, String> {
    let run = async {
        let (client, connection) = config.connect(NoTls).await?;
        let driver = tokio::spawn(connection);
        let result = client.simple_query(sql).await;
        drop(client);
        // Until the server has received the end of the connection.
        drop(driver.await);
        result
    };
    let on_thread = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(run)
    };
    // A test may call this on a thread of its runtime, which must not block on another one.
    let result = std::thread::scope(|scope| scope.spawn(on_thread).join().expect("no panic"));
    let messages = result.map_err(|error| message(&error))?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(line(row)),
        _ => None,
    });
    Ok(rows.collect::<Vec<_>>().join("\n").trim_end().to_owned())
}

fn line(row: &SimpleQueryRow) -> String {
    (0..row.len()).map(|column| row.get(column).unwrap_or_default()).collect::<Vec<_>>().join("|")
}

fn message(error: &tokio_postgres::Error) -> String {
    let Some(error) = error.as_db_error() else { return error.to_string() };
    let detail = error.detail().map(|detail| format!("\nDETAIL:  {detail}"));
    format!("{}:  {}{}", error.severity(), error.message(), detail.unwrap_or_default())
}

/// The databases that new ones are copied from, by what they contain.
#[derive(Default)]
pub(super) struct Templates(Mutex<HashMap<String, Arc<OnceLock<String>>>>);

impl Templates {
    /// The name of the database with this content, after creating it once.
    pub(super) fn get(&self, content: &str, create: impl FnOnce() -> String) -> String {
        let template = {
            // A panic of another test leaves no incomplete entry.
            let mut templates = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            templates.entry(content.to_owned()).or_default().clone()
        };
        template.get_or_init(create).clone()
    }
}
