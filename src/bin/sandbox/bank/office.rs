//! What the bank knows: merchants, codes, refunds, receipts, and the trouble it is in; in memory alone.
//!
//! Shared by the API, the script interface and the senders of notifications. What must never happen: a merchant's key
//! in anything that is answered, or a lock that is held while something is awaited.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};
use jiff::Timestamp;
use tokio::sync::broadcast;

use super::calls::Calls;
use super::fiscal::Receipt;
use super::payload;
use super::problem::{Problem, Style};
use super::qr::{Kind, Ordered, Qr, QrStatus};
use super::refund::Refund;
use super::trouble::Troubles;
use crate::settings::Settings;

/// A merchant as the bank has it on file.
pub struct Account {
    /// `sbpMerchantId`.
    pub id: String,
    /// `merchantId`: the bank's own number.
    pub number: u64,
    pub title: String,
    pub key: String,
    pub callback_ca: Option<PathBuf>,
}

/// What changes.
#[derive(Default)]
pub struct Ledger {
    codes: Vec<Qr>,
    places: HashMap<String, usize>,
    pub refunds: Vec<Refund>,
    pub receipts: Vec<Receipt>,
    pub calls: Calls,
    pub troubles: Troubles,
    pub style: Style,
    /// `sbpMerchantId` → where its notifications go.
    pub callbacks: HashMap<String, String>,
}

pub struct Office {
    /// What links begin with.
    url: String,
    accounts: Vec<Account>,
    /// From the settings, for a fresh start.
    callbacks: HashMap<String, String>,
    ledger: Mutex<Ledger>,
    changes: broadcast::Sender<()>,
    last_transaction: AtomicU64,
}

impl Office {
    pub fn new(settings: &Settings) -> Office {
        let accounts = settings.merchants.iter().zip(1_780_672_001..).map(|(merchant, number)| Account {
            id: merchant.id.clone(),
            number,
            title: merchant.title.clone(),
            key: merchant.key.clone(),
            callback_ca: merchant.callback_ca.clone(),
        });
        let callbacks = settings.merchants.iter().filter_map(|m| Some((m.id.clone(), m.callback_url.clone()?)));
        let callbacks: HashMap<_, _> = callbacks.collect();
        Office {
            url: settings.url.trim_end_matches('/').to_owned(),
            accounts: accounts.collect(),
            ledger: Mutex::new(Ledger { callbacks: callbacks.clone(), ..Ledger::default() }),
            callbacks,
            changes: broadcast::channel(16).0,
            last_transaction: AtomicU64::new(40),
        }
    }

    /// The books, as they stand at this moment.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        let mut ledger = self.ledger.lock().expect("nobody panics with the books in hand");
        let now = Timestamp::now();
        ledger.codes.iter_mut().for_each(|code| code.look_at_the_clock(now));
        ledger
    }

    /// Forgets everything but the merchants.
    pub fn reset(&self) {
        *self.ledger() = Ledger { callbacks: self.callbacks.clone(), ..Ledger::default() };
        self.changed();
    }

    /// Tells the open pages.
    pub fn changed(&self) {
        // Without an open page there is nobody to tell.
        drop(self.changes.send(()));
    }

    pub fn changes(&self) -> broadcast::Receiver<()> {
        self.changes.subscribe()
    }

    pub fn account(&self, id: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id == id)
    }

    /// The merchant whose key the request carries: `Authorization: Bearer …`.
    ///
    /// # Errors
    /// 401.
    pub fn authorized(&self, headers: &HeaderMap) -> Result<&Account, Problem> {
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let key = header.strip_prefix("Bearer ").map(str::trim);
        let account = self.accounts.iter().find(|account| Some(account.key.as_str()) == key);
        account.ok_or(Problem::Spring(StatusCode::UNAUTHORIZED))
    }

    /// `transactionId`.
    pub fn next_transaction(&self) -> u64 {
        self.last_transaction.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// `qrUrl`.
    pub fn picture_url(&self, qr: &str) -> String {
        format!("{}/api/sbp/v1/qr/{qr}/image", self.url)
    }
}

impl Ledger {
    /// In the order of their registration.
    pub fn codes(&self) -> &[Qr] {
        &self.codes
    }

    pub fn code(&self, id: &str) -> Option<&Qr> {
        self.places.get(id).map(|place| &self.codes[*place])
    }

    pub fn code_mut(&mut self, id: &str) -> Option<&mut Qr> {
        self.places.get(id).map(|place| &mut self.codes[*place])
    }

    /// A merchant's own code; another's is as good as none.
    ///
    /// # Errors
    /// `ERROR.NOT_FOUND`.
    pub fn own_code(&mut self, account: &Account, id: &str) -> Result<&mut Qr, Problem> {
        self.code_mut(id).filter(|code| code.ordered.merchant == account.id).ok_or_else(Problem::no_such_qr)
    }

    /// Registers a code. An order may have any number of them until one is paid.
    ///
    /// # Errors
    /// `ERROR.ORDER_NUMBER_ALREADY_REGISTERED`.
    pub fn register(&mut self, ordered: Ordered, now: Timestamp) -> Result<&Qr, Problem> {
        let same = |code: &&Qr| code.ordered.merchant == ordered.merchant && code.ordered.order == ordered.order;
        let paid = ordered.order.is_some() && self.codes.iter().filter(same).any(Qr::has_succeeded);
        if let (true, Some(order)) = (paid, &ordered.order) {
            let merchant = &ordered.merchant;
            let message = format!(
                "QR-код с номером заказа {order}, партнера {merchant} и успешными платежами уже зарегистрирован"
            );
            return Err(Problem::refused("ERROR.ORDER_NUMBER_ALREADY_REGISTERED", message));
        }
        let id = payload::id(ordered.kind);
        let payload = payload::address(ordered.kind, &id, ordered.amount);
        let status = if ordered.kind == Kind::Variable { QrStatus::Inactive } else { QrStatus::New };
        self.places.insert(id.clone(), self.codes.len());
        let (payments, notices) = (Vec::new(), Vec::new());
        self.codes.push(Qr { id, payload, ordered, created: now, status, payments, notices });
        Ok(self.codes.last().expect("it was pushed a line above"))
    }
}
