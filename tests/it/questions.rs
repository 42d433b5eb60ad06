//! Questions about items: asking, answering, voting, and imports beside visitors' questions.

use serde_json::{Value, json};

use crate::harness::login::{now_s, sign};
use crate::harness::shop::Shop;
use crate::harness::{BrowserClient, bot_token_of};

async fn ask(browser: &BrowserClient, item_id: u64, text: &str) {
    let answer = browser.post("/question", &json!({"itemID": item_id, "question": text})).await;
    assert_eq!(answer.ok_json(), json!({"message": "Question submitted"}));
}

/// Votes and returns the sums that the item shows.
async fn vote(browser: &BrowserClient, question: &Value, vote: &str) -> (Value, Value) {
    let body = json!({"itemID": 12, "question": question, "vote": vote});
    assert_eq!(browser.post("/question/vote", &body).await.ok_json(), json!({"message": "Vote counted"}));
    let shown = browser.get("/item/12").await.ok_json();
    let questions = shown["questions"].as_array().expect("a list");
    let voted = questions.iter().find(|shown| &shown["id"] == question).expect("the question");
    (voted["upvotes"].clone(), voted["downvotes"].clone())
}

async fn questions(shop: &Shop, item_id: u64) -> Value {
    shop.item(item_id).await["questions"].clone()
}

/// Runs `brandgate questions …` for dexar.
fn staff(shop: &Shop, command: &str, arguments: &[&str]) -> String {
    shop.site.run(&[&["questions", command, "--brand", "dexar"], arguments].concat()).success()
}

#[tokio::test]
async fn question_is_shown_once_the_shop_has_answered() {
    let shop = Shop::start();
    let browser = shop.browser();
    let text = "Есть ли <b>гарантия</b>?\nНа год";
    for _ in 0..2 {
        ask(&browser, 12, text).await;
    }
    assert!(browser.cookie("__Host-dexar_visitor").is_some());
    assert_eq!(questions(&shop, 12).await, json!([]));
    let waiting: Value = serde_json::from_str(&staff(&shop, "list", &["--unanswered", "--json"])).expect("JSON");
    let id = waiting[0]["question"].clone();
    let asked_at = waiting[0]["askedAt"].clone();
    assert_eq!(
        waiting,
        json!([{"question": id, "item": 12, "askedAt": asked_at, "upvotes": 0, "downvotes": 0,
                "state": "unanswered", "text": text, "answer": null}])
    );
    let number = id.to_string();
    let answered = staff(&shop, "answer", &[&number, "Да, год"]);
    assert_eq!(answered, format!("dexar: question {number} about item 12 is answered\n"));
    shop.gateway.await_propagation().await;
    let shown = json!([{"id": id, "question": text, "answer": "Да, год", "upvotes": 0, "downvotes": 0}]);
    assert_eq!(questions(&shop, 12).await, shown);
    for path in ["/category/1", "/searchitems?search=%D0%BB%D0%B0%D0%BC%D0%BF%D0%B0"] {
        let list = shop.gateway.client("dexar").json(path).await;
        let list = list.get("items").unwrap_or(&list).clone();
        let lamp = list.as_array().expect("a list").iter().find(|item| item["itemID"] == 12).expect("the lamp").clone();
        assert_eq!(lamp["questions"], shown, "{path}");
    }
    let whole = staff(&shop, "show", &[&number]);
    assert!(whole.contains("\n    Есть ли <b>гарантия</b>?\n    На год\nanswer\n    Да, год\n"), "{whole}");
    assert_eq!(staff(&shop, "list", &["--unanswered", "--item", "12"]).lines().count(), 1);

    for (command, arguments, state) in
        [("hide", vec![], "hidden"), ("unhide", vec![], "answered"), ("answer", vec!["--remove"], "unanswered")]
    {
        let output = staff(&shop, command, &[&[number.as_str()], &arguments[..]].concat());
        assert_eq!(output, format!("dexar: question {number} about item 12 is {state}\n"));
        shop.gateway.await_propagation().await;
        let expected = if state == "answered" { shown.clone() } else { json!([]) };
        assert_eq!(questions(&shop, 12).await, expected, "{command}");
    }
    let missing = shop.site.run(&["questions", "answer", "--brand", "novo", &number, "Да"]);
    assert!(missing.failure(1).contains("There is no such question."));
    let refused = shop.site.run(&["questions", "answer", "--brand", "dexar", &number]);
    assert!(refused.failure(2).contains("TEXT"));
}

