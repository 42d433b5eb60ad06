//! Counts in English sentences.

use std::fmt::Display;

/// The count with its noun, whose plural ends in `s`: `1 email`, `2 emails`.
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let ending = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// `is` after one, `are` after any other count.
pub fn is_or_are<N: PartialEq + From<u8>>(count: N) -> &'static str {
    if count == N::from(1) { "is" } else { "are" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_is_singular() {
        assert_eq!([0, 1, 2].map(|n: i64| counted(n, "email")), ["0 emails", "1 email", "2 emails"]);
        assert_eq!([0, 1, 2].map(|n: u64| is_or_are(n)), ["are", "is", "are"]);
    }
}
