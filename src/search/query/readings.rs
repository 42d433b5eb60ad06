//! The readings of a typed word: its forms, longer words, abbreviations, and what was probably meant.

use super::corrections;
use super::reading::{QueryWord, Reading, ReadingKind};
use crate::search::index::snapshot::IndexSnapshot;
use crate::search::spelling::transliteration;
use crate::search::text::fold::Script;
use crate::search::text::stem::{is_adjective, stem};
use crate::search::text::tokens::{Token, TokenKind};

const NUMBER_WEIGHT: f32 = 0.6;
const ABBREVIATION_WEIGHT: f32 = 0.6;

/// The weight of longer words for a half-typed word: more, the rarer the word itself is among them.
const PREFIX_WEIGHT: f32 = 0.9;
const PREFIX_OF_A_WORD_WEIGHT: f32 = 0.35;
/// The weight of other forms of a word that is probably half-typed.
const HALF_TYPED_FORM_WEIGHT: f32 = 0.85;
/// The weight of the same name in another script.
const OTHER_SCRIPT_WEIGHT: f32 = 0.85;
const MAX_OTHER_SCRIPT_WORDS: usize = 3;

/// How many words are read for a prefix, and how many of them are searched for, the most frequent first.
const MAX_PREFIX_WORDS: usize = 3_000;
const MAX_SEARCHED_PREFIX_WORDS: usize = 64;

/// The readings of a word that is right as it stands, or half-typed.
pub(crate) fn plain(snapshot: &IndexSnapshot, token: &Token, may_be_half_typed: bool, exact: bool) -> Vec<Reading> {
    let mut readings = Vec::new();
    let is_word = token.kind == TokenKind::Word;
    let frequency = snapshot.frequency(&stem(&token.text));
    let is_known = frequency > 0;
    let is_form = snapshot.form_frequency(&token.text) > 0;
    if is_form || exact || !may_be_half_typed {
        if is_known {
            readings.extend(Reading::of_word(&token.text, 1.0, ReadingKind::Typed));
        }
    } else if is_known {
        let [_, forms] = Reading::of_word(&token.text, HALF_TYPED_FORM_WEIGHT, ReadingKind::Typed);
        readings.push(forms);
    }
    if exact {
        return readings;
    }
    if let Some(number) = &token.number {
        if snapshot.form_frequency(number) > 0 {
            readings.push(Reading::of_form(number, NUMBER_WEIGHT, ReadingKind::Number));
        }
        // л is also short for sheets.
        let sheets = format!("{number}лист");
        if token.text.ends_with("000мл") && snapshot.form_frequency(&sheets) > 0 {
            readings.push(Reading::of_form(&sheets, 1.0, ReadingKind::Typed));
        }
    }
    let chars = token.text.chars().count();
    let min_prefix_chars = if is_known { 3 } else { 2 };
    if chars >= min_prefix_chars
        && token.kind != TokenKind::Quantity
        && (may_be_half_typed || (!is_known && chars >= 3))
    {
        let form_frequency = if is_form { frequency } else { 0 };
        add_prefixes(snapshot, &token.text, form_frequency, &mut readings);
    }
    if is_word && chars >= 3 {
        add_other_script(snapshot, &token.text, may_be_half_typed, &mut readings);
    }
    if is_word && is_known && is_adjective(&token.text) {
        add_abbreviations(snapshot, &token.text, &mut readings);
    }
    readings
}

fn add_prefixes(snapshot: &IndexSnapshot, prefix: &str, frequency: u32, readings: &mut Vec<Reading>) {
    let mut words = snapshot.words(|segment| segment.vocabulary.with_prefix(prefix, MAX_PREFIX_WORDS));
    words.retain(|known| known.word != prefix);
    let longer: u32 = words.iter().map(|known| known.frequency).sum();
    let share = frequency as f32 / (frequency + longer).max(1) as f32;
    let weight = PREFIX_OF_A_WORD_WEIGHT + (PREFIX_WEIGHT - PREFIX_OF_A_WORD_WEIGHT) * (1.0 - share);
    words.truncate(MAX_SEARCHED_PREFIX_WORDS);
    readings.extend(words.iter().map(|known| Reading::of_form(&known.word, weight, ReadingKind::Prefix)));
}

