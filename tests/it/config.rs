//! What a sysadmin meets: `brandgate check` and `serve` with files, certificates and databases that are wrong.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::harness::{CommandOutput, Services, Site, free_port};

/// Runs `serve`, which must end by itself, and then `check`, both with this status; returns what they said.
#[track_caller]
fn both_refuse(site: &Site, status: i32) -> [String; 2] {
    let admin = format!("127.0.0.1:{}", free_port());
    [site.run(&["serve", "--admin", &admin]).failure(status), site.run(&["check"]).failure(status)]
}

#[test]
fn every_fault_of_every_file_is_told_at_once_with_its_line() {
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
    for said in both_refuse(&site, 2) {
        for (words, line) in [
            ("unknown key titel", line_of("titel")),
            ("origins: https://dexarmarket.ru/path is no origin", line_of("origins")),
            ("limits.head_bytes: expected a whole number from 8192", line_of("head_bytes")),
            ("unknown key limits.bodybytes", line_of("bodybytes")),
            ("limits.requests: expected a whole number", line_of("requests")),
            ("database.password: expected the name of the secret's file", line_of("no-such-credential")),
        ] {
            let wanted = format!("{}:{line}: ", dexar.display());
            let told = said.lines().any(|told| told.starts_with(&wanted) && told.contains(words));
            assert!(told, "{wanted}{words} is not told in\n{said}");
        }
        assert!(said.contains(&format!("{}: title is missing", dexar.display())), "{said}");
        assert!(said.contains(&format!("{}:2: listen: localhost is no address", novo.display())), "{said}");
        assert!(said.contains(&format!("{}:3: ", novo.display())), "the broken section: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_directory_without_a_brand_is_a_fault() {
    let site = Site::unmigrated(&[]);
    site.directory.write("brands/README", "nothing here");
    for said in both_refuse(&site, 2) {
        assert!(said.contains("holds no brand"), "{said}");
    }
    std::fs::remove_dir_all(site.directory.path().join("brands")).expect("it is ours");
    for said in both_refuse(&site, 2) {
        assert!(said.contains("cannot be read"), "{said}");
    }
}

#[test]
fn a_secret_must_be_there_and_be_private() {
    let site = Site::new(&["dexar"]);
    let toml = site.brand("dexar").toml();
    let path = site.directory.write("elsewhere/password", crate::harness::password_of("dexar"));
    site.directory.write("brands/dexar.toml", toml.replace("dexar.database-password", path.to_str().expect("UTF-8")));
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    mode(0o644);
    for said in both_refuse(&site, 2) {
        assert!(said.contains("can be read by others") && said.contains("chmod 600"), "{said}");
    }
    mode(0o600);
    site.run(&["check"]).success();
    std::fs::write(&path, "\n").expect("it is ours");
    assert!(site.run(&["check"]).failure(2).contains("is empty"));
    let without = site.directory.write("brands/dexar.toml", &toml);
    let output = site.command(&["check"]).env_remove("CREDENTIALS_DIRECTORY").output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("--credentials or $CREDENTIALS_DIRECTORY") && said.contains(without.to_str().expect("UTF-8")),
        "{said}"
    );
}

#[test]
fn taken_ports_are_all_told_and_nothing_is_served() {
    let site = Site::new(&["dexar", "novo"]);
    let _taken: Vec<TcpListener> =
        site.brands.iter().map(|brand| TcpListener::bind(("127.0.0.1", brand.port)).expect("free")).collect();
    let admin = free_port();
    let said = site.run(&["serve", "--admin", &format!("127.0.0.1:{admin}")]).failure(1);
    for brand in &site.brands {
        assert!(said.contains(&format!("127.0.0.1:{} is in use", brand.port)), "{said}");
    }
    let _taken = TcpListener::bind(("127.0.0.1", admin)).expect("free");
    let said = site.run(&["serve", "--admin", &format!("127.0.0.1:{admin}")]).failure(1);
    assert!(said.contains(&format!("127.0.0.1:{admin} is in use")), "{said}");
    let said = site.run(&["serve", "--admin", "0.0.0.0:0"]).failure(1);
    assert!(said.contains("loopback"), "{said}");
}

/// A self-signed certificate for localhost, valid for so many days.
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
async fn an_expired_certificate_is_told_and_holds_up_no_other_brand() {
    let mut site = Site::new(&["dexar", "novo"]);
    let (expired, key) = certificate(&site, "expired", "-1");
    site.change_brand("novo", |brand| (brand.certificate, brand.key) = (expired.clone(), key));
    let said = site.run(&["check"]).failure(1);
    let line =
        said.lines().find(|line| line.starts_with("novo") && line.contains("certificate")).expect("a line of it");
    assert!(line.contains("FAULT") && line.contains("expired on"), "{said}");
    assert!(said.contains("1 fault") && !said.contains("2 faults"), "{said}");
    let gateway = site.start();
    let line = gateway.await_log("browsers refuse it");
    assert!(line.contains("novo") && line.contains("ERROR") && line.contains("expired on"), "{line}");
    assert_eq!(gateway.client("dexar").get("/ping").await.status, 200);

    let (soon, key) = certificate(&site, "soon", "3");
    site.change_brand("novo", |brand| (brand.certificate, brand.key) = (soon, key));
    let said = site.run(&["check"]).success();
    assert!(said.lines().any(|line| line.contains("warn") && line.contains("expires on")), "{said}");
}

#[test]
fn a_certificate_must_be_there_fit_its_key_and_name_the_host() {
    let mut site = Site::new(&["dexar", "novo"]);
    let others_key = site.brand("novo").key.clone();
    let good = site.brand("dexar").clone();
    site.change_brand("dexar", |brand| brand.key = others_key.clone());
    for said in both_refuse(&site, 1) {
        let (certificate, key) = (good.certificate.display().to_string(), others_key.display().to_string());
        assert!(said.contains("does not fit") && said.contains(&certificate) && said.contains(&key), "{said}");
    }
    for (file, content) in
        [("missing.pem", None), ("empty.pem", Some("")), ("no.pem", Some("-----BEGIN NOTHING-----\n"))]
    {
        let path = site.directory.path().join(file);
        if let Some(content) = content {
            std::fs::write(&path, content).expect("writable");
        }
        site.change_brand("dexar", |brand| (brand.certificate, brand.key) = (path.clone(), good.key.clone()));
        for said in both_refuse(&site, 1) {
            assert!(said.contains(file), "{said}");
        }
    }
    site.change_brand("dexar", |brand| {
        *brand = good.clone();
        brand.public_url = "https://shop.example:445".to_owned();
    });
    let said = site.run(&["check"]).failure(1);
    assert!(said.contains("but public_url says shop.example"), "{said}");
}

#[test]
fn check_tries_isolation_and_tells_where_a_wall_has_a_hole() {
    let site = Site::new(&["dexar", "novo"]);
    let said = site.run(&["check"]).success();
    for (brand, other) in [("dexar", "novo"), ("novo", "dexar")] {
        let tried = format!("reading {other}'s items was tried and refused");
        assert!(
            said.lines().any(|line| line.starts_with(brand) && line.contains(&tried) && line.contains(" ok ")),
            "{said}"
        );
    }
    let rest: Vec<&str> = said.lines().filter(|line| !line.contains("no section [")).collect();
    let rest = rest.join("\n");
    assert!(!rest.contains("FAULT") && !rest.contains("warn"), "{said}");
    let hole = "grant usage on schema novo to dexar; grant select on novo.item to dexar";
    site.services.admin_sql(&site.database, hole);
    let said = site.run(&["check"]).failure(1);
    let told = |line: &&str| {
        line.starts_with("dexar") && line.contains("FAULT") && line.contains("can read the items of novo")
    };
    assert_eq!(said.lines().filter(told).count(), 1, "{said}");
}

#[test]
fn a_localhost_origin_is_warned_of_outside_development() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.public_url = "https://api.dexarmarket.ru:445".to_owned());
    let said = site.run(&["check"]).success();
    let warned = said.lines().find(|line| line.contains("warn") && line.contains("http://localhost:4200"));
    assert!(warned.is_some_and(|line| line.contains("origins")), "{said}");
}

