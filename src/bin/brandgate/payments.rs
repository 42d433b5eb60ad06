//! `brandgate payments`: what a person of the shop sees and does with payments.

use brandgate::config::BrandConfig;
use brandgate::payments::{self, Payment, PaymentFilter};
use brandgate::tenant::brand::Brand;
use rust_decimal::Decimal;

use super::output::say;

#[derive(clap::Subcommand)]
pub enum Command {
    /// The newest payments
    List {
        /// The brand's name
        #[arg(long)]
        brand: String,
        /// Only those that can still be paid
        #[arg(long)]
        open: bool,
        /// Only those whose money came when the pieces were gone
        #[arg(long)]
        to_settle: bool,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        count: i64,
    },
    /// One payment with its lines and refunds
    Show(One),
    /// Give money back through the bank, all of it or a part; safe to repeat when the bank did not answer
    Refund {
        #[command(flatten)]
        one: One,
        /// Roubles; all that is left unless said
        #[arg(long, value_parser = roubles, allow_negative_numbers = true)]
        amount: Option<Decimal>,
        /// The same amount as a moment ago, and meant
        #[arg(long)]
        again: bool,
    },
    /// Ask the bank about a payment now
    Retry(One),
    /// Note that late money without pieces was settled with the buyer
    Settle(One),
}

#[derive(clap::Args)]
pub struct One {
    /// The brand's name
    #[arg(long)]
    brand: String,
    /// The payment's number, as `list` shows it
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

pub async fn run(brands: &[BrandConfig], command: Command) -> Result<(), String> {
    let name = match &command {
        Command::List { brand, .. } => brand,
        Command::Refund { one, .. } | Command::Show(one) | Command::Retry(one) | Command::Settle(one) => &one.brand,
    };
    let brand = super::open(brands, name).await?;
    carry_out(&brand, command).await.map_err(|error| format!("{}: {error}", brand.name()))
}

async fn carry_out(brand: &Brand, command: Command) -> brandgate::foundation::error::Result<()> {
    match command {
        Command::List { open, to_settle, count, .. } => {
            let filter = PaymentFilter { only_open: open, only_to_settle: to_settle, count };
            say!("{:>8}  {:<9}  {:>14}  {:<20}  {:<40}  remark", "payment", "status", "amount", "begun", "order");
            for payment in payments::list(brand, filter).await? {
                say!("{}", line(&payment));
            }
        }
        Command::Show(one) => show(brand, one.payment).await?,
        Command::Refund { one, amount, again } => {
            let refund = payments::refund(brand, one.payment, amount, again).await?;
            say!("{} RUB: {} (refund {})", refund.amount.normalize(), refund.status, refund.id);
        }
        Command::Retry(one) => say!("{}", line(&payments::retry(brand, one.payment).await?)),
        Command::Settle(one) => match payments::settle(brand, one.payment).await? {
            true => say!("settled"),
            false => say!("there was nothing to settle"),
        },
    }
    Ok(())
}

fn line(payment: &Payment) -> String {
    let remark = match (payment.to_settle, &payment.remark) {
        (true, _) => "TO SETTLE: paid late, the pieces are gone",
        (false, Some(remark)) => remark,
        (false, None) => "",
    };
    let begun = payment.created_at.strftime("%Y-%m-%dT%H:%M:%SZ");
    let (id, status, amount) = (payment.id, payment.state.status.as_str(), payment.amount.normalize());
    format!("{id:>8}  {status:<9}  {amount:>14}  {begun:<20}  {:<40}  {remark}", payment.site_order_id)
        .trim_end()
        .to_owned()
}

async fn show(brand: &Brand, id: i64) -> brandgate::foundation::error::Result<()> {
    let (payment, refunds) = payments::show(brand, id).await?;
    say!("{}", line(&payment));
    say!("owner          {}", payment.owner);
    say!("at the bank    {}", payment.bank_order_id);
    say!("QR code        {}", payment.qr_id.as_deref().unwrap_or("none yet"));
    say!("expires        {}", payment.state.expires_at);
    if let Some(completed) = payment.completed_at {
        say!("completed      {completed}, transaction {}", payment.transaction_id.unwrap_or_default());
    }
    for (item, quantity) in &payment.lines {
        say!("item           {item} × {quantity}");
    }
    for refund in refunds {
        say!("refund         {} RUB {} ({})", refund.amount.normalize(), refund.status, refund.id);
    }
    Ok(())
}