/// The same name in another script, e.g. `макси` and `maxi`; for a half-typed one its beginnings.
fn add_other_script(snapshot: &IndexSnapshot, word: &str, may_be_half_typed: bool, readings: &mut Vec<Reading>) {
    const MIN_KEY_CHARS: usize = 2;
    let script = Script::of_word(word);
    let key = transliteration::key(word);
    if key.len() < MIN_KEY_CHARS {
        return;
    }
    let same = snapshot.words(|segment| segment.vocabulary.with_transliteration(&key));
    let others = same.iter().filter(|known| Script::of_word(&known.word) != script);
    readings.extend(
        others
            .take(MAX_OTHER_SCRIPT_WORDS)
            .map(|known| Reading::of_form(&known.word, OTHER_SCRIPT_WEIGHT, ReadingKind::Transliteration)),
    );
    if !may_be_half_typed || script != Script::Cyrillic {
        return;
    }
    let words = snapshot.words(|segment| segment.vocabulary.with_prefix(&key, MAX_PREFIX_WORDS));
    let longer: u32 = words.iter().map(|known| known.frequency).sum();
    let own: u32 = readings.iter().map(|reading| snapshot.form_frequency(&reading.word)).sum();
    if longer > own {
        let completed = words.iter().take(MAX_SEARCHED_PREFIX_WORDS);
        readings.extend(completed.map(|known| Reading::of_form(&known.word, OTHER_SCRIPT_WEIGHT, ReadingKind::Prefix)));
    }
}

/// The shop's own abbreviations of an adjective, e.g. `детск`, `беспров`: its beginnings that are words of the vocabulary.
pub(crate) fn add_abbreviations(snapshot: &IndexSnapshot, word: &str, readings: &mut Vec<Reading>) {
    const MIN_CHARS: usize = 3;
    const MIN_FREQUENCY: u32 = 2;
    let root = stem(word).into_owned();
    let ends = root.char_indices().skip(MIN_CHARS).map(|(end, _)| end).chain([root.len()]);
    for end in ends {
        let short = &root[..end];
        if snapshot.form_frequency(short) >= MIN_FREQUENCY {
            readings.push(Reading::of_form(short, ABBREVIATION_WEIGHT, ReadingKind::Abbreviation));
        }
    }
}

/// A rarer word may be a slip in the shop's own data: what was probably meant is searched for as well.
const MAX_RARE_FREQUENCY: u32 = 3;
const RARE_FACTOR: f32 = 0.8;
/// How many times more frequent the other word must be.
const MIN_FREQUENCY_RATIO: u32 = 10;

/// Adds what was probably meant by a word that occurs in no form, or hardly ever.
pub(crate) fn add_corrections(snapshot: &IndexSnapshot, token: &Token, is_last: bool, word: &mut QueryWord) {
    const MIN_RARE_CHARS: usize = 4;
    let is_number = token.text.bytes().all(|b| !b.is_ascii_alphabetic()) && token.text.is_ascii();
    if matches!(token.kind, TokenKind::Quantity | TokenKind::Glued) || is_number {
        return;
    }
    if word.readings.is_empty() {
        word.readings = corrections::find(snapshot, &token.text, is_last);
        if word.readings.is_empty() && token.kind == TokenKind::Word && is_adjective(&token.text) {
            add_abbreviations(snapshot, &token.text, &mut word.readings);
        }
        return;
    }
    let frequency = snapshot.frequency(&stem(&token.text));
    let is_typed = word.readings.iter().all(|reading| reading.kind == ReadingKind::Typed);
    let is_rare = (1..=MAX_RARE_FREQUENCY).contains(&frequency);
    if token.kind != TokenKind::Word || !is_typed || !is_rare || token.text.chars().count() < MIN_RARE_CHARS {
        return;
    }
    for mut reading in corrections::find_near(snapshot, &token.text) {
        if snapshot.frequency(&stem(&reading.word)) >= frequency * MIN_FREQUENCY_RATIO {
            reading.weight *= RARE_FACTOR;
            word.readings.push(reading);
        }
    }
}
