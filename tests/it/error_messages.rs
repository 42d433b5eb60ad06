//! What a sysadmin reads when something is missing, mistyped or away: where it was looked for, and what to do.

use crate::check::line;
use crate::harness::{Services, Site};

/// What a run says that must fail, with all of these words in one line.
#[track_caller]
fn told(site: &Site, arguments: &[&str], status: i32, words: &[&str]) -> String {
    let said = site.run(arguments).failure(status);
    let line = said.lines().find(|line| words.iter().all(|word| line.contains(word)));
    line.unwrap_or_else(|| panic!("{arguments:?}: no line with {words:?} in\n{said}")).to_owned()
}

#[test]
fn where_a_server_was_looked_for_is_told_and_what_to_do() {
    let mut site = Site::new(&["dexar"]);
    let good = site.brand("dexar").clone();
    let mut with = |database: &str, redis: &str| {
        site.change_brand("dexar", |brand| (brand.database_url, brand.redis_url) = (database.into(), redis.into()));
        site.run(&["check"]).failure(1)
    };
    let said = with("postgresql://127.0.0.1:1/shop", "redis://127.0.0.1:1");
    for (subject, place) in [("postgresql", "PostgreSQL at 127.0.0.1:1 cannot"), ("redis", "Redis at 127.0.0.1:1:")] {
        let told = line(&said, "dexar", subject);
        assert!(told.contains(place) && told.contains("see that it runs") && told.contains(" url is right"), "{told}");
        assert_eq!(told.matches("onnection refused").count(), 1, "{told}");
    }
    let said = with("postgresql://%2Fnowhere/shop", "unix:///nowhere/redis.sock");
    assert!(line(&said, "dexar", "postgresql").contains("/nowhere/.s.PGSQL.5432"), "{said}");
    assert!(line(&said, "dexar", "redis").contains("/nowhere/redis.sock"), "{said}");
    let nowhere = good.database_url.replace(&site.database, "nowhere");
    site.change_brand("dexar", |brand| (brand.database_url, brand.redis_url) = (nowhere, good.redis_url.clone()));
    let said = site.run(&["check"]).failure(1);
    assert!(line(&said, "dexar", "postgresql").contains("has no database nowhere: create it"), "{said}");

    site.change_brand("dexar", |brand| *brand = good.clone());
    site.directory.write("credentials/dexar.database-password", "another");
    let said = site.run(&["check"]).failure(1);
    let told = line(&said, "dexar", "postgresql");
    assert!(told.contains("rejects the login of dexar") && told.contains("brandgate migrate --admin-url"), "{told}");
}

#[test]
fn a_person_who_waits_is_told_at_once_that_postgresql_is_away() {
    let services = Services::dedicated("sentences");
    let site = Site::on(services.clone(), &["dexar"]);
    site.migrate().success();
    services.stop("pg");
    for arguments in [&["payments", "list"][..], &["outbox", "list"], &["reviews", "list"], &["catalog", "export"]] {
        let arguments = [arguments, &["--brand", "dexar"]].concat();
        told(&site, &arguments, 1, &["brandgate: dexar: PostgreSQL at ", "cannot be reached"]);
    }
    let ended = site.run(&["migrate"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""), "no SQL for an administrator: {ended:#?}");
    assert!(ended.stderr.contains("cannot be reached"), "{ended:#?}");
    let nobody = services.admin_url(&site.database);
    told(&site, &["migrate", "--admin-url", &nobody], 1, &["PostgreSQL at ", "that --admin-url is right"]);
}

