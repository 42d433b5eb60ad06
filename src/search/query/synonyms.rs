//! Synonyms: words of visitors and the words that shops use for the same.
//!
//! A line of a list is `a, b, c` (each for all others) or `a => b, c` (one way).

use std::collections::HashMap;
use std::sync::LazyLock;

use super::stop_words;
use crate::search::spelling::{distance, sound};
use crate::search::text::fold::fold;
use crate::search::text::stem::stem;
use crate::search::text::tokens::{Token, TokenKind, tokenize};

/// A phrase as stems.
pub(crate) type Phrase = Vec<String>;

/// The list for Russian shops that every brand begins with.
static SHIPPED: LazyLock<Vec<SynonymLine>> = LazyLock::new(|| {
    let lines = include_str!("synonyms_ru.tsv").lines().map(without_comment).filter(|line| !line.is_empty());
    lines.filter_map(|line| SynonymLine::parse(line).ok()).collect()
});

/// The lines that every brand begins with.
pub(crate) fn shipped() -> &'static [SynonymLine] {
    &SHIPPED
}

/// Longer phrases are not looked up.
pub(crate) const MAX_PHRASE_WORDS: usize = 4;

const MAX_LINE_CHARS: usize = 500;
const MAX_PHRASES_PER_SIDE: usize = 20;

/// Of a phrase; further ones are not searched for. It bounds what a query costs.
const MAX_ALTERNATIVES: usize = 32;

/// A valid line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynonymLine {
    text: String,
    /// The phrases of each side, as they were written. Without a right side each stands for the others.
    from: Vec<String>,
    to: Option<Vec<String>>,
}

impl SynonymLine {
    /// Reads a line without a comment.
    ///
    /// # Errors
    /// A message that says what is expected.
    pub fn parse(line: &str) -> Result<SynonymLine, String> {
        const EXPECTED: &str = "expected `a, b` (each for the other) or `a => b, c` (one way)";
        let text = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.chars().count() > MAX_LINE_CHARS {
            return Err(format!("expected at most {MAX_LINE_CHARS} characters"));
        }
        if text.contains(['#', '\0']) {
            return Err(format!("{EXPECTED}, without #"));
        }
        let sides: Vec<&str> = text.split("=>").collect();
        let (from, to) = match sides[..] {
            [group] => (phrases(group)?, None),
            [from, to] => (phrases(from)?, Some(phrases(to)?)),
            _ => return Err(EXPECTED.to_owned()),
        };
        let (mut keys, to_keys) = (sorted_keys(&from), to.as_deref().map(sorted_keys));
        keys.dedup();
        let says_something = match &to_keys {
            None => keys.len() == from.len() && keys.len() >= 2,
            Some(to_keys) => to_keys.iter().any(|key| !keys.contains(key)),
        };
        match says_something {
            true => Ok(SynonymLine { from, to, text }),
            false => Err(format!("{EXPECTED}, with different phrases")),
        }
    }

    /// Reads a list in which `#` starts a comment.
    ///
    /// # Errors
    /// A message for each invalid line.
    pub fn parse_list(text: &str) -> Result<Vec<SynonymLine>, Vec<String>> {
        let (mut lines, mut problems) = (Vec::new(), Vec::new());
        // Editors on Windows begin files with it.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in text.lines().enumerate() {
            let line = without_comment(line);
            if line.is_empty() {
                continue;
            }
            match SynonymLine::parse(line) {
                Ok(line) => lines.push(line),
                Err(problem) => problems.push(format!("line {}: {problem}", number + 1)),
            }
        }
        if problems.is_empty() { Ok(lines) } else { Err(problems) }
    }

    /// The line as it was written, with single blanks.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What lines share that say the same.
    pub fn key(&self) -> String {
        let side = |phrases: &[String]| {
            let mut keys = sorted_keys(phrases);
            keys.dedup();
            keys.join(", ")
        };
        match &self.to {
            None => side(&self.from),
            Some(to) => format!("{} => {}", side(&self.from), side(to)),
        }
    }
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

