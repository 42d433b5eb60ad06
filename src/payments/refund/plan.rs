//! What a refund refunds: the decision, as pure functions.
//!
//! # Invariants
//! - No more is refunded than was paid, in all and of each line.
//! - The amounts of a refund's lines add up to the refund.

use jiff::{SignedDuration, Timestamp};
use rust_decimal::{Decimal, RoundingStrategy};

use super::store::{Refund, RefundLine, SoldLine};
use crate::foundation::count::{counted, is_or_are};
use crate::foundation::error::{Error, Result};
use crate::payments::state::{RefundStatus, Status};
use crate::payments::store::Payment;

/// A refund of the same amount within this time needs a confirmation.
const REPEAT_WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// What the operator wants refunded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefundRequest {
    /// Roubles; `None`: what `items` cost, or without items everything that is left.
    pub amount: Option<Decimal>,
    /// Item ids and returned units. Not together with `amount`.
    pub items: Vec<(i64, i32)>,
    /// Whether the returned units go back into stock.
    pub restock: bool,
    /// Whether the same amount may be refunded again, shortly after the last refund of it.
    pub allow_repeat: bool,
}

/// The decision on a request for a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RefundPlan {
    /// Send this refund again: its response was not received.
    Resend(Refund),
    /// Refund this amount, for these lines.
    New { amount: Decimal, lines: Vec<RefundLine> },
}

/// Decides what to send, given the `earlier` refunds of the payment.
pub(super) fn plan(
    payment: &Payment,
    sold: &[SoldLine],
    earlier: &[Refund],
    request: &RefundRequest,
    now: Timestamp,
) -> Result<RefundPlan> {
    if payment.state.status != Status::Completed {
        return Err(Error::conflict("not_paid", "This payment was not paid."));
    }
    let not_declined = || earlier.iter().filter(|refund| refund.status != RefundStatus::Declined);
    let left = payment.amount - not_declined().map(|refund| refund.amount).sum::<Decimal>();
    let of_items = match request.items.as_slice() {
        [] => None,
        items => Some(lines_of_items(sold, items)?),
    };
    let items_amount = of_items.as_ref().map(|lines| lines.iter().map(|line| line.amount).sum::<Decimal>());
    let wanted = request.amount.or(items_amount);
    let unanswered = earlier.iter().find(|refund| refund.status == RefundStatus::Requested);
    if let Some(unanswered) = unanswered.filter(|refund| wanted.is_none_or(|wanted| wanted == refund.amount)) {
        return Ok(RefundPlan::Resend(unanswered.clone()));
    }
    let is_repeat = |amount: Decimal| {
        not_declined().any(|refund| refund.amount == amount && now.duration_since(refund.created_at) < REPEAT_WINDOW)
    };
    if unanswered.is_none() && !request.allow_repeat && wanted.is_some_and(is_repeat) {
        let message = "The same amount was refunded a moment ago; repeat with --again to refund it once more.";
        return Err(Error::conflict("refund_again", message));
    }
    let amount = wanted.unwrap_or(left).normalize();
    if amount <= Decimal::ZERO || amount > left || amount.scale() > 2 {
        let message = format!("{} of {} RUB can be refunded.", left.normalize(), payment.amount.normalize());
        return Err(Error::conflict("bad_refund", message));
    }
    let lines = match of_items {
        Some(lines) => lines,
        None if request.restock && amount < left => {
            let message = "A part of the price returns no units: name the returned items with --item.";
            return Err(Error::conflict("bad_refund", message));
        }
        None => allocate(sold, amount, amount == left),
    };
    Ok(RefundPlan::New { amount, lines })
}

