//! `brandgate person`: what the shop knows of a person is exported, and erased from everything but the books; and what is removed
//! when its retention ends.

use serde_json::{Value, json};

use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, bot_token_of, eventually, eventually_async, login};

async fn log_in(shop: &Shop, id: i64) -> BrowserClient {
    let browser = shop.browser();
    browser.get("/cart").await;
    log_in_as(&browser, id, "Anna").await;
    browser
}

async fn log_in_as(browser: &BrowserClient, id: i64, name: &str) {
    let data = json!({"id": id, "first_name": name, "username": "anna_secret", "auth_date": login::now_s()});
    browser.post("/auth/telegram/callback", &login::sign(data, &bot_token_of("dexar"))).await.ok_json();
}

/// Orders a lamp under this order id and returns when the payment is completed.
async fn buy(shop: &Shop, browser: &BrowserClient, name: &str, user: &str) {
    let mut body = order(name, "20", &[(12, "20", Some(1))]);
    body["siteuserID"] = json!(user);
    body["telegramUsername"] = json!(if user == "tg_42" { "anna_secret" } else { "boris" });
    let opened = browser.post("/cart", &body).await.ok_json();
    let qr_id = opened["qrId"].as_str().expect("a code");
    shop.sandbox.bank_action(qr_id, "pay", json!({"notify": false})).await;
    eventually_async("the payment is completed", 30, async || {
        (browser.get(&format!("/qr/payment/{qr_id}")).await.ok_json()["paymentStatus"] == "COMPLETED").then_some(())
    })
    .await;
}

async fn request_email(browser: &BrowserClient, email: &str, order: &str) {
    let body = json!({"email": email, "telegramUserId": "42", "siteorderID": order, "items": [{"itemID": 12}]});
    browser.post("/purchase-email", &body).await.ok_json();
}

/// Asks about the lamp, and votes on the question of the shop's file.
async fn ask_and_vote(browser: &BrowserClient, question: &str, vote: &str) {
    browser.post("/question", &json!({"itemID": 12, "question": question})).await.ok_json();
    browser.post("/question/vote", &json!({"itemID": 12, "question": 1, "vote": vote})).await.ok_json();
}

/// A shop with a user who has bought, written a review, asked, voted and filled a cart, logged in and not.
async fn shop_with_a_buyer() -> (Shop, BrowserClient) {
    let shop = Shop::start();
    let asked = "insert into question (item_id, content, answer) values (12, 'Есть гарантия?', 'Да')";
    shop.site.sql_as("dexar", asked).expect("inserted");
    let visitor = shop.browser();
    buy(&shop, &visitor, "claimed", "tg_42").await;
    request_email(&visitor, "anna.secret@example.com", "claimed").await;
    let browser = log_in(&shop, 42).await;
    buy(&shop, &browser, "own", "tg_42").await;
    request_email(&browser, "anna.secret@example.com", "own").await;
    browser.add_to_cart(11, 2).await;
    browser.post("/comment", &json!({"itemID": 12, "rating": 5, "comment": "Хорошая лампа"})).await.ok_json();
    ask_and_vote(&browser, "Какой цоколь?", "up").await;
    let other = log_in(&shop, 43).await;
    ask_and_vote(&other, "А какой вес?", "down").await;
    buy(&shop, &other, "of_another", "tg_43").await;
    other.add_to_cart(11, 1).await;
    other.post("/comment", &json!({"itemID": 12, "rating": 4, "comment": "Ничего"})).await.ok_json();
    (shop, browser)
}

