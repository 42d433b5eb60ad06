//! `brandgate check`: one line per check, or JSON.
//!
//! Exit status: 0 without errors, 1 with errors, 2 with an invalid brand file.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use brandgate::check::{self, Finding, Verdict};
use brandgate::config::BrandConfig;
use brandgate::foundation::clock::Clock;
use brandgate::{mail, payments, telegram};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::output::{self, complain, say};

#[derive(clap::Args)]
pub(crate) struct CheckArguments {
    /// Check only files, secrets and certificates of this machine
    #[arg(long)]
    offline: bool,
    /// Check instead that the stored data agrees: stock, ratings, categories, payments, refunds, receipts and emails; name each row that does not
    #[arg(long, conflicts_with = "offline")]
    books: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Check only whether a restart would keep what the process at this admin address serves now
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["offline", "books", "json"])]
    pub restart_of: Option<SocketAddr>,
}

/// How long the process to be restarted has for its answer.
const READINESS_TIMEOUT: Duration = Duration::from_secs(10);

/// Exit status: 0 if a restart keeps every brand that the process at `admin` serves; also if no process answers there.
pub(crate) async fn run_for_restart(brands: &[BrandConfig], file_problems: &[String], admin: SocketAddr) -> ExitCode {
    let served = match served_brands(admin).await {
        Ok(served) => served,
        Err(message) => {
            complain!("no process answers at {admin}, so a restart ends nothing: {message}");
            return ExitCode::SUCCESS;
        }
    };
    let mut is_kept = true;
    for name in &served {
        let problem = match brands.iter().find(|brand| brand.name == *name) {
            Some(brand) => check::start_problem(brand).await,
            None => Some("its file is missing or invalid".to_owned()),
        };
        match problem {
            None => say!("{name}: a restart keeps it"),
            Some(problem) => {
                complain!("{name} is served now, and would not be after a restart: {problem}");
                is_kept = false;
            }
        }
    }
    if !is_kept {
        file_problems.iter().for_each(|problem| complain!("{problem}"));
    }
    match (output::flush(), is_kept) {
        (Ok(()), true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// The brands that the process at this admin address serves. Processes of former versions serve all that they list.
async fn served_brands(admin: SocketAddr) -> Result<Vec<String>, String> {
    let read = async {
        let mut stream = TcpStream::connect(admin).await?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await?;
        Ok::<_, std::io::Error>(response)
    };
    let response = tokio::time::timeout(READINESS_TIMEOUT, read).await.map_err(|_| "no response in time".to_owned())?;
    let response = response.map_err(|error| error.to_string())?;
    let body = response.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    let state: Value = serde_json::from_str(body).map_err(|error| format!("/readyz is not JSON: {error}"))?;
    let brands = state["brands"].as_object().into_iter().flatten();
    Ok(brands.filter(|(_, state)| state["failed"].is_null()).map(|(name, _)| name.clone()).collect())
}

/// `file_problems` are those of invalid brand files; `brands` are the others.
pub(crate) async fn run(brands: &[BrandConfig], file_problems: &[String], arguments: &CheckArguments) -> ExitCode {
    for problem in file_problems {
        complain!("{problem}");
    }
    let checks = brands.iter().map(async |brand| match arguments.books {
        true => check::books(brand).await,
        false => check_brand(brand, brands, arguments.offline).await,
    });
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
