//! `brandgate search`: what the shop decides about its searches, and what it learns of them.

mod explain;
mod pins;
mod report;
mod synonyms;

use brandgate::config::BrandConfig;

#[derive(clap::Subcommand)]
pub(crate) enum SearchCommand {
    /// List, add, remove and import synonyms; running gateways apply a change within a second
    #[command(subcommand)]
    Synonyms(synonyms::SynonymsCommand),
    /// List, add and remove items that a query shows first, at a certain place, or last
    #[command(subcommand)]
    Pins(pins::PinsCommand),
    /// Explain a search: how each word is read, why the first ten results stand where they stand, and why an item is not among them.
    /// The index is built for it from the database, so no gateway needs to run
    Explain(explain::ExplainArguments),
    /// Report by day what visitors search for most, and what they do not find
    Report(report::ReportArguments),
}

/// Parses the text of a search.
fn query(text: &str) -> Result<String, String> {
    let query = text.trim();
    match (1..=512).contains(&query.chars().count()) && !query.contains('\0') {
        true => Ok(query.to_owned()),
        false => Err("expected a query of 1 to 512 characters".to_owned()),
    }
}

/// # Errors
/// A message that names the brand.
pub(crate) async fn run(brands: &[BrandConfig], command: SearchCommand) -> Result<(), String> {
    match command {
        SearchCommand::Synonyms(command) => synonyms::run(brands, command).await,
        SearchCommand::Pins(command) => pins::run(brands, command).await,
        SearchCommand::Explain(arguments) => explain::run(brands, arguments).await,
        SearchCommand::Report(arguments) => report::run(brands, arguments).await,
    }
}
