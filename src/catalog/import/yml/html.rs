//! Converts descriptions in HTML to plain text.
//!
//! # Invariants
//! - Any input is converted, however malformed, in time linear in its length.
//! - The result is text, not HTML: it may contain `a < b` and has to be escaped when it is shown.

use std::borrow::Cow;

use super::text;

/// The text of a description, also of one that was escaped twice, truncated to `max_chars`.
pub(super) fn description(html: &str, max_chars: usize) -> String {
    let plain = plain(html, max_chars);
    if !html.contains('<') && has_markup(&plain) { self::plain(&plain, max_chars) } else { plain }
}

/// A name or a value of a feed as text: many shops escape it twice, and put formatting tags around it, also before they escape it.
pub(super) fn decode_again(value: &str) -> Cow<'_, str> {
    if has_markup(value) {
        Cow::Owned(plain(value, usize::MAX))
    } else if value.contains('&') {
        let decoded = text::decode(value);
        Cow::Owned(if has_markup(&decoded) { plain(&decoded, usize::MAX) } else { decoded })
    } else {
        Cow::Borrowed(value)
    }
}

/// Whether a text has a closing tag or a line break of HTML; a single `<` is text.
fn has_markup(text: &str) -> bool {
    // Searched for once: a search from every `<` takes quadratic time.
    let Some(last_close) = text.rfind('>') else { return false };
    text[..last_close].match_indices('<').any(|(at, _)| {
        let rest = &text.as_bytes()[at + 1..];
        match rest.first() {
            Some(b'/') => rest.get(1).is_some_and(u8::is_ascii_alphabetic),
            Some(_) => rest.get(..2).is_some_and(|name| name.eq_ignore_ascii_case(b"br")),
            None => false,
        }
    })
}

/// The text of `html`, truncated to `max_chars`. Input without a tag that breaks lines keeps its line breaks.
pub(super) fn plain(html: &str, max_chars: usize) -> String {
    let mut text = PlainText {
        out: String::with_capacity(html.len().min(max_chars.saturating_mul(2))),
        chars_left: max_chars,
        pending_breaks: 0,
        is_space_pending: false,
        is_bullet_pending: false,
        keeps_line_breaks: !breaks_lines(html),
    };
    // Avoids a search to the end of the text for every `<` that has no `>`: quadratic time.
    let last_close = html.rfind('>').unwrap_or(0);
    let mut at = 0;
    while at < html.len() && text.chars_left > 0 {
        let rest = &html[at..];
        let next = rest.find('<').unwrap_or(rest.len());
        text.push_html(&rest[..next]);
        at += next;
        if at == html.len() {
            break;
        }
        at += match markup(&html[at..], at < last_close) {
            Markup::Tag { name, is_closing, length } => {
                let skipped = if is_closing { 0 } else { skipped_content_length(name, &html[at + length..]) };
                text.push_tag(name, is_closing);
                length + skipped
            }
            Markup::Ignored { length } => length,
            Markup::Literal => {
                text.push_html("<");
                1
            }
        };
    }
    text.out
}

enum Markup<'a> {
    Tag {
        name: &'a str,
        is_closing: bool,
        length: usize,
    },
    /// A comment or a declaration.
    Ignored {
        length: usize,
    },
    /// A `<` that is text.
    Literal,
}

fn markup(rest: &str, has_close: bool) -> Markup<'_> {
    if rest.starts_with("<!--") {
        return Markup::Ignored { length: rest.find("-->").map_or(rest.len(), |end| end + 3) };
    }
    if !has_close {
        return Markup::Literal;
    }
    let is_closing = rest[1..].starts_with('/');
    let name = &rest[1 + usize::from(is_closing)..];
    let length = name.bytes().take_while(|b| b.is_ascii_alphanumeric()).count();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        Markup::Tag { name: &name[..length], is_closing, length: tag_length(rest) }
    } else if rest[1..].starts_with(['!', '?']) {
        Markup::Ignored { length: tag_length(rest) }
    } else {
        Markup::Literal
    }
}

/// Skips a `>` in a quoted value, but only a few of them: quotes may be unpaired.
fn tag_length(rest: &str) -> usize {
    let mut quote = 0;
    let mut first = None;
    let mut from = 0;
    for (end, _) in rest.match_indices('>').take(4) {
        for byte in rest[from..end].bytes() {
            match (quote, byte) {
                (0, b'"' | b'\'') => quote = byte,
                (open, close) if open == close => quote = 0,
                _ => {}
            }
        }
        if quote == 0 {
            return end + 1;
        }
        first = first.or(Some(end + 1));
        from = end + 1;
    }
    first.unwrap_or(rest.len())
}

