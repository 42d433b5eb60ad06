//! Settings and readers of `[retention]`, how long personal data is kept, and of `[books]`, the check of the stored data.

use std::time::Duration;

use super::toml_reader::Section;

/// How long personal data is kept after it has served its purpose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetentionConfig {
    /// The texts of emails, from when they were sent.
    pub mail_bodies: Duration,
    /// Email addresses of sent emails and printed receipts, and client addresses of payments.
    pub addresses: Duration,
}

pub(super) fn read_retention(root: &Section<'_, '_>) -> RetentionConfig {
    let help = "How long personal data is kept. A background job removes it; orders, amounts and times stay.";
    let section = root.section("retention", help);
    let days = |key, default, help| {
        let days = section.key(key, help).number(1..=3_650, default);
        Duration::from_secs(86_400 * u64::from(days))
    };
    let retention = RetentionConfig {
        mail_bodies: days("mail_bodies_days", 30, "Days for which the texts of sent emails are kept."),
        addresses: days(
            "addresses_days",
            365,
            "Days for which email addresses of sent emails and printed receipts, and client addresses of payments, are kept. An email that \
             could not be sent is deleted after as many days.",
        ),
    };
    section.finish();
    retention
}

/// The nightly check of the stored data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BooksConfig {
    /// Hour of the day in the brand's time zone.
    pub hour: i8,
    /// Of each query.
    pub timeout: Duration,
}

pub(super) fn read_books(root: &Section<'_, '_>) -> BooksConfig {
    let help = "The nightly check that stock, ratings, categories, payments, refunds, receipts and emails agree \
                (`brandgate check --books`).";
    let section = root.section("books", help);
    let hour = section.key("hour", "Hour of the day in `timezone` from which it runs.").number(0..=23, 4);
    let books = BooksConfig {
        hour: i8::try_from(hour).unwrap_or_default(),
        timeout: section
            .key("timeout_s", "Timeout of each of its queries, which read whole tables.")
            .seconds(1..=86_400, 600),
    };
    section.finish();
    books
}
