//! The vocabulary of texts: comments, string literals of `src`, configuration examples and documents use the field's terms.

use std::path::{Path, PathBuf};

/// Phrases that have a standard term, after the term. A phrase matches whole words, in any case, also across a line break.
const RULED_OUT: &[(&str, &[&str])] = &[
    (
        "the caller, the visitor, the operator, no client",
        &["somebody", "somebody's", "whoever", "nobody", "nobody's", "anybody", "everybody", "everybody's"],
    ),
    ("a summary line, or an `# Invariants` list", &["must never happen", "who calls it", "who calls this"]),
    ("again, regenerated", &["anew"]),
    ("rate-limited, limit", &["rationed", "so many a minute", "so many a day"]),
    ("cached", &["remembered", "kept ready"]),
    ("released to the pool", &["given back", "gives back", "give back"]),
    ("issued", &["handed out", "hands out", "hand out"]),
    ("unavailable", &["is away", "are away", "was away", "were away", "being away"]),
    (
        "needs manual action",
        &[
            "a person should",
            "a person has to",
            "a person must",
            "a person looks",
            "for a person",
            "needs a person",
            "needed a person",
        ],
    ),
    ("background jobs", &["behind the requests", "behind requests"]),
    ("draining, graceful shutdown", &["had been begun", "has been begun", "what has begun", "begun to end"]),
    ("units, quantity", &["its pieces", "their pieces", "of pieces", "whose pieces", "pieces are", "holds pieces"]),
    ("metrics, counters, results", &["figures"]),
    ("message", &["a sentence", "the sentence", "one sentence"]),
    ("poll, query", &["looks at", "looked at", "a look at", "asks nobody", "asked anew"]),
    (
        "receive, notify, updates",
        &["is told", "are told", "was told", "be told", "hears", "for news", "no news", "bank's news"],
    ),
    ("fix, correct", &["mend", "mended", "put right"]),
    ("listener, service", &["the door", "doors", "the gate"]),
    ("timeout, deadline", &["patience", "in vain"]),
    ("forever", &["for ever"]),
    ("in progress", &["is at it"]),
];

const FIRST_CHECKED_MIGRATION: u32 = 12;

/// Consecutive text of a file.
#[derive(Debug)]
struct Passage<'t> {
    first_line: usize,
    text: &'t str,
    is_comment: bool,
}

/// A word with its line. An empty word separates passages and clauses: no phrase extends over it.
type Word = (String, usize);

fn words(passages: &[Passage]) -> Vec<Word> {
    let (mut words, mut next_line) = (Vec::new(), 0);
    for passage in passages {
        if !passage.is_comment || passage.first_line != next_line {
            words.push((String::new(), passage.first_line));
        }
        for (number, line) in passage.text.replace("\\n", "  ").lines().enumerate() {
            let line_number = passage.first_line + number;
            next_line = line_number + 1;
            for part in line.split_inclusive(|c: char| !(c.is_alphanumeric() || "_'’".contains(c))) {
                let word = part.trim_end_matches(|c: char| !c.is_alphanumeric()).trim_matches('\'');
                if !word.is_empty() {
                    words.push((word.to_lowercase().replace('’', "'"), line_number));
                }
                if part.ends_with(['.', ',', ':', ';', '!', '?', '(', ')', '"']) {
                    words.push((String::new(), line_number));
                }
            }
        }
    }
    words
}

/// `name:line: phrase` for every ruled-out phrase.
fn hits(name: &str, passages: &[Passage]) -> Vec<String> {
    let words = words(passages);
    let mut found = Vec::new();
    for (instead, phrases) in RULED_OUT {
        for phrase in *phrases {
            let parts: Vec<&str> = phrase.split(' ').collect();
            let windows = words.windows(parts.len());
            let matching = windows.filter(|window| window.iter().map(|(word, _)| word).eq(&parts));
            found.extend(matching.map(|window| (window[0].1, phrase, instead)));
        }
    }
    found.sort_unstable();
    found.iter().map(|(line, phrase, instead)| format!("{name}:{line}: \"{phrase}\": write {instead}")).collect()
}

/// Comments and, if wanted, string literals of Rust code.
fn rust(source: &str, with_strings: bool) -> Vec<Passage<'_>> {
    let (mut at, mut line, mut passages) = (0, 1, Vec::new());
    while at < source.len() {
        let rest = &source[at..];
        let end_of = |close: &str, skip: usize| rest[skip..].find(close).map_or(rest.len(), |end| skip + end);
        let hashes = rest.strip_prefix('r').map_or(0, |raw| raw.len() - raw.trim_start_matches('#').len());
        let (length, is_text) = if rest.starts_with("//") {
            (end_of("\n", 0), true)
        } else if rest.starts_with('r') && rest[1 + hashes..].starts_with('"') {
            (end_of(&format!("\"{}", "#".repeat(hashes)), hashes + 2) + hashes + 1, with_strings)
        } else if rest.starts_with('"') {
            (string_length(rest), with_strings)
        } else if rest.starts_with("'\"'") {
            (3, false)
        } else if rest.starts_with("'\\") {
            (4, false)
        } else {
            (rest.chars().next().map_or(1, char::len_utf8), false)
        };
        let text = &rest[..length.min(rest.len())];
        if is_text {
            passages.push(Passage { first_line: line, text, is_comment: text.starts_with("//") });
        }
        line += text.matches('\n').count();
        at += text.len();
    }
    passages
}

