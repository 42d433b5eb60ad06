//! Which characters a reader sees.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Whether the text has at least one character that is visible by itself.
pub(crate) fn has_visible(text: &str) -> bool {
    text.chars().any(is_visible)
}

/// Whether a character is visible: no white space, no control or formatting character, and no letter, mark or symbol that fonts draw as
/// a blank.
pub(crate) fn is_visible(c: char) -> bool {
    let is_unseen = matches!(
        c.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::Surrogate
            | GeneralCategory::SpaceSeparator
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    );
    !is_unseen && !is_ignorable(c) && !is_blank_by_definition(c)
}

/// The Default_Ignorable_Code_Points (DerivedCoreProperties.txt) that are no formatting characters: Hangul fillers, joiners, Khmer
/// inherent vowels, variation selectors, and ranges reserved for invisible characters of later versions.
fn is_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2065}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Characters whose glyph is empty by definition: the Braille pattern without dots, the Khitan filler and the null notehead.
fn is_blank_by_definition(c: char) -> bool {
    matches!(c, '\u{2800}' | '\u{16fe4}' | '\u{1d159}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_digits_signs_and_emoji_are_visible() {
        for text in ["я", "Ֆ", "ё", "5", "!", "—", "👍", "👨‍👩‍👧", "☺️", "e\u{301}", "한", "\u{2801}", "\u{1d158}", "ﷺ"]
        {
            assert!(has_visible(text), "{text:?}");
        }
    }

    #[test]
    fn characters_without_a_glyph_are_blank() {
        let blank = [
            "",
            " ",
            "\t\r\n",
            "\u{0}",
            "\u{7f}",
            "\u{85}",
            "\u{a0}",
            "\u{ad}",
            "\u{34f}",
            "\u{61c}",
            "\u{115f}",
            "\u{1160}",
            "\u{1680}",
            "\u{17b4}",
            "\u{180e}",
            "\u{2000}",
            "\u{200a}",
            "\u{200b}",
            "\u{200d}",
            "\u{200f}",
            "\u{2028}",
            "\u{202e}",
            "\u{202f}",
            "\u{205f}",
            "\u{2060}",
            "\u{2064}",
            "\u{2065}",
            "\u{2066}",
            "\u{206f}",
            "\u{2800}",
            "\u{3000}",
            "\u{3164}",
            "\u{fe0f}",
            "\u{feff}",
            "\u{ffa0}",
            "\u{fff0}",
            "\u{16fe4}",
            "\u{1bca0}",
            "\u{1d159}",
            "\u{1d173}",
            "\u{e0001}",
            "\u{e0020}",
            "\u{e0100}",
            "\u{e0fff}",
        ];
        for text in blank {
            assert!(!has_visible(text), "{text:?}");
        }
        assert!(!has_visible(&blank.concat()));
    }
}
