//! Synonyms: words of visitors and the words that shops use for the same.
//!
//! A line of a list is `a, b, c` (each for all others) or `a => b, c` (one way).

use std::collections::HashMap;

use crate::search::spelling::{distance, sound};
use crate::search::text::fold::fold;
use crate::search::text::stem::stem;
use crate::search::text::tokens::{TokenKind, tokenize};

/// A phrase as stems.
pub(crate) type Phrase = Vec<String>;

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

/// Longer phrases are not looked up.
pub(crate) const MAX_PHRASE_WORDS: usize = 4;

impl Synonyms {
    /// Reads a list; returns the numbers of the lines that are invalid.
    pub(crate) fn parse(text: &str) -> (Synonyms, Vec<usize>) {
        let mut synonyms = Synonyms::default();
        let mut invalid = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() && !synonyms.add_line(line) {
                invalid.push(number + 1);
            }
        }
        (synonyms, invalid)
    }

    fn add_line(&mut self, line: &str) -> bool {
        let phrases = |list: &str| -> Option<Vec<Phrase>> {
            let phrases: Vec<Phrase> = list.split(',').map(phrase).collect();
            let valid = phrases.iter().all(|phrase| !phrase.is_empty() && phrase.len() <= MAX_PHRASE_WORDS);
            valid.then_some(phrases)
        };
        let sources = line.split("=>").next().unwrap_or_default().split(',').map(|word| fold(word.trim()));
        let single = sources.filter(|word| !word.contains(' ') && word.chars().count() >= MIN_CORRECTED_CHARS);
        self.words.extend(single.map(ListedWord::new));
        if let Some((from, to)) = line.split_once("=>") {
            let (Some(from), Some(to)) = (phrases(from), phrases(to)) else { return false };
            for phrase in from {
                self.alternatives.entry(phrase).or_default().extend(to.clone());
            }
            return true;
        }
        let Some(group) = phrases(line) else { return false };
        if group.len() < 2 {
            return false;
        }
        for phrase in &group {
            let others = group.iter().filter(|other| *other != phrase).cloned();
            self.alternatives.entry(phrase.clone()).or_default().extend(others);
        }
        true
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

fn phrase(text: &str) -> Phrase {
    let tokens = tokenize(text);
    tokens.iter().filter(|token| token.kind != TokenKind::Glued).map(|token| stem(&token.text).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_go_both_ways_and_arrows_one() {
        let (synonyms, invalid) = Synonyms::parse("ноут, ноутбук\nфлешка => flash memory # USB\nалоне\n");
        let of = |words: &[&str]| {
            synonyms.of(&words.iter().map(|word| stem(word).into_owned()).collect::<Vec<_>>()).to_vec()
        };
        assert_eq!(of(&["ноута"]), [["ноутбук"]]);
        assert_eq!(of(&["ноутбуки"]), [["ноут"]]);
        assert_eq!(of(&["флешку"]), [["flash", "memori"]]);
        assert_eq!(of(&["flash", "memory"]), Vec::<Phrase>::new());
        assert_eq!(invalid, [3]);
    }
}
