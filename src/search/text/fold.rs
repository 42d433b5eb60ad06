//! Folding: one spelling of letters that visitors do not distinguish.

/// Lower case, with ё as е, և and եւ as եվ, letters without accents, and every kind of blank as a space.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        match c {
            'ё' => folded.push('е'),
            'և' => folded.push_str("եվ"),
            'ւ' if folded.ends_with('ե') => folded.push('վ'),
            // Decomposed й; other combining marks are accents.
            '\u{306}' if folded.ends_with('и') => {
                folded.pop();
                folded.push('й');
            }
            '\u{300}'..='\u{36f}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{feff}' => {}
            'à'..='å' | 'ā' | 'ă' | 'ą' => folded.push('a'),
            'ç' | 'ć' | 'č' => folded.push('c'),
            'è'..='ë' | 'ē' | 'ę' | 'ě' => folded.push('e'),
            'ì'..='ï' | 'ī' => folded.push('i'),
            'ñ' | 'ń' => folded.push('n'),
            'ò'..='ö' | 'ø' | 'ō' => folded.push('o'),
            'š' | 'ś' => folded.push('s'),
            'ß' => folded.push_str("ss"),
            'ù'..='ü' | 'ū' => folded.push('u'),
            'ý' | 'ÿ' => folded.push('y'),
            'ž' | 'ź' | 'ż' => folded.push('z'),
            'ł' => folded.push('l'),
            'æ' => folded.push_str("ae"),
            '×' => folded.push('x'),
            '″' | '”' | '“' | '„' | '«' | '»' => folded.push('"'),
            '’' | '‘' | '`' | '՚' => folded.push('\''),
            '‐'..='―' | '−' => folded.push('-'),
            c if c.is_whitespace() || c.is_control() => folded.push(' '),
            c => folded.push(c),
        }
    }
    folded
}

/// The alphabet of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Script {
    Cyrillic,
    Latin,
    Armenian,
    Other,
}

impl Script {
    pub(crate) fn of(c: char) -> Script {
        match c {
            'a'..='z' => Script::Latin,
            'а'..='я' | 'і' | 'ї' | 'є' | 'ґ' | 'ў' => Script::Cyrillic,
            'ա'..='ֆ' => Script::Armenian,
            _ => Script::Other,
        }
    }

    /// The script of the word's letters, if it is one alone.
    pub(crate) fn of_word(word: &str) -> Script {
        let mut letters = word.chars().filter(|c| c.is_alphabetic()).map(Script::of);
        let Some(first) = letters.next() else { return Script::Other };
        if letters.all(|script| script == first) { first } else { Script::Other }
    }
}

/// Cyrillic letters that look like Latin ones.
const LOOKALIKES: [(char, char); 14] = [
    ('а', 'a'),
    ('в', 'b'),
    ('е', 'e'),
    ('к', 'k'),
    ('м', 'm'),
    ('н', 'h'),
    ('о', 'o'),
    ('р', 'p'),
    ('с', 'c'),
    ('т', 't'),
    ('у', 'y'),
    ('х', 'x'),
    ('і', 'i'),
    ('п', 'n'),
];

fn to_latin(c: char) -> Option<char> {
    LOOKALIKES.iter().find(|(cyrillic, latin)| *cyrillic == c && *latin != 'n').map(|(_, latin)| *latin)
}

fn to_cyrillic(c: char) -> Option<char> {
    LOOKALIKES.iter().find(|(_, latin)| *latin == c).map(|(cyrillic, _)| *cyrillic)
}

/// A word in one script: letters of another script that only look like it are replaced. Codes with digits become Latin
/// where all their letters look Latin.
pub(crate) fn unify_script(word: &str) -> Option<String> {
    let (mut cyrillic, mut latin, mut digits) = (0, 0, 0);
    for c in word.chars() {
        match Script::of(c) {
            Script::Cyrillic => cyrillic += 1,
            Script::Latin => latin += 1,
            _ if c.is_ascii_digit() => digits += 1,
            _ => {}
        }
    }
    if cyrillic == 0 || (latin == 0 && digits == 0) {
        return None;
    }
    let convert = |by: fn(char) -> Option<char>, from: Script| -> Option<String> {
        word.chars().map(|c| if Script::of(c) == from { by(c) } else { Some(c) }).collect()
    };
    if latin > 0 && cyrillic > latin {
        return convert(to_cyrillic, Script::Latin).or_else(|| convert(to_latin, Script::Cyrillic));
    }
    let latin_word = convert(to_latin, Script::Cyrillic);
    if latin > 0 { latin_word.or_else(|| convert(to_cyrillic, Script::Latin)) } else { latin_word }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_that_visitors_do_not_distinguish_are_one() {
        for (text, folded) in [
            ("ЁЛКА", "елка"),
            ("Երևան", "երեվան"),
            ("ԵՐԵՒԱՆ", "երեվան"),
            ("и\u{306}од", "йод"),
            ("Café\u{a0}×", "cafe x"),
        ] {
            assert_eq!(fold(text), folded);
        }
    }

    #[test]
    fn word_is_in_one_script() {
        assert_eq!(unify_script("а4").as_deref(), Some("a4"));
        assert_eq!(unify_script("шкoла").as_deref(), Some("школа"));
        assert_eq!(unify_script("iрhone").as_deref(), Some("iphone"));
        assert_eq!(unify_script("5ж"), None);
        assert_eq!(unify_script("чайник"), None);
    }
}
