//! What a visitor wants to pay for: the body of `POST /cart` with an `amount`, and what it really costs.
//!
//! Used by `payments`. The price is the catalogue's; what the client names is compared and never taken. What must never
//! happen: a price passes through a binary float, or a visitor chooses it.

use std::collections::BTreeMap;

use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cart::MAX_QUANTITY;
use crate::config::Rounding;
use crate::foundation::error::{Error, Result};
use crate::foundation::money::{self, Exact};
use crate::http::request::LARGEST_INTEGER;

/// The largest amount: below a thousand million, which no bank takes by QR code and every column holds.
const MOST_ROUBLES: Decimal = Decimal::from_parts(999_999_999, 0, 0, false, 0);

/// The most lines of an order.
const MOST_LINES: usize = 200;

/// An order as the front end sent it, checked for its shape alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Roubles, rounded to the kopeck.
    pub amount: Decimal,
    pub site_order_id: String,
    pub site_user_id: Option<String>,
    pub telegram_username: Option<String>,
    pub redirect_url: Option<String>,
    pub items: Vec<RequestedLine>,
}

/// One item of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedLine {
    pub item_id: i64,
    /// `None`: as many as are in the cart, else one.
    pub quantity: Option<i32>,
    /// For one piece, before or after the discount, rounded to the kopeck.
    pub price: Option<Decimal>,
}

/// An item as the shop has it at this moment.
#[derive(Debug, Clone)]
pub struct Offered {
    pub name: String,
    pub price: Decimal,
    /// Percent.
    pub discount: Decimal,
    pub currency: String,
    /// Visible, and available in the visitor's region.
    pub is_for_sale: bool,
    pub left: i32,
    pub in_cart: Option<i32>,
}

/// A line of a priced order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLine {
    pub item_id: i64,
    pub name: String,
    /// For one piece, before and after the discount.
    pub list_price: Decimal,
    pub price: Decimal,
    pub quantity: i32,
}

impl Order {
    /// # Errors
    /// 400 that names the member and what was expected, 422 for another currency.
    pub fn read(body: &[u8]) -> Result<Order> {
        let members = members(body)?;
        let amount = members.get("amount").and_then(|raw| money_of(raw)).filter(|amount| *amount > Decimal::ZERO);
        let amount = amount.ok_or_else(|| wrong("bad_amount", "amount", "a number of roubles above 0"))?;
        match members.get("currency").map(|raw| raw.get()) {
            None | Some("null" | "\"RUB\"") => {}
            Some(other) if other.starts_with('"') => {
                return Err(Error::unprocessable("currency_not_supported", "currency: only RUB can be paid here"));
            }
            Some(_) => return Err(wrong("bad_currency", "currency", "\"RUB\"")),
        }
        let is_plain = |id: &String| id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        let site_order_id = text(&members, "siteorderID", 40).ok().flatten().filter(is_plain);
        let site_order_id =
            site_order_id.ok_or_else(|| wrong("bad_order_id", "siteorderID", "1 to 40 letters, digits, _ . or -"))?;
        Ok(Order {
            amount,
            site_order_id,
            site_user_id: text(&members, "siteuserID", 100)?,
            telegram_username: text(&members, "telegramUsername", 100)?,
            redirect_url: text(&members, "redirectUrl", 1_000)?,
            items: wanted(&members)?,
        })
    }

    /// What it costs, by the catalogue alone; `offered` in the order of `items`, `None` for what does not exist.
    ///
    /// # Errors
    /// 404 and 409 that name the item; 422 with the right `amount` for an amount or a price that is not the shop's.
    pub fn price(&self, offered: &[Option<Offered>], rounding: Rounding) -> Result<(Vec<OrderLine>, Decimal)> {
        let mut lines = Vec::with_capacity(self.items.len());
        for (wanted, offered) in self.items.iter().zip(offered) {
            let offered = offered.as_ref().ok_or_else(|| Error::not_found("item").with("itemID", wanted.item_id))?;
            lines.push(wanted.line(offered, rounding)?);
        }
        let amount: Decimal = lines.iter().map(|line| line.price * Decimal::from(line.quantity)).sum();
        let pieces: Decimal = lines.iter().map(|line| Decimal::from(line.quantity)).sum();
        let wrong_price = self.items.iter().zip(&lines).any(|(wanted, line)| {
            let named = |price: Decimal| price == line.list_price || (price - line.price).abs() <= rounding.step();
            wanted.price.is_some_and(|price| !named(price))
        });
        if amount > MOST_ROUBLES {
            return Err(Error::unprocessable("amount_too_large", "This order costs more than can be paid at once."));
        }
        if wrong_price || (self.amount - amount).abs() > rounding.step() * pieces || amount <= Decimal::ZERO {
            let right = serde_json::to_value(Exact(amount)).unwrap_or(Value::Null);
            let sentence = format!("The amount is not what these items cost: it is {} RUB.", amount.normalize());
            return Err(Error::unprocessable("amount_mismatch", sentence).with("amount", right));
        }
        Ok((lines, amount))
    }

