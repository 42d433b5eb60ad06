//! Orders: parsing the body of `POST /cart` with an `amount`, and pricing by the catalogue.
//!
//! # Invariants
//! - Prices come from the catalogue: the client's are compared with them and never charged.
//! - Amounts never pass through a binary float.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cart::{LotSize, MAX_LINES, MAX_QUANTITY};
use crate::config::Rounding;
use crate::foundation::error::{Error, Result};
use crate::foundation::money::{self, Exact};
use crate::foundation::whole_number;
use crate::http::request::MAX_SAFE_INTEGER;

/// How far the client's amount may be from the shop's at most, however many units the order has, in roubles.
const MAX_TOLERANCE: Decimal = Decimal::ONE;

/// An order as the front end sent it. Only its format is validated.
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

/// A line of an [`Order`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedLine {
    pub item_id: i64,
    /// `None`: the quantity in the cart, or 1.
    pub quantity: Option<i32>,
    /// Of one unit in roubles, before or after the discount or the sale price, rounded to the kopeck.
    pub price: Option<Decimal>,
}

/// An item as it is offered now.
#[derive(Debug, Clone)]
pub struct Offered {
    pub name: String,
    pub price: Decimal,
    /// Percent.
    pub discount: Decimal,
    /// What is paid instead of the discounted price.
    pub sale_price: Option<Decimal>,
    pub lot_size: LotSize,
    pub currency: String,
    /// Whether the item is visible, and in a visible category.
    pub is_listed: bool,
    /// Whether it is available in the visitor's region.
    pub is_in_region: bool,
    /// Units that the owner can buy: those that the owner's own open payments hold included.
    pub available: i32,
    /// Units in stock, those that are held included; `None` where they are not counted.
    pub stock: Option<i32>,
    /// Units that open payments of visitors hold, the owner's own not included.
    pub held_by_visitors: i32,
    /// Units that the owner received in free orders within the last day.
    pub free_units: i32,
    pub in_cart: Option<i32>,
}

/// A priced line of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLine {
    pub item_id: i64,
    pub name: String,
    /// Of one unit in roubles: before the discount, and what is paid.
    pub list_price: Decimal,
    pub price: Decimal,
    pub quantity: i32,
}

impl Order {
    /// Parses the body of a request.
    ///
    /// # Errors
    /// 400 that names the member and the expected value, 422 for a currency other than RUB.
    pub fn parse(body: &[u8]) -> Result<Order> {
        let members = parse_members(body)?;
        let amount = members.get("amount").and_then(|raw| parse_money(raw)).filter(|amount| *amount >= Decimal::ZERO);
        let amount = amount.ok_or_else(|| bad_member("bad_amount", "amount", "a number of roubles"))?;
        match members.get("currency").map(|raw| raw.get()) {
            None | Some("null" | "\"RUB\"") => {}
            Some(other) if other.starts_with('"') => {
                return Err(Error::unprocessable("currency_not_supported", "currency: only RUB can be paid here"));
            }
            Some(_) => return Err(bad_member("bad_currency", "currency", "\"RUB\"")),
        }
        let site_order_id = optional_text(&members, "siteorderID", 40).ok().flatten();
        let site_order_id = site_order_id.filter(|id| is_site_order_id(id)).ok_or_else(bad_site_order_id)?;
        Ok(Order {
            amount,
            site_order_id,
            site_user_id: optional_text(&members, "siteuserID", 100)?,
            telegram_username: optional_text(&members, "telegramUsername", 100)?,
            redirect_url: optional_text(&members, "redirectUrl", 1_000)?,
            items: parse_items(&members)?,
        })
    }

