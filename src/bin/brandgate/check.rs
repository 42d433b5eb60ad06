//! `brandgate check`: one line per check, or JSON.
//!
//! Exit status: 0 without errors, 1 with errors, 2 with an invalid brand file.

use std::process::ExitCode;

use brandgate::check::{self, Finding, Verdict};
use brandgate::config::BrandConfig;
use brandgate::foundation::clock::Clock;
use brandgate::{mail, payments, telegram};
use serde_json::{Map, Value, json};

use super::output::{self, complain, say};

#[derive(clap::Args)]
pub(crate) struct CheckArguments {
    /// Check only files, secrets and certificates of this machine
    #[arg(long)]
    offline: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `file_problems` are those of invalid brand files; `brands` are the others.
pub(crate) async fn run(brands: &[BrandConfig], file_problems: &[String], arguments: &CheckArguments) -> ExitCode {
    for problem in file_problems {
        complain!("{problem}");
    }
    let checks = brands.iter().map(|brand| check_brand(brand, brands, arguments.offline));
    let findings = futures_util::future::join_all(checks).await;
    let count = |has: fn(&Verdict) -> bool| findings.iter().flatten().filter(|found| has(&found.verdict)).count();
    let errors = file_problems.len() + count(|verdict| matches!(verdict, Verdict::Failed(_)));
    if arguments.json {
        let warnings = count(|verdict| matches!(verdict, Verdict::Warning(_)));
        let by_brand: Map<String, Value> = brands
            .iter()
            .zip(&findings)
            .map(|(brand, findings)| (brand.name.clone(), findings.iter().map(as_json).collect()))
            .collect();
        say!("{:#}", json!({ "faults": errors, "warnings": warnings, "files": file_problems, "brands": by_brand }));
    } else {
        for (brand, findings) in brands.iter().zip(&findings) {
            for finding in findings {
                let (symbol, word, message) = parts(&finding.verdict);
                say!("{:<12} {:<13} {symbol} {word:<6} {message}", brand.name, finding.subject);
            }
        }
        match errors {
            0 => {}
            // Without a valid file the problems above are the whole output.
            _ if brands.is_empty() => {}
            1 => complain!("brandgate: 1 error"),
            _ => complain!("brandgate: {errors} errors"),
        }
    }
    if let Err(message) = output::flush() {
        complain!("brandgate: {message}");
        return ExitCode::FAILURE;
    }
    match (file_problems.len(), errors) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::FAILURE,
        _ => ExitCode::from(2),
    }
}

async fn check_brand(brand: &BrandConfig, all: &[BrandConfig], is_offline: bool) -> Vec<Finding> {
    let clock = Clock::default();
    let file = Verdict::Passed(format!("{} is valid", brand.file.display()));
    let mut findings = vec![Finding::new("file", file)];
    findings.extend(check::offline(brand, all, &clock));
    if is_offline {
        return findings;
    }
    let (online, telegram, bank, mail) = tokio::join!(
        check::online(brand, all, &clock),
        verdict(telegram::health_check(brand), "no section [telegram]: logins are disabled"),
        verdict(payments::health_check(brand), "no section [bank]: payments are disabled"),
        verdict(mail::health_check(brand), "no section [mail]: email is queued but not sent"),
    );
    findings.extend(online);
    findings.push(Finding::new("telegram", telegram));
    findings.push(Finding::new("bank", bank));
    findings.push(Finding::new("mail", mail));
    findings
}

/// The verdict on an external system; `absent` is the warning when it is not configured.
async fn verdict(health_check: impl Future<Output = Option<Result<String, String>>>, absent: &str) -> Verdict {
    match check::with_timeout(health_check).await {
        Ok(Some(Ok(message))) => Verdict::Passed(message),
        Ok(Some(Err(message))) => Verdict::Failed(message),
        Ok(None) => Verdict::Warning(absent.to_owned()),
        Err(timeout) => Verdict::Failed(timeout),
    }
}

fn parts(verdict: &Verdict) -> (char, &'static str, &str) {
    match verdict {
        Verdict::Passed(message) => ('✓', "ok", message),
        Verdict::Warning(message) => ('!', "warn", message),
        Verdict::Failed(message) => ('✗', "ERROR", message),
    }
}

/// The words of the JSON format are stable.
fn as_json(finding: &Finding) -> Value {
    let verdict = match finding.verdict {
        Verdict::Passed(_) => "good",
        Verdict::Warning(_) => "warning",
        Verdict::Failed(_) => "fault",
    };
    json!({ "subject": finding.subject, "verdict": verdict, "sentence": parts(&finding.verdict).2 })
}
