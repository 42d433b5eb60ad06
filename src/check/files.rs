//! What the files of a brand show: the certificate with its key, and who may read the secrets.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::SignedDuration;

use super::service::ServiceUser;
use super::{Finding, Findings};
use crate::config::BrandConfig;
use crate::foundation::clock::Clock;
use crate::server::tls;

/// When the end of a certificate is worth a sentence.
const RENEW_WITHIN: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The secrets were read with the brand's file; whether others could read them too is looked at here.
pub(super) fn secrets(config: &BrandConfig) -> Vec<Finding> {
    let mut findings = Findings::of("secrets");
    let open: Vec<String> = config
        .secrets()
        .into_iter()
        .filter_map(|secret| secret.file())
        .filter(|file| is_open(file))
        .map(|file| file.display().to_string())
        .collect();
    if !open.is_empty() {
        findings.warning(format!("others on this machine can read {0}: chmod 600 {0}", open.join(" ")));
    }
    findings.or_good("readable by their owner alone")
}

/// Whether anybody but its owner and root may read a file. A directory that others cannot enter protects what is in it.
fn is_open(file: &Path) -> bool {
    let directory = file.parent().unwrap_or(file);
    let [Ok(file), Ok(directory)] = [file, directory].map(std::fs::metadata) else { return false };
    match (directory.mode() & 0o010 != 0, directory.mode() & 0o001 != 0) {
        (_, true) => file.mode() & 0o044 != 0,
        // systemd's own directory is root's group's, with the service let in by an access list.
        (true, false) => directory.gid() != 0 && file.mode() & 0o044 != 0,
        (false, false) => false,
    }
}

pub(super) fn certificate(config: &BrandConfig, clock: &Clock) -> Vec<Finding> {
    let mut findings = Findings::of("certificate");
    let leaf = match tls::load(&config.tls, &config.name, clock) {
        Ok(identity) => identity.certificate,
        Err(sentence) => {
            findings.fault(sentence);
            return findings.found;
        }
    };
    let (file, host, now) = (config.tls.certificate.display(), config.host(), clock.now());
    let left = leaf.not_after.duration_since(now);
    if left.is_negative() {
        findings.fault(format!("{file} expired on {}: browsers refuse it", leaf.not_after));
    } else if left < RENEW_WITHIN {
        findings.warning(format!("{file} expires on {}", leaf.not_after));
    }
    if leaf.not_before > now {
        findings.fault(format!("{file} is not valid before {}: browsers refuse it", leaf.not_before));
    }
    let key = &config.tls.key;
    if std::fs::metadata(key).is_ok_and(|found| found.mode() & 0o007 != 0) {
        findings.fault(format!("anybody on this machine can read {0}: chmod 640 {0}", key.display()));
    }
    // Elsewhere it is a developer's, who runs it by hand.
    if let Some(service) = ServiceUser::find().filter(|_| key.starts_with("/etc")) {
        let mut closed: Vec<_> =
            [&config.tls.certificate, key].into_iter().filter_map(|file| service.kept_out_by(file)).collect();
        closed.dedup();
        for path in closed {
            findings.fault(format!(
                "the service's user is kept out by {0}: chgrp brandgate {0} && chmod g+rX {0}",
                path.display()
            ));
        }
    }
    if !leaf.is_for(host) {
        findings.fault(format!("{file} is for {}, but public_url says {host}", leaf.names_text()));
    }
    findings.or_good(format!("fits its key, is for {host}, valid until {}", leaf.not_after))
}