    /// Returns the priced lines and their total in roubles. `offered` is in the order of `items`, with `None` for an unknown item.
    ///
    /// The client's amount may be the sum of the discounted prices instead, where it is not below the sum of the sale prices: a front end
    /// that does not know of sale prices never shows less than is paid.
    ///
    /// # Errors
    /// 404, 409 and 422 that name the item; 422 with the right `amount` when the client's amount or price differs from the shop's.
    pub fn price(&self, offered: &[Option<Offered>], rounding: Rounding) -> Result<(Vec<OrderLine>, Decimal)> {
        let mut lines = Vec::with_capacity(self.items.len());
        let mut discounted_prices = Vec::with_capacity(self.items.len());
        for (requested, offered) in self.items.iter().zip(offered) {
            let offered = offered.as_ref().ok_or_else(|| Error::not_found("item").with("itemID", requested.item_id))?;
            lines.push(requested.line(offered, rounding)?);
            discounted_prices.push(money::discounted(offered.price, offered.discount, rounding.decimals()));
        }
        let amount: Decimal = lines.iter().map(|line| line.price * Decimal::from(line.quantity)).sum();
        let with_prices = || self.items.iter().zip(&lines).zip(&discounted_prices);
        let discounted: Decimal = with_prices().map(|((_, line), price)| price * Decimal::from(line.quantity)).sum();
        let units: Decimal = lines.iter().map(|line| Decimal::from(line.quantity)).sum();
        let wrong_price = with_prices().any(|((requested, line), discounted)| {
            let is_near = |price: Decimal, known: Decimal| (price - known).abs() <= rounding.step();
            let is_known =
                |price| price == line.list_price || is_near(price, line.price) || is_near(price, *discounted);
            requested.price.is_some_and(|price| !is_known(price))
        });
        let is_near = |sum: Decimal| (self.amount - sum).abs() <= tolerance(units, rounding);
        if wrong_price || !(is_near(amount) || (discounted > amount && is_near(discounted))) {
            let right = serde_json::to_value(Exact(amount)).unwrap_or(Value::Null);
            let message = format!("The amount is not what these items cost: it is {} RUB.", amount.normalize());
            return Err(Error::unprocessable("amount_mismatch", message).with("amount", right));
        }
        Ok((lines, amount))
    }

    /// Whether this is the order of a stored payment: the same items, the same quantities where it states them, and the same amount up
    /// to rounding, or the amount that the front end stated then. `lines` are item ids and quantities.
    pub fn is_same(
        &self,
        lines: &[(i64, i32)],
        amount: Decimal,
        stated_amount: Option<Decimal>,
        rounding: Rounding,
    ) -> bool {
        let units: Decimal = lines.iter().map(|(_, quantity)| Decimal::from(*quantity)).sum();
        let is_stored = |requested: &RequestedLine| {
            let line = lines.iter().find(|(item_id, _)| *item_id == requested.item_id);
            line.is_some_and(|(_, quantity)| requested.quantity.is_none_or(|requested| requested == *quantity))
        };
        self.items.len() == lines.len()
            && self.items.iter().all(is_stored)
            && (stated_amount == Some(self.amount) || (self.amount - amount).abs() <= tolerance(units, rounding))
    }
}

impl RequestedLine {
    /// Adds another line of the same item. Of an item that is named more than once, a line without a quantity is one unit.
    fn add(&mut self, other: &RequestedLine) {
        self.quantity = Some(self.quantity.unwrap_or(1) + other.quantity.unwrap_or(1));
        self.price = other.price.or(self.price);
    }

    fn line(&self, offered: &Offered, rounding: Rounding) -> Result<OrderLine> {
        let with_item = |error: Error| error.with("itemID", self.item_id).with("name", offered.name.clone());
        if !offered.is_listed {
            let message = format!("{} is not for sale any more; please take it out of the cart.", offered.name);
            return Err(with_item(Error::conflict("item_unavailable", message)));
        }
        if !offered.is_in_region {
            let message =
                format!("{} is not available in the selected region; please take it out of the cart.", offered.name);
            return Err(with_item(Error::conflict("not_in_region", message)));
        }
        if offered.currency != "RUB" {
            return Err(with_item(Error::unprocessable(
                "currency_not_supported",
                "Only items in RUB can be paid here.",
            )));
        }
        let quantity = self.quantity.or(offered.in_cart).unwrap_or(offered.lot_size.min);
        let left = offered.available.min(MAX_QUANTITY);
        if left < quantity {
            let message = match left {
                0 => format!("{} is sold out.", offered.name),
                left => format!("Only {left} of {} are left.", offered.name),
            };
            return Err(with_item(Error::conflict("out_of_stock", message)).with("left", left));
        }
        if !offered.lot_size.sells(quantity) {
            return Err(with_item(offered.lot_size.error(&offered.name)));
        }
        let Offered { price: list_price, discount, sale_price, .. } = *offered;
        Ok(OrderLine {
            item_id: self.item_id,
            name: offered.name.clone(),
            list_price,
            price: money::paid_price(list_price, discount, sale_price, rounding.decimals()),
            quantity,
        })
    }
}

/// How far the client's amount may be from the shop's: it may round each unit differently.
fn tolerance(units: Decimal, rounding: Rounding) -> Decimal {
    (rounding.step() * units).min(MAX_TOLERANCE)
}

