//! Error messages of the commands: what was not found, where, and the remedy.

use crate::check::line;
use crate::harness::{Services, Site};

/// Runs a command that must fail; returns the line of its output that contains all of these words.
#[track_caller]
fn error_line(site: &Site, arguments: &[&str], status: i32, words: &[&str]) -> String {
    let output = site.run(arguments).failure(status);
    let line = output.lines().find(|line| words.iter().all(|word| line.contains(word)));
    line.unwrap_or_else(|| panic!("{arguments:?}: no line with {words:?} in\n{output}")).to_owned()
}

#[test]
fn an_unreachable_server_is_reported_with_its_address_and_the_remedy() {
    let mut site = Site::new(&["dexar"]);
    let good = site.brand("dexar").clone();
    let mut with = |database: &str, redis: &str| {
        site.change_brand("dexar", |brand| (brand.database_url, brand.redis_url) = (database.into(), redis.into()));
        site.run(&["check"]).failure(1)
    };
    let output = with("postgresql://127.0.0.1:1/shop", "redis://127.0.0.1:1");
    for (subject, place) in [("postgresql", "PostgreSQL at 127.0.0.1:1 cannot"), ("redis", "Redis at 127.0.0.1:1:")] {
        let found = line(&output, "dexar", subject);
        assert!(
            found.contains(place) && found.contains("see that it runs") && found.contains(" url is right"),
            "{found}"
        );
        assert_eq!(found.matches("onnection refused").count(), 1, "{found}");
    }
    let output = with("postgresql://%2Fnowhere/shop", "unix:///nowhere/redis.sock");
    assert!(line(&output, "dexar", "postgresql").contains("/nowhere/.s.PGSQL.5432"), "{output}");
    assert!(line(&output, "dexar", "redis").contains("/nowhere/redis.sock"), "{output}");
    let nowhere = good.database_url.replace(&site.database, "nowhere");
    site.change_brand("dexar", |brand| (brand.database_url, brand.redis_url) = (nowhere, good.redis_url.clone()));
    let output = site.run(&["check"]).failure(1);
    assert!(line(&output, "dexar", "postgresql").contains("has no database nowhere: create it"), "{output}");

    site.change_brand("dexar", |brand| *brand = good.clone());
    site.directory.write("credentials/dexar.database-password", "another");
    let output = site.run(&["check"]).failure(1);
    let found = line(&output, "dexar", "postgresql");
    assert!(found.contains("rejects the login of dexar") && found.contains("brandgate migrate --admin-url"), "{found}");
}

#[test]
fn commands_fail_at_once_while_postgresql_is_unavailable() {
    let services = Services::dedicated("sentences");
    let site = Site::on(services.clone(), &["dexar"]);
    site.migrate().success();
    services.stop("pg");
    for arguments in [&["payments", "list"][..], &["outbox", "list"], &["reviews", "list"], &["catalog", "export"]] {
        let arguments = [arguments, &["--brand", "dexar"]].concat();
        error_line(&site, &arguments, 1, &["brandgate: dexar: PostgreSQL at ", "cannot be reached"]);
    }
    let ended = site.run(&["migrate"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""), "no SQL for an administrator: {ended:#?}");
    assert!(ended.stderr.contains("cannot be reached"), "{ended:#?}");
    let admin_url = services.admin_url(&site.database);
    error_line(&site, &["migrate", "--admin-url", &admin_url], 1, &["PostgreSQL at ", "that --admin-url is right"]);
}

