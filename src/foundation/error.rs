//! The one error type: a sentence for the outside, a cause for the log.
//!
//! Made anywhere; turned into an HTTP answer only by `net::reply`, into a line on the terminal only by `bin/brandgate`.
//! What must never happen: a cause (SQL, a host name, a path) reaches a visitor. Only `public`, `code` and `data` leave.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;

use serde_json::{Map, Value};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the terms of contract section 2. `net::reply` gives each its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The request cannot be understood.
    Malformed,
    /// Nobody is logged in, or what should prove it does not.
    Unauthorized,
    Forbidden,
    NotFound,
    /// Carries the methods that the path does have, as the `Allow` header lists them.
    MethodNotAllowed(String),
    /// The request is understood and contradicts what the shop has.
    Conflict,
    BodyTooLarge,
    UriTooLong,
    HeadTooLarge,
    UnsupportedMediaType,
    /// The request is understood and cannot be done as it asks.
    Unprocessable,
    /// Too many of these; the client may come back after so many seconds.
    TooMany {
        retry_after_s: u32,
    },
    /// Somebody behind us (the bank) answered nonsense or refused.
    BadGateway,
    /// The server's own fault.
    Internal,
    /// A dependency (PostgreSQL, Redis) is away; the client may come back after so many seconds.
    Unavailable {
        retry_after_s: u32,
    },
    /// A dependency or the request itself took longer than its deadline.
    Timeout,
}

/// An error on its way out. Server faults have a fixed public sentence, so that nothing of the cause can slip into it.
pub struct Error(Box<Inside>);

/// What an error is made of; boxed, so that a `Result` stays small where all is well.
pub struct Inside {
    pub kind: Kind,
    /// A word for programs: `not_found`, `bad_count`.
    pub code: &'static str,
    /// One sentence that a front-end developer can act on.
    pub public: Cow<'static, str>,
    /// Further members of the JSON answer, such as `left`.
    pub data: Map<String, Value>,
    /// For the log alone.
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// Where it was made, for the log.
    pub at: &'static Location<'static>,
}

impl std::ops::Deref for Error {
    type Target = Inside;

    fn deref(&self) -> &Inside {
        &self.0
    }
}

impl Error {
    #[track_caller]
    fn new(kind: Kind, code: &'static str, public: impl Into<Cow<'static, str>>) -> Error {
        let at = Location::caller();
        Error(Box::new(Inside { kind, code, public: public.into(), data: Map::new(), cause: None, at }))
    }

    /// 400: `code` names what is wrong, `public` says what would be right.
    #[track_caller]
    pub fn malformed(code: &'static str, public: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::Malformed, code, public)
    }

    /// 401: `code` names what does not prove who is asking.
    #[track_caller]
    pub fn unauthorized(code: &'static str, public: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::Unauthorized, code, public)
    }

    /// 422: `code` names what cannot be accepted, `public` says what would be.
    #[track_caller]
    pub fn unprocessable(code: &'static str, public: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::Unprocessable, code, public)
    }

