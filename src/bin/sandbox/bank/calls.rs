//! Which calls the bank has, and how often each was made.
//!
//! Called by `bank::api` for every request before anything else, so that tests can count what the gateway asks. What
//! must never happen: a call of the gateway that is not counted.

use std::collections::BTreeMap;

use hyper::Method;
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::register::Version;

/// The two receipts of `fiscal.yml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReceiptType {
    Sell,
    Refund,
}

/// A call of the API with what stands in its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Register(Version),
    Qr(Version, String),
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

/// What a path and a method lead to.
#[derive(Debug, PartialEq, Eq)]
pub enum Route {
    To(Call),
    OtherMethod,
    Nowhere,
}

impl Call {
    /// Below `/api`.
    pub fn route(method: &Method, path: &[&str]) -> Route {
        let id = |place: usize| percent_decode_str(path[place]).decode_utf8_lossy().into_owned();
        let calls: Vec<(Method, Call)> = match path {
            ["sbp", "v1", "qr", "register"] => vec![(Method::POST, Call::Register(Version::V1))],
            ["sbp", "v2", "qrs"] => vec![(Method::POST, Call::Register(Version::V2))],
            ["sbp", "v2", "qrs", _] => {
                vec![(Method::GET, Call::Qr(Version::V2, id(3))), (Method::DELETE, Call::Cancel(id(3)))]
            }
            ["sbp", "v1", "qr", _, "info"] => vec![(Method::GET, Call::Qr(Version::V1, id(3)))],
            ["sbp", "v1", "qr", _, "payment-info"] => vec![(Method::GET, Call::PaymentInfo(id(3)))],
            ["sbp", "v1", "qr", _, "image"] => vec![(Method::GET, Call::Image(id(3)))],
            ["sbp", "v1", "refund"] => vec![(Method::POST, Call::Refund)],
            ["sbp", "v1", "refund", _] => vec![(Method::GET, Call::RefundInfo(id(3)))],
            ["settings", "v1", "callback"] => vec![(Method::POST, Call::Callback)],
            ["fiscal", "v1", "receipts", kind @ ("sell" | "refund"), rest @ ..] => {
                let kind = if *kind == "sell" { ReceiptType::Sell } else { ReceiptType::Refund };
                match rest {
                    [] => vec![(Method::POST, Call::ReceiptSave(kind))],
                    [_] => vec![
                        (Method::PUT, Call::ReceiptRegister(kind, id(4))),
                        (Method::GET, Call::ReceiptStatus(kind, id(4))),
                    ],
                    _ => Vec::new(),
                }
            }
            ["nspc-mock", "v01", "rfuture", "payment", "init"] => vec![(Method::POST, Call::DemoPay)],
            _ => Vec::new(),
        };
        if calls.is_empty() {
            return Route::Nowhere;
        }
        let call = calls.into_iter().find(|(wanted, _)| wanted == method);
        call.map_or(Route::OtherMethod, |(_, call)| Route::To(call))
    }

    /// What scripts call it.
    pub fn name(&self) -> &'static str {
        match self {
            Call::Register(_) => "register",
            Call::Qr(..) => "qr",
            Call::PaymentInfo(_) => "payment-info",
            Call::Cancel(_) => "cancel",
            Call::Refund => "refund",
            Call::RefundInfo(_) => "refund-info",
            Call::Callback => "callback",
            Call::ReceiptSave(_) | Call::ReceiptRegister(..) | Call::ReceiptStatus(..) => "receipt",
            Call::Image(_) => "image",
            Call::DemoPay => "demo-pay",
        }
    }

    /// v1 calls of the SBP API tell an error in the body alone.
    pub fn is_v1(&self) -> bool {
        !matches!(self, Call::Register(Version::V2) | Call::Qr(Version::V2, _) | Call::Cancel(_))
    }

    pub fn is_fiscal(&self) -> bool {
        self.name() == "receipt"
    }
}

/// How often each call was made; calls with an id in their path are counted for each id.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Calls {
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

impl Calls {
    pub fn count(&mut self, call: &Call) {
        match call {
            Call::Register(_) => self.register += 1,
            Call::Qr(_, id) => *self.qr.entry(id.clone()).or_default() += 1,
            Call::PaymentInfo(id) => *self.payment_info.entry(id.clone()).or_default() += 1,
            Call::Cancel(id) => *self.cancel.entry(id.clone()).or_default() += 1,
            Call::Refund => self.refund += 1,
            Call::RefundInfo(id) => *self.refund_info.entry(id.clone()).or_default() += 1,
            Call::Callback => self.callback += 1,
            Call::ReceiptSave(_) => self.receipt.save += 1,
            Call::ReceiptRegister(..) => self.receipt.register += 1,
            Call::ReceiptStatus(..) => self.receipt.status += 1,
            // Browsers and payers, not the merchant's back end.
            Call::Image(_) | Call::DemoPay => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_another_method_is_known() {
        let route = |method: Method, path: &str| Call::route(&method, &path.split('/').collect::<Vec<_>>());
        assert_eq!(route(Method::POST, "sbp/v2/qrs"), Route::To(Call::Register(Version::V2)));
        assert_eq!(route(Method::GET, "sbp/v2/qrs"), Route::OtherMethod);
        assert_eq!(route(Method::DELETE, "sbp/v2/qrs/A"), Route::To(Call::Cancel("A".to_owned())));
        assert_eq!(route(Method::GET, "sbp/v3/qrs/A"), Route::Nowhere);
        let receipt = Call::ReceiptRegister(ReceiptType::Refund, "7".to_owned());
        assert_eq!(route(Method::PUT, "fiscal/v1/receipts/refund/7"), Route::To(receipt));
        assert_eq!(route(Method::POST, "fiscal/v1/receipts/buy"), Route::Nowhere);
    }
}
