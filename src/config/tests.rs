//! The brands' files as a sysadmin may write them.

use super::*;

const GOOD: &str = r#"
name = "dexar"
title = "Dexar"
listen = ["127.0.0.1:445", "[::1]:445"]
public_url = "https://api.dexarmarket.ru:445"
storefront_url = "https://dexarmarket.ru"
origins = ["https://dexarmarket.ru", "http://localhost:4200"]

[tls]
certificate = "/etc/brandgate/certs/dexar/fullchain.pem"
key = "/etc/brandgate/certs/dexar/privkey.pem"

[database]
url = "postgresql://%2Frun%2Fpostgresql/brandgate"

[redis]
url = "unix:///run/redis/redis-server.sock"
"#;

/// Runs `load_each` over a directory with these files; brands only where no file has a fault.
fn load_files(test: &str, files: &[(&str, &str)]) -> Result<Vec<BrandConfig>, Vec<String>> {
    let directory = std::env::temp_dir().join(format!("brandgate-config-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
    for (name, text) in files {
        std::fs::write(directory.join(name), text).expect("just created");
    }
    let (brands, faults) = load_each(&directory, None);
    std::fs::remove_dir_all(&directory).expect("it is ours");
    let relative = |fault: &ConfigProblem| fault.to_string().replace(&format!("{}/", directory.display()), "");
    if faults.is_empty() { Ok(brands) } else { Err(faults.iter().map(relative).collect()) }
}

#[test]
fn a_good_file_has_defaults_for_the_rest() {
    let brands = load_files("good", &[("dexar.toml", GOOD)]).expect("no fault");
    assert_eq!(brands[0].limits.body_bytes, 262_144);
    assert_eq!(brands[0].database.postgres.get_user(), Some("dexar"));
    assert_eq!(brands[0].host(), "api.dexarmarket.ru");
    let on_ipv6 = BrandConfig { public_url: "https://[::1]:445".to_owned(), ..brands[0].clone() };
    assert_eq!(on_ipv6.host(), "::1");
    assert!(!brands[0].is_local());
    assert_eq!(brands[0].warnings(&brands).len(), 1, "localhost is an origin of a brand that is not local");
}

#[test]
fn every_fault_is_told_at_once_with_its_line() {
    let bad = GOOD
        .replace("title = \"Dexar\"\n", "titel = \"Dexar\"\n")
        .replace("[::1]:445", "localhost")
        .replace("http://localhost:4200", "http://localhost:4200/")
        .replace("%2Frun%2Fpostgresql/brandgate", "novo:secret@%2Frun%2Fpostgresql/brandgate")
        + "[limits]\nbody_bytes = 12\nbody_byte = 1\n";
    let faults = load_files("bad", &[("dexar.toml", &bad)]).expect_err("six faults");
    let wanted = [
        ("dexar.toml: title is missing", 0),
        ("dexar.toml:3: unknown key titel", 3),
        ("dexar.toml:4: listen: localhost is no address", 4),
        ("dexar.toml:7: origins: http://localhost:4200/ is no origin", 7),
        ("dexar.toml:14: database.url: a password does not belong in this file", 14),
        ("dexar.toml:14: database.url: the user is always the brand's own role", 14),
        ("dexar.toml:19: limits.body_bytes: expected a whole number from 1024", 19),
        ("dexar.toml:20: unknown key limits.body_byte", 20),
    ];
    for (start, _) in wanted {
        assert!(faults.iter().any(|fault| fault.starts_with(start)), "{start} is not in {faults:#?}");
    }
    assert_eq!(faults.len(), wanted.len(), "{faults:#?}");
}

#[test]
fn broken_toml_is_told_with_its_line_beside_the_other_faults() {
    let faults = load_files("broken", &[("dexar.toml", &GOOD.replace("title = \"Dexar\"", "title = "))]);
    let faults = faults.expect_err("no value");
    assert!(faults.iter().any(|fault| fault.starts_with("dexar.toml:3:")), "{faults:#?}");
}

#[test]
fn two_brands_cannot_share_an_address() {
    let faults = load_files(
        "clash",
        &[("dexar.toml", GOOD), ("novo.toml", &GOOD.replace("name = \"dexar\"", "name = \"novo\""))],
    );
    assert_eq!(
        faults.expect_err("the same addresses"),
        ["127.0.0.1:445", "[::1]:445"].map(|a| format!("novo.toml: listen: {a} belongs to dexar already"))
    );
}

#[test]
fn the_name_is_the_files_own() {
    for (name, start) in
        [("novo", "is novo, so the file"), ("pg_dexar", "pg_dexar is PostgreSQL's"), ("Dexar", "expected")]
    {
        let text = GOOD.replace("name = \"dexar\"", &format!("name = \"{name}\""));
        let faults = load_files(&format!("name-{name}"), &[("dexar.toml", &text)]).expect_err("a wrong name");
        assert!(faults[0].starts_with(&format!("dexar.toml:2: name: {start}")), "{faults:#?}");
    }
}
