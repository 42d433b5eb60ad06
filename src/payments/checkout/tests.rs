//! What a checkout decides on its snapshot.

use std::time::Duration;

use rust_decimal::Decimal;

use super::*;
use crate::config::{OrderLimits, Rounding, UnitLimit};
use crate::payments::order::{Offered, RequestedLine};

const CONFIG: PaymentsConfig = PaymentsConfig {
    rounding: Rounding::Kopeck,
    qr_lifetime: Duration::from_secs(900),
    open_per_owner: 2,
    open_per_address: 3,
    limits: OrderLimits {
        max_order: 1_000,
        open_per_user: 1_000,
        open_per_visitor: 100,
        visitor: UnitLimit { units: 2, percent: 0 },
        all_visitors: UnitLimit { units: 4, percent: 0 },
        free_units_per_day: 1,
    },
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

fn snapshot(payments: Vec<Payment>, available: i32) -> CheckoutSnapshot {
    let offered = Offered { available, stock: Some(available), ..Offered::example() };
    let at_address = OpenAtAddress { count: 0, next_expiry: None };
    CheckoutSnapshot { offered: vec![Some(offered)], payments, at_address, linked_owner: None }
}

fn decided(snapshot: &CheckoutSnapshot, order: &Order) -> Result<Decision, &'static str> {
    decide(snapshot, order, &CONFIG, true, Timestamp::UNIX_EPOCH).map_err(|error| error.code)
}

fn step(snapshot: &CheckoutSnapshot, order: &Order) -> Step {
    match decided(snapshot, order) {
        Ok(Decision::Step(step)) => *step,
        other => panic!("{other:?}"),
    }
}

fn is_inserted(snapshot: &CheckoutSnapshot, order: &Order) -> bool {
    matches!(decided(snapshot, order), Ok(Decision::Insert(..)))
}

fn with_status(status: Status) -> Payment {
    let example = Payment::example();
    Payment { state: CurrentState { status, ..example.state }, qr_id: Some("AD1".to_owned()), ..example }
}

#[test]
fn an_order_without_earlier_payments_is_inserted() {
    assert!(is_inserted(&snapshot(Vec::new(), 5), &order("order_1")));
}

#[test]
fn a_login_during_the_request_starts_the_checkout_again() {
    let snapshot = CheckoutSnapshot { linked_owner: Some("user:7".to_owned()), ..snapshot(Vec::new(), 5) };
    assert!(matches!(step(&snapshot, &order("order_1")), Step::Linked(user) if user == "user:7"));
}

#[test]
fn the_same_order_is_the_same_payment_while_it_can_be_paid() {
    let stored = snapshot(vec![Payment::example()], 5);
    assert!(matches!(step(&stored, &order("order_1")), Step::Wait(_)));
    for status in [Status::Created, Status::Waiting, Status::Completed] {
        assert!(matches!(step(&snapshot(vec![with_status(status)], 5), &order("order_1")), Step::Done(_)));
    }
    for status in [Status::Expired, Status::Cancelled] {
        let closed = snapshot(vec![with_status(status)], 5);
        assert!(is_inserted(&closed, &order("order_1")), "the order gets another code");
        let other = Order { amount: Decimal::from(40), ..order("order_1") };
        assert_eq!(decided(&closed, &other).expect_err("another amount"), "order_changed");
    }
    let other = Order { amount: Decimal::from(40), ..order("order_1") };
    assert_eq!(decided(&stored, &other).expect_err("another amount"), "order_changed");
}

#[test]
fn of_several_payments_of_an_order_the_paid_one_counts() {
    let attempt = |id, status| Payment { id, ..with_status(status) };
    for (statuses, expected) in [
        ([Status::Completed, Status::Created], 1),
        ([Status::Waiting, Status::Created], 1),
        ([Status::Expired, Status::Created], 2),
        ([Status::Completed, Status::Completed], 2),
    ] {
        let attempts = vec![attempt(1, statuses[0]), attempt(2, statuses[1])];
        let same = step(&snapshot(attempts, 5), &order("order_1"));
        assert!(matches!(&same, Step::Done(payment) if payment.id == expected), "{statuses:?}: {same:?}");
    }
}

#[test]
fn an_older_payment_of_the_same_item_is_replaced_unless_the_order_is_refused() {
    let one_is_left = snapshot(vec![Payment::example()], 1);
    let replaced = step(&one_is_left, &order("order_2"));
    assert!(matches!(&replaced, Step::Replace(older) if older.len() == 1), "{replaced:?}");
    let two = RequestedLine { item_id: 1, quantity: Some(2), price: None };
    let two = Order { amount: Decimal::from(40), items: vec![two], ..order("order_2") };
    assert_eq!(decided(&one_is_left, &two).expect_err("one unit"), "out_of_stock");
    assert!(is_inserted(&snapshot(vec![with_status(Status::Expired)], 1), &order("order_2")), "nothing to replace");
}

#[test]
fn open_payments_of_other_items_are_limited() {
    let other_item = |id: i64| Payment { lines: vec![(id, 1)], site_order_id: format!("o{id}"), ..Payment::example() };
    let one = snapshot(vec![other_item(2)], 5);
    assert!(is_inserted(&one, &order("order_1")));
    let two = snapshot(vec![other_item(2), other_item(3)], 5);
    assert_eq!(decided(&two, &order("order_1")).expect_err("two of the owner"), "too_many_requests");
    let dear = Payment { amount: Decimal::from(81), ..other_item(2) };
    assert_eq!(decided(&snapshot(vec![dear], 5), &order("order_1")).expect_err("101 RUB"), "hold_limit");
    let at_address = || OpenAtAddress { count: 3, next_expiry: None };
    let three = CheckoutSnapshot { at_address: at_address(), ..snapshot(Vec::new(), 5) };
    assert_eq!(decided(&three, &order("order_1")).expect_err("three of the network"), "too_many_requests");
    let user = decide(&three, &order("order_1"), &CONFIG, false, Timestamp::UNIX_EPOCH);
    assert!(matches!(user, Ok(Decision::Insert(..))), "a user is not counted by address");
}
