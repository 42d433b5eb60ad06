//! Stems: one key for the forms of a word, in Russian, English and Armenian.

use std::borrow::Cow;

use frostem::{Algorithm, Stemmer};

use super::fold::Script;

/// Shorter words have no ending to lose.
const MIN_CHARS: usize = 4;

/// The key under which all forms of a folded word are found. Codes, numbers and quantities are their own keys.
pub(crate) fn stem(word: &str) -> Cow<'_, str> {
    if word.chars().count() < MIN_CHARS || word.chars().any(|c| c.is_ascii_digit()) {
        return Cow::Borrowed(word);
    }
    match Script::of_word(word) {
        Script::Cyrillic => match Stemmer::new(Algorithm::Russian).stem(word) {
            Cow::Borrowed(stem) => without_fleeting_vowel(stem),
            Cow::Owned(stem) => Cow::Owned(without_fleeting_vowel(&stem).into_owned()),
        },
        Script::Latin => Stemmer::new(Algorithm::English).stem(word),
        Script::Armenian => {
            let singular = armenian_singular(word);
            Cow::Owned(Stemmer::new(Algorithm::Armenian).stem(singular).into_owned())
        }
        Script::Other => Cow::Borrowed(word),
    }
}

/// `перчаток` and `перчатк(и)`, `кресел` and `кресл(о)` have one key: the vowel before the last consonant is dropped.
fn without_fleeting_vowel(stem: &str) -> Cow<'_, str> {
    const VOWELS: &str = "аеиоуыэюя";
    let mut last = stem.char_indices().rev();
    let (Some((end, consonant)), Some((at, vowel)), Some((_, before))) = (last.next(), last.next(), last.next()) else {
        return Cow::Borrowed(stem);
    };
    let long_enough = stem.chars().count() >= 5;
    let is_fleeting = matches!(vowel, 'о' | 'е') && matches!(consonant, 'к' | 'ц' | 'л' | 'н' | 'р');
    if !long_enough || !is_fleeting || VOWELS.contains(before) || before == 'ь' {
        return Cow::Borrowed(stem);
    }
    Cow::Owned(format!("{}{}", &stem[..at], &stem[end..]))
}

/// Without the plural's ending, which the stemmer leaves in place before an article.
fn armenian_singular(word: &str) -> &str {
    const PLURALS: [&str; 8] = ["ներից", "ներով", "ների", "ներն", "ները", "ներ", "երը", "եր"];
    let singular = PLURALS.iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(word);
    if singular.chars().count() >= 3 { singular } else { word }
}

/// Whether a folded Russian word has an adjective's ending; such words are the ones that shops abbreviate.
pub(crate) fn is_adjective(word: &str) -> bool {
    const ENDINGS: [&str; 18] = [
        "ый", "ий", "ой", "ая", "яя", "ое", "ее", "ые", "ие", "ого", "его", "ому", "ему", "ых", "их", "ую", "юю", "ыми",
    ];
    word.chars().count() >= 5 && ENDINGS.iter().any(|ending| word.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_have_one_stem() {
        for forms in [
            &["перчатки", "перчаток", "перчатками", "перчатка"][..],
            &["кроссовок", "кроссовки"],
            &["кресло", "кресел", "кресла"],
            &["чайник", "чайники", "чайников"],
            &["headphone", "headphones"],
            &["թեյնիկ", "թեյնիկներ", "թեյնիկները"],
        ] {
            let stems: std::collections::BTreeSet<_> = forms.iter().map(|form| stem(form)).collect();
            assert_eq!(stems.len(), 1, "{stems:?}");
        }
        assert_eq!(stem("hp1641k"), "hp1641k");
    }
}
