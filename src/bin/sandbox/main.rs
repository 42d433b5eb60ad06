//! The sandbox: simulators of the services that brandgate depends on, for development and tests.
//!
//! Telegram's Bot API with a chat page, the bank's API with a page of open QR codes, a mail server with a mailbox, and two
//! demonstration storefronts. It shares no types with brandgate.
//!
//! # Invariants
//! - The sandbox listens on loopback addresses only, and is not part of an installation.

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
use web::{WebRequest, WebResponse};

#[derive(Parser)]
#[command(version, about = "Simulate Telegram, the bank, a mail server and two storefronts, on loopback only")]
struct Arguments {
    /// Read addresses, bots, merchants and shops from this TOML file
    settings: PathBuf,
}

/// The simulators.
struct Sandbox {
    telegram: telegram::Telegram,
    bank: bank::Bank,
    mail: mail::Mail,
}

impl Sandbox {
    async fn respond(&self, request: WebRequest) -> WebResponse {
        let first = request.segments().first().map_or("", |segment| *segment).to_owned();
        match first.as_str() {
            "" => web::html(include_str!("pages/index.html")),
            "telegram" => self.telegram.page(request).await,
            bot if bot.starts_with("bot") => self.telegram.api(request).await,
            "bank" => self.bank.page(request).await,
            "api" | "pay" => self.bank.api(request).await,
            "mail" => self.mail.page(request).await,
            _ => web::text(StatusCode::NOT_FOUND, "not found"),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("sandbox: {message}");
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
        tokio::spawn(web::serve(listener, move |request| {
            let sandbox = sandbox.clone();
            async move { sandbox.respond(request).await }
        }));
    }
    for shop in &settings.shops {
        storefront::open(shop).await?;
    }
    println!("sandbox: ready");
    tokio::signal::ctrl_c().await.map_err(|error| error.to_string())
}
