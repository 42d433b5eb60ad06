//! `brandgate payments`: lists payments, cancels and refunds them, and settles late ones.

use brandgate::config::BrandConfig;
use brandgate::foundation::error::Result as BrandResult;
use brandgate::foundation::money::Exact;
use brandgate::payments::{self, OrderLine, Payment, PaymentFilter, RefundRequest};
use brandgate::tenant::brand::Brand;
use rust_decimal::Decimal;
use serde::Serialize;

use super::cancel_payments::{self, CancelArguments};
use super::list::{self, Align, Row};
use super::output::say;
use super::payment_search::{self, PaymentSearch};
use super::unknown_money::{self, UnknownMoneyCommand};

#[derive(clap::Subcommand)]
pub(crate) enum PaymentsCommand {
    /// List the newest payments
    List {
        /// Use the brand of this name
        #[arg(long)]
        brand: String,
        /// List only payments that can still be paid
        #[arg(long)]
        open: bool,
        /// List only payments that need manual action: paid when the stock was gone, or twice
        #[arg(long)]
        to_settle: bool,
        #[command(flatten)]
        search: PaymentSearch,
        /// List at most this many payments
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        count: i64,
        /// Print a JSON array of objects: payment, status, amount, refunded, startedAt, order, toSettle, remark
        #[arg(long)]
        json: bool,
    },
    /// Show a payment with its items, refunds and emails
    Show {
        /// Use the brand of this name
        #[arg(long)]
        brand: String,
        /// Number of the payment, which its emails name too, or the siteorderID of its order
        #[arg(allow_negative_numbers = true)]
        payment: String,
    },
    /// Refund a payment through the bank, in full or in part; repeat it safely when the bank did not respond
    Refund {
        #[command(flatten)]
        one: PaymentArguments,
        /// Refund this amount in roubles [default: all that is left]
        #[arg(long, value_parser = roubles, allow_negative_numbers = true, conflicts_with = "items")]
        amount: Option<Decimal>,
        /// Refund returned units of an item, such as 1213 or 1213=2; repeat it for several items
        #[arg(long = "item", value_name = "ID[=UNITS]", value_parser = returned_item)]
        items: Vec<(i64, i32)>,
        /// Put the returned units back into stock
        #[arg(long)]
        restock: bool,
        /// Refund the same amount once more, shortly after the last refund
        #[arg(long)]
        again: bool,
    },
    /// Cancel open payments, at the bank first, and release their stock
    Cancel(CancelArguments),
    /// Poll the bank for a payment now
    Retry(PaymentArguments),
    /// Mark a payment as settled with the buyer
    Settle {
        #[command(flatten)]
        one: PaymentArguments,
        /// Say how it was settled; the note is kept
        #[arg(long, value_name = "TEXT", value_parser = super::note)]
        note: String,
    },
    /// List, attach and refund money for orders that the database does not have
    #[command(subcommand)]
    Unknown(UnknownMoneyCommand),
}

#[derive(clap::Args)]
pub(crate) struct PaymentArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// Number of the payment, as `list` shows it
    #[arg(value_parser = number, allow_negative_numbers = true)]
    payment: i64,
}

fn number(text: &str) -> Result<i64, String> {
    super::listed_number(text, "payments list")
}

fn returned_item(text: &str) -> Result<(i64, i32), String> {
    let (id, units) = text.split_once('=').unwrap_or((text, "1"));
    let item = id.parse().ok().zip(units.parse().ok().filter(|units| (1..=999).contains(units)));
    item.ok_or_else(|| "expected an item's id and how many units were returned, such as 1213=2".to_owned())
}

fn roubles(text: &str) -> Result<Decimal, String> {
    let amount =
        text.parse().ok().filter(|amount: &Decimal| *amount > Decimal::ZERO && amount.normalize().scale() <= 2);
    amount.ok_or_else(|| "expected roubles, more than 0, with at most two decimals, such as 120.50".to_owned())
}

/// # Errors
/// A message that names the brand.
pub(crate) async fn run(brands: &[BrandConfig], command: PaymentsCommand) -> Result<(), String> {
    let name: &str = match &command {
        PaymentsCommand::List { brand, .. } | PaymentsCommand::Show { brand, .. } => brand,
        PaymentsCommand::Refund { one, .. } | PaymentsCommand::Retry(one) | PaymentsCommand::Settle { one, .. } => {
            &one.brand
        }
        PaymentsCommand::Unknown(command) => command.brand(),
        PaymentsCommand::Cancel(arguments) => &arguments.brand,
    };
    let brand = super::open(brands, name).await?;
    match command {
        PaymentsCommand::Cancel(arguments) => cancel_payments::run(&brand, arguments).await,
        command => execute(&brand, command).await.map_err(|error| format!("{}: {error}", brand.name())),
    }
}

