//! The key that queries share which say the same with other forms of their words.

use super::stop_words;
use super::understand::MAX_WORDS;
use crate::search::text::fold::fold;
use crate::search::text::stem::stem;
use crate::search::text::tokens::{TokenKind, tokenize_folded};

/// The stems of the words that say something, in alphabetical order. Empty for a text without words.
pub(crate) fn query_key(text: &str) -> String {
    let folded = fold(text);
    let mut tokens = tokenize_folded(&folded);
    tokens.retain(|token| token.kind != TokenKind::Glued);
    let marks = stop_words::marks(&tokens.iter().map(|token| token.text.as_str()).collect::<Vec<_>>());
    let content = tokens.iter().zip(marks).filter(|(_, is_stop)| !is_stop);
    let mut stems: Vec<_> = content.take(MAX_WORDS).map(|(token, _)| stem(&token.text)).collect();
    stems.sort_unstable();
    stems.dedup();
    stems.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_order_and_spelling_do_not_matter() {
        for (one, other) in [
            ("Чайники", "чайник"),
            ("наушники Sony", "sony наушников"),
            ("молоко 1 л", "МОЛОКО 1000мл"),
            ("купить ёлку", "елки"),
            ("Երևան", "ԵՐԵՎԱՆ"),
        ] {
            assert_eq!(query_key(one), query_key(other), "{one}");
        }
        assert_ne!(query_key("чайник"), query_key("чайник красный"));
        assert_eq!(query_key("!!! 😀"), "");
        assert_ne!(query_key("для"), "", "without other words it says something");
    }
}
