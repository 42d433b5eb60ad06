//! Text that was typed with the other keyboard layout.

const LATIN: &str = "`qwertyuiop[]asdfghjkl;'zxcvbnm,./";
const RUSSIAN: &str = "ёйцукенгшщзхъфывапролджэячсмитьбю.";

/// The text as the same keys give it in the other layout, Latin to Russian or the reverse; `None` without letters of the
/// first layout, or with letters of both. Signs that are letters in the other layout are taken for letters.
pub(crate) fn swap(raw: &str) -> Option<String> {
    let has = |alphabet: fn(char) -> bool| raw.chars().any(alphabet);
    let (latin, russian) = (has(|c| c.is_ascii_alphabetic()), has(|c| RUSSIAN.contains(c) && c != '.'));
    let (from, to) = match (latin, russian) {
        (true, false) => (LATIN, RUSSIAN),
        (false, true) => (RUSSIAN, LATIN),
        _ => return None,
    };
    let swapped = raw.chars().map(|c| {
        let key = from.chars().position(|key| key == c);
        key.and_then(|key| to.chars().nth(key)).unwrap_or(match c {
            '{' if latin => 'х',
            '}' if latin => 'ъ',
            ':' if latin => 'ж',
            '"' if latin => 'э',
            '<' if latin => 'б',
            '>' if latin => 'ю',
            '~' if latin => 'ё',
            c => c,
        })
    });
    Some(swapped.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_give_the_other_layouts_letters() {
        for (typed, meant) in
            [("xfqybr", "чайник"), ("rf,fxrjdfz", "кабачковая"), ("ыфьыгтп", "samsung"), ("gjbcrf[", "поисках")]
        {
            assert_eq!(swap(typed).as_deref(), Some(meant));
        }
        assert_eq!(swap("123"), None);
    }
}
