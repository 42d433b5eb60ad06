//! What a feed's prices come to: in the API, the search, the cart and the checkout.

use serde_json::{Value, json};

use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, Site, TestResponse};
use crate::import::exported;

fn feed(shop: &str, offers: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><yml_catalog date=\"2026-11-30 10:00\"><shop>{shop}
         <categories><category id=\"71\">Обувь</category></categories><offers>{offers}</offers></shop></yml_catalog>"
    )
}

fn offer(id: u32, name: &str, more: &str) -> String {
    format!("<offer id=\"{id}\" available=\"true\"><name>{name}</name><categoryId>71</categoryId>{more}</offer>")
}

/// A shop that sells dexar's usual goods and those of the feed.
fn shop_with(feed: &str) -> (Shop, String) {
    let shop = Shop::start();
    let output = shop.site.import_text("dexar", "feed.xml", feed, &[]).success();
    (shop, output)
}

fn members(item: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), item[*name].clone())).collect::<serde_json::Map<_, _>>().into()
}

fn body_of(response: &TestResponse) -> Value {
    serde_json::from_slice(&response.body).expect("JSON")
}

/// List price and price of offers whose difference is no whole percentage, and of one whose is.
fn on_sale() -> String {
    let sneaker = offer(101, "Кроссовки", "<price>999</price><oldprice>1299</oldprice><count>9</count>");
    let boot = offer(102, "Сапоги", "<price>15188.50</price><oldprice>20504</oldprice><count>9</count>");
    let slipper = offer(103, "Тапки", "<price>900</price><oldprice>1000</oldprice><count>9</count>");
    let sandal = offer(104, "Сандалии", "<price>998</price><oldprice>1000</oldprice><count>9</count>");
    feed("", &[sneaker, boot, slipper, sandal].concat())
}

#[tokio::test]
async fn the_list_price_is_the_feeds_and_so_is_what_is_paid() {
    let (shop, _) = shop_with(&on_sale());
    let client = shop.gateway.client("dexar");
    let price = async |id| members(&client.json(&format!("/item/{id}")).await, &["price", "discount", "salePrice"]);
    assert_eq!(price(101).await, json!({"price": 1299, "discount": 23, "salePrice": 999}));
    assert_eq!(price(102).await, json!({"price": 20504, "discount": 25, "salePrice": 15188.5}));
    assert_eq!(price(103).await, json!({"price": 1000, "discount": 10, "salePrice": null}));
    assert_eq!(price(104).await, json!({"price": 1000, "discount": 0, "salePrice": 998}));
    // Waits until the index is built.
    client.json("/category/71/facets").await;
    let ids = async |query: &str| -> Vec<Value> {
        let items = client.json(&format!("/category/71?{query}")).await;
        items.as_array().expect("a list").iter().map(|item| item["itemID"].clone()).collect()
    };
    assert_eq!(ids("sort=price").await, [103, 104, 101, 102].map(Value::from));
    assert_eq!(ids("sort=price&priceMin=998&priceMax=999").await, [104, 101].map(Value::from));
    assert_eq!(ids("discounted=true").await.len(), 4);
    let facets = client.json("/category/71/facets").await;
    assert_eq!(facets["price"], json!({"min": 900, "max": 15188.5}));
    let suggested = client.json("/suggest?search=%D1%81%D0%B0%D0%BF%D0%BE%D0%B3%D0%B8").await;
    assert_eq!(suggested["items"][0]["salePrice"], 15188.5);
}

#[tokio::test]
async fn a_price_without_an_old_one_ends_the_sale() {
    let (shop, _) = shop_with(&on_sale());
    shop.site.import_text("dexar", "delta.xml", feed("", &offer(101, "Кроссовки", "<count>4</count>")), &[]).success();
    assert_eq!(shop.item(101).await["salePrice"], 999, "a delta of the stock says nothing of the price");
    let full = feed("", &offer(101, "Кроссовки", "<price>1299</price>"));
    shop.site.import_text("dexar", "full.xml", full, &["--older"]).success();
    let item = shop.item(101).await;
    assert_eq!(
        members(&item, &["price", "discount", "salePrice"]),
        json!({"price": 1299, "discount": 0, "salePrice": null})
    );
}

/// Pays two pairs as a front end that computes this amount from this price of one pair.
async fn pay(browser: &BrowserClient, name: &str, amount: &str, price: &str) -> TestResponse {
    browser.post("/cart", &order(name, amount, &[(101, price, Some(2))])).await
}

