//! Decodes character references of a YML feed and normalises its texts.
//!
//! # Invariants
//! - Normalised texts contain no control characters.
//! - A reference is decoded to the characters of one HTML entity; entities of a DTD are not expanded.

use quick_xml::escape::resolve_html5_entity;

/// Appends the text of `&body;`; an unknown name stays as it is.
pub(super) fn push_reference(out: &mut String, body: &str) {
    if let Some(number) = body.strip_prefix('#') {
        match character(number) {
            Some(c) => out.push(c),
            None if is_number(number) => {}
            None => push_literally(out, body),
        }
    } else if let Some(text) = resolve_html5_entity(body) {
        out.push_str(text);
    } else {
        push_literally(out, body);
    }
}

fn push_literally(out: &mut String, body: &str) {
    out.push('&');
    out.push_str(body);
    out.push(';');
}

fn is_number(number: &str) -> bool {
    match number.strip_prefix(['x', 'X']) {
        Some(hex) => !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()),
    }
}

fn character(number: &str) -> Option<char> {
    if !is_number(number) {
        return None;
    }
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    match code.ok()? {
        0 => None,
        // HTML reads these as windows-1252; old shops write dashes as `&#151;`.
        code @ 0x80..=0x9F => {
            let byte = u8::try_from(code).ok()?;
            encoding_rs::WINDOWS_1252.decode_without_bom_handling(&[byte]).0.chars().next()
        }
        code => char::from_u32(code),
    }
}

/// The length of the body of the reference at the start of `text`, which follows a `&`.
fn reference_length(text: &str) -> Option<usize> {
    const MAX_BYTES: usize = 40;
    let end = text.bytes().take(MAX_BYTES).position(|b| !b.is_ascii_alphanumeric() && b != b'#')?;
    (end > 0 && text.as_bytes()[end] == b';').then_some(end)
}

/// Decodes the references of an attribute value or of HTML.
pub(super) fn decode(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match reference_length(rest) {
            Some(length) => {
                push_reference(&mut out, &rest[..length]);
                rest = &rest[length + 1..];
            }
            None => out.push('&'),
        }
    }
    out.push_str(rest);
    out
}

/// One line: without control characters, with white space collapsed and trimmed.
pub(in crate::catalog::import) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut is_space_pending = false;
    for c in text.chars() {
        if c.is_whitespace() {
            is_space_pending = true;
        } else if !c.is_control() {
            if is_space_pending && !out.is_empty() {
                out.push(' ');
            }
            is_space_pending = false;
            out.push(c);
        }
    }
    out
}

/// As [`line`], truncated to `max_chars`; `None` when it is empty.
pub(super) fn non_empty_line(text: &str, max_chars: usize) -> Option<String> {
    let mut out = line(text);
    truncate(&mut out, max_chars);
    (!out.is_empty()).then_some(out)
}

/// Truncates to `max_chars`, without trailing white space.
pub(super) fn truncate(text: &mut String, max_chars: usize) {
    if let Some((end, _)) = text.char_indices().nth(max_chars) {
        text.truncate(text[..end].trim_end().len());
    }
}

/// The first paragraph of a plain text, truncated at a word to `max_chars` including the `…`.
pub(super) fn first_paragraph(plain: &str, max_chars: usize) -> Option<String> {
    let paragraph = plain.lines().map(str::trim).find(|line| !line.is_empty())?;
    if paragraph.char_indices().nth(max_chars).is_none() {
        return Some(paragraph.to_owned());
    }
    let (end, next) = paragraph.char_indices().nth(max_chars - 1)?;
    let mut cut = &paragraph[..end];
    if !next.is_whitespace() {
        cut = cut.rsplit_once(' ').map_or(cut, |(whole_words, _)| whole_words);
    }
    Some(format!("{}…", cut.trim_end_matches(|c: char| c.is_whitespace() || ",;:.–—-".contains(c))))
}

/// Whether `text` contains `word` as a whole word or starts with it, ignoring case.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let (text, word) = (text.to_lowercase(), word.to_lowercase());
    if text.starts_with(&word) {
        return true;
    }
    text.match_indices(&word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_decoded_once_and_unknown_ones_are_kept() {
        let all =
            "&lt;&gt;&amp;&quot;&apos; &#1071;&#x42F;&#X42f; &nbsp;&laquo; &xxe; &amp;lt; & &; &#; &#zz; A&B;C & D;";
        assert_eq!(decode(all), "<>&\"' ЯЯЯ \u{a0}« &xxe; &lt; & &; &#; &#zz; A&B;C & D;");
    }

    #[test]
    fn invalid_characters_are_dropped_and_windows_1252_dashes_are_decoded() {
        assert_eq!(decode("a&#0;&#xD800;&#x110000;&#99999999999;b&#151;&#150;"), "ab—–");
        assert_eq!(line("a&\u{0}\u{1}\u{7f}\u{9d}b"), "a&b");
    }

    #[test]
    fn lines_are_collapsed_and_truncated_between_characters() {
        assert_eq!(line("\r\n\t Кофе \u{a0}\n чёрный \u{85}"), "Кофе чёрный");
        assert_eq!(non_empty_line("  щука рыба ", 5).as_deref(), Some("щука"));
        assert_eq!(non_empty_line("🫖🫖🫖", 2).as_deref(), Some("🫖🫖"));
        assert_eq!(non_empty_line(" \u{1} \n", 5), None);
    }

    #[test]
    fn the_first_paragraph_is_truncated_at_a_word() {
        assert_eq!(first_paragraph("\n \nодин два\nтри", 200).as_deref(), Some("один два"));
        assert_eq!(first_paragraph("один, два три", 8).as_deref(), Some("один…"));
        assert_eq!(first_paragraph("один два три", 9).as_deref(), Some("один два…"));
        assert_eq!(first_paragraph("один два", 8).as_deref(), Some("один два"));
        let long = first_paragraph(&"я".repeat(300), 200).unwrap();
        assert_eq!(long.chars().count(), 200);
        assert!(long.ends_with("я…"));
        assert_eq!(first_paragraph(" \n ", 200), None);
    }

    #[test]
    fn words_are_found_ignoring_case() {
        assert!(has_word("Яндекс.Станция", "яндекс") && has_word("Умная ЯНДЕКС-лампа", "Яндекс"));
        assert!(has_word("Samsungs", "Samsung"), "a prefix of the text is enough");
        assert!(!has_word("Суперяндекс", "Яндекс") && !has_word("Умная яндекса", "Яндекс"));
    }
}