async fn execute(brand: &Brand, command: PaymentsCommand) -> BrandResult<()> {
    match command {
        PaymentsCommand::List { open, to_settle, search, count, json, .. } => {
            let filter =
                PaymentFilter { only_open: open, only_to_settle: to_settle, count, ..PaymentFilter::default() };
            let filter = search.apply(filter, brand);
            let listed = payments::list(brand, filter).await?;
            print_payments(brand, &listed, json).await?;
        }
        // `run` handles it.
        PaymentsCommand::Cancel(_) => {}
        PaymentsCommand::Show { payment, .. } => show(brand, payment_search::resolve(brand, &payment).await?).await?,
        PaymentsCommand::Refund { one, amount, items, restock, again } => {
            let request = RefundRequest { amount, items, restock, allow_repeat: again };
            let refund = payments::refund(brand, one.payment, &request).await?;
            let amount = refund.amount.normalize();
            say!("{}: refund of {amount} RUB: {} (refund {})", brand.name(), refund.status, refund.id);
        }
        PaymentsCommand::Retry(one) => {
            let payment = payments::retry(brand, one.payment).await?;
            print_payments(brand, &[payment], false).await?;
        }
        PaymentsCommand::Settle { one, note } => match payments::settle(brand, one.payment, &note).await? {
            true => say!("{}: payment {} is settled", brand.name(), one.payment),
            false => say!("{}: payment {} has nothing to settle", brand.name(), one.payment),
        },
        PaymentsCommand::Unknown(command) => unknown_money::execute(brand, command).await?,
    }
    Ok(())
}

async fn print_payments(brand: &Brand, payments: &[Payment], json: bool) -> BrandResult<()> {
    let ids: Vec<i64> = payments.iter().map(|payment| payment.id).collect();
    let refunded = payments::refunded(brand, &ids).await?;
    let row = |payment| PaymentRow::of(payment, refunded.get(&payment.id).copied().unwrap_or_default());
    list::print(&payments.iter().map(row).collect::<Vec<_>>(), json);
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentRow<'a> {
    payment: i64,
    status: &'static str,
    amount: Exact,
    /// Refunds in progress included.
    refunded: Exact,
    started_at: String,
    order: &'a str,
    to_settle: bool,
    remark: Option<&'a str>,
}

impl PaymentRow<'_> {
    fn of(payment: &Payment, refunded: Decimal) -> PaymentRow<'_> {
        PaymentRow {
            payment: payment.id,
            status: payment.state.status.as_str(),
            amount: Exact(payment.amount),
            refunded: Exact(refunded),
            started_at: list::time(payment.created_at),
            order: &payment.site_order_id,
            to_settle: payment.to_settle,
            remark: payment.remark.as_deref(),
        }
    }

    fn note(&self) -> String {
        let remark = self.remark.unwrap_or_default();
        if self.to_settle { format!("TO SETTLE: {remark}") } else { remark.to_owned() }
    }

    fn status_and_refund(&self) -> String {
        let refund = match self.refunded.0 {
            refunded if refunded.is_zero() => "",
            refunded if refunded < self.amount.0 => ", partly refunded",
            _ => ", refunded",
        };
        format!("{}{refund}", self.status)
    }
}

impl Row for PaymentRow<'_> {
    const COLUMNS: &'static [(&'static str, Align)] = &[
        ("payment", Align::Right),
        ("status", Align::Left),
        ("amount", Align::Right),
        ("started", Align::Left),
        ("order", Align::Left),
        ("remark", Align::Left),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.payment.to_string(),
            self.status_and_refund(),
            self.amount.0.normalize().to_string(),
            self.started_at.clone(),
            self.order.to_owned(),
            self.note(),
        ]
    }
}

async fn show(brand: &Brand, id: i64) -> BrandResult<()> {
    let (payment, refunds) = payments::show(brand, id).await?;
    let details = payments::details(brand, id).await?;
    print_payments(brand, std::slice::from_ref(&payment), false).await?;
    say!("owner          {}", payment.owner);
    let name = details.buyer.telegram_username.as_deref().unwrap_or("no user name");
    let user = details.buyer.site_user_id.as_deref().unwrap_or("no siteuserID");
    say!("user           {name}, {user}");
    say!("fulfilment     {}", details.buyer.fulfilment);
    say!("bank's order   {}", payment.bank_order_id);
    say!("QR code        {}", payment.qr_id.as_deref().unwrap_or("none yet"));
    say!("expires        {}", payment.state.expires_at);
    if let Some(completed) = payment.completed_at {
        say!("completed      {completed}, transaction {}", payment.transaction_id.unwrap_or_default());
    }
    for line in &details.lines {
        let OrderLine { item_id, name, price, quantity, .. } = line;
        say!("item           {item_id} × {quantity}, {} RUB each: {name}", price.normalize());
    }
    for refund in refunds {
        let found = if refund.found_at_bank { ", found at the bank" } else { "" };
        say!("refund         {} RUB {} ({}{found})", refund.amount.normalize(), refund.status, refund.id);
    }
    for settlement in payments::settlements(brand, id).await? {
        say!("settled        {} {}", list::time(settlement.settled_at), settlement.note);
        say!("               because: {}", settlement.reason.as_deref().unwrap_or("not recorded"));
    }
    for email in &details.emails {
        let sent = email.sent_at.map_or_else(|| "not sent".to_owned(), |at| format!("sent {}", list::time(at)));
        say!("email          {}, {sent}", email.recipient);
    }
    Ok(())
}
