//! The bank's refusals, in the three shapes that it has: its own envelope, Spring's, a proxy's page.
//!
//! Returned by every call of the API. What must never happen: a key or another merchant's data in a refusal.

use hyper::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::moment;
use crate::web::{self, Answer};

/// Under which HTTP status the SBP API's own errors travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Style {
    /// v1 calls answer 200, v2 calls the real status: what was seen of the bank.
    #[default]
    #[serde(rename = "per-call")]
    PerCall,
    #[serde(rename = "200")]
    Always200,
    #[serde(rename = "400")]
    Always400,
}

/// Why a call got no answer of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// `{"code","message"}` (errors in `sbp.yaml` and `fiscal.yml`).
    Logical { status: StatusCode, code: &'static str, message: String },
    /// `{"timestamp","status","error","message","path"}`: what never reaches the bank's own code.
    Spring(StatusCode),
}

impl Problem {
    /// A refusal of the SBP API: 400 where the status is told.
    pub fn refused(code: &'static str, message: impl Into<String>) -> Problem {
        Problem::Logical { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Problem {
        Problem::refused("ERROR.INVALID_REQUEST", message)
    }

    pub fn no_such_qr() -> Problem {
        let message = "QR-код не найден у данного партнера".to_owned();
        Problem::Logical { status: StatusCode::NOT_FOUND, code: "ERROR.NOT_FOUND", message }
    }

    /// As an answer to a call of the SBP API: `v1` calls hide the status where the style does not say otherwise.
    pub fn sbp_answer(&self, style: Style, v1: bool, path: &str) -> Answer {
        match (self, style) {
            (Problem::Logical { code, message, .. }, Style::Always200) => envelope(StatusCode::OK, code, message),
            (Problem::Logical { code, message, .. }, Style::PerCall) if v1 => envelope(StatusCode::OK, code, message),
            (Problem::Logical { code, message, .. }, Style::Always400) => {
                envelope(StatusCode::BAD_REQUEST, code, message)
            }
            _ => self.plain_answer(path),
        }
    }

    /// As an answer with its real status.
    pub fn plain_answer(&self, path: &str) -> Answer {
        match self {
            Problem::Logical { status, code, message } => envelope(*status, code, message),
            Problem::Spring(status) => spring(*status, path),
        }
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    code: &'a str,
    message: &'a str,
}

pub fn envelope(status: StatusCode, code: &str, message: &str) -> Answer {
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

/// Spring Boot's default error attributes.
fn spring(status: StatusCode, path: &str) -> Answer {
    let timestamp = moment::spring(Timestamp::now());
    let error = status.canonical_reason().unwrap_or_default();
    web::json(status, &SpringError { timestamp, status: status.as_u16(), error, message: "", path })
}

/// What the proxy before the bank shows when nobody is behind it.
pub fn bad_gateway() -> Answer {
    let page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1>\
                </center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";
    let mut answer = web::html(page);
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    answer
}
