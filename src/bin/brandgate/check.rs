//! `brandgate check`: a line for everything that was looked at; exit status 1 when something is wrong.

use brandgate::check::{self, Verdict};
use brandgate::clock::Clock;
use brandgate::config::BrandConfig;

pub async fn run(brands: &[BrandConfig]) -> Result<(), String> {
    let mut faults = 0;
    for brand in brands {
        println!("{:<12} {:<13} ok     {} has no fault", brand.name, "file", brand.file.display());
        for finding in check::brand(brand, brands, &Clock::default()).await {
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
