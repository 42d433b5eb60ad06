//! `brandgate check` where one thing is not as it should be: each is told, and hides nothing else.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::check::line;
use crate::harness::Site;

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// Gives a brand a self-signed certificate for localhost that is valid between two moments (`YYYYMMDDHHMMSSZ`), and its key.
fn valid_between(site: &mut Site, from: &str, to: &str) -> PathBuf {
    let place = site.directory.path().to_owned();
    site.directory.write("ca.index", "");
    site.directory.write("ca.serial", "01");
    let config = format!(
        "[ca]\ndefault_ca = us\n[us]\ndatabase = {0}/ca.index\nserial = {0}/ca.serial\nnew_certs_dir = {0}\ndefault_md = sha256\n\
         policy = any\nx509_extensions = names\n[any]\ncommonName = supplied\n[names]\nsubjectAltName = DNS:localhost\n",
        place.display()
    );
    site.directory.write("ca.cnf", config);
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").current_dir(&place).args(arguments.split(' ')).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    openssl(
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=localhost -keyout own.key -out own.csr",
    );
    openssl(&format!(
        "ca -batch -notext -config ca.cnf -selfsign -keyfile own.key -in own.csr -out own.pem -startdate {from} -enddate {to}"
    ));
    let (certificate, key) = (place.join("own.pem"), place.join("own.key"));
    site.change_brand("dexar", |brand| (brand.certificate, brand.key) = (certificate, key.clone()));
    key
}

#[test]
fn everything_that_is_wrong_with_a_certificate_is_told_at_once() {
    let mut site = Site::unmigrated(&["dexar"]);
    let key = valid_between(&mut site, "20980101000000Z", "20990101000000Z");
    chmod(&key, 0o644);
    site.change_brand("dexar", |brand| brand.public_url = "https://shop.example:445".to_owned());
    let said = site.run(&["check", "--offline"]).failure(1);
    for words in ["is not valid before 2098-01-01T00:00:00Z", "chmod 640", "but public_url says shop.example"] {
        let told = said.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("no {words} in\n{said}"));
        assert!(told.contains("certificate") && told.contains("✗ FAULT"), "{told}");
    }
    chmod(&key, 0o640);
    let said = site.run(&["check", "--offline"]).failure(1);
    assert!(!said.contains("chmod") && said.contains("2 faults"), "a key may be its group's: {said}");
}

#[test]
fn a_secret_of_any_name_that_a_group_can_read_is_told() {
    let site = Site::unmigrated(&["dexar"]);
    let text = std::fs::read_to_string(site.brand_path("dexar")).expect("it was written");
    site.directory.write("brands/dexar.toml", text.replace("dexar.database-password", "dexar.the-password"));
    let secret = site.directory.write("credentials/dexar.the-password", "s3cret");
    chmod(&secret, 0o640);
    let said = site.run(&["check", "--offline"]).success();
    let told = line(&said, "dexar", "secrets");
    assert!(told.contains("! warn") && told.contains("/dexar.the-password") && !told.contains("s3cret"), "{told}");
    chmod(&secret, 0o600);
    assert!(line(&site.run(&["check", "--offline"]).success(), "dexar", "secrets").contains("✓ ok"));
}

#[test]
fn a_server_for_fewer_connections_than_the_brands_may_open_is_told() {
    let mut site = Site::new(&["dexar", "novo"]);
    let takes: usize = site
        .services
        .admin_sql(
            &site.database,
            "select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int",
        )
        .parse()
        .expect("a number");
    // Each brand alone would do.
    let size = takes / 2;
    for brand in ["dexar", "novo"] {
        site.change_brand(brand, |brand| brand.pool = format!("pool_size = {size}"));
    }
    let said = site.run(&["check"]).success();
    for brand in ["dexar", "novo"] {
        let told = line(&said, brand, "postgresql");
        assert!(
            told.contains("! warn") && told.contains(&format!("takes {takes} ")) && told.contains("pool_size"),
            "{told}"
        );
    }
    site.change_brand("dexar", |brand| brand.pool = "pool_size = 2".to_owned());
    assert!(line(&site.run(&["check"]).success(), "novo", "postgresql").contains("✓ ok"));
}

