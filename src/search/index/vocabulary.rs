//! The words of a segment: by prefix, by sound, by transliteration, and by similarity.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::search::spelling::{distance, sound, transliteration};
use crate::search::text::fold::Script;
use crate::search::text::stem::stem;

/// A word of the vocabulary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'v> {
    pub(crate) word: &'v str,
    /// Its position in the vocabulary.
    pub(crate) position: u32,
    /// How many items have the word.
    pub(crate) frequency: u32,
}

pub(crate) struct Vocabulary {
    /// Sorted.
    words: Vec<Box<str>>,
    frequencies: Vec<u32>,
    signatures: Vec<u64>,
    /// Words that may be misspelt, by first letter and number of letters.
    buckets: HashMap<(char, u8), Vec<u32>>,
    stems: KeyTable,
    sounds: KeyTable,
    transliterations: KeyTable,
    skeletons: KeyTable,
    hasher: RandomState,
}

/// Words by the hash of a key; sorted by hash.
#[derive(Default)]
struct KeyTable(Vec<(u64, u32)>);

impl KeyTable {
    fn new(mut entries: Vec<(u64, u32)>) -> KeyTable {
        entries.sort_unstable();
        KeyTable(entries)
    }

    fn get(&self, hash: u64) -> impl Iterator<Item = u32> {
        let start = self.0.partition_point(|(key, _)| *key < hash);
        self.0[start..].iter().take_while(move |(key, _)| *key == hash).map(|(_, word)| *word)
    }
}

/// Shorter words are not corrected.
const MIN_CORRECTED_CHARS: usize = 3;

impl Vocabulary {
    /// `sorted`: the words in order, each with the number of items that have it.
    pub(crate) fn new(sorted: Vec<(Box<str>, u32)>) -> Vocabulary {
        let hasher = RandomState::new();
        let mut vocabulary = Vocabulary {
            words: Vec::with_capacity(sorted.len()),
            frequencies: Vec::with_capacity(sorted.len()),
            signatures: Vec::with_capacity(sorted.len()),
            buckets: HashMap::new(),
            stems: KeyTable::default(),
            sounds: KeyTable::default(),
            transliterations: KeyTable::default(),
            skeletons: KeyTable::default(),
            hasher,
        };
        let mut stems = Vec::with_capacity(sorted.len());
        let (mut sounds, mut transliterations, mut skeletons) = (Vec::new(), Vec::new(), Vec::new());
        for (word, frequency) in sorted {
            let position = u32::try_from(vocabulary.words.len()).unwrap_or(u32::MAX);
            let chars: Vec<char> = word.chars().collect();
            vocabulary.signatures.push(distance::signature(&chars));
            let script = Script::of_word(&word);
            let is_word = script != Script::Other && !word.bytes().any(|b| b.is_ascii_digit());
            if chars.len() >= MIN_CORRECTED_CHARS && chars.len() <= distance::MAX_CHARS {
                let length = u8::try_from(chars.len()).unwrap_or(u8::MAX);
                vocabulary.buckets.entry((chars[0], length)).or_default().push(position);
            }
            if is_word && chars.len() >= MIN_CORRECTED_CHARS {
                if script == Script::Cyrillic {
                    sounds.push((vocabulary.hash(&sound::key(&word)), position));
                }
                let key = transliteration::key(&word);
                transliterations.push((vocabulary.hash(&key), position));
                skeletons.push((vocabulary.hash(&transliteration::skeleton(&key)), position));
            }
            stems.push((vocabulary.hash(&stem(&word)), position));
            vocabulary.words.push(word);
            vocabulary.frequencies.push(frequency);
        }
        vocabulary.stems = KeyTable::new(stems);
        vocabulary.sounds = KeyTable::new(sounds);
        vocabulary.transliterations = KeyTable::new(transliterations);
        vocabulary.skeletons = KeyTable::new(skeletons);
        vocabulary
    }

    fn hash(&self, key: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key.as_bytes());
        hasher.finish()
    }

    fn entry(&self, position: u32) -> Entry<'_> {
        Entry { word: &self.words[position as usize], position, frequency: self.frequencies[position as usize] }
    }

    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    pub(crate) fn get(&self, word: &str) -> Option<Entry<'_>> {
        let position = self.words.binary_search_by(|known| (**known).cmp(word)).ok()?;
        Some(self.entry(u32::try_from(position).ok()?))
    }

    /// The words with this stem.
    pub(crate) fn with_stem(&self, stem: &str) -> impl Iterator<Item = Entry<'_>> {
        self.stems.get(self.hash(stem)).map(|position| self.entry(position))
    }

    /// The words that start with `prefix`, at most `limit`, in alphabetical order.
    pub(crate) fn with_prefix<'v>(&'v self, prefix: &'v str, limit: usize) -> impl Iterator<Item = Entry<'v>> {
        let start = self.words.partition_point(|word| **word < *prefix);
        let matching = (start..self.words.len()).take_while(move |at| self.words[*at].starts_with(prefix));
        matching.take(limit).filter_map(|at| Some(self.entry(u32::try_from(at).ok()?)))
    }

    /// Russian words that sound alike.
    pub(crate) fn sounding_like(&self, word: &str) -> impl Iterator<Item = Entry<'_>> {
        self.sounds.get(self.hash(&sound::key(word))).map(|position| self.entry(position))
    }

    /// Words whose transliteration has this key.
    pub(crate) fn with_transliteration(&self, key: &str) -> impl Iterator<Item = Entry<'_>> {
        self.transliterations.get(self.hash(key)).map(|position| self.entry(position))
    }

    /// Words whose transliteration has these consonants.
    pub(crate) fn with_skeleton(&self, skeleton: &str) -> impl Iterator<Item = Entry<'_>> {
        self.skeletons.get(self.hash(skeleton)).map(|position| self.entry(position))
    }

    /// Words within `limit` edits, with their distance. `first` restricts the first letter.
    pub(crate) fn similar(&self, word: &[char], limit: u32, first: Option<char>) -> Vec<(Entry<'_>, u32)> {
        let signature = distance::signature(word);
        let lengths = word.len().saturating_sub(limit as usize)..=word.len() + limit as usize;
        let mut found = Vec::new();
        let mut compared = Vec::with_capacity(distance::MAX_CHARS);
        let mut scan = |bucket: &[u32]| {
            for position in bucket {
                if !distance::may_be_within(signature, self.signatures[*position as usize], limit) {
                    continue;
                }
                compared.clear();
                compared.extend(self.words[*position as usize].chars());
                if let Some(edits) = distance::within(word, &compared, limit) {
                    found.push((self.entry(*position), edits));
                }
            }
        };
        for length in lengths.filter_map(|length| u8::try_from(length).ok()) {
            match first {
                Some(first) => {
                    if let Some(bucket) = self.buckets.get(&(first, length)) {
                        scan(bucket);
                    }
                }
                None => {
                    for ((_, of_length), bucket) in &self.buckets {
                        if *of_length == length {
                            scan(bucket);
                        }
                    }
                }
            }
        }
        found
    }
}