#[test]
fn a_missing_role_is_reported_with_the_sql_for_an_administrator() {
    let site = Site::unmigrated(&["no_such_role"]);
    let ended = site.run(&["migrate"]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    assert!(
        ended.stderr.contains("rejects the login of no_such_role") && ended.stdout.starts_with("begin;"),
        "{ended:#?}"
    );
}

#[test]
fn an_invalid_argument_is_reported_with_the_expected_form() {
    let site = Site::new(&["dexar"]);
    let brand = ["--brand", "dexar"];
    for (arguments, words) in [
        (&["payments", "refund", "1", "--amount", "-5"][..], "expected roubles, more than 0"),
        (&["payments", "refund", "1", "--amount", "0.001"], "at most two decimals"),
        (&["payments", "settle", "x", "--note", "x"], "the number that `payments list` shows"),
        (&["reviews", "hide", "x"], "the number that `reviews list` shows"),
        (&["reviews", "show", "-1"], "the number that `reviews list` shows"),
        (&["reviews", "list", "--count", "0"], "0 is not in 1..=1000000"),
    ] {
        error_line(&site, &[arguments, &brand].concat(), 2, &[words]);
    }
    for command in [&["show"][..], &["retry"], &["settle", "--note", "x"]] {
        let arguments = [&["payments"], command, &["999", "--brand", "dexar"]].concat();
        error_line(&site, &arguments, 1, &["dexar: There is no such payment."]);
    }
    error_line(&site, &["migrate", "--admin-url", "nonsense"], 1, &["--admin-url: expected postgresql://user@host"]);
    error_line(&site, &["check", "--brands", "/nowhere"], 2, &["/nowhere: failed to read", "--brands"]);
}

#[test]
fn an_invalid_value_is_reported_once_with_the_expected_form() {
    let site = Site::unmigrated(&["dexar"]);
    let good = site.brand("dexar").toml();
    let (database, redis) = (&site.brand("dexar").database_url, &site.brand("dexar").redis_url);
    let problems_of = |bad: String| {
        site.directory.write("brands/dexar.toml", bad);
        let output = site.run(&["check", "--offline"]).failure(2);
        output.lines().filter(|line| !line.starts_with("brandgate: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    for (from, to, words) in [
        (database.as_str(), "mysql:", "database.url: expected postgresql://host:port/database"),
        (database, "postgresql://%2Frun%2Fpostgresql", "database.url: names no database; for example postgresql://"),
        (redis, "redis:", "redis.url: expected redis://host:port, or unix://"),
        (
            database,
            "postgresql://127.0.0.1/shop?sslmode=allow",
            "database.url: sslmode: expected disable, prefer, require",
        ),
        (redis, "redis+sentinel://127.0.0.1", "redis.url: expected redis://host:port, or unix://"),
        ("name = \"dexar\"", "name = \"The Brand\"", "name: expected a lower-case letter"),
        ("\"dexar.database-password\"", "\"hunter2\"", "database.password: expected the name of a credential"),
        ("\"dexar.database-password\"", "\"hunter/2\"", "that begins with dexar., or the absolute path"),
        (
            "origins = [",
            "origins = [\"https://dexarmarket.ru:443\", ",
            "origins: browsers omit the default port :443; write https://dexarmarket.ru",
        ),
        ("name = \"dexar\"", "naem = \"dexar\"", "unknown key naem; did you mean name?"),
        ("[limits]", "[limit]", "unknown key limit; did you mean limits?"),
        ("[limits]", "[limits]\nx = 1", "unknown key limits.x; known keys: connections, requests,"),
        ("[limits]", "[elsewhere]\n[limits]", "unknown key elsewhere; known keys: name, listen, "),
    ] {
        let problems = problems_of(good.replacen(from, to, 1));
        assert!(problems[problems.len() - 1].contains(words), "{problems:#?}");
        assert!(
            !problems.iter().any(|problem| problem.contains("hunter")),
            "the value may be the secret itself: {problems:#?}"
        );
        let known: Vec<&str> = words.split_once("known keys").map_or(Vec::new(), |_| {
            problems[0].rsplit("known keys: ").next().unwrap_or_default().split(", ").collect()
        });
        let mut once = known.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), known.len(), "no key is listed twice: {known:?}");
        // The mistyped key leaves `name` missing too.
        assert_eq!(problems.len(), if to.starts_with("naem") { 2 } else { 1 }, "{problems:#?}");
    }
}

#[test]
fn a_missing_secret_or_certificate_is_reported_with_the_remedy() {
    let mut site = Site::unmigrated(&["dexar"]);
    let missing = site.directory.path().join("nowhere.pem");
    let certificate = site.brand("dexar").certificate.clone();
    site.change_brand("dexar", |brand| brand.certificate.clone_from(&missing));
    let output = site.run(&["check", "--offline"]).failure(1);
    assert!(line(&output, "dexar", "certificate").contains("there is no certificate"), "{output}");
    site.change_brand("dexar", |brand| (brand.certificate, brand.key) = (certificate.clone(), certificate));
    let output = site.run(&["check", "--offline"]).failure(1);
    assert!(line(&output, "dexar", "certificate").ends_with("holds no private key"), "{output}");

    let secret = site.directory.write("credentials/dexar.database-password", "one\ntwo\n");
    error_line(&site, &["check", "--offline"], 2, &["dexar.database-password has more than one line"]);
    std::fs::remove_file(&secret).expect("just written");
    error_line(&site, &["check", "--offline"], 2, &["there is no file ", "dexar.database-password", "with mode 600"]);
}

#[test]
fn the_other_brands_are_checked_when_a_file_is_invalid() {
    let site = Site::new(&["dexar", "novo"]);
    site.directory.write("brands/.#novo.toml", "an editor's");
    site.directory.write("brands/novo.toml", "name = 5");
    let output = site.run(&["check"]).failure(2);
    assert!(output.contains("novo.toml:1: name: expected a string") && !output.contains(".#novo"), "{output}");
    assert!(line(&output, "dexar", "postgresql").contains("✓ ok"), "{output}");
    let report: serde_json::Value = serde_json::from_str(&site.run(&["check", "--json"]).stdout).expect("JSON");
    assert!(report["brands"]["dexar"].is_array() && report["brands"]["novo"].is_null(), "{report:#}");
    assert_eq!(report["faults"].as_u64(), report["files"].as_array().map(|files| files.len() as u64));
    refuses_a_pipe(&site);
}

/// Reading a pipe would block.
fn refuses_a_pipe(site: &Site) {
    let path = site.directory.path().join("brands/pipe.toml");
    let created = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
    assert!(created.success());
    error_line(site, &["check", "--offline"], 2, &["pipe.toml: is not a regular file"]);
}

#[test]
fn an_address_that_overlaps_another_brands_is_an_error() {
    let mut site = Site::unmigrated(&["dexar", "novo"]);
    let port = site.brand("dexar").port;
    site.change_brand("novo", |brand| brand.port = port);
    let text = std::fs::read_to_string(site.brand_path("novo")).expect("it was written");
    site.directory.write("brands/novo.toml", text.replace("listen = [\"127.0.0.1:", "listen = [\"0.0.0.0:"));
    error_line(&site, &["check", "--offline"], 2, &["listen: 0.0.0.0:", "overlaps 127.0.0.1:", "used by dexar"]);
}

#[test]
fn settings_that_two_brands_share_are_a_warning() {
    let mut site = Site::unmigrated(&["dexar", "novo"]);
    let text = std::fs::read_to_string(site.brand_path("novo")).expect("it was written");
    let shared = text.replace("storefront_url = \"", "storefront_url = \"https://shop.example\" # \"");
    assert_ne!(shared, text);
    site.directory.write("brands/novo.toml", &shared);
    let of_dexar = std::fs::read_to_string(site.brand_path("dexar")).expect("it was written");
    site.directory.write(
        "brands/dexar.toml",
        of_dexar.replace("storefront_url = \"", "storefront_url = \"https://shop.example\" # \""),
    );
    let output = site.run(&["check", "--offline"]).success();
    for (brand, other) in [("dexar", "novo"), ("novo", "dexar")] {
        let words = format!("storefront_url is shared with {other}");
        let is_warning = |line: &&str| line.starts_with(brand) && line.contains("! warn") && line.contains(&words);
        assert_eq!(output.lines().filter(is_warning).count(), 1, "{output}");
    }
    site.change_brand("dexar", |_| {});
    site.run(&["check", "--offline"]).success();
}
