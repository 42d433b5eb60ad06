//! The bank's error responses: its own envelope, Spring's error attributes and the page of its proxy.

use hyper::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::timestamp;
use crate::web::{self, WebResponse};

/// The HTTP status of the SBP API's errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ErrorStatusStyle {
    /// 200 for v1 calls, the actual status for v2 calls: what the bank does.
    #[default]
    #[serde(rename = "per-call")]
    PerCall,
    #[serde(rename = "200")]
    Always200,
    #[serde(rename = "400")]
    Always400,
}

/// An error of an API call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BankError {
    /// `{"code","message"}` (errors in `sbp.yaml` and `fiscal.yml`).
    Logical { status: StatusCode, code: &'static str, message: String },
    /// `{"timestamp","status","error","message","path"}`: rejected by the framework.
    Spring(StatusCode),
}

impl BankError {
    /// An error of the SBP API with status 400.
    pub fn logical(code: &'static str, message: impl Into<String>) -> BankError {
        BankError::Logical { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> BankError {
        BankError::logical("ERROR.INVALID_REQUEST", message)
    }

    pub fn qr_not_found() -> BankError {
        let message = "QR-код не найден у данного партнера".to_owned();
        BankError::Logical { status: StatusCode::NOT_FOUND, code: "ERROR.NOT_FOUND", message }
    }

    /// The response to a call of the SBP API, with the status that the style and the version require.
    pub fn sbp_response(&self, style: ErrorStatusStyle, v1: bool, path: &str) -> WebResponse {
        match (self, style) {
            (BankError::Logical { code, message, .. }, ErrorStatusStyle::Always200) => {
                envelope(StatusCode::OK, code, message)
            }
            (BankError::Logical { code, message, .. }, ErrorStatusStyle::PerCall) if v1 => {
                envelope(StatusCode::OK, code, message)
            }
            (BankError::Logical { code, message, .. }, ErrorStatusStyle::Always400) => {
                envelope(StatusCode::BAD_REQUEST, code, message)
            }
            _ => self.response(path),
        }
    }

    /// The response with the actual status.
    pub fn response(&self, path: &str) -> WebResponse {
        match self {
            BankError::Logical { status, code, message } => envelope(*status, code, message),
            BankError::Spring(status) => spring(*status, path),
        }
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    code: &'a str,
    message: &'a str,
}

pub fn envelope(status: StatusCode, code: &str, message: &str) -> WebResponse {
    web::json(status, &Envelope { code, message })
}

#[derive(Serialize)]
struct SpringError<'a> {
    timestamp: String,
    status: u16,
    error: &'a str,
    message: &'a str,
    path: &'a str,
}

/// The default error attributes of Spring Boot.
fn spring(status: StatusCode, path: &str) -> WebResponse {
    let timestamp = timestamp::format_spring(Timestamp::now());
    let error = status.canonical_reason().unwrap_or_default();
    web::json(status, &SpringError { timestamp, status: status.as_u16(), error, message: "", path })
}

/// The page of the bank's reverse proxy when its upstream is unavailable.
pub fn bad_gateway() -> WebResponse {
    let page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1>\
                </center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";
    let mut response = web::html(page);
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
