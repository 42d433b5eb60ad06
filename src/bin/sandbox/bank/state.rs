//! The bank's in-memory state: merchants, QR codes, refunds, receipts and injected faults.
//!
//! # Invariants
//! - No merchant's key is part of a response.
//! - The lock is not held across an `await`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};
use jiff::Timestamp;
use tokio::sync::broadcast;

use super::call::CallCounts;
use super::error::{BankError, ErrorStatusStyle};
use super::fault::BankFaults;
use super::fiscal::Receipt;
use super::qr::{Qr, QrStatus, QrType, Registration};
use super::qr_payload;
use super::refund::Refund;
use crate::settings::Settings;

/// A merchant's account at the bank.
pub struct MerchantAccount {
    /// `sbpMerchantId`.
    pub id: String,
    /// `merchantId`: the bank's internal number.
    pub number: u64,
    pub title: String,
    pub key: String,
    pub callback_ca: Option<PathBuf>,
}

/// Everything that `POST /bank/reset` clears.
#[derive(Default)]
pub struct BankData {
    codes: Vec<Qr>,
    /// The index of a code in `codes`, by its id.
    index_by_id: HashMap<String, usize>,
    pub refunds: Vec<Refund>,
    pub receipts: Vec<Receipt>,
    pub calls: CallCounts,
    pub faults: BankFaults,
    pub style: ErrorStatusStyle,
    /// Notification URLs by `sbpMerchantId`.
    pub callbacks: HashMap<String, String>,
}

pub struct BankState {
    /// The base URL of links.
    url: String,
    accounts: Vec<MerchantAccount>,
    /// Notification URLs of the settings, restored by a reset.
    callbacks: HashMap<String, String>,
    data: Mutex<BankData>,
    changes: broadcast::Sender<()>,
    last_transaction: AtomicU64,
}

impl BankState {
    pub fn new(settings: &Settings) -> BankState {
        let accounts = settings.merchants.iter().zip(1_780_672_001..).map(|(merchant, number)| MerchantAccount {
            id: merchant.id.clone(),
            number,
            title: merchant.title.clone(),
            key: merchant.key.clone(),
            callback_ca: merchant.callback_ca.clone(),
        });
        let callbacks = settings.merchants.iter().filter_map(|m| Some((m.id.clone(), m.callback_url.clone()?)));
        let callbacks: HashMap<_, _> = callbacks.collect();
        BankState {
            url: settings.url.trim_end_matches('/').to_owned(),
            accounts: accounts.collect(),
            data: Mutex::new(BankData { callbacks: callbacks.clone(), ..BankData::default() }),
            callbacks,
            changes: broadcast::channel(16).0,
            last_transaction: AtomicU64::new(40),
        }
    }

    /// Locks the data, after codes whose time is over have expired.
    pub fn data(&self) -> MutexGuard<'_, BankData> {
        let mut data = self.data.lock().expect("no panic while locked");
        let now = Timestamp::now();
        data.codes.iter_mut().for_each(|code| code.expire_if_due(now));
        data
    }

    /// Clears everything except the merchants.
    pub fn reset(&self) {
        *self.data() = BankData { callbacks: self.callbacks.clone(), ..BankData::default() };
        self.publish_change();
    }

    /// Notifies the open pages.
    pub fn publish_change(&self) {
        // Fails only when no page is open.
        drop(self.changes.send(()));
    }

    pub fn subscribe(&self) -> broadcast::Receiver<()> {
        self.changes.subscribe()
    }

    pub fn account(&self, id: &str) -> Option<&MerchantAccount> {
        self.accounts.iter().find(|account| account.id == id)
    }

    /// The merchant that `Authorization: Bearer KEY` authenticates.
    ///
    /// # Errors
    /// 401 Unauthorized.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<&MerchantAccount, BankError> {
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let key = header.strip_prefix("Bearer ").map(str::trim);
        let account = self.accounts.iter().find(|account| Some(account.key.as_str()) == key);
        account.ok_or(BankError::Spring(StatusCode::UNAUTHORIZED))
    }

    /// `transactionId`.
    pub fn next_transaction(&self) -> u64 {
        self.last_transaction.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// `qrUrl`.
    pub fn image_url(&self, qr: &str) -> String {
        format!("{}/api/sbp/v1/qr/{qr}/image", self.url)
    }
}

impl BankData {
    /// In the order of their registration.
    pub fn codes(&self) -> &[Qr] {
        &self.codes
    }

    pub fn code(&self, id: &str) -> Option<&Qr> {
        self.index_by_id.get(id).map(|index| &self.codes[*index])
    }

    pub fn code_mut(&mut self, id: &str) -> Option<&mut Qr> {
        self.index_by_id.get(id).map(|index| &mut self.codes[*index])
    }

    /// A code of this merchant.
    ///
    /// # Errors
    /// `ERROR.NOT_FOUND`.
    pub fn own_code(&mut self, account: &MerchantAccount, id: &str) -> Result<&mut Qr, BankError> {
        self.code_mut(id).filter(|code| code.registration.merchant == account.id).ok_or_else(BankError::qr_not_found)
    }

    /// Registers a code. An order may have any number of codes until one of them is paid.
    ///
    /// # Errors
    /// `ERROR.ORDER_NUMBER_ALREADY_REGISTERED`.
    pub fn register(&mut self, registration: Registration, now: Timestamp) -> Result<&Qr, BankError> {
        let same = |code: &&Qr| {
            code.registration.merchant == registration.merchant && code.registration.order == registration.order
        };
        let paid = registration.order.is_some() && self.codes.iter().filter(same).any(Qr::has_succeeded);
        if let (true, Some(order)) = (paid, &registration.order) {
            let merchant = &registration.merchant;
            let message = format!(
                "QR-код с номером заказа {order}, партнера {merchant} и успешными платежами уже зарегистрирован"
            );
            return Err(BankError::logical("ERROR.ORDER_NUMBER_ALREADY_REGISTERED", message));
        }
        let id = qr_payload::id(registration.kind);
        let payload = qr_payload::url(registration.kind, &id, registration.amount);
        let status = if registration.kind == QrType::Variable { QrStatus::Inactive } else { QrStatus::New };
        self.index_by_id.insert(id.clone(), self.codes.len());
        let (payments, notifications) = (Vec::new(), Vec::new());
        self.codes.push(Qr { id, payload, registration, created: now, status, payments, notifications });
        Ok(self.codes.last().expect("just pushed"))
    }
}
