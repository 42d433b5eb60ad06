//! Words that say nothing about what is looked for.

/// Prepositions, and the words of people who want to buy, not of what they want.
const STOP_WORDS: &[&str] = &[
    "а",
    "без",
    "бы",
    "в",
    "во",
    "для",
    "до",
    "за",
    "и",
    "из",
    "или",
    "как",
    "ко",
    "к",
    "мне",
    "на",
    "над",
    "не",
    "о",
    "об",
    "от",
    "по",
    "под",
    "при",
    "про",
    "с",
    "со",
    "то",
    "у",
    "что",
    "это",
    "the",
    "a",
    "an",
    "and",
    "for",
    "in",
    "of",
    "on",
    "or",
    "to",
    "with",
    "և",
    "եվ",
    "համար",
    "купить",
    "куплю",
    "заказать",
    "недорого",
    "дешево",
    "дешевый",
    "дешевые",
    "цена",
    "цены",
    "стоимость",
    "интернет",
    "магазин",
    "доставка",
    "доставкой",
    "отзывы",
    "акция",
    "скидка",
    "скидкой",
    "распродажа",
    "хороший",
    "хорошие",
    "лучший",
    "лучшие",
    "buy",
    "price",
    "cheap",
    "order",
    "գնել",
    "գին",
];

/// Cities after `в`: where, not what.
const CITIES: &[&str] = &["москве", "москва", "спб", "петербурге", "питере", "ереване", "россии", "мск"];

/// Marks the words to leave out; none when nothing would be left.
pub(crate) fn marks(words: &[&str]) -> Vec<bool> {
    let marks: Vec<bool> = words
        .iter()
        .enumerate()
        .map(|(at, word)| {
            STOP_WORDS.contains(word)
                || (CITIES.contains(word) && at > 0 && matches!(words[at - 1], "в" | "по" | "купить"))
        })
        .collect();
    if marks.iter().all(|is_stop| *is_stop) { vec![false; words.len()] } else { marks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_without_content_are_left_out_unless_there_are_no_others() {
        assert_eq!(marks(&["купить", "ноутбук", "в", "москве"]), [true, false, true, true]);
        assert_eq!(marks(&["для"]), [false]);
    }
}
