//! Request bodies of the cart, parsed member by member so that an error names the invalid one.

use serde_json::Value;

use super::MAX_QUANTITY;
use crate::foundation::error::{Error, Result};
use crate::foundation::whole_number;
use crate::http::request::{self, MAX_SAFE_INTEGER};

/// The two operations of `POST /cart`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CartPost {
    /// `quantity`: `None` where the body has none.
    Add {
        item_id: i64,
        quantity: Option<i32>,
    },
    Payment,
}

/// A body with `itemID` adds an item, one with `amount` pays.
///
/// # Errors
/// 400 that names the invalid member, or both forms when `itemID` and `amount` are both present or both missing.
pub(crate) fn parse_post(body: &[u8]) -> Result<CartPost> {
    let body: &Value = &request::json(body)?;
    let has = |key: &str| body.get(key).is_some_and(|value| !value.is_null());
    match (has("itemID"), has("amount")) {
        (true, false) => {
            let quantity = if has("quantity") { Some(quantity(body, 1)?) } else { None };
            Ok(CartPost::Add { item_id: item_id(body)?, quantity })
        }
        (false, true) => Ok(CartPost::Payment),
        _ => Err(Error::malformed(
            "bad_cart_body",
            "Expected either {\"itemID\", \"quantity\"} to add an item, or {\"amount\", \"items\", …} to pay.",
        )),
    }
}

/// `{"itemID", "quantity"}`; the quantity 0 removes the item.
pub(super) fn parse_patch(body: &Value) -> Result<(i64, i32)> {
    Ok((item_id(body)?, quantity(body, 0)?))
}

/// An array of item ids.
pub(super) fn parse_delete(body: &Value) -> Result<Vec<i64>> {
    let ids = body.as_array().and_then(|list| list.iter().map(id_of).collect::<Option<Vec<_>>>());
    ids.ok_or_else(|| Error::malformed("bad_item_ids", "Expected an array of item ids, such as [123, 456]."))
}

fn item_id(body: &Value) -> Result<i64> {
    let id = body.get("itemID").and_then(id_of);
    id.ok_or_else(|| Error::malformed("bad_item_id", "itemID: expected a positive integer"))
}

fn id_of(value: &Value) -> Option<i64> {
    whole_number::from_json(value).filter(|id| (1..=MAX_SAFE_INTEGER).contains(id))
}

fn quantity(body: &Value, min: i32) -> Result<i32> {
    let number = body.get("quantity").and_then(whole_number::from_json);
    let number = number.and_then(|number| i32::try_from(number).ok());
    number.filter(|number| (min..=MAX_QUANTITY).contains(number)).ok_or_else(|| {
        let expected = if min == 0 { "an integer from 0 (out of the cart)" } else { "a positive integer from 1" };
        Error::malformed("bad_quantity", format!("quantity: expected {expected} to {MAX_QUANTITY}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::fuzz::{fuzz, refused};
    use serde_json::json;

    fn posted(body: &Value) -> Result<CartPost> {
        parse_post(body.to_string().as_bytes())
    }

    #[test]
    fn post_either_adds_or_pays() {
        assert_eq!(posted(&json!({"itemID": 5})).expect("an addition"), CartPost::Add { item_id: 5, quantity: None });
        assert_eq!(
            posted(&json!({"itemID": 5, "quantity": 3})).expect("an addition"),
            CartPost::Add { item_id: 5, quantity: Some(3) }
        );
        assert_eq!(posted(&json!({"amount": 5, "items": []})).expect("a payment"), CartPost::Payment);
        assert_eq!(
            posted(&json!({"itemID": 5.0, "quantity": 3.0})).expect("an addition"),
            CartPost::Add { item_id: 5, quantity: Some(3) }
        );
        for body in [json!({}), json!([]), json!("x"), json!({"itemID": 5, "amount": 5}), json!({"itemID": null})] {
            let error = posted(&body).expect_err("neither or both");
            assert!(error.public.contains("itemID") && error.public.contains("amount"), "{body}");
        }
    }

    #[test]
    fn error_names_the_invalid_member() {
        for quantity in [json!(0), json!(-1), json!(1000), json!(1.5), json!("1"), json!(true), json!([1])] {
            let error = posted(&json!({"itemID": 5, "quantity": quantity})).expect_err("no quantity");
            assert!(error.public.starts_with("quantity: expected a positive integer"), "{quantity}");
        }
        for id in [json!(0), json!(-1), json!("5"), json!(9_007_199_254_740_992_i64), json!(1.5)] {
            assert!(posted(&json!({"itemID": id})).expect_err("no id").public.starts_with("itemID:"), "{id}");
        }
        assert_eq!(parse_patch(&json!({"itemID": 5, "quantity": 0})).expect("a removal"), (5, 0));
        assert!(parse_patch(&json!({"itemID": 5})).is_err());
        assert_eq!(parse_delete(&json!([1, 2.0])).expect("ids"), [1, 2]);
        for body in [json!({}), json!(["1"]), json!([0]), json!([1.5]), json!(1)] {
            assert!(parse_delete(&body).is_err(), "{body}");
        }
    }

    #[test]
    fn fuzz_cart_bodies() {
        let seeds = [
            r#"{"itemID":5,"quantity":3}"#,
            r#"{"itemID":9007199254740991,"quantity":null,"amount":null}"#,
            r#"{"amount":89990,"items":[{"itemID":5,"price":89990}]}"#,
            "[1,2,9007199254740991]",
        ];
        let words =
            ["\"itemID\":", "\"quantity\":", "\"amount\":", "null", "true", "[", "]", "{", "}", ",", "1.0", "\"5\""];
        let ids = 1..=MAX_SAFE_INTEGER;
        let outcomes = fuzz(&seeds, &words, |input| {
            if let Ok(body) = request::json(input) {
                if let Ok((item_id, quantity)) = parse_patch(&body) {
                    assert!(ids.contains(&item_id) && (0..=MAX_QUANTITY).contains(&quantity), "{body}");
                }
                if let Ok(removed) = parse_delete(&body) {
                    assert!(removed.iter().all(|id| ids.contains(id)), "{body}");
                    // Exact: ids are at most 2^53 - 1, and `5.0` is 5.
                    let sent: Vec<f64> = body.as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
                    let read: Vec<f64> = removed.iter().map(|id| *id as f64).collect();
                    assert_eq!(read, sent, "every id is read as it was sent");
                    return "removal".to_owned();
                }
            }
            match parse_post(input) {
                Ok(CartPost::Add { item_id, quantity }) => {
                    assert!(
                        ids.contains(&item_id)
                            && quantity.is_none_or(|quantity| (1..=MAX_QUANTITY).contains(&quantity))
                    );
                    let again = posted(&json!({"itemID": item_id, "quantity": quantity})).expect("accepted before");
                    assert_eq!(again, CartPost::Add { item_id, quantity });
                    "addition".to_owned()
                }
                Ok(CartPost::Payment) => "payment".to_owned(),
                Err(error) => refused(&error),
            }
        });
        outcomes.assert_seen(&["addition", "payment", "removal"]);
        outcomes.assert_seen(&["bad_json", "bad_cart_body", "bad_item_id", "bad_quantity"]);
    }
}
