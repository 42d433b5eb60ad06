//! The configuration reference (`brands/README.md`), rendered from the settings that the readers declare.

use std::fmt::Write;
use std::path::Path;

use toml::de::DeTable;

use super::document::{Document, SectionSettings, Setting};
use super::general::read_brand;

const INTRODUCTION: &str = "\
# Configuration reference

A brand is one file, `brands/NAME.toml`. This page lists every key with its default; `dexar.toml` and
`novo.toml` set only what a shop decides. It is generated from the configuration code: `make reference` writes it again, and a
test fails when it is out of date.

- `brandgate check` reports every problem of every file with its line. An unknown key is an error.
- `systemctl reload brandgate brandgate-work` applies changes brand by brand, without closing a connection: a valid file is applied as a
  whole, a brand whose file has an error keeps its configuration, and the command then fails. Open connections keep the TLS settings and
  timeouts that they started with. A reload logs a warning for a change that needs a restart and applies the rest.
- A secret is never written in this file. The value is the name of a credential (a file of that name in `$CREDENTIALS_DIRECTORY`, which
  begins with the brand's name) or the absolute path of a file that only its owner may read (mode 0600). Under systemd, secrets are
  handed over at start, so a changed secret always needs a restart.
- A key with the default \"not set\" may be left out and then has no effect.
";

/// The whole page as Markdown.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in declared_sections() {
        render(&mut page, &section).expect("writing to a string does not fail");
    }
    page
}

/// Every section with its settings; the keys above all sections first.
pub(super) fn declared_sections() -> Vec<SectionSettings> {
    let document = Document::for_reference();
    read_brand(Path::new("dexar.toml"), &document, &DeTable::new(), None);
    document.into_sections()
}

fn render(page: &mut String, section: &SectionSettings) -> std::fmt::Result {
    match section.name {
        "" => writeln!(page, "\n## Keys above all sections\n\n{}\n", section.help)?,
        name => writeln!(page, "\n## `[{name}]`\n\n{}\n", section.help)?,
    }
    writeln!(page, "| Key | Type | Default | Values | Applied by | Description |\n|---|---|---|---|---|---|")?;
    for Setting { key, help, kind, default, values, needs_restart } in &section.settings {
        let default = match default.as_deref() {
            None => "required".to_owned(),
            Some("") => "not set".to_owned(),
            Some(value) if value.starts_with(['"', '[']) => format!("`{value}`"),
            Some(value) => value.to_owned(),
        };
        let applied_by = if *needs_restart { "restart" } else { "reload" };
        writeln!(page, "| `{key}` | {kind} | {default} | {values} | {applied_by} | {help} |")?;
    }
    Ok(())
}