/// The length of the string literal that starts here, with both quotes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    let close = text[1..].char_indices().find(|&(_, c)| {
        let closes = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        closes
    });
    close.map_or(text.len(), |(at, _)| at + 2)
}

/// Comments of other languages: the rest of a line after a marker at its start or after a blank, and `/* … */` blocks.
fn script<'t>(source: &'t str, markers: &[&str]) -> Vec<Passage<'t>> {
    let mut is_in_block = false;
    let comments = source.lines().enumerate().filter_map(|(number, line)| {
        let is_block_line = is_in_block || line.contains("/*");
        is_in_block = is_block_line && !line.contains("*/");
        let marked = markers.iter().filter_map(|marker| {
            let found = line.match_indices(marker).find(|&(at, _)| at == 0 || line[..at].ends_with([' ', '\t']));
            found.map(|(at, _)| at)
        });
        let start = if is_block_line && markers.contains(&"//") { Some(0) } else { marked.min() };
        start.map(|start| Passage { first_line: number + 1, text: &line[start..], is_comment: true })
    });
    comments.collect()
}

fn document(source: &str) -> Vec<Passage<'_>> {
    // Released versions are history.
    let current = source.find("\n## 0.1.0").map_or(source, |released| &source[..released]);
    let paragraphs = current.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    paragraphs.map(|(number, line)| Passage { first_line: number + 1, text: line, is_comment: true }).collect()
}

/// The texts of a file that are checked.
fn passages<'t>(name: &str, source: &'t str) -> Vec<Passage<'t>> {
    let extension = name.rsplit('.').next().unwrap_or_default();
    let migration = name.strip_prefix("migrations/").and_then(|file| file.split('_').next()?.parse::<u32>().ok());
    let is_unit = ["service", "socket", "conf", "example"].contains(&extension);
    match extension {
        "md" => document(source),
        _ if name.starts_with("tests/data/") || name == "tests/it/prose.rs" => Vec::new(),
        // What visitors read has a vocabulary of its own.
        "rs" => rust(source, name.starts_with("src/") && !name.starts_with("src/foundation/texts/")),
        "js" | "mjs" | "css" | "html" => script(source, &["//", "<!--"]),
        "sql" if migration.is_some_and(|number| number < FIRST_CHECKED_MIGRATION) => Vec::new(),
        "sql" => script(source, &["--"]),
        "toml" | "sh" | "py" | "yml" => script(source, &["#"]),
        _ if is_unit || name.starts_with("systemd/deb/") || name.starts_with("systemd/certbot/") => {
            script(source, &["#"])
        }
        _ => Vec::new(),
    }
}

/// The names of the files that are checked, relative to the repository.
pub(crate) fn files() -> Vec<String> {
    fn walk(root: &Path, directory: &Path, into: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).expect("the repository is readable") {
            let path: PathBuf = entry.expect("the repository is readable").path();
            let name = path.strip_prefix(root).expect("below the root").to_str().expect("UTF-8").to_owned();
            let is_ignored = name.starts_with('.') || name.starts_with("target") || name.ends_with("node_modules");
            match path.is_dir() {
                _ if is_ignored => {}
                true => walk(root, &path, into),
                false => into.push(name),
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(root, root, &mut files);
    let is_checked = |name: &String| {
        let folders = ["src/", "tests/", "brands/", "migrations/", "systemd/"];
        name.ends_with(".md") || folders.iter().any(|folder| name.starts_with(folder))
    };
    files.retain(is_checked);
    files.sort();
    files
}

#[test]
fn texts_use_the_standard_terms() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut checked) = (Vec::new(), 0);
    for name in files() {
        let Ok(source) = std::fs::read_to_string(root.join(&name)) else { continue };
        let passages = passages(&name, &source);
        checked += passages.len();
        found.extend(hits(&name, &passages));
    }
    assert!(checked > 5_000, "only {checked} passages were found");
    assert!(found.is_empty(), "{} ruled-out phrases:\n{}", found.len(), found.join("\n"));
}

#[test]
fn ruled_out_phrases_are_found_where_they_are_and_nowhere_else() {
    let lines = |name, source| -> Vec<usize> {
        let found = hits(name, &passages(name, source));
        found.iter().map(|hit| hit.split(':').nth(1).and_then(|line| line.parse().ok()).expect("a line")).collect()
    };
    assert_eq!(lines("src/a.rs", "//! Made\n//! Anew.\nlet nobody = 1; // for a\n    // person\n"), [2, 3]);
    assert_eq!(lines("src/a.rs", "warn!(\"Redis is \\\n  away\");\nlet (a, b) = ('\"', \"nobody\");"), [1, 3]);
    assert_eq!(lines("src/a.rs", "let a = r#\"\nsay \"anew\"\n\"#; // it is\nlet away = '\\'';"), [2]);
    assert_eq!(lines("tests/it/a.rs", "let a = \"nobody\"; // renewed, is, away"), [0; 0]);
    assert_eq!(lines("tests/env/a.sh", "echo nobody # whoever\n"), [1]);
    assert_eq!(lines("src/a.js", "f('nobody');\n/* a\n nobody */\n"), [3]);
    assert_eq!(lines("migrations/0011_a.sql", "-- nobody"), [0; 0]);
    assert_eq!(lines("migrations/0012_a.sql", "-- nobody"), [1]);
    assert_eq!(lines("CHANGELOG.md", "# Changes\n\n- nobody's\n\n## 0.1.0\n- nobody"), [3]);
}
