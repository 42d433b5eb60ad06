//! The error type of the program: a public message for the client, a cause for the log.
//!
//! # Invariants
//!
//! A cause (SQL, a host name, a path) never reaches a client: only `code`, `public` and `data` are sent.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;

use serde_json::{Map, Value};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The class of an error. `http::response` maps each to an HTTP status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The request cannot be parsed or has an invalid value.
    Malformed,
    /// There is no valid session, signature or login.
    Unauthorized,
    Forbidden,
    NotFound,
    /// Holds the methods that the path supports, in the format of the `Allow` header.
    MethodNotAllowed(String),
    /// The request contradicts the current state: out of stock, already paid.
    Conflict,
    BodyTooLarge,
    UriTooLong,
    HeadersTooLarge,
    UnsupportedMediaType,
    /// The request's `Expect` header cannot be met.
    ExpectationFailed,
    /// The request uses a part of HTTP that is not supported.
    NotImplemented,
    /// The request is well-formed and cannot be processed as it is.
    Unprocessable,
    /// A rate limit was exceeded.
    TooManyRequests {
        retry_after_s: u32,
    },
    /// An upstream (the bank) refused the request or sent an invalid response.
    BadGateway,
    /// A bug or a misconfiguration of the server.
    Internal,
    /// A dependency (PostgreSQL, Redis) is unavailable.
    Unavailable {
        retry_after_s: u32,
    },
    /// A limit of what clients may hold is reached.
    Overloaded {
        retry_after_s: u32,
    },
    /// A dependency or the handler exceeded its deadline.
    Timeout,
    /// The client did not send the body within the deadline.
    BodyTimeout,
}

/// An error with its details boxed, so that a `Result` stays small. Server errors have a fixed public message, which cannot
/// contain anything of the cause.
pub struct Error(Box<Details>);

/// The details of an [`Error`], which dereferences to them.
pub struct Details {
    pub kind: Kind,
    /// The machine-readable code: `not_found`, `bad_count`.
    pub code: &'static str,
    /// The message for the client, which says how to correct the request.
    pub public: Cow<'static, str>,
    /// More members of the JSON body, such as `left`.
    pub data: Map<String, Value>,
    /// Goes to the log only.
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// Where the error was constructed, for the log.
    pub at: &'static Location<'static>,
}

impl std::ops::Deref for Error {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl Error {
    /// An error of a kind that one place alone returns; the others have constructors.
    #[track_caller]
    pub(crate) fn new(kind: Kind, code: &'static str, public: impl Into<Cow<'static, str>>) -> Error {
        let at = Location::caller();
        Error(Box::new(Details { kind, code, public: public.into(), data: Map::new(), cause: None, at }))
    }

    /// 400: `code` names the invalid value, `public` says what is valid.
    #[track_caller]
    pub fn malformed(code: &'static str, public: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::Malformed, code, public)
    }

    /// 401: `code` names the credential that is missing or invalid.
    #[track_caller]
    pub fn unauthorized(code: &'static str, public: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::Unauthorized, code, public)
    }

    /// 422: `code` names what cannot be processed, `public` says what can.
    #[track_caller]
    pub fn unprocessable(code: &'static str, public: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::Unprocessable, code, public)
    }

    /// 429 with `Retry-After`.
    #[track_caller]
    pub fn too_many_requests(retry_after_s: u32, public: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::TooManyRequests { retry_after_s }, "too_many_requests", public)
    }

    /// 502: an upstream failed; its response goes to the log.
    #[track_caller]
    pub fn bad_gateway(
        public: impl Into<Cow<'static, str>>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::new(Kind::BadGateway, "bad_gateway", public).with_cause(cause)
    }

    /// 504: the bank exceeded its deadline. The client may repeat the request: it is idempotent.
    #[track_caller]
    pub fn bank_timeout(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let public = "The bank takes too long to answer; please try the same order again.";
        Error::new(Kind::Timeout, "bank_timeout", public).with_cause(cause)
    }

    /// 403.
    #[track_caller]
    pub fn forbidden(code: &'static str, public: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::Forbidden, code, public)
    }

    /// 404: `what` is the noun that does not exist ("item", "category", "path").
    #[track_caller]
    pub fn not_found(what: &str) -> Error {
        Error::new(Kind::NotFound, "not_found", format!("There is no such {what}."))
    }

    /// 405: `allow` lists the supported methods, separated by commas.
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

    /// 415.
    #[track_caller]
    pub fn unsupported_media_type() -> Error {
        Error::new(
            Kind::UnsupportedMediaType,
            "unsupported_media_type",
            "The body must be JSON, with Content-Type: application/json.",
        )
    }

    /// 413.
    #[track_caller]
    pub fn body_too_large(limit_bytes: usize) -> Error {
        Error::new(
            Kind::BodyTooLarge,
            "body_too_large",
            format!("The body is larger than the {limit_bytes} bytes that are read here."),
        )
    }