    /// 429 with `Retry-After`.
    #[track_caller]
    pub fn too_many(retry_after_s: u32, public: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::TooMany { retry_after_s }, "too_many_requests", public)
    }

    /// 502: somebody behind us failed; what they said goes to the log.
    #[track_caller]
    pub fn bad_gateway(
        public: impl Into<Cow<'static, str>>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::new(Kind::BadGateway, "bad_gateway", public).because(cause)
    }

    /// 504: somebody behind us took too long; the same request again is safe.
    #[track_caller]
    pub fn bank_too_late(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let public = "The bank takes too long to answer; please try the same order again.";
        Error::new(Kind::Timeout, "bank_timeout", public).because(cause)
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

    /// 409: `code` names the conflict, `public` says what would be possible.
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

    /// 500. The cause goes to the log, the visitor reads a fixed sentence.
    #[track_caller]
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::new(Kind::Internal, "internal", "Something went wrong on our side.").because(cause)
    }

    /// 503 with `Retry-After`: a dependency is away.
    #[track_caller]
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::new(
            Kind::Unavailable { retry_after_s: 2 },
            "unavailable",
            "The shop cannot reach its data right now; please try again in a moment.",
        )
        .because(cause)
    }

    /// 503 with `Retry-After`: more requests are in progress than this process takes on.
    #[track_caller]
    pub fn overloaded() -> Error {
        Error::new(
            Kind::Unavailable { retry_after_s: 1 },
            "overloaded",
            "Too many requests are being answered at the moment; please try again in a second.",
        )
    }

    /// 504: the work did not end before its deadline.
    #[track_caller]
    pub fn timeout(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::new(Kind::Timeout, "timeout", "This took too long; please try again.").because(cause)
    }

    /// The same for somebody else who asked the same.
    #[track_caller]
    pub fn told_again(&self) -> Error {
        let mut again = Error::new(self.kind.clone(), self.code, self.public.clone());
        again.0.data = self.data.clone();
        again.because(format!("asked at the same time by another request: {self}"))
    }

    /// Adds what the log should know.
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.0.cause = Some(cause.into());
        self
    }

    /// Adds a member to the JSON answer.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Error {
        self.0.data.insert(key.to_owned(), value.into());
        self
    }
}

/// Makes errors of others ours. `map_err(Error::internal)` would do the same, but the log would say that it happened in the standard
/// library.
pub trait ResultExt<T> {
    /// 500.
    ///
    /// # Errors
    /// Ours, with the former as its cause; so of the others.
    fn or_internal(self) -> Result<T>;
    /// 503.
    ///
    /// # Errors
    /// As above.
    fn or_unavailable(self) -> Result<T>;
    /// 504.
    ///
    /// # Errors
    /// As above.
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

/// The inside view: the whole chain of causes, or the public sentence where there is none.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(cause) = self.cause.as_deref() else { return f.write_str(&self.public) };
        // The public sentence of a server fault says nothing to whoever reads this.
        let mut said = cause.to_string();
        let mut source = cause.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            // Some crates repeat what is beneath them.
            if !said.ends_with(&text) {
                said.push_str(": ");
                said.push_str(&text);
            }
            source = inner.source();
        }
        f.write_str(&said)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}: {self}", self.kind, self.at)
    }
}

impl std::error::Error for Error {}

impl From<tokio_postgres::Error> for Error {
    /// PostgreSQL being away, or too slow, is not our fault and may pass; any other complaint of it is a bug of ours.
    #[track_caller]
    fn from(cause: tokio_postgres::Error) -> Error {
        use tokio_postgres::error::SqlState as S;
        match cause.code() {
            Some(&S::QUERY_CANCELED) => Error::timeout(cause),
            Some(code) if code.code().starts_with("08") || code.code().starts_with("57P") => Error::unavailable(cause),
            // Full, out of resources, or two who waited for each other: the same again may go through.
            Some(code) if code.code().starts_with("53") => Error::unavailable(cause),
            Some(&S::LOCK_NOT_AVAILABLE) => Error::unavailable(cause),
            Some(&S::READ_ONLY_SQL_TRANSACTION | &S::T_R_SERIALIZATION_FAILURE | &S::T_R_DEADLOCK_DETECTED) => {
                Error::unavailable(cause)
            }
            Some(_) => Error::internal(cause),
            // Without a code from the server it is the connection that failed, or a value that does not fit its column.
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
    fn a_server_fault_says_nothing_of_its_cause() {
        let error = Error::internal("relation \"item\" does not exist");
        assert_eq!(error.public, "Something went wrong on our side.");
        assert!(format!("{error}").contains("relation"), "the log has the cause");
    }

    #[test]
    fn what_two_of_a_chain_say_is_said_once() {
        let refused = || std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
        let outer = std::io::Error::other(refused());
        assert_eq!(Error::unavailable(outer).to_string(), "refused");
    }

    #[test]
    fn an_error_of_others_is_ours_where_it_was_met() {
        let (refused, line) = (Err::<(), _>("refused").or_unavailable(), line!());
        let error = refused.expect_err("it was one");
        assert_eq!((error.at.file(), error.at.line()), (file!(), line));
    }
}
