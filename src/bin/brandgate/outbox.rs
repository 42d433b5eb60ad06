//! `brandgate outbox list` and `retry`: mails and receipts that wait or were given up. An id says what it is: `mail-12`,
//! `receipt-17` (the receipt of payment 17).

use std::str::FromStr;

use brandgate::config::BrandConfig;
use brandgate::mail::{self, Outbox, OutboxEntry, RetryOutcome};
use brandgate::payments::receipt::{self, Receipt};
use brandgate::tenant::brand::Brand;

use super::open;
use super::output::say;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Show what is queued or was given up, oldest first
    List(List),
    /// Make something due now, whether it waits or was given up
    Retry(Retry),
}

#[derive(clap::Args)]
pub struct List {
    /// The brand's name
    #[arg(long)]
    brand: String,
    /// Only what was given up
    #[arg(long)]
    failed: bool,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    count: i64,
}

#[derive(clap::Args)]
pub struct Retry {
    /// The brand's name
    #[arg(long)]
    brand: String,
    /// As `outbox list` shows it: mail-12, receipt-17
    #[arg(value_name = "ID", required_unless_present = "all_failed", conflicts_with = "all_failed")]
    id: Option<Id>,
    /// Everything that was given up
    #[arg(long)]
    all_failed: bool,
}

#[derive(Clone, Copy)]
enum Id {
    Mail(i64),
    /// The payment's number.
    Receipt(i64),
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Id, String> {
        let of = |prefix: &str| text.strip_prefix(prefix).and_then(|number| number.parse().ok());
        let id = of("mail-").map(Id::Mail).or_else(|| of("receipt-").map(Id::Receipt));
        id.ok_or_else(|| "expected an id such as mail-12 or receipt-17".to_owned())
    }
}

pub async fn run(brands: &[BrandConfig], command: Command) -> Result<(), String> {
    match command {
        Command::List(arguments) => {
            let brand = open(brands, &arguments.brand).await?;
            list(&brand, &arguments).await
        }
        Command::Retry(arguments) => {
            let brand = open(brands, &arguments.brand).await?;
            retry(&brand, &arguments).await
        }
    }
}

async fn list(brand: &Brand, arguments: &List) -> Result<(), String> {
    let told = |error| format!("{}: {error}", brand.name());
    let Outbox { entries, queued, failed } =
        mail::list(brand, arguments.failed, arguments.count).await.map_err(told)?;
    let receipts = receipt::list(brand, arguments.failed).await.map_err(told)?;
    if !entries.is_empty() || !receipts.is_empty() {
        say!("{:<10} {:<8} {:<32} {:<24} {:>5}  {:<20} last error", "id", "", "to", "about", "tries", "next try");
    }
    for mail in &entries {
        say!("{}", line(mail));
    }
    for receipt in &receipts {
        say!("{}", receipt_line(receipt));
    }
    say!("{}: {queued} mails queued, {failed} given up", brand.name());
    if !receipts.is_empty() {
        let failed = receipts.iter().filter(|receipt| receipt.status == "FAILED").count();
        say!("{}: {} receipts on their way, {failed} given up", brand.name(), receipts.len() - failed);
    }
    Ok(())
}

fn receipt_line(receipt: &Receipt) -> String {
    let (state, next) = match receipt.status.as_str() {
        "FAILED" => ("FAILED", "never".to_owned()),
        _ => ("queued", receipt.next_try_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    };
    let (id, about) = (format!("receipt-{}", receipt.payment_id), format!("payment:{}", receipt.payment_id));
    let to = receipt.email.as_deref().unwrap_or("the fallback address");
    let line = format!("{id:<10} {state:<8} {to:<32} {about:<24} {:>5}  {next:<20} ", receipt.tries);
    (line + receipt.last_error.as_deref().unwrap_or_default()).trim_end().to_owned()
}

fn line(mail: &OutboxEntry) -> String {
    let OutboxEntry { id, subject_key, to, is_failed, attempts, next_attempt_at, last_error } = mail;
    let (state, next) = match is_failed {
        true => ("FAILED", "never".to_owned()),
        false => ("queued", next_attempt_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    };
    let id = format!("mail-{id}");
    let line = format!("{id:<10} {state:<8} {to:<32} {subject_key:<24} {attempts:>5}  {next:<20} ");
    (line + last_error.as_deref().unwrap_or_default()).trim_end().to_owned()
}

async fn retry(brand: &Brand, arguments: &Retry) -> Result<(), String> {
    let told = |error| format!("{}: {error}", brand.name());
    match arguments.id {
        Some(Id::Mail(id)) => match mail::retry(brand, id).await.map_err(told)? {
            RetryOutcome::Due => say!("{}: mail-{id} is due now", brand.name()),
            RetryOutcome::AlreadySent => {
                return Err(format!("{}: mail-{id} was sent; no mail is sent twice", brand.name()));
            }
            RetryOutcome::Unknown => return Err(format!("{}: there is no mail-{id}", brand.name())),
        },
        Some(Id::Receipt(payment_id)) => match receipt::retry(brand, payment_id).await.map_err(told)? {
            true => say!("{}: receipt-{payment_id} is due now", brand.name()),
            false => return Err(format!("{}: receipt-{payment_id} is done, or there is none", brand.name())),
        },
        None => {
            let due = mail::retry_all_failed(brand).await.map_err(told)?;
            say!("{}: {due} mails are due now", brand.name());
            for failed in receipt::list(brand, true).await.map_err(told)? {
                receipt::retry(brand, failed.payment_id).await.map_err(told)?;
                say!("{}: receipt-{} is due now", brand.name(), failed.payment_id);
            }
        }
    }
    Ok(())
}
