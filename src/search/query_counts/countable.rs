//! The text under which a query is counted.

use crate::search::text::fold::fold;

/// Longer texts are mostly pasted and say little of what people look for.
const MAX_CHARS: usize = 64;

/// So many digits, with nothing but their usual separators in between, may be a phone number.
const MIN_PHONE_DIGITS: usize = 7;

/// The query folded, with single blanks. `None` for one that is not counted: a long text, one without letters and digits, and what
/// looks like an email address, a user name or a phone number.
pub(super) fn text(query: &str) -> Option<String> {
    let text = fold(query).split_whitespace().collect::<Vec<_>>().join(" ");
    let says_something = text.chars().any(char::is_alphanumeric);
    let is_short = text.chars().count() <= MAX_CHARS;
    (says_something && is_short && !has_address(&text) && !has_phone_number(&text)).then_some(text)
}

fn has_address(text: &str) -> bool {
    text.contains(['@', '＠', '﹫'])
}

fn has_phone_number(text: &str) -> bool {
    let mut digits = 0;
    for c in text.chars() {
        match c {
            c if c.is_numeric() => digits += 1,
            ' ' | '+' | '-' | '.' | ',' | '(' | ')' | '/' | '_' => {}
            _ => digits = 0,
        }
        if digits >= MIN_PHONE_DIGITS {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_query_are_counted_together() {
        for query in ["Чайник  Ёлка", " чайник елка ", "ЧАЙНИК\u{a0}елка\u{200b}"] {
            assert_eq!(text(query).as_deref(), Some("чайник елка"), "{query:?}");
        }
        for query in
            ["iphone 15 pro 256", "молоко 3,2% 930 мл", "ноутбук до 30000", "от 10000 до 20000", "wh-1000xm5", "թեյնիկ"]
        {
            assert!(text(query).is_some(), "{query}");
        }
    }

    #[test]
    fn what_may_say_who_searched_is_not_counted() {
        for query in [
            "anna@example.org",
            "письмо Anna ＠ example.org",
            "@anna_telegram",
            "+7 916 123-45-67",
            "89161234567",
            "8 (916) 123 45 67",
            "позвоните 123-45-67",
            "+374 91 12.34.56",
            "٠٩١٢٣٤٥٦٧٨",
            "4276 1234 5678 9012",
            "🫖 !!!",
            "\u{200b}",
            "",
        ] {
            assert_eq!(text(query), None, "{query:?}");
        }
        assert!(text(&"ж".repeat(MAX_CHARS)).is_some());
        assert_eq!(text(&"ж".repeat(MAX_CHARS + 1)), None);
    }
}
