//! A notification about a payment, with its delivery attempts.

use serde::Serialize;

/// A signed notification and the attempts to deliver it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    pub url: String,
    /// `X-Api-Signature-SHA256`.
    pub signature: String,
    pub body: String,
    pub attempts: Vec<DeliveryAttempt>,
    pub accepted: bool,
}

/// One delivery attempt.
#[derive(Debug, Clone, Serialize)]
pub struct DeliveryAttempt {
    pub at: String,
    /// The HTTP status of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The response body, or the error.
    pub answer: String,
}
