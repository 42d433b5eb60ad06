//! Notifications: what the bank tells a merchant about a payment, signed, and again until it is heard.
//!
//! Started by `payer`. What must never happen: a body that differs from what was signed, or one that leaves this
//! machine.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::Sha256;
use tokio::sync::oneshot;

use super::moment;
use super::office::{Account, Office};
use super::qr::{Payment, PaymentStatus, Qr};

/// For so long the bank tries (`sbp.yaml`: a day, at growing intervals; the intervals are not published).
const TRIES_FOR: Duration = Duration::from_secs(24 * 60 * 60);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Of an answer, for the log.
const ANSWER_BYTES: usize = 4_096;

/// One notification and how it fared.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    pub url: String,
    /// `X-Api-Signature-SHA256`.
    pub signature: String,
    pub body: String,
    pub attempts: Vec<Delivery>,
    pub accepted: bool,
}

/// One attempt to deliver.
#[derive(Debug, Clone, Serialize)]
pub struct Delivery {
    pub at: String,
    /// The HTTP status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Its body, or why there is none.
    pub answer: String,
}

/// `paymentNotification` of `sbp.yaml`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    transaction_id: u64,
    qr_id: &'a str,
    sbp_merchant_id: &'a str,
    merchant_id: u64,
    amount: &'a RawValue,
    currency: &'static str,
    transaction_date: &'a str,
    payment_status: PaymentStatus,
    additional_info: Option<&'a str>,
    order: Option<&'a str>,
    create_date: String,
}

impl Notice {
    /// `amount` is the literal that shall stand in the body, where it is not the shortest.
    pub fn new(account: &Account, url: &str, code: &Qr, payment: &Payment, amount: Option<&RawValue>) -> Notice {
        let shortest = payment.amount.literal();
        let amount = amount.unwrap_or(&shortest);
        let transaction_date = moment::with_micros(payment.at);
        let order = code.ordered.order.as_deref();
        let body = Body {
            transaction_id: payment.id,
            qr_id: &code.id,
            sbp_merchant_id: &account.id,
            merchant_id: account.number,
            amount,
            currency: "RUB",
            transaction_date: &transaction_date,
            payment_status: payment.status(),
            additional_info: code.ordered.additional_info.as_deref(),
            order,
            create_date: moment::with_micros(code.created),
        };
        let status = payment.status().word();
        let signed = [amount.get(), &account.id, order.unwrap_or_default(), status, &transaction_date];
        Notice {
            url: url.to_owned(),
            signature: signature(&account.key, signed),
            body: serde_json::to_string(&body).expect("texts and numbers serialise"),
            attempts: Vec::new(),
            accepted: false,
        }
    }
}

/// HMAC-SHA256 of `amount|sbpMerchantId|order|paymentStatus|transactionDate` in lower-case hexadecimal (Callback in
/// `sbp.yaml`).
fn signature(key: &str, parts: [&str; 5]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(parts.join("|").as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Delivers a code's notice until it is accepted or a day is over. What is returned resolves after the first attempt.
pub fn send(office: &Arc<Office>, qr: &str, place: usize, delay: Duration) -> oneshot::Receiver<()> {
    let (tell, told) = oneshot::channel();
    let (office, qr) = (office.clone(), qr.to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        let started = tokio::time::Instant::now();
        let mut first = Some(tell);
        let mut pause = FIRST_PAUSE;
        while deliver(&office, &qr, place).await == Outcome::TryAgain {
            // Whoever waits for the first attempt is let go.
            drop(first.take());
            if started.elapsed() + pause > TRIES_FOR {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    });
    told
}

#[derive(PartialEq, Eq)]
enum Outcome {
    TryAgain,
    Over,
}

async fn deliver(office: &Office, qr: &str, place: usize) -> Outcome {
    let found = office.ledger().code(qr).and_then(|code| {
        let notice = code.notices.get(place)?;
        Some((notice.clone(), code.ordered.merchant.clone()))
    });
    // The sandbox was reset meanwhile.
    let Some((notice, merchant)) = found else { return Outcome::Over };
    let Some(account) = office.account(&merchant) else { return Outcome::Over };
    let at = moment::with_micros(Timestamp::now());
    let answered = tokio::time::timeout(ANSWER_WITHIN, post(account, &notice)).await;
    let (status, answer) = match answered {
        Ok(Ok((status, answer))) => (Some(status), answer),
        Ok(Err(sentence)) => (None, sentence),
        Err(_) => (None, format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
    };
    // No other code means that it was accepted.
    let accepted = status == Some(200);
    let kept = {
        let mut ledger = office.ledger();
        let notice = ledger.code_mut(qr).and_then(|code| code.notices.get_mut(place));
        notice.map(|notice| {
            notice.attempts.push(Delivery { at, status, answer });
            notice.accepted = accepted;
        })
    };
    office.changed();
    if accepted || kept.is_none() { Outcome::Over } else { Outcome::TryAgain }
}

/// The status and the body of the answer, or why there is none.
async fn post(account: &Account, notice: &Notice) -> Result<(u16, String), String> {
    let uri: Uri = notice.url.parse().map_err(|error| format!("{}: {error}", notice.url))?;
    if !is_loopback(&uri) {
        return Err(format!("{uri} is not on this machine: nothing was sent"));
    }
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls(account)?)
        .https_or_http()
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let request = Request::post(uri)
        .header(CONTENT_TYPE, "application/json")
        .header("X-Api-Signature-SHA256", &notice.signature)
        .body(Full::new(Bytes::from(notice.body.clone())))
        .map_err(|error| error.to_string())?;
    let response = client.request(request).await.map_err(|error| with_sources(&error))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
    let body = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
    Ok((status, body.unwrap_or_else(|error| error.to_string())))
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Trusts the authority of the merchant's setting and no other.
fn tls(account: &Account) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &account.callback_ca {
        let of_file = |error: String| format!("{}: {error}", path.display());
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| of_file(error.to_string()))? {
            let certificate = certificate.map_err(|error| of_file(error.to_string()))?;
            roots.add(certificate).map_err(|error| of_file(error.to_string()))?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// An error and what caused it: hyper's own sentence alone says little.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut sentence = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        sentence = format!("{sentence}: {cause}");
        source = cause.source();
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_that_python_computes() {
        let parts = ["1110.11", "MA0000000552", "1-22-333", "SUCCESS", "2019-07-11T17:45:13.109227+03:00"];
        assert_eq!(
            signature("eyJhbGciOiJIUzI1NiJ9.secret", parts),
            "32624ffac42225e1728f35e36c4a904cea56420591357962ccffae0326a72bb8"
        );
    }

    #[test]
    fn notifications_stay_on_this_machine() {
        let inside = |text: &str| is_loopback(&text.parse().expect("a URI"));
        assert!(inside("https://localhost:445/payments/raiffeisen/notify"));
        assert!(inside("http://127.0.0.1:1/") && inside("http://[::1]:1/"));
        assert!(!inside("https://example.org/") && !inside("https://localhost.example.org/"));
    }
}
