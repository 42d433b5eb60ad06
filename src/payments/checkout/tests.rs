//! What a checkout decides on its snapshot.

use std::time::Duration;

use rust_decimal::Decimal;

use super::*;
use crate::config::Rounding;
use crate::payments::order::RequestedLine;

const CONFIG: PaymentsConfig = PaymentsConfig {
    rounding: Rounding::Kopeck,
    qr_lifetime: Duration::from_secs(900),
    open_per_owner: 2,
    open_per_address: 3,
    min_poll_interval: Duration::from_secs(2),
    poll_wait: Duration::from_secs(1),
    follow_up: Duration::from_secs(86_400),
    max_poll_interval: Duration::from_secs(1_800),
    refund_poll_interval: Duration::from_secs(30),
    receipt_search: Duration::from_secs(86_400),
};

/// An order of one unit of item 1 for 20 RUB, as [`Payment::example`] pays for.
fn order(site_order_id: &str) -> Order {
    Order {
        amount: Decimal::from(20),
        site_order_id: site_order_id.to_owned(),
        site_user_id: None,
        telegram_username: None,
        redirect_url: None,
        items: vec![RequestedLine { item_id: 1, quantity: Some(1), price: None }],
    }
}

fn snapshot(payments: Vec<Payment>, left: i32) -> CheckoutSnapshot {
    let offered = Offered {
        name: "Lamp".to_owned(),
        price: Decimal::from(20),
        discount: Decimal::ZERO,
        currency: "RUB".to_owned(),
        is_for_sale: true,
        left,
        in_cart: None,
    };
    CheckoutSnapshot { offered: vec![Some(offered)], payments, open_at_address: 0, linked_owner: None }
}

fn decided(snapshot: &CheckoutSnapshot, order: &Order) -> Result<Option<Step>, &'static str> {
    decide(snapshot, order, &CONFIG, Timestamp::UNIX_EPOCH).map_err(|error| error.code)
}

#[test]
fn an_order_without_earlier_payments_is_inserted() {
    assert!(matches!(decided(&snapshot(Vec::new(), 5), &order("order_1")), Ok(None)));
}

#[test]
fn a_login_during_the_request_starts_the_checkout_again() {
    let snapshot = CheckoutSnapshot { linked_owner: Some("user:7".to_owned()), ..snapshot(Vec::new(), 5) };
    assert!(matches!(decided(&snapshot, &order("order_1")), Ok(Some(Step::Linked(user))) if user == "user:7"));
}

#[test]
fn the_same_order_is_the_same_payment() {
    let stored = snapshot(vec![Payment::example()], 5);
    assert!(matches!(decided(&stored, &order("order_1")), Ok(Some(Step::Wait(_)))));
    let registered = Payment { qr_id: Some("AD1".to_owned()), ..Payment::example() };
    assert!(matches!(decided(&snapshot(vec![registered], 5), &order("order_1")), Ok(Some(Step::Done(_)))));
    let other = Order { amount: Decimal::from(40), ..order("order_1") };
    assert_eq!(decided(&stored, &other).expect_err("another amount"), "order_changed");
}

#[test]
fn an_older_payment_of_the_same_item_is_replaced_unless_the_order_is_refused() {
    let last_unit_is_held = snapshot(vec![Payment::example()], 0);
    let replaced = decided(&last_unit_is_held, &order("order_2"));
    assert!(matches!(&replaced, Ok(Some(Step::Replace(older))) if older.len() == 1), "{replaced:?}");
    let two = RequestedLine { item_id: 1, quantity: Some(2), price: None };
    let two = Order { amount: Decimal::from(40), items: vec![two], ..order("order_2") };
    assert_eq!(decided(&last_unit_is_held, &two).expect_err("one unit"), "out_of_stock");
}

#[test]
fn open_payments_of_other_items_are_limited() {
    let other_item = |id: i64| Payment { lines: vec![(id, 1)], site_order_id: format!("o{id}"), ..Payment::example() };
    let one = snapshot(vec![other_item(2)], 5);
    assert!(matches!(decided(&one, &order("order_1")), Ok(None)));
    let two = snapshot(vec![other_item(2), other_item(3)], 5);
    assert_eq!(decided(&two, &order("order_1")).expect_err("two of the owner"), "too_many_requests");
    let three = CheckoutSnapshot { open_at_address: 3, ..snapshot(Vec::new(), 5) };
    assert_eq!(decided(&three, &order("order_1")).expect_err("three of the network"), "too_many_requests");
}
