//! A reading: terms that a typed word may stand for, with a weight.

use crate::search::text::stem::stem;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadingKind {
    Typed,
    /// The number of a quantity alone.
    Number,
    Prefix,
    Abbreviation,
    Synonym,
    Joined,
    Split,
    Sound,
    Transliteration,
    Slip,
}

impl ReadingKind {
    /// The word for it in explanations.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ReadingKind::Typed => "typed",
            ReadingKind::Number => "number",
            ReadingKind::Prefix => "prefix",
            ReadingKind::Abbreviation => "abbreviation",
            ReadingKind::Synonym => "synonym",
            ReadingKind::Joined => "joined",
            ReadingKind::Split => "split",
            ReadingKind::Sound => "sound",
            ReadingKind::Transliteration => "transliteration",
            ReadingKind::Slip => "slip",
        }
    }

    /// Whether another word than the typed one was searched for.
    pub(crate) fn is_correction(self) -> bool {
        use ReadingKind::{Slip, Sound, Split, Transliteration};
        matches!(self, Slip | Sound | Split | Transliteration)
    }
}

/// What an item must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Term {
    /// Exactly this word.
    Word(String),
    /// Any form of the word with this stem.
    Stem(String),
}

/// Items match that have all terms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) terms: Vec<Term>,
    pub(crate) weight: f32,
    pub(crate) kind: ReadingKind,
    /// The word or words that were meant.
    pub(crate) word: String,
}

/// Another form of a word says almost as much.
const OTHER_FORM_FACTOR: f32 = 0.93;

impl Reading {
    pub(crate) fn of_form(word: &str, weight: f32, kind: ReadingKind) -> Reading {
        Reading { terms: vec![Term::Word(word.to_owned())], weight, kind, word: word.to_owned() }
    }

    /// The word itself, and with less weight its other forms.
    pub(crate) fn of_word(word: &str, weight: f32, kind: ReadingKind) -> [Reading; 2] {
        let forms = Reading {
            terms: vec![Term::Stem(stem(word).into_owned())],
            weight: weight * OTHER_FORM_FACTOR,
            kind,
            word: word.to_owned(),
        };
        [Reading::of_form(word, weight, kind), forms]
    }

    pub(crate) fn of_phrase(stems: &[String], weight: f32, kind: ReadingKind, words: String) -> Reading {
        Reading { terms: stems.iter().cloned().map(Term::Stem).collect(), weight, kind, word: words }
    }
}

/// A typed word with its readings; without any, nothing is known of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QueryWord {
    pub(crate) typed: String,
    pub(crate) readings: Vec<Reading>,
}
