//! Tokens of a text: words, codes, numbers and quantities.

use super::fold::{fold, unify_script};
use super::quantity;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TokenKind {
    Word,
    /// A number, an article number, or a size such as `3.5x55`.
    Code,
    /// A number with a unit, in the base unit.
    Quantity,
    /// The parts of a hyphenated code in one piece.
    Glued,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) kind: TokenKind,
    /// The number of a quantity, without its unit.
    pub(crate) number: Option<String>,
    /// Position in the text; the glued form has that of its first part.
    pub(crate) position: u32,
    /// The range of the folded text that it was read from.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Longer tokens are cut: they are never typed, and would fill the vocabulary.
const MAX_TOKEN_CHARS: usize = 40;

/// The tokens of a text, in order.
pub(crate) fn tokenize(text: &str) -> Vec<Token> {
    tokenize_folded(&fold(text))
}

/// The tokens of a text that is folded already.
pub(crate) fn tokenize_folded(text: &str) -> Vec<Token> {
    let mut scanner = Scanner { text, at: 0, position: 0, tokens: Vec::new() };
    scanner.run();
    scanner.tokens
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    position: u32,
    tokens: Vec<Token>,
}

impl Scanner<'_> {
    fn run(&mut self) {
        let mut chain_start = None;
        while let Some(c) = self.peek(self.at) {
            if !c.is_alphanumeric() {
                let joins = matches!(c, '-' | '/' | '_' | '.' | '+')
                    && self.peek(self.at + c.len_utf8()).is_some_and(char::is_alphanumeric)
                    && self.tokens.last().is_some_and(|token| token.end == self.at);
                if !joins {
                    self.glue(chain_start.take());
                }
                self.at += c.len_utf8();
                continue;
            }
            let first = self.tokens.len();
            chain_start.get_or_insert(first);
            if !(c.is_ascii_digit() && self.scan_number()) {
                self.scan_word();
            }
            if self.tokens.last().is_some_and(|token| token.kind == TokenKind::Quantity) {
                self.glue(chain_start.take());
            }
        }
        self.glue(chain_start);
    }

    fn peek(&self, at: usize) -> Option<char> {
        self.text[at..].chars().next()
    }

    fn push(&mut self, text: String, kind: TokenKind, number: Option<String>, start: usize, end: usize) {
        self.tokens.push(Token { text, kind, number, position: self.position, start, end });
        self.position += 1;
        self.at = end;
    }

    /// The end of the run of characters that satisfy `is_part`.
    fn run_end(&self, start: usize, is_part: impl Fn(char) -> bool) -> usize {
        self.text[start..].find(|c| !is_part(c)).map_or(self.text.len(), |length| start + length)
    }

    fn skip_spaces(&self, at: usize) -> usize {
        self.run_end(at, |c| c == ' ')
    }

    /// The end of a decimal number that starts here.
    fn number_end(&self, start: usize) -> usize {
        let whole = self.run_end(start, |c| c.is_ascii_digit());
        if !matches!(self.peek(whole), Some('.' | ',')) {
            return whole;
        }
        let fraction = self.run_end(whole + 1, |c| c.is_ascii_digit());
        let is_list = matches!(self.peek(fraction), Some('.' | ','))
            && self.peek(fraction + 1).is_some_and(|c| c.is_ascii_digit());
        if fraction == whole + 1 || is_list { whole } else { fraction }
    }

    /// A number, a size or a quantity; false for a code that starts with a digit.
    fn scan_number(&mut self) -> bool {
        let start = self.at;
        let end = self.number_end(start);
        let number = quantity::number(&self.text[start..end]);
        if let Some((text, end)) = self.size(&number, end) {
            self.push(text, TokenKind::Code, None, start, end);
            return true;
        }
        if let Some((unit_end, base, many)) = self.unit_after(end) {
            let text = quantity::canonical(&number, base, many);
            self.push(text, TokenKind::Quantity, Some(number), start, unit_end);
            return true;
        }
        if self.peek(end).is_some_and(char::is_alphabetic) {
            return false;
        }
        // An article number keeps its zeros.
        let text = if end - start > 6 { self.text[start..end].to_owned() } else { number };
        self.push(text, TokenKind::Code, None, start, end);
        true
    }

    /// `3.5x55`, `3,5 на 55`, `120*60*75` after the first number.
    fn size(&self, first: &str, mut at: usize) -> Option<(String, usize)> {
        let mut text = first.to_owned();
        let mut end = None;
        loop {
            let sign = self.skip_spaces(at);
            let after = ["x", "х", "*", "на "]
                .iter()
                .find_map(|sign_text| self.text[sign..].starts_with(sign_text).then_some(sign + sign_text.len()));
            let Some(number) = after.map(|after| self.skip_spaces(after)) else { break };
            if !self.peek(number).is_some_and(|c| c.is_ascii_digit()) {
                break;
            }
            let number_end = self.number_end(number);
            if self.peek(number_end).is_some_and(|c| c.is_alphabetic() && !matches!(c, 'x' | 'х'))
                && self.unit_after(number_end).is_none()
            {
                break;
            }
            text.push('x');
            text.push_str(&quantity::number(&self.text[number..number_end]));
            at = number_end;
            end = Some(number_end);
        }
        let end = end?;
        let end = self.unit_after(end).map_or(end, |(unit_end, ..)| unit_end);
        Some((text, end))
    }

    /// The unit after a number: where it ends, its base unit, and how many of it.
    fn unit_after(&self, number_end: usize) -> Option<(usize, &'static str, u64)> {
        let start = self.skip_spaces(number_end);
        let c = self.peek(start)?;
        let end = match c {
            '%' | '"' => start + 1,
            '\'' if self.text[start..].starts_with("''") => start + 2,
            c if c.is_alphabetic() => self.run_end(start, char::is_alphabetic),
            _ => return None,
        };
        let (base, many) = quantity::unit(&self.text[start..end])?;
        let next = self.peek(end);
        let goes_on = next.is_some_and(|c| c.is_ascii_digit())
            || (next == Some('-') && self.peek(end + 1).is_some_and(char::is_alphanumeric));
        let is_letter_of_a_code =
            start > number_end && c.is_alphabetic() && end - start == c.len_utf8() && c.is_ascii();
        (!goes_on && !is_letter_of_a_code).then_some((end, base, many))
    }

    fn scan_word(&mut self) {
        let start = self.at;
        let end = self.run_end(start, char::is_alphanumeric);
        let raw = &self.text[start..end];
        let word = unify_script(raw).unwrap_or_else(|| raw.to_owned());
        let has_digit = word.bytes().any(|b| b.is_ascii_digit());
        let kind = if has_digit { TokenKind::Code } else { TokenKind::Word };
        let cut = word.char_indices().nth(MAX_TOKEN_CHARS).map_or(word.len(), |(at, _)| at);
        self.push(word[..cut].to_owned(), kind, None, start, end);
    }

    /// Adds the glued form of the tokens since `first`, which joining signs connect.
    fn glue(&mut self, first: Option<usize>) {
        let Some(first) = first else { return };
        let parts = &self.tokens[first..];
        if parts.len() < 2 || parts.len() > 6 {
            return;
        }
        let glued: String = parts.iter().map(|part| part.text.as_str()).collect();
        let (Some(start), Some(end)) = (parts.first(), parts.last()) else { return };
        let token = Token {
            text: glued,
            kind: TokenKind::Glued,
            number: None,
            position: start.position,
            start: start.start,
            end: end.end,
        };
        if token.text.chars().count() <= MAX_TOKEN_CHARS {
            self.tokens.push(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        tokenize(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn texts_are_split_into_words_codes_and_quantities() {
        for (text, tokens) in [
            ("Чайник Tefal, красный", &["чайник", "tefal", "красный"][..]),
            ("Молоко 1 л", &["молоко", "1000мл"]),
            ("молоко 1л.", &["молоко", "1000мл"]),
            ("масло 5w-30", &["масло", "5w", "30", "5w30"]),
            ("саморез 3,5 на 55", &["саморез", "3.5x55"]),
            ("саморез 3.5x55мм", &["саморез", "3.5x55"]),
            ("asp550ss3-240g-c", &["asp550ss3", "240g", "c", "asp550ss3240gc"]),
            ("Wi-Fi", &["wi", "fi", "wifi"]),
            ("тетрадь 48л клетка", &["тетрадь", "48000мл", "клетка"]),
            ("4006149508403", &["4006149508403"]),
            ("телевизор 48\"", &["телевизор", "48дюйм"]),
            ("А4", &["a4"]),
        ] {
            assert_eq!(texts(text), tokens, "{text}");
        }
    }
}
