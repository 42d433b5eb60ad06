//! `brandgate search pins`: items that a query shows first, at a certain place, or last.

use brandgate::catalog::CatalogId;
use brandgate::config::BrandConfig;
use brandgate::foundation::count::counted;
use brandgate::foundation::error::Result as BrandResult;
use brandgate::search::rules::pins::{
    self, MAX_PINS_PER_QUERY, MAX_POSITION, NewPin, PinOutcome, Placement, StoredPin,
};
use brandgate::tenant::brand::Brand;
use serde::Serialize;

use crate::answers;
use crate::list::{self, Align, Row, printable};
use crate::open;
use crate::output::say;

#[derive(clap::Subcommand)]
pub(crate) enum PinsCommand {
    /// List pinned and buried items by query and place
    List(PinListArguments),
    /// Pin an item to a place in the results of a query, or show it last; one that is pinned already moves
    Add(PinArguments),
    /// Remove an item from those that a query pins or buries, or remove all
    Remove(PinRemoveArguments),
}

#[derive(clap::Args)]
pub(crate) struct PinListArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// List only the items of this query
    #[arg(long, value_parser = super::query)]
    query: Option<String>,
    /// Print a JSON array of objects: query, item, name, position, buried, listed
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct PinArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// The query; other forms of its words in any order are the same query
    #[arg(long, value_parser = super::query)]
    query: String,
    /// The item, given by its number or its text id
    #[arg(long, value_parser = answers::item)]
    item: CatalogId,
    /// Show the item at this place, from 1 [default: after the query's other pinned items]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_POSITION)))]
    position: Option<u16>,
    /// Show the item after all other results
    #[arg(long, conflicts_with = "position")]
    bury: bool,
}

#[derive(clap::Args)]
pub(crate) struct PinRemoveArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// The query; other forms of its words in any order are the same query
    #[arg(long, value_parser = super::query)]
    query: String,
    /// The item, given by its number or its text id
    #[arg(long, value_parser = answers::item, required_unless_present = "all")]
    item: Option<CatalogId>,
    /// Remove all items of the query
    #[arg(long, conflicts_with = "item")]
    all: bool,
}

/// # Errors
/// A message that names the brand.
pub(crate) async fn run(brands: &[BrandConfig], command: PinsCommand) -> Result<(), String> {
    let name = match &command {
        PinsCommand::List(arguments) => &arguments.brand,
        PinsCommand::Add(arguments) => &arguments.brand,
        PinsCommand::Remove(arguments) => &arguments.brand,
    };
    let brand = open(brands, name).await?;
    let done = execute(&brand, command).await.map_err(|error| format!("{}: {error}", brand.name()))?;
    done.map_err(|problem| format!("{}: {problem}", brand.name()))
}

/// The inner error is a message about the arguments.
async fn execute(brand: &Brand, command: PinsCommand) -> BrandResult<Result<(), String>> {
    match command {
        PinsCommand::List(arguments) => {
            let listed = pins::list(brand, arguments.query.as_deref()).await?;
            list::print(&listed.iter().map(PinRow::of).collect::<Vec<_>>(), arguments.json);
        }
        PinsCommand::Add(arguments) => {
            let PinArguments { query, item, position, bury, .. } = arguments;
            let placement = if bury { Some(Placement::Buried) } else { position.map(Placement::Position) };
            let outcome = pins::add(brand, &NewPin { query: query.clone(), item, placement }).await?;
            return Ok(report(brand, &query, outcome));
        }
        PinsCommand::Remove(arguments) => {
            let removed = pins::remove(brand, &arguments.query, arguments.item.as_ref()).await?;
            if removed == 0 {
                return Ok(Err("the query pins and buries no such item".to_owned()));
            }
            say!("{}: {} removed from \"{}\"", brand.name(), counted(removed, "item"), printable(&arguments.query));
        }
    }
    Ok(Ok(()))
}

fn report(brand: &Brand, query: &str, outcome: PinOutcome) -> Result<(), String> {
    let (name, query) = (brand.name(), printable(query));
    match outcome {
        PinOutcome::Placed { item_id, placement: Placement::Buried } => {
            say!("{name}: item {item_id} is last in \"{query}\"");
        }
        PinOutcome::Placed { item_id, placement: Placement::Position(position) } => {
            say!("{name}: item {item_id} is at place {position} in \"{query}\"");
        }
        PinOutcome::NoWords => return Err(format!("\"{query}\" has no word to search for")),
        PinOutcome::TooMany => {
            return Err(format!("a query pins and buries at most {MAX_PINS_PER_QUERY} items; remove some first"));
        }
        PinOutcome::NoPlace => return Err("no place is left after the last pinned item; give --position".to_owned()),
    }
    Ok(())
}

#[derive(Serialize)]
struct PinRow<'a> {
    query: &'a str,
    item: i64,
    name: &'a str,
    position: Option<u16>,
    buried: bool,
    listed: bool,
}

impl PinRow<'_> {
    fn of(pin: &StoredPin) -> PinRow<'_> {
        let position = match pin.placement {
            Placement::Position(position) => Some(position),
            Placement::Buried => None,
        };
        PinRow {
            query: &pin.query,
            item: pin.item_id,
            name: &pin.name,
            position,
            buried: position.is_none(),
            listed: pin.is_listed,
        }
    }
}

impl Row for PinRow<'_> {
    const COLUMNS: &'static [(&'static str, Align)] = &[
        ("query", Align::Left),
        ("place", Align::Right),
        ("item", Align::Right),
        ("state", Align::Left),
        ("name", Align::Left),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.query.to_owned(),
            self.position.map_or_else(|| "last".to_owned(), |position| position.to_string()),
            self.item.to_string(),
            if self.listed { "shown" } else { "hidden" }.to_owned(),
            answers::excerpt(self.name),
        ]
    }
}
