//! Arguments and output that reviews and questions share: an item, the shop's answer, and texts of visitors.

use brandgate::catalog::CatalogId;

use super::list::printable;
use super::output::say;

/// In Unicode scalar values.
const MAX_ANSWER_CHARACTERS: usize = 4_000;

/// The length of a text in a list.
const EXCERPT_CHARACTERS: usize = 60;

#[derive(clap::Args)]
pub(crate) struct AnswerArguments {
    /// Text of the answer
    #[arg(value_parser = answer, required_unless_present = "remove")]
    pub text: Option<String>,
    /// Remove the answer
    #[arg(long, conflicts_with = "text")]
    pub remove: bool,
}

fn answer(text: &str) -> Result<String, String> {
    match text.chars().count() {
        _ if text.trim().is_empty() => Err("expected a text".to_owned()),
        ..=MAX_ANSWER_CHARACTERS => Ok(text.to_owned()),
        _ => Err(format!("expected at most {MAX_ANSWER_CHARACTERS} characters")),
    }
}

/// Parses the number or the text id of an item.
pub(crate) fn item(text: &str) -> Result<CatalogId, String> {
    CatalogId::parse(text).ok_or_else(|| "expected an item's id".to_owned())
}

/// The beginning of a text.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT_CHARACTERS).collect()
}

/// Prints a text below its title, each line indented.
pub(crate) fn print_text(title: &str, text: &str) {
    say!("{title}");
    for line in text.lines() {
        say!("    {}", printable(line));
    }
}
