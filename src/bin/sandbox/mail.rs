//! The mail simulator: an SMTP server whose mail stays in a mailbox, and the mailbox's page and API.

mod command;
mod connection;
mod mailbox;
mod message;
mod server;
mod session;
mod state;

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use hyper::header::ACCEPT;
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use crate::settings::Settings;
use crate::web::{self, WebRequest, WebResponse};
use mailbox::Mailbox;

/// How long `?atLeast=` waits by default.
const DEFAULT_WAIT: Duration = Duration::from_secs(10);

pub struct Mail {
    mailbox: Arc<Mailbox>,
}

impl Mail {
    /// Starts the SMTP listeners.
    ///
    /// # Errors
    /// An address that is in use, or an invalid certificate.
    pub async fn start(settings: &Settings) -> Result<Mail, String> {
        let mailbox = Arc::new(Mailbox::default());
        server::start(settings, &mailbox).await?;
        Ok(Mail { mailbox })
    }

    /// `/mail`: the page and the API of the mailbox.
    pub async fn page(&self, request: WebRequest) -> WebResponse {
        let accepts = request.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match (&request.method, &request.segments()[1..]) {
            (&Method::GET, []) if accepts.contains("text/html") => web::html(include_str!("pages/mail.html")),
            (&Method::GET, []) => {
                if let Some(count) = request.query("atLeast").and_then(|count| count.parse().ok()) {
                    let ms = request.query("ms").and_then(|ms| ms.parse().ok());
                    self.mailbox.wait_for_count(count, ms.map_or(DEFAULT_WAIT, Duration::from_millis)).await;
                }
                web::json(StatusCode::OK, &self.mailbox.messages())
            }
            (&Method::DELETE, []) => {
                self.mailbox.clear();
                web::json(StatusCode::OK, &json!([]))
            }
            (&Method::GET, ["events"]) => self.events(),
            (&Method::GET, [id, "raw"]) => match id.parse().ok().and_then(|id| self.mailbox.raw(id)) {
                Some(raw) => web::bytes(StatusCode::OK, "text/plain; charset=utf-8", raw),
                None => error_response(StatusCode::NOT_FOUND, "unknown message"),
            },
            (&Method::GET, ["misbehave"]) => web::json(StatusCode::OK, &self.mailbox.faults()),
            (&Method::POST, ["misbehave"]) => match serde_json::from_slice(&request.body) {
                Ok(request) => match self.mailbox.inject(request) {
                    Ok(faults) => web::json(StatusCode::OK, &faults),
                    Err(message) => error_response(StatusCode::BAD_REQUEST, message),
                },
                Err(error) => error_response(StatusCode::BAD_REQUEST, &error.to_string()),
            },
            _ => error_response(StatusCode::NOT_FOUND, "not found"),
        }
    }

    /// An event for every change and one at the start, on which the page loads the mailbox.
    fn events(&self) -> WebResponse {
        let changes = self.mailbox.subscribe();
        web::events(stream::unfold((changes, true), |(mut changes, first)| async move {
            // A page that lagged behind reloads once.
            let more = first || !matches!(changes.recv().await, Err(RecvError::Closed));
            more.then(|| ("{\"changed\":true}".to_owned(), (changes, false)))
        }))
    }
}

fn error_response(status: StatusCode, message: &str) -> WebResponse {
    web::json(status, &json!({ "error": message }))
}
