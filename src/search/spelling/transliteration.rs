//! Words in another script: keys that a word and its transliteration share.

/// A word as Latin letters that fold the usual variants of transliteration, from Cyrillic, Latin or Armenian.
pub(crate) fn key(word: &str) -> String {
    fold(&latin(word))
}

/// The keys of a word that was typed in Latin letters, for each reading of ambiguous letters; the most likely one first.
pub(crate) fn variants(word: &str) -> Vec<String> {
    const READINGS: [(&str, &str); 7] =
        [("c", "s"), ("c", "ts"), ("j", "i"), ("x", "h"), ("w", "sh"), ("h", "g"), ("y", "i")];
    let plain = latin(word);
    let mut keys = vec![fold(&plain)];
    for (from, to) in READINGS {
        let variant = fold(&plain.replace(from, to));
        if !keys.contains(&variant) {
            keys.push(variant);
        }
    }
    keys
}

/// The consonants of a key, with voiced and voiceless ones alike.
pub(crate) fn skeleton(key: &str) -> String {
    let mut skeleton = String::with_capacity(key.len());
    for c in key.chars() {
        let c = match c {
            'a' | 'e' | 'i' | 'o' | 'u' | 'h' => continue,
            'z' => 's',
            'd' => 't',
            'b' => 'p',
            'g' => 'k',
            'v' => 'f',
            c => c,
        };
        if !skeleton.ends_with(c) {
            skeleton.push(c);
        }
    }
    skeleton
}

fn latin(word: &str) -> String {
    let mut latin = String::with_capacity(word.len() * 2);
    for c in word.chars() {
        let letters = match c {
            'а' | 'ա' => "a",
            'б' | 'բ' => "b",
            'в' | 'վ' | 'ւ' => "v",
            'г' | 'գ' => "g",
            'д' | 'դ' => "d",
            'е' | 'э' | 'є' | 'ե' | 'է' | 'ը' => "e",
            'ж' | 'ժ' => "zh",
            'з' | 'զ' => "z",
            'и' | 'й' | 'ы' | 'і' | 'ї' | 'ի' | 'յ' => "i",
            'к' | 'կ' | 'ք' => "k",
            'л' | 'լ' => "l",
            'м' | 'մ' => "m",
            'н' | 'ն' => "n",
            'о' | 'ո' | 'օ' => "o",
            'п' | 'պ' | 'փ' => "p",
            'р' | 'ռ' | 'ր' => "r",
            'с' | 'ս' => "s",
            'т' | 'թ' | 'տ' => "t",
            'у' => "u",
            'ф' | 'ֆ' => "f",
            'х' | 'խ' | 'հ' => "h",
            'ц' | 'ծ' | 'ց' => "ts",
            'ч' | 'ճ' | 'չ' => "ch",
            'ш' | 'щ' | 'շ' => "sh",
            'ю' => "iu",
            'я' => "ia",
            'ձ' => "dz",
            'ղ' => "g",
            'ջ' => "j",
            'ъ' | 'ь' => "",
            c => {
                latin.push(c);
                continue;
            }
        };
        latin.push_str(letters);
    }
    latin.replace("ou", "u")
}

/// Folds the spelling variants of Latin letters.
fn fold(latin: &str) -> String {
    // Longer sequences first.
    const SEQUENCES: [(&str, &str); 28] = [
        ("shch", "sh"),
        ("sch", "sh"),
        ("tch", "ch"),
        ("tz", "ts"),
        ("kh", "h"),
        ("ph", "f"),
        ("th", "t"),
        ("ck", "k"),
        ("zh", "j"),
        ("ce", "se"),
        ("ci", "si"),
        ("cy", "si"),
        ("qu", "kv"),
        ("q", "k"),
        ("w", "v"),
        ("yu", "u"),
        ("ju", "u"),
        ("iu", "u"),
        ("ya", "a"),
        ("ja", "a"),
        ("ia", "a"),
        ("yo", "o"),
        ("jo", "o"),
        ("ye", "e"),
        ("je", "e"),
        ("ie", "e"),
        ("ee", "i"),
        ("oo", "u"),
    ];
    let mut text = latin.to_owned();
    for (from, to) in SEQUENCES {
        if text.contains(from) {
            text = text.replace(from, to);
        }
    }
    let mut folded = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let c = match c {
            'y' => 'i',
            'c' if chars.peek() != Some(&'h') => 'k',
            'x' => {
                folded.push('k');
                's'
            }
            '\'' => continue,
            c => c,
        };
        if !folded.ends_with(c) {
            folded.push(c);
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_and_its_transliteration_share_a_key() {
        for (typed, meant) in [
            ("chaynik", "чайник"),
            ("hozyayushka", "хозяюшка"),
            ("plastikovaya", "пластиковая"),
            ("shturman", "штурман"),
            ("samsung", "самсунг"),
            ("nescafe", "нескафе"),
            ("philips", "филипс"),
            ("hayeli", "հայելի"),
        ] {
            assert!(variants(typed).contains(&key(meant)), "{typed}: {:?}, {meant}: {}", variants(typed), key(meant));
        }
        assert_eq!(skeleton(&key("айфон")), skeleton(&key("iphone")));
        assert_eq!(skeleton(&key("хендай")), skeleton(&key("hyundai")));
    }
}