#[tokio::test]
async fn each_visitor_has_one_vote_that_can_be_changed() {
    let shop = Shop::start();
    let (anna, boris) = (shop.browser(), shop.browser());
    ask(&anna, 12, "Тяжёлая?").await;
    let id: Value = json!(shop.count("select question_id from question"));
    let body = json!({"itemID": 12, "question": id, "vote": "up"});
    assert_eq!(anna.post("/question/vote", &body).await.error_code(404), "not_found", "it is not shown yet");
    staff(&shop, "answer", &[&id.to_string(), "Нет"]);
    shop.gateway.await_propagation().await;

    assert_eq!(vote(&anna, &id, "up").await, (json!(1), json!(0)));
    assert_eq!(vote(&anna, &id, "up").await, (json!(1), json!(0)));
    assert_eq!(vote(&boris, &id, "down").await, (json!(1), json!(1)));
    assert_eq!(vote(&anna, &id, "down").await, (json!(0), json!(2)));
    assert_eq!(vote(&anna, &id, "up").await, (json!(1), json!(1)));
    for (key, value, status, code) in [
        ("itemID", json!(11), 404, "not_found"),
        ("question", json!(999_999), 404, "not_found"),
        ("question", json!("1"), 400, "bad_question"),
        ("vote", json!("sideways"), 400, "bad_vote"),
    ] {
        let mut wrong = body.clone();
        wrong[key] = value;
        assert_eq!(anna.post("/question/vote", &wrong).await.error_code(status), code, "{wrong}");
    }
    let elsewhere = anna.at(shop.gateway.client("novo"));
    assert_eq!(elsewhere.post("/question/vote", &body).await.error_code(404), "not_found");

    // One visitor's concurrent votes count once, those of many all.
    anna.get("/cart").await;
    let tabs: Vec<_> = (0..8).map(|_| anna.at(shop.gateway.client("dexar"))).collect();
    let crowd: Vec<_> = (0..8).map(|_| shop.browser()).collect();
    let directions = ["up", "down"].into_iter().cycle();
    let votes = tabs.iter().chain(&crowd).zip(directions).map(|(browser, direction)| {
        let body = json!({"itemID": 12, "question": id, "vote": direction});
        async move { browser.post("/question/vote", &body).await.ok_json() }
    });
    futures_util::future::join_all(votes).await;
    let sums = "select (upvotes, downvotes) = (up, down), up + down from question, \
                (select count(*) filter (where up) as up, count(*) filter (where not up) as down from question_vote) v";
    assert_eq!(shop.site.sql_as("dexar", sums).as_deref(), Ok("t|10"));
}

#[tokio::test]
async fn login_takes_questions_and_votes_along() {
    let shop = Shop::start();
    let browser = shop.browser();
    ask(&browser, 12, "Моя?").await;
    let id: Value = json!(shop.count("select question_id from question"));
    staff(&shop, "answer", &[&id.to_string(), "Ваша"]);
    shop.gateway.await_propagation().await;
    vote(&browser, &id, "up").await;
    let data = json!({"id": 5, "first_name": "Анна", "auth_date": now_s()});
    browser.post("/auth/telegram/callback", &sign(data, &bot_token_of("dexar"))).await.ok_json();
    let owners = "select (select owner from question) || ' ' || (select voter from question_vote)";
    assert_eq!(shop.site.sql_as("dexar", owners).as_deref(), Ok("user:5 user:5"));
    assert_eq!(vote(&browser, &id, "down").await, (json!(0), json!(1)), "the vote is the user's");
    ask(&browser, 12, "Моя?").await;
    assert_eq!(shop.count("select count(*) from question"), 1);
}

