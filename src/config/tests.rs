//! Unit tests of reading brand files.

use std::os::unix::fs::PermissionsExt;

use super::reference::declared_sections;
use super::*;
use crate::foundation::fuzz::fuzz;

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

/// Runs `load_each` on a directory with these files; the brands only if no file has a problem.
fn load_files(test: &str, files: &[(&str, &str)]) -> Result<Vec<BrandConfig>, Vec<String>> {
    let directory = std::env::temp_dir().join(format!("brandgate-config-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
    for (name, text) in files {
        std::fs::write(directory.join(name), text).expect("just created");
    }
    let (brands, problems) = load_each(&directory, None);
    std::fs::remove_dir_all(&directory).expect("it is ours");
    let relative = |problem: &ConfigProblem| problem.to_string().replace(&format!("{}/", directory.display()), "");
    if problems.is_empty() { Ok(brands) } else { Err(problems.iter().map(relative).collect()) }
}

#[test]
fn absent_keys_have_defaults() {
    let brands = load_files("good", &[("dexar.toml", GOOD)]).expect("no problem");
    assert_eq!(brands[0].limits.body_bytes, 262_144);
    assert_eq!(brands[0].database.postgres.get_user(), Some("dexar"));
    assert_eq!(brands[0].host(), "api.dexarmarket.ru");
    let on_ipv6 = BrandConfig { public_url: "https://[::1]:445".to_owned(), ..brands[0].clone() };
    assert_eq!(on_ipv6.host(), "::1");
    assert!(!brands[0].is_local());
    assert_eq!(brands[0].warnings(&brands).len(), 1, "localhost is an origin of a brand whose public URL is not local");
}

#[test]
fn every_problem_is_reported_with_its_line() {
    let bad = GOOD
        .replace("title = \"Dexar\"\n", "titel = \"Dexar\"\n")
        .replace("[::1]:445", "localhost")
        .replace("http://localhost:4200", "http://localhost:4200/")
        .replace("%2Frun%2Fpostgresql/brandgate", "novo:secret@%2Frun%2Fpostgresql/brandgate")
        + "[limits]\nbody_bytes = 12\nbody_byte = 1\n";
    let problems = load_files("bad", &[("dexar.toml", &bad)]).expect_err("eight problems");
    let wanted = [
        ("dexar.toml: title is missing", 0),
        ("dexar.toml:3: unknown key titel", 3),
        ("dexar.toml:4: listen: localhost is not an address", 4),
        ("dexar.toml:7: origins: http://localhost:4200/ is not an origin", 7),
        ("dexar.toml:14: database.url: contains a password", 14),
        ("dexar.toml:14: database.url: the user is always the brand's own role", 14),
        ("dexar.toml:19: limits.body_bytes: expected a whole number from 1024", 19),
        ("dexar.toml:20: unknown key limits.body_byte", 20),
    ];
    for (start, _) in wanted {
        assert!(problems.iter().any(|problem| problem.starts_with(start)), "{start} is not in {problems:#?}");
    }
    assert_eq!(problems.len(), wanted.len(), "{problems:#?}");
}

#[test]
fn syntax_errors_are_reported_with_their_line_among_other_problems() {
    let problems = load_files("broken", &[("dexar.toml", &GOOD.replace("title = \"Dexar\"", "title = "))]);
    let problems = problems.expect_err("a key without a value");
    assert!(problems.iter().any(|problem| problem.starts_with("dexar.toml:3:")), "{problems:#?}");
}

#[test]
fn two_brands_cannot_share_an_address() {
    let problems = load_files(
        "clash",
        &[("dexar.toml", GOOD), ("novo.toml", &GOOD.replace("name = \"dexar\"", "name = \"novo\""))],
    );
    assert_eq!(
        problems.expect_err("the same addresses"),
        ["127.0.0.1:445", "[::1]:445"].map(|a| format!("novo.toml: listen: {a} is already used by dexar"))
    );
}

#[test]
fn the_name_must_match_the_file() {
    for (name, start) in
        [("novo", "is novo, so the file"), ("pg_dexar", "pg_dexar is reserved by PostgreSQL"), ("Dexar", "expected")]
    {
        let text = GOOD.replace("name = \"dexar\"", &format!("name = \"{name}\""));
        let problems = load_files(&format!("name-{name}"), &[("dexar.toml", &text)]).expect_err("a wrong name");
        assert!(problems[0].starts_with(&format!("dexar.toml:2: name: {start}")), "{problems:#?}");
    }
}

#[test]
fn every_setting_has_a_help_text_and_a_default_within_its_range() {
    let sections = declared_sections();
    let names: Vec<&str> = sections.iter().map(|section| section.name).collect();
    for name in ["", "tls", "database", "telegram", "mail", "payments", "bank", "fiscal"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    for section in &sections {
        assert!(section.help.ends_with('.'), "{section:?}");
        for setting in &section.settings {
            assert!(setting.help.ends_with('.') && !setting.help.contains('|'), "{setting:?}");
            let range =
                setting.values.split_once(" to ").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
            let default = setting.default.as_ref().and_then(|default| default.parse::<u32>().ok());
            if let (Some((from, to)), Some(default)) = (range, default) {
                assert!((from..=to).contains(&default), "{setting:?}");
            }
        }
    }
}

#[test]
fn fuzz_brand_files() {
    let sections = "[limits]\nbody_bytes = 0x1_0000\nconnections = 10\n[timeouts]\nrequest_ms = 5000\n\
                    [proxy_protocol]\ntrusted = [\"10.0.0.0/8\"]\n[payments]\nrounding = \"rouble\"\n\
                    [mail]\nhost = \"smtp.example\"\nfrom = \"Shop <shop@dexar.example>\"\n";
    let seeds = [GOOD.to_owned(), format!("{GOOD}{sections}")];
    let words = [
        "\n[",
        "]",
        " = ",
        "\"",
        "\"\"\"",
        "'",
        "true",
        "1979-05-27",
        "inf",
        "https://",
        "postgresql://",
        "[::1]:445",
        "dexar",
        "novo",
        "tls.",
        "\\n",
        "\\u0007",
        "#",
        "limits",
        "password",
        "dexar.bank-key",
    ];
    let outcomes = fuzz(&seeds, &words, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return "not UTF-8".to_owned() };
        match parse(Path::new("dexar.toml"), text.to_owned(), None) {
            (Some(brand), problems) if problems.is_empty() => {
                assert_eq!(brand.name, "dexar");
                assert!(!brand.listen.is_empty() && brand.limits.connections > brand.listen.len());
                assert!((1_024..=1 << 30).contains(&brand.limits.body_bytes), "{}", brand.limits.body_bytes);
                assert!(brand.origins.iter().all(|origin| is_origin(origin)), "{:?}", brand.origins);
                assert!(!brand.host().is_empty() && !brand.title.is_empty());
                "accepted".to_owned()
            }
            (_, problems) => {
                let lines = text.split('\n').count();
                assert!(!problems.is_empty() && problems.is_sorted_by_key(|problem| problem.line));
                for problem in &problems {
                    assert!(problem.line <= lines, "line {} of {lines}: {problem}", problem.line);
                    // Each problem is one line of the log.
                    assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
                }
                "refused".to_owned()
            }
        }
    });
    outcomes.assert_seen(&["accepted", "refused"]);
}

#[test]
fn what_is_not_encrypted_stays_on_this_machine() {
    let with_telegram = |lines: &str| {
        let directory = std::env::temp_dir().join(format!("brandgate-urls-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let token = directory.join("token");
        std::fs::write(&token, "1:A").expect("just created");
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
        let text = format!("{GOOD}[telegram]\nbot = \"b\"\ntoken = \"{}\"\n{lines}\n", token.display());
        load_files("urls", &[("dexar.toml", &text)])
    };
    for lines in [
        "api_url = \"https://api.example\"",
        "api_url = \"http://127.0.0.1:8081\"\nlink_url = \"http://localhost:4210/telegram\"",
        "api_url = \"http://[::1]:8081\"",
        "proxy = \"https://proxy.example:443\"",
        "proxy = \"socks5://localhost:1080\"",
        "proxy = \"http://127.0.0.2:3128\"",
    ] {
        with_telegram(lines).unwrap_or_else(|problems| panic!("{lines}: {problems:?}"));
    }
    for lines in [
        "api_url = \"http://api.example\"",
        "api_url = \"http://127.0.0.1.evil.example\"",
        "api_url = \"ftp://localhost\"",
        "link_url = \"http://10.0.0.1\"",
        "proxy = \"http://proxy.example:3128\"",
        "proxy = \"socks5://10.0.0.5:1080\"",
        "proxy = \"ftp://localhost\"",
    ] {
        let problems = with_telegram(lines).expect_err(lines);
        assert!(problems.len() == 1 && problems[0].contains("expected https"), "{lines}: {problems:?}");
    }
}

#[test]
fn an_unknown_time_zone_is_a_problem() {
    let text = |zone: &str| GOOD.replacen("title =", &format!("timezone = \"{zone}\"\ntitle ="), 1);
    load_files("zone", &[("dexar.toml", &text("Asia/Yerevan"))]).expect("a known zone");
    let problems = load_files("zone", &[("dexar.toml", &text("Moscow"))]).expect_err("an unknown zone");
    let bundled = jiff::tz::TimeZoneDatabase::bundled();
    bundled.get("Europe/Moscow").expect("the copy in the program");
    assert!(problems[0].contains("timezone: there is no time zone Moscow"), "{problems:?}");
}
