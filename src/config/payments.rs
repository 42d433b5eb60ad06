//! The shop's rules for payments: rounding, lifetimes, and how much an order and its owner may hold.

use std::time::Duration;

use rust_decimal::Decimal;

use super::toml_reader::Section;

/// What a discounted unit price is rounded to, half up.
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

/// The shop's rules for payments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PaymentsConfig {
    pub rounding: Rounding,
    /// How long a QR code can be paid and its stock is held.
    pub qr_lifetime: Duration,
    /// Open payments of a user or visitor.
    pub open_per_owner: u32,
    /// Open payments of the visitors of an address.
    pub open_per_address: u32,
    pub limits: OrderLimits,
    /// The bank is polled for one QR code at most once in this time.
    pub min_poll_interval: Duration,
    /// How long a request waits for a slow bank before it is answered from the database.
    pub poll_wait: Duration,
    /// How long after a code's expiry the workers poll for a late payment.
    pub follow_up: Duration,
    /// The longest interval between two polls of the workers.
    pub max_poll_interval: Duration,
    /// How often the workers poll the bank for a refund in progress.
    pub refund_poll_interval: Duration,
    /// How far back completed payments and refunds without a receipt are searched; a receipt that was queued without a section
    /// `[fiscal]` is dropped after it.
    pub receipt_search: Duration,
}

/// What an order may cost, and how much of the shop open payments may hold. Amounts are in roubles. A visitor is an owner without a
/// session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OrderLimits {
    pub max_order: u32,
    /// All open payments of a user together.
    pub open_per_user: u32,
    /// All open payments of a visitor together.
    pub open_per_visitor: u32,
    /// Of one item, by one visitor.
    pub visitor: UnitLimit,
    /// Of one item, by all visitors together.
    pub all_visitors: UnitLimit,
    /// Units of one item that a user receives in free orders within 24 hours.
    pub free_units_per_day: u32,
}

/// A limit on held units of one item: so many, or a share of the stock, whichever is more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnitLimit {
    pub units: u32,
    pub percent: u32,
}

pub(super) fn read_payments(root: &Section<'_, '_>) -> PaymentsConfig {
    let section = root.section("payments", "Rules of payments.");
    let payments = PaymentsConfig {
        rounding: section
            .key("rounding", "What a discounted unit price is rounded to, half up.")
            .choice(&[("kopeck", Rounding::Kopeck), ("rouble", Rounding::Rouble)]),
        qr_lifetime: section
            .key("qr_lifetime_s", "How long a QR code can be paid and its stock is held.")
            .seconds(1..=259_200, 900),
        open_per_owner: section
            .key("open_per_owner", "Open payments of a user or visitor; more are answered with 429.")
            .number(1..=1_000_000, 3),
        open_per_address: section
            .key(
                "open_per_address",
                "Open payments of an address, those of users with a session not counted; more are answered with 429.",
            )
            .number(1..=1_000_000, 10),
        limits: read_limits(&section),
        min_poll_interval: section
            .key(
                "look_every_ms",
                "The bank is polled for one QR code at most once in this time, for any number of clients.",
            )
            .milliseconds(100..=60_000, 2_000),
        poll_wait: section
            .key(
                "answer_within_ms",
                "How long a request waits for a slow bank before it is answered from the database.",
            )
            .milliseconds(10..=10_000, 1_000),
        follow_up: section
            .key("follow_s", "How long after a code's expiry the workers poll the bank for a late payment.")
            .seconds(60..=2_592_000, 86_400),
        max_poll_interval: section
            .key("longest_pause_s", "The longest interval between two polls of the workers; intervals grow up to it.")
            .seconds(1..=86_400, 1_800),
        refund_poll_interval: section
            .key("refund_poll_s", "How often the workers poll the bank for a refund in progress.")
            .seconds(1..=86_400, 30),
        receipt_search: section
            .key(
                "receipt_search_s",
                "How far back the workers search for completed payments and refunds without a receipt. A receipt that was queued by \
                 an instance without a section `[fiscal]` is dropped after this time, unless a worker that has the section sends it.",
            )
            .seconds(3_600..=2_592_000, 86_400),
    };
    section.finish();
    payments
}

fn read_limits(section: &Section<'_, '_>) -> OrderLimits {
    const MAX_ROUBLES: u32 = 999_999_999;
    let roubles = |key, default, help| section.key(key, help).number(1..=MAX_ROUBLES, default);
    let units = |key, default, help| section.key(key, help).number(1..=1_000_000, default);
    let percent = |key, default, help| section.key(key, help).number(0..=100, default);
    OrderLimits {
        max_order: roubles("order_roubles", 1_000_000, "The most expensive order, in roubles."),
        open_per_user: roubles(
            "open_roubles_per_user",
            1_000_000,
            "What all open payments of a user with a session come to at most, in roubles.",
        ),
        open_per_visitor: roubles(
            "open_roubles_per_visitor",
            100_000,
            "What all open payments of a visitor without a session come to at most, in roubles.",
        ),
        visitor: UnitLimit {
            units: units(
                "units_per_visitor",
                2,
                "Units of an item that open payments of a visitor without a session hold at most; more if `percent_per_visitor` allows more.",
            ),
            percent: percent("percent_per_visitor", 20, "The same in percent of the item's stock."),
        },
        all_visitors: UnitLimit {
            units: units(
                "units_of_visitors",
                2,
                "Units of an item that open payments of all visitors without a session hold together at most; more if `percent_of_visitors` allows more.",
            ),
            percent: percent("percent_of_visitors", 50, "The same in percent of the item's stock."),
        },
        free_units_per_day: section
            .key("free_units_per_day", "Units of an item that a user receives in orders of 0 roubles within 24 hours.")
            .number(1..=999, 1),
    }
}