/// The length of the content of `<script>` or `<style>`.
fn skipped_content_length(name: &str, rest: &str) -> usize {
    if !name.eq_ignore_ascii_case("script") && !name.eq_ignore_ascii_case("style") {
        return 0;
    }
    let closes = |(at, _): &(usize, &str)| {
        let end = rest.as_bytes()[at + 2..].get(..name.len());
        end.is_some_and(|end| end.eq_ignore_ascii_case(name.as_bytes()))
    };
    rest.match_indices("</").find(closes).map_or(rest.len(), |(at, _)| at)
}

/// How many line breaks a tag makes; 2 make an empty line.
fn breaks_of(name: &str) -> Option<u8> {
    const PARAGRAPHS: [&str; 9] = ["p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "table"];
    const LINES: [&str; 13] =
        ["div", "li", "tr", "ul", "ol", "dl", "dt", "dd", "hr", "pre", "section", "article", "caption"];
    let is = |tag: &&str| name.eq_ignore_ascii_case(tag);
    if PARAGRAPHS.iter().any(is) {
        Some(2)
    } else if LINES.iter().any(is) {
        Some(1)
    } else {
        None
    }
}

fn breaks_lines(html: &str) -> bool {
    html.match_indices('<').any(|(at, _)| {
        let name = html[at + 1..].trim_start_matches('/');
        let length = name.bytes().take_while(|b| b.is_ascii_alphanumeric()).count();
        let ends = name.as_bytes().get(length).is_some_and(|b| b.is_ascii_whitespace() || matches!(b, b'>' | b'/'));
        ends && (name[..length].eq_ignore_ascii_case("br") || breaks_of(&name[..length]).is_some())
    })
}

struct PlainText {
    out: String,
    chars_left: usize,
    pending_breaks: u8,
    is_space_pending: bool,
    is_bullet_pending: bool,
    keeps_line_breaks: bool,
}

impl PlainText {
    fn push_html(&mut self, raw: &str) {
        if raw.contains('&') {
            self.push_all(&text::decode(raw));
        } else {
            self.push_all(raw);
        }
    }

    fn push_all(&mut self, text: &str) {
        for c in text.chars() {
            if c == '\n' && self.keeps_line_breaks {
                self.pending_breaks = (self.pending_breaks + 1).min(2);
            } else if c.is_whitespace() {
                self.is_space_pending = true;
            } else if !c.is_control() {
                if self.chars_left == 0 {
                    return;
                }
                self.push_visible(c);
            }
        }
    }

    fn push_visible(&mut self, c: char) {
        let gap = match (self.out.is_empty(), self.pending_breaks, self.is_space_pending) {
            (true, ..) => "",
            (_, 2, _) => "\n\n",
            (_, 1, _) => "\n",
            (_, _, true) => " ",
            _ => "",
        };
        let bullet = if self.is_bullet_pending && c != '•' { "• " } else { "" };
        (self.pending_breaks, self.is_space_pending, self.is_bullet_pending) = (0, false, false);
        let before = gap.len() + bullet.chars().count();
        if before >= self.chars_left {
            self.chars_left = 0;
            return;
        }
        self.chars_left -= before + 1;
        self.out.push_str(gap);
        self.out.push_str(bullet);
        self.out.push(c);
    }

    fn push_tag(&mut self, name: &str, is_closing: bool) {
        if name.eq_ignore_ascii_case("br") {
            self.pending_breaks = (self.pending_breaks + 1).min(2);
        } else if let Some(breaks) = breaks_of(name) {
            self.pending_breaks = self.pending_breaks.max(breaks);
        } else if name.eq_ignore_ascii_case("td") || name.eq_ignore_ascii_case("th") {
            self.is_space_pending = true;
        }
        if name.eq_ignore_ascii_case("li") {
            self.is_bullet_pending = !is_closing;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::{Duration, Instant};

    use super::*;

    fn text(html: &str) -> String {
        plain(html, 20_000)
    }

    #[test]
    fn blocks_become_lines_and_inline_tags_vanish() {
        let html =
            "\n <h2 class='a > b'>О <b>чайнике</b></h2>\n <p>Он\n  <i>сви</i>стит.<BR/>Громко.</p><div>Да</div><p></p>";
        assert_eq!(text(html), "О чайнике\n\nОн свистит.\nГромко.\n\nДа");
    }

    #[test]
    fn lists_have_one_bullet_per_item_that_is_not_empty() {
        let html = "Есть:<ul><li>раз</li>\n<li> <p>два</p></li><li></li><li>• три</li></ul>конец";
        assert_eq!(text(html), "Есть:\n• раз\n\n• два\n\n• три\nконец");
        assert_eq!(text("<table><tr><td>вес</td><td>5</td></tr><tr><td>цвет</td></tr></table>"), "вес 5\nцвет");
    }

    #[test]
    fn scripts_styles_and_comments_are_removed_with_their_contents() {
        assert_eq!(text("а<script>alert('<p>')</SCRIPT>б<style>p{}</style><!-- <p>в</p> -->г"), "абг");
        assert_eq!(text("а<script>never closed <p>б"), "а");
        assert_eq!(text("а<!-- never closed <p>б"), "а");
    }

    #[test]
    fn what_was_escaped_twice_is_text() {
        for (text, plain) in [
            ("Чайник &quot;Ёж&quot; &#039;Л&#039; &amp; Ко", "Чайник \"Ёж\" 'Л' & Ко"),
            ("Долларовый <b>товар</b> &quot;Л&quot;", "Долларовый товар \"Л\""),
            ("Кабель<br/>5 м", "Кабель\n5 м"),
            ("a < b & c; x <5 кг, <br", "a < b & c; x <5 кг, <br"),
            ("&amp;amp;", "&amp;"),
            ("5&amp;nbsp;к &lt;br&gt;\n&nbsp;&lt;br&gt; на &lt;b&gt;15&lt;/b&gt;", "5 к\n\nна 15"),
        ] {
            assert_eq!(decode_again(text), plain);
        }
    }

    #[test]
    fn entities_are_decoded_once() {
        assert_eq!(
            text("5&nbsp;&nbsp;кг &lt;p&gt; &amp;amp; &laquo;я&raquo; &xxe; &#8212;"),
            "5 кг <p> &amp; «я» &xxe; —"
        );
    }

    #[test]
    fn plain_text_keeps_its_lines_and_at_most_one_empty_one() {
        assert_eq!(text("раз\r\nдва\n\n\n\n  три  четыре\n"), "раз\nдва\n\nтри четыре");
        assert_eq!(text("раз\n<b>два</b>"), "раз\nдва");
        assert_eq!(text("раз\nдва<br>три"), "раз два\nтри");
    }

    #[test]
    fn at_most_one_empty_line_in_a_row() {
        assert_eq!(text("раз<br><br><br></p><p><p>&nbsp;</p><br>два"), "раз\n\nдва");
    }

    #[test]
    fn a_single_angle_bracket_is_text() {
        assert_eq!(text("вес <5 кг, а < б > в, <и"), "вес <5 кг, а < б > в, <и");
        assert_eq!(text("начало <a href=\"x"), "начало <a href=\"x");
        assert_eq!(text("<a title=\"it's>раз</a> два"), "раз два");
    }

    #[test]
    fn truncation_counts_characters_and_leaves_no_trailing_space() {
        assert_eq!(plain("щука", 3), "щук");
        assert_eq!(plain("<p>ab</p><p>cd</p>", 4), "ab");
        assert_eq!(plain("<p>ab</p><p>cd</p>", 5), "ab\n\nc");
        assert_eq!(plain(&"я ".repeat(30_000), 20_000).chars().count(), 19_999);
    }

    /// The shortest of a few runs over `bytes` of a repeated piece, alone and closed.
    fn shortest_run(piece: &str, bytes: usize) -> Duration {
        let open = piece.repeat(bytes / piece.len());
        let (closed, escaped) = (format!("{open}>"), open.replace('<', "&lt;"));
        let run = |_| {
            let started_at = Instant::now();
            for html in [&open, &closed, &escaped] {
                text(html);
                black_box(decode_again(html));
            }
            started_at.elapsed()
        };
        (0..3).map(run).min().expect("three runs")
    }

    #[test]
    fn time_is_linear_in_the_length() {
        let pieces = [
            "<",
            "<a",
            "<a \"",
            "<a '>",
            "<a \"><b '>",
            "<!",
            "</",
            "</a",
            "<br",
            "&",
            "<script",
            "<!-- ",
            "<p><style></x ",
        ];
        for piece in pieces {
            let (short, long) = (shortest_run(piece, 4_000), shortest_run(piece, 128_000));
            let growth = long.as_secs_f64() / short.as_secs_f64();
            assert!(growth < 300.0, "32 times the length of {piece:?} takes {growth:.0} times as long");
        }
    }
}
