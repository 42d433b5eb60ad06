//! The Telegram simulator: the Bot API for the bots of the settings, and a chat page.
//!
//! # Invariants
//! - An update is kept until a later getUpdates confirms it.
//! - What Telegram rejects is rejected here.

mod api;
mod chats;
mod control;
mod entities;
mod error;
mod fault;
mod keyboard;
mod updates;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::broadcast;

use crate::settings::{self, Settings};
use crate::web::{WebRequest, WebResponse};
use chats::{Chats, User};
use fault::TelegramFaults;
use updates::Updates;

/// How many events a page may lag behind before it receives the whole chat again.
const EVENT_BUFFER: usize = 256;

/// All bots.
pub struct Telegram {
    bots: Vec<Arc<Bot>>,
}

impl Telegram {
    pub fn new(settings: &Settings) -> Telegram {
        Telegram { bots: settings.bots.iter().map(|bot| Arc::new(Bot::new(bot))).collect() }
    }

    /// `/telegram…`: the chat page and the control interface.
    pub async fn page(&self, request: WebRequest) -> WebResponse {
        control::respond(&self.bots, &request)
    }

    /// `/bot<TOKEN>/…`: the Bot API.
    pub async fn api(&self, request: WebRequest) -> WebResponse {
        api::respond(&self.bots, &request).await
    }
}

/// A bot and its state at Telegram.
struct Bot {
    token: String,
    /// The user object in messages and in getMe.
    user: User,
    chats: Mutex<Chats>,
    updates: Updates,
    faults: TelegramFaults,
    calls: Mutex<BTreeMap<String, u64>>,
    live: broadcast::Sender<LiveEvent>,
}

impl Bot {
    fn new(settings: &settings::BotSettings) -> Bot {
        let user = User {
            id: bot_id(&settings.token, &settings.username),
            is_bot: true,
            first_name: settings.title.clone(),
            last_name: None,
            username: Some(settings.username.clone()),
            language_code: None,
        };
        Bot {
            token: settings.token.clone(),
            user,
            chats: Mutex::default(),
            updates: Updates::new(now()),
            faults: TelegramFaults::default(),
            calls: Mutex::default(),
            live: broadcast::Sender::new(EVENT_BUFFER),
        }
    }

    fn username(&self) -> &str {
        self.user.username.as_deref().unwrap_or_default()
    }

    fn chats(&self) -> MutexGuard<'_, Chats> {
        self.chats.lock().expect("no panic while locked")
    }

    /// Counts a call of a method.
    fn count(&self, method: &str) {
        *self.calls().entry(method.to_owned()).or_default() += 1;
    }

    fn calls(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.calls.lock().expect("no panic while locked")
    }

    /// Publishes a new or edited message to the pages of its chat.
    fn publish(&self, message: &chats::Message) {
        let json = json!({ "type": "message", "message": message }).to_string();
        // Fails only when no page is open.
        drop(self.live.send(LiveEvent { chats: [message.chat.id; 2], json }));
    }

    /// Publishes the answer to a callback query to the pages of its chat and of its user.
    fn publish_answer(&self, answer: &chats::CallbackAnswer) {
        let json = json!({ "type": "answer", "answer": answer }).to_string();
        drop(self.live.send(LiveEvent { chats: [answer.chat, answer.from.id], json }));
    }
}

/// An event for the pages that show one of these chats.
#[derive(Clone)]
struct LiveEvent {
    chats: [i64; 2],
    json: String,
}

/// The id in a token, `ID:SECRET`; without one, an id derived from the username.
fn bot_id(token: &str, username: &str) -> i64 {
    let digits = token.split(':').next().and_then(|digits| digits.parse().ok()).filter(|id: &i64| *id > 0);
    digits.unwrap_or_else(|| {
        let hash = Sha256::digest(username);
        1_000_000_000 + i64::from(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]))
    })
}

/// Seconds since 1970.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bot_id_is_the_first_part_of_its_token() {
        assert_eq!(bot_id("7000000001:AAE-x", "some_bot"), 7_000_000_001);
        let derived = bot_id("no-number", "some_bot");
        assert!(derived > 0 && derived == bot_id("other", "some_bot") && derived != bot_id("other", "other_bot"));
    }
}
