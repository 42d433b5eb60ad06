//! `brandgate reviews`: lists visitors' reviews, hides them and shows them again.

use brandgate::catalog::CatalogId;
use brandgate::config::BrandConfig;
use brandgate::reviews::{self, ReviewFilter, ReviewSummary};
use brandgate::tenant::brand::Brand;
use serde::Serialize;

use super::list::{self, Align, Row};
use super::open;
use super::output::say;

#[derive(clap::Subcommand)]
pub(crate) enum ReviewsCommand {
    /// List the newest reviews with the beginning of their text
    List(ReviewListArguments),
    /// Hide a review and recompute the item's rating
    Hide(ReviewArguments),
    /// Show a hidden review again and recompute the item's rating
    Show(ReviewArguments),
}

#[derive(clap::Args)]
pub(crate) struct ReviewListArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// List only reviews of this item, given by its number or its text id
    #[arg(long)]
    item: Option<String>,
    /// List only hidden reviews
    #[arg(long)]
    hidden: bool,
    /// List at most this many reviews
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    count: i64,
    /// Print a JSON array of objects: review, item, rating, author, createdAt, hidden, text
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct ReviewArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// Number of the review, as `list` shows it
    #[arg(value_parser = number, allow_negative_numbers = true)]
    id: i64,
}

fn number(text: &str) -> Result<i64, String> {
    super::listed_number(text, "reviews list")
}

/// # Errors
/// A message that names the brand.
pub(crate) async fn run(brands: &[BrandConfig], command: ReviewsCommand) -> Result<(), String> {
    match command {
        ReviewsCommand::List(arguments) => list(&*open(brands, &arguments.brand).await?, &arguments).await,
        ReviewsCommand::Hide(arguments) => {
            set_hidden(&*open(brands, &arguments.brand).await?, arguments.id, true).await
        }
        ReviewsCommand::Show(arguments) => {
            set_hidden(&*open(brands, &arguments.brand).await?, arguments.id, false).await
        }
    }
}

async fn list(brand: &Brand, arguments: &ReviewListArguments) -> Result<(), String> {
    let parse = |text: &str| CatalogId::parse(text).ok_or_else(|| format!("--item {text}: expected an item's id"));
    let item = arguments.item.as_deref().map(parse).transpose()?;
    let filter = ReviewFilter { item, only_hidden: arguments.hidden, count: arguments.count };
    let listed = reviews::list(brand, &filter).await.map_err(|error| format!("{}: {error}", brand.name()))?;
    list::print(&listed.iter().map(ReviewRow::of).collect::<Vec<_>>(), arguments.json);
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReviewRow<'a> {
    review: i64,
    item: i64,
    rating: Option<i16>,
    author: Option<&'a str>,
    created_at: Option<String>,
    hidden: bool,
    text: &'a str,
}

impl ReviewRow<'_> {
    fn of(review: &ReviewSummary) -> ReviewRow<'_> {
        ReviewRow {
            review: review.review_id,
            item: review.item_id,
            rating: review.stars,
            author: review.author.as_deref(),
            created_at: review.created_at.map(list::time),
            hidden: review.is_hidden,
            text: &review.excerpt,
        }
    }
}

impl Row for ReviewRow<'_> {
    const COLUMNS: &'static [(&'static str, Align)] = &[
        ("review", Align::Right),
        ("item", Align::Right),
        ("rating", Align::Right),
        ("author", Align::Left),
        ("created", Align::Left),
        ("state", Align::Left),
        ("text", Align::Left),
    ];

    fn cells(&self) -> Vec<String> {
        let unknown = || "-".to_owned();
        vec![
            self.review.to_string(),
            self.item.to_string(),
            self.rating.map_or_else(unknown, |rating| rating.to_string()),
            self.author.map_or_else(unknown, str::to_owned),
            self.created_at.clone().unwrap_or_else(unknown),
            state(self.hidden).to_owned(),
            self.text.to_owned(),
        ]
    }
}

fn state(is_hidden: bool) -> &'static str {
    if is_hidden { "hidden" } else { "shown" }
}

async fn set_hidden(brand: &Brand, review_id: i64, is_hidden: bool) -> Result<(), String> {
    let rated = reviews::set_hidden(brand, review_id, is_hidden).await;
    let rated = rated.map_err(|error| format!("{}: {error}", brand.name()))?;
    let (name, state) = (brand.name(), state(is_hidden));
    say!("{name}: review {review_id} is {state}; item {} has rating {}", rated.item_id, rated.rating);
    Ok(())
}