#[tokio::test]
async fn a_sale_price_is_paid_by_every_front_end() {
    let (shop, _) = shop_with(&on_sale());
    let browser = shop.browser();
    browser.add_to_cart(101, 2).await;
    assert_eq!(browser.get("/cart").await.ok_json()[0]["salePrice"], 999);
    let knowing = pay(&browser, "knowing", "1998", "999").await.ok_json();
    assert_eq!(knowing["amount"], 1998);
    // 1299 minus 23 % is 1000.23; the same order is the same payment.
    for _ in 0..2 {
        let unknowing = pay(&browser, "unknowing", "2000.46", "1000.23").await.ok_json();
        assert_eq!(unknowing["amount"], 1998);
    }
    let changed = pay(&browser, "unknowing", "2000.47", "1000.23").await;
    assert_eq!(changed.error_code(409), "order_changed");
    let refused = pay(&browser, "list", "2598", "1299").await;
    assert_eq!((refused.error_code(422).as_str(), &body_of(&refused)["amount"]), ("amount_mismatch", &json!(1998)));
    let orders = browser.get("/orders").await.ok_json();
    let line = &orders["orders"][0]["items"][0];
    assert_eq!((&line["price"], &line["quantity"]), (&json!(999), &json!(2)), "{orders}");
    let asked = shop.count("select count(*) from payment where amount = 1998 and status = 'CREATED'");
    assert_eq!(asked, 1, "the older one was cancelled");
}

#[tokio::test]
async fn packs_are_put_into_the_cart_and_paid_as_packs() {
    let pack = "<price>10</price><count>20</count><min-quantity>4</min-quantity><step-quantity>3</step-quantity>";
    let (shop, _) =
        shop_with(&feed("", &[offer(101, "Гвозди", pack), offer(102, "Болты", &pack.replace("20", "3"))].concat()));
    assert_eq!(
        members(&shop.item(101).await, &["minQuantity", "stepQuantity"]),
        json!({"minQuantity": 4, "stepQuantity": 3})
    );
    assert_eq!(shop.item(11).await.get("minQuantity"), None);
    let browser = shop.browser();
    let post = async |quantity: u32| browser.post("/cart", &json!({"itemID": 101, "quantity": quantity})).await;
    let refused = post(1).await;
    assert_eq!(
        (refused.status, body_of(&refused)),
        (
            422,
            json!({"error": "This item is sold from 4 units, in steps of 3.", "code": "quantity_not_sold",
                   "minQuantity": 4, "stepQuantity": 3})
        )
    );
    assert_eq!(post(5).await.error_code(422), "quantity_not_sold");
    let quantity = async || browser.cart().await[0].1;
    for expected in [4, 7] {
        browser.post("/cart", &json!({"itemID": 101})).await.ok_json();
        assert_eq!(quantity().await, expected, "as few as are sold");
    }
    post(3).await.ok_json();
    assert_eq!(quantity().await, 10);
    let patch = async |quantity: u32| {
        let body = json!({"itemID": 101, "quantity": quantity});
        let request = crate::harness::request("/cart").method("PATCH").header("content-type", "application/json");
        browser.send(request.body(body.to_string())).await
    };
    assert_eq!(patch(11).await.error_code(422), "quantity_not_sold");
    patch(13).await.ok_json();
    assert_eq!(patch(22).await.error_code(409), "out_of_stock");
    patch(5).await.ok_json();
    let few = order("few", "50", &[(101, "10", None)]);
    let refused = browser.post("/cart", &few).await;
    assert_eq!(
        (refused.status, body_of(&refused)),
        (
            422,
            json!({"error": "Гвозди is sold from 4 units, in steps of 3.", "code": "quantity_not_sold", "itemID": 101,
                   "name": "Гвозди", "minQuantity": 4, "stepQuantity": 3})
        )
    );
    browser.post("/cart", &order("pack", "40", &[(101, "10", Some(4))])).await.ok_json();
    let too_few = browser.post("/cart", &json!({"itemID": 102})).await;
    assert_eq!((too_few.error_code(409).as_str(), &body_of(&too_few)["left"]), ("out_of_stock", &json!(3)));
}

