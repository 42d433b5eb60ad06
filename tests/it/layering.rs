//! The layers, checked in the sources: the direction of imports, cycles between files, and the length and names of files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// From the lowest to the highest. A file may import from lower layers and from its own folder.
const LAYERS: [&[&str]; 11] = [
    &["foundation"],
    &["config"],
    &["platform"],
    &["telemetry", "http"],
    &["tenant"],
    &DOMAINS,
    &["openapi"],
    &["routes", "workers", "collector"],
    &["server"],
    &["check"],
    &["bin"],
];
/// From the lowest to the highest. A domain may import from lower domains.
const DOMAINS: [&str; 12] = [
    "regions", "catalog", "search", "session", "reviews", "mail", "cart", "payments", "auth", "telegram", "person",
    "books",
];
const MAX_FILE_LINES: usize = 400;

pub(crate) struct File {
    /// Relative to the repository: `src/catalog/store.rs`.
    pub name: String,
    pub text: String,
}

impl File {
    fn new(name: &str, text: &str) -> File {
        File { name: name.to_owned(), text: text.to_owned() }
    }

    /// The first folder or file below `src`: `catalog`, `http`, `routes`.
    fn folder(&self) -> &str {
        let below = self.name.strip_prefix("src/").unwrap_or(&self.name);
        below.split(['/', '.']).next().expect("split yields at least one part")
    }

    /// `http`, `store`, `mod` …
    fn stem(&self) -> &str {
        let last = self.name.rsplit('/').next().expect("split yields at least one part");
        last.strip_suffix(".rs").unwrap_or(last)
    }

    /// The crate root's folder and the module path below it: `("src", ["catalog", "store"])`.
    fn module(&self) -> (String, Vec<String>) {
        let parts: Vec<&str> = self.name.strip_suffix(".rs").unwrap_or(&self.name).split('/').collect();
        let root = if parts.get(1) == Some(&"bin") { 3 } else { 1 };
        let mut path: Vec<String> = parts[root.min(parts.len())..].iter().map(|&part| part.to_owned()).collect();
        if matches!(path.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            path.pop();
        }
        (parts[..root.min(parts.len())].join("/"), path)
    }

