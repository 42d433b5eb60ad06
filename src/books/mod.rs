//! The check of the books: whether stored data that must agree does agree.
//!
//! # Invariants
//! - A check reads one snapshot of the database and changes nothing, so that requests at the same time cause no finding.
//! - Every row that disagrees is named.

mod store;

use jiff::{SignedDuration, Timestamp};

use crate::config::BrandConfig;
use crate::foundation::error::{Result, ResultExt};
use crate::platform::postgres;
use crate::tenant::brand::Brand;

pub use store::CheckedBook;

/// A part of the data, and the query that returns a text for every row that disagrees. Its one parameter limits the rows.
struct Book {
    name: &'static str,
    sql: &'static str,
    /// Whether the brand's configuration lets the query be meaningful.
    applies: fn(&BrandConfig) -> bool,
}

static BOOKS: [Book; 12] = [
    Book { name: "holds", sql: include_str!("holds.sql"), applies: |_| true },
    Book { name: "stock", sql: include_str!("stock.sql"), applies: |_| true },
    Book { name: "movements", sql: include_str!("movements.sql"), applies: |_| true },
    Book { name: "ratings", sql: include_str!("ratings.sql"), applies: |_| true },
    Book { name: "categories", sql: include_str!("categories.sql"), applies: |_| true },
    Book { name: "payments", sql: include_str!("payments.sql"), applies: |_| true },
    Book { name: "refunds", sql: include_str!("refunds.sql"), applies: |_| true },
    Book { name: "settlements", sql: include_str!("settlements.sql"), applies: |_| true },
    Book { name: "unknown money", sql: include_str!("unknown_money.sql"), applies: |_| true },
    Book { name: "receipts", sql: include_str!("receipts.sql"), applies: |config| config.fiscal.is_some() },
    Book { name: "mails", sql: include_str!("mails.sql"), applies: |_| true },
    Book { name: "unsent mails", sql: include_str!("unsent_mails.sql"), applies: |config| config.mail.is_some() },
];

/// The most rows of a book that are named.
pub const MAX_NAMED_ROWS: i64 = 100;

/// The most rows of a book that the nightly check counts.
const MAX_COUNTED_ROWS: i64 = 10_000;

/// The names of all books, which are the labels of their metric.
pub fn names() -> impl Iterator<Item = &'static str> {
    BOOKS.iter().map(|book| book.name)
}

/// A book and its rows that disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookErrors {
    pub book: &'static str,
    /// One message a row.
    pub rows: Vec<String>,
}

/// Checks all books that apply to the brand, over a connection of its own; returns at most `limit` rows of each.
///
/// # Errors
/// 503 when PostgreSQL is unavailable; 504 when a query takes longer than `[books] timeout_s`.
pub async fn check(config: &BrandConfig, limit: i64) -> Result<Vec<BookErrors>> {
    let client = postgres::connect(&config.database).await?;
    store::begin_snapshot(&client, config.books.timeout).await?;
    let mut checked = Vec::new();
    for book in BOOKS.iter().filter(|book| (book.applies)(config)) {
        let rows = tokio::time::timeout(config.books.timeout, store::errors(&client, book.sql, limit)).await;
        checked.push(BookErrors { book: book.name, rows: rows.or_timeout()?? });
    }
    Ok(checked)
}

/// Checks the books once a night, on one instance, and stores how many rows of each disagree. Returns 0: no further run is needed.
///
/// # Errors
/// 503 and 504 as [`check`]; the next run tries again.
pub async fn check_nightly(brand: &Brand) -> Result<u64> {
    let now = brand.clock.now();
    let due = last_due(now, brand)?;
    if !store::claim(&brand.postgres().await?, due, now).await? {
        return Ok(0);
    }
    match check(&brand.config, MAX_COUNTED_ROWS).await {
        Ok(checked) => {
            store::save(brand.transaction().await?, &checked, brand.clock.now()).await?;
            for BookErrors { book, rows } in checked.iter().filter(|checked| !checked.rows.is_empty()) {
                tracing::error!(
                    brand = brand.name(),
                    book,
                    rows = rows.len(),
                    first = rows[0],
                    "stored data disagrees; run brandgate check --books"
                );
            }
            Ok(0)
        }
        Err(error) => {
            store::release(&brand.postgres().await?).await?;
            Err(error)
        }
    }
}

/// The last time at which the check became due.
fn last_due(now: Timestamp, brand: &Brand) -> Result<Timestamp> {
    let local = now.to_zoned(brand.config.timezone.clone());
    let today = local.date().at(brand.config.books.hour, 0, 0, 0).to_zoned(brand.config.timezone.clone());
    let today = today.or_internal()?.timestamp();
    Ok(if today <= now { today } else { today - SignedDuration::from_hours(24) })
}

/// The results of the last nightly check; none before the first.
///
/// # Errors
/// 503 while PostgreSQL is unavailable.
pub async fn last_checked(brand: &Brand) -> Result<Vec<CheckedBook>> {
    store::last_checked(&brand.postgres().await?).await
}
