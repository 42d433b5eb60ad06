//! Cleaning of the texts that a YML feed holds.
//!
//! Called by `yml` and its parts. No text that leaves here may hold a control character, and no entity may ever be
//! expanded beyond the few letters of its one character.

use quick_xml::escape::resolve_html5_entity;

/// Appends what `&body;` means; an unknown name stays as it was written.
pub fn push_reference(out: &mut String, body: &str) {
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
        // Browsers read these as windows-1252, and old shops write their dashes so: `&#151;`.
        code @ 0x80..=0x9F => {
            let byte = u8::try_from(code).ok()?;
            encoding_rs::WINDOWS_1252.decode_without_bom_handling(&[byte]).0.chars().next()
        }
        code => char::from_u32(code),
    }
}

/// The length of a reference's body when `text`, which begins after `&`, begins with one.
fn reference_length(text: &str) -> Option<usize> {
    const LONGEST: usize = 40;
    let end = text.bytes().take(LONGEST).position(|b| !b.is_ascii_alphanumeric() && b != b'#')?;
    (end > 0 && text.as_bytes()[end] == b';').then_some(end)
}

/// Decodes the references of an attribute's value or of HTML.
pub fn decode(raw: &str) -> String {
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

/// One line: control characters dropped, white space collapsed and trimmed.
pub fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut space = false;
    for c in text.chars() {
        if c.is_whitespace() {
            space = true;
        } else if !c.is_control() {
            if space && !out.is_empty() {
                out.push(' ');
            }
            space = false;
            out.push(c);
        }
    }
    out
}

/// As [`line`], cut to `longest` characters; `None` when nothing is left.
pub fn some_line(text: &str, longest: usize) -> Option<String> {
    let mut out = line(text);
    clip(&mut out, longest);
    (!out.is_empty()).then_some(out)
}

/// Cuts to `longest` characters and trims what the cut leaves at the end.
pub fn clip(text: &mut String, longest: usize) {
    if let Some((end, _)) = text.char_indices().nth(longest) {
        text.truncate(text[..end].trim_end().len());
    }
}

/// The first paragraph of a plain text, at most `longest` characters with the `…` that marks a cut.
pub fn first_paragraph(plain: &str, longest: usize) -> Option<String> {
    let paragraph = plain.lines().map(str::trim).find(|line| !line.is_empty())?;
    if paragraph.char_indices().nth(longest).is_none() {
        return Some(paragraph.to_owned());
    }
    let (end, next) = paragraph.char_indices().nth(longest - 1)?;
    let mut cut = &paragraph[..end];
    if !next.is_whitespace() {
        cut = cut.rsplit_once(' ').map_or(cut, |(whole_words, _)| whole_words);
    }
    Some(format!("{}…", cut.trim_end_matches(|c: char| c.is_whitespace() || ",;:.–—-".contains(c))))
}

/// True when `word` stands in `text` between other than letters and digits, or at its very beginning; case is ignored.
pub fn has_word(text: &str, word: &str) -> bool {
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
    fn references_are_decoded_once_and_unknown_ones_stay() {
        let all =
            "&lt;&gt;&amp;&quot;&apos; &#1071;&#x42F;&#X42f; &nbsp;&laquo; &xxe; &amp;lt; & &; &#; &#zz; A&B;C & D;";
        assert_eq!(decode(all), "<>&\"' ЯЯЯ \u{a0}« &xxe; &lt; & &; &#; &#zz; A&B;C & D;");
    }

    #[test]
    fn impossible_characters_vanish_and_old_dashes_are_understood() {
        assert_eq!(decode("a&#0;&#xD800;&#x110000;&#99999999999;b&#151;&#150;"), "ab—–");
        assert_eq!(line("a&\u{0}\u{1}\u{7f}\u{9d}b"), "a&b");
    }

    #[test]
    fn lines_are_collapsed_and_cut_between_characters() {
        assert_eq!(line("\r\n\t Кофе \u{a0}\n чёрный \u{85}"), "Кофе чёрный");
        assert_eq!(some_line("  щука рыба ", 5).as_deref(), Some("щука"));
        assert_eq!(some_line("🫖🫖🫖", 2).as_deref(), Some("🫖🫖"));
        assert_eq!(some_line(" \u{1} \n", 5), None);
    }

    #[test]
    fn the_first_paragraph_is_cut_at_a_word() {
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
    fn words_are_found_whatever_their_case() {
        assert!(has_word("Яндекс.Станция", "яндекс") && has_word("Умная ЯНДЕКС-лампа", "Яндекс"));
        assert!(has_word("Samsungs", "Samsung"), "the beginning is enough");
        assert!(!has_word("Суперяндекс", "Яндекс") && !has_word("Умная яндекса", "Яндекс"));
    }
}