    /// 414.
    #[track_caller]
    pub fn uri_too_long() -> Error {
        Error::new(Kind::UriTooLong, "uri_too_long", "The address of this request is too long.")
    }

    /// 431.
    #[track_caller]
    pub fn headers_too_large(limit_bytes: u32) -> Error {
        let public = format!("The request's headers are larger than the {limit_bytes} bytes that are read here.");
        Error::new(Kind::HeadersTooLarge, "head_too_large", public)
    }

    /// 431.
    #[track_caller]
    pub fn too_many_headers(limit: usize) -> Error {
        let public = format!("The request has more than the {limit} header fields that are read here.");
        Error::new(Kind::HeadersTooLarge, "head_too_large", public)
    }

    /// 500: the cause goes to the log, the client gets a fixed message.
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

    /// 504: the request exceeded its deadline.
    #[track_caller]
    pub fn timeout(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::new(Kind::Timeout, "timeout", "This took too long; please try again.").with_cause(cause)
    }

    /// The same error for another request that waited for the same result.
    #[track_caller]
    pub fn duplicate(&self) -> Error {
        let mut duplicate = Error::new(self.kind.clone(), self.code, self.public.clone());
        duplicate.0.data = self.data.clone();
        duplicate.with_cause(self.to_string())
    }

    /// Sets the cause, which goes to the log only.
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

/// Converts the errors of other crates. Unlike `map_err(Error::internal)`, it records the location of the caller.
pub trait ResultExt<T> {
    /// # Errors
    /// 500, with the original error as its cause.
    fn or_internal(self) -> Result<T>;
    /// # Errors
    /// 503, with the original error as its cause.
    fn or_unavailable(self) -> Result<T>;
    /// # Errors
    /// 504, with the original error as its cause.
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

/// Converts the violation of a named constraint where the statement runs.
pub trait ConstraintExt<T> {
    /// # Errors
    /// `error` when the constraint or unique index of that name was violated; otherwise as [`Error::from`] converts it.
    fn on_constraint(self, name: &str, error: impl FnOnce() -> Error) -> Result<T>;
}

impl<T> ConstraintExt<T> for Result<T, tokio_postgres::Error> {
    #[track_caller]
    fn on_constraint(self, name: &str, error: impl FnOnce() -> Error) -> Result<T> {
        match self {
            Ok(value) => Ok(value),
            Err(cause) if cause.as_db_error().and_then(|db| db.constraint()) == Some(name) => {
                Err(error().with_cause(cause))
            }
            Err(cause) => Err(Error::from(cause)),
        }
    }
}

/// For the log: the chain of causes, or the public message if there is no cause.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(cause) = self.cause.as_deref() else { return f.write_str(&self.public) };
        let mut message = cause.to_string();
        let mut source = cause.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            // Some crates include the text of their source.
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
    /// An unavailable or slow server is a temporary error; any other error code of PostgreSQL is a bug in this program.
    #[track_caller]
    fn from(cause: tokio_postgres::Error) -> Error {
        use tokio_postgres::error::SqlState as S;
        match cause.code() {
            Some(&S::QUERY_CANCELED) => Error::timeout(cause),
            Some(code) if code.code().starts_with("08") || code.code().starts_with("57P") => Error::unavailable(cause),
            // Out of resources, or a failing disk.
            Some(code) if code.code().starts_with("53") || *code == S::IO_ERROR => Error::unavailable(cause),
            // The server has closed the session because this process was stopped or unreachable.
            Some(&S::LOCK_NOT_AVAILABLE | &S::IDLE_IN_TRANSACTION_SESSION_TIMEOUT) => Error::unavailable(cause),
            Some(&S::READ_ONLY_SQL_TRANSACTION | &S::T_R_SERIALIZATION_FAILURE | &S::T_R_DEADLOCK_DETECTED) => {
                Error::unavailable(cause)
            }
            Some(_) => Error::internal(cause),
            // Without a code, either the connection failed or a value could not be converted.
            None if cause.is_closed() || has_io_source(&cause) => Error::unavailable(cause),
            None => Error::internal(cause),
        }
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
    fn public_message_of_a_server_error_hides_the_cause() {
        let error = Error::internal("relation \"item\" does not exist");
        assert_eq!(error.public, "Something went wrong on our side.");
        assert!(format!("{error}").contains("relation"), "the log has the cause");
    }

    #[test]
    fn repeated_texts_in_the_chain_of_causes_appear_once() {
        let refused = || std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
        let outer = std::io::Error::other(refused());
        assert_eq!(Error::unavailable(outer).to_string(), "refused");
    }

    #[test]
    fn duplicates_read_like_the_first_error() {
        assert_eq!(Error::unavailable("refused").duplicate().duplicate().to_string(), "refused");
    }

    #[test]
    fn converted_error_has_the_location_of_the_caller() {
        let (refused, line) = (Err::<(), _>("refused").or_unavailable(), line!());
        let error = refused.expect_err("an error");
        assert_eq!((error.at.file(), error.at.line()), (file!(), line));
    }
}
