//! The bank: Raiffeisenbank's SBP and fiscal APIs as its documents have them, and the payer's side on a page.
//!
//! Called by `main` with the paths `/api`, `/pay` and `/bank`. The gateway speaks the API, people use the page, tests
//! both. What must never happen: an answer that is kinder than the real bank's.

mod calls;
mod fiscal;
mod moment;
mod notify;
mod office;
mod payer;
mod payload;
mod problem;
mod qr;
mod refund;
mod register;
mod roubles;
mod sbp;
mod script;
mod trouble;

use std::sync::Arc;

use futures_util::stream;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Method, StatusCode};
use tokio::sync::broadcast::error::RecvError;

use crate::settings::Settings;
use crate::web::{self, Answer, Asked};
use calls::{Call, Route};
use office::Office;
use problem::Problem;
use trouble::{How, Trouble};

pub struct Bank {
    office: Arc<Office>,
}

impl Bank {
    pub fn new(settings: &Settings) -> Bank {
        Bank { office: Arc::new(Office::new(settings)) }
    }

    /// `/bank`: the page with the open codes, its events, and what scripts ask for.
    pub async fn page(&self, asked: Asked) -> Answer {
        match (&asked.method, &asked.segments()[1..]) {
            (&Method::GET, []) => web::html(include_str!("pages/bank.html")),
            (&Method::GET, ["events"]) => self.events(),
            _ => script::answer(&self.office, &asked).await,
        }
    }

    /// `/api`: the bank's API. `/pay`: where a payer with a link to a code comes in.
    pub async fn api(&self, asked: Asked) -> Answer {
        let segments = asked.segments();
        let call = match &segments[..] {
            ["pay", id] if self.office.ledger().code(id).is_some() => return go_to(&format!("/bank?qr={id}")),
            ["pay", ..] => return go_to("/bank"),
            [_, below @ ..] => Call::route(&asked.method, below),
            [] => Route::Nowhere,
        };
        let call = match call {
            Route::To(call) => call,
            Route::OtherMethod => return Problem::Spring(StatusCode::METHOD_NOT_ALLOWED).plain_answer(&asked.path),
            Route::Nowhere => return Problem::Spring(StatusCode::NOT_FOUND).plain_answer(&asked.path),
        };
        let trouble = {
            let mut ledger = self.office.ledger();
            ledger.calls.count(&call);
            ledger.troubles.strike(&call)
        };
        match trouble {
            None => self.carry_out(&call, &asked, false).await,
            Some(trouble) => self.run_into(&trouble, &call, &asked).await,
        }
    }

    async fn run_into(&self, trouble: &Trouble, call: &Call, asked: &Asked) -> Answer {
        let right = match trouble.how.works() {
            true => Some(self.carry_out(call, asked, trouble.how == How::NotifyFirst).await),
            false => None,
        };
        trouble.answer(right).await
    }

    async fn carry_out(&self, call: &Call, asked: &Asked, notify_first: bool) -> Answer {
        let style = self.office.ledger().style;
        match sbp::carry_out(&self.office, call, asked, notify_first).await {
            Ok(answer) => answer,
            Err(problem) if call.is_fiscal() || matches!(call, Call::Image(_)) => problem.plain_answer(&asked.path),
            Err(problem) => problem.sbp_answer(style, call.is_v1(), &asked.path),
        }
    }

    /// An event for every change, and one at the beginning: the page then reads the codes anew.
    fn events(&self) -> Answer {
        let changes = self.office.changes();
        web::events(stream::unfold((changes, true), |(mut changes, first)| async move {
            // Whoever was too slow for all changes still has to look once.
            let more = first || !matches!(changes.recv().await, Err(RecvError::Closed));
            more.then(|| ("{\"changed\":true}".to_owned(), (changes, false)))
        }))
    }
}

fn go_to(path: &str) -> Answer {
    let mut answer = web::text(StatusCode::SEE_OTHER, "");
    let path = HeaderValue::try_from(path).expect("ids that were found are ASCII");
    answer.headers_mut().insert(LOCATION, path);
    answer
}
