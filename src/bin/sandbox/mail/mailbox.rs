//! The mailbox: what was taken in, and the trouble that the server is in; in memory alone.
//!
//! Shared by the SMTP sessions and the pages. What must never happen: a mail that was accepted and is not here.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::letter::Letter;

/// In which way the server fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Connections end before the greeting.
    Down,
    /// Recipients are refused for now.
    #[serde(rename = "451")]
    Later,
    /// Recipients are refused for good.
    #[serde(rename = "550")]
    Never,
    /// Nobody's password is right.
    #[serde(rename = "535")]
    Password,
    /// The mail is taken and kept, and the connection ends without the 250.
    DropAfterData,
    /// The mail is taken and kept, and the 250 is late.
    Slow,
}

/// The next times that this can go wrong, it does.
#[derive(Debug, Clone, Serialize)]
pub struct Trouble {
    pub how: How,
    times: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
}

impl Trouble {
    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.ms.unwrap_or(3_000))
    }
}

/// The body of `POST /mail/misbehave`; `{"times":0}` ends all trouble, or that of its kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TroubleWanted {
    how: Option<How>,
    times: Option<u64>,
    ms: Option<u64>,
}

#[derive(Default)]
struct Contents {
    letters: Vec<(Letter, Vec<u8>)>,
    last_id: u64,
    troubles: Vec<Trouble>,
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
        self.contents.lock().expect("nobody panics with the mailbox in hand")
    }

    fn changed(&self) {
        // Without an open page there is nobody to tell.
        drop(self.changes.send(()));
    }

    pub fn changes(&self) -> broadcast::Receiver<()> {
        self.changes.subscribe()
    }

    /// Oldest first.
    pub fn letters(&self) -> Vec<Letter> {
        self.contents().letters.iter().map(|(letter, _)| letter.clone()).collect()
    }

    /// A mail as it was taken in.
    pub fn raw(&self, id: u64) -> Option<Vec<u8>> {
        self.contents().letters.iter().find(|(letter, _)| letter.id == id).map(|(_, raw)| raw.clone())
    }

    pub fn keep(&self, mut letter: Letter, raw: Vec<u8>) {
        let mut contents = self.contents();
        contents.last_id += 1;
        letter.id = contents.last_id;
        contents.letters.push((letter, raw));
        drop(contents);
        self.changed();
    }

    pub fn empty(&self) {
        self.contents().letters.clear();
        self.changed();
    }

    /// Returns once there are so many mails, or when the time is over.
    pub async fn at_least(&self, count: usize, within: Duration) {
        let mut changes = self.changes();
        let enough = async {
            while self.contents().letters.len() < count {
                // A missed change is one more reason to look.
                drop(changes.recv().await);
            }
        };
        // Whoever asked sees by the number that the time was over.
        drop(tokio::time::timeout(within, enough).await);
    }

    /// # Errors
    /// A sentence about what is missing.
    pub fn plan(&self, wanted: TroubleWanted) -> Result<Vec<Trouble>, &'static str> {
        let mut contents = self.contents();
        match (wanted.times.unwrap_or(1), wanted.how) {
            (0, how) => contents.troubles.retain(|trouble| how.is_some_and(|how| trouble.how != how)),
            (times, Some(how)) => contents.troubles.push(Trouble { how, times, ms: wanted.ms }),
            (_, None) => return Err("It does not say how."),
        }
        Ok(contents.troubles.clone())
    }

    pub fn troubles(&self) -> Vec<Trouble> {
        self.contents().troubles.clone()
    }

    /// The trouble that happens now, if it is one of these.
    pub fn strike(&self, hows: &[How]) -> Option<Trouble> {
        let mut contents = self.contents();
        let place = contents.troubles.iter().position(|trouble| hows.contains(&trouble.how))?;
        let trouble = contents.troubles[place].clone();
        contents.troubles[place].times -= 1;
        contents.troubles.retain(|trouble| trouble.times > 0);
        Some(trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_happens_as_often_as_planned() {
        let mailbox = Mailbox::default();
        let plan = |json: &str| mailbox.plan(serde_json::from_str(json).expect("it is in order"));
        plan(r#"{"how":"451","times":2}"#).expect("a plan");
        plan(r#"{"how":"down","times":9}"#).expect("a plan");
        assert!(plan(r#"{"times":1}"#).is_err());
        let strike = || mailbox.strike(&[How::Later, How::Never]).map(|trouble| trouble.how);
        assert_eq!([strike(), strike(), strike()], [Some(How::Later), Some(How::Later), None]);
        assert!(plan(r#"{"times":0}"#).expect("an end").is_empty());
    }
}
