//! A description in HTML becomes plain text.
//!
//! Called by `yml::offer`. Shops send every kind of broken HTML, so nothing here may fail, and time must grow only with
//! the length of the text. What comes out is text, not HTML: `a < b` may stand in it, so nobody may show it unescaped.

use super::text;

/// The text of some HTML, cut to `longest` characters. Text without a tag that breaks lines keeps its own lines.
pub fn plain(html: &str, longest: usize) -> String {
    let mut page = Page {
        out: String::with_capacity(html.len().min(longest * 2)),
        left: longest,
        breaks: 0,
        space: false,
        bullet: false,
        own_lines: !breaks_lines(html),
    };
    // Without this every `<` of a text without `>` would be a search to its end.
    let last_close = html.rfind('>').unwrap_or(0);
    let mut at = 0;
    while at < html.len() && page.left > 0 {
        let rest = &html[at..];
        let next = rest.find('<').unwrap_or(rest.len());
        page.text(&rest[..next]);
        at += next;
        if at == html.len() {
            break;
        }
        at += match markup(&html[at..], at < last_close) {
            Markup::Tag { name, closing, length } => {
                let dropped = if closing { 0 } else { content_to_drop(name, &html[at + length..]) };
                page.tag(name, closing);
                length + dropped
            }
            Markup::Nothing { length } => length,
            Markup::Literal => {
                page.text("<");
                1
            }
        };
    }
    page.out
}

enum Markup<'a> {
    Tag {
        name: &'a str,
        closing: bool,
        length: usize,
    },
    /// A comment or a declaration.
    Nothing {
        length: usize,
    },
    /// Just a `<`.
    Literal,
}

fn markup(rest: &str, closes_later: bool) -> Markup<'_> {
    if rest.starts_with("<!--") {
        return Markup::Nothing { length: rest.find("-->").map_or(rest.len(), |end| end + 3) };
    }
    if !closes_later {
        return Markup::Literal;
    }
    let closing = rest[1..].starts_with('/');
    let name = &rest[1 + usize::from(closing)..];
    let length = name.bytes().take_while(|b| b.is_ascii_alphanumeric()).count();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        Markup::Tag { name: &name[..length], closing, length: tag_length(rest) }
    } else if rest[1..].starts_with(['!', '?']) {
        Markup::Nothing { length: tag_length(rest) }
    } else {
        Markup::Literal
    }
}

/// A `>` in a quoted value is passed over, but only a few of them: quotes may be unpaired.
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

/// The bytes of a script's or a style's content.
fn content_to_drop(name: &str, rest: &str) -> usize {
    if !name.eq_ignore_ascii_case("script") && !name.eq_ignore_ascii_case("style") {
        return 0;
    }
    let closes = |(at, _): &(usize, &str)| {
        let end = rest.as_bytes()[at + 2..].get(..name.len());
        end.is_some_and(|end| end.eq_ignore_ascii_case(name.as_bytes()))
    };
    rest.match_indices("</").find(closes).map_or(rest.len(), |(at, _)| at)
}

/// How many line breaks a tag makes: 2 leave an empty line between.
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

struct Page {
    out: String,
    /// Characters that may still come.
    left: usize,
    breaks: u8,
    space: bool,
    bullet: bool,
    own_lines: bool,
}

impl Page {
    fn text(&mut self, raw: &str) {
        if raw.contains('&') {
            self.push_all(&text::decode(raw));
        } else {
            self.push_all(raw);
        }
    }

    fn push_all(&mut self, text: &str) {
        for c in text.chars() {
            if c == '\n' && self.own_lines {
                self.breaks = (self.breaks + 1).min(2);
            } else if c.is_whitespace() {
                self.space = true;
            } else if !c.is_control() {
                if self.left == 0 {
                    return;
                }
                self.visible(c);
            }
        }
    }

