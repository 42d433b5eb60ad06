//! `brandgate payments cancel`: ends open payments, at the bank first, so that their stock is available again.

use std::net::IpAddr;

use brandgate::payments::{self, PaymentSelection};
use brandgate::tenant::brand::Brand;

use super::output::say;

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("selection").required(true).multiple(false))]
pub(crate) struct CancelArguments {
    /// Use the brand of this name
    #[arg(long)]
    pub brand: String,
    /// Number of the payment, as `list` shows it
    #[arg(value_parser = number, allow_negative_numbers = true, group = "selection")]
    payment: Option<i64>,
    /// Cancel all open payments of this address; an IPv6 address stands for its /64 network
    #[arg(long, group = "selection")]
    address: Option<IpAddr>,
    /// Cancel all open payments of this visitor, the owner that `show` prints
    #[arg(long, group = "selection")]
    visitor: Option<String>,
}

fn number(text: &str) -> Result<i64, String> {
    super::listed_number(text, "payments list")
}

/// Prints what became of each payment.
///
/// # Errors
/// A message that names the brand when a payment could not be cancelled; the others are cancelled all the same.
pub(crate) async fn run(brand: &Brand, arguments: CancelArguments) -> Result<(), String> {
    let CancelArguments { payment, address, visitor, .. } = arguments;
    let selection = match (payment, address, visitor) {
        (Some(id), _, _) => PaymentSelection::Payment(id),
        (_, Some(address), _) => PaymentSelection::Address(address),
        (_, _, visitor) => {
            let owner = visitor.unwrap_or_default();
            PaymentSelection::Visitor(owner.strip_prefix("visitor:").unwrap_or(&owner).to_owned())
        }
    };
    let name = brand.name();
    let outcomes = payments::cancel_all(brand, &selection).await.map_err(|error| format!("{name}: {error}"))?;
    if outcomes.is_empty() {
        say!("{name}: no open payments");
    }
    let mut problems = Vec::new();
    for (payment, error) in &outcomes {
        let status = payment.state.status.as_str();
        say!("{name}: payment {} (order {}): {status}", payment.id, payment.site_order_id);
        problems
            .extend(error.as_ref().map(|error| format!("{name}: payment {} is not cancelled: {error}", payment.id)));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}
