//! Injected faults: the next calls fail in the way that `POST /bank/misbehave` sets.

use std::time::Duration;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::call::ApiCall;
use super::error;
use crate::web::{self, WebResponse};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum BankFaultKind {
    /// An internal error of the bank.
    #[serde(rename = "500")]
    Internal,
    /// The 502 page of its proxy; the call has no effect.
    #[serde(rename = "502")]
    BadGateway,
    /// 200 with an HTML page in place of JSON.
    Html,
    /// No response; the call has no effect.
    Hang,
    /// The regular response, delayed; the call takes effect at once.
    Slow,
    /// 200 without a body.
    Empty,
    /// 200 with an error in the envelope.
    Error200,
    /// JSON whose types contradict the specification.
    Nonsense,
    /// Truncated JSON.
    Broken,
    /// 502, although the call takes effect.
    Lost,
    /// Refused with the `code` and the `status` of the fault; the call has no effect.
    Refused,
    /// The code is paid and the merchant notified before the response to its registration.
    NotifyFirst,
}

impl BankFaultKind {
    /// Whether the call takes effect.
    pub(super) fn is_carried_out(self) -> bool {
        matches!(self, BankFaultKind::Slow | BankFaultKind::Lost | BankFaultKind::NotifyFirst)
    }
}

/// A fault of the next calls.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BankFault {
    /// [`ApiCall::name`], or `*` for every call.
    #[serde(default = "any_call")]
    pub call: String,
    #[serde(rename = "how")]
    pub kind: BankFaultKind,
    pub times: u64,
    #[serde(rename = "ms", default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Of [`BankFaultKind::Refused`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

fn any_call() -> String {
    "*".to_owned()
}

/// The body of `POST /bank/misbehave`; `how` is optional with `"times":0`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BankFaultRequest {
    call: Option<String>,
    #[serde(rename = "how")]
    kind: Option<BankFaultKind>,
    times: Option<u64>,
    #[serde(rename = "ms")]
    delay_ms: Option<u64>,
    code: Option<String>,
    status: Option<u16>,
}

/// The faults to come, in the order in which they were injected.
#[derive(Debug, Default)]
pub(super) struct BankFaults(Vec<BankFault>);

impl BankFaults {
    /// Adds a fault; with `"times":0` removes the faults of a call.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub(super) fn inject(&mut self, request: BankFaultRequest) -> Result<&[BankFault], &'static str> {
        let call = request.call.unwrap_or_else(any_call);
        let names = [
            "register",
            "qr",
            "payment-info",
            "cancel",
            "refund",
            "refund-info",
            "callback",
            "receipt",
            "receipt-save",
            "receipt-register",
            "receipt-status",
            "*",
        ];
        if !names.contains(&call.as_str()) {
            return Err("unknown call");
        }
        match (request.times.unwrap_or(1), request.kind) {
            (0, _) => self.0.retain(|fault| call != "*" && fault.call != call),
            (times, Some(kind)) => {
                let BankFaultRequest { delay_ms, code, status, .. } = request;
                self.0.push(BankFault { call, kind, times, delay_ms, code, status });
            }
            (_, None) => return Err("how is missing"),
        }
        Ok(&self.0)
    }

    pub(super) fn pending(&self) -> &[BankFault] {
        &self.0
    }

    /// Takes the fault of this call, if there is one.
    pub(super) fn take(&mut self, call: &ApiCall) -> Option<BankFault> {
        // Not called by the merchant's back end.
        if matches!(call, ApiCall::Image(_) | ApiCall::DemoPay) {
            return None;
        }
        let matches = |fault: &BankFault| match fault.kind {
            BankFaultKind::NotifyFirst => call.name() == "register",
            _ => fault.call == "*" || fault.call == call.name() || Some(fault.call.as_str()) == call.receipt_step(),
        };
        let index = self.0.iter().position(matches)?;
        let fault = self.0[index].clone();
        self.0[index].times -= 1;
        self.0.retain(|fault| fault.times > 0);
        Some(fault)
    }
}

impl BankFault {
    /// The faulty response. `regular` is the response of a call that took effect.
    pub(super) async fn response(&self, regular: Option<WebResponse>) -> WebResponse {
        let delay = match (self.delay_ms, self.kind) {
            (Some(ms), _) => Duration::from_millis(ms),
            (None, BankFaultKind::Slow) => Duration::from_secs(3),
            (None, BankFaultKind::Hang) => std::future::pending().await,
            (None, _) => Duration::ZERO,
        };
        tokio::time::sleep(delay).await;
        match (self.kind, regular) {
            (BankFaultKind::Slow | BankFaultKind::NotifyFirst, Some(regular)) => regular,
            (BankFaultKind::Internal, _) => {
                error::envelope(StatusCode::INTERNAL_SERVER_ERROR, "ERROR.INTERNAL", "Внутренняя ошибка сервиса")
            }
            (BankFaultKind::Refused, _) => {
                let status = self.status.and_then(|status| StatusCode::from_u16(status).ok());
                let code = self.code.as_deref().unwrap_or("ERROR.INVALID_REQUEST");
                let message = "Чек не прошел валидацию. Причина: client.email";
                error::envelope(status.unwrap_or(StatusCode::BAD_REQUEST), code, message)
            }
            (BankFaultKind::Error200, _) => {
                error::envelope(StatusCode::OK, "ERROR.INTERNAL", "Внутренняя ошибка сервиса")
            }
            (BankFaultKind::Html, _) => {
                web::html("<!doctype html><title>Технические работы</title><h1>Технические работы</h1>")
            }
            (BankFaultKind::Empty, _) => web::bytes(StatusCode::OK, "application/json", ""),
            (BankFaultKind::Nonsense, _) => {
                let json =
                    r#"{"code":200,"qrId":17,"qrStatus":["NEW"],"paymentStatus":{},"amount":"viel","payload":null}"#;
                web::bytes(StatusCode::OK, "application/json", json)
            }
            (BankFaultKind::Broken, _) => {
                web::bytes(StatusCode::OK, "application/json", r#"{"code":"SUCCESS","qrId":"AD1000"#)
            }
            _ => error::bad_gateway(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::call::ApiVersion;

    #[test]
    fn fault_affects_its_call_for_its_number_of_times() {
        let mut faults = BankFaults::default();
        let request = |json: &str| serde_json::from_str::<BankFaultRequest>(json).expect("a valid request");
        faults.inject(request(r#"{"call":"register","how":"502","times":2}"#)).expect("a valid fault");
        faults.inject(request(r#"{"call":"*","how":"hang","times":1}"#)).expect("a valid fault");
        assert!(faults.inject(request(r#"{"call":"registr","how":"502"}"#)).is_err());
        let register = ApiCall::Register(ApiVersion::V2);
        let mut next = || faults.take(&register).map(|fault| fault.kind);
        assert_eq!([next(), next()], [Some(BankFaultKind::BadGateway), Some(BankFaultKind::BadGateway)]);
        assert_eq!(faults.take(&ApiCall::Image(String::new())).map(|fault| fault.kind), None);
        assert_eq!(faults.take(&ApiCall::Refund).map(|fault| fault.kind), Some(BankFaultKind::Hang));
        faults.inject(request(r#"{"call":"qr","how":"html","times":9}"#)).expect("a valid fault");
        assert!(faults.inject(request(r#"{"times":0}"#)).expect("a valid request").is_empty());
    }
}