#[tokio::test]
async fn the_data_of_a_person_is_exported() {
    let (shop, _browser) = shop_with_a_buyer().await;
    let export = |id: &str| -> Value {
        let output = shop.site.run(&["person", "export", "--brand", "dexar", "--telegram-id", id]).success();
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
    };
    let data = export("42");
    let names = |list: &Value, member: &str| -> Vec<Value> {
        list.as_array().expect("a list").iter().map(|entry| entry[member].clone()).collect()
    };
    assert_eq!(names(&data["orders"], "order"), [json!("claimed"), json!("own")]);
    assert_eq!(names(&data["orders"], "own"), [json!(false), json!(true)]);
    assert_eq!(names(&data["orders"], "amount"), [json!(20.0), json!(20.0)]);
    assert_eq!(names(&data["orders"], "telegramUsername"), [json!("anna_secret"), json!("anna_secret")]);
    assert_eq!(data["orders"][1]["items"], json!([{"itemID": 12, "name": "Лампа", "price": 20.0, "quantity": 1}]));
    assert_eq!(
        names(&data["emails"], "recipient"),
        [json!("anna.secret@example.com"), json!("anna.secret@example.com")]
    );
    assert_eq!(names(&data["reviews"], "comment"), [json!("Хорошая лампа")]);
    let mut question = data["questions"][0].clone();
    assert!(question["askedAt"].take().is_string(), "{question}");
    assert_eq!(
        (names(&data["questions"], "question"), question),
        (
            vec![json!("Какой цоколь?")],
            json!({"itemID": 12, "question": "Какой цоколь?", "answer": null, "askedAt": null, "hidden": false})
        )
    );
    let mut vote = data["votes"][0].clone();
    assert!(vote["votedAt"].take().is_string(), "{vote}");
    assert_eq!(vote, json!({"itemID": 12, "question": "Есть гарантия?", "vote": "up", "votedAt": null}));
    assert_eq!(names(&data["votes"], "vote"), [json!("up")]);
    assert_eq!(names(&data["cart"], "itemID"), [json!(11)]);
    assert_eq!(names(&data["sessions"], "username"), [json!("anna_secret")]);
    assert_eq!(export("44")["orders"], json!([]));
    // The other brand knows nothing of the user.
    let novo = shop.site.run(&["person", "export", "--brand", "novo", "--telegram-id", "42"]).success();
    let novo: Value = serde_json::from_str(&novo).expect("JSON");
    for member in ["sessions", "cart", "orders", "emails", "reviews", "questions", "votes"] {
        assert_eq!(novo[member], json!([]), "{member}");
    }
    assert_eq!(shop.count("select count(*) from person_record where action = 'export' and removed is null"), 2);
}

#[tokio::test]
async fn an_erasure_keeps_the_books_and_removes_the_person() {
    let (shop, browser) = shop_with_a_buyer().await;
    shop.site
        .sql_as("dexar", "update mail_outbox set status = 'SENT', sent_at = now() where mail_id = 1")
        .expect("sql");
    let receipts = "insert into receipt (payment_id, number, email, next_try_at)
                    select payment_id, 'r' || payment_id, 'anna.secret@example.com', now() from payment
                    on conflict (payment_id) do update set email = excluded.email";
    shop.site.sql_as("dexar", receipts).expect("sql");
    let books = "select string_agg(concat_ws(' ', site_order_id, status, amount, fulfilment), ',' order by payment_id) from payment";
    let before = shop.site.sql_as("dexar", books).expect("sql");
    let rating = shop.item(12).await["rating"].clone();
    let erase =
        || shop.site.run(&["person", "erase", "--brand", "dexar", "--telegram-id", "42", "--note", "request 7"]);
    let output = erase().success();
    let expected = "2 payments, 2 emails, 1 review, 1 question and 1 vote; deleted 1 cart line";
    assert!(output.contains(expected), "{output}");

    // Nothing in the database leads to the person.
    let tables =
        "select string_agg(format('select %L || x::text from %I x', tablename || ': ', tablename), ' union all ')
                  from pg_tables where schemaname = current_schema() and tablename <> 'item'";
    let all = shop.site.sql_as("dexar", tables).expect("sql");
    let all = shop.site.sql_as("dexar", &all).expect("sql");
    for trace in ["anna", "tg_42", "user:42"] {
        // The receipt of the other buyer has the address that the test has given it.
        let found: Vec<&str> =
            all.lines().filter(|line| line.contains(trace) && !line.starts_with("receipt: (3,")).collect();
        assert!(found.is_empty(), "{trace}: {found:#?}");
    }
    assert_eq!(shop.site.sql_as("dexar", books).expect("sql"), before, "the books are as they were");
    assert_eq!(shop.count("select count(*) from payment where owner = 'user:43' and address is not null"), 1);
    assert_eq!(shop.count("select count(*) from mail_outbox"), 1, "the sent one stays, the queued one is deleted");
    assert_eq!(shop.count("select count(*) from cart_line"), 1);

    // The review stays, with its rating, under a name that leads nowhere.
    let item = shop.item(12).await;
    assert_eq!(item["rating"], rating);
    assert_eq!(item["comments"].as_array().expect("a list").len(), 2);
    // So do the question, for the shop to answer, and the vote.
    let questions = "select string_agg(concat_ws(' ', content, owner = 'user:43', upvotes, downvotes), ', ' order by question_id) from question";
    assert_eq!(
        shop.site.sql_as("dexar", questions),
        Ok("Есть гарантия? 1 1, Какой цоколь? f 0 0, А какой вес? t 0 0".to_owned())
    );
    assert_eq!(shop.count("select count(*) from question_vote where voter in ('user:43') or voter like 'erased:%'"), 2);
    // The user is logged out, and begins from nothing at the next login.
    assert_eq!(browser.get("/auth/session").await.status, 401);
    log_in_as(&browser, 42, "Anna again").await;
    assert_eq!(browser.get("/orders").await.ok_json()["total"], 0);
    assert_eq!(browser.cart().await, []);

    let again = erase().success();
    assert!(again.contains("0 payments, 0 emails, 0 reviews, 0 questions and 0 votes"), "{again}");
    assert_eq!(
        shop.site.sql_as("dexar", "select string_agg(concat_ws(' ', action, note, removed ->> 'payments'), ',' order by record_id) from person_record"),
        Ok("erase request 7 2,erase request 7 0".to_owned())
    );
    assert!(shop.site.run(&["check", "--books"]).success().contains("no row disagrees"));
}