#[test]
fn an_unfit_database_is_told_with_what_an_administrator_runs() {
    let site = Site::unmigrated(&["no_such_role"]);
    let ended = site.run(&["migrate"]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    assert!(
        ended.stderr.contains("rejects the login of no_such_role") && ended.stdout.starts_with("begin;"),
        "{ended:#?}"
    );
}

#[test]
fn a_mistyped_argument_is_told_with_what_is_expected() {
    let site = Site::new(&["dexar"]);
    let brand = ["--brand", "dexar"];
    for (arguments, words) in [
        (&["payments", "refund", "1", "--amount", "-5"][..], "expected roubles, more than 0"),
        (&["payments", "refund", "1", "--amount", "0.001"], "at most two decimals"),
        (&["payments", "settle", "x"], "the number that `payments list` shows"),
        (&["reviews", "hide", "x"], "the number that `reviews list` shows"),
        (&["reviews", "show", "-1"], "the number that `reviews list` shows"),
        (&["reviews", "list", "--count", "0"], "0 is not in 1..=1000000"),
    ] {
        told(&site, &[arguments, &brand].concat(), 2, &[words]);
    }
    for command in ["show", "retry", "settle"] {
        told(&site, &["payments", command, "999", "--brand", "dexar"], 1, &["dexar: There is no such payment."]);
    }
    told(&site, &["migrate", "--admin-url", "nonsense"], 1, &["--admin-url: expected postgresql://user@host"]);
    told(&site, &["check", "--brands", "/nowhere"], 2, &["/nowhere: cannot be read", "--brands"]);
}

#[test]
fn a_mistyped_file_is_told_once_with_what_is_expected() {
    let site = Site::unmigrated(&["dexar"]);
    let good = site.brand("dexar").toml();
    let (database, redis) = (&site.brand("dexar").database_url, &site.brand("dexar").redis_url);
    let faults = |bad: String| {
        site.directory.write("brands/dexar.toml", bad);
        let said = site.run(&["check", "--offline"]).failure(2);
        said.lines().filter(|line| !line.starts_with("brandgate: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    for (from, to, words) in [
        (database.as_str(), "mysql:", "database.url: expected postgresql://host:port/database"),
        (database, "postgresql://%2Frun%2Fpostgresql", "database.url: names no database, as in postgresql://"),
        (redis, "redis:", "redis.url: expected redis://host:port, or unix://"),
        (redis, "rediss://127.0.0.1:6379", "redis.url: Redis is not spoken to over TLS"),
        ("name = \"dexar\"", "name = \"The Brand\"", "name: expected a lower-case letter"),
        ("\"dexar.database-password\"", "\"hunter2\"", "database.password: expected the name of the secret's file"),
        ("\"dexar.database-password\"", "\"hunter/2\"", "which begins with dexar., or its whole path"),
        (
            "origins = [",
            "origins = [\"https://dexarmarket.ru:443\", ",
            "origins: browsers leave out :443: https://dexarmarket.ru",
        ),
        ("name = \"dexar\"", "naem = \"dexar\"", "unknown key naem; did you mean name?"),
        ("[limits]", "[limit]", "unknown key limit; did you mean limits?"),
        ("[limits]", "[limits]\nx = 1", "unknown key limits.x; known here: connections, requests,"),
        ("[limits]", "[elsewhere]\n[limits]", "unknown key elsewhere; known here: name, listen, "),
    ] {
        let faults = faults(good.replacen(from, to, 1));
        assert!(faults[faults.len() - 1].contains(words), "{faults:#?}");
        assert!(!faults.iter().any(|fault| fault.contains("hunter")), "perhaps it is the secret itself: {faults:#?}");
        let known: Vec<&str> = words
            .split_once("known here")
            .map_or(Vec::new(), |_| faults[0].rsplit("known here: ").next().unwrap_or_default().split(", ").collect());
        let mut once = known.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), known.len(), "no key is told twice: {known:?}");
        // Without its key, the name is missing too.
        assert_eq!(faults.len(), if to.starts_with("naem") { 2 } else { 1 }, "{faults:#?}");
    }
}

#[test]
fn a_missing_secret_or_certificate_is_told_with_how_it_comes_there() {
    let mut site = Site::unmigrated(&["dexar"]);
    let missing = site.directory.path().join("nowhere.pem");
    let certificate = site.brand("dexar").certificate.clone();
    site.change_brand("dexar", |brand| brand.certificate.clone_from(&missing));
    let said = site.run(&["check", "--offline"]).failure(1);
    assert!(line(&said, "dexar", "certificate").contains("there is no certificate"), "{said}");
    site.change_brand("dexar", |brand| (brand.certificate, brand.key) = (certificate.clone(), certificate));
    let said = site.run(&["check", "--offline"]).failure(1);
    assert!(line(&said, "dexar", "certificate").ends_with("holds no private key"), "{said}");

    let secret = site.directory.write("credentials/dexar.database-password", "one\ntwo\n");
    told(&site, &["check", "--offline"], 2, &["dexar.database-password has more than one line"]);
    std::fs::remove_file(&secret).expect("just written");
    told(&site, &["check", "--offline"], 2, &["dexar.database-password does not exist", "mode 600"]);
}

#[test]
fn the_other_brands_are_looked_at_when_a_file_cannot_be_used() {
    let site = Site::new(&["dexar", "novo"]);
    site.directory.write("brands/.#novo.toml", "an editor's");
    site.directory.write("brands/novo.toml", "name = 5");
    let said = site.run(&["check"]).failure(2);
    assert!(said.contains("novo.toml:1: name: expected a text") && !said.contains(".#novo"), "{said}");
    assert!(line(&said, "dexar", "postgresql").contains("✓ ok"), "{said}");
    let told: serde_json::Value = serde_json::from_str(&site.run(&["check", "--json"]).stdout).expect("JSON");
    assert!(told["brands"]["dexar"].is_array() && told["brands"]["novo"].is_null(), "{told:#}");
    assert_eq!(told["faults"].as_u64(), told["files"].as_array().map(|files| files.len() as u64));
    told_fifo(&site);
}

/// Nothing is waited for that is no file.
fn told_fifo(site: &Site) {
    let path = site.directory.path().join("brands/pipe.toml");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("it runs");
    assert!(made.success());
    told(site, &["check", "--offline"], 2, &["pipe.toml: is no file"]);
}

#[test]
fn an_address_that_overlaps_another_brands_is_told() {
    let mut site = Site::unmigrated(&["dexar", "novo"]);
    let port = site.brand("dexar").port;
    site.change_brand("novo", |brand| brand.port = port);
    let text = std::fs::read_to_string(site.brand_path("novo")).expect("it was written");
    site.directory.write("brands/novo.toml", text.replace("listen = [\"127.0.0.1:", "listen = [\"0.0.0.0:"));
    told(&site, &["check", "--offline"], 2, &["listen: 0.0.0.0:", "overlaps 127.0.0.1:", "belongs to dexar"]);
}

#[test]
fn what_two_brands_share_is_told() {
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
    let said = site.run(&["check", "--offline"]).success();
    for (brand, other) in [("dexar", "novo"), ("novo", "dexar")] {
        let words = format!("storefront_url is {other}'s too");
        let told = |line: &&str| line.starts_with(brand) && line.contains("! warn") && line.contains(&words);
        assert_eq!(said.lines().filter(told).count(), 1, "{said}");
    }
    site.change_brand("dexar", |_| {});
    site.run(&["check", "--offline"]).success();
}
