//! The error type: a public message for the response, a cause for the log.
//!
//! # Invariants
//!
//! Only `code`, `public` and `data` reach a client. A cause (SQL, a host name, a path) never does.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;

use serde_json::{Map, Value};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The class of an error (contract section 2); `http::response` maps each to a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// 400: the request cannot be parsed.
    Malformed,
    /// 401: no valid session, signature or login data.
    Unauthorized,
    Forbidden,
    NotFound,
    /// 405, with the value of the `Allow` header.
    MethodNotAllowed(String),
    /// 409: the request contradicts the current state.
    Conflict,
    BodyTooLarge,
    UriTooLong,
    HeadTooLarge,
    UnsupportedMediaType,
    /// 422: the request is valid and not acceptable.
    Unprocessable,
    /// 429, with `Retry-After`.
    TooManyRequests {
        retry_after_s: u32,
    },
    /// 502: an upstream service (the bank) refused or sent an invalid response.
    BadGateway,
    /// 500: a bug or an unexpected state.
    Internal,
    /// 503, with `Retry-After`: a dependency (PostgreSQL, Redis) is unavailable.
    Unavailable {
        retry_after_s: u32,
    },
    /// 504: a dependency or the request itself exceeded its deadline.
    Timeout,
}

/// An error with a fixed public message where the server is at fault, so that no part of the cause can leak.
pub struct Error(Box<ErrorDetails>);

/// The fields of an [`Error`]; boxed, so that a `Result` stays small.
pub struct ErrorDetails {
    pub kind: Kind,
    /// Machine-readable: `not_found`, `bad_count`.
    pub code: &'static str,
    /// A message that a front-end developer can act on.
    pub public: Cow<'static, str>,
    /// Further members of the JSON body, such as `left`.
    pub data: Map<String, Value>,
    /// For the log only.
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// Where the error was created, for the log.
    pub at: &'static Location<'static>,
}

impl std::ops::Deref for Error {
    type Target = ErrorDetails;

    fn deref(&self) -> &ErrorDetails {
        &self.0
    }
}

impl Error {
    #[track_caller]
    fn new(kind: Kind, code: &'static str, public: impl Into<Cow<'static, str>>) -> Error {
        let at = Location::caller();
        Error(Box::new(ErrorDetails { kind, code, public: public.into(), data: Map::new(), cause: None, at }))
    }

    /// 400: `code` names the problem, `public` says what is expected.
    #[track_caller]
    pub fn malformed(code: &'static str, public: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::Malformed, code, public)
    }

    /// 401: `code` names the credential that was rejected.
    #[track_caller]
    pub fn unauthorized(code: &'static str, public: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::Unauthorized, code, public)
    }

    /// 422: `code` names the problem, `public` says what is acceptable.
    #[track_caller]
    pub fn unprocessable(code: &'static str, public: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::Unprocessable, code, public)
    }

    /// 429 with `Retry-After`.
    #[track_caller]
    pub fn too_many_requests(retry_after_s: u32, public: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::TooManyRequests { retry_after_s }, "too_many_requests", public)
    }

    /// 502: an upstream service failed; its response goes to the log.
    #[track_caller]
    pub fn bad_gateway(
        public: impl Into<Cow<'static, str>>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::new(Kind::BadGateway, "bad_gateway", public).with_cause(cause)
    }

    /// 504: the bank exceeded its deadline; repeating the request is safe.
    #[track_caller]
    pub fn bank_timeout(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let public = "The bank takes too long to answer; please try the same order again.";
        Error::new(Kind::Timeout, "bank_timeout", public).with_cause(cause)
    }

    #[track_caller]
    pub fn forbidden(code: &'static str, public: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::Forbidden, code, public)
    }

    /// 404: `what` is the noun that does not exist ("item", "category", "path").
    #[track_caller]
    pub fn not_found(what: &str) -> Error {
        Error::new(Kind::NotFound, "not_found", format!("There is no such {what}."))
    }

    #[track_caller]
    pub fn method_not_allowed(allow: &str) -> Error {
        let public = format!("This path answers only to {allow}.");
        Error::new(Kind::MethodNotAllowed(allow.to_owned()), "method_not_allowed", public)
    }

    /// 409: `code` names the conflict, `public` says what is possible.
    #[track_caller]
    pub fn conflict(code: &'static str, public: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::Conflict, code, public)
    }

    #[track_caller]
    pub fn unsupported_media_type() -> Error {
        Error::new(
            Kind::UnsupportedMediaType,
            "unsupported_media_type",
            "The body must be JSON, with Content-Type: application/json.",
        )
    }

    #[track_caller]
    pub fn body_too_large(limit_bytes: usize) -> Error {
        Error::new(
            Kind::BodyTooLarge,
            "body_too_large",
            format!("The body is larger than the {limit_bytes} bytes that are read here."),
        )
    }

    #[track_caller]
    pub fn uri_too_long() -> Error {
        Error::new(Kind::UriTooLong, "uri_too_long", "The address of this request is too long.")
    }

    #[track_caller]
    pub fn head_too_large(limit_bytes: u32) -> Error {
        let public = format!("The request's headers are larger than the {limit_bytes} bytes that are read here.");
        Error::new(Kind::HeadTooLarge, "head_too_large", public)
    }

    /// 500: the cause goes to the log, the client reads a fixed message.
    #[track_caller]
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::new(Kind::Internal, "internal", "Something went wrong on our side.").with_cause(cause)
    }

    /// 503 with `Retry-After`: a dependency is unavailable.
    #[track_caller]
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::new(
            Kind::Unavailable { retry_after_s: 2 },
            "unavailable",
            "The shop cannot reach its data right now; please try again in a moment.",
        )
        .with_cause(cause)
    }

    /// 503 with `Retry-After`: the limit of requests in progress is reached.
    #[track_caller]
    pub fn overloaded() -> Error {
        Error::new(
            Kind::Unavailable { retry_after_s: 1 },
            "overloaded",
            "Too many requests are being answered at the moment; please try again in a second.",
        )
    }

    /// 504: the work exceeded its deadline.
    #[track_caller]
    pub fn timeout(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::new(Kind::Timeout, "timeout", "This took too long; please try again.").with_cause(cause)
    }

    /// The same error for another request that was coalesced with the one that failed.
    #[track_caller]
    pub fn for_coalesced_request(&self) -> Error {
        let mut copy = Error::new(self.kind.clone(), self.code, self.public.clone());
        copy.0.data = self.data.clone();
        copy.with_cause(format!("failed in a coalesced request: {self}"))
    }

    /// Sets the cause that is logged.
    pub fn with_cause(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.0.cause = Some(cause.into());
        self
    }

    /// Adds a member to the JSON body.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Error {
        self.0.data.insert(key.to_owned(), value.into());
        self
    }
}

