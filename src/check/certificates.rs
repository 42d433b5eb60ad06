//! Checks of a brand's files: certificate, key and the permissions of secrets.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::SignedDuration;

use super::service_user::ServiceUser;
use super::{Finding, Findings};
use crate::config::BrandConfig;
use crate::foundation::clock::Clock;
use crate::server::tls;

/// A certificate that expires within this time is a warning: certbot should have renewed it.
const EXPIRY_WARNING: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Whether other users can read the secrets; reading the brand's file has read the secrets themselves.
pub(super) fn secrets(config: &BrandConfig) -> Vec<Finding> {
    let mut findings = Findings::about("secrets");
    let exposed: Vec<String> = config
        .secrets()
        .into_iter()
        .filter_map(|secret| secret.file())
        .filter(|file| is_readable_by_others(file))
        .map(|file| file.display().to_string())
        .collect();
    if !exposed.is_empty() {
        findings.warning(format!("readable by other users: chmod 600 {}", exposed.join(" ")));
    }
    findings.or_passed("readable only by their owner")
}

/// Whether users other than its owner and root can read a file. A directory that others cannot enter protects its files.
fn is_readable_by_others(file: &Path) -> bool {
    let directory = file.parent().unwrap_or(file);
    let [Ok(file), Ok(directory)] = [file, directory].map(std::fs::metadata) else { return false };
    match (directory.mode() & 0o010 != 0, directory.mode() & 0o001 != 0) {
        (_, true) => file.mode() & 0o044 != 0,
        // systemd's credentials directory belongs to the group root; an ACL grants the service access.
        (true, false) => directory.gid() != 0 && file.mode() & 0o044 != 0,
        (false, false) => false,
    }
}

/// The files in /etc, other than certificate and key, that root can read and the service's user cannot. systemd passes the
/// credentials to the service.
pub(super) fn unreadable_by_service(config: &BrandConfig) -> Vec<Finding> {
    let mut findings = Findings::about("file");
    let Some(service) = ServiceUser::find() else { return findings.found };
    let ca_files = [
        config.bank.as_ref().and_then(|bank| bank.ca_file.as_deref()),
        config.mail.as_ref().and_then(|mail| mail.ca_file.as_deref()),
        config.database.tls.root_file.as_deref(),
        config.redis.ca_file.as_deref(),
    ];
    let client_files = [&config.database.tls.client_files, &config.redis.client_files].into_iter().flatten();
    let client_files = client_files.flat_map(|(certificate, key)| [certificate.as_path(), key]);
    let secrets = config.secrets().into_iter().filter_map(|secret| secret.file());
    let secrets = secrets.filter(|file| file.parent().is_none_or(|directory| !directory.ends_with("credentials")));
    let files = std::iter::once(&*config.file).chain(ca_files.into_iter().flatten());
    let files = files.chain(client_files).chain(secrets);
    for path in files.filter(|file| file.starts_with("/etc")).filter_map(|file| service.blocked_by(file)) {
        findings
            .error(format!("the service user cannot read {0}: chgrp brandgate {0} && chmod g+rX {0}", path.display()));
    }
    findings.found
}

pub(super) fn certificate(config: &BrandConfig, clock: &Clock) -> Vec<Finding> {
    let mut findings = Findings::about("certificate");
    let certificate = match tls::load(&config.tls, &config.name, clock) {
        Ok(identity) => identity.certificate,
        Err(message) => {
            findings.error(message);
            return findings.found;
        }
    };
    let (file, host, now) = (config.tls.certificate.display(), config.host(), clock.now());
    let remaining = certificate.not_after.duration_since(now);
    if remaining.is_negative() {
        findings.error(format!("{file} expired on {}: browsers refuse it", certificate.not_after));
    } else if remaining < EXPIRY_WARNING {
        findings.warning(format!("{file} expires on {}", certificate.not_after));
    }
    if certificate.not_before > now {
        findings.error(format!("{file} is not valid before {}: browsers refuse it", certificate.not_before));
    }
    let key = &config.tls.key;
    if std::fs::metadata(key).is_ok_and(|found| found.mode() & 0o007 != 0) {
        findings.error(format!("{0} is readable by every user: chmod 640 {0}", key.display()));
    }
    // Outside /etc the files are a developer's, who does not run the units.
    if let Some(service) = ServiceUser::find().filter(|_| key.starts_with("/etc")) {
        let mut unreadable: Vec<_> =
            [&config.tls.certificate, key].into_iter().filter_map(|file| service.blocked_by(file)).collect();
        unreadable.dedup();
        for path in unreadable {
            findings.error(format!(
                "the service user cannot read {0}: chgrp brandgate {0} && chmod g+rX {0}",
                path.display()
            ));
        }
    }
    if !certificate.is_for(host) {
        findings.error(format!("{file} is for {}, but public_url says {host}", certificate.names_text()));
    }
    findings.or_passed(format!("matches its key, is for {host}, valid until {}", certificate.not_after))
}
