//! Certificates that a test issues by the test CA.

use std::path::PathBuf;
use std::process::Command;

use super::services::certificates;
use super::site::Site;

/// The certificate of the test CA.
pub(crate) fn authority() -> PathBuf {
    certificates().join("ca.pem")
}

/// Issues a certificate of the test CA, or without it a self-signed one, that is valid until `end` (`YYYYMMDDHHMMSSZ`).
pub(crate) fn issue_certificate(
    site: &Site,
    name: &str,
    usage: &str,
    by_authority: bool,
    end: &str,
) -> (PathBuf, PathBuf) {
    let place = site.directory.path().join(name);
    std::fs::create_dir(&place).expect("a new directory");
    let config = format!(
        "[ca]\ndefault_ca = us\n[us]\ndatabase = {0}/index\nserial = {0}/serial\nnew_certs_dir = {0}\ndefault_md = sha256\n\
         unique_subject = no\npolicy = any\nx509_extensions = names\n[any]\ncommonName = supplied\n[names]\n\
         subjectAltName = DNS:localhost\nextendedKeyUsage = {usage}\nbasicConstraints = CA:FALSE\n",
        place.display()
    );
    for (file, text) in [("cnf", config.as_str()), ("index", ""), ("serial", "01")] {
        std::fs::write(place.join(file), text).expect("a new file");
    }
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").current_dir(&place).args(arguments.split(' ')).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    openssl("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=dexar -keyout own.key -out own.csr");
    let (authority, key) = (authority(), certificates().join("ca.key"));
    let issuer = match by_authority {
        true => format!("-cert {} -keyfile {}", authority.display(), key.display()),
        false => "-selfsign -keyfile own.key".to_owned(),
    };
    openssl(&format!(
        "ca -batch -notext -config cnf {issuer} -in own.csr -out own.pem -startdate 20200101000000Z -enddate {end}"
    ));
    (place.join("own.pem"), place.join("own.key"))
}
