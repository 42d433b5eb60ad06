//! Orders as front ends send them, and their prices.

use serde_json::json;

use super::*;
use crate::foundation::fuzz::{fuzz, refused};

fn order(change: impl FnOnce(&mut Value)) -> Result<Order> {
    let mut body = json!({
        "amount": 89990, "currency": "RUB", "siteuserID": "tg_1", "siteorderID": "order_abc.1-2", "redirectUrl": "",
        "telegramUsername": "john", "items": [{"itemID": 1, "price": 99990, "name": "x"}]
    });
    change(&mut body);
    Order::parse(body.to_string().as_bytes())
}

fn decimal(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

fn offered(price: &str, discount: &str) -> Option<Offered> {
    let (price, discount) = (decimal(price), decimal(discount));
    let (name, currency) = ("Стул".to_owned(), "RUB".to_owned());
    Some(Offered { name, price, discount, currency, available: 10, stock: Some(10), ..Offered::example() })
}

#[test]
fn a_complete_order_is_parsed() {
    let read = order(|_| {}).expect("good");
    assert_eq!((read.amount, read.redirect_url), (decimal("89990"), None));
    assert_eq!(read.items, [RequestedLine { item_id: 1, quantity: None, price: Some(decimal("99990")) }]);
}

#[test]
fn lines_of_one_item_are_added_and_whole_numbers_may_have_a_point() {
    let read = order(|body| {
        body["items"] = json!([
            {"itemID": 1, "quantity": 2.0, "price": 5}, {"itemID": 2}, {"itemID": 1.0}, {"itemID": 3, "price": 1e-30}
        ]);
    });
    let line = |item_id, quantity, price: Option<&str>| RequestedLine { item_id, quantity, price: price.map(decimal) };
    let lines = [line(1, Some(3), Some("5")), line(2, None, None), line(3, None, Some("0"))];
    assert_eq!(read.expect("good").items, lines);
    let many = RequestedLine { quantity: Some(1_998), ..line(1, None, None) };
    let unlimited = offered("5", "0").map(|offered| Offered { available: i32::MAX, ..offered }).expect("offered");
    let refused = many.line(&unlimited, Rounding::Kopeck).expect_err("more than a line holds");
    assert_eq!((refused.code, &refused.data["left"]), ("out_of_stock", &json!(999)));
}

#[test]
fn errors_name_the_wrong_member() {
    for (name, value, code) in [
        ("amount", json!(-1), "bad_amount"),
        ("amount", json!("100"), "bad_amount"),
        ("amount", json!(-0.005), "bad_amount"),
        ("amount", json!(null), "bad_amount"),
        ("currency", json!("USD"), "currency_not_supported"),
        ("currency", json!(643), "bad_currency"),
        ("siteorderID", json!(""), "bad_order_id"),
        ("siteorderID", json!("a b"), "bad_order_id"),
        ("siteorderID", json!("заказ"), "bad_order_id"),
        ("siteorderID", json!("x".repeat(41)), "bad_order_id"),
        ("siteorderID", json!(5), "bad_order_id"),
        ("siteuserID", json!(5), "bad_text"),
        ("items", json!([]), "bad_items"),
        ("items", json!({}), "bad_items"),
        ("items", json!([1]), "bad_items"),
        ("items", json!([{"itemID": "1"}]), "bad_item_id"),
        ("items", json!([{"itemID": 1, "quantity": 0}]), "bad_quantity"),
        ("items", json!([{"itemID": 1, "quantity": 1.5}]), "bad_quantity"),
        ("items", json!([{"itemID": 1, "price": -1}]), "bad_price"),
    ] {
        let error = order(|body| body[name] = value.clone()).expect_err("wrong");
        assert_eq!(error.code, code, "{name}: {value}");
        assert!(error.public.contains(name), "{name} {value}: {}", error.public);
    }
    assert!(Order::parse(b"[]").is_err() && Order::parse(b"{").is_err());
}

#[test]
fn the_price_is_the_catalogues_up_to_rounding() {
    let requested = |amount: &str, price: &str, quantity: i32| Order {
        items: vec![RequestedLine { item_id: 1, quantity: Some(quantity), price: Some(decimal(price)) }],
        amount: decimal(amount),
        ..order(|_| {}).expect("good")
    };
    let kopeck = |amount, price, quantity| {
        requested(amount, price, quantity).price(&[offered("29.99", "10")], Rounding::Kopeck).map(|(_, amount)| amount)
    };
    // 29.99 minus 10 % is 26.991, which rounds to 26.99 a unit.
    for amount in ["269.90", "269.97", "269.80", "270.00"] {
        assert_eq!(kopeck(amount, "29.99", 10).expect("within a kopeck a unit"), decimal("269.90"), "{amount}");
    }
    for amount in ["269.79", "270.01", "1", "299.90"] {
        let error = kopeck(amount, "29.99", 10).expect_err("another amount");
        assert_eq!((error.code, &error.data["amount"]), ("amount_mismatch", &json!(269.9)), "{amount}");
    }
    for price in ["29.99", "26.99", "27.00", "26.98"] {
        assert!(kopeck("26.99", price, 1).is_ok(), "{price}");
    }
    for price in ["0", "29.98", "26.97", "1"] {
        assert_eq!(kopeck("26.99", price, 1).expect_err("another price").code, "amount_mismatch", "{price}");
    }
    let rouble = requested("27", "26.99", 1).price(&[offered("29.99", "10")], Rounding::Rouble);
    assert_eq!(rouble.expect("rounded to the rouble").1, decimal("27"));
    let half = requested("0.13", "0.25", 1).price(&[offered("0.25", "50")], Rounding::Kopeck);
    assert_eq!(half.expect("half up").1, decimal("0.13"));
}

#[test]
fn a_sale_price_is_paid_and_the_discounted_price_may_be_stated() {
    let of_two = |amount: &str, price: &str, sale_price: &str| {
        let items = vec![RequestedLine { item_id: 1, quantity: Some(2), price: Some(decimal(price)) }];
        let order = Order { amount: decimal(amount), items, ..order(|_| {}).expect("good") };
        let sale_price = Some(decimal(sale_price));
        let on_sale = offered("1299", "23").map(|offered| Offered { sale_price, ..offered }).expect("offered");
        let priced = order.price(&[Some(on_sale)], Rounding::Kopeck);
        priced.map(|(lines, amount)| (lines[0].price, amount)).map_err(|error| error.data["amount"].clone())
    };
    // 1299 minus 23 % is 1000.23.
    for (amount, price) in
        [("1998", "999"), ("1998", "1299"), ("2000.46", "1000.23"), ("2000.46", "1299"), ("2000.44", "999")]
    {
        assert_eq!(of_two(amount, price, "999"), Ok((decimal("999"), decimal("1998"))), "{amount} {price}");
    }
    for (amount, price) in [("2598", "1299"), ("1999", "999"), ("2000.49", "1299"), ("1998", "1000")] {
        assert_eq!(of_two(amount, price, "999"), Err(json!(1998)), "{amount} {price}");
    }
    assert_eq!(of_two("2000.46", "1299", "1100"), Err(json!(2200)), "no visitor pays more than was shown");
}

#[test]
fn the_same_order_states_the_same_amount() {
    let order = Order { amount: decimal("2000.46"), ..order(|_| {}).expect("good") };
    let is_same = |stated| order.is_same(&[(1, 2)], decimal("1998"), stated, Rounding::Kopeck);
    assert!(is_same(Some(decimal("2000.46"))));
    assert!(!is_same(Some(decimal("2000.45"))) && !is_same(None));
}

#[test]
fn units_that_are_not_sold_at_once_are_refused() {
    let of = |quantity| {
        let items = vec![RequestedLine { item_id: 1, quantity, price: None }];
        let order = Order { amount: decimal("20"), items, ..order(|_| {}).expect("good") };
        let pack = offered("5", "0").map(|offered| Offered { lot_size: LotSize { min: 4, step: 2 }, ..offered });
        order.price(&[pack], Rounding::Kopeck).map(|(lines, _)| lines[0].quantity).map_err(|error| error.code)
    };
    assert_eq!(of(None), Ok(4), "as few as are sold");
    assert_eq!(of(Some(6)), Err("amount_mismatch"));
    assert_eq!((of(Some(5)), of(Some(3))), (Err("quantity_not_sold"), Err("quantity_not_sold")));
    assert_eq!(of(Some(12)), Err("out_of_stock"));
}

#[test]
fn the_clients_rounding_never_moves_the_amount_by_more_than_a_rouble() {
    let of_999 = |amount: &str, rounding| {
        let items = vec![RequestedLine { item_id: 1, quantity: Some(999), price: None }];
        let order = Order { amount: decimal(amount), items, ..order(|_| {}).expect("good") };
        let many = offered("0.05", "50").map(|offered| Offered { available: 2_000, ..offered });
        order.price(&[many], rounding).map(|(_, amount)| amount).map_err(|error| error.data["amount"].clone())
    };
    // 0.05 minus 50 % is 0.025, which rounds to 0.03 a unit; the unrounded sum is 24.98.
    assert_eq!(of_999("24.98", Rounding::Kopeck), Err(json!(29.97)));
    assert_eq!(of_999("28.97", Rounding::Kopeck), Ok(decimal("29.97")));
    assert_eq!(of_999("30.98", Rounding::Kopeck), Err(json!(29.97)));
    assert_eq!(of_999("1", Rounding::Rouble), Ok(decimal("0")), "a rouble at most");
    assert_eq!(of_999("2", Rounding::Rouble), Err(json!(0)));
}

#[test]
fn errors_name_the_item_that_cannot_be_sold() {
    let one = order(|_| {}).expect("good");
    let refused = |offered: Option<Offered>| one.price(&[offered], Rounding::Kopeck).expect_err("refused");
    assert_eq!(refused(None).data["itemID"], 1);
    let hidden = offered("99990", "10").map(|offered| Offered { is_listed: false, ..offered });
    assert_eq!(refused(hidden).code, "item_unavailable");
    let elsewhere = refused(offered("99990", "10").map(|offered| Offered { is_in_region: false, ..offered }));
    assert_eq!((elsewhere.code, &elsewhere.data["itemID"]), ("not_in_region", &json!(1)));
    let sold_out = refused(offered("99990", "10").map(|offered| Offered { available: 0, ..offered }));
    assert_eq!(
        (sold_out.code, &sold_out.data["left"], &sold_out.data["itemID"]),
        ("out_of_stock", &json!(0), &json!(1))
    );
    let foreign = offered("99990", "10").map(|offered| Offered { currency: "AMD".to_owned(), ..offered });
    assert_eq!(refused(foreign).code, "currency_not_supported");
    assert_eq!(refused(offered("0", "0")).code, "amount_mismatch");
}

#[test]
fn quantities_default_to_those_in_the_cart() {
    let three = offered("29996.67", "0").map(|offered| Offered { in_cart: Some(3), ..offered });
    let order = Order {
        amount: decimal("89990.01"),
        items: vec![RequestedLine { item_id: 1, quantity: None, price: None }],
        ..order(|_| {}).expect("good")
    };
    let (lines, amount) = order.price(&[three], Rounding::Kopeck).expect("three units");
    assert_eq!((lines[0].quantity, amount), (3, decimal("89990.01")));
    let lines = [(1, 3)];
    assert!(order.is_same(&lines, amount, None, Rounding::Kopeck), "also after the cart was emptied");
    let other = Order { amount: decimal("59993.34"), ..order.clone() };
    assert!(!other.is_same(&lines, amount, None, Rounding::Kopeck));
    let fewer = Order { items: vec![RequestedLine { item_id: 1, quantity: Some(2), price: None }], ..order };
    assert!(!fewer.is_same(&lines, amount, None, Rounding::Kopeck));
}

/// The body that a front end would send for this order.
fn body_of(order: &Order) -> String {
    let line = |line: &RequestedLine| {
        let price = line.price.map_or("null".to_owned(), |price| price.to_string());
        format!("{{\"itemID\":{},\"quantity\":{},\"price\":{price}}}", line.item_id, json!(line.quantity))
    };
    let items: Vec<String> = order.items.iter().map(line).collect();
    format!(
        "{{\"amount\":{},\"siteorderID\":{},\"siteuserID\":{},\"telegramUsername\":{},\"redirectUrl\":{},\"items\":[{}]}}",
        order.amount,
        json!(order.site_order_id),
        json!(order.site_user_id),
        json!(order.telegram_username),
        json!(order.redirect_url),
        items.join(",")
    )
}

fn assert_within_limits(order: &Order) {
    assert!(order.amount >= Decimal::ZERO && order.amount.scale() <= 2, "{order:?}");
    assert!((1..=40).contains(&order.site_order_id.len()) && (1..=MAX_LINES).contains(&order.items.len()), "{order:?}");
    let texts = [&order.site_user_id, &order.telegram_username, &order.redirect_url];
    assert!(texts.into_iter().flatten().all(|text| !text.is_empty() && !text.contains('\0')), "{order:?}");
    for line in &order.items {
        assert!((1..=MAX_SAFE_INTEGER).contains(&line.item_id), "{line:?}");
        assert!(line.quantity.is_none_or(|quantity| (1..=MAX_QUANTITY).contains(&quantity)), "{line:?}");
        assert!(line.price.is_none_or(|price| price >= Decimal::ZERO && price.scale() <= 2), "{line:?}");
    }
}

#[test]
fn fuzz_orders() {
    let seeds = [
        r#"{"amount":180.90000000000003,"currency":"RUB","siteuserID":"tg_42","siteorderID":"order-1_a.b","redirectUrl":"",
            "telegramUsername":"john_doe","items":[{"itemID":11,"price":90.45,"quantity":2,"name":"x"}]}"#,
        r#"{"amount":2.5e2,"siteorderID":"o","items":[{"itemID":1,"price":1e2,"quantity":null},{"itemID":2,"price":0.005}]}"#,
    ];
    let words = [
        "\"amount\":",
        "\"price\":",
        "\"items\":",
        "\"quantity\":",
        "null",
        "\"USD\"",
        "1e28",
        "1e-28",
        "-0",
        "{}",
        "[]",
    ];
    let outcomes = fuzz(&seeds, &words, |input| {
        let order = match Order::parse(input) {
            Ok(order) => order,
            Err(error) => return refused(&error),
        };
        assert_within_limits(&order);
        assert_eq!(Order::parse(body_of(&order).as_bytes()).expect("accepted before"), order);
        // Whatever the client claims, the sum is the catalogue's.
        let offers = vec![offered("100.50", "10"); order.items.len()];
        match order.price(&offers, Rounding::Kopeck) {
            Ok((lines, amount)) => {
                let units: i64 = lines.iter().map(|line| i64::from(line.quantity)).sum();
                assert_eq!(amount, Decimal::new(9_045 * units, 2));
                assert!((order.amount - amount).abs() <= Decimal::new(units.min(100), 2), "{order:?} for {amount}");
                "priced".to_owned()
            }
            Err(error) if error.code == "out_of_stock" => {
                let wants_too_many = |line: &RequestedLine| line.quantity.is_some_and(|quantity| quantity > 10);
                assert!(order.items.iter().any(wants_too_many), "{order:?}");
                error.code.to_owned()
            }
            Err(error) => refused(&error),
        }
    });
    outcomes.assert_seen(&["priced", "amount_mismatch", "out_of_stock", "currency_not_supported"]);
    outcomes.assert_seen(&["bad_json", "bad_amount", "bad_order_id", "bad_items", "bad_quantity", "bad_price"]);
}
