//! The mail server: takes in what the brands send over SMTP, and shows it in a mailbox.
//!
//! Called by `main` with the listener for SMTP and with everything below `/mail`. What must never happen: a mail that
//! is passed on to anybody.

mod command;
mod letter;
mod mailbox;
mod session;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use hyper::header::ACCEPT;
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;

use crate::settings::Settings;
use crate::web::{self, Answer, Asked};
use mailbox::Mailbox;

/// How long `?atLeast=` waits where it is not told.
const WAIT: Duration = Duration::from_secs(10);

pub struct Mail {
    mailbox: Arc<Mailbox>,
}

impl Mail {
    /// Takes mail in from now on.
    pub fn new(_: &Settings, listener: TcpListener) -> Mail {
        let mailbox = Arc::new(Mailbox::default());
        tokio::spawn(serve(listener, mailbox.clone()));
        Mail { mailbox }
    }

    /// `/mail`: the mailbox for people and for scripts.
    pub async fn page(&self, asked: Asked) -> Answer {
        let accepts = asked.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match (&asked.method, &asked.segments()[1..]) {
            (&Method::GET, []) if accepts.contains("text/html") => web::html(include_str!("pages/mail.html")),
            (&Method::GET, []) => {
                if let Some(count) = asked.query("atLeast").and_then(|count| count.parse().ok()) {
                    let ms = asked.query("ms").and_then(|ms| ms.parse().ok());
                    self.mailbox.at_least(count, ms.map_or(WAIT, Duration::from_millis)).await;
                }
                web::json(StatusCode::OK, &self.mailbox.letters())
            }
            (&Method::DELETE, []) => {
                self.mailbox.empty();
                web::json(StatusCode::OK, &json!([]))
            }
            (&Method::GET, ["events"]) => self.events(),
            (&Method::GET, [id, "raw"]) => match id.parse().ok().and_then(|id| self.mailbox.raw(id)) {
                Some(raw) => web::bytes(StatusCode::OK, "text/plain; charset=utf-8", raw),
                None => refused(StatusCode::NOT_FOUND, "There is no such mail."),
            },
            (&Method::GET, ["misbehave"]) => web::json(StatusCode::OK, &self.mailbox.troubles()),
            (&Method::POST, ["misbehave"]) => match serde_json::from_slice(&asked.body) {
                Ok(wanted) => match self.mailbox.plan(wanted) {
                    Ok(troubles) => web::json(StatusCode::OK, &troubles),
                    Err(sentence) => refused(StatusCode::BAD_REQUEST, sentence),
                },
                Err(error) => refused(StatusCode::BAD_REQUEST, &error.to_string()),
            },
            _ => refused(StatusCode::NOT_FOUND, "The mail server has no such page."),
        }
    }

    /// An event for every change, and one at the beginning: the page then reads the mailbox anew.
    fn events(&self) -> Answer {
        let changes = self.mailbox.changes();
        web::events(stream::unfold((changes, true), |(mut changes, first)| async move {
            // Whoever was too slow for all changes still has to look once.
            let more = first || !matches!(changes.recv().await, Err(RecvError::Closed));
            more.then(|| ("{\"changed\":true}".to_owned(), (changes, false)))
        }))
    }
}

fn refused(status: StatusCode, sentence: &str) -> Answer {
    web::json(status, &json!({ "error": sentence }))
}

async fn serve(listener: TcpListener, mailbox: Arc<Mailbox>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of sockets: some close in a moment.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let mailbox = mailbox.clone();
        tokio::spawn(async move {
            // A client that goes away is no event here.
            drop(session::serve(stream, &mailbox).await);
        });
    }
}
