//! `brandgate payments`: lists payments, refunds them, and settles late ones.

use brandgate::config::BrandConfig;
use brandgate::foundation::error::Result as BrandResult;
use brandgate::foundation::money::Exact;
use brandgate::payments::{self, OrderLine, Payment, PaymentFilter};
use brandgate::tenant::brand::Brand;
use rust_decimal::Decimal;
use serde::Serialize;

use super::list::{self, Align, Row};
use super::output::say;
use super::payment_search::{self, PaymentSearch};

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
        /// List only payments that were paid late, when the stock was gone
        #[arg(long)]
        to_settle: bool,
        #[command(flatten)]
        search: PaymentSearch,
        /// List at most this many payments
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        count: i64,
        /// Print a JSON array of objects: payment, status, amount, startedAt, order, toSettle, remark
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
        #[arg(long, value_parser = roubles, allow_negative_numbers = true)]
        amount: Option<Decimal>,
        /// Refund the same amount once more, shortly after the last refund
        #[arg(long)]
        again: bool,
    },
    /// Poll the bank for a payment now
    Retry(PaymentArguments),
    /// Mark a late payment as settled with the buyer
    Settle(PaymentArguments),
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

fn roubles(text: &str) -> Result<Decimal, String> {
    let amount =
        text.parse().ok().filter(|amount: &Decimal| *amount > Decimal::ZERO && amount.normalize().scale() <= 2);
    amount.ok_or_else(|| "expected roubles, more than 0, with at most two decimals, such as 120.50".to_owned())
}

/// # Errors
/// A message that names the brand.
pub(crate) async fn run(brands: &[BrandConfig], command: PaymentsCommand) -> Result<(), String> {
    let name = match &command {
        PaymentsCommand::List { brand, .. } | PaymentsCommand::Show { brand, .. } => brand,
        PaymentsCommand::Refund { one, .. } | PaymentsCommand::Retry(one) | PaymentsCommand::Settle(one) => &one.brand,
    };
    let brand = super::open(brands, name).await?;
    execute(&brand, command).await.map_err(|error| format!("{}: {error}", brand.name()))
}

async fn execute(brand: &Brand, command: PaymentsCommand) -> BrandResult<()> {
    match command {
        PaymentsCommand::List { open, to_settle, search, count, json, .. } => {
            let filter =
                PaymentFilter { only_open: open, only_to_settle: to_settle, count, ..PaymentFilter::default() };
            let filter = search.apply(filter, brand);
            let listed = payments::list(brand, filter).await?;
            list::print(&listed.iter().map(PaymentRow::of).collect::<Vec<_>>(), json);
        }
        PaymentsCommand::Show { payment, .. } => show(brand, payment_search::resolve(brand, &payment).await?).await?,
        PaymentsCommand::Refund { one, amount, again } => {
            let refund = payments::refund(brand, one.payment, amount, again).await?;
            say!("{} RUB: {} (refund {})", refund.amount.normalize(), refund.status, refund.id);
        }
        PaymentsCommand::Retry(one) => {
            let payment = payments::retry(brand, one.payment).await?;
            list::print(&[PaymentRow::of(&payment)], false);
        }
        PaymentsCommand::Settle(one) => match payments::settle(brand, one.payment).await? {
            true => say!("settled"),
            false => say!("nothing to settle"),
        },
    }
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentRow<'a> {
    payment: i64,
    status: &'static str,
    amount: Exact,
    started_at: String,
    order: &'a str,
    to_settle: bool,
    remark: Option<&'a str>,
}

impl PaymentRow<'_> {
    fn of(payment: &Payment) -> PaymentRow<'_> {
        PaymentRow {
            payment: payment.id,
            status: payment.state.status.as_str(),
            amount: Exact(payment.amount),
            started_at: list::time(payment.created_at),
            order: &payment.site_order_id,
            to_settle: payment.to_settle,
            remark: payment.remark.as_deref(),
        }
    }

    fn note(&self) -> &str {
        if self.to_settle { "TO SETTLE: paid late, out of stock" } else { self.remark.unwrap_or_default() }
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
            self.status.to_owned(),
            self.amount.0.normalize().to_string(),
            self.started_at.clone(),
            self.order.to_owned(),
            self.note().to_owned(),
        ]
    }
}

async fn show(brand: &Brand, id: i64) -> BrandResult<()> {
    let (payment, refunds) = payments::show(brand, id).await?;
    let details = payments::details(brand, id).await?;
    list::print(&[PaymentRow::of(&payment)], false);
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
        say!("refund         {} RUB {} ({})", refund.amount.normalize(), refund.status, refund.id);
    }
    for email in &details.emails {
        let sent = email.sent_at.map_or_else(|| "not sent".to_owned(), |at| format!("sent {}", list::time(at)));
        say!("mail           {}, {sent}", email.recipient);
    }
    Ok(())
}
