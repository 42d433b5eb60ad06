//! `brandgate payments unknown`: money for orders that the database does not have.

use brandgate::foundation::error::Result as BrandResult;
use brandgate::foundation::money::Exact;
use brandgate::payments::unknown_money::{self, UnknownMoney, UnknownMoneyStatus};
use brandgate::tenant::brand::Brand;
use serde::Serialize;

use super::list::{self, Align, Row};
use super::output::say;

#[derive(clap::Subcommand)]
pub(crate) enum UnknownMoneyCommand {
    /// List money that the bank has received for orders that the database does not have
    List {
        /// Use the brand of this name
        #[arg(long)]
        brand: String,
        /// List also what was attached or refunded
        #[arg(long)]
        all: bool,
        /// Print a JSON array of objects: unknown, status, amount, noticedAt, bankOrder, qrId, payment, note
        #[arg(long)]
        json: bool,
    },
    /// Attach money to a closed payment of the same amount, which is thereby paid
    Attach {
        #[command(flatten)]
        one: UnknownMoneyArguments,
        /// Number of the payment, as `payments list` shows it
        #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
        payment: i64,
    },
    /// Refund money in full; repeat it safely when the bank did not respond
    Refund(UnknownMoneyArguments),
}

#[derive(clap::Args)]
pub(crate) struct UnknownMoneyArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// Number of the money, as `payments unknown list` shows it
    #[arg(value_parser = number, allow_negative_numbers = true)]
    unknown: i64,
    /// Say why; the note is kept
    #[arg(long, value_name = "TEXT", value_parser = super::note)]
    note: String,
}

fn number(text: &str) -> Result<i64, String> {
    super::listed_number(text, "payments unknown list")
}

impl UnknownMoneyCommand {
    pub(crate) fn brand(&self) -> &str {
        match self {
            UnknownMoneyCommand::List { brand, .. } => brand,
            UnknownMoneyCommand::Attach { one, .. } | UnknownMoneyCommand::Refund(one) => &one.brand,
        }
    }
}

/// # Errors
/// As the operations of `payments::unknown_money`.
pub(crate) async fn execute(brand: &Brand, command: UnknownMoneyCommand) -> BrandResult<()> {
    match command {
        UnknownMoneyCommand::List { all, json, .. } => {
            let listed = unknown_money::list(brand, all).await?;
            list::print(&listed.iter().map(UnknownMoneyRow::of).collect::<Vec<_>>(), json);
        }
        UnknownMoneyCommand::Attach { one, payment } => {
            let payment = unknown_money::attach(brand, one.unknown, payment, &one.note).await?;
            say!("{}: payment {} is {}", brand.name(), payment.id, payment.state.status.as_str());
        }
        UnknownMoneyCommand::Refund(one) => {
            let outcome = unknown_money::refund(brand, one.unknown, &one.note).await?;
            say!("{}: {outcome}", brand.name());
        }
    }
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UnknownMoneyRow<'a> {
    unknown: i64,
    status: &'static str,
    amount: Exact,
    noticed_at: String,
    bank_order: &'a str,
    qr_id: Option<&'a str>,
    payment: Option<i64>,
    note: Option<&'a str>,
}

impl UnknownMoneyRow<'_> {
    fn of(money: &UnknownMoney) -> UnknownMoneyRow<'_> {
        UnknownMoneyRow {
            unknown: money.id,
            status: UnknownMoneyStatus::as_str(money.status),
            amount: Exact(money.amount),
            noticed_at: list::time(money.noticed_at),
            bank_order: &money.bank_order_id,
            qr_id: money.qr_id.as_deref(),
            payment: money.payment_id,
            note: money.note.as_deref(),
        }
    }
}

impl Row for UnknownMoneyRow<'_> {
    const COLUMNS: &'static [(&'static str, Align)] = &[
        ("unknown", Align::Right),
        ("status", Align::Left),
        ("amount", Align::Right),
        ("noticed", Align::Left),
        ("bank's order", Align::Left),
        ("note", Align::Left),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.unknown.to_string(),
            self.status.to_owned(),
            self.amount.0.normalize().to_string(),
            self.noticed_at.clone(),
            self.bank_order.to_owned(),
            self.note.unwrap_or_default().to_owned(),
        ]
    }
}