#[tokio::test]
async fn texts_and_addresses_are_removed_when_their_retention_ends() {
    let shop = Shop::with_config("[retention]\nmail_bodies_days = 10\naddresses_days = 20\n");
    let mails = "insert into mail_outbox (subject_key, recipient, message_id, language, subject, body_text, body_html,
                                          queued_at, tried_since, next_try_at, status, sent_at)
                 select 'payment:' || d, 'a@example.com', '<' || d || '@example.com>', 'ru', 's', 'text', 'html', t, t, t,
                        case when d < 100 then 'SENT' else 'FAILED' end, case when d < 100 then t end
                 from unnest(array[9, 11, 21, 109, 121]) d, lateral (select now() - d % 100 * interval '1 day' as t) t";
    shop.site.sql_as("dexar", mails).expect("sql");
    let payments = "insert into payment (owner, site_order_id, bank_order_id, status, amount, address, created_at, expires_at, completed_at)
                    select 'visitor:1', 'o' || d, 'b' || d, case when d = 22 then 'WAITING' else 'COMPLETED' end, 1, '10.0.0.1', t, t,
                           case when d <> 22 then t end
                    from unnest(array[19, 21, 22]) d, lateral (select now() - d * interval '1 day' as t) t";
    shop.site.sql_as("dexar", payments).expect("sql");
    let receipts = "insert into receipt (payment_id, number, email, status, next_try_at)
                    select payment_id, site_order_id, 'a@example.com', 'DONE', now() from payment where status = 'COMPLETED'";
    shop.site.sql_as("dexar", receipts).expect("sql");
    let _workers = shop.site.start_workers();
    let kept = "select concat_ws(' / ',
        (select string_agg(concat_ws(' ', subject_key, split_part(recipient, '@', 1), nullif(body_text || body_html, '')), ', ' order by mail_id)
         from mail_outbox),
        (select string_agg(site_order_id, ' ' order by site_order_id) from payment where address is not null),
        (select string_agg(number, ' ') from receipt where email is not null))";
    let expected = "payment:9 a texthtml, payment:11 a, payment:21 erased-3, payment:109 a texthtml / o19 o22 / o19";
    eventually("the data is removed", 30, || (shop.site.sql_as("dexar", kept).expect("sql") == expected).then_some(()));
}
