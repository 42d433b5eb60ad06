//! `brandgate outbox`: lists queued and failed emails and receipts, and retries them.
//!
//! An id names its kind: `mail-12`, `receipt-17` (the receipt of payment 17), `refund-receipt-ID` (the receipt of a refund).

use std::str::FromStr;

use brandgate::config::BrandConfig;
use brandgate::foundation::count::{counted, is_or_are};
use brandgate::mail::{self, Outbox, OutboxEntry, RetryOutcome};
use brandgate::payments::receipt::{self, Receipt, ReceiptSubject};
use brandgate::tenant::brand::Brand;
use serde::Serialize;

use super::list::{self, Align, Row};
use super::open;
use super::output::say;

#[derive(clap::Subcommand)]
pub(crate) enum OutboxCommand {
    /// List queued and failed emails and receipts, oldest first
    List(OutboxListArguments),
    /// Retry an email or a receipt now, whether it is queued or failed
    Retry(Retry),
}

#[derive(clap::Args)]
pub(crate) struct OutboxListArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// List only what failed for good
    #[arg(long)]
    failed: bool,
    /// List at most this many emails
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    count: i64,
    /// Print a JSON array of objects: id, status, to, about, tries, nextTryAt, lastError
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct Retry {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// Id as `outbox list` shows it: mail-12, receipt-17, refund-receipt-ID
    #[arg(value_name = "ID", required_unless_present = "all_failed", conflicts_with = "all_failed")]
    id: Option<Id>,
    /// Retry everything that failed for good
    #[arg(long)]
    all_failed: bool,
}

#[derive(Clone)]
enum Id {
    Mail(i64),
    Receipt(ReceiptSubject),
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Id, String> {
        let number = |prefix: &str| text.strip_prefix(prefix).and_then(|number| number.parse().ok());
        let payment = || number("receipt-").map(ReceiptSubject::Payment);
        let refund = || text.strip_prefix("refund-receipt-").map(|id| ReceiptSubject::Refund(id.to_owned()));
        let id = number("mail-").map(Id::Mail).or_else(|| payment().or_else(refund).map(Id::Receipt));
        id.ok_or_else(|| "expected an id such as mail-12 or receipt-17".to_owned())
    }
}

/// The id of a receipt, as [`Id`] parses it.
fn receipt_id(subject: &ReceiptSubject) -> String {
    match subject {
        ReceiptSubject::Payment(id) => format!("receipt-{id}"),
        ReceiptSubject::Refund(id) => format!("refund-receipt-{id}"),
    }
}

/// # Errors
/// A message that names the brand.
pub(crate) async fn run(brands: &[BrandConfig], command: OutboxCommand) -> Result<(), String> {
    match command {
        OutboxCommand::List(arguments) => {
            let brand = open(brands, &arguments.brand).await?;
            list(&brand, &arguments).await
        }
        OutboxCommand::Retry(arguments) => {
            let brand = open(brands, &arguments.brand).await?;
            retry(&brand, &arguments).await
        }
    }
}

async fn list(brand: &Brand, arguments: &OutboxListArguments) -> Result<(), String> {
    let with_brand = |error| format!("{}: {error}", brand.name());
    let Outbox { entries, queued, failed } =
        mail::list(brand, arguments.failed, arguments.count).await.map_err(with_brand)?;
    let receipts = receipt::list(brand, arguments.failed).await.map_err(with_brand)?;
    let mails = entries.iter().map(OutboxRow::of_mail);
    let rows: Vec<OutboxRow<'_>> = mails.chain(receipts.iter().map(OutboxRow::of_receipt)).collect();
    list::print(&rows, arguments.json);
    if arguments.json {
        return Ok(());
    }
    say!("{}: {} queued, {failed} failed", brand.name(), counted(queued, "email"));
    if !receipts.is_empty() {
        let failed = receipts.iter().filter(|receipt| receipt.status == FAILED).count();
        say!("{}: {} queued, {failed} failed", brand.name(), counted(receipts.len() - failed, "receipt"));
    }
    Ok(())
}

/// The status of a failed receipt; tables show it in capitals for emails too.
const FAILED: &str = "FAILED";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutboxRow<'a> {
    id: String,
    status: &'static str,
    /// `None`: the brand's fallback address.
    to: Option<&'a str>,
    about: String,
    tries: i64,
    /// `None` after the last attempt.
    next_try_at: Option<String>,
    last_error: Option<&'a str>,
}

impl OutboxRow<'_> {
    fn of_mail(mail: &OutboxEntry) -> OutboxRow<'_> {
        OutboxRow {
            id: format!("mail-{}", mail.id),
            status: status(mail.is_failed),
            to: Some(&mail.to),
            about: mail.subject_key.clone(),
            tries: mail.attempts.into(),
            next_try_at: (!mail.is_failed).then(|| list::time(mail.next_attempt_at)),
            last_error: mail.last_error.as_deref(),
        }
    }

    fn of_receipt(receipt: &Receipt) -> OutboxRow<'_> {
        let has_failed = receipt.status == FAILED;
        OutboxRow {
            id: receipt_id(&receipt.subject),
            status: status(has_failed),
            to: receipt.email.as_deref(),
            about: format!("payment:{}", receipt.payment_id),
            tries: receipt.tries,
            next_try_at: (!has_failed).then(|| list::time(receipt.next_try_at)),
            last_error: receipt.last_error.as_deref(),
        }
    }
}

fn status(has_failed: bool) -> &'static str {
    if has_failed { "failed" } else { "queued" }
}

impl Row for OutboxRow<'_> {
    const COLUMNS: &'static [(&'static str, Align)] = &[
        ("id", Align::Left),
        ("status", Align::Left),
        ("to", Align::Left),
        ("about", Align::Left),
        ("tries", Align::Right),
        ("next try", Align::Left),
        ("last error", Align::Left),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            if self.next_try_at.is_none() { FAILED } else { self.status }.to_owned(),
            self.to.unwrap_or("the fallback address").to_owned(),
            self.about.clone(),
            self.tries.to_string(),
            self.next_try_at.clone().unwrap_or_else(|| "never".to_owned()),
            self.last_error.unwrap_or_default().to_owned(),
        ]
    }
}

async fn retry(brand: &Brand, arguments: &Retry) -> Result<(), String> {
    let with_brand = |error| format!("{}: {error}", brand.name());
    match &arguments.id {
        Some(Id::Mail(id)) => match mail::retry(brand, *id).await.map_err(with_brand)? {
            RetryOutcome::Due => say!("{}: mail-{id} is due now", brand.name()),
            RetryOutcome::AlreadySent => {
                return Err(format!("{}: mail-{id} was sent and cannot be sent again", brand.name()));
            }
            RetryOutcome::Unknown => return Err(format!("{}: there is no mail-{id}", brand.name())),
        },
        Some(Id::Receipt(subject)) => match receipt::retry(brand, subject).await.map_err(with_brand)? {
            true => say!("{}: {} is due now", brand.name(), receipt_id(subject)),
            false => return Err(format!("{}: {} is done or does not exist", brand.name(), receipt_id(subject))),
        },
        None => {
            let due = mail::retry_all_failed(brand).await.map_err(with_brand)?;
            say!("{}: {} {} due now", brand.name(), counted(due, "email"), is_or_are(due));
            for failed in receipt::list(brand, true).await.map_err(with_brand)? {
                receipt::retry(brand, &failed.subject).await.map_err(with_brand)?;
                say!("{}: {} is due now", brand.name(), receipt_id(&failed.subject));
            }
        }
    }
    Ok(())
}
