//! Checks that the stored data agrees, for `brandgate check --books`.

use super::{Finding, Findings, Verdict};
use crate::books::{self, BookErrors, MAX_NAMED_ROWS};
use crate::config::BrandConfig;

/// One error for each row that disagrees with others, up to [`MAX_NAMED_ROWS`] of a book.
pub async fn books(config: &BrandConfig) -> Vec<Finding> {
    match books::check(config, MAX_NAMED_ROWS + 1).await {
        Ok(checked) => checked.into_iter().flat_map(findings).collect(),
        Err(error) => vec![Finding::new("books", Verdict::Failed(error.to_string()))],
    }
}

fn findings(BookErrors { book, rows }: BookErrors) -> Vec<Finding> {
    let max = usize::try_from(MAX_NAMED_ROWS).unwrap_or(usize::MAX);
    let mut findings = Findings::about(book);
    let more = rows.len() > max;
    rows.into_iter().take(max).for_each(|row| findings.error(row));
    if more {
        findings.error("further rows are not named");
    }
    findings.or_passed("no row disagrees")
}
