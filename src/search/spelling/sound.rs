//! The sound of a Russian word: one key for spellings that are pronounced alike.

/// A key that unstressed vowels, final consonants, doubled letters and soft signs do not change.
pub(crate) fn key(word: &str) -> String {
    let simple = word
        .replace("тьс", "ц")
        .replace("тс", "ц")
        .replace("дс", "ц")
        .replace("сч", "щ")
        .replace("зч", "щ")
        .replace("стн", "сн")
        .replace("здн", "зн");
    let mut key = String::with_capacity(simple.len());
    let mut chars = simple.chars().peekable();
    while let Some(c) = chars.next() {
        let sound = match c {
            'о' | 'а' => 'а',
            'е' | 'э' | 'я' | 'и' | 'ы' => 'и',
            'ю' | 'у' => 'у',
            'ь' | 'ъ' => continue,
            'й' => continue,
            'б' | 'в' | 'г' | 'д' | 'ж' | 'з' if is_devoiced(chars.peek().copied()) => match c {
                'б' => 'п',
                'в' => 'ф',
                'г' => 'к',
                'д' => 'т',
                'ж' => 'ш',
                _ => 'с',
            },
            c => c,
        };
        if !key.ends_with(sound) {
            key.push(sound);
        }
    }
    key
}

fn is_devoiced(next: Option<char>) -> bool {
    next.is_none_or(|next| "пфктшсцчщхь".contains(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_sound_alike_have_one_key() {
        for (a, b) in [
            ("парашок", "порошок"),
            ("шакалад", "шоколад"),
            ("стиралный", "стиральный"),
            ("масажор", "массажор"),
            ("сковаротка", "сковородка"),
        ] {
            assert_eq!(key(a), key(b));
        }
        assert_ne!(key("чайник"), key("чашка"));
    }
}
