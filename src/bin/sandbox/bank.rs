//! The bank simulator: Raiffeisenbank's SBP and fiscal APIs, and a page with the payer's side.

mod amount;
mod call;
mod control;
mod delivery;
mod error;
mod fault;
mod fields;
mod fiscal;
mod notification;
mod notification_body;
mod payer;
mod qr;
mod qr_payload;
mod refund;
mod registration;
mod sbp;
mod state;
mod timestamp;

use std::sync::Arc;

use futures_util::stream;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Method, StatusCode};
use tokio::sync::broadcast::error::RecvError;

use crate::settings::Settings;
use crate::web::{self, WebRequest, WebResponse};
use call::{ApiCall, Route};
use error::BankError;
use fault::{BankFault, BankFaultKind};
use state::BankState;

pub struct Bank {
    state: Arc<BankState>,
}

impl Bank {
    pub fn new(settings: &Settings) -> Bank {
        Bank { state: Arc::new(BankState::new(settings)) }
    }

    /// `/bank`: the page with the open codes, its events and the control interface.
    pub async fn page(&self, request: WebRequest) -> WebResponse {
        match (&request.method, &request.segments()[1..]) {
            (&Method::GET, []) => web::html(include_str!("pages/bank.html")),
            (&Method::GET, ["events"]) => self.events(),
            _ => control::respond(&self.state, &request).await,
        }
    }

    /// `/api`: the bank's API. `/pay`: the link of a code that a payer opens.
    pub async fn api(&self, request: WebRequest) -> WebResponse {
        let segments = request.segments();
        let call = match &segments[..] {
            ["pay", id] if self.state.data().code(id).is_some() => return redirect(&format!("/bank?qr={id}")),
            ["pay", ..] => return redirect("/bank"),
            [_, below @ ..] => ApiCall::route(&request.method, below),
            [] => Route::NotFound,
        };
        let call = match call {
            Route::Call(call) => call,
            Route::MethodNotAllowed => {
                return BankError::Spring(StatusCode::METHOD_NOT_ALLOWED).response(&request.path);
            }
            Route::NotFound => return BankError::Spring(StatusCode::NOT_FOUND).response(&request.path),
        };
        let fault = {
            let mut data = self.state.data();
            data.calls.count(&call);
            data.faults.take(&call)
        };
        match fault {
            None => self.execute(&call, &request, false).await,
            Some(fault) => self.respond_with_fault(&fault, &call, &request).await,
        }
    }

    async fn respond_with_fault(&self, fault: &BankFault, call: &ApiCall, request: &WebRequest) -> WebResponse {
        let regular = match fault.kind.is_carried_out() {
            true => Some(self.execute(call, request, fault.kind == BankFaultKind::NotifyFirst).await),
            false => None,
        };
        fault.response(regular).await
    }

    async fn execute(&self, call: &ApiCall, request: &WebRequest, notify_first: bool) -> WebResponse {
        let style = self.state.data().style;
        match sbp::execute(&self.state, call, request, notify_first).await {
            Ok(response) => response,
            Err(error) if call.is_fiscal() || matches!(call, ApiCall::Image(_)) => error.response(&request.path),
            Err(error) => error.sbp_response(style, call.is_v1(), &request.path),
        }
    }

    /// An event for every change and one at the start, on which the page loads the codes.
    fn events(&self) -> WebResponse {
        let changes = self.state.subscribe();
        web::events(stream::unfold((changes, true), |(mut changes, first)| async move {
            // A page that lagged behind reloads once.
            let more = first || !matches!(changes.recv().await, Err(RecvError::Closed));
            more.then(|| ("{\"changed\":true}".to_owned(), (changes, false)))
        }))
    }
}

fn redirect(path: &str) -> WebResponse {
    let mut response = web::text(StatusCode::SEE_OTHER, "");
    let path = HeaderValue::try_from(path).expect("known ids are ASCII");
    response.headers_mut().insert(LOCATION, path);
    response
}
