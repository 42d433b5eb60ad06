//! `brandgate person`: exports what the shop knows of a person, and erases it.

use brandgate::config::BrandConfig;
use brandgate::foundation::count::counted;
use brandgate::person::{self, RecordedBy};

use super::open;
use super::output::say;

#[derive(clap::Subcommand)]
pub(crate) enum PersonCommand {
    /// Print what the shop knows of a Telegram user, as JSON: sessions, cart, orders, emails, reviews, questions, votes
    Export(PersonArguments),
    /// Remove what identifies a Telegram user; orders, amounts, receipts, reviews, questions and votes stay without a name. Repeat it safely
    Erase(PersonArguments),
}

#[derive(clap::Args)]
pub(crate) struct PersonArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// Numeric id of the Telegram user
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i64).range(1..=9_007_199_254_740_991))]
    telegram_id: i64,
    /// Keep this note in the record, such as the number of the request; no personal data
    #[arg(long, value_name = "TEXT", value_parser = note)]
    note: Option<String>,
}

fn note(text: &str) -> Result<String, String> {
    let note = text.trim();
    match (1..=200).contains(&note.chars().count()) {
        true => Ok(note.to_owned()),
        false => Err("expected a text of 1 to 200 characters".to_owned()),
    }
}

/// # Errors
/// A message that names the brand.
pub(crate) async fn run(brands: &[BrandConfig], command: PersonCommand) -> Result<(), String> {
    let (PersonCommand::Export(arguments) | PersonCommand::Erase(arguments)) = &command;
    let brand = open(brands, &arguments.brand).await?;
    let with_brand = |error| format!("{}: {error}", brand.name());
    let operator = operator();
    let recorded_by = RecordedBy { operator: &operator, note: arguments.note.as_deref() };
    match &command {
        PersonCommand::Export(arguments) => {
            let data = person::export(&brand, arguments.telegram_id, recorded_by).await.map_err(with_brand)?;
            let text = serde_json::to_string_pretty(&data).map_err(|error| error.to_string())?;
            say!("{text}");
        }
        PersonCommand::Erase(arguments) => {
            let erased = person::erase(&brand, arguments.telegram_id, recorded_by).await.map_err(with_brand)?;
            say!(
                "{}: removed the user from {}, {}, {}, {} and {}; deleted {}",
                brand.name(),
                counted(erased.payments, "payment"),
                counted(erased.emails, "email"),
                counted(erased.authors.reviews, "review"),
                counted(erased.authors.questions, "question"),
                counted(erased.authors.votes, "vote"),
                counted(erased.cart_lines, "cart line")
            );
        }
    }
    Ok(())
}

/// The account that runs the command; behind sudo, the one that called it.
fn operator() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let named = named.filter(|name| !name.is_empty() && name.chars().count() <= 100 && !name.contains('\0'));
    named.unwrap_or_else(|| "unknown".to_owned())
}