#[test]
fn a_database_that_takes_no_writes_is_told() {
    let site = Site::new(&["dexar"]);
    let database = &site.database;
    site.services.admin_sql(database, &format!("alter database {database} set default_transaction_read_only = on"));
    let said = site.run(&["check"]).failure(1);
    let told = line(&said, "dexar", "postgresql");
    assert!(told.contains("✗ FAULT") && told.contains("takes no writes"), "{told}");
    assert!(!line(&said, "dexar", "redis").contains("FAULT"), "the others are told all the same: {said}");
}

#[test]
fn every_right_on_another_brands_schema_is_told() {
    let site = Site::new(&["dexar", "novo"]);
    let admin = |sql: &str| site.services.admin_sql(&site.database, sql);
    admin("grant select on novo.payment to dexar");
    let said = site.run(&["check"]).failure(1);
    let told = line(&said, "dexar", "isolation");
    assert!(told.contains("✗ FAULT") && told.contains("novo.payment") && !told.contains("novo.item"), "{told}");
    assert!(line(&said, "novo", "isolation").contains("✓ ok"), "{said}");
    admin("revoke select on novo.payment from dexar");
    admin("grant usage on schema novo to dexar");
    assert!(line(&site.run(&["check"]).failure(1), "dexar", "isolation").contains("the schema novo"));
    admin("grant select on novo.item to dexar");
    assert!(line(&site.run(&["check"]).failure(1), "dexar", "isolation").contains("can read the items of novo"));
}

#[test]
fn servers_that_say_nothing_are_not_waited_for() {
    let mut site = Site::new(&["dexar"]);
    // They take connections (the kernel does) and say nothing.
    let silent = || TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (postgres, redis) = (silent(), silent());
    let port = |listener: &TcpListener| listener.local_addr().expect("bound").port();
    let (postgres_port, redis_port) = (port(&postgres), port(&redis));
    site.change_brand("dexar", |brand| {
        brand.database_url = format!("postgresql://127.0.0.1:{postgres_port}/shop");
        brand.redis_url = format!("redis://127.0.0.1:{redis_port}");
    });
    let said = site.run(&["check"]).failure(1);
    for subject in ["postgresql", "redis"] {
        assert!(line(&said, "dexar", subject).contains("✗ FAULT"), "{said}");
    }
    assert!(line(&said, "dexar", "certificate").contains("✓ ok") && said.contains("2 faults"), "{said}");
}

#[test]
fn a_redis_whose_settings_may_not_be_asked_is_no_tick() {
    let site = Site::new(&["dexar"]);
    let user = format!("checked_{}", site.redis_number());
    site.redis(&["ACL", "SETUSER", &user, "on", ">s3cret", "~*", "&*", "+@all", "-config", "-info"]);
    site.directory.write("credentials/dexar.redis-password", "s3cret");
    let text = std::fs::read_to_string(site.brand_path("dexar")).expect("it was written");
    let own = &site.brand("dexar").redis_url;
    let as_user = format!("url = \"{own}&user={user}\"\npassword = \"dexar.redis-password\"");
    site.directory.write("brands/dexar.toml", text.replace(&format!("url = \"{own}\""), &as_user));
    let said = site.run(&["check"]).success();
    let told = line(&said, "dexar", "redis");
    assert!(told.contains("! warn") && told.contains("appendonly yes") && told.contains("noeviction"), "{told}");
    site.redis(&["ACL", "SETUSER", &user, "+info"]);
    let said = site.run(&["check"]).success();
    let told = line(&said, "dexar", "redis");
    let appends = site.redis(&["CONFIG", "GET", "appendonly"]).ends_with("yes");
    assert_eq!(told.contains("✓ ok"), appends, "INFO tells of appendonly and of nothing else: {told}");
    site.redis(&["ACL", "DELUSER", &user]);
}
