//! The house rules, read from the sources: which way the arrows go, how a file opens, how long it is, what it may be called.

use std::path::{Path, PathBuf};

const DOMAINS: [&str; 10] =
    ["regions", "catalog", "search", "session", "reviews", "mail", "cart", "payments", "auth", "telegram"];
const LONGEST_FILE_LINES: usize = 400;

struct File {
    /// Relative to the repository: `src/catalog/store.rs`.
    name: String,
    text: String,
}

impl File {
    /// The module at the top that the file belongs to: `catalog`, `net`, `error`.
    fn module(&self) -> &str {
        let inside = self.name.strip_prefix("src/").unwrap_or(&self.name);
        inside.split(['/', '.']).next().expect("it has a name")
    }

    /// `http`, `store`, `mod` …
    fn stem(&self) -> &str {
        let last = self.name.rsplit('/').next().expect("it has a name");
        last.strip_suffix(".rs").unwrap_or(last)
    }

    /// Every path that begins with `crate::`, in `use` lines with braces and in the code, as its segments; tests left out.
    fn arrows(&self) -> Vec<Vec<String>> {
        let code = self.text.split("#[cfg(test)]\nmod tests {").next().expect("there is a first part");
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code: String = lines.collect::<Vec<_>>().join(" ");
        let ends = |c: char| !(c.is_alphanumeric() || c == '_' || c == ':');
        let mut arrows = Vec::new();
        for after in code.split("crate::").skip(1) {
            let path: String = after.chars().take_while(|c| !ends(*c)).collect();
            let segments: Vec<String> = path.split("::").filter(|s| !s.is_empty()).map(str::to_owned).collect();
            let Some(list) = after.strip_prefix(path.as_str()).and_then(|rest| rest.strip_prefix('{')) else {
                arrows.push(segments);
                continue;
            };
            for name in list.split('}').next().unwrap_or_default().split(',') {
                let first = name.trim().split(ends).next().unwrap_or_default().split("::").map(str::to_owned);
                arrows.push(segments.iter().cloned().chain(first).collect());
            }
        }
        arrows
    }
}