    fn visible(&mut self, c: char) {
        let gap = match (self.out.is_empty(), self.breaks, self.space) {
            (true, ..) => "",
            (_, 2, _) => "\n\n",
            (_, 1, _) => "\n",
            (_, _, true) => " ",
            _ => "",
        };
        let bullet = if self.bullet && c != '•' { "• " } else { "" };
        (self.breaks, self.space, self.bullet) = (0, false, false);
        let before = gap.len() + bullet.chars().count();
        if before >= self.left {
            self.left = 0;
            return;
        }
        self.left -= before + 1;
        self.out.push_str(gap);
        self.out.push_str(bullet);
        self.out.push(c);
    }

    fn tag(&mut self, name: &str, closing: bool) {
        if name.eq_ignore_ascii_case("br") {
            self.breaks = (self.breaks + 1).min(2);
        } else if let Some(breaks) = breaks_of(name) {
            self.breaks = self.breaks.max(breaks);
        } else if name.eq_ignore_ascii_case("td") || name.eq_ignore_ascii_case("th") {
            self.space = true;
        }
        if name.eq_ignore_ascii_case("li") {
            self.bullet = !closing;
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn lists_have_bullets_but_not_two_and_not_for_nothing() {
        let html = "Есть:<ul><li>раз</li>\n<li> <p>два</p></li><li></li><li>• три</li></ul>конец";
        assert_eq!(text(html), "Есть:\n• раз\n\n• два\n\n• три\nконец");
        assert_eq!(text("<table><tr><td>вес</td><td>5</td></tr><tr><td>цвет</td></tr></table>"), "вес 5\nцвет");
    }

    #[test]
    fn scripts_styles_and_comments_go_with_their_contents() {
        assert_eq!(text("а<script>alert('<p>')</SCRIPT>б<style>p{}</style><!-- <p>в</p> -->г"), "абг");
        assert_eq!(text("а<script>never closed <p>б"), "а");
        assert_eq!(text("а<!-- never closed <p>б"), "а");
    }

    #[test]
    fn entities_are_decoded_once() {
        assert_eq!(
            text("5&nbsp;&nbsp;кг &lt;p&gt; &amp;amp; &laquo;я&raquo; &xxe; &#8212;"),
            "5 кг <p> &amp; «я» &xxe; —"
        );
    }

    #[test]
    fn a_plain_text_keeps_its_lines_but_one_empty_one() {
        assert_eq!(text("раз\r\nдва\n\n\n\n  три  четыре\n"), "раз\nдва\n\nтри четыре");
        assert_eq!(text("раз\n<b>два</b>"), "раз\nдва");
        assert_eq!(text("раз\nдва<br>три"), "раз два\nтри");
    }

    #[test]
    fn at_most_one_empty_line_in_a_row() {
        assert_eq!(text("раз<br><br><br></p><p><p>&nbsp;</p><br>два"), "раз\n\nдва");
    }

    #[test]
    fn a_lone_angle_is_text() {
        assert_eq!(text("вес <5 кг, а < б > в, <и"), "вес <5 кг, а < б > в, <и");
        assert_eq!(text("начало <a href=\"x"), "начало <a href=\"x");
        assert_eq!(text("<a title=\"it's>раз</a> два"), "раз два");
    }

    #[test]
    fn the_cut_counts_characters_and_never_ends_in_white_space() {
        assert_eq!(plain("щука", 3), "щук");
        assert_eq!(plain("<p>ab</p><p>cd</p>", 4), "ab");
        assert_eq!(plain("<p>ab</p><p>cd</p>", 5), "ab\n\nc");
        assert_eq!(plain(&"я ".repeat(30_000), 20_000).chars().count(), 19_999);
    }

    #[test]
    fn time_grows_with_the_length_only() {
        let started = std::time::Instant::now();
        for piece in ["<", "<a", "<a \"", "<a '>", "<a \"><b '>", "<!", "</", "&", "<script", "<!-- ", "<p><style></x "]
        {
            text(&piece.repeat(1_000_000 / piece.len()));
            text(&format!("{}>", piece.repeat(1_000_000 / piece.len())));
        }
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }
}