    /// The code without comments and unit tests.
    fn code(&self) -> String {
        let code = self.text.split("#[cfg(test)]\nmod tests {").next().expect("split yields at least one part");
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// All `crate::…` and `super::…` paths of the code, as segments from the crate's root. Lists in braces are expanded.
    fn imports(&self) -> Vec<Vec<String>> {
        let (_, module) = self.module();
        let code = self.code();
        let mut imports = Vec::new();
        for (start, keyword) in code.match_indices("crate::").chain(code.match_indices("super::")) {
            let before = code[..start].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            for mut path in paths(&code[start..]) {
                let mut base = if keyword == "crate::" { Vec::new() } else { module.clone() };
                while path.first().is_some_and(|first| first == "super" || first == "crate") {
                    if path.remove(0) == "super" {
                        base.pop();
                    }
                }
                base.extend(path);
                imports.push(base);
            }
        }
        imports
    }
}

/// The paths at the start of a text: `a::{b, c::{d, e}}` is `a::b`, `a::c::d` and `a::c::e`.
fn paths(text: &str) -> Vec<Vec<String>> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let prefix: Vec<String> = text[..end].split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let Some(list) = text[end..].strip_prefix('{').filter(|_| text[..end].ends_with("::")) else {
        return vec![prefix];
    };
    let (mut depth, mut start, mut found) = (0_usize, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                let item = list[start..at].trim_start();
                found.extend(paths(item).into_iter().filter(|path| !path.is_empty()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found.into_iter().map(|path| prefix.iter().cloned().chain(path).collect()).collect()
}

pub(crate) fn files_under(directory: &str, extension: &str) -> Vec<File> {
    fn walk(directory: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).expect("the repository") {
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
    let wanted = paths.into_iter().filter(|path| path.extension().is_some_and(|found| found == extension));
    let files = wanted.map(|path| File {
        name: path.strip_prefix(root).expect("below it").to_str().expect("UTF-8").to_owned(),
        text: std::fs::read_to_string(&path).expect("readable"),
    });
    files.collect()
}

fn layer(folder: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&folder))
}

fn domain(folder: &str) -> Option<usize> {
    DOMAINS.iter().position(|domain| *domain == folder)
}

/// Why an import is forbidden; `None` if it is allowed.
fn forbidden(file: &File, import: &[String]) -> Option<String> {
    let (from, to) = (file.folder(), import.first().map_or("", String::as_str));
    let part = import.get(1).map_or("", String::as_str);
    if from == to || from == "lib" {
        return None;
    }
    let (from_layer, to_layer) = (layer(from), layer(to));
    if from_layer.is_none() || to_layer.is_none() {
        return Some(format!("{from} or {to} has no layer: add it to LAYERS"));
    }
    match (domain(from), domain(to)) {
        (_, Some(_)) if part == "store" => Some("the store of another domain".to_owned()),
        (_, Some(_)) if part == "http" && from != "routes" => Some("only routes.rs names handlers".to_owned()),
        (Some(from), Some(to)) if from < to => Some(format!("domains import only from: {DOMAINS:?}, left of them")),
        (Some(_), Some(_)) => None,
        _ if from_layer <= to_layer => Some(format!("{to} is not below {from}")),
        _ => None,
    }
}

#[test]
fn imports_go_down_the_layers() {
    let files: Vec<File> =
        files_under("src", "rs").into_iter().filter(|file| !file.name.starts_with("src/bin/")).collect();
    let mut seen = 0;
    let mut errors = Vec::new();
    for file in &files {
        for import in file.imports() {
            seen += 1;
            if let Some(why) = forbidden(file, &import) {
                errors.push(format!("{} imports {}: {why}", file.name, import.join("::")));
            }
        }
    }
    assert_eq!(errors, Vec::<String>::new());
    assert!(seen > 500, "only {seen} imports were found: are they written in another way now?");
}

#[test]
fn domain_imports_go_from_http_to_mod_to_store() {
    for file in files_under("src", "rs").iter().filter(|file| DOMAINS.contains(&file.folder())) {
        let forbidden: &[&str] = match file.stem() {
            "http" => &["super::store", "tokio_postgres", "deadpool_postgres", "select "],
            "store" => &["super::http", "hyper", "crate::tenant::context", "http::response"],
            _ => &["hyper", "http::response", "http::cached_response", "super::http"],
        };
        for words in forbidden {
            let code = file.code();
            let mut lines = code.lines().filter(|line| line.contains(words) && !line.contains("https://"));
            // A URL in a text is not an import.
            let found = lines.find(|line| !line.contains('"') || line.trim_start().starts_with("use "));
            assert_eq!(found, None, "{} has {words:?}", file.name);
        }
    }
}

/// The file of the longest module path that is a prefix of `import`.
fn resolve(modules: &BTreeMap<(String, Vec<String>), String>, root: &str, import: &[String]) -> Option<String> {
    let mut lengths = (1..=import.len()).rev();
    lengths.find_map(|length| modules.get(&(root.to_owned(), import[..length].to_vec())).cloned())
}

/// Whether `parent` is the module file of a folder that contains `file`.
fn is_module_of(parent: &File, file: &File) -> bool {
    let ((root, above), (other_root, path)) = (parent.module(), file.module());
    root == other_root && path.len() > above.len() && path.starts_with(&above)
}

/// A cycle of imports, as the names of its files. A module file and the files in its folder may import each other.
fn cycle(files: &[File]) -> Option<Vec<String>> {
    let modules: BTreeMap<_, _> = files.iter().map(|file| (file.module(), file.name.clone())).collect();
    let by_name: BTreeMap<&str, &File> = files.iter().map(|file| (file.name.as_str(), file)).collect();
    let mut imports: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in files {
        let (root, _) = file.module();
        let targets: Vec<String> = match file.name.ends_with(".js") {
            true => scripts(file),
            false => file.imports().iter().filter_map(|import| resolve(&modules, &root, import)).collect(),
        };
        for target in targets {
            let Some((&target, other)) = by_name.get_key_value(target.as_str()) else { continue };
            if target != file.name && !is_module_of(other, file) && !is_module_of(file, other) {
                imports.entry(file.name.as_str()).or_default().push(target);
            }
        }
    }
    let mut done = Vec::new();
    by_name.keys().find_map(|start| walk(start, &imports, &mut Vec::new(), &mut done))
}

fn walk<'a>(
    name: &'a str,
    imports: &BTreeMap<&'a str, Vec<&'a str>>,
    path: &mut Vec<&'a str>,
    done: &mut Vec<&'a str>,
) -> Option<Vec<String>> {
    if let Some(at) = path.iter().position(|seen| *seen == name) {
        return Some(path[at..].iter().map(|&name| name.to_owned()).collect());
    }
    if done.contains(&name) {
        return None;
    }
    path.push(name);
    let found = imports.get(name).into_iter().flatten().find_map(|next| walk(next, imports, path, done));
    path.pop();
    done.push(name);
    found
}

/// The files that a script imports.
fn scripts(file: &File) -> Vec<String> {
    let folder = file.name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let names =
        file.text.lines().filter_map(|line| line.strip_prefix("import ")?.split("'./").nth(1)?.split('\'').next());
    names.map(|name| format!("{folder}/{name}")).collect()
}

#[test]
fn no_imports_form_a_cycle() {
    let files: Vec<File> = files_under("src", "rs").into_iter().chain(files_under("src", "js")).collect();
    assert_eq!(cycle(&files), None);
}

#[test]
fn forbidden_imports_are_found() {
    for (name, line) in [
        ("src/http/response.rs", "use crate::catalog::item::Item;"),
        ("src/platform/postgres.rs", "use crate::{config::Config, tenant};"),
        ("src/telemetry/traces.rs", "use crate::http::cors;"),
        ("src/regions/mod.rs", "use crate::catalog::Key;"),
        ("src/catalog/mod.rs", "fn f() { crate::search::find() }"),
        ("src/search/mod.rs", "use crate::catalog::store::item;"),
        ("src/search/mod.rs", "use crate::catalog::{\n    item::Item,\n    store,\n};"),
        ("src/catalog/mod.rs", "use crate::regions::http::regions;"),
        ("src/catalog/mod.rs", "use crate::{config::{BrandConfig, Limits}, routes::routes};"),
        ("src/platform/redis.rs", "use super::super::tenant::brand::Brand;"),
    ] {
        let file = File::new(name, line);
        let is_found = file.imports().iter().any(|import| forbidden(&file, import).is_some());
        assert!(is_found, "{name}: {line} is allowed: {:?}", file.imports());
    }
    let fine = File::new(
        "src/search/mod.rs",
        "use crate::catalog::item::{self, Item};\nuse crate::foundation::error::{Error, Result};",
    );
    assert_eq!(fine.imports().iter().find_map(|import| forbidden(&fine, import)), None);
}

#[test]
fn cycles_are_found() {
    let module = File::new("src/a/mod.rs", "mod b;\nmod c;\nuse b::B;");
    let (b, c) = (File::new("src/a/b.rs", "use super::{A, c::C};"), File::new("src/a/c.rs", "use crate::a::b::B;"));
    assert_eq!(cycle(&[module, b, c]).as_deref(), Some(&["src/a/b.rs".to_owned(), "src/a/c.rs".to_owned()][..]));
    let module = File::new("src/a/mod.rs", "mod b;\nuse b::B;");
    assert_eq!(cycle(&[module, File::new("src/a/b.rs", "use super::A;")]), None);
    let (one, two) =
        (File::new("s/one.js", "import { a } from './two.js';"), File::new("s/two.js", "import './one.js';"));
    assert!(cycle(&[one, two]).is_some());
}

#[test]
fn files_start_with_a_summary_and_are_short() {
    for file in [files_under("src", "rs"), files_under("tests", "rs")].into_iter().flatten() {
        let first = file.text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 8, "{} starts with {first:?}", file.name);
        let lines = file.text.lines().count();
        assert!(lines <= MAX_FILE_LINES, "{} has {lines} lines", file.name);
    }
}

#[test]
fn no_file_or_module_has_a_vague_name() {
    for file in [files_under("src", "rs"), files_under("tests", "rs")].into_iter().flatten() {
        for vague in ["util", "utils", "helper", "helpers", "common", "misc", "manager", "stuff", "new", "tmp"] {
            let named = file.name.split(['/', '.', '_']).any(|part| part == vague);
            assert!(!named, "{} contains {vague}", file.name);
        }
    }
}

#[test]
fn overview_in_lib_rs_names_every_module() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let overview = std::fs::read_to_string(root.join("src/lib.rs")).expect("it is there");
    let modules: Vec<&str> = overview.lines().filter_map(|line| line.split_once("mod ")?.1.strip_suffix(';')).collect();
    assert!(modules.len() > 15, "{modules:?}");
    for module in modules {
        let named = overview.lines().filter(|line| line.starts_with("//!"));
        let mut named =
            named.filter(|line| line.contains(&format!("[`{module}`]")) || line.contains(&format!("[`{module}::")));
        assert!(named.next().is_some(), "the overview in src/lib.rs does not name {module}");
    }
}
