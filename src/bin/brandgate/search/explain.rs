//! `brandgate search explain`: how a query is read, and why its results stand where they stand.

use brandgate::catalog::CatalogId;
use brandgate::config::BrandConfig;
use brandgate::foundation::money::Exact;
use brandgate::search::explain::{
    self, ExplainedSearch, Explanation, ItemExplanation, ItemLookup, PartsExplanation, ReadingExplanation,
};
use rust_decimal::Decimal;

use crate::list::printable;
use crate::output::say;
use crate::{answers, open};

#[derive(clap::Args)]
pub(crate) struct ExplainArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// The query, as a visitor types it
    #[arg(value_parser = super::query)]
    query: String,
    /// Say where this item is in the results, or why it is not among them; given by its number or its text id
    #[arg(long, value_parser = answers::item)]
    item: Option<CatalogId>,
    /// Search in this region
    #[arg(long, value_name = "ID")]
    region: Option<String>,
    /// Search in this category, given by its number or its text id
    #[arg(long, value_name = "ID", value_parser = category)]
    category: Option<CatalogId>,
    /// Search for items for which at least this is paid, in roubles
    #[arg(long, value_name = "ROUBLES", value_parser = price)]
    price_min: Option<Decimal>,
    /// Search for items for which at most this is paid, in roubles
    #[arg(long, value_name = "ROUBLES", value_parser = price)]
    price_max: Option<Decimal>,
    /// Search for items in stock
    #[arg(long)]
    in_stock: bool,
    /// Search for items with a discount
    #[arg(long)]
    discounted: bool,
    /// Search for items with this tag; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Allow no readings but other forms of the typed words
    #[arg(long)]
    exact: bool,
    /// Print a JSON object: query, corrected, priceMin, priceMax, words, categories, total, items, item
    #[arg(long)]
    json: bool,
}

fn category(text: &str) -> Result<CatalogId, String> {
    CatalogId::parse(text).ok_or_else(|| "expected a category's id".to_owned())
}

fn price(text: &str) -> Result<Decimal, String> {
    /// Larger limits are refused by the API too.
    const MAX_ROUBLES: i64 = 10_000_000_000_000;
    let price = text.parse().ok().filter(|price| (Decimal::ZERO..=Decimal::from(MAX_ROUBLES)).contains(price));
    price.ok_or_else(|| "expected an amount in roubles, 0 or more".to_owned())
}

/// # Errors
/// A message that names the brand.
pub(crate) async fn run(brands: &[BrandConfig], arguments: ExplainArguments) -> Result<(), String> {
    let brand = open(brands, &arguments.brand).await?;
    let search = ExplainedSearch {
        query: arguments.query,
        exact: arguments.exact,
        item: arguments.item,
        region: arguments.region,
        category: arguments.category,
        price_min: arguments.price_min,
        price_max: arguments.price_max,
        in_stock: arguments.in_stock,
        discounted: arguments.discounted,
        tags: arguments.tags,
    };
    let explanation = explain::explain(&brand, &search).await.map_err(|error| format!("{}: {error}", brand.name()))?;
    if arguments.json {
        let text = serde_json::to_string_pretty(&explanation).map_err(|error| error.to_string())?;
        say!("{text}");
    } else {
        print(&explanation);
    }
    Ok(())
}

fn print(explanation: &Explanation) {
    say!("query       {}", printable(&explanation.query));
    if let Some(corrected) = &explanation.corrected {
        say!("corrected   {}", printable(corrected));
    }
    let limit = |limit: Option<Exact>| limit.map_or_else(|| "-".to_owned(), |limit| limit.0.normalize().to_string());
    if explanation.price_min.is_some() || explanation.price_max.is_some() {
        say!("price       {} to {}", limit(explanation.price_min), limit(explanation.price_max));
    }
    for word in &explanation.words {
        say!("word        {}: {}", printable(&word.typed), readings(&word.readings));
    }
    for category in &explanation.categories {
        say!("category    {} {}: × {}", category.category_id, printable(&category.name), category.factor);
    }
    say!("results     {}", explanation.total);
    explanation.items.iter().for_each(print_item);
    if let Some(item) = &explanation.item {
        print_lookup(item);
    }
}

fn readings(readings: &[ReadingExplanation]) -> String {
    const SHOWN: usize = 8;
    if readings.is_empty() {
        return "not known".to_owned();
    }
    let mut texts: Vec<String> = readings
        .iter()
        .take(SHOWN)
        .map(|reading| format!("{} {} ({})", reading.kind, printable(&reading.terms.join(" + ")), reading.weight))
        .collect();
    if readings.len() > SHOWN {
        texts.push(format!("and {} more", readings.len() - SHOWN));
    }
    texts.join(", ")
}

fn print_lookup(item: &ItemLookup) {
    say!("");
    match &item.result {
        Some(result) => print_item(result),
        None => {
            say!("item {} {} is not among the results:", item.item_id, printable(&item.name));
            for obstacle in &item.obstacles {
                say!("    {}", printable(&obstacle.message));
            }
        }
    }
}

fn print_item(item: &ItemExplanation) {
    say!("{:>4}  item {} {}", item.place, item.item_id, printable(&item.name));
    let placement = match (item.pinned, item.buried) {
        (Some(position), _) => Some(format!("pinned to place {position}")),
        (None, true) => Some("shown last".to_owned()),
        (None, false) => None,
    };
    let is_name = item.is_name.then(|| "the query is its name".to_owned());
    let missing = (!item.missing.is_empty()).then(|| format!("lacks {}", printable(&item.missing.join(", "))));
    let stock = if item.in_stock { "in stock" } else { "out of stock" }.to_owned();
    let facts = [placement, is_name, missing, Some(stock), Some(format!("priority {}", item.priority))];
    say!("      {}", facts.into_iter().flatten().collect::<Vec<_>>().join(", "));
    if let Some(parts) = &item.parts {
        print_parts(item.score, parts);
    }
}

fn print_parts(score: f64, parts: &PartsExplanation) {
    say!(
        "      score {score} = words {} × length {} × category {} × coverage {}²",
        parts.words,
        parts.length_factor,
        parts.intent_factor,
        parts.coverage
    );
    for word in &parts.of_words {
        say!(
            "        {}: {} = {} {} {} × field {} ({}) × rarity {}",
            printable(&word.typed),
            word.score,
            word.reading,
            printable(&word.found.join(" + ")),
            word.reading_weight,
            word.field_weight,
            word.fields.join(", "),
            word.rarity
        );
    }
}
