//! Delivery of notifications over HTTP, with retries and exponential backoff.
//!
//! # Invariants
//! - Notifications are sent to loopback addresses only.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
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
use tokio::sync::oneshot;

use super::notification::{DeliveryAttempt, Notification};
use super::state::{BankState, MerchantAccount};
use super::timestamp;

/// The bank retries for a day (`sbp.yaml`), at growing intervals that it does not publish.
const RETRY_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(60 * 60);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a response body is recorded.
const MAX_RESPONSE_BYTES: usize = 4_096;

/// Starts to deliver a code's notification, until it is accepted or the retry period is over. The receiver resolves after
/// the first attempt.
pub fn send(state: &Arc<BankState>, qr: &str, index: usize, delay: Duration) -> oneshot::Receiver<()> {
    let (first_attempt, receiver) = oneshot::channel();
    let (state, qr) = (state.clone(), qr.to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        let started = tokio::time::Instant::now();
        let mut first_attempt = Some(first_attempt);
        let mut backoff = FIRST_BACKOFF;
        while deliver(&state, &qr, index).await == Outcome::Retry {
            // Dropping the sender resolves the receiver.
            drop(first_attempt.take());
            if started.elapsed() + backoff > RETRY_PERIOD {
                break;
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    });
    receiver
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Retry,
    Done,
}

async fn deliver(state: &BankState, qr: &str, index: usize) -> Outcome {
    let found = state.data().code(qr).and_then(|code| {
        let notification = code.notifications.get(index)?;
        Some((notification.clone(), code.registration.merchant.clone()))
    });
    // The sandbox may have been reset.
    let Some((notification, merchant)) = found else { return Outcome::Done };
    let Some(account) = state.account(&merchant) else { return Outcome::Done };
    let at = timestamp::format_micros(Timestamp::now());
    let result = tokio::time::timeout(RESPONSE_TIMEOUT, post(account, &notification)).await;
    let (status, answer) = match result {
        Ok(Ok((status, answer))) => (Some(status), answer),
        Ok(Err(message)) => (None, message),
        Err(_) => (None, format!("no response within {} s", RESPONSE_TIMEOUT.as_secs())),
    };
    // The bank takes no other status for accepted.
    let accepted = status == Some(200);
    let recorded = {
        let mut data = state.data();
        let notification = data.code_mut(qr).and_then(|code| code.notifications.get_mut(index));
        notification.map(|notification| {
            notification.attempts.push(DeliveryAttempt { at, status, answer });
            notification.accepted = accepted;
        })
    };
    state.publish_change();
    if accepted || recorded.is_none() { Outcome::Done } else { Outcome::Retry }
}

/// The status and the body of the response.
///
/// # Errors
/// Why there is no response.
async fn post(account: &MerchantAccount, notification: &Notification) -> Result<(u16, String), String> {
    let uri: Uri = notification.url.parse().map_err(|error| format!("{}: {error}", notification.url))?;
    if !is_loopback(&uri) {
        return Err(format!("{uri} is not a loopback address; the notification was not sent"));
    }
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls(account)?)
        .https_or_http()
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let request = Request::post(uri)
        .header(CONTENT_TYPE, "application/json")
        .header("X-Api-Signature-SHA256", &notification.signature)
        .body(Full::new(Bytes::from(notification.body.clone())))
        .map_err(|error| error.to_string())?;
    let response = client.request(request).await.map_err(|error| with_sources(&error))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await;
    let body = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
    Ok((status, body.unwrap_or_else(|error| error.to_string())))
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Trusts `callback_ca` of the merchant's settings and no other authority.
fn tls(account: &MerchantAccount) -> Result<ClientConfig, String> {
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

/// An error with its sources, which hyper's own message leaves out.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_are_sent_to_loopback_only() {
        let accepted = |text: &str| is_loopback(&text.parse().expect("a URI"));
        assert!(accepted("https://localhost:445/payments/raiffeisen/notify"));
        assert!(accepted("http://127.0.0.1:1/") && accepted("http://[::1]:1/"));
        assert!(!accepted("https://example.org/") && !accepted("https://localhost.example.org/"));
    }
}
