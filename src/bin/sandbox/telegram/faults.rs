//! Misbehaviour on demand: the next calls of a method fail as Telegram, its proxies or the network fail.
//!
//! Set by scripts, consulted by the Bot API before it does anything: a call that fails this way has no effect. What
//! must never happen: a fault outlives the number of calls it was set for.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use hyper::StatusCode;
use serde::Deserialize;

use super::api::Refusal;
use crate::web::{self, Answer};

const GATEWAY_PAGE: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
    <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";

/// In which way a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum How {
    #[serde(rename = "403")]
    Blocked,
    #[serde(rename = "429")]
    TooMany,
    #[serde(rename = "500")]
    Internal,
    #[serde(rename = "502")]
    BadGateway,
    /// There is never an answer.
    #[serde(rename = "hang")]
    Hang,
    /// 502 with a page instead of JSON.
    #[serde(rename = "html")]
    Html,
    /// The connection is closed without an answer.
    #[serde(rename = "drop")]
    Drop,
}

#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub how: How,
    pub times: u32,
    /// Seconds, for 429.
    pub retry_after: u32,
}

/// A bot's faults by method; under `*` for all that have none of their own.
#[derive(Default)]
pub struct Faults(Mutex<HashMap<String, Fault>>);

impl Faults {
    /// Sets the fault of a method, in place of the one it had.
    pub fn set(&self, method: &str, fault: Fault) {
        self.faults().insert(method.to_owned(), fault);
    }

    /// Ends the fault of a method, or all of them.
    pub fn end(&self, method: Option<&str>) {
        match method {
            Some(method) => drop(self.faults().remove(method)),
            None => self.faults().clear(),
        }
    }

    /// How this call of the method fails, if it does.
    pub fn next(&self, method: &str) -> Option<Fault> {
        let mut faults = self.faults();
        let key = [method, "*"].into_iter().find(|key| faults.contains_key(*key))?;
        let fault = faults.get_mut(key)?;
        let found = *fault;
        fault.times -= 1;
        if fault.times == 0 {
            faults.remove(key);
        }
        Some(found)
    }

    fn faults(&self) -> MutexGuard<'_, HashMap<String, Fault>> {
        self.0.lock().expect("nobody panics with the faults in hand")
    }
}

impl Fault {
    /// Fails.
    pub async fn answer(self) -> Answer {
        let refused = |code, description: &str| Refusal::new(code, description.to_owned()).answer();
        match self.how {
            How::Blocked => refused(403, "Forbidden: bot was blocked by the user"),
            How::TooMany => Refusal::too_many(self.retry_after).answer(),
            How::Internal => refused(500, "Internal Server Error"),
            How::BadGateway => refused(502, "Bad Gateway"),
            How::Hang => std::future::pending().await,
            How::Html => web::bytes(StatusCode::BAD_GATEWAY, "text/html", GATEWAY_PAGE),
            // Ends the connection's task and with it the connection, without a word on standard error.
            How::Drop => std::panic::resume_unwind(Box::new("dropped on demand")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_lasts_for_its_number_of_calls() {
        let faults = Faults::default();
        faults.set("getUpdates", Fault { how: How::Internal, times: 2, retry_after: 1 });
        faults.set("*", Fault { how: How::Hang, times: 1, retry_after: 1 });
        let next = |method| faults.next(method).map(|fault| fault.how);
        assert_eq!(next("getUpdates"), Some(How::Internal));
        assert_eq!(next("getMe"), Some(How::Hang));
        assert_eq!(next("getMe"), None);
        assert_eq!(next("getUpdates"), Some(How::Internal));
        assert_eq!(next("getUpdates"), None);
        faults.set("getMe", Fault { how: How::Drop, times: 9, retry_after: 1 });
        faults.end(Some("getMe"));
        assert_eq!(next("getMe"), None);
    }
}
