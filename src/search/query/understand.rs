//! From the typed text to a query: price limits, words with readings, and the corrected spelling.

use super::price::{self, PriceLimits};
use super::reading::{QueryWord, Reading, ReadingKind};
use super::readings;
use super::stop_words;
use super::synonyms::{MAX_PHRASE_WORDS, Synonyms};
use crate::search::index::builder::name_hash;
use crate::search::index::snapshot::IndexSnapshot;
use crate::search::spelling::layout;
use crate::search::text::fold::fold;
use crate::search::text::stem::stem;
use crate::search::text::tokens::{Token, TokenKind, tokenize_folded};

/// Further words of a query are ignored.
pub(crate) const MAX_WORDS: usize = 16;

const SYNONYM_WEIGHT: f32 = 0.85;
const JOINED_WEIGHT: f32 = 0.95;
/// A word with a less sure correction may be a misspelt word of the synonyms.
const SURE_CORRECTION_WEIGHT: f32 = 0.8;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    pub(crate) words: Vec<QueryWord>,
    pub(crate) price: PriceLimits,
    /// Hash of the whole typed text, to recognize an item's name.
    pub(crate) name_hash: u64,
    /// The query as it was read, if that is not as it was typed.
    pub(crate) corrected: Option<String>,
}

/// Reads a query. `exact` allows no readings but other forms of the typed words.
pub(crate) fn understand(snapshot: &IndexSnapshot, synonyms: &Synonyms, text: &str, exact: bool) -> Query {
    let folded = fold(text);
    let hash = name_hash(&tokenize_folded(&folded));
    let (rest, price) = if exact { (folded, PriceLimits::default()) } else { price::take(&folded) };
    let (rest, layout_changed) = if exact { (rest, false) } else { with_right_layout(snapshot, &rest) };
    let tokens = content_tokens(snapshot, &rest);
    let last = tokens.len().saturating_sub(1);
    let ends_open = !text.ends_with(' ');
    let mut words: Vec<QueryWord> = tokens
        .iter()
        .enumerate()
        .map(|(at, token)| QueryWord {
            typed: token.text.clone(),
            readings: readings::plain(snapshot, token, at == last && ends_open, exact),
        })
        .collect();
    if !exact {
        add_synonyms(snapshot, synonyms, &tokens, &mut words);
        add_joined(snapshot, &tokens, &mut words);
        for (at, (word, token)) in words.iter_mut().zip(&tokens).enumerate() {
            readings::add_corrections(snapshot, token, at == last, word);
            if word.readings.iter().all(|reading| reading.weight < SURE_CORRECTION_WEIGHT) {
                add_misspelt_synonyms(snapshot, synonyms, word);
            }
        }
        add_synonyms_of_corrections(snapshot, synonyms, &mut words);
    }
    let corrected = corrected_text(&words, layout_changed);
    Query { words, price, name_hash: hash, corrected }
}

/// Replaces the chunks that make sense only in the other keyboard layout.
fn with_right_layout(snapshot: &IndexSnapshot, text: &str) -> (String, bool) {
    let mut changed = false;
    let chunks: Vec<String> = text
        .split_whitespace()
        .map(|chunk| {
            if is_known_chunk(snapshot, chunk) {
                return chunk.to_owned();
            }
            match layout::swap(chunk).map(|swapped| fold(&swapped)) {
                Some(swapped) if is_known_chunk(snapshot, &swapped) => {
                    changed = true;
                    swapped
                }
                _ => chunk.to_owned(),
            }
        })
        .collect();
    (chunks.join(" "), changed)
}

/// Whether all words of the chunk occur, as they are or as beginnings of four letters or more.
fn is_known_chunk(snapshot: &IndexSnapshot, chunk: &str) -> bool {
    const MIN_PREFIX_CHARS: usize = 4;
    let is_known = |token: &Token| {
        let is_beginning = || {
            snapshot.segments.iter().any(|live| live.segment.vocabulary.with_prefix(&token.text, 1).next().is_some())
        };
        snapshot.knows(&token.text) || (token.text.chars().count() >= MIN_PREFIX_CHARS && is_beginning())
    };
    tokenize_folded(chunk).iter().filter(|token| token.kind != TokenKind::Glued).all(is_known)
}