fn files_under(directory: &str) -> Vec<File> {
    fn walk(directory: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).expect("the repository is here") {
            let path = entry.expect("readable").path();
            match path.is_dir() {
                true => walk(&path, into),
                false => into.push(path),
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    walk(&root.join(directory), &mut paths);
    let rust = paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let files = rust.map(|path| File {
        name: path.strip_prefix(root).expect("below it").to_str().expect("UTF-8").to_owned(),
        text: std::fs::read_to_string(&path).expect("readable"),
    });
    files.collect()
}

/// Why an arrow is forbidden, or `None`.
fn forbidden(file: &File, arrow: &[String]) -> Option<&'static str> {
    let from = file.module();
    let to = arrow.first().map_or("", String::as_str);
    let part = arrow.get(1).map_or("", String::as_str);
    let rank = |module: &str| DOMAINS.iter().position(|domain| *domain == module);
    let upper = ["routes", "serve", "door", "app", "brand", "workers"];
    match (rank(from), rank(to)) {
        (_, Some(_)) if part == "store" && from != to => Some("another domain's store"),
        (_, Some(_)) if part == "http" && !["routes"].contains(&from) => Some("handlers are called by routes alone"),
        (Some(from), Some(to)) if from < to => {
            Some("regions ← catalog ← search, session ← reviews; mail, cart ← payments ← auth ← telegram")
        }
        (None, Some(_)) if !["routes", "workers", "figures"].contains(&from) => {
            Some("foundation and net know no domain")
        }
        (Some(_), None)
            if ["routes", "serve", "door", "check", "admin", "workers", "reload", "systemd"].contains(&to) =>
        {
            Some("a domain knows nobody above it")
        }
        (None, None) if from == "net" && upper.contains(&to) => Some("net knows no brand and nobody above it"),
        (None, None) if to == "serve" && from != "door" => Some("requests come through a door"),
        (None, None) if to == "figures" && from != "admin" => Some("admin alone asks for these"),
        (None, None) if ["routes", "door", "workers"].contains(&to) => Some("bin alone starts these"),
        _ => None,
    }
}

#[test]
fn arrows_go_one_way() {
    let files: Vec<File> = files_under("src").into_iter().filter(|file| !file.name.starts_with("src/bin/")).collect();
    let mut seen = 0;
    for file in files.iter().filter(|file| file.name != "src/lib.rs") {
        for arrow in file.arrows() {
            seen += 1;
            let why = forbidden(file, &arrow);
            assert_eq!(why, None, "{} uses crate::{}", file.name, arrow.join("::"));
        }
    }
    assert!(seen > 100, "only {seen} arrows were found: are they written in another way now?");
}

#[test]
fn inside_a_domain_it_is_http_then_mod_then_store() {
    for file in files_under("src").iter().filter(|file| DOMAINS.contains(&file.module())) {
        let forbidden: &[&str] = match file.stem() {
            "http" => &["super::store", "tokio_postgres", "deadpool_postgres", "select "],
            "store" => &["super::http", "hyper", "crate::app", "net::reply"],
            _ => &["http::", "net::reply", "hyper"],
        };
        for words in forbidden {
            let code = file.text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let found = code
                .clone()
                .find(|line| line.contains(words) && !line.contains("pub mod") && !line.contains("https://"));
            // What a file says about URLs in its texts and tests is not an arrow.
            let found = found.filter(|line| !line.contains('"') || line.trim_start().starts_with("use "));
            assert_eq!(found, None, "{} has {words:?}", file.name);
        }
    }
}

#[test]
fn the_rule_finds_what_it_forbids() {
    let file = |name: &str, text: &str| File { name: name.to_owned(), text: text.to_owned() };
    for (name, line) in [
        ("src/net/reply.rs", "use crate::catalog::item::Item;"),
        ("src/db.rs", "use crate::{error::Error, regions};"),
        ("src/regions/mod.rs", "use crate::catalog::Key;"),
        ("src/catalog/mod.rs", "fn f() { crate::search::find() }"),
        ("src/search/mod.rs", "use crate::catalog::store::item;"),
        ("src/search/mod.rs", "use crate::catalog::{\n    item::Item,\n    store,\n};"),
        ("src/catalog/mod.rs", "use crate::regions::http::regions;"),
        ("src/net/tls.rs", "use crate::brand::Brand;"),
        ("src/catalog/mod.rs", "use crate::routes::routes;"),
    ] {
        let file = file(name, line);
        let caught = file.arrows().iter().any(|arrow| forbidden(&file, arrow).is_some());
        assert!(caught, "{name}: {line} is let through: {:?}", file.arrows());
    }
    let fine = file("src/search/mod.rs", "use crate::catalog::item::{self, Item};\nuse crate::error::{Error, Result};");
    assert_eq!(fine.arrows().iter().filter_map(|arrow| forbidden(&fine, arrow)).next(), None);
}

#[test]
fn every_file_opens_by_saying_what_it_is_for_and_is_short() {
    for file in [files_under("src"), files_under("tests")].into_iter().flatten() {
        let first = file.text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 8, "{} opens with {first:?}", file.name);
        let lines = file.text.lines().count();
        assert!(lines <= LONGEST_FILE_LINES, "{} has {lines} lines", file.name);
    }
}

#[test]
fn no_file_or_module_is_called_after_nothing() {
    for file in [files_under("src"), files_under("tests")].into_iter().flatten() {
        for nothing in ["util", "utils", "helper", "helpers", "common", "misc", "manager", "stuff", "new", "tmp"] {
            let named = file.name.split(['/', '.', '_']).any(|part| part == nothing);
            assert!(!named, "{} is called {nothing}", file.name);
        }
    }
}

#[test]
fn the_map_names_every_module() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = std::fs::read_to_string(root.join("src/lib.rs")).expect("it is there");
    let modules: Vec<&str> = map.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(modules.len() > 15, "{modules:?}");
    for module in modules {
        let named = map.lines().filter(|line| line.starts_with("//!"));
        let mut named =
            named.filter(|line| line.contains(&format!("[`{module}`]")) || line.contains(&format!("[`{module}::")));
        assert!(named.next().is_some(), "the map at the head of src/lib.rs does not name {module}");
    }
}
