//! `brandgate search report`: what visitors search for, and what they do not find.

use brandgate::config::BrandConfig;
use brandgate::search::query_counts::{self, QueryCount, SearchDay};
use serde::Serialize;

use crate::list::printable;
use crate::open;
use crate::output::say;

#[derive(clap::Args)]
pub(crate) struct ReportArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// Report so many days, today included
    #[arg(long, default_value = "7", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=3_650))]
    days: u16,
    /// List at most so many queries of a day
    #[arg(long, default_value = "20", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    count: u16,
    /// Print a JSON array of objects: day, searches, foundNothing, queries, popular, unsuccessful
    #[arg(long)]
    json: bool,
}

/// # Errors
/// A message that names the brand.
pub(crate) async fn run(brands: &[BrandConfig], arguments: ReportArguments) -> Result<(), String> {
    let brand = open(brands, &arguments.brand).await?;
    let days = query_counts::report(&brand, arguments.days, arguments.count).await;
    let days = days.map_err(|error| format!("{}: {error}", brand.name()))?;
    if arguments.json {
        let days: Vec<DayRow> = days.iter().map(DayRow::of).collect();
        say!("{}", serde_json::to_string_pretty(&days).map_err(|error| error.to_string())?);
    } else if days.is_empty() {
        say!("{}: no searches", brand.name());
    } else {
        days.iter().for_each(print);
    }
    Ok(())
}

fn print(day: &SearchDay) {
    let searches = if day.searches == 1 { "search" } else { "searches" };
    let SearchDay { day: date, searches: count, queries, found_nothing, .. } = day;
    say!("{date}  {count} {searches}, {queries} different, {found_nothing} found nothing");
    say!("  popular");
    day.popular.iter().for_each(|query| say!("{:>8}  {}", query.searches, printable(&query.query)));
    if !day.unsuccessful.is_empty() {
        say!("  found nothing");
        day.unsuccessful.iter().for_each(|query| say!("{:>8}  {}", query.found_nothing, printable(&query.query)));
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DayRow<'r> {
    day: String,
    searches: i64,
    found_nothing: i64,
    queries: i64,
    popular: Vec<QueryRow<'r>>,
    unsuccessful: Vec<QueryRow<'r>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueryRow<'r> {
    query: &'r str,
    searches: i64,
    found_nothing: i64,
}

impl DayRow<'_> {
    fn of(day: &SearchDay) -> DayRow<'_> {
        DayRow {
            day: day.day.to_string(),
            searches: day.searches,
            found_nothing: day.found_nothing,
            queries: day.queries,
            popular: day.popular.iter().map(QueryRow::of).collect(),
            unsuccessful: day.unsuccessful.iter().map(QueryRow::of).collect(),
        }
    }
}

impl QueryRow<'_> {
    fn of(query: &QueryCount) -> QueryRow<'_> {
        QueryRow { query: &query.query, searches: query.searches, found_nothing: query.found_nothing }
    }
}