/// Whether a text can be the front end's order id.
pub(super) fn is_site_order_id(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// 400 for another text as the front end's order id.
pub(super) fn bad_site_order_id() -> Error {
    bad_member("bad_order_id", "siteorderID", "1 to 40 letters, digits, _ . or -")
}

/// The members of a JSON object, as they are spelled.
type Members<'b> = BTreeMap<String, &'b RawValue>;

fn parse_members(body: &[u8]) -> Result<Members<'_>> {
    serde_json::from_slice(body).map_err(|error: serde_json::Error| match error.is_data() {
        // The error would repeat the value that is no object.
        true => Error::malformed("bad_json", "The body is no JSON object."),
        false => Error::malformed("bad_json", format!("The body is no JSON object: {error}.")).with_cause(error),
    })
}

/// Parses roubles and rounds them to the kopeck: JavaScript sends sums such as 271.35000000000003.
fn parse_money(raw: &RawValue) -> Option<Decimal> {
    let decimal = money::decimal_from_json(raw.get()).or_else(|| money::nearest_decimal(raw.get()))?;
    Some(money::round_half_up(decimal, 2))
}

/// An optional text: missing, `null` and empty are `None`.
fn optional_text(members: &Members<'_>, name: &'static str, max_chars: usize) -> Result<Option<String>> {
    let Some(raw) = members.get(name).filter(|raw| raw.get() != "null") else { return Ok(None) };
    let text: Option<String> = serde_json::from_str(raw.get()).ok();
    match text {
        Some(text) if text.chars().count() <= max_chars && !text.contains('\0') => {
            Ok(Some(text).filter(|t| !t.is_empty()))
        }
        _ => Err(bad_member("bad_text", name, &format!("a text of at most {max_chars} characters"))),
    }
}

fn parse_items(members: &Members<'_>) -> Result<Vec<RequestedLine>> {
    let expected = || bad_member("bad_items", "items", "a list of 1 to 200 {\"itemID\", \"price\", \"quantity\"?}");
    let raw = members.get("items").ok_or_else(expected)?;
    let list: Vec<Members<'_>> = serde_json::from_str(raw.get()).map_err(|_| expected())?;
    if list.is_empty() || list.len() > MAX_LINES {
        return Err(expected());
    }
    let mut items: Vec<RequestedLine> = Vec::with_capacity(list.len());
    for item in &list {
        let item = parse_item(item)?;
        match items.iter_mut().find(|line| line.item_id == item.item_id) {
            Some(line) => line.add(&item),
            None => items.push(item),
        }
    }
    Ok(items)
}

fn parse_item(item: &Members<'_>) -> Result<RequestedLine> {
    let present = |name: &str| item.get(name).filter(|raw| raw.get() != "null");
    let item_id = present("itemID").and_then(|raw| whole_number::from_text(raw.get()));
    let item_id = item_id.filter(|id| (1..=MAX_SAFE_INTEGER).contains(id));
    let quantity = present("quantity").map(|raw| {
        let number = whole_number::from_text(raw.get()).and_then(|number| i32::try_from(number).ok());
        let number = number.filter(|number| (1..=MAX_QUANTITY).contains(number));
        number.ok_or_else(|| bad_member("bad_quantity", "items.quantity", "a positive integer from 1 to 999"))
    });
    let price = present("price").map(|raw| {
        let price = parse_money(raw).filter(|price| *price >= Decimal::ZERO);
        price.ok_or_else(|| bad_member("bad_price", "items.price", "a number of roubles"))
    });
    Ok(RequestedLine {
        item_id: item_id.ok_or_else(|| bad_member("bad_item_id", "items.itemID", "a positive integer"))?,
        quantity: quantity.transpose()?,
        price: price.transpose()?,
    })
}

fn bad_member(code: &'static str, name: &str, expected: &str) -> Error {
    Error::malformed(code, format!("{name}: expected {expected}"))
}

#[cfg(test)]
impl Offered {
    /// A lamp for 20 RUB, five in stock.
    pub(super) fn example() -> Offered {
        Offered {
            name: "Lamp".to_owned(),
            price: Decimal::from(20),
            discount: Decimal::ZERO,
            sale_price: None,
            lot_size: LotSize::default(),
            currency: "RUB".to_owned(),
            is_listed: true,
            is_in_region: true,
            available: 5,
            stock: Some(5),
            held_by_visitors: 0,
            free_units: 0,
            in_cart: None,
        }
    }
}

#[cfg(test)]
mod tests;