#[test]
fn the_shipped_brand_files_have_no_fault() {
    let site = Site::unmigrated(&["dexar", "novo"]);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("brands");
    for credential in ["telegram-bot-token", "bank-key", "smtp-password"] {
        for brand in ["dexar", "novo"] {
            site.directory.write(&format!("credentials/{brand}.{credential}"), "1:secret");
        }
    }
    let output = site.command(&["check"]).env("BRANDGATE_BRANDS", &shipped).output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // This machine has neither their certificates nor their database; the files themselves are without fault.
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for brand in ["dexar", "novo"] {
        assert!(said.contains(&format!("{brand}.toml has no fault")), "{output:?}");
    }
}

/// A site whose database is another one.
fn with_database(url: &str) -> Site {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.database_url = url.to_owned());
    site
}

#[test]
fn a_database_that_cannot_serve_a_shop_is_refused_in_words() {
    let services = Services::shared();
    let unknown = with_database(&services.brand_url("no_such_database"));
    for said in both_refuse(&unknown, 1) {
        assert!(said.contains("no_such_database"), "{said}");
    }
    services.create_database("with_locale_c", "C");
    let plain = with_database(&services.brand_url("with_locale_c"));
    let migrated = plain.services.admin_url("with_locale_c");
    let refused: CommandOutput = {
        let _alone = plain.services.roles.lock().expect("nobody panics while holding this");
        plain.run(&["migrate", "--admin-url", &migrated])
    };
    let [served, checked] = both_refuse(&plain, 1);
    for said in [refused.failure(1), served, checked] {
        assert!(said.contains("with_locale_c") && said.contains("C.UTF-8"), "{said}");
    }
}

#[test]
fn a_schema_that_is_missing_or_old_is_told_with_what_to_do() {
    let empty = Site::unmigrated(&["dexar"]);
    // The role may be there from another test; its schema in this database is not.
    Site::new(&["dexar"]);
    for said in both_refuse(&empty, 1) {
        assert!(said.contains("the schema dexar does not exist: run brandgate migrate"), "{said}");
    }
    let old = Site::new(&["dexar"]);
    old.sql_as("dexar", "delete from refinery_schema_history").expect("its own table");
    for said in both_refuse(&old, 1) {
        assert!(said.contains("lacks V1__catalog, V2__cart,") && said.contains(": run brandgate migrate"), "{said}");
    }
}

#[test]
fn a_wrong_password_is_told_and_never_shown() {
    let site = Site::new(&["dexar"]);
    site.directory.write("credentials/dexar.database-password", "hunter2-is-wrong");
    for said in both_refuse(&site, 1) {
        assert!(said.contains("password authentication failed"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
