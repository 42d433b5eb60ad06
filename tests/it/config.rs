//! Configuration: invalid files, secrets, certificates and databases, as `brandgate check` and `serve` report them; and the reference.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::harness::{CommandOutput, Services, Site, free_port};

/// Runs `serve` and then `check`, which must both exit with this status; returns their outputs.
#[track_caller]
fn both_refuse(site: &Site, status: i32) -> [String; 2] {
    let admin = format!("127.0.0.1:{}", free_port());
    [site.run(&["serve", "--admin", &admin]).failure(status), site.run(&["check"]).failure(status)]
}

#[test]
fn every_problem_of_every_file_is_reported_with_its_line() {
    let site = Site::unmigrated(&["dexar", "novo"]);
    let good = site.brand("dexar").toml();
    let bad = good
        .replace("title = \"Shop dexar\"", "titel = \"Shop dexar\"")
        .replace("\"https://dexarmarket.ru\", ", "\"https://dexarmarket.ru/path\", ")
        .replace("[limits]", "[limits]\nhead_bytes = 1\nbodybytes = 2\nrequests = \"many\"")
        .replace("dexar.database-password", "no-such-credential");
    site.directory.write("brands/dexar.toml", &bad);
    site.directory.write("brands/novo.toml", "name = \"novo\"\nlisten = [\"localhost\"]\n[tls\n");
    let line_of = |words: &str| 1 + bad.lines().position(|line| line.contains(words)).expect("it is in the file");
    let (dexar, novo) = (site.brand_path("dexar"), site.brand_path("novo"));
    for output in both_refuse(&site, 2) {
        for (words, line) in [
            ("unknown key titel", line_of("titel")),
            ("origins: https://dexarmarket.ru/path is not an origin", line_of("origins")),
            ("limits.head_bytes: expected a whole number from 8192", line_of("head_bytes")),
            ("unknown key limits.bodybytes", line_of("bodybytes")),
            ("limits.requests: expected a whole number", line_of("requests")),
            ("database.password: expected the name of a credential", line_of("no-such-credential")),
        ] {
            let wanted = format!("{}:{line}: ", dexar.display());
            let is_reported = output.lines().any(|line| line.starts_with(&wanted) && line.contains(words));
            assert!(is_reported, "{wanted}{words} is not in\n{output}");
        }
        assert!(output.contains(&format!("{}: title is missing", dexar.display())), "{output}");
        assert!(output.contains(&format!("{}:2: listen: localhost is not an address", novo.display())), "{output}");
        assert!(output.contains(&format!("{}:3: ", novo.display())), "the syntax error: {output}");
        assert!(!output.contains("panicked"), "{output}");
    }
}

#[test]
fn a_directory_without_a_brand_file_is_an_error() {
    let site = Site::unmigrated(&[]);
    site.directory.write("brands/README", "nothing here");
    for output in both_refuse(&site, 2) {
        assert!(output.contains("contains no brand file"), "{output}");
    }
    std::fs::remove_dir_all(site.directory.path().join("brands")).expect("the test owns it");
    for output in both_refuse(&site, 2) {
        assert!(output.contains("failed to read"), "{output}");
    }
}

#[test]
fn a_secret_must_exist_and_be_private() {
    let site = Site::new(&["dexar"]);
    let toml = site.brand("dexar").toml();
    let path = site.directory.write("elsewhere/password", crate::harness::password_of("dexar"));
    site.directory.write("brands/dexar.toml", toml.replace("dexar.database-password", path.to_str().expect("UTF-8")));
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("the test owns it");
    mode(0o644);
    for output in both_refuse(&site, 2) {
        assert!(output.contains("can be read by others") && output.contains("chmod 600"), "{output}");
    }
    mode(0o600);
    site.run(&["check"]).success();
    std::fs::write(&path, "\n").expect("the test owns it");
    assert!(site.run(&["check"]).failure(2).contains("is empty"));
    let without = site.directory.write("brands/dexar.toml", &toml);
    let ended = site.command(&["check"]).env_remove("CREDENTIALS_DIRECTORY").output().expect("the program runs");
    let output = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(
        output.contains("--credentials or $CREDENTIALS_DIRECTORY") && output.contains(without.to_str().expect("UTF-8")),
        "{output}"
    );
}