    /// Whether this is the same order as one that was written before: the same items, as many of each where it says how many,
    /// and the amount but for rounding. `lines` are item ids and quantities.
    pub fn is_same(&self, lines: &[(i64, i32)], amount: Decimal, rounding: Rounding) -> bool {
        let pieces: Decimal = lines.iter().map(|(_, quantity)| Decimal::from(*quantity)).sum();
        let known = |wanted: &RequestedLine| {
            let line = lines.iter().find(|(item_id, _)| *item_id == wanted.item_id);
            line.is_some_and(|(_, quantity)| wanted.quantity.is_none_or(|wanted| wanted == *quantity))
        };
        self.items.len() == lines.len()
            && self.items.iter().all(known)
            && (self.amount - amount).abs() <= rounding.step() * pieces
    }
}

impl RequestedLine {
    fn line(&self, offered: &Offered, rounding: Rounding) -> Result<OrderLine> {
        let about = |error: Error| error.with("itemID", self.item_id).with("name", offered.name.clone());
        if !offered.is_for_sale {
            let sentence = format!("{} is not for sale any more; please take it out of the cart.", offered.name);
            return Err(about(Error::conflict("item_unavailable", sentence)));
        }
        if offered.currency != "RUB" {
            return Err(about(Error::unprocessable("currency_not_supported", "Only items in RUB can be paid here.")));
        }
        let quantity = self.quantity.or(offered.in_cart).unwrap_or(1);
        if offered.left < quantity {
            let sentence = match offered.left {
                0 => format!("{} is sold out.", offered.name),
                left => format!("Only {left} of {} are left.", offered.name),
            };
            return Err(about(Error::conflict("out_of_stock", sentence)).with("left", offered.left));
        }
        let price = discounted(offered.price, offered.discount, rounding);
        let (name, list_price) = (offered.name.clone(), offered.price);
        Ok(OrderLine { item_id: self.item_id, name, list_price, price, quantity })
    }
}

/// What is paid for a piece: rounded half up.
fn discounted(price: Decimal, discount: Decimal, rounding: Rounding) -> Decimal {
    let exact = price * (Decimal::ONE_HUNDRED - discount) / Decimal::ONE_HUNDRED;
    exact.round_dp_with_strategy(rounding.decimals(), RoundingStrategy::MidpointAwayFromZero)
}

type Members<'b> = BTreeMap<String, &'b RawValue>;

fn members(body: &[u8]) -> Result<Members<'_>> {
    serde_json::from_slice(body).map_err(|error| {
        Error::malformed("bad_json", format!("The body is no JSON object: {error}.")).with_cause(error)
    })
}

/// The shortest way to show an amount has no more than 17 digits; what JavaScript adds is rounded away.
fn money_of(raw: &RawValue) -> Option<Decimal> {
    let decimal = money::decimal_from_json(raw.get())?;
    Some(decimal.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero))
}

/// A text that may be missing, `null` or empty.
fn text(members: &Members<'_>, name: &'static str, longest: usize) -> Result<Option<String>> {
    let Some(raw) = members.get(name).filter(|raw| raw.get() != "null") else { return Ok(None) };
    let text: Option<String> = serde_json::from_str(raw.get()).ok();
    match text {
        Some(text) if text.chars().count() <= longest && !text.contains('\0') => {
            Ok(Some(text).filter(|t| !t.is_empty()))
        }
        _ => Err(wrong("bad_text", name, &format!("a text of at most {longest} characters"))),
    }
}

fn wanted(members: &Members<'_>) -> Result<Vec<RequestedLine>> {
    let expected =
        || wrong("bad_items", "items", "a list of 1 to 200 different {\"itemID\", \"price\", \"quantity\"?}");
    let raw = members.get("items").ok_or_else(expected)?;
    let list: Vec<Members<'_>> = serde_json::from_str(raw.get()).map_err(|_| expected())?;
    if list.is_empty() || list.len() > MOST_LINES {
        return Err(expected());
    }
    let items: Vec<RequestedLine> = list.iter().map(one_wanted).collect::<Result<_>>()?;
    let mut ids: Vec<i64> = items.iter().map(|item| item.item_id).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() < items.len() { Err(expected()) } else { Ok(items) }
}

fn one_wanted(item: &Members<'_>) -> Result<RequestedLine> {
    let present = |name: &str| item.get(name).filter(|raw| raw.get() != "null");
    let item_id = present("itemID").and_then(|raw| raw.get().parse().ok());
    let item_id = item_id.filter(|id| (1..=LARGEST_INTEGER).contains(id));
    let quantity = present("quantity").map(|raw| {
        let number = raw.get().parse().ok().filter(|number| (1..=MAX_QUANTITY).contains(number));
        number.ok_or_else(|| wrong("bad_quantity", "items.quantity", "a positive integer from 1 to 999"))
    });
    let price = present("price").map(|raw| {
        let price = money_of(raw).filter(|price| *price >= Decimal::ZERO);
        price.ok_or_else(|| wrong("bad_price", "items.price", "a number of roubles"))
    });
    Ok(RequestedLine {
        item_id: item_id.ok_or_else(|| wrong("bad_item_id", "items.itemID", "a positive integer"))?,
        quantity: quantity.transpose()?,
        price: price.transpose()?,
    })
}

fn wrong(code: &'static str, name: &str, expected: &str) -> Error {
    Error::malformed(code, format!("{name}: expected {expected}"))
}

#[cfg(test)]
mod tests;
