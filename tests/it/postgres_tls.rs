//! TLS to PostgreSQL, as `sslmode` says, against a server with certificates of the test CA.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::harness::{Services, Site, authority, certificates, issue_certificate};

/// A site whose PostgreSQL is reached over TCP.
struct EncryptedSite {
    site: Site,
    services: Arc<Services>,
}

impl EncryptedSite {
    fn new(name: &str) -> EncryptedSite {
        let services = Services::with_tcp(name);
        let site = Site::on(services.clone(), &["dexar"]);
        site.migrate().success();
        let encrypted = EncryptedSite { site, services };
        encrypted.put("pg_hba.conf", "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n");
        encrypted.put("authority.pem", &read(&authority()));
        encrypted.reload("alter system set ssl = off");
        encrypted
    }

    /// Writes a file of the server.
    fn put(&self, name: &str, text: &str) {
        let file = self.services.postgres_data().join(name);
        std::fs::write(&file, text).expect("the test may write there");
        self.services.give_to_postgres(&file);
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("the test may change the mode");
    }

    /// Gives the server a certificate.
    fn use_certificate(&self, (certificate, key): &(PathBuf, PathBuf)) {
        self.put("own.pem", &read(certificate));
        self.put("own.key", &read(key));
        self.reload(
            "alter system set ssl = on; alter system set ssl_cert_file = 'own.pem'; \
             alter system set ssl_key_file = 'own.key'; alter system set ssl_ca_file = 'authority.pem'",
        );
    }

    /// Runs SQL and waits until a new session has the configuration.
    fn reload(&self, sql: &str) {
        for statement in sql.split("; ") {
            self.services.admin_sql("postgres", statement);
        }
        // A session begins with the configuration of the postmaster.
        let before = self.services.admin_sql("postgres", "select pg_conf_load_time()");
        self.services.admin_sql("postgres", "select pg_reload_conf()");
        crate::harness::eventually("the configuration is loaded", 30, || {
            (self.services.admin_sql("postgres", "select pg_conf_load_time()") != before).then_some(())
        });
    }

    /// The URL of the database with these parameters, for a host whose address is 127.0.0.1.
    fn url(&self, host: &str, parameters: &str) -> String {
        let (port, database) = (self.services.postgres_port(), &self.site.database);
        format!("postgresql://{host}:{port}/{database}?hostaddr=127.0.0.1&{parameters}")
    }

    /// What `brandgate check` says about PostgreSQL with this URL.
    fn check(&mut self, host: &str, parameters: &str) -> String {
        let url = self.url(host, parameters);
        self.site.change_brand("dexar", |brand| brand.database_url = url);
        let output = self.site.run(&["check"]);
        let line = output.stdout.lines().find(|line| line.contains("postgresql"));
        line.unwrap_or_else(|| panic!("no line about PostgreSQL: {} {}", output.stdout, output.stderr)).to_owned()
    }

    fn passes(&mut self, host: &str, parameters: &str) {
        let line = self.check(host, parameters);
        assert!(line.contains("reachable; locale and schema are right"), "{host} {parameters}: {line}");
    }