/// The lines of returned units, at most what is left of each line.
fn lines_of_items(sold: &[SoldLine], items: &[(i64, i32)]) -> Result<Vec<RefundLine>> {
    let mut lines: Vec<RefundLine> = Vec::new();
    for (item_id, units) in items {
        let found = sold.iter().find(|line| line.item_id == *item_id);
        let is_repeated = lines.iter().any(|known| known.item_id == *item_id);
        let is_left = |line: &&SoldLine| (1..=line.units_left()).contains(units);
        let Some(line) = found.filter(is_left).filter(|_| !is_repeated) else {
            let message = match found.map(SoldLine::units_left) {
                None => format!("Item {item_id} is not in this payment."),
                Some(_) if is_repeated => format!("Item {item_id} is named twice; name it once, with all its units."),
                Some(left) => {
                    format!("Item {item_id}: only {} {} left to refund.", counted(left, "unit"), is_or_are(left))
                }
            };
            return Err(Error::conflict("bad_refund", message));
        };
        let amount = (line.price * Decimal::from(*units)).min(line.left());
        lines.push(RefundLine { item_id: *item_id, position: line.position, amount, units: *units });
    }
    Ok(lines)
}

/// Spreads an amount over the lines, in proportion to what is left of each. `is_rest`: it is all that is left, so all units are
/// returned.
pub(super) fn allocate(sold: &[SoldLine], amount: Decimal, is_rest: bool) -> Vec<RefundLine> {
    let total: Decimal = sold.iter().map(SoldLine::left).sum();
    let share = |line: &SoldLine| match total.is_zero() {
        true => Decimal::ZERO,
        false => (amount * line.left() / total).round_dp_with_strategy(2, RoundingStrategy::ToZero).min(line.left()),
    };
    let mut lines: Vec<RefundLine> = sold
        .iter()
        .map(|line| RefundLine {
            item_id: line.item_id,
            position: line.position,
            amount: share(line),
            units: if is_rest { line.units_left() } else { 0 },
        })
        .collect();
    // The kopecks that rounding has left over, to the lines that have room for them.
    let mut over = amount - lines.iter().map(|line| line.amount).sum::<Decimal>();
    for (line, sold) in lines.iter_mut().zip(sold) {
        let more = over.min(sold.left() - line.amount).max(Decimal::ZERO);
        line.amount += more;
        over -= more;
    }
    lines.retain(|line| line.amount > Decimal::ZERO || line.units > 0);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payments::state::CurrentState;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn roubles(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    fn payment(status: Status) -> Payment {
        let state = CurrentState { status, holds_stock: false, expires_at: NOW };
        Payment { state, amount: Decimal::from(100), ..Payment::example() }
    }

    fn earlier(amount: i64, status: RefundStatus, age_mins: i64) -> Refund {
        let created_at = NOW - SignedDuration::from_mins(age_mins);
        Refund {
            id: format!("r{amount}"),
            ordinal: None,
            amount: Decimal::from(amount),
            status,
            created_at,
            found_at_bank: false,
        }
    }

    /// Items 1 (two units of 20) and 2 (three units of 20).
    fn sold() -> Vec<SoldLine> {
        let line = |item_id, quantity| SoldLine {
            item_id,
            position: 1,
            price: Decimal::from(20),
            quantity,
            refunded: Decimal::ZERO,
            returned: 0,
        };
        vec![line(1, 2), line(2, 3)]
    }

    fn request(amount: Option<i64>) -> RefundRequest {
        RefundRequest { amount: amount.map(Decimal::from), ..RefundRequest::default() }
    }

    fn planned(earlier: &[Refund], request: &RefundRequest) -> Result<RefundPlan, &'static str> {
        plan(&payment(Status::Completed), &sold(), earlier, request, NOW).map_err(|error| error.code)
    }

    /// The amount of a new refund.
    fn amount_of(earlier: &[Refund], request: &RefundRequest) -> Result<Decimal, &'static str> {
        planned(earlier, request).map(|plan| match plan {
            RefundPlan::New { amount, lines } => {
                assert_eq!(lines.iter().map(|line| line.amount).sum::<Decimal>(), amount);
                amount
            }
            RefundPlan::Resend(refund) => panic!("{refund:?} is sent again"),
        })
    }

    #[test]
    fn no_more_is_refunded_than_was_paid() {
        let refunds = [earlier(60, RefundStatus::Completed, 60), earlier(30, RefundStatus::Declined, 60)];
        assert_eq!(amount_of(&refunds, &request(None)), Ok(Decimal::from(40)));
        assert_eq!(amount_of(&refunds, &request(Some(40))), Ok(Decimal::from(40)));
        assert_eq!(amount_of(&refunds, &request(Some(41))), Err("bad_refund"));
        assert_eq!(amount_of(&refunds, &request(Some(0))), Err("bad_refund"));
        assert_eq!(amount_of(&[earlier(100, RefundStatus::InProgress, 60)], &request(None)), Err("bad_refund"));
        let unpaid = plan(&payment(Status::Expired), &sold(), &[], &request(None), NOW).map_err(|error| error.code);
        assert_eq!(unpaid, Err("not_paid"));
    }

    #[test]
    fn an_unanswered_refund_is_sent_again() {
        let unanswered = earlier(60, RefundStatus::Requested, 1);
        let refunds = [unanswered.clone()];
        assert_eq!(planned(&refunds, &request(None)), Ok(RefundPlan::Resend(unanswered.clone())));
        assert_eq!(planned(&refunds, &request(Some(60))), Ok(RefundPlan::Resend(unanswered)));
        assert_eq!(amount_of(&refunds, &request(Some(10))), Ok(Decimal::from(10)));
    }

    #[test]
    fn the_same_amount_twice_needs_a_confirmation() {
        let refunds = [earlier(10, RefundStatus::Completed, 9)];
        assert_eq!(amount_of(&refunds, &request(Some(10))), Err("refund_again"));
        let again = RefundRequest { allow_repeat: true, ..request(Some(10)) };
        assert_eq!(amount_of(&refunds, &again), Ok(Decimal::from(10)));
        let refunds = [earlier(10, RefundStatus::Completed, 11)];
        assert_eq!(amount_of(&refunds, &request(Some(10))), Ok(Decimal::from(10)));
    }

    #[test]
    fn returned_items_determine_the_amount() {
        let of = |items: &[(i64, i32)]| RefundRequest { items: items.to_vec(), ..RefundRequest::default() };
        assert_eq!(amount_of(&[], &of(&[(1, 1), (2, 2)])), Ok(Decimal::from(60)));
        for wrong in [&[(1, 3)][..], &[(3, 1)], &[(1, 0)], &[(1, 1), (1, 1)]] {
            assert_eq!(amount_of(&[], &of(wrong)), Err("bad_refund"), "{wrong:?}");
        }
        let messages = [&[(1, 3)][..], &[(3, 1)], &[(1, 1), (1, 1)]].map(|items| {
            let refused = plan(&payment(Status::Completed), &sold(), &[], &of(items), NOW);
            refused.expect_err("too many units").public.clone()
        });
        let expected = [
            "Item 1: only 2 units are left to refund.",
            "Item 3 is not in this payment.",
            "Item 1 is named twice; name it once, with all its units.",
        ];
        assert_eq!(messages, expected);
        let part = RefundRequest { restock: true, ..request(Some(30)) };
        assert_eq!(amount_of(&[], &part), Err("bad_refund"), "which units came back?");
        let whole = planned(&[], &RefundRequest { restock: true, ..request(None) }).expect("all of it");
        let RefundPlan::New { lines, .. } = whole else { panic!("{whole:?}") };
        assert_eq!(lines.iter().map(|line| line.units).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn amounts_are_spread_to_the_kopeck() {
        for amount in ["0.01", "0.02", "33.33", "99.99", "100"] {
            let lines = allocate(&sold(), roubles(amount), false);
            assert_eq!(lines.iter().map(|line| line.amount).sum::<Decimal>(), roubles(amount), "{lines:?}");
            assert!(lines.iter().all(|line| line.amount.scale() <= 2 && line.units == 0), "{lines:?}");
        }
        let mut sold = sold();
        sold[0].refunded = Decimal::from(40);
        let lines = allocate(&sold, Decimal::from(60), true);
        assert_eq!(lines.iter().map(|line| (line.item_id, line.units)).collect::<Vec<_>>(), [(1, 2), (2, 3)]);
        assert_eq!(lines[0].amount, Decimal::ZERO, "refunded before");
    }
}
