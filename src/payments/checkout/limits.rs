//! Limits on an order: what it may cost, how much of the shop its owner may hold without paying, and how much is given away.

use rust_decimal::Decimal;
use serde_json::Value;

use crate::config::{OrderLimits, UnitLimit};
use crate::foundation::error::{Error, Result};
use crate::foundation::money::Exact;
use crate::payments::order::{Offered, OrderLine};

/// A priced order and its owner.
pub(super) struct OrderToCheck<'a> {
    /// Each line with the offer that it was priced by.
    pub lines: Vec<(&'a OrderLine, &'a Offered)>,
    /// Roubles.
    pub amount: Decimal,
    /// What the owner's other open payments come to.
    pub open_amount: Decimal,
    /// Whether the owner has no session.
    pub is_visitor: bool,
}

/// # Errors
/// 422 for an order that is too expensive; 401 for a free order without a session, and 409 `free_limit` for more than the owner may
/// receive; 409 `hold_limit` for more than the owner may hold. `left` is how many units of `itemID` are possible, and without an
/// `itemID` how many roubles; `login` says whether a session lifts the limit.
pub(super) fn check(order: &OrderToCheck<'_>, limits: &OrderLimits) -> Result<()> {
    if order.amount > Decimal::from(limits.max_order) {
        let message = format!("This order costs more than can be paid at once: the limit is {} RUB.", limits.max_order);
        return Err(Error::unprocessable("amount_too_large", message));
    }
    if order.amount.is_zero() {
        return check_free(order, limits);
    }
    if order.is_visitor {
        order.lines.iter().try_for_each(|(line, offered)| check_units(line, offered, limits))?;
    }
    check_open_amount(order, limits)
}

fn check_free(order: &OrderToCheck<'_>, limits: &OrderLimits) -> Result<()> {
    if order.is_visitor {
        return Err(Error::unauthorized("login_required", "Orders that cost nothing need a login."));
    }
    order.lines.iter().try_for_each(|(line, offered)| {
        let left = units(limits.free_units_per_day).saturating_sub(offered.free_units).max(0);
        if line.quantity <= left {
            return Ok(());
        }
        let message = match left {
            0 => format!("{} was given away to you today already; please try again tomorrow.", line.name),
            left => format!("Only {left} of {} a day can be had for nothing.", line.name),
        };
        Err(with_item(Error::conflict("free_limit", message), line, left))
    })
}

/// Checks what a visitor, and all visitors together, would hold of an item.
fn check_units(line: &OrderLine, offered: &Offered, limits: &OrderLimits) -> Result<()> {
    let Some(stock) = offered.stock else { return Ok(()) };
    let own = limit_of(limits.visitor, stock);
    let shared = limit_of(limits.all_visitors, stock).saturating_sub(offered.held_by_visitors).max(0);
    let most = own.min(offered.available);
    // What is sold in packs is ordered in whole ones.
    let left = offered.lot_size.largest(most.min(shared));
    if line.quantity <= left {
        return Ok(());
    }
    let message = match left {
        0 if most > 0 && offered.lot_size.largest(most) == 0 => {
            let smallest = offered.lot_size.min;
            format!(
                "Only {most} of {} can be ordered without a login, and it is sold from {smallest}; please log in.",
                line.name
            )
        }
        0 => format!(
            "Other visitors are paying for {} at the moment; please log in, or try again in a few minutes.",
            line.name
        ),
        left => format!("Only {left} of {} can be ordered without a login; please log in to order more.", line.name),
    };
    Err(with_item(Error::conflict("hold_limit", message), line, left).with("login", true))
}

fn check_open_amount(order: &OrderToCheck<'_>, limits: &OrderLimits) -> Result<()> {
    let total = order.open_amount + order.amount;
    let (limit, who) = match order.is_visitor {
        true => (limits.open_per_visitor, "Without a login, unpaid orders"),
        false => (limits.open_per_user, "Unpaid orders"),
    };
    if total <= Decimal::from(limit) {
        return Ok(());
    }
    let lifted_by_login = order.is_visitor && total <= Decimal::from(limits.open_per_user);
    let advice = match (lifted_by_login, order.open_amount.is_zero()) {
        (true, true) => "please log in.",
        (true, false) => "please log in, or pay or cancel another order first.",
        (false, true) => "please order less at once.",
        (false, false) => "please pay or cancel another order first.",
    };
    let left = (Decimal::from(limit) - order.open_amount).max(Decimal::ZERO);
    let error = Error::conflict("hold_limit", format!("{who} may come to at most {limit} RUB in all; {advice}"));
    Err(error.with("left", serde_json::to_value(Exact(left)).unwrap_or(Value::Null)).with("login", lifted_by_login))
}

fn with_item(error: Error, line: &OrderLine, left: i32) -> Error {
    error.with("itemID", line.item_id).with("name", line.name.clone()).with("left", left)
}

/// The limit in units, for an item with so many in stock.
fn limit_of(limit: UnitLimit, stock: i32) -> i32 {
    let share = i64::from(stock) * i64::from(limit.percent) / 100;
    units(limit.units).max(i32::try_from(share).unwrap_or(i32::MAX))
}

