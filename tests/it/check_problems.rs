//! `brandgate check` with one problem at a time: it is reported, and the other checks still run.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::check::line;
use crate::harness::Site;

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("the test owns it");
}

/// Gives dexar a self-signed certificate for localhost with this validity (`YYYYMMDDHHMMSSZ`); returns its key file.
fn use_certificate(site: &mut Site, from: &str, to: &str) -> PathBuf {
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
fn every_problem_of_a_certificate_is_reported() {
    let mut site = Site::unmigrated(&["dexar"]);
    let key = use_certificate(&mut site, "20980101000000Z", "20990101000000Z");
    chmod(&key, 0o644);
    site.change_brand("dexar", |brand| brand.public_url = "https://shop.example:445".to_owned());
    let output = site.run(&["check", "--offline"]).failure(1);
    for words in ["is not valid before 2098-01-01T00:00:00Z", "chmod 640", "but public_url says shop.example"] {
        let found =
            output.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("no {words} in\n{output}"));
        assert!(found.contains("certificate") && found.contains("✗ ERROR"), "{found}");
    }
    chmod(&key, 0o640);
    let output = site.run(&["check", "--offline"]).failure(1);
    assert!(!output.contains("chmod") && output.contains("2 errors"), "a key may be readable by its group: {output}");
}

#[test]
fn a_secret_that_a_group_can_read_is_a_warning() {
    let site = Site::unmigrated(&["dexar"]);
    let text = std::fs::read_to_string(site.brand_path("dexar")).expect("it was written");
    site.directory.write("brands/dexar.toml", text.replace("dexar.database-password", "dexar.the-password"));
    let secret = site.directory.write("credentials/dexar.the-password", "s3cret");
    chmod(&secret, 0o640);
    let output = site.run(&["check", "--offline"]).success();
    let found = line(&output, "dexar", "secrets");
    assert!(found.contains("! warn") && found.contains("/dexar.the-password") && !found.contains("s3cret"), "{found}");
    chmod(&secret, 0o600);
    assert!(line(&site.run(&["check", "--offline"]).success(), "dexar", "secrets").contains("✓ ok"));
}

#[test]
fn a_server_with_too_few_connections_for_all_brands_is_a_warning() {
    let mut site = Site::new(&["dexar", "novo"]);
    let max: usize = site
        .services
        .admin_sql(
            &site.database,
            "select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int",
        )
        .parse()
        .expect("a number");
    // Enough for each brand alone.
    let size = max / 2;
    for brand in ["dexar", "novo"] {
        site.change_brand(brand, |brand| brand.pool = format!("pool_size = {size}"));
    }
    let output = site.run(&["check"]).success();
    for brand in ["dexar", "novo"] {
        let found = line(&output, brand, "postgresql");
        assert!(
            found.contains("! warn") && found.contains(&format!("accepts {max} ")) && found.contains("pool_size"),
            "{found}"
        );
    }
    site.change_brand("dexar", |brand| brand.pool = "pool_size = 2".to_owned());
    assert!(line(&site.run(&["check"]).success(), "novo", "postgresql").contains("✓ ok"));
}

#[test]
fn a_read_only_database_is_an_error() {
    let site = Site::new(&["dexar"]);
    let database = &site.database;
    site.services.admin_sql(database, &format!("alter database {database} set default_transaction_read_only = on"));
    let output = site.run(&["check"]).failure(1);
    let found = line(&output, "dexar", "postgresql");
    assert!(found.contains("✗ ERROR") && found.contains("is read-only"), "{found}");
    assert!(!line(&output, "dexar", "redis").contains("ERROR"), "the other checks have run: {output}");
}

#[test]
fn every_right_on_another_brands_schema_is_an_error() {
    let site = Site::new(&["dexar", "novo"]);
    let admin = |sql: &str| site.services.admin_sql(&site.database, sql);
    admin("grant select on novo.payment to dexar");
    let output = site.run(&["check"]).failure(1);
    let found = line(&output, "dexar", "isolation");
    assert!(found.contains("✗ ERROR") && found.contains("novo.payment") && !found.contains("novo.item"), "{found}");
    assert!(line(&output, "novo", "isolation").contains("✓ ok"), "{output}");
    admin("revoke select on novo.payment from dexar");
    admin("grant usage on schema novo to dexar");
    assert!(line(&site.run(&["check"]).failure(1), "dexar", "isolation").contains("the schema novo"));
    admin("grant select on novo.item to dexar");
    assert!(line(&site.run(&["check"]).failure(1), "dexar", "isolation").contains("can read the items of novo"));
}

#[test]
fn silent_servers_time_out() {
    let mut site = Site::new(&["dexar"]);
    // The kernel accepts connections; no response is ever sent.
    let silent = || TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (postgres, redis) = (silent(), silent());
    let port = |listener: &TcpListener| listener.local_addr().expect("bound").port();
    let (postgres_port, redis_port) = (port(&postgres), port(&redis));
    site.change_brand("dexar", |brand| {
        brand.database_url = format!("postgresql://127.0.0.1:{postgres_port}/shop");
        brand.redis_url = format!("redis://127.0.0.1:{redis_port}");
    });
    let output = site.run(&["check"]).failure(1);
    for subject in ["postgresql", "redis"] {
        assert!(line(&output, "dexar", subject).contains("✗ ERROR"), "{output}");
    }
    assert!(line(&output, "dexar", "certificate").contains("✓ ok") && output.contains("2 errors"), "{output}");
}

#[test]
fn a_redis_whose_settings_cannot_be_read_is_a_warning() {
    let site = Site::new(&["dexar"]);
    let user = format!("checked_{}", site.redis_number());
    site.redis(&["ACL", "SETUSER", &user, "on", ">s3cret", "~*", "&*", "+@all", "-config", "-info"]);
    site.directory.write("credentials/dexar.redis-password", "s3cret");
    let text = std::fs::read_to_string(site.brand_path("dexar")).expect("it was written");
    let own = &site.brand("dexar").redis_url;
    let as_user = format!("url = \"{own}&user={user}\"\npassword = \"dexar.redis-password\"");
    site.directory.write("brands/dexar.toml", text.replace(&format!("url = \"{own}\""), &as_user));
    let output = site.run(&["check"]).success();
    let found = line(&output, "dexar", "redis");
    assert!(found.contains("! warn") && found.contains("appendonly yes") && found.contains("noeviction"), "{found}");
    site.redis(&["ACL", "SETUSER", &user, "+info"]);
    let output = site.run(&["check"]).success();
    let found = line(&output, "dexar", "redis");
    let appends = site.redis(&["CONFIG", "GET", "appendonly"]).ends_with("yes");
    assert_eq!(found.contains("✓ ok"), appends, "INFO says whether Redis persists: {found}");
    site.redis(&["ACL", "DELUSER", &user]);
}
