//! Error responses of the Bot API.

use hyper::StatusCode;
use serde_json::json;

use crate::web::{self, WebResponse};

/// An error response: `{"ok":false,"error_code":…,"description":…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    code: u16,
    pub description: String,
    retry_after_s: Option<u32>,
}

impl ApiError {
    pub fn new(code: u16, description: String) -> ApiError {
        ApiError { code, description, retry_after_s: None }
    }

    pub fn bad_request(reason: &str) -> ApiError {
        ApiError::new(400, format!("Bad Request: {reason}"))
    }

    pub fn too_many_requests(retry_after_s: u32) -> ApiError {
        let description = format!("Too Many Requests: retry after {retry_after_s}");
        ApiError { retry_after_s: Some(retry_after_s), ..ApiError::new(429, description) }
    }

    pub fn response(&self) -> WebResponse {
        let mut body = json!({ "ok": false, "error_code": self.code, "description": self.description });
        if let Some(seconds) = self.retry_after_s {
            body["parameters"] = json!({ "retry_after": seconds });
        }
        web::json(StatusCode::from_u16(self.code).expect("a valid HTTP status"), &body)
    }
}
