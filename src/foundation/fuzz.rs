//! A small deterministic fuzzer for unit tests of parsers: it mutates seeds and keeps inputs whose outcome is new.
//!
//! `cargo test --lib fuzz_` runs every target for a second; `BRANDGATE_FUZZ_SECONDS=300` runs each for five minutes.
//! A panic prints the input that caused it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use super::error::{Error, Kind};

/// Longer inputs are cut off.
const MAX_INPUT_BYTES: usize = 8_192;

/// How many inputs of one outcome the corpus keeps: the outcome alone does not tell which input leads further.
const MAX_INPUTS_PER_OUTCOME: usize = 12;

/// Numbers at the limits of the types and of JavaScript.
const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "1",
    "200",
    "201",
    "999",
    "1000",
    "32768",
    "2147483648",
    "4294967296",
    "9007199254740991",
    "9007199254740992",
    "9223372036854775808",
    "79228162514264337593543950336",
    "1e400",
    "0.1e-27",
];

/// Characters that end, separate or escape something, in one or several bytes.
const CHARACTERS: [&[u8]; 20] = [
    b"\"",
    b"\\",
    b"'",
    b"\n",
    b"\r\n",
    b"\0",
    b";",
    b",",
    b"=",
    b"&",
    b"%",
    b"%00",
    b"\xff",
    b"\xc3",
    "я".as_bytes(),
    "\u{202e}".as_bytes(),
    "\u{feff}".as_bytes(),
    "😀".as_bytes(),
    b"{",
    b"]",
];

/// How often each outcome was seen.
pub(crate) struct Outcomes(BTreeMap<String, u64>);

impl Outcomes {
    /// Panics unless the inputs led to each of these outcomes: a target that only refuses tests nothing.
    #[track_caller]
    pub(crate) fn assert_seen(&self, expected: &[&str]) {
        for outcome in expected {
            assert!(self.0.contains_key(*outcome), "no input led to {outcome:?}, only to {:#?}", self.0);
        }
    }
}

/// Passes mutations of `seeds` to `check`, which asserts the properties of a parser and returns the outcome. `words` are texts
/// with a meaning in the format.
pub(crate) fn fuzz<S: AsRef<[u8]>>(seeds: &[S], words: &[&str], check: impl Fn(&[u8]) -> String) -> Outcomes {
    let seconds = std::env::var("BRANDGATE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut corpus: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.as_ref().to_vec()).collect();
    let mut outcomes = BTreeMap::new();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let started_at = Instant::now();
    let mut count = 0_u64;
    // Every seed itself, then mutations of the growing corpus.
    while count < corpus.len() as u64 || started_at.elapsed() < Duration::from_secs(seconds) {
        let input = match corpus.get(count as usize) {
            Some(seed) if count < seeds.len() as u64 => seed.clone(),
            _ => random.mutation(&corpus, words),
        };
        count += 1;
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&input))).unwrap_or_else(|panic| {
            eprintln!("input {count}: {}", input.escape_ascii());
            resume_unwind(panic)
        });
        let seen = outcomes.entry(outcome).or_insert(0);
        *seen += 1;
        if *seen <= MAX_INPUTS_PER_OUTCOME as u64 && count > seeds.len() as u64 {
            corpus.push(input);
        }
    }
    eprintln!("{count} inputs in {seconds} s, corpus of {}: {outcomes:#?}", corpus.len());
    Outcomes(outcomes)
}

/// The outcome of a refused input. Panics unless the error is a client's, with a code and a message that fits on one line.
pub(crate) fn refused(error: &Error) -> String {
    assert!(
        matches!(error.kind, Kind::Malformed | Kind::Unauthorized | Kind::Unprocessable | Kind::UriTooLong),
        "{:?}: {}",
        error.kind,
        error.public
    );
    let is_code = |code: &str| !code.is_empty() && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    assert!(is_code(error.code), "{:?} is no code", error.code);
    let message = &error.public;
    assert!(message.len() > 10 && message.chars().count() <= 300, "{message:?} is no sentence");
    assert!(!message.contains(char::is_control), "{message:?} contains a control character");
    error.code.to_owned()
}

/// Pseudo-random numbers (xorshift64*), the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `limit`; 0 for the limit 0.
    fn below(&mut self, limit: usize) -> usize {
        if limit == 0 { 0 } else { (self.next() >> 16) as usize % limit }
    }

    fn choose<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// A range of `bytes`, mostly a short one.
    fn range(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        let longest = if self.below(4) == 0 { bytes.len() - start } else { (bytes.len() - start).min(8) };
        start..start + self.below(longest + 1)
    }

    fn mutation(&mut self, corpus: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
        let mut input = self.choose(corpus).clone();
        for _ in 0..=self.below(4) {
            self.mutate(&mut input, corpus, words);
        }
        input.truncate(MAX_INPUT_BYTES);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&str]) {
        let range = self.range(input);
        let position = range.start;
        match self.below(10) {
            0 if !input.is_empty() => {
                let position = position.min(input.len() - 1);
                input[position] ^= 1 << self.below(8);
            }
            1 => drop(input.splice(range, [])),
            2 => input.truncate(position),
            3 => {
                let copy = input[range].to_vec();
                let times = if self.below(8) == 0 { self.below(500) } else { 1 };
                let copies = copy.repeat(times);
                input.splice(position..position, copies);
            }
            4 | 5 if !words.is_empty() => {
                let word = self.choose(words).as_bytes();
                let end = if self.below(2) == 0 { position } else { range.end };
                input.splice(position..end, word.iter().copied());
            }
            6 => {
                let character = *self.choose(&CHARACTERS);
                input.splice(position..position, character.iter().copied());
            }
            7 => {
                // The number at or after the position.
                let Some(start) = input[position..].iter().position(u8::is_ascii_digit) else { return };
                let start = position + start;
                let digits = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                let number = self.choose(&NUMBERS).as_bytes();
                input.splice(start..start + digits, number.iter().copied());
            }
            8 => {
                let other = self.choose(corpus);
                let part = other[self.range(other)].to_vec();
                input.splice(range, part);
            }
            _ => {
                let other = self.choose(corpus);
                let rest = &other[self.below(other.len() + 1)..];
                input.truncate(position);
                input.extend_from_slice(rest);
            }
        }
    }
}
