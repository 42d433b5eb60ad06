//! Injected faults: the next calls of a method fail, without an effect, as Telegram, its proxies or the network fail.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use hyper::StatusCode;
use serde::Deserialize;

use super::error::ApiError;
use crate::web::{self, WebResponse};

const GATEWAY_PAGE: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
    <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum TelegramFaultKind {
    #[serde(rename = "403")]
    Blocked,
    #[serde(rename = "429")]
    TooMany,
    #[serde(rename = "500")]
    Internal,
    #[serde(rename = "502")]
    BadGateway,
    /// No response.
    #[serde(rename = "hang")]
    Hang,
    /// 502 with an HTML page in place of JSON.
    #[serde(rename = "html")]
    Html,
    /// The connection is closed without a response.
    #[serde(rename = "drop")]
    Drop,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct TelegramFault {
    pub kind: TelegramFaultKind,
    pub times: u32,
    /// In seconds, for 429.
    pub retry_after_s: u32,
    /// Only calls about this chat fail.
    pub chat: Option<i64>,
}

/// The faults of a bot by method; `*` is for methods without a fault.
#[derive(Default)]
pub(super) struct TelegramFaults(Mutex<HashMap<String, TelegramFault>>);

impl TelegramFaults {
    /// Sets or replaces the fault of a method.
    pub(super) fn set(&self, method: &str, fault: TelegramFault) {
        self.faults().insert(method.to_owned(), fault);
    }

    /// Removes the fault of a method, or all faults.
    pub(super) fn clear(&self, method: Option<&str>) {
        match method {
            Some(method) => drop(self.faults().remove(method)),
            None => self.faults().clear(),
        }
    }

    /// Takes the fault of this call, if there is one. `chat` is the chat that the call names.
    pub(super) fn next(&self, method: &str, chat: Option<i64>) -> Option<TelegramFault> {
        let mut faults = self.faults();
        let concerns = |fault: &TelegramFault| fault.chat.is_none() || fault.chat == chat;
        let key = [method, "*"].into_iter().find(|key| faults.get(*key).is_some_and(concerns))?;
        let fault = faults.get_mut(key)?;
        let found = *fault;
        fault.times -= 1;
        if fault.times == 0 {
            faults.remove(key);
        }
        Some(found)
    }

    fn faults(&self) -> MutexGuard<'_, HashMap<String, TelegramFault>> {
        self.0.lock().expect("no panic while locked")
    }
}

impl TelegramFault {
    /// The faulty response.
    pub(super) async fn response(self) -> WebResponse {
        let error = |code, description: &str| ApiError::new(code, description.to_owned()).response();
        match self.kind {
            TelegramFaultKind::Blocked => error(403, "Forbidden: bot was blocked by the user"),
            TelegramFaultKind::TooMany => ApiError::too_many_requests(self.retry_after_s).response(),
            TelegramFaultKind::Internal => error(500, "Internal Server Error"),
            TelegramFaultKind::BadGateway => error(502, "Bad Gateway"),
            TelegramFaultKind::Hang => std::future::pending().await,
            TelegramFaultKind::Html => web::bytes(StatusCode::BAD_GATEWAY, "text/html", GATEWAY_PAGE),
            // Ends the task of the connection, and with it the connection, without a panic message.
            TelegramFaultKind::Drop => std::panic::resume_unwind(Box::new("injected fault")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_lasts_for_its_number_of_calls() {
        let faults = TelegramFaults::default();
        faults.set("getUpdates", fault(TelegramFaultKind::Internal, 2, None));
        faults.set("*", fault(TelegramFaultKind::Hang, 1, None));
        let next = |method| faults.next(method, None).map(|fault| fault.kind);
        assert_eq!(next("getUpdates"), Some(TelegramFaultKind::Internal));
        assert_eq!(next("getMe"), Some(TelegramFaultKind::Hang));
        assert_eq!(next("getMe"), None);
        assert_eq!(next("getUpdates"), Some(TelegramFaultKind::Internal));
        assert_eq!(next("getUpdates"), None);
        faults.set("getMe", fault(TelegramFaultKind::Drop, 9, None));
        faults.clear(Some("getMe"));
        assert_eq!(next("getMe"), None);
    }

    #[test]
    fn fault_of_a_chat_spares_the_others() {
        let faults = TelegramFaults::default();
        faults.set("sendMessage", fault(TelegramFaultKind::TooMany, 1, Some(7)));
        assert!(faults.next("sendMessage", Some(8)).is_none() && faults.next("sendMessage", None).is_none());
        assert!(faults.next("sendMessage", Some(7)).is_some() && faults.next("sendMessage", Some(7)).is_none());
    }

    fn fault(kind: TelegramFaultKind, times: u32, chat: Option<i64>) -> TelegramFault {
        TelegramFault { kind, times, retry_after_s: 1, chat }
    }
}
