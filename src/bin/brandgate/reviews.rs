//! `brandgate reviews list`, `hide` and `show`: what the shop does with what buyers wrote.
//!
//! Called by `main`. What must never happen: a text that a stranger wrote commands the terminal it is shown on.

use brandgate::catalog::CatalogId;
use brandgate::config::BrandConfig;
use brandgate::reviews::{self, EXCERPT_CHARACTERS, ReviewFilter, ReviewSummary};
use brandgate::tenant::brand::Brand;

use super::open;
use super::output::say;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Show the newest reviews: id, item, stars, author, date, state, the text's beginning
    List(List),
    /// Take a review from sight; the item's rating follows
    Hide(One),
    /// Show a hidden review again; the item's rating follows
    Show(One),
}

#[derive(clap::Args)]
pub struct List {
    /// The brand's name
    #[arg(long)]
    brand: String,
    /// Only of this item: its number or its text id
    #[arg(long)]
    item: Option<String>,
    /// Only those that are hidden
    #[arg(long)]
    hidden: bool,
    /// How many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    count: i64,
}

#[derive(clap::Args)]
pub struct One {
    /// The brand's name
    #[arg(long)]
    brand: String,
    /// The review's number, the first word of its line in `list`
    #[arg(value_parser = number, allow_negative_numbers = true)]
    id: i64,
}

fn number(text: &str) -> Result<i64, String> {
    super::listed_number(text, "reviews list")
}

pub async fn run(brands: &[BrandConfig], command: Command) -> Result<(), String> {
    match command {
        Command::List(arguments) => list(&*open(brands, &arguments.brand).await?, &arguments).await,
        Command::Hide(arguments) => set_hidden(&*open(brands, &arguments.brand).await?, arguments.id, true).await,
        Command::Show(arguments) => set_hidden(&*open(brands, &arguments.brand).await?, arguments.id, false).await,
    }
}

async fn list(brand: &Brand, arguments: &List) -> Result<(), String> {
    let item =
        arguments.item.as_deref().map(|text| CatalogId::parse(text).ok_or_else(|| format!("--item {text}: no id")));
    let wanted = ReviewFilter { item: item.transpose()?, only_hidden: arguments.hidden, count: arguments.count };
    let listed = reviews::list(brand, &wanted).await.map_err(|error| format!("{}: {error}", brand.name()))?;
    for review in &listed {
        say!("{}", line(review));
    }
    Ok(())
}

fn line(review: &ReviewSummary) -> String {
    let stars = review.stars.map_or_else(|| "-".to_owned(), |stars| stars.to_string());
    let author = plain(review.author.as_deref().unwrap_or("-"));
    let date = review.created_at.map_or_else(|| "-".to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let state = if review.is_hidden { "hidden" } else { "shown" };
    let excerpt = plain(&review.excerpt);
    let (review_id, item_id) = (review.review_id, review.item_id);
    format!("{review_id:>8} {item_id:>16} {stars} {author:<21} {date:<20} {state:<6} {excerpt}")
}

/// On one line, and without what moves a cursor, colours a terminal or turns the direction of writing.
fn plain(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown = text.chars().take(EXCERPT_CHARACTERS.unsigned_abs() as usize);
    shown.map(|c| if steers(c) { ' ' } else { c }).collect()
}

async fn set_hidden(brand: &Brand, review_id: i64, is_hidden: bool) -> Result<(), String> {
    let rated = reviews::set_hidden(brand, review_id, is_hidden).await;
    let rated = rated.map_err(|error| format!("{}: {error}", brand.name()))?;
    let state = if is_hidden { "hidden" } else { "shown" };
    say!("{}: review {review_id} is {state}; item {} has rating {}", brand.name(), rated.item_id, rated.rating);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_stays_on_its_line() {
        assert_eq!(plain("a\nb\u{1b}[2Jc\u{202e}d\r👍"), "a b [2Jc d 👍");
    }
}
