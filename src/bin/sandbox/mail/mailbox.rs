//! The in-memory mailbox and the injected faults of the mail server.
//!
//! # Invariants
//! - An accepted message is in the mailbox.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::message::EmailMessage;

/// How the server fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailFaultKind {
    /// Connections are closed before the greeting.
    Down,
    /// Recipients are rejected temporarily.
    #[serde(rename = "451")]
    RejectTemporarily,
    /// Recipients are rejected permanently.
    #[serde(rename = "550")]
    RejectPermanently,
    /// Logins fail.
    #[serde(rename = "535")]
    RejectLogin,
    /// The message is stored and the connection closed without a reply.
    DropAfterData,
    /// The message is stored and the reply delayed.
    Slow,
}

/// A fault of the next sessions.
#[derive(Debug, Clone, Serialize)]
pub struct MailFault {
    #[serde(rename = "how")]
    pub kind: MailFaultKind,
    times: u64,
    #[serde(rename = "ms", skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
}

impl MailFault {
    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms.unwrap_or(3_000))
    }
}

/// The body of `POST /mail/misbehave`; `"times":0` removes all faults, or those of a kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailFaultRequest {
    #[serde(rename = "how")]
    kind: Option<MailFaultKind>,
    times: Option<u64>,
    #[serde(rename = "ms")]
    delay_ms: Option<u64>,
}

#[derive(Default)]
struct Contents {
    messages: Vec<(EmailMessage, Vec<u8>)>,
    last_id: u64,
    faults: Vec<MailFault>,
}

pub struct Mailbox {
    contents: Mutex<Contents>,
    changes: broadcast::Sender<()>,
}

impl Default for Mailbox {
    fn default() -> Mailbox {
        Mailbox { contents: Mutex::default(), changes: broadcast::channel(16).0 }
    }
}

impl Mailbox {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().expect("no panic while locked")
    }

    fn publish_change(&self) {
        // Fails only when no page is open.
        drop(self.changes.send(()));
    }

    pub fn subscribe(&self) -> broadcast::Receiver<()> {
        self.changes.subscribe()
    }

    /// Oldest first.
    pub fn messages(&self) -> Vec<EmailMessage> {
        self.contents().messages.iter().map(|(message, _)| message.clone()).collect()
    }

    /// A message as it was received.
    pub fn raw(&self, id: u64) -> Option<Vec<u8>> {
        self.contents().messages.iter().find(|(message, _)| message.id == id).map(|(_, raw)| raw.clone())
    }

    pub fn store(&self, mut message: EmailMessage, raw: Vec<u8>) {
        let mut contents = self.contents();
        contents.last_id += 1;
        message.id = contents.last_id;
        contents.messages.push((message, raw));
        drop(contents);
        self.publish_change();
    }

    pub fn clear(&self) {
        self.contents().messages.clear();
        self.publish_change();
    }

    /// Waits until the mailbox holds `count` messages, or until the timeout.
    pub async fn wait_for_count(&self, count: usize, timeout: Duration) {
        let mut changes = self.subscribe();
        let enough = async {
            while self.contents().messages.len() < count {
                // An error means missed changes: check again.
                drop(changes.recv().await);
            }
        };
        // The caller recognises a timeout by the count.
        drop(tokio::time::timeout(timeout, enough).await);
    }

    /// Adds or removes faults.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub fn inject(&self, request: MailFaultRequest) -> Result<Vec<MailFault>, &'static str> {
        let mut contents = self.contents();
        match (request.times.unwrap_or(1), request.kind) {
            (0, kind) => contents.faults.retain(|fault| kind.is_some_and(|kind| fault.kind != kind)),
            (times, Some(kind)) => contents.faults.push(MailFault { kind, times, delay_ms: request.delay_ms }),
            (_, None) => return Err("how is missing"),
        }
        Ok(contents.faults.clone())
    }

    pub fn faults(&self) -> Vec<MailFault> {
        self.contents().faults.clone()
    }

    /// Takes the next fault of these kinds.
    pub fn take_fault(&self, kinds: &[MailFaultKind]) -> Option<MailFault> {
        let mut contents = self.contents();
        let index = contents.faults.iter().position(|fault| kinds.contains(&fault.kind))?;
        let fault = contents.faults[index].clone();
        contents.faults[index].times -= 1;
        contents.faults.retain(|fault| fault.times > 0);
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_happens_as_often_as_injected() {
        let mailbox = Mailbox::default();
        let inject = |json: &str| mailbox.inject(serde_json::from_str(json).expect("a valid request"));
        inject(r#"{"how":"451","times":2}"#).expect("a valid fault");
        inject(r#"{"how":"down","times":9}"#).expect("a valid fault");
        assert!(inject(r#"{"times":1}"#).is_err());
        let next = || {
            mailbox
                .take_fault(&[MailFaultKind::RejectTemporarily, MailFaultKind::RejectPermanently])
                .map(|fault| fault.kind)
        };
        assert_eq!(
            [next(), next(), next()],
            [Some(MailFaultKind::RejectTemporarily), Some(MailFaultKind::RejectTemporarily), None]
        );
        assert!(inject(r#"{"times":0}"#).expect("a valid request").is_empty());
    }
}
