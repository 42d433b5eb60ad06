//! `brandgate check`: a line for everything that was looked at. Exit status 1 when something is wrong, 2 when a brand's file cannot be
//! used at all.

use std::process::ExitCode;

use brandgate::check::{self, Finding, Verdict};
use brandgate::config::BrandConfig;
use brandgate::foundation::clock::Clock;
use brandgate::{mail, payments, telegram};
use serde_json::{Map, Value, json};

use super::output::{self, complain, say};

#[derive(clap::Args)]
pub struct Arguments {
    /// Look at this machine only: files, secrets, certificates
    #[arg(long)]
    offline: bool,
    /// One JSON document instead of lines
    #[arg(long)]
    pub json: bool,
}

/// `file_faults` are those of files that cannot be used; the brands of the others are looked at all the same.
pub async fn run(brands: &[BrandConfig], file_faults: &[String], arguments: &Arguments) -> ExitCode {
    for fault in file_faults {
        complain!("{fault}");
    }
    let looked = brands.iter().map(|brand| look(brand, brands, arguments.offline));
    let all = futures_util::future::join_all(looked).await;
    let count = |wanted: fn(&Verdict) -> bool| all.iter().flatten().filter(|found| wanted(&found.verdict)).count();
    let faults = file_faults.len() + count(|verdict| matches!(verdict, Verdict::ConfigProblem(_)));
    if arguments.json {
        let warnings = count(|verdict| matches!(verdict, Verdict::Warning(_)));
        let brands = brands.iter().zip(&all);
        let brands: Map<String, Value> =
            brands.map(|(brand, findings)| (brand.name.clone(), findings.iter().map(as_json).collect())).collect();
        say!("{:#}", json!({ "faults": faults, "warnings": warnings, "files": file_faults, "brands": brands }));
    } else {
        for (brand, findings) in brands.iter().zip(&all) {
            for finding in findings {
                let (tick, word, sentence) = parts(&finding.verdict);
                say!("{:<12} {:<13} {tick} {word:<6} {sentence}", brand.name, finding.subject);
            }
        }
        match faults {
            0 => {}
            // Whoever reads nothing but those can count them.
            _ if brands.is_empty() => {}
            1 => complain!("brandgate: 1 fault"),
            _ => complain!("brandgate: {faults} faults"),
        }
    }
    if let Err(sentence) = output::whole() {
        complain!("brandgate: {sentence}");
        return ExitCode::FAILURE;
    }
    match (file_faults.len(), faults) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::FAILURE,
        _ => ExitCode::from(2),
    }
}

async fn look(brand: &BrandConfig, all: &[BrandConfig], only_here: bool) -> Vec<Finding> {
    let clock = Clock::default();
    let file = Verdict::Good(format!("{} has no fault", brand.file.display()));
    let mut findings = vec![Finding::new("file", file)];
    findings.extend(check::offline(brand, all, &clock));
    if only_here {
        return findings;
    }
    let (online, telegram, bank, mail) = tokio::join!(
        check::online(brand, all, &clock),
        said(telegram::health_check(brand), "no section [telegram]: nobody can log in"),
        said(payments::health_check(brand), "no section [bank]: nobody can pay"),
        said(mail::health_check(brand), "no section [mail]: email is queued but not sent"),
    );
    findings.extend(online);
    findings.push(Finding::new("telegram", telegram));
    findings.push(Finding::new("bank", bank));
    findings.push(Finding::new("mail", mail));
    findings
}

/// What a domain says of its outside; `absent` when the brand has none.
async fn said(greeting: impl Future<Output = Option<Result<String, String>>>, absent: &str) -> Verdict {
    match check::patiently(greeting).await {
        Ok(Some(Ok(sentence))) => Verdict::Good(sentence),
        Ok(Some(Err(sentence))) => Verdict::ConfigProblem(sentence),
        Ok(None) => Verdict::Warning(absent.to_owned()),
        Err(late) => Verdict::ConfigProblem(late),
    }
}

fn parts(verdict: &Verdict) -> (char, &'static str, &str) {
    match verdict {
        Verdict::Good(sentence) => ('✓', "ok", sentence),
        Verdict::Warning(sentence) => ('!', "warn", sentence),
        Verdict::ConfigProblem(sentence) => ('✗', "FAULT", sentence),
    }
}

fn as_json(finding: &Finding) -> Value {
    let verdict = match finding.verdict {
        Verdict::Good(_) => "good",
        Verdict::Warning(_) => "warning",
        Verdict::ConfigProblem(_) => "fault",
    };
    json!({ "subject": finding.subject, "verdict": verdict, "sentence": parts(&finding.verdict).2 })
}
