//! `brandgate reviews`: lists visitors' reviews, answers them, hides them and shows them again.

use brandgate::catalog::CatalogId;
use brandgate::config::BrandConfig;
use brandgate::foundation::count::{counted, is_or_are};
use brandgate::foundation::error::Result as BrandResult;
use brandgate::reviews::{self, ReviewFilter, ReviewSelection, StoredReview};
use brandgate::tenant::brand::Brand;
use serde::Serialize;

use super::answers::{self, AnswerArguments};
use super::list::{self, Align, Row};
use super::output::say;

#[derive(clap::Subcommand)]
pub(crate) enum ReviewsCommand {
    /// List reviews in the order of their arrival, the last one first, with the beginning of their text
    List(ReviewListArguments),
    /// Show a review with its whole text and the shop's answer
    Show(ReviewArguments),
    /// Set the shop's answer to a review, or remove it
    Answer {
        #[command(flatten)]
        one: ReviewArguments,
        #[command(flatten)]
        answer: AnswerArguments,
    },
    /// Hide reviews and recompute the ratings of their items
    Hide(SelectionArguments),
    /// Show hidden reviews again and recompute the ratings of their items
    Unhide(SelectionArguments),
}

#[derive(clap::Args)]
pub(crate) struct ReviewListArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// List only reviews of this item, given by its number or its text id
    #[arg(long, value_parser = answers::item)]
    item: Option<CatalogId>,
    /// List only hidden reviews
    #[arg(long)]
    hidden: bool,
    /// List at most this many reviews
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    count: i64,
    /// Print a JSON array of objects: review, item, rating, author, createdAt, receivedAt, verified, hidden, text, answer
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

/// Reviews that all given options apply to.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct SelectionArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// Number of the review, as `list` shows it
    #[arg(value_parser = number, allow_negative_numbers = true, required_unless_present_any = ["item", "since", "author"])]
    id: Option<i64>,
    /// Select the reviews of this item, given by its number or its text id
    #[arg(long, value_parser = answers::item)]
    item: Option<CatalogId>,
    /// Select the reviews that arrived at this time (RFC 3339) or later
    #[arg(long)]
    since: Option<jiff::Timestamp>,
    /// Select the reviews of this author, as `list` shows it
    #[arg(long)]
    author: Option<String>,
}

fn number(text: &str) -> Result<i64, String> {
    super::listed_number(text, "reviews list")
}

/// # Errors
/// A message that names the brand.
pub(crate) async fn run(brands: &[BrandConfig], command: ReviewsCommand) -> Result<(), String> {
    let name = match &command {
        ReviewsCommand::List(arguments) => &arguments.brand,
        ReviewsCommand::Show(one) | ReviewsCommand::Answer { one, .. } => &one.brand,
        ReviewsCommand::Hide(selection) | ReviewsCommand::Unhide(selection) => &selection.brand,
    };
    let brand = super::open(brands, name).await?;
    execute(&brand, command).await.map_err(|error| format!("{}: {error}", brand.name()))
}

async fn execute(brand: &Brand, command: ReviewsCommand) -> BrandResult<()> {
    match command {
        ReviewsCommand::List(arguments) => {
            let filter = ReviewFilter { item: arguments.item, only_hidden: arguments.hidden, count: arguments.count };
            let listed = reviews::list(brand, &filter).await?;
            list::print(&listed.iter().map(ReviewRow::of).collect::<Vec<_>>(), arguments.json);
        }
        ReviewsCommand::Show(one) => show(&reviews::find(brand, one.id).await?),
        ReviewsCommand::Answer { one, answer } => {
            let item_id = reviews::answer(brand, one.id, answer.text.as_deref()).await?;
            let done = if answer.remove { "has no answer" } else { "is answered" };
            say!("{}: review {} of item {item_id} {done}", brand.name(), one.id);
        }
        ReviewsCommand::Hide(arguments) => set_hidden(brand, arguments, true).await?,
        ReviewsCommand::Unhide(arguments) => set_hidden(brand, arguments, false).await?,
    }
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
    received_at: String,
    verified: bool,
    hidden: bool,
    text: &'a str,
    answer: Option<&'a str>,
}

impl ReviewRow<'_> {
    fn of(review: &StoredReview) -> ReviewRow<'_> {
        ReviewRow {
            review: review.review_id,
            item: review.item_id,
            rating: review.stars,
            author: review.author.as_deref(),
            created_at: review.created_at.map(list::time),
            received_at: list::time(review.received_at),
            verified: review.is_verified,
            hidden: review.is_hidden,
            text: &review.text,
            answer: review.answer.as_deref(),
        }
    }
}

impl Row for ReviewRow<'_> {
    const COLUMNS: &'static [(&'static str, Align)] = &[
        ("review", Align::Right),
        ("item", Align::Right),
        ("rating", Align::Right),
        ("author", Align::Left),
        ("received", Align::Left),
        ("state", Align::Left),
        ("text", Align::Left),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.review.to_string(),
            self.item.to_string(),
            or_dash(self.rating.map(|rating| rating.to_string())),
            or_dash(self.author.map(str::to_owned)),
            self.received_at.clone(),
            state(self.hidden).to_owned(),
            answers::excerpt(self.text),
        ]
    }
}

fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

fn state(is_hidden: bool) -> &'static str {
    if is_hidden { "hidden" } else { "shown" }
}

fn show(review: &StoredReview) {
    say!("review    {}", review.review_id);
    say!("item      {}", review.item_id);
    say!("rating    {}", or_dash(review.stars.map(|stars| stars.to_string())));
    say!("author    {}", list::printable(review.author.as_deref().unwrap_or("-")));
    say!("created   {}", or_dash(review.created_at.map(list::time)));
    say!("received  {}", list::time(review.received_at));
    say!("verified  {}", if review.is_verified { "yes" } else { "no" });
    say!("state     {}", state(review.is_hidden));
    answers::print_text("text", &review.text);
    answers::print_text("answer", review.answer.as_deref().unwrap_or("-"));
}

async fn set_hidden(brand: &Brand, arguments: SelectionArguments, is_hidden: bool) -> BrandResult<()> {
    let SelectionArguments { id, item, since, author, .. } = arguments;
    let changed =
        reviews::set_hidden(brand, &ReviewSelection { review_id: id, item, since, author }, is_hidden).await?;
    let (name, state) = (brand.name(), state(is_hidden));
    match id {
        Some(id) => say!("{name}: review {id} is {state}"),
        None => say!("{name}: {} {} {state}", counted(changed.selected, "review"), is_or_are(changed.selected)),
    }
    for rated in &changed.ratings {
        say!("{name}: item {} has rating {}", rated.item_id, rated.rating);
    }
    Ok(())
}
