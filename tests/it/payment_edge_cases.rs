//! Payments that interact with imports, logins and an unreliable bank.

use serde_json::{Value, json};

use crate::harness::login::{now_s, sign};
use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, bot_token_of, eventually, eventually_async, request};

fn last(name: &str) -> Value {
    order(name, "7", &[(16, "7", Some(1))])
}

fn id_of(opened: &Value) -> String {
    opened["qrId"].as_str().unwrap_or_else(|| panic!("no qrId in {opened}")).to_owned()
}

async fn pay(shop: &Shop, browser: &BrowserClient, qr_id: &str) {
    shop.sandbox.bank_action(qr_id, "pay", json!({"notify": false})).await;
    eventually_async("the payment is completed", 30, async || {
        let status = browser.get(&format!("/qr/payment/{qr_id}")).await.ok_json();
        (status["paymentStatus"] == "COMPLETED").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_without_quantities_keeps_the_stock_of_concurrent_sales() {
    let shop = Shop::start();
    // A sale that updates the row which the import updates concurrently.
    let sale = "begin; update item_stock set quantity = quantity - 1 where item_id = 16; select pg_sleep(2); commit";
    let selling = tokio::task::spawn_blocking({
        let mut program =
            shop.site.services.program("psql", "dexar", &crate::harness::password_of("dexar"), &shop.site.database);
        move || program.args(["-Xqc", sale]).output()
    });
    eventually("the sale has locked the row", 20, || {
        let waiting =
            "select count(*) from pg_stat_activity where query like '%pg_sleep(2)%' and pid <> pg_backend_pid()";
        (shop.site.services.admin_sql(&shop.site.database, waiting) == "1").then_some(())
    });
    shop.site.import_text("dexar", "names.jsonl", r#"{"itemID":16,"name":"Самый последний"}"#, &[]).success();
    selling.await.expect("the task does not panic").expect("psql runs");
    let item = shop.item(16).await;
    assert_eq!((&item["name"], &item["quantity"]), (&json!("Самый последний"), &json!(0)));
    assert_eq!(shop.browser().post("/cart", &last("late")).await.error_code(409), "out_of_stock");
}

#[tokio::test]
async fn held_units_survive_the_removal_and_return_of_their_item() {
    let shop = Shop::with_config("[payments]\nunits_of_visitors = 5\n");
    let (holder, other) = (shop.browser(), shop.browser());
    let held = id_of(&holder.post("/cart", &last("held")).await.ok_json());
    let only = "{\"categoryID\":1,\"name\":\"Дом\",\"parentID\":0}\n{\"itemID\":11,\"categoryID\":1,\"name\":\"Стул\",\"price\":100.50,\"quantity\":9}";
    shop.site.import_text("dexar", "only.jsonl", only, &["--replace", "--max-removed", "100"]).success();
    let back = r#"{"itemID":16,"categoryID":1,"name":"Последний","price":7,"quantity":1}"#;
    shop.site.import_text("dexar", "back.jsonl", back, &[]).success();
    assert_eq!(other.post("/cart", &last("other")).await.error_code(409), "out_of_stock");
    pay(&shop, &holder, &held).await;
    assert_eq!(shop.count("select quantity * 10 + held from item_stock where item_id = 16"), 0);
    assert_eq!(shop.count("select count(*) from payment where to_settle"), 0);
    // An import that reduces the stock below the held units: one of two paid orders cannot be delivered.
    let buyers = [shop.browser(), shop.browser()];
    let lamp = |name: &str| order(name, "40", &[(12, "20", Some(2))]);
    shop.site
        .import_text(
            "dexar",
            "lamps.jsonl",
            r#"{"itemID":12,"categoryID":1,"name":"Лампа","price":20,"quantity":5}"#,
            &[],
        )
        .success();
    let mut codes = Vec::new();
    for browser in &buyers {
        codes.push(id_of(&browser.post("/cart", &lamp("lamps")).await.ok_json()));
    }
    shop.site.import_text("dexar", "fewer.jsonl", r#"{"itemID":12,"quantity":3}"#, &[]).success();
    for (browser, code) in buyers.iter().zip(&codes) {
        pay(&shop, browser, code).await;
    }
    assert_eq!(shop.count("select count(*) from payment where to_settle"), 1, "the other one needs manual settlement");
    assert_eq!(shop.count("select quantity * 10 + held from item_stock where item_id = 12"), 0);
}

#[tokio::test]
async fn a_code_is_replaced_only_after_the_bank_has_cancelled_it() {
    let shop = Shop::start();
    let browser = shop.browser();
    let first = id_of(&browser.post("/cart", &last("first")).await.ok_json());
    for how in ["html", "empty", "500", "nonsense"] {
        shop.sandbox.inject_bank_fault(json!({"call": "cancel", "how": how, "times": 1})).await;
        let second = browser.post("/cart", &last("second")).await;
        assert!([502, 504].contains(&second.status), "{how}: {second:?}");
        let active: Vec<Value> = shop.sandbox.qrs().await.into_iter().filter(|qr| qr["status"] == "NEW").collect();
        assert_eq!(active.len(), 1, "{how}: one active code of these units: {active:?}");
        assert_eq!(active[0]["qrId"], first.as_str());
    }
    browser.post("/cart", &last("second")).await.ok_json();
}

#[tokio::test]
async fn an_order_concurrent_with_a_login_has_one_code() {
    let shop = Shop::start();
    for round in 0..8 {
        let browser = shop.browser();
        browser.get("/auth/session").await;
        let body = order(&format!("race_{round}"), "3", &[(14, "3", Some(1))]);
        let (tab, late_tab) = (browser.at(shop.gateway.client("dexar")), browser.at(shop.gateway.client("dexar")));
        let data = sign(json!({"id": 1_000 + round, "first_name": "A", "auth_date": now_s()}), &bot_token_of("dexar"));
        let login = request("/auth/telegram/callback").method("POST").origin("https://dexarmarket.ru");
        let login = login.header("content-type", "application/json").body(data.to_string());
        let (as_visitor, logged_in) = tokio::join!(tab.post("/cart", &body), browser.send(login));
        logged_in.ok_json();
        let as_user = browser.post("/cart", &body).await.ok_json();
        // A tab that sends the cookies from before the login.
        let late = late_tab.post("/cart", &body).await.ok_json();
        assert_eq!(as_visitor.ok_json()["qrId"], as_user["qrId"], "round {round}");
        assert_eq!(late["qrId"], as_user["qrId"], "round {round}");
    }
    assert_eq!(shop.sandbox.qrs().await.len(), 8);
}

#[tokio::test]
async fn the_same_order_of_a_user_and_of_a_visitor_who_logs_in_as_that_user_succeeds() {
    let shop = Shop::start();
    let data = || sign(json!({"id": 9, "first_name": "A", "auth_date": now_s()}), &bot_token_of("dexar"));
    let other = shop.site.replica().start();
    let user = shop.browser();
    user.post("/auth/telegram/callback", &data()).await.ok_json();
    for round in 0..12 {
        let body = order(&format!("both_{round}"), "3", &[(14, "3", Some(1))]);
        let visitor = BrowserClient::new(other.client("dexar"));
        visitor.post("/cart", &body).await.ok_json();
        let mut data = data();
        data["hash"] = json!(null);
        data["last_name"] = json!(format!("B{round}"));
        let data = sign(data, &bot_token_of("dexar"));
        let (paying, logging_in) =
            tokio::join!(user.post("/cart", &body), visitor.post("/auth/telegram/callback", &data));
        paying.ok_json();
        logging_in.ok_json();
    }
}

#[tokio::test]
async fn a_visitor_without_a_session_pays_as_a_visitor() {
    let shop = Shop::start();
    let browser = shop.browser();
    browser.get("/auth/session").await;
    let data = sign(json!({"id": 7, "first_name": "A", "auth_date": now_s()}), &bot_token_of("dexar"));
    browser.post("/auth/telegram/callback", &data).await.ok_json();
    browser.add_to_cart(12, 1).await;
    // The session expires, and the visitor's cookie remains.
    let visitor = shop.browser();
    visitor.set_cookie("__Host-dexar_visitor", &browser.cookie("__Host-dexar_visitor").expect("the cookie was set"));
    let aged = "update payment_owner_link set linked_at = linked_at - interval '2 minutes'";
    shop.site.sql_as("dexar", aged).expect("aged");
    visitor.add_to_cart(12, 2).await;
    let opened = visitor.post("/cart", &order("o", "40", &[(12, "20", None)])).await.ok_json();
    pay(&shop, &visitor, &id_of(&opened)).await;
    assert_eq!(visitor.cart().await, [], "bought items are removed from the visitor's cart");
    assert_eq!(browser.cart().await, [(12, 1)], "and from no other cart");
    let mail = json!({"email": "a@example.com", "telegramUserId": "42",
                      "items": [{"itemID": 12, "name": "x", "price": 20, "currency": "RUB"}]});
    assert_eq!(visitor.post("/purchase-email", &mail).await.status, 200);
}

#[tokio::test]
async fn a_payment_that_one_status_endpoint_reports_is_completed() {
    let shop = Shop::start();
    let browser = shop.browser();
    let silent = json!({"keepStatus": true, "notify": false});
    let first = id_of(&browser.post("/cart", &order("first", "3", &[(14, "3", Some(1))])).await.ok_json());
    shop.sandbox.bank_action(&first, "pay", silent.clone()).await;
    // Polls alternate between the endpoints.
    eventually_async("the payment that only payment-info reports is completed", 20, async || {
        let status = browser.get(&format!("/qr/payment/{first}")).await.ok_json();
        (status["paymentStatus"] == "COMPLETED").then_some(())
    })
    .await;
    let again = id_of(&browser.post("/cart", &order("again", "3", &[(14, "3", Some(1))])).await.ok_json());
    shop.sandbox.bank_action(&again, "pay", silent.clone()).await;
    let again = browser.post("/cart", &order("second", "3", &[(14, "3", Some(1))])).await;
    assert_eq!(again.error_code(409), "already_paid", "although its code was cancelled");
    let third = id_of(&browser.post("/cart", &order("third", "20", &[(12, "20", Some(1))])).await.ok_json());
    shop.sandbox.bank_action(&third, "progress", json!({})).await;
    shop.sandbox.bank_action(&third, "pay", silent).await;
    eventually_async("the payment is completed", 20, async || {
        let status = browser.get(&format!("/qr/payment/{third}")).await.ok_json();
        (status["paymentStatus"] == "COMPLETED").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_payment_in_progress_is_polled_until_it_is_final() {
    let shop = Shop::with_config("[payments]\nqr_lifetime_s = 600\nfollow_s = 60\nlongest_pause_s = 1\n");
    let browser = shop.browser();
    let code = id_of(&browser.post("/cart", &last("waiting")).await.ok_json());
    shop.sandbox.bank_action(&code, "progress", json!({})).await;
    // Past its lifetime and the time for which closed payments are polled.
    let aged = "update payment set expires_at = expires_at - interval '1 hour', look_at = now()";
    shop.site.sql_as("dexar", aged).expect("aged");
    let _workers = shop.site.start_workers();
    let polls =
        "select case when status = 'WAITING' and holds and look_at is not null then looks else 0 end from payment";
    eventually("it is polled repeatedly", 30, || (shop.count(polls) > 2).then_some(()));
    shop.sandbox.inject_bank_fault(json!({"call": "*", "how": "500", "times": 4})).await;
    let before = shop.count(polls);
    eventually("it is polled while the bank fails", 30, || (shop.count(polls) > before + 2).then_some(()));
    shop.sandbox.bank_action(&code, "pay", json!({"force": true, "notify": false})).await;
    let completed = "select count(*) from payment where status = 'COMPLETED'";
    eventually("the payment is completed", 30, || (shop.count(completed) == 1).then_some(()));
}

#[tokio::test]
async fn concurrent_requests_of_a_refused_registration_fail() {
    let shop = Shop::start();
    let browser = shop.browser();
    browser.get("/cart").await;
    // The bank refuses the registrations of this merchant.
    let mut site = shop.site.replica();
    site.change_brand("dexar", |file| file.bank = file.bank.replace("merchant_id = \"MA", "merchant_id = \"MB"));
    site.directory.write("credentials/dexar.bank-key", "a key that is no token");
    let gateway = site.start();
    let body = last("refused");
    let post = || async { browser.at(gateway.client("dexar")).post("/cart", &body).await };
    let answers = futures_util::future::join_all((0..6).map(|_| post())).await;
    for answer in answers {
        assert_eq!(answer.error_code(502), "bad_gateway");
    }
    assert_eq!(shop.item(16).await["quantity"], 1, "its unit is released");
    browser.post("/cart", &body).await.ok_json();
}

#[tokio::test]
async fn amounts_above_the_maximum_are_refused() {
    let shop = Shop::start();
    let dear = r#"{"itemID":17,"categoryID":1,"name":"Яхта","price":99999999999.99,"quantity":999}"#;
    shop.site.import_text("dexar", "dear.jsonl", dear, &[]).success();
    let body = order("yacht", "99899999999990.01", &[(17, "99999999999.99", Some(999))]);
    assert_eq!(shop.browser().post("/cart", &body).await.error_code(422), "amount_too_large");
    for url in ["https://dexarmarket.ru/ a b", "https://dexarmarket.ru/\r\nX: y"] {
        let mut body = last("redirect");
        body["redirectUrl"] = json!(url);
        assert_eq!(shop.browser().post("/cart", &body).await.error_code(422), "bad_redirect_url");
    }
}

#[tokio::test]
async fn a_refused_order_does_not_cancel_an_older_payment() {
    let shop = Shop::start();
    let browser = shop.browser();
    let first = id_of(&browser.post("/cart", &last("first")).await.ok_json());
    for (body, status) in [
        (order("cheap", "1", &[(16, "7", Some(1))]), 422),
        (order("unknown", "7", &[(16, "7", Some(1)), (99, "1", None)]), 404),
        (order("many", "14", &[(16, "7", Some(2))]), 409),
        (order("hidden", "12", &[(16, "7", Some(1)), (15, "5", None)]), 409),
    ] {
        assert_eq!(browser.post("/cart", &body).await.status, status, "{body}");
        let payment = browser.get(&format!("/qr/payment/{first}")).await.ok_json();
        assert_eq!(payment["paymentStatus"], "CREATED", "{body}");
    }
    // An accepted order replaces it, although it holds the last unit.
    browser.post("/cart", &last("second")).await.ok_json();
}
