//! Telegram: its Bot API for the bots of the settings, and what its apps do for people: a chat page, and the same for
//! scripts.
//!
//! Called by the sandbox's front alone: [`Telegram::api`] for `/bot<TOKEN>/…`, [`Telegram::page`] for `/telegram…`.
//! Written from Telegram's own documents. What must never happen: an update is lost that no later getUpdates has
//! confirmed, or the gateway is let through with what the real Telegram refuses.

mod api;
mod chats;
mod commands;
mod faults;
mod keyboard;
mod script;
mod updates;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::broadcast;

use crate::settings::{self, Settings};
use crate::web::{Answer, Asked};
use chats::{Chats, User};
use faults::Faults;
use updates::Updates;

/// Events that a page may fall behind before it is told the whole chat anew.
const LIVE_BACKLOG: usize = 256;

/// All bots.
pub struct Telegram {
    bots: Vec<Arc<Bot>>,
}

impl Telegram {
    pub fn new(settings: &Settings) -> Telegram {
        Telegram { bots: settings.bots.iter().map(|bot| Arc::new(Bot::new(bot))).collect() }
    }

    /// Everything under `/telegram`: the chat page and the interface for scripts.
    pub async fn page(&self, asked: Asked) -> Answer {
        script::answer(&self.bots, &asked)
    }

    /// The Bot API: everything whose first path segment begins with `bot`.
    pub async fn api(&self, asked: Asked) -> Answer {
        api::answer(&self.bots, &asked).await
    }
}

/// One bot with everything that Telegram keeps for it.
struct Bot {
    token: String,
    /// As messages and getMe show it.
    user: User,
    chats: Mutex<Chats>,
    updates: Updates,
    faults: Faults,
    calls: Mutex<BTreeMap<String, u64>>,
    live: broadcast::Sender<Live>,
}

impl Bot {
    fn new(settings: &settings::Bot) -> Bot {
        let user = User {
            id: identity(&settings.token, &settings.username),
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
            faults: Faults::default(),
            calls: Mutex::default(),
            live: broadcast::Sender::new(LIVE_BACKLOG),
        }
    }

    fn username(&self) -> &str {
        self.user.username.as_deref().unwrap_or_default()
    }

    fn chats(&self) -> MutexGuard<'_, Chats> {
        self.chats.lock().expect("nobody panics with the chats in hand")
    }

    /// Counts a call of a method.
    fn count(&self, method: &str) {
        *self.calls().entry(method.to_owned()).or_default() += 1;
    }

    fn calls(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.calls.lock().expect("nobody panics while counting")
    }

    /// Shows a new or edited message on the pages of its chat.
    fn show(&self, message: &chats::Message) {
        let json = json!({ "type": "message", "message": message }).to_string();
        // Nobody may be looking.
        drop(self.live.send(Live { chats: [message.chat.id; 2], json }));
    }

    /// Shows what the bot answered to a press, to whoever pressed.
    fn show_answer(&self, answer: &chats::Answered) {
        let json = json!({ "type": "answer", "answer": answer }).to_string();
        drop(self.live.send(Live { chats: [answer.chat, answer.from.id], json }));
    }
}

/// An event for the pages that show one of these chats.
#[derive(Clone)]
struct Live {
    chats: [i64; 2],
    json: String,
}

/// The digits before a token's colon; without them, a number that stays the same from start to start.
fn identity(token: &str, username: &str) -> i64 {
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
    fn a_bots_id_is_what_its_token_begins_with() {
        assert_eq!(identity("7000000001:AAE-x", "some_bot"), 7_000_000_001);
        let made_up = identity("no-number", "some_bot");
        assert!(made_up > 0 && made_up == identity("other", "some_bot") && made_up != identity("other", "other_bot"));
    }
}