#[test]
fn every_port_in_use_is_reported_and_nothing_is_served() {
    let site = Site::new(&["dexar", "novo"]);
    let _in_use: Vec<TcpListener> =
        site.brands.iter().map(|brand| TcpListener::bind(("127.0.0.1", brand.port)).expect("a free port")).collect();
    let admin = free_port();
    let output = site.run(&["serve", "--admin", &format!("127.0.0.1:{admin}")]).failure(1);
    for brand in &site.brands {
        assert!(output.contains(&format!("127.0.0.1:{} is in use", brand.port)), "{output}");
    }
    let _admin_in_use = TcpListener::bind(("127.0.0.1", admin)).expect("a free port");
    let output = site.run(&["serve", "--admin", &format!("127.0.0.1:{admin}")]).failure(1);
    assert!(output.contains(&format!("127.0.0.1:{admin} is in use")), "{output}");
    let output = site.run(&["serve", "--admin", "0.0.0.0:0"]).failure(1);
    assert!(output.contains("loopback"), "{output}");
}

/// A self-signed certificate for localhost with its key, valid for this many days.
fn certificate(site: &Site, name: &str, days: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let at = |kind: &str| site.directory.path().join(format!("{name}.{kind}"));
    let openssl = |arguments: &[&str], files: [(&str, &Path); 2]| {
        let mut command = Command::new("openssl");
        command.args(arguments);
        for (option, path) in files {
            command.arg(option).arg(path);
        }
        let output = command.output().expect("openssl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let request =
        ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-subj", "/CN=localhost"];
    openssl(&request, [("-keyout", &at("key")), ("-out", &at("csr"))]);
    let names = site.directory.write(&format!("{name}.extensions"), "subjectAltName=DNS:localhost");
    let (csr, names) = (at("csr"), names.to_str().expect("UTF-8").to_owned());
    let sign = ["x509", "-req", "-in", csr.to_str().expect("UTF-8"), "-extfile", &names, "-days", days];
    openssl(&sign, [("-signkey", &at("key")), ("-out", &at("pem"))]);
    (at("pem"), at("key"))
}

#[tokio::test]
async fn an_expired_certificate_is_reported_and_other_brands_are_served() {
    let mut site = Site::new(&["dexar", "novo"]);
    let (expired, key) = certificate(&site, "expired", "-1");
    site.change_brand("novo", |brand| (brand.certificate, brand.key) = (expired.clone(), key));
    let output = site.run(&["check"]).failure(1);
    let line =
        output.lines().find(|line| line.starts_with("novo") && line.contains("certificate")).expect("a line about it");
    assert!(line.contains("ERROR") && line.contains("expired on"), "{output}");
    assert!(output.contains("1 error") && !output.contains("2 errors"), "{output}");
    let gateway = site.start();
    let line = gateway.await_log("browsers refuse it");
    assert!(line.contains("novo") && line.contains("ERROR") && line.contains("expired on"), "{line}");
    assert_eq!(gateway.client("dexar").get("/ping").await.status, 200);

    let (soon, key) = certificate(&site, "soon", "3");
    site.change_brand("novo", |brand| (brand.certificate, brand.key) = (soon, key));
    let output = site.run(&["check"]).success();
    assert!(output.lines().any(|line| line.contains("warn") && line.contains("expires on")), "{output}");
}

#[test]
fn a_certificate_must_exist_match_its_key_and_name_the_host() {
    let mut site = Site::new(&["dexar"]);
    let others_key = crate::harness::certificates().join("novo.key");
    let good = site.brand("dexar").clone();
    site.change_brand("dexar", |brand| brand.key = others_key.clone());
    for output in both_refuse(&site, 1) {
        let (certificate, key) = (good.certificate.display().to_string(), others_key.display().to_string());
        assert!(output.contains("does not fit") && output.contains(&certificate) && output.contains(&key), "{output}");
    }
    for (file, content) in
        [("missing.pem", None), ("empty.pem", Some("")), ("no.pem", Some("-----BEGIN NOTHING-----\n"))]
    {
        let path = site.directory.path().join(file);
        if let Some(content) = content {
            std::fs::write(&path, content).expect("writable");
        }
        site.change_brand("dexar", |brand| (brand.certificate, brand.key) = (path.clone(), good.key.clone()));
        for output in both_refuse(&site, 1) {
            assert!(output.contains(file), "{output}");
        }
    }
    site.change_brand("dexar", |brand| {
        *brand = good.clone();
        brand.public_url = "https://shop.example:445".to_owned();
    });
    let output = site.run(&["check"]).failure(1);
    assert!(output.contains("but public_url says shop.example"), "{output}");
}

#[test]
fn check_attempts_a_forbidden_read_and_reports_where_it_succeeds() {
    let site = Site::new(&["dexar", "novo"]);
    let output = site.run(&["check"]).success();
    for (brand, other) in [("dexar", "novo"), ("novo", "dexar")] {
        let tried = format!("reading {other}'s items was tried and refused");
        assert!(
            output.lines().any(|line| line.starts_with(brand) && line.contains(&tried) && line.contains(" ok ")),
            "{output}"
        );
    }
    let rest: Vec<&str> = output.lines().filter(|line| !line.contains("no section [")).collect();
    let rest = rest.join("\n");
    assert!(!rest.contains("ERROR") && !rest.contains("warn"), "{output}");
    let grants = "grant usage on schema novo to dexar; grant select on novo.item to dexar";
    site.services.admin_sql(&site.database, grants);
    let output = site.run(&["check"]).failure(1);
    let is_error = |line: &&str| {
        line.starts_with("dexar") && line.contains("ERROR") && line.contains("can read the items of novo")
    };
    assert_eq!(output.lines().filter(is_error).count(), 1, "{output}");
}

#[test]
fn a_localhost_origin_outside_development_is_a_warning() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.public_url = "https://api.dexarmarket.ru:445".to_owned());
    let output = site.run(&["check"]).success();
    let warning = output.lines().find(|line| line.contains("warn") && line.contains("http://localhost:4200"));
    assert!(warning.is_some_and(|line| line.contains("origins")), "{output}");
}