/// Converts foreign errors. Unlike `map_err(Error::internal)` it records the location of the caller.
pub trait ResultExt<T> {
    /// 500.
    ///
    /// # Errors
    /// An [`Error`] with the foreign one as its cause.
    fn or_internal(self) -> Result<T>;
    /// 503.
    ///
    /// # Errors
    /// As [`ResultExt::or_internal`].
    fn or_unavailable(self) -> Result<T>;
    /// 504.
    ///
    /// # Errors
    /// As [`ResultExt::or_internal`].
    fn or_timeout(self) -> Result<T>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> ResultExt<T> for Result<T, E> {
    #[track_caller]
    fn or_internal(self) -> Result<T> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(Error::internal(error)),
        }
    }

    #[track_caller]
    fn or_unavailable(self) -> Result<T> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(Error::unavailable(error)),
        }
    }

    #[track_caller]
    fn or_timeout(self) -> Result<T> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(Error::timeout(error)),
        }
    }
}

/// For the log: the chain of causes, or the public message where there is none.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(cause) = self.cause.as_deref() else { return f.write_str(&self.public) };
        let mut message = cause.to_string();
        let mut source = cause.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            // Some crates repeat the message of their source.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = inner.source();
        }
        f.write_str(&message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}: {self}", self.kind, self.at)
    }
}

impl std::error::Error for Error {}

impl From<tokio_postgres::Error> for Error {
    /// 503 or 504 for what a retry may solve (connection lost, resources, deadlock, timeout), 500 for the rest.
    #[track_caller]
    fn from(cause: tokio_postgres::Error) -> Error {
        use tokio_postgres::error::SqlState as S;
        match cause.code() {
            Some(&S::QUERY_CANCELED) => Error::timeout(cause),
            // Class 08: connection exceptions; 57P: server shutdown and startup.
            Some(code) if code.code().starts_with("08") || code.code().starts_with("57P") => Error::unavailable(cause),
            // Class 53: insufficient resources.
            Some(code) if code.code().starts_with("53") => Error::unavailable(cause),
            Some(&S::LOCK_NOT_AVAILABLE) => Error::unavailable(cause),
            Some(&S::READ_ONLY_SQL_TRANSACTION | &S::T_R_SERIALIZATION_FAILURE | &S::T_R_DEADLOCK_DETECTED) => {
                Error::unavailable(cause)
            }
            Some(_) => Error::internal(cause),
            // No code from the server: the connection failed, or a value does not fit its column.
            None if cause.is_closed() || has_io_source(&cause) => Error::unavailable(cause),
            None => Error::internal(cause),
        }
    }
}

impl From<deadpool_postgres::PoolError> for Error {
    #[track_caller]
    fn from(cause: deadpool_postgres::PoolError) -> Error {
        Error::unavailable(cause)
    }
}

fn has_io_source(cause: &(dyn std::error::Error + 'static)) -> bool {
    let mut source = Some(cause);
    while let Some(inner) = source {
        if inner.is::<std::io::Error>() {
            return true;
        }
        source = inner.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_error_does_not_reveal_its_cause() {
        let error = Error::internal("relation \"item\" does not exist");
        assert_eq!(error.public, "Something went wrong on our side.");
        assert!(format!("{error}").contains("relation"), "the log has the cause");
    }

    #[test]
    fn a_message_repeated_in_the_chain_appears_once() {
        let refused = || std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
        let outer = std::io::Error::other(refused());
        assert_eq!(Error::unavailable(outer).to_string(), "refused");
    }

    #[test]
    fn a_converted_error_records_the_callers_location() {
        let (refused, line) = (Err::<(), _>("refused").or_unavailable(), line!());
        let error = refused.expect_err("it was refused");
        assert_eq!((error.at.file(), error.at.line()), (file!(), line));
    }
}