/// The tokens to look for: without stop words; a hyphenated code in one piece where items have it so.
fn content_tokens(snapshot: &IndexSnapshot, text: &str) -> Vec<Token> {
    let all = tokenize_folded(text);
    let mut tokens: Vec<Token> = Vec::with_capacity(all.len());
    for token in all {
        if token.kind != TokenKind::Glued {
            tokens.push(token);
        } else if snapshot.frequency(&token.text) > 0 {
            tokens.retain(|part| part.start < token.start || part.end > token.end);
            tokens.push(token);
        }
    }
    let words: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    let marks = stop_words::marks(&words);
    let content = tokens.into_iter().zip(marks).filter(|(_, is_stop)| !is_stop).map(|(token, _)| token);
    let mut content: Vec<Token> = content.collect();
    let mut seen = std::collections::HashSet::new();
    content.retain(|token| seen.insert(token.text.clone()));
    content.truncate(MAX_WORDS);
    content
}

/// Adds what the shop's synonyms say of phrases; each word of a phrase may be read as the alternative.
fn add_synonyms(snapshot: &IndexSnapshot, synonyms: &Synonyms, tokens: &[Token], words: &mut [QueryWord]) {
    let stems: Vec<String> = tokens.iter().map(|token| stem(&token.text).into_owned()).collect();
    for length in 1..=MAX_PHRASE_WORDS.min(stems.len()) {
        for start in 0..=stems.len() - length {
            for alternative in synonyms.of(&stems[start..start + length]) {
                if alternative.iter().all(|stem| snapshot.frequency(stem) > 0) {
                    let reading =
                        Reading::of_phrase(alternative, SYNONYM_WEIGHT, ReadingKind::Synonym, alternative.join(" "));
                    for word in &mut words[start..start + length] {
                        word.readings.push(reading.clone());
                    }
                }
            }
        }
    }
}

/// A word that occurs in no item may be one of the lists', misspelt.
fn add_misspelt_synonyms(snapshot: &IndexSnapshot, synonyms: &Synonyms, word: &mut QueryWord) {
    let Some(known) = synonyms.similar_word(&word.typed) else { return };
    for alternative in synonyms.of(&[stem(known).into_owned()]) {
        if alternative.iter().all(|stem| snapshot.frequency(stem) > 0) {
            let weight = SYNONYM_WEIGHT * SYNONYM_WEIGHT;
            word.readings.insert(0, Reading::of_phrase(alternative, weight, ReadingKind::Slip, known.to_owned()));
        }
    }
}

/// A correction may be a word that has synonyms.
fn add_synonyms_of_corrections(snapshot: &IndexSnapshot, synonyms: &Synonyms, words: &mut [QueryWord]) {
    for word in words {
        let first = word.readings.first().filter(|reading| reading.kind.is_correction());
        let Some(first) = first.cloned() else { continue };
        for alternative in synonyms.of(&[stem(&first.word).into_owned()]) {
            if alternative.iter().all(|stem| snapshot.frequency(stem) > 0) {
                let weight = SYNONYM_WEIGHT * first.weight;
                word.readings.push(Reading::of_phrase(
                    alternative,
                    weight,
                    ReadingKind::Synonym,
                    alternative.join(" "),
                ));
            }
        }
    }
}

/// Neighbours that are one word in the shop, e.g. `видео карта`, `sbe 440`.
fn add_joined(snapshot: &IndexSnapshot, tokens: &[Token], words: &mut [QueryWord]) {
    const MIN_CHARS: usize = 4;
    for at in 1..tokens.len() {
        if tokens[at].kind == TokenKind::Quantity || tokens[at - 1].kind == TokenKind::Quantity {
            continue;
        }
        let joined = format!("{}{}", tokens[at - 1].text, tokens[at].text);
        if joined.chars().count() < MIN_CHARS || !snapshot.knows(&joined) {
            continue;
        }
        let readings = Reading::of_word(&joined, JOINED_WEIGHT, ReadingKind::Joined);
        for word in &mut words[at - 1..=at] {
            word.readings.extend(readings.clone());
        }
    }
}

fn corrected_text(words: &[QueryWord], layout_changed: bool) -> Option<String> {
    let is_corrected =
        words.iter().any(|word| word.readings.first().is_some_and(|reading| reading.kind.is_correction()));
    if !layout_changed && !is_corrected {
        return None;
    }
    let meant = words.iter().map(|word| match word.readings.first() {
        Some(reading) if reading.kind.is_correction() => reading.word.as_str(),
        _ => word.typed.as_str(),
    });
    Some(meant.collect::<Vec<_>>().join(" "))
}
