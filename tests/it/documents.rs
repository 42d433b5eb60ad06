//! The documents (`*.md`): their links and the files and names that they mention exist.

use std::path::{Path, PathBuf};

use crate::prose;

/// Every document as its name, its folder and its text.
fn documents() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = prose::files().into_iter().filter(|name| name.ends_with(".md") && !name.starts_with("tests/data/"));
    let documents = names.map(|name| {
        let text = std::fs::read_to_string(root.join(&name)).expect("readable");
        let folder = root.join(&name).parent().expect("a file is in a folder").to_owned();
        (name, folder, text)
    });
    documents.collect()
}

/// Every `path` of a document, with the name behind it: `` `src/cart/mod.rs` `merge` `` is `("src/cart/mod.rs", Some("merge"))`.
fn references(text: &str) -> Vec<(&str, Option<&str>)> {
    let parts: Vec<&str> = text.split('`').collect();
    let is_path = |text: &str| {
        let (stem, extension) = text.rsplit_once('.').unwrap_or_default();
        stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-.".contains(&byte))
            && text.contains('/')
            && !text.starts_with(['/', '.'])
            && ["rs", "sql", "sh", "mjs", "json", "md"].contains(&extension)
    };
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let spans = (1..parts.len()).step_by(2).filter(|&at| is_path(parts[at]));
    let named = |at: usize| (parts.get(at + 1)?.trim().is_empty()).then(|| parts[at + 2]).filter(|name| is_name(name));
    spans.map(|at| (parts[at], named(at))).collect()
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn mentioned_files_and_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut problems, mut checked) = (Vec::new(), 0);
    for (document, folder, text) in documents() {
        for (path, name) in references(&text) {
            checked += 1;
            match [root, &folder].iter().find_map(|base| std::fs::read_to_string(base.join(path)).ok()) {
                None => problems.push(format!("{document}: there is no {path}")),
                Some(text) if name.is_some_and(|name| !text.contains(name)) => {
                    problems.push(format!("{document}: {path} has no {}", name.unwrap_or_default()));
                }
                Some(_) => {}
            }
        }
    }
    assert!(checked > 50, "only {checked} references were found");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn links_lead_to_files_and_headings() {
    let (mut problems, mut checked) = (Vec::new(), 0);
    for (document, folder, text) in documents() {
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            checked += 1;
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let linked = if path.is_empty() { Some(text.clone()) } else { linked_text(&folder.join(path)) };
            let has_heading = |text: &String| {
                let headings =
                    text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#'));
                fragment.is_empty() || headings.map(anchor).any(|anchor| anchor == fragment)
            };
            if !linked.as_ref().is_some_and(has_heading) {
                problems.push(format!("{document}: {target} leads nowhere"));
            }
        }
    }
    assert!(checked > 30, "only {checked} links were found");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The text of a linked file; empty for a folder or an image.
fn linked_text(path: &Path) -> Option<String> {
    path.exists().then(|| std::fs::read_to_string(path).unwrap_or_default())
}