fn phrases(list: &str) -> Result<Vec<String>, String> {
    let phrases = list.split(',').map(str::trim).map(|text| match phrase(text).len() {
        0 => Err("expected a word on both sides of each comma and of =>".to_owned()),
        1..=MAX_PHRASE_WORDS => Ok(text.to_owned()),
        _ => Err(format!("{text}: expected at most {MAX_PHRASE_WORDS} words")),
    });
    let phrases = phrases.collect::<Result<Vec<String>, String>>()?;
    match phrases.len() {
        ..=MAX_PHRASES_PER_SIDE => Ok(phrases),
        _ => Err(format!("expected at most {MAX_PHRASES_PER_SIDE} phrases")),
    }
}

fn sorted_keys(phrases: &[String]) -> Vec<String> {
    let key = |phrase: &String| words(phrase).into_iter().map(|token| token.text).collect::<Vec<_>>().join(" ");
    let mut keys: Vec<String> = phrases.iter().map(key).collect();
    keys.sort_unstable();
    keys
}

fn words(text: &str) -> Vec<Token> {
    let mut words = tokenize(text);
    words.retain(|token| token.kind != TokenKind::Glued);
    words
}

/// The stems to look for; words that say nothing are left out, as they are in queries.
fn phrase(text: &str) -> Phrase {
    let words = words(text);
    let marks = stop_words::marks(&words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>());
    let content = words.iter().zip(marks).filter(|(_, is_stop)| !is_stop);
    content.map(|(word, _)| stem(&word.text).into_owned()).collect()
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Synonyms {
    /// What is also searched for, by phrase.
    alternatives: HashMap<Phrase, Vec<Phrase>>,
    /// The single words that have alternatives and are long enough to be corrected.
    words: Vec<ListedWord>,
}

#[derive(Debug, Clone)]
struct ListedWord {
    word: String,
    sound: String,
    chars: Vec<char>,
    signature: u64,
}

impl ListedWord {
    fn new(word: String) -> ListedWord {
        let chars: Vec<char> = word.chars().collect();
        ListedWord { sound: sound::key(&word), signature: distance::signature(&chars), chars, word }
    }
}

/// Shorter words are not corrected.
const MIN_CORRECTED_CHARS: usize = 5;

impl Synonyms {
    pub(crate) fn of_lines<'l>(lines: impl IntoIterator<Item = &'l SynonymLine>) -> Synonyms {
        let mut synonyms = Synonyms::default();
        for line in lines {
            synonyms.add(line);
        }
        synonyms
    }

    fn add(&mut self, line: &SynonymLine) {
        let sources = line.from.iter().map(|source| fold(source));
        let single = sources.filter(|word| !word.contains(' ') && word.chars().count() >= MIN_CORRECTED_CHARS);
        self.words.extend(single.map(ListedWord::new));
        let from: Vec<Phrase> = line.from.iter().map(|source| phrase(source)).collect();
        let to: Option<Vec<Phrase>> = line.to.as_ref().map(|to| to.iter().map(|target| phrase(target)).collect());
        for source in &from {
            let alternatives = self.alternatives.entry(source.clone()).or_default();
            for target in to.as_ref().unwrap_or(&from) {
                let is_new = target != source && !alternatives.contains(target);
                if is_new && alternatives.len() < MAX_ALTERNATIVES {
                    alternatives.push(target.clone());
                }
            }
        }
    }

    /// A word of the lists that sounds like this one, or is one slip away.
    pub(crate) fn similar_word(&self, word: &str) -> Option<&str> {
        let chars: Vec<char> = word.chars().collect();
        let (sound, signature) = (sound::key(word), distance::signature(&chars));
        let is_similar = |known: &&ListedWord| {
            known.sound == sound
                || (distance::may_be_within(signature, known.signature, 1)
                    && distance::within(&chars, &known.chars, 1).is_some())
        };
        self.words.iter().find(is_similar).map(|known| known.word.as_str())
    }

    /// What is also searched for where a query has this phrase.
    pub(crate) fn of(&self, phrase: &[String]) -> &[Phrase] {
        self.alternatives.get(phrase).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Synonyms {
        Synonyms::of_lines(&SynonymLine::parse_list(text).expect("a valid list"))
    }

    fn stems(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| stem(word).into_owned()).collect()
    }

    #[test]
    fn groups_go_both_ways_and_arrows_one() {
        let synonyms = list("ноут, ноутбук\nфлешка => flash memory # USB\n\n# a comment\nкорм для кошек => whiskas\n");
        let of = |words: &[&str]| synonyms.of(&stems(words)).to_vec();
        assert_eq!(of(&["ноута"]), [["ноутбук"]]);
        assert_eq!(of(&["ноутбуки"]), [["ноут"]]);
        assert_eq!(of(&["флешку"]), [["flash", "memori"]]);
        assert_eq!(of(&["flash", "memory"]), Vec::<Phrase>::new());
        assert_eq!(of(&["корма", "кошек"]).len(), 1, "a query loses its prepositions too");
        assert_eq!(synonyms.similar_word("фляшка"), Some("флешка"));
    }

    #[test]
    fn invalid_lines_are_named_with_what_is_expected() {
        let problems = SynonymLine::parse_list(
            "ноут, ноутбук\nалоне\na => b => c\nа,,б\nодно два три четыре пять => шесть\nсок => Сок\n",
        );
        let problems = problems.expect_err("five lines are invalid");
        let lines: Vec<&str> = problems.iter().map(|problem| &problem[..6]).collect();
        assert_eq!(lines, ["line 2", "line 3", "line 4", "line 5", "line 6"]);
        assert!(problems[2].contains("both sides of each comma"), "{problems:?}");
        assert!(problems[3].contains("at most 4 words"), "{problems:?}");
        assert!(problems[4].contains("different phrases"), "{problems:?}");
        assert!(SynonymLine::parse(&format!("а, {}", "б".repeat(MAX_LINE_CHARS))).is_err());
        let group = |count: usize| (0..count).map(|number| format!("сл{number}")).collect::<Vec<_>>().join(", ");
        assert!(SynonymLine::parse(&group(MAX_PHRASES_PER_SIDE)).is_ok());
        assert!(SynonymLine::parse(&group(MAX_PHRASES_PER_SIDE + 1)).is_err());
        assert!(SynonymLine::parse(&format!("а => {}", group(MAX_PHRASES_PER_SIDE + 1))).is_err());
    }

    #[test]
    fn phrase_has_a_bounded_number_of_alternatives_the_first_ones() {
        let lines: String = (0..100).map(|number| format!("кружка => чашка{number}\n")).collect();
        let synonyms = list(&lines);
        let alternatives = synonyms.of(&stems(&["кружка"]));
        assert_eq!((alternatives.len(), &alternatives[0]), (MAX_ALTERNATIVES, &stems(&["чашка0"])));
    }

    #[test]
    fn lines_that_say_the_same_have_one_key() {
        let key = |line: &str| SynonymLine::parse(line).expect("valid").key();
        assert_eq!(key("Ёлка ,  Ель"), key("ель, елка"));
        assert_eq!(key("b, a => d, c"), key("a,b=>c,d"));
        assert_eq!(key("a, A => b, b"), key("a => b"));
        assert_ne!(key("a, b"), key("a => b"));
        assert_ne!(key("a => b"), key("b => a"));
    }

    #[test]
    fn shipped_list_is_valid_and_long_enough_and_repeats_nothing() {
        let text = include_str!("synonyms_ru.tsv");
        let lines = SynonymLine::parse_list(text).expect("every line is valid");
        assert!(lines.len() >= 150, "{}", lines.len());
        let mut keys: Vec<String> = lines.iter().map(SynonymLine::key).collect();
        keys.sort_unstable();
        let repeated: Vec<_> = keys.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
        assert!(repeated.is_empty(), "{repeated:?}");
    }
}
