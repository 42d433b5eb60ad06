//! `brandgate check`: a line for everything that was looked at; exit status 1 when something is wrong.

use brandgate::check::{self, Finding, Verdict};
use brandgate::clock::Clock;
use brandgate::config::BrandConfig;
use brandgate::mail;

pub async fn run(brands: &[BrandConfig]) -> Result<(), String> {
    let mut faults = 0;
    for brand in brands {
        println!("{:<12} {:<13} ok     {} has no fault", brand.name, "file", brand.file.display());
        let mut findings = check::brand(brand, brands, &Clock::default()).await;
        findings.push(Finding { subject: "mail", verdict: mail_server(brand).await });
        for finding in findings {
            let (mark, sentence) = match finding.verdict {
                Verdict::Good(sentence) => ("ok", sentence),
                Verdict::Warning(sentence) => ("warn", sentence),
                Verdict::Fault(sentence) => {
                    faults += 1;
                    ("FAULT", sentence)
                }
            };
            println!("{:<12} {:<13} {mark:<6} {sentence}", brand.name, finding.subject);
        }
    }
    match faults {
        0 => Ok(()),
        1 => Err("1 fault".to_owned()),
        _ => Err(format!("{faults} faults")),
    }
}

async fn mail_server(brand: &BrandConfig) -> Verdict {
    match mail::greet(brand).await {
        Some(Ok(sentence)) => Verdict::Good(sentence),
        Some(Err(sentence)) => Verdict::Fault(sentence),
        None => Verdict::Warning("no section [mail]: mails are queued, and nobody sends them".to_owned()),
    }
}
