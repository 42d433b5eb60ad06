//! The calls of the bank's API: routing, and counters that tests read.

use std::collections::BTreeMap;

use hyper::Method;
use percent_encoding::percent_decode_str;
use serde::Serialize;

/// The version of an SBP API call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ApiVersion {
    /// `/api/sbp/v1/…`.
    V1,
    /// `/api/sbp/v2/…`.
    V2,
}

/// The receipt types of `fiscal.yml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum ReceiptType {
    Sell,
    Refund,
}

/// A call of the API with its path parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ApiCall {
    Register(ApiVersion),
    Qr(ApiVersion, String),
    PaymentInfo(String),
    Cancel(String),
    Refund,
    RefundInfo(String),
    Callback,
    ReceiptSave(ReceiptType),
    ReceiptRegister(ReceiptType, String),
    ReceiptStatus(ReceiptType, String),
    Image(String),
    /// The bank's demonstration payer.
    DemoPay,
}

/// The result of routing a path and a method.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Call(ApiCall),
    MethodNotAllowed,
    NotFound,
}

impl ApiCall {
    /// Routes a path below `/api`.
    pub(super) fn route(method: &Method, path: &[&str]) -> Route {
        let id = |index: usize| percent_decode_str(path[index]).decode_utf8_lossy().into_owned();
        let calls: Vec<(Method, ApiCall)> = match path {
            ["sbp", "v1", "qr", "register"] => vec![(Method::POST, ApiCall::Register(ApiVersion::V1))],
            ["sbp", "v2", "qrs"] => vec![(Method::POST, ApiCall::Register(ApiVersion::V2))],
            ["sbp", "v2", "qrs", _] => {
                vec![(Method::GET, ApiCall::Qr(ApiVersion::V2, id(3))), (Method::DELETE, ApiCall::Cancel(id(3)))]
            }
            ["sbp", "v1", "qr", _, "info"] => vec![(Method::GET, ApiCall::Qr(ApiVersion::V1, id(3)))],
            ["sbp", "v1", "qr", _, "payment-info"] => vec![(Method::GET, ApiCall::PaymentInfo(id(3)))],
            ["sbp", "v1", "qr", _, "image"] => vec![(Method::GET, ApiCall::Image(id(3)))],
            ["sbp", "v1", "refund"] => vec![(Method::POST, ApiCall::Refund)],
            ["sbp", "v1", "refund", _] => vec![(Method::GET, ApiCall::RefundInfo(id(3)))],
            ["settings", "v1", "callback"] => vec![(Method::POST, ApiCall::Callback)],
            ["fiscal", "v1", "receipts", kind @ ("sell" | "refund"), rest @ ..] => {
                let kind = if *kind == "sell" { ReceiptType::Sell } else { ReceiptType::Refund };
                match rest {
                    [] => vec![(Method::POST, ApiCall::ReceiptSave(kind))],
                    [_] => vec![
                        (Method::PUT, ApiCall::ReceiptRegister(kind, id(4))),
                        (Method::GET, ApiCall::ReceiptStatus(kind, id(4))),
                    ],
                    _ => Vec::new(),
                }
            }
            ["nspc-mock", "v01", "rfuture", "payment", "init"] => vec![(Method::POST, ApiCall::DemoPay)],
            _ => Vec::new(),
        };
        if calls.is_empty() {
            return Route::NotFound;
        }
        let call = calls.into_iter().find(|(request, _)| request == method);
        call.map_or(Route::MethodNotAllowed, |(_, call)| Route::Call(call))
    }

    /// The name that `/bank/calls` and `/bank/misbehave` use.
    pub(super) fn name(&self) -> &'static str {
        match self {
            ApiCall::Register(_) => "register",
            ApiCall::Qr(..) => "qr",
            ApiCall::PaymentInfo(_) => "payment-info",
            ApiCall::Cancel(_) => "cancel",
            ApiCall::Refund => "refund",
            ApiCall::RefundInfo(_) => "refund-info",
            ApiCall::Callback => "callback",
            ApiCall::ReceiptSave(_) | ApiCall::ReceiptRegister(..) | ApiCall::ReceiptStatus(..) => "receipt",
            ApiCall::Image(_) => "image",
            ApiCall::DemoPay => "demo-pay",
        }
    }

    /// The name of a fiscal call that only faults use.
    pub(super) fn receipt_step(&self) -> Option<&'static str> {
        match self {
            ApiCall::ReceiptSave(_) => Some("receipt-save"),
            ApiCall::ReceiptRegister(..) => Some("receipt-register"),
            ApiCall::ReceiptStatus(..) => Some("receipt-status"),
            _ => None,
        }
    }

    /// v1 calls of the SBP API report errors in the body alone.
    pub(super) fn is_v1(&self) -> bool {
        !matches!(self, ApiCall::Register(ApiVersion::V2) | ApiCall::Qr(ApiVersion::V2, _) | ApiCall::Cancel(_))
    }

    pub(super) fn is_fiscal(&self) -> bool {
        self.name() == "receipt"
    }
}

/// How often each call was made; calls with an id in their path are counted per id.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CallCounts {
    register: u64,
    qr: BTreeMap<String, u64>,
    payment_info: BTreeMap<String, u64>,
    cancel: BTreeMap<String, u64>,
    refund: u64,
    refund_info: BTreeMap<String, u64>,
    callback: u64,
    receipt: ReceiptCalls,
}

#[derive(Debug, Clone, Default, Serialize)]
struct ReceiptCalls {
    save: u64,
    register: u64,
    status: u64,
}

impl CallCounts {
    pub(super) fn count(&mut self, call: &ApiCall) {
        match call {
            ApiCall::Register(_) => self.register += 1,
            ApiCall::Qr(_, id) => *self.qr.entry(id.clone()).or_default() += 1,
            ApiCall::PaymentInfo(id) => *self.payment_info.entry(id.clone()).or_default() += 1,
            ApiCall::Cancel(id) => *self.cancel.entry(id.clone()).or_default() += 1,
            ApiCall::Refund => self.refund += 1,
            ApiCall::RefundInfo(id) => *self.refund_info.entry(id.clone()).or_default() += 1,
            ApiCall::Callback => self.callback += 1,
            ApiCall::ReceiptSave(_) => self.receipt.save += 1,
            ApiCall::ReceiptRegister(..) => self.receipt.register += 1,
            ApiCall::ReceiptStatus(..) => self.receipt.status += 1,
            // Made by browsers and payers, not by the merchant's back end.
            ApiCall::Image(_) | ApiCall::DemoPay => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_path_with_another_method_is_method_not_allowed() {
        let route = |method: Method, path: &str| ApiCall::route(&method, &path.split('/').collect::<Vec<_>>());
        assert_eq!(route(Method::POST, "sbp/v2/qrs"), Route::Call(ApiCall::Register(ApiVersion::V2)));
        assert_eq!(route(Method::GET, "sbp/v2/qrs"), Route::MethodNotAllowed);
        assert_eq!(route(Method::DELETE, "sbp/v2/qrs/A"), Route::Call(ApiCall::Cancel("A".to_owned())));
        assert_eq!(route(Method::GET, "sbp/v3/qrs/A"), Route::NotFound);
        let receipt = ApiCall::ReceiptRegister(ReceiptType::Refund, "7".to_owned());
        assert_eq!(route(Method::PUT, "fiscal/v1/receipts/refund/7"), Route::Call(receipt));
        assert_eq!(route(Method::POST, "fiscal/v1/receipts/buy"), Route::NotFound);
    }
}
