//! `brandgate search synonyms`: the synonyms of a brand's searches.

use std::io::Read;
use std::path::PathBuf;

use brandgate::config::BrandConfig;
use brandgate::foundation::count::counted;
use brandgate::search::rules::synonyms::{self, ListedSynonym, MAX_OWN_LINES, SynonymChange, SynonymLine};
use brandgate::tenant::brand::Brand;
use serde::Serialize;

use crate::list::{self, Align, Row, printable};
use crate::open;
use crate::output::say;

#[derive(clap::Subcommand)]
pub(crate) enum SynonymsCommand {
    /// List the lines: the brand's own, then those that every brand begins with
    List(SynonymListArguments),
    /// Add a line, or switch on one that every brand begins with
    Add(SynonymArguments),
    /// Remove a line of the brand's own, or switch off one that every brand begins with
    Remove(SynonymArguments),
    /// Add the lines of a file; an invalid line changes nothing
    Import(SynonymImportArguments),
}

#[derive(clap::Args)]
pub(crate) struct SynonymListArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// List only the brand's own lines and those that are switched off
    #[arg(long)]
    own: bool,
    /// Print a JSON array of objects: line, source, active
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct SynonymArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// Words for the same, `a, b` (each for the other) or `a => b, c` (one way)
    #[arg(value_parser = SynonymLine::parse)]
    line: SynonymLine,
}

#[derive(clap::Args)]
pub(crate) struct SynonymImportArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// File with one line each, `a, b` or `a => b, c`; # starts a comment, - is standard input
    file: PathBuf,
    /// Remove the brand's own lines that the file does not have
    #[arg(long)]
    replace: bool,
}

/// # Errors
/// A message that names the brand or the file.
pub(crate) async fn run(brands: &[BrandConfig], command: SynonymsCommand) -> Result<(), String> {
    match command {
        SynonymsCommand::List(arguments) => {
            let brand = open(brands, &arguments.brand).await?;
            let listed = synonyms::list(&brand).await.map_err(|error| with_brand(&brand, error))?;
            let rows = listed.iter().filter(|listed| !arguments.own || !listed.is_shipped || !listed.is_active);
            list::print(&rows.map(SynonymRow::of).collect::<Vec<_>>(), arguments.json);
            Ok(())
        }
        SynonymsCommand::Add(arguments) => {
            let brand = open(brands, &arguments.brand).await?;
            let change = synonyms::add(&brand, &arguments.line).await.map_err(|error| with_brand(&brand, error))?;
            report(&brand, &arguments.line, change)
        }
        SynonymsCommand::Remove(arguments) => {
            let brand = open(brands, &arguments.brand).await?;
            let change = synonyms::remove(&brand, &arguments.line).await.map_err(|error| with_brand(&brand, error))?;
            report(&brand, &arguments.line, change)
        }
        SynonymsCommand::Import(arguments) => import(brands, &arguments).await,
    }
}

fn with_brand(brand: &Brand, problem: impl std::fmt::Display) -> String {
    format!("{}: {problem}", brand.name())
}

fn report(brand: &Brand, line: &SynonymLine, change: SynonymChange) -> Result<(), String> {
    let done = match change {
        SynonymChange::Added => "added",
        SynonymChange::SwitchedOn => "switched on",
        SynonymChange::Unchanged => "unchanged",
        SynonymChange::Removed => "removed",
        SynonymChange::SwitchedOff => "switched off",
        SynonymChange::NotFound => {
            let list = format!("there is no such line; `search synonyms list --brand {}` shows them", brand.name());
            return Err(with_brand(brand, list));
        }
        SynonymChange::TooMany => return Err(with_brand(brand, too_many())),
    };
    say!("{}: {done}: {}", brand.name(), printable(line.text()));
    Ok(())
}

fn too_many() -> String {
    format!("a brand has at most {MAX_OWN_LINES} lines of its own; remove some first")
}

async fn import(brands: &[BrandConfig], arguments: &SynonymImportArguments) -> Result<(), String> {
    let with_file = |problem: String| format!("{}: {problem}", arguments.file.display());
    let text = read(&arguments.file).map_err(|error| with_file(error.to_string()))?;
    let lines = SynonymLine::parse_list(&text)
        .map_err(|problems| problems.into_iter().map(with_file).collect::<Vec<_>>().join("\n"))?;
    let brand = open(brands, &arguments.brand).await?;
    let imported = synonyms::import(&brand, &lines, arguments.replace).await;
    let imported = imported.map_err(|error| with_brand(&brand, error))?;
    let imported = imported.ok_or_else(|| with_brand(&brand, too_many()))?;
    say!(
        "{}: {} added, {} unchanged, {} removed",
        brand.name(),
        counted(imported.added as u64, "line"),
        imported.unchanged,
        imported.removed
    );
    Ok(())
}

fn read(path: &PathBuf) -> std::io::Result<String> {
    if path.as_os_str() != "-" {
        return std::fs::read_to_string(path);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

#[derive(Serialize)]
struct SynonymRow<'a> {
    line: &'a str,
    source: &'static str,
    active: bool,
}

impl SynonymRow<'_> {
    fn of(listed: &ListedSynonym) -> SynonymRow<'_> {
        let source = if listed.is_shipped { "shipped" } else { "own" };
        SynonymRow { line: &listed.line, source, active: listed.is_active }
    }
}

impl Row for SynonymRow<'_> {
    const COLUMNS: &'static [(&'static str, Align)] =
        &[("source", Align::Left), ("state", Align::Left), ("line", Align::Left)];

    fn cells(&self) -> Vec<String> {
        let state = if self.active { "on" } else { "off" };
        vec![self.source.to_owned(), state.to_owned(), self.line.to_owned()]
    }
}
