//! The sandbox: the brands' outside on a developer's machine. Telegram's Bot API with a chat page, the bank's API with a page
//! of open codes, a mail server with a mailbox, and the two demonstration storefronts.
//!
//! A separate program, started by `make run` and by the tests, that speaks the other sides' protocols as their documents have
//! them; it shares no type with the gateway. What must never happen: it is installed on a server, or listens beyond
//! loopback.

mod bank;
mod mail;
mod settings;
mod storefront;
mod telegram;
mod web;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use hyper::StatusCode;
use tokio::net::TcpListener;

use settings::Settings;
use web::{Answer, Asked};

#[derive(Parser)]
#[command(version, about = "Telegram, the bank, a mailbox and two storefronts for development; loopback only")]
struct Arguments {
    /// A TOML file: addresses, bots, merchants, shops
    settings: PathBuf,
}

/// Everything that is simulated.
struct Sandbox {
    telegram: telegram::Telegram,
    bank: bank::Bank,
    mail: mail::Mail,
}

impl Sandbox {
    async fn answer(&self, asked: Asked) -> Answer {
        let first = asked.segments().first().map_or("", |segment| *segment).to_owned();
        match first.as_str() {
            "" => web::html(include_str!("pages/index.html")),
            "telegram" => self.telegram.page(asked).await,
            bot if bot.starts_with("bot") => self.telegram.api(asked).await,
            "bank" => self.bank.page(asked).await,
            "api" | "pay" => self.bank.api(asked).await,
            "mail" => self.mail.page(asked).await,
            _ => web::text(StatusCode::NOT_FOUND, "There is no such page in the sandbox."),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("sandbox: {sentence}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), String> {
    let settings = Settings::read(&arguments.settings)?;
    let mut listeners = Vec::new();
    for address in &settings.listen {
        listeners.push(TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?);
    }
    let sandbox = Arc::new(Sandbox {
        telegram: telegram::Telegram::new(&settings),
        bank: bank::Bank::new(&settings),
        mail: mail::Mail::start(&settings).await?,
    });
    for listener in listeners {
        let sandbox = sandbox.clone();
        tokio::spawn(web::serve(listener, move |asked| {
            let sandbox = sandbox.clone();
            async move { sandbox.answer(asked).await }
        }));
    }
    for shop in &settings.shops {
        storefront::open(shop).await?;
    }
    println!("sandbox: ready");
    tokio::signal::ctrl_c().await.map_err(|error| error.to_string())
}
