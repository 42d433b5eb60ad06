//! What a brand's file says of the brand's outside: Telegram, the bank, receipts, and the rules of paying.

use std::path::PathBuf;
use std::time::Duration;

use rust_decimal::Decimal;

use crate::foundation::secret::Secret;

#[derive(Debug, Clone)]
pub struct TelegramConfig {
    /// The bot's username without @.
    pub bot: String,
    pub token: Secret,
    /// The Bot API: `https://api.telegram.org`, or a server of one's own.
    pub api_url: String,
    /// What links to the bot begin with: `https://t.me`.
    pub link_url: String,
    /// `http://…` or `socks5://…` for the way to `api_url`.
    pub proxy: Option<String>,
    /// How long a question for news hangs at Telegram when there is none; Telegram cuts it at 50 s.
    pub poll: Duration,
    /// What any other call may take.
    pub timeout: Duration,
    /// For how long one instance speaks for the bot without renewing its claim.
    pub lease: Duration,
}

/// To what the price of a piece is rounded, half up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    Kopeck,
    Rouble,
}

impl Rounding {
    pub fn decimals(self) -> u32 {
        match self {
            Rounding::Kopeck => 2,
            Rounding::Rouble => 0,
        }
    }

    /// The smallest amount, in roubles.
    pub fn step(self) -> Decimal {
        Decimal::new(1, self.decimals())
    }
}

/// The shop's rules for payments (contract section 5).
#[derive(Debug, Clone, Copy)]
pub struct PaymentsConfig {
    pub rounding: Rounding,
    /// How long a QR code can be paid, and its pieces are held.
    pub qr_lifetime: Duration,
    pub open_per_owner: u32,
    pub open_per_address: u32,
    /// The bank is asked about one code at most once in this time, whoever wants to know.
    pub look_every: Duration,
    /// How long a visitor's question waits for a slow bank before it is answered with what is known.
    pub answer_within: Duration,
    /// For how long after a code's end the worker looks whether money came late.
    pub follow: Duration,
    /// The longest pause between two looks of the worker.
    pub longest_pause: Duration,
}

/// The brand's account at the bank (Raiffeisenbank's SBP API).
#[derive(Debug, Clone)]
pub struct BankConfig {
    pub api_url: String,
    pub merchant_id: String,
    /// The first is presented; each may have signed a notification, so that they can be changed one after another.
    pub keys: Vec<Secret>,
    /// PEM of an authority that is trusted beside the system's own.
    pub authority: Option<PathBuf>,
    pub timeout: Duration,
    pub connect_timeout: Duration,
}

/// How receipts (54-FZ) are made out.
#[derive(Debug, Clone)]
pub struct FiscalConfig {
    /// Who gets the receipt when the buyer's address is not known in time.
    pub fallback_email: String,
    /// `vat20`, `none` … as the bank's fiscal API names them.
    pub vat: String,
    /// How long a receipt waits for the buyer's address.
    pub wait: Duration,
    pub first_retry: Duration,
    pub longest_retry: Duration,
    /// After so many tries a person has to look.
    pub most_tries: u32,
}
