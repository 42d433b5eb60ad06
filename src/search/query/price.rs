//! Price words: `до 3000`, `от 500 до 1000 руб`, `дешевле 2 тыс`.

/// Limits of what is paid for a unit, in kopecks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PriceLimits {
    pub(crate) min: Option<i64>,
    pub(crate) max: Option<i64>,
}

const UPPER: [&str; 9] = ["до", "дешевле", "не дороже", "under", "below", "max", "less than", "up to", "մինչև"];
const LOWER: [&str; 6] = ["от", "дороже", "не дешевле", "from", "over", "above"];
const CURRENCY: [&str; 13] =
    ["руб", "рублей", "рубля", "р", "₽", "rub", "rubles", "тыс", "тысяч", "тысячи", "к", "k", "т.р"];
const THOUSANDS: [&str; 6] = ["тыс", "тысяч", "тысячи", "к", "k", "т.р"];

/// Smaller numbers without a currency are sizes or ages.
const MIN_BARE_ROUBLES: i64 = 100;

const KOPECKS: i64 = 100;

/// Takes the price words out of a folded query; the rest is what is looked for.
pub(crate) fn take(folded: &str) -> (String, PriceLimits) {
    let words: Vec<&str> = folded.split_whitespace().collect();
    let mut limits = PriceLimits::default();
    let mut rest: Vec<&str> = Vec::with_capacity(words.len());
    let mut at = 0;
    while at < words.len() {
        let upper = phrase_length(&words[at..], &UPPER);
        let lower = phrase_length(&words[at..], &LOWER);
        let length = upper.or(lower);
        match length.and_then(|length| amount(&words[at + length..]).map(|(kopecks, used)| (kopecks, length + used))) {
            Some((kopecks, used)) => {
                match upper {
                    Some(_) => limits.max = Some(kopecks),
                    None => limits.min = Some(kopecks),
                }
                at += used;
            }
            None => {
                rest.push(words[at]);
                at += 1;
            }
        }
    }
    if rest.is_empty() && limits == PriceLimits::default() {
        return (folded.to_owned(), limits);
    }
    (rest.join(" "), limits)
}

/// How many words the first of the phrases has with which the words begin.
fn phrase_length(words: &[&str], phrases: &[&str]) -> Option<usize> {
    phrases.iter().find_map(|phrase| {
        let length = phrase.split(' ').count();
        let begins = words.len() > length && phrase.split(' ').zip(words).all(|(a, b)| a == *b);
        begins.then_some(length)
    })
}

/// An amount at the start of the words: kopecks, and the number of words that say it.
fn amount(words: &[&str]) -> Option<(i64, usize)> {
    let first = words.first()?;
    let digits_end = first.find(|c: char| !c.is_ascii_digit()).unwrap_or(first.len());
    let (mut digits, attached) = (first[..digits_end].to_owned(), first[digits_end..].trim_end_matches('.'));
    let mut used = 1;
    // 10 000
    while attached.is_empty()
        && let Some(group) = words.get(used)
        && group.len() == 3
        && group.bytes().all(|b| b.is_ascii_digit())
    {
        digits.push_str(group);
        used += 1;
    }
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    let number: i64 = digits.parse().ok()?;
    let mut currency = attached;
    if attached.is_empty()
        && let Some(next) = words.get(used).map(|word| word.trim_end_matches('.'))
    {
        if CURRENCY.contains(&next) {
            currency = next;
            used += 1;
        } else if is_unit(next) {
            return None;
        }
    }
    if !currency.is_empty() && !CURRENCY.contains(&currency) {
        return None;
    }
    let mut roubles = number;
    if THOUSANDS.contains(&currency) {
        roubles = number.checked_mul(1_000)?;
        if let Some(next) = words.get(used).map(|word| word.trim_end_matches('.'))
            && CURRENCY.contains(&next)
        {
            used += 1;
        }
    }
    if currency.is_empty() && roubles < MIN_BARE_ROUBLES {
        return None;
    }
    Some((roubles.checked_mul(KOPECKS)?, used))
}

/// Whether a number before this word counts something else than money.
fn is_unit(word: &str) -> bool {
    const OTHERS: [&str; 8] = ["лет", "года", "год", "мес", "месяцев", "размер", "градусов", "часов"];
    OTHERS.contains(&word) || crate::search::text::quantity::unit(word).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn price_words_become_limits() {
        for (query, rest, min, max) in [
            ("ноутбук до 30000", "ноутбук", None, Some(3_000_000)),
            ("чайник до 3 тыс руб красный", "чайник красный", None, Some(300_000)),
            ("телефон от 5000 до 10 000 рублей", "телефон", Some(500_000), Some(1_000_000)),
            ("от кашля", "от кашля", None, None),
            ("подгузники до 5 кг", "подгузники до 5 кг", None, None),
            ("гантели до 500 кг", "гантели до 500 кг", None, None),
            ("игрушки от 3 лет", "игрушки от 3 лет", None, None),
            ("не дороже 500р мыло", "мыло", None, Some(50_000)),
        ] {
            assert_eq!(take(query), (rest.to_owned(), PriceLimits { min, max }), "{query}");
        }
    }
}
