//! The arguments of `brandgate payments list` that select payments, and the payment that an argument of `show` names.

use brandgate::foundation::error::{Error, Result};
use brandgate::payments::{self, PaymentFilter, Status};
use brandgate::tenant::brand::Brand;
use jiff::Timestamp;
use jiff::civil::Date;

#[derive(clap::Args)]
pub(crate) struct PaymentSearch {
    /// List only payments that were begun at this time or later: 2026-02-28 (in the brand's time zone) or 2026-02-28T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// List only payments of the order with this siteorderID
    #[arg(long, value_name = "ORDER")]
    order: Option<String>,
    /// List only payments of this Telegram user, given by id or user name
    #[arg(long)]
    user: Option<String>,
    /// List only payments with this item, given by its number
    #[arg(long, value_name = "ID")]
    item: Option<i64>,
    /// List only payments in this status: CREATED, WAITING, COMPLETED, EXPIRED or CANCELLED
    #[arg(long, value_parser = status)]
    status: Option<Status>,
}

/// From a time on.
#[derive(Debug, Clone, Copy)]
enum Since {
    Time(Timestamp),
    /// From the beginning of the day in the brand's time zone.
    Day(Date),
}

fn since(text: &str) -> std::result::Result<Since, String> {
    if let Ok(time) = text.parse() {
        return Ok(Since::Time(time));
    }
    // A time without an offset is refused, although it begins with a date.
    let day = text.parse().ok().filter(|_| text.len() == 10);
    let expected = "expected a date such as 2026-02-28, or a time such as 2026-02-28T12:00:00Z";
    day.map(Since::Day).ok_or_else(|| expected.to_owned())
}

fn status(text: &str) -> std::result::Result<Status, String> {
    let status = Status::parse(&text.to_ascii_uppercase());
    status.ok_or_else(|| "expected CREATED, WAITING, COMPLETED, EXPIRED or CANCELLED".to_owned())
}

impl PaymentSearch {
    /// Adds these arguments to a filter.
    pub(crate) fn apply<'a>(&'a self, filter: PaymentFilter<'a>, brand: &Brand) -> PaymentFilter<'a> {
        let since = self.since.and_then(|since| match since {
            Since::Time(time) => Some(time),
            Since::Day(date) => date.to_zoned(brand.config.timezone.clone()).ok().map(|start| start.timestamp()),
        });
        PaymentFilter {
            since,
            site_order_id: self.order.as_deref(),
            user: self.user.as_deref().map(|user| user.trim_start_matches('@')),
            item_id: self.item,
            status: self.status,
            ..filter
        }
    }
}

/// The number of the payment that a text names: its number, the `siteorderID` of its order, or the bank's order id.
///
/// # Errors
/// 404 when there is none, 409 that lists them when there is more than one.
pub(crate) async fn resolve(brand: &Brand, reference: &str) -> Result<i64> {
    let found = payments::ids_of(brand, reference).await?;
    match &found[..] {
        [id] => Ok(*id),
        [] => Err(Error::not_found("payment")),
        several => {
            let several: Vec<String> = several.iter().map(ToString::to_string).collect();
            let message =
                format!("{reference} is the order of payments {}; name one by its number.", several.join(", "));
            Err(Error::conflict("several_payments", message))
        }
    }
}