#[tokio::test]
async fn invalid_question_is_rejected_and_an_address_asks_few_without_a_session() {
    let shop = Shop::with_config("[rates]\nanonymous_questions_per_hour = 2\n");
    let browser = shop.browser();
    for (body, status, code) in [
        (json!({"itemID": 12, "question": "\u{3164}\u{2800}"}), 400, "bad_question"),
        (json!({"itemID": 12, "question": "я".repeat(1_001)}), 400, "bad_question"),
        (json!({"itemID": 12}), 400, "bad_question"),
        (json!({"itemID": "12", "question": "Да?"}), 400, "bad_item_id"),
        (json!({"itemID": 15, "question": "Да?"}), 404, "not_found"),
    ] {
        assert_eq!(browser.post("/question", &body).await.error_code(status), code, "{body}");
    }
    ask(&browser, 12, "Раз?").await;
    let refused = browser.post("/question", &json!({"itemID": 12, "question": "Два?"})).await;
    assert_eq!(refused.error_code(429), "too_many_requests");
    assert_eq!(shop.count("select count(*) from question"), 1);
}

#[tokio::test]
async fn import_replaces_its_own_questions_and_keeps_those_of_visitors() {
    let shop = Shop::start();
    let import = |questions: &str, name: &str| {
        let line = format!("{{\"itemID\":12,\"questions\":{questions}}}\n");
        shop.site.import_text("dexar", name, &line, &["--strict"]).success();
    };
    import(
        r#"[{"question":"Новый?","answer":"Да","upvotes":5,"downvotes":1},{"question":"Старый?","answer":""},{"question":"Лишний?"}]"#,
        "first.jsonl",
    );
    shop.gateway.await_propagation().await;
    let first = questions(&shop, 12).await;
    let ids: Vec<i64> = first.as_array().expect("a list").iter().filter_map(|shown| shown["id"].as_i64()).collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| *id > 0), "{first}");
    assert_eq!(
        first,
        json!([
            {"id": ids[0], "question": "Новый?", "answer": "Да", "upvotes": 5, "downvotes": 1},
            {"id": ids[1], "question": "Старый?", "answer": "", "upvotes": 0, "downvotes": 0},
            {"id": ids[2], "question": "Лишний?", "answer": "", "upvotes": 0, "downvotes": 0},
        ])
    );
    let browser = shop.browser();
    vote(&browser, &json!(ids[0]), "up").await;
    ask(&browser, 12, "Посетителя?").await;
    import(
        r#"[{"question":"Новый?","answer":"Да!","upvotes":5,"downvotes":1},{"question":"Старый?"},{"question":"Посетителя?","answer":"Ответ"}]"#,
        "second.jsonl",
    );
    shop.gateway.await_propagation().await;
    let second = questions(&shop, 12).await;
    let asked = &second[0]["id"];
    assert_eq!(
        second,
        json!([
            {"id": asked, "question": "Посетителя?", "answer": "Ответ", "upvotes": 0, "downvotes": 0},
            {"id": ids[0], "question": "Новый?", "answer": "Да!", "upvotes": 6, "downvotes": 1},
            {"id": ids[1], "question": "Старый?", "answer": "", "upvotes": 0, "downvotes": 0},
        ])
    );

    // An export has all of them, and importing it changes nothing; elsewhere an unanswered one is hidden.
    ask(&browser, 12, "Без ответа?").await;
    let all = "select string_agg(to_jsonb(q)::text, ' ' order by question_id) from question q";
    let before = shop.site.sql_as("dexar", all);
    let export = shop.site.export("dexar");
    shop.site.import_text("dexar", "again.json", &export, &["--strict"]).success();
    assert_eq!(shop.site.sql_as("dexar", all), before);
    shop.site.import_text("novo", "elsewhere.json", &export, &["--strict"]).success();
    shop.gateway.await_propagation().await;
    let there = shop.gateway.client("novo").json("/item/12").await;
    let texts = |questions: &Value| {
        let questions = questions.as_array().expect("a list").iter();
        questions.map(|shown| (shown["question"].clone(), shown["upvotes"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(texts(&there["questions"]), texts(&second));
    assert_eq!(shop.site.sql_as("novo", "select count(*), count(owner) from question").as_deref(), Ok("4|0"));
}