fn units(setting: u32) -> i32 {
    i32::try_from(setting).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As in production.
    const LIMITS: OrderLimits = OrderLimits {
        max_order: 1_000_000,
        open_per_user: 1_000_000,
        open_per_visitor: 100_000,
        visitor: UnitLimit { units: 2, percent: 20 },
        all_visitors: UnitLimit { units: 2, percent: 50 },
        free_units_per_day: 1,
    };

    /// The code, `left` and `login` of the error for an order of one line.
    fn checked(
        quantity: i32,
        amount: i64,
        open: i64,
        is_visitor: bool,
        offered: &Offered,
    ) -> Option<(&'static str, Value, Value)> {
        let line =
            OrderLine { item_id: 1, name: "Lamp".to_owned(), list_price: Decimal::ONE, price: Decimal::ONE, quantity };
        let lines = vec![(&line, offered)];
        let order = OrderToCheck { lines, amount: Decimal::from(amount), open_amount: Decimal::from(open), is_visitor };
        let member = |error: &Error, name: &str| error.data.get(name).cloned().unwrap_or(Value::Null);
        check(&order, &LIMITS).err().map(|error| (error.code, member(&error, "left"), member(&error, "login")))
    }

    fn offer(stock: i32, held_by_visitors: i32) -> Offered {
        Offered { stock: Some(stock), available: stock - held_by_visitors, held_by_visitors, ..Offered::example() }
    }

    #[test]
    fn a_visitor_holds_two_units_or_a_fifth_of_the_stock() {
        for (stock, most) in [(1, 1), (2, 2), (9, 2), (14, 2), (15, 3), (1_000, 200)] {
            let offered = offer(stock, 0);
            assert_eq!(checked(most, 1, 0, true, &offered), None, "{stock}");
            let refused = ("hold_limit", json!(most), json!(true));
            assert_eq!(checked(most + 1, 1, 0, true, &offered), Some(refused), "{stock}");
            assert_eq!(checked(stock, 1, 0, false, &offered), None, "a user may hold all {stock}");
        }
        let uncounted = Offered { stock: None, ..offer(0, 0) };
        assert_eq!(checked(999, 1, 0, true, &uncounted), None, "a stock that is not counted is not limited");
    }

    #[test]
    fn all_visitors_hold_two_units_or_half_of_the_stock() {
        for (stock, held, left) in [(2, 1, 1), (3, 1, 1), (3, 2, 0), (9, 3, 1), (9, 4, 0), (100, 45, 5), (100, 60, 0)] {
            let offered = offer(stock, held);
            assert_eq!(checked(left, 1, 0, true, &offered), None, "{stock} {held}");
            let refused = Some(("hold_limit", json!(left), json!(true)));
            assert_eq!(checked(left + 1, 1, 0, true, &offered), refused, "{stock} {held}");
        }
    }

    #[test]
    fn a_visitor_holds_whole_packs() {
        use crate::cart::LotSize;
        let packs = |stock, held| Offered { lot_size: LotSize::new(Some(4), Some(3)), ..offer(stock, held) };
        // A fifth of the stock, in packs.
        for (stock, held, quantity, left) in [(30, 0, 7, 4), (45, 0, 10, 7), (10, 0, 4, 0), (30, 12, 4, 0)] {
            let refused = Some(("hold_limit", json!(left), json!(true)));
            assert_eq!(checked(quantity, 1, 0, true, &packs(stock, held)), refused, "{stock} {held}");
        }
        assert_eq!(checked(7, 1, 0, true, &packs(45, 0)), None);
        assert_eq!(checked(4, 1, 0, false, &packs(10, 0)), None, "a user may");
    }

    #[test]
    fn open_payments_and_orders_have_a_largest_amount() {
        let offered = offer(1_000, 0);
        assert_eq!(checked(1, 100_000, 0, true, &offered), None);
        let refused = |left: i64, login| Some(("hold_limit", json!(left), json!(login)));
        assert_eq!(checked(1, 100_001, 0, true, &offered), refused(100_000, true));
        assert_eq!(checked(1, 60_000, 60_000, true, &offered), refused(40_000, true));
        assert_eq!(checked(1, 960_000, 60_000, true, &offered), refused(40_000, false), "too much for a user as well");
        assert_eq!(checked(1, 940_000, 60_000, false, &offered), None);
        assert_eq!(checked(1, 940_001, 60_000, false, &offered), refused(940_000, false));
        let too_large = Some(("amount_too_large", Value::Null, Value::Null));
        assert_eq!(checked(1, 1_000_001, 0, false, &offered), too_large);
        assert_eq!(checked(1, 1_000_001, 0, true, &offered), too_large);
    }

    #[test]
    fn a_user_receives_one_unit_of_an_item_a_day_for_nothing() {
        let offered = offer(1_000, 0);
        assert_eq!(checked(1, 0, 0, true, &offered), Some(("login_required", Value::Null, Value::Null)));
        assert_eq!(checked(1, 0, 0, false, &offered), None);
        assert_eq!(checked(2, 0, 0, false, &offered), Some(("free_limit", json!(1), Value::Null)));
        let again = Offered { free_units: 1, ..offered };
        assert_eq!(checked(1, 0, 0, false, &again), Some(("free_limit", json!(0), Value::Null)));
    }
}
