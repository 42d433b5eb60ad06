//! The bank on a bad day: the next calls fail in a way that a script chose.
//!
//! Called by `bank::api` around every call, filled by `POST /bank/misbehave`. What must never happen: trouble that
//! nobody asked for.

use std::time::Duration;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::calls::Call;
use super::problem;
use crate::web::{self, Answer};

/// In which way a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// The bank's own internal error.
    #[serde(rename = "500")]
    Internal,
    /// Its proxy's page, nothing was done.
    #[serde(rename = "502")]
    BadGateway,
    /// A page where JSON should be, with 200.
    Html,
    /// No answer, nothing was done.
    Hang,
    /// The right answer, late; what was asked is done at once.
    Slow,
    /// 200 without a body.
    Empty,
    /// 200 with an error in the envelope.
    Error200,
    /// JSON of other types than the document's.
    Nonsense,
    /// JSON that breaks off.
    Broken,
    /// What was asked is done, but the answer is a 502.
    Lost,
    /// The code is paid and the merchant notified before the registration is answered.
    NotifyFirst,
}

impl How {
    /// Whether the call is carried out.
    pub fn works(self) -> bool {
        matches!(self, How::Slow | How::Lost | How::NotifyFirst)
    }
}

/// The next calls of a kind fail.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// A name of `Call`, or `*`.
    #[serde(default = "every")]
    pub call: String,
    pub how: How,
    pub times: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
}

fn every() -> String {
    "*".to_owned()
}

/// The body of `POST /bank/misbehave`; `{"times":0}` needs no way to fail.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TroubleWanted {
    call: Option<String>,
    how: Option<How>,
    times: Option<u64>,
    ms: Option<u64>,
}

/// Everything that is still to go wrong, in the order in which it was asked for.
#[derive(Debug, Default)]
pub struct Troubles(Vec<Trouble>);

impl Troubles {
    /// Adds trouble, or ends all of a call's.
    ///
    /// # Errors
    /// A sentence about what is missing.
    pub fn plan(&mut self, wanted: TroubleWanted) -> Result<&[Trouble], &'static str> {
        let call = wanted.call.unwrap_or_else(every);
        let names = ["register", "qr", "payment-info", "cancel", "refund", "refund-info", "callback", "receipt", "*"];
        if !names.contains(&call.as_str()) {
            return Err("There is no such call.");
        }
        match (wanted.times.unwrap_or(1), wanted.how) {
            (0, _) => self.0.retain(|trouble| call != "*" && trouble.call != call),
            (times, Some(how)) => self.0.push(Trouble { call, how, times, ms: wanted.ms }),
            (_, None) => return Err("It does not say how."),
        }
        Ok(&self.0)
    }

    pub fn planned(&self) -> &[Trouble] {
        &self.0
    }

    /// The trouble that this call runs into.
    pub fn strike(&mut self, call: &Call) -> Option<Trouble> {
        // Pictures and the demonstration payer are the sandbox's own tools.
        if matches!(call, Call::Image(_) | Call::DemoPay) {
            return None;
        }
        let hits = |trouble: &Trouble| match trouble.how {
            How::NotifyFirst => call.name() == "register",
            _ => trouble.call == "*" || trouble.call == call.name(),
        };
        let place = self.0.iter().position(hits)?;
        let trouble = self.0[place].clone();
        self.0[place].times -= 1;
        self.0.retain(|trouble| trouble.times > 0);
        Some(trouble)
    }
}

impl Trouble {
    /// What is answered instead of the right answer (`right`, when the work was done).
    pub async fn answer(&self, right: Option<Answer>) -> Answer {
        let wait = match (self.ms, self.how) {
            (Some(ms), _) => Duration::from_millis(ms),
            (None, How::Slow) => Duration::from_secs(3),
            (None, How::Hang) => std::future::pending().await,
            (None, _) => Duration::ZERO,
        };
        tokio::time::sleep(wait).await;
        match (self.how, right) {
            (How::Slow | How::NotifyFirst, Some(right)) => right,
            (How::Internal, _) => {
                problem::envelope(StatusCode::INTERNAL_SERVER_ERROR, "ERROR.INTERNAL", "Внутренняя ошибка сервиса")
            }
            (How::Error200, _) => problem::envelope(StatusCode::OK, "ERROR.INTERNAL", "Внутренняя ошибка сервиса"),
            (How::Html, _) => web::html("<!doctype html><title>Технические работы</title><h1>Технические работы</h1>"),
            (How::Empty, _) => web::bytes(StatusCode::OK, "application/json", ""),
            (How::Nonsense, _) => {
                let json =
                    r#"{"code":200,"qrId":17,"qrStatus":["NEW"],"paymentStatus":{},"amount":"viel","payload":null}"#;
                web::bytes(StatusCode::OK, "application/json", json)
            }
            (How::Broken, _) => web::bytes(StatusCode::OK, "application/json", r#"{"code":"SUCCESS","qrId":"AD1000"#),
            _ => problem::bad_gateway(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::register::Version;

    #[test]
    fn trouble_hits_its_call_and_ends() {
        let mut troubles = Troubles::default();
        let wanted = |json: &str| serde_json::from_str::<TroubleWanted>(json).expect("it is in order");
        troubles.plan(wanted(r#"{"call":"register","how":"502","times":2}"#)).expect("a plan");
        troubles.plan(wanted(r#"{"call":"*","how":"hang","times":1}"#)).expect("a plan");
        assert!(troubles.plan(wanted(r#"{"call":"registr","how":"502"}"#)).is_err());
        let register = Call::Register(Version::V2);
        let mut ways = || troubles.strike(&register).map(|trouble| trouble.how);
        assert_eq!([ways(), ways()], [Some(How::BadGateway), Some(How::BadGateway)]);
        assert_eq!(troubles.strike(&Call::Image(String::new())).map(|trouble| trouble.how), None);
        assert_eq!(troubles.strike(&Call::Refund).map(|trouble| trouble.how), Some(How::Hang));
        troubles.plan(wanted(r#"{"call":"qr","how":"html","times":9}"#)).expect("a plan");
        assert!(troubles.plan(wanted(r#"{"times":0}"#)).expect("an end").is_empty());
    }
}
