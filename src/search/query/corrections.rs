//! Corrections of a word that occurs in no item: by sound, transliteration, brand in another script, slips and splits.

use super::reading::{Reading, ReadingKind};
use crate::search::index::snapshot::{IndexSnapshot, KnownWord};
use crate::search::spelling::{distance, transliteration};
use crate::search::text::fold::Script;
use crate::search::text::stem::stem;

const TRANSLITERATION_WEIGHT: f32 = 0.95;
const SOUND_WEIGHT: f32 = 0.9;
const SLIP_WEIGHT: f32 = 0.85;
const SPLIT_WEIGHT: f32 = 0.8;
const SKELETON_WEIGHT: f32 = 0.75;
const TWO_SLIPS_WEIGHT: f32 = 0.6;

/// How many of the equally likely words are searched for.
const MAX_WORDS: usize = 4;

/// One slip is corrected in words of 4 letters, two in words of 8.
const MIN_CHARS_ONE: usize = 4;
const MIN_CHARS_TWO: usize = 7;
const MAX_SLIPS: u32 = 2;

struct Candidate {
    known: KnownWord,
    weight: f32,
    kind: ReadingKind,
}

/// What was probably meant, the most likely first; empty when nothing is near.
pub(crate) fn find(snapshot: &IndexSnapshot, word: &str, is_last: bool) -> Vec<Reading> {
    let has_digit = word.bytes().any(|b| b.is_ascii_digit());
    let chars: Vec<char> = word.chars().collect();
    let mut candidates = near(snapshot, word, &chars, MAX_SLIPS);
    if candidates.is_empty() {
        if let Some(split) = split(snapshot, word) {
            return vec![split];
        }
        if !has_digit && chars.len() >= 4 {
            by_skeleton(snapshot, word, &mut candidates);
        }
        if candidates.is_empty() && !has_digit && is_last {
            half_typed(snapshot, &chars, &mut candidates);
        }
    }
    best(candidates)
}

/// What is at most one slip away, or sounds or is transliterated alike.
pub(crate) fn find_near(snapshot: &IndexSnapshot, word: &str) -> Vec<Reading> {
    let chars: Vec<char> = word.chars().collect();
    let mut candidates = near(snapshot, word, &chars, 1);
    candidates.retain(|candidate| candidate.known.word != word);
    best(candidates)
}

fn near(snapshot: &IndexSnapshot, word: &str, chars: &[char], max_slips: u32) -> Vec<Candidate> {
    let has_digit = word.bytes().any(|b| b.is_ascii_digit());
    let mut candidates = Vec::new();
    if !has_digit && chars.len() >= 3 {
        transliterated(snapshot, word, &mut candidates);
        if Script::of_word(word) == Script::Cyrillic {
            let alike = snapshot.words(|segment| segment.vocabulary.sounding_like(word));
            add(&mut candidates, alike, SOUND_WEIGHT, ReadingKind::Sound);
        }
    }
    candidates.retain(|candidate| candidate.known.word != word);
    slips(snapshot, word, chars, max_slips, &mut candidates);
    candidates
}

fn add(candidates: &mut Vec<Candidate>, words: Vec<KnownWord>, weight: f32, kind: ReadingKind) {
    candidates.extend(words.into_iter().map(|known| Candidate { known, weight, kind }));
}

/// Words in this or another script with the same transliteration.
fn transliterated(snapshot: &IndexSnapshot, word: &str, candidates: &mut Vec<Candidate>) {
    for (number, key) in transliteration::variants(word).into_iter().enumerate() {
        let weight = if number == 0 { TRANSLITERATION_WEIGHT } else { TRANSLITERATION_WEIGHT - 0.05 };
        let words = snapshot.words(|segment| segment.vocabulary.with_transliteration(&key));
        add(candidates, words, weight, ReadingKind::Transliteration);
        if !candidates.is_empty() {
            return;
        }
    }
    // Another form of the word: the stem's key is the beginning of the word's.
    let root = stem(word);
    if Script::of_word(word) == Script::Latin {
        forms(snapshot, word, candidates);
    } else if root.len() < word.len() {
        let key = transliteration::key(&root);
        let words = snapshot.words(|segment| segment.vocabulary.with_transliteration(&key));
        add(candidates, words, TRANSLITERATION_WEIGHT - 0.1, ReadingKind::Transliteration);
    }
}

/// Russian words whose transliteration differs from the typed word's only by an ending.
fn forms(snapshot: &IndexSnapshot, word: &str, candidates: &mut Vec<Candidate>) {
    const ENDINGS: [&str; 22] = [
        "a", "i", "u", "e", "o", "ov", "ei", "am", "ami", "ah", "oi", "aia", "oe", "ie", "ih", "im", "ii", "om", "em",
        "ogo", "ik", "ok",
    ];
    let key = transliteration::key(word);
    let mut roots = vec![key.clone()];
    for ending in ENDINGS {
        if let Some(root) = key.strip_suffix(ending)
            && root.chars().count() >= 4
        {
            roots.push(root.to_owned());
        }
    }
    roots.sort_by_key(|root| std::cmp::Reverse(root.len()));
    for root in roots {
        for ending in std::iter::once("").chain(ENDINGS) {
            let form = format!("{root}{ending}");
            if form == key {
                continue;
            }
            let words = snapshot.words(|segment| segment.vocabulary.with_transliteration(&form));
            add(candidates, words, TRANSLITERATION_WEIGHT - 0.1, ReadingKind::Transliteration);
        }
        if !candidates.is_empty() {
            return;
        }
    }
}

