//! `brandgate search`: what the shop decides about its searches.

mod pins;
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
}

/// # Errors
/// A message that names the brand.
pub(crate) async fn run(brands: &[BrandConfig], command: SearchCommand) -> Result<(), String> {
    match command {
        SearchCommand::Synonyms(command) => synonyms::run(brands, command).await,
        SearchCommand::Pins(command) => pins::run(brands, command).await,
    }
}