#[tokio::test]
async fn two_additions_of_a_pack_at_once_both_count() {
    let pack = "<price>10</price><count>900</count><min-quantity>5</min-quantity><step-quantity>2</step-quantity>";
    let (shop, _) = shop_with(&feed("", &offer(101, "Гвозди", pack)));
    let browser = shop.browser();
    browser.get("/cart").await;
    let add = json!({"itemID": 101});
    let (one, two, three) =
        tokio::join!(browser.post("/cart", &add), browser.post("/cart", &add), browser.post("/cart", &add));
    for response in [one, two, three] {
        response.ok_json();
    }
    assert_eq!(browser.cart().await, [(101, 9)]);
}

#[tokio::test]
async fn prices_in_other_currencies_are_in_roubles_or_not_for_sale() {
    let currencies = "<currencies><currency id=\"RUR\" rate=\"1\"/><currency id=\"USD\" rate=\"90.515\"/>\
                      <currency id=\"KZT\" rate=\"CBRF\" plus=\"2\"/></currencies>";
    let priced = |id, name, currency: &str, prices: &str| {
        offer(id, name, &format!("{prices}<currencyId>{currency}</currencyId><count>9</count>"))
    };
    let offers = [
        priced(101, "Доллары", "USD", "<price>99.99</price><purchase_price>50</purchase_price>"),
        priced(102, "Скидка", "USD", "<price>9.99</price><oldprice>12.99</oldprice>"),
        priced(103, "Тенге", "KZT", "<price>1000</price>"),
        priced(104, "Драмы", "AMD", "<price>38500</price>"),
    ];
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |file| file.more = "[import]\nrates = [\"KZT=0.18\", \"USD=1\"]\n".to_owned());
    let output = site.import_text("dexar", "feed.xml", feed(currencies, &offers.concat()), &[]).success();
    for reason in [
        "2 × is priced in USD: converted to roubles (item_101, item_102)",
        "1 × is priced in KZT: converted to roubles (item_103)",
        "1 × is priced in AMD, and neither the file nor the brand has a rate: shown, not for sale (item_104)",
    ] {
        assert!(output.contains(reason), "{reason} is not in {output}");
    }
    let gateway = site.start();
    let client = gateway.client("dexar");
    let price =
        async |id| members(&client.json(&format!("/item/{id}")).await, &["price", "discount", "salePrice", "currency"]);
    let rub = |price: &str, discount: u32, sale: &str| -> Value {
        let text = format!("{{\"price\":{price},\"discount\":{discount},\"salePrice\":{sale},\"currency\":\"RUB\"}}");
        serde_json::from_str(&text).expect("JSON")
    };
    assert_eq!(price(101).await, rub("9050.59", 0, "null"));
    assert_eq!(price(102).await, rub("1175.79", 23, "904.24"));
    assert_eq!(price(103).await, rub("183.6", 0, "null"));
    assert_eq!(price(104).await["currency"], "AMD");
    let browser = BrowserClient::new(client);
    browser.add_to_cart(101, 1).await;
    assert_eq!(browser.post("/cart", &json!({"itemID": 104})).await.error_code(422), "currency_not_supported");
    let paid = site.sql_as("dexar", "select purchase_price from item where item_id = 101").expect("the statement runs");
    assert_eq!(paid.trim(), "4525.75");
    let stock = feed(currencies, &priced(101, "Доллары", "USD", ""));
    site.import_text("dexar", "stock.xml", stock, &[]).success();
    let currency = site.sql_as("dexar", "select currency from item where item_id = 101").expect("the statement runs");
    assert_eq!(currency.trim(), "RUB", "the price that it has is in roubles");
}

#[test]
fn an_export_keeps_prices_and_packs() {
    let site = Site::new(&["dexar", "novo"]);
    let more = "<price>999</price><oldprice>1299</oldprice><purchase_price>500</purchase_price><vat>VAT_10</vat>\
                <min-quantity>4</min-quantity><step-quantity>2</step-quantity><count>9</count>";
    site.import_text("dexar", "feed.xml", feed("", &offer(101, "Кроссовки", more)), &[]).success();
    let shop = exported(&site, "dexar");
    let names = ["price", "discount", "salePrice", "purchasePrice", "vat", "minQuantity", "stepQuantity"];
    let expected = json!({"price": 1299, "discount": 23, "salePrice": 999, "purchasePrice": 500, "vat": "vat10",
                          "minQuantity": 4, "stepQuantity": 2});
    assert_eq!(members(&shop["items"][0], &names), expected);
    site.import_text("novo", "export.json", shop.to_string(), &[]).success();
    assert_eq!(exported(&site, "novo")["items"], shop["items"]);
}