#[test]
fn the_configuration_reference_is_up_to_date() {
    let committed = include_str!("../../brands/README.md");
    assert!(brandgate::config::reference() == committed, "brands/README.md is out of date: run make reference");
    for shipped in [include_str!("../../brands/dexar.toml"), include_str!("../../brands/novo.toml")] {
        assert!(
            shipped.lines().count() < 80,
            "a shipped file sets what a shop decides, and leaves the rest to defaults"
        );
    }
}

#[test]
fn the_shipped_brand_files_are_valid() {
    let site = Site::unmigrated(&["dexar", "novo"]);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("brands");
    for credential in ["telegram-bot-token", "bank-key", "smtp-password"] {
        for brand in ["dexar", "novo"] {
            site.directory.write(&format!("credentials/{brand}.{credential}"), "1:secret");
        }
    }
    let ended = site.command(&["check"]).env("BRANDGATE_BRANDS", &shipped).output().expect("the program runs");
    let output = String::from_utf8_lossy(&ended.stdout).into_owned();
    // This machine has neither their certificates nor their database.
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    for brand in ["dexar", "novo"] {
        assert!(output.contains(&format!("{brand}.toml is valid")), "{ended:?}");
    }
}

/// A site with this database URL.
fn with_database(url: &str) -> Site {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.database_url = url.to_owned());
    site
}

#[test]
fn an_unfit_database_is_refused_with_the_reason() {
    let services = Services::shared();
    let unknown = with_database(&services.brand_url("no_such_database"));
    for output in both_refuse(&unknown, 1) {
        assert!(output.contains("no_such_database"), "{output}");
    }
    services.create_database("with_locale_c", "C");
    let with_locale_c = with_database(&services.brand_url("with_locale_c"));
    let migrated = with_locale_c.services.admin_url("with_locale_c");
    let refused: CommandOutput = {
        let _lock = with_locale_c.services.roles.lock().expect("no test panics while it holds this");
        with_locale_c.run(&["migrate", "--admin-url", &migrated])
    };
    let [served, checked] = both_refuse(&with_locale_c, 1);
    for output in [refused.failure(1), served, checked] {
        assert!(output.contains("with_locale_c") && output.contains("C.UTF-8"), "{output}");
    }
}

#[test]
fn a_missing_or_outdated_schema_is_reported_with_the_remedy() {
    let empty = Site::unmigrated(&["dexar"]);
    // Makes sure that the role exists; its schema does not exist in the first site's database.
    Site::new(&["dexar"]);
    for output in both_refuse(&empty, 1) {
        assert!(output.contains("the schema dexar does not exist: run brandgate migrate"), "{output}");
    }
    let old = Site::new(&["dexar"]);
    old.sql_as("dexar", "delete from refinery_schema_history").expect("its own table");
    for output in both_refuse(&old, 1) {
        assert!(output.contains("V1__catalog, V2__cart,") && output.contains("run brandgate migrate"), "{output}");
    }
}

#[test]
fn a_wrong_password_is_reported_and_not_printed() {
    let site = Site::new(&["dexar"]);
    site.directory.write("credentials/dexar.database-password", "hunter2-is-wrong");
    for output in both_refuse(&site, 1) {
        assert!(output.contains("password authentication failed"), "{output}");
        assert!(!output.contains("hunter2"), "{output}");
    }
}