    fn fails(&mut self, host: &str, parameters: &str, words: &str) {
        let line = self.check(host, parameters);
        assert!(line.contains(words) && line.contains("[database] url"), "{host} {parameters}: {line}");
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn leaf(name: &str) -> (PathBuf, PathBuf) {
    (certificates().join(format!("{name}.pem")), certificates().join(format!("{name}.key")))
}

#[test]
fn sslmode_decides_what_is_verified_and_errors_say_what_is_wrong() {
    let mut encrypted = EncryptedSite::new("postgres-tls");
    let root = format!("sslrootcert={}", authority().display());
    encrypted.passes("localhost", "sslmode=prefer");
    encrypted.fails("localhost", "sslmode=require", "does not offer TLS, which sslmode=require demands");

    encrypted.use_certificate(&leaf("dexar"));
    for (host, parameters) in [
        ("localhost", "sslmode=prefer"),
        ("localhost", "sslmode=require"),
        ("db.example", &format!("sslmode=require&{root}")),
        ("db.example", &format!("sslmode=verify-ca&{root}")),
        ("localhost", &format!("sslmode=verify-full&{root}")),
    ] {
        encrypted.passes(host, parameters);
    }
    let unknown = "has a certificate of an unknown authority: name the file of that authority with sslrootcert";
    encrypted.fails("localhost", "sslmode=verify-full", unknown);
    encrypted.fails("localhost", "sslmode=verify-ca", unknown);
    let other = format!(
        "sslmode=require&sslrootcert={}",
        issue_certificate(&encrypted.site, "other", "serverAuth", false, "20990101000000Z").0.display()
    );
    encrypted.fails("localhost", &other, unknown);
    encrypted.fails("db.example", &format!("sslmode=verify-full&{root}"), "has a certificate for another host");
    encrypted.fails("localhost", "sslmode=verify-ca&sslrootcert=/nowhere.pem", "sslrootcert /nowhere.pem: ");

    let expired = issue_certificate(&encrypted.site, "expired", "serverAuth", true, "20210101000000Z");
    encrypted.use_certificate(&expired);
    encrypted.fails("localhost", &format!("sslmode=verify-full&{root}"), "has an expired certificate");
}

#[test]
fn a_client_certificate_identifies_the_brand() {
    let mut encrypted = EncryptedSite::new("postgres-client-certificate");
    encrypted.use_certificate(&leaf("dexar"));
    encrypted.put(
        "pg_hba.conf",
        "local all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n",
    );
    encrypted.reload("select 1");
    let root = format!("sslmode=verify-full&sslrootcert={}", authority().display());
    encrypted.fails("localhost", &root, "demands a client certificate");
    let with = |(certificate, key): (PathBuf, PathBuf)| {
        format!("{root}&sslcert={}&sslkey={}", certificate.display(), key.display())
    };
    let foreign = with(issue_certificate(&encrypted.site, "foreign", "clientAuth", false, "20990101000000Z"));
    encrypted.fails("localhost", &foreign, "refuses the client certificate of sslcert");
    let expired = with(issue_certificate(&encrypted.site, "old", "clientAuth", true, "20210101000000Z"));
    encrypted.fails("localhost", &expired, "refuses the client certificate of sslcert (CertificateExpired)");
    let good = with(issue_certificate(&encrypted.site, "good", "clientAuth", true, "20990101000000Z"));
    encrypted.passes("localhost", &good);
}

#[tokio::test]
async fn every_connection_of_every_command_is_encrypted() {
    let mut encrypted = EncryptedSite::new("postgres-all-encrypted");
    encrypted.use_certificate(&leaf("dexar"));
    encrypted.put("pg_hba.conf", "local all postgres scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n");
    encrypted.reload("select 1");
    let parameters = format!("sslmode=verify-full&sslrootcert={}", authority().display());
    let url = encrypted.url("localhost", &parameters);
    encrypted.site.change_brand("dexar", |brand| brand.database_url = url.clone());
    let admin = encrypted.services.admin_url("postgres");
    let password = admin.split([':', '@']).nth(2).expect("postgresql://postgres:PASSWORD@…");
    let admin = url.replacen("postgresql://", &format!("postgresql://postgres:{password}@"), 1);
    encrypted.site.run(&["migrate", "--admin-url", &admin]).success();
    let refused = admin.replacen("verify-full", "verify-all", 1);
    let output = encrypted.site.run(&["migrate", "--admin-url", &refused]).failure(1);
    assert!(
        output.contains("--admin-url: sslmode: expected disable, prefer, require, verify-ca or verify-full"),
        "{output}"
    );

    encrypted.site.import_demo("dexar");
    let gateway = encrypted.site.start();
    assert_eq!(gateway.client("dexar").get("/category/1").await.status, 200);
    let sql = "select count(*) filter (where ssl), count(*) from pg_stat_ssl join pg_stat_activity using (pid) \
               where usename = 'dexar'";
    let counts = encrypted.services.admin_sql("postgres", sql);
    let (tls, all) = counts.split_once('|').expect("two columns");
    assert!(tls == all && all != "0", "{tls} of {all} connections are encrypted");
}

#[test]
fn plaintext_to_another_machine_is_a_warning() {
    let mut site = Site::unmigrated(&["dexar"]);
    let (database, redis) = (site.brand("dexar").database_url.clone(), site.brand("dexar").redis_url.clone());
    for (url, redis_url, words) in [
        ("postgresql://db.example/shop", redis.as_str(), Some("[database] url: sslmode=prefer allows plaintext")),
        (
            "postgresql://192.0.2.1/shop?sslmode=disable",
            &redis,
            Some("[database] url: sslmode=disable allows plaintext"),
        ),
        (&database, "redis://192.0.2.1:6379", Some("[redis] url: plaintext to another machine (192.0.2.1:6379)")),
        (
            &database,
            "redis+sentinel://a.example/shop",
            Some("[redis] url: plaintext to another machine (a.example:26379)"),
        ),
        ("postgresql://db.example/shop?sslmode=require", "rediss://192.0.2.1", None),
        ("postgresql://127.0.0.1/shop", "redis://localhost", None),
    ] {
        site.change_brand("dexar", |brand| {
            (brand.database_url, brand.redis_url) = (url.to_owned(), redis_url.to_owned());
        });
        let output = site.run(&["check", "--offline"]).stdout;
        match words {
            Some(words) => assert!(output.contains(words), "{url} {redis_url}: {output}"),
            None => assert!(!output.contains("plaintext"), "{url} {redis_url}: {output}"),
        }
    }
}