/// Words at a small edit distance, with the first letter kept if there are any.
fn slips(snapshot: &IndexSnapshot, word: &str, chars: &[char], max_slips: u32, candidates: &mut Vec<Candidate>) {
    let limit = match chars.len() {
        ..MIN_CHARS_ONE => return,
        MIN_CHARS_ONE..MIN_CHARS_TWO => 1,
        _ => max_slips,
    };
    for first in [Some(chars[0]), None] {
        let mut nearest = limit;
        let mut found: Vec<(KnownWord, u32)> = Vec::new();
        for live in &snapshot.segments {
            for (entry, edits) in live.segment.vocabulary.similar(chars, nearest, first) {
                if entry.word == word {
                    continue;
                }
                if edits < nearest {
                    nearest = edits;
                }
                found.push((KnownWord { word: entry.word.to_owned(), frequency: entry.frequency }, edits));
            }
        }
        found.retain(|(_, edits)| *edits == nearest);
        if !found.is_empty() {
            let weight = if nearest <= 1 { SLIP_WEIGHT } else { TWO_SLIPS_WEIGHT };
            add(candidates, found.into_iter().map(|(known, _)| known).collect(), weight, ReadingKind::Slip);
            return;
        }
    }
}

/// Two known words that were typed as one.
fn split(snapshot: &IndexSnapshot, word: &str) -> Option<Reading> {
    const MIN_CHARS: usize = 3;
    let length = word.chars().count();
    let mut best: Option<(u32, Reading)> = None;
    for (number, (at, _)) in word.char_indices().enumerate() {
        let starts_code = word[at..].bytes().any(|b| b.is_ascii_digit());
        if number < MIN_CHARS || (length - number < MIN_CHARS && !starts_code) {
            continue;
        }
        let (first, second) = word.split_at(at);
        let known = |part: &str| {
            let words = snapshot.words(|segment| segment.vocabulary.get(part).into_iter());
            words.first().map_or(0, |known| known.frequency)
        };
        let frequency = known(first).min(known(second));
        if frequency > best.as_ref().map_or(0, |(frequency, _)| *frequency) {
            let stems = [stem(first).into_owned(), stem(second).into_owned()];
            let reading = Reading::of_phrase(&stems, SPLIT_WEIGHT, ReadingKind::Split, format!("{first} {second}"));
            best = Some((frequency, reading));
        }
    }
    best.map(|(_, reading)| reading)
}

/// A name in another script: the same consonants, and a similar spelling.
fn by_skeleton(snapshot: &IndexSnapshot, word: &str, candidates: &mut Vec<Candidate>) {
    let script = Script::of_word(word);
    let keys: Vec<Vec<char>> = transliteration::variants(word).iter().map(|key| key.chars().collect()).collect();
    for key in &keys {
        let skeleton = transliteration::skeleton(&key.iter().collect::<String>());
        if skeleton.len() < 2 {
            continue;
        }
        let limit = u32::try_from(key.len() / 3).unwrap_or(1).clamp(1, 3);
        let mut words = snapshot.words(|segment| segment.vocabulary.with_skeleton(&skeleton));
        words.retain(|known| {
            let other: Vec<char> = transliteration::key(&known.word).chars().collect();
            Script::of_word(&known.word) != script && distance::within(key, &other, limit).is_some()
        });
        add(candidates, words, SKELETON_WEIGHT, ReadingKind::Transliteration);
        if !candidates.is_empty() {
            return;
        }
    }
}

/// A half-typed word with a slip: words whose beginning is similar.
fn half_typed(snapshot: &IndexSnapshot, chars: &[char], candidates: &mut Vec<Candidate>) {
    const MIN_CHARS: usize = 5;
    if chars.len() < MIN_CHARS {
        return;
    }
    for cut in (MIN_CHARS - 1..chars.len()).rev() {
        let prefix: String = chars[..cut].iter().collect();
        let words = snapshot.words(|segment| segment.vocabulary.with_prefix(&prefix, 200));
        let near = words.into_iter().filter(|known| {
            let beginning: Vec<char> = known.word.chars().take(chars.len()).collect();
            distance::within(chars, &beginning, 1).is_some()
        });
        let near: Vec<KnownWord> = near.collect();
        if !near.is_empty() {
            add(candidates, near, TWO_SLIPS_WEIGHT, ReadingKind::Slip);
            return;
        }
    }
}

/// The most likely candidates: the highest weight, then the most frequent.
fn best(mut candidates: Vec<Candidate>) -> Vec<Reading> {
    const SPREAD: f32 = 0.06;
    candidates.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| b.known.frequency.cmp(&a.known.frequency)));
    let Some(top) = candidates.first().map(|candidate| candidate.weight) else { return Vec::new() };
    let mut words: Vec<String> = Vec::new();
    let mut readings: Vec<Reading> = Vec::new();
    for candidate in candidates.into_iter().take_while(|candidate| candidate.weight >= top - SPREAD) {
        if words.contains(&candidate.known.word) {
            continue;
        }
        readings.extend(Reading::of_word(&candidate.known.word, candidate.weight, candidate.kind));
        words.push(candidate.known.word);
        if words.len() == MAX_WORDS {
            break;
        }
    }
    readings
}
