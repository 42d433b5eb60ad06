//! Reviews as the shop handles them: hiding, imports next to visitors' reviews, exports, and the merge at login.

use std::sync::Arc;

use brandgate::config;
use brandgate::platform::postgres::Purpose;
use brandgate::session::Owner;
use brandgate::tenant::brand::Brand;
use serde_json::{Value, json};

use crate::harness::{BrowserClient, Gateway, Site};
use crate::import::table;
use crate::reviews::{HIGH_RATE_LIMIT, SHOP, assert_rated, item, review, shop, texts};

/// Writes a review as a new visitor and returns its id.
async fn review_of_new_visitor(site: &Site, gateway: &Gateway, item_id: u64, stars: u64, text: &str) -> String {
    review(&BrowserClient::new(gateway.client("dexar")), item_id, stars, text).await;
    site.sql_as("dexar", "select max(review_id) from review").expect("readable")
}

fn rating(site: &Site, item_id: u64) -> String {
    site.sql_as("dexar", &format!("select rating from item where item_id = {item_id}")).expect("readable")
}

#[tokio::test]
async fn shop_lists_hides_and_shows_reviews() {
    let (site, gateway) = shop(HIGH_RATE_LIMIT);
    let good = review_of_new_visitor(&site, &gateway, 12, 5, "Хорошо").await;
    let bad =
        review_of_new_visitor(&site, &gateway, 12, 1, &format!("Строка\nи \u{1b}[31m{}", "длинно ".repeat(20))).await;
    let chair = review_of_new_visitor(&site, &gateway, 11, 5, "Стул").await;
    let list = |arguments: &[&str]| {
        let table = site.run(&[&["reviews", "list", "--brand", "dexar"], arguments].concat()).success();
        table.split_once('\n').map_or(String::new(), |(_header, rows)| rows.to_owned())
    };

    let lines: Vec<String> = list(&[]).lines().map(str::to_owned).collect();
    let first_words: Vec<&str> = lines.iter().map(|line| line.split_whitespace().next().expect("a number")).collect();
    assert_eq!((lines.len(), &first_words[..3]), (5, &[chair.as_str(), &bad, &good][..]), "newest first: {lines:#?}");
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!((&words[1..3], words[5]), (&["12", "1"][..], "shown"), "{}", lines[1]);
    assert!(words[3].starts_with("user_") && words[4].starts_with("20"), "{}", lines[1]);
    assert!(lines[1].contains(" Строка и  [31mдлинно") && lines[1].chars().count() < 150, "{}", lines[1]);
    assert_eq!(list(&["--item", "item_12"]).lines().count(), 2);
    assert_eq!(list(&["--item", "11", "--count", "1"]).lines().count(), 1);
    assert_eq!(list(&["--hidden"]), "");

    assert_eq!(rating(&site, 12), "3.0");
    let hide = |id: &str| site.run(&["reviews", "hide", "--brand", "dexar", id]);
    for _ in 0..2 {
        assert_eq!(hide(&bad).success(), format!("dexar: review {bad} is hidden\ndexar: item 12 has rating 5.0\n"));
    }
    assert_eq!(list(&["--hidden"]).lines().count(), 1);
    gateway.await_propagation().await;
    for path in ["/item/12", "/category/1", "/searchitems?search=%D0%BB%D0%B0%D0%BC%D0%BF%D0%B0"] {
        let shown = gateway.client("dexar").json(path).await.to_string();
        assert!(shown.contains("Хорошо") && !shown.contains("Строка"), "{path}: {shown}");
    }
    let shown = site.run(&["reviews", "unhide", "--brand", "dexar", &bad]).success();
    gateway.await_propagation().await;
    assert_eq!(shown, format!("dexar: review {bad} is shown\ndexar: item 12 has rating 3.0\n"));
    // Without visitors' reviews, the imported rating applies again.
    assert_eq!(rating(&site, 11), "3.5");
    hide(&chair).success();
    assert_eq!(rating(&site, 11), "4.8");

    assert!(hide("999").failure(1).contains("There is no such review."));
    assert!(site.run(&["reviews", "show", "--brand", "novo", &bad]).failure(1).contains("no such review"));
    assert!(site.run(&["reviews", "list", "--brand", "dexar", "--item", "99"]).failure(1).contains("no such item"));
    assert!(site.run(&["reviews", "list", "--brand", "third"]).failure(1).contains("there is no brand third"));
}

#[tokio::test]
async fn hidden_review_stays_hidden_when_its_owner_replaces_it() {
    let (site, gateway) = shop(HIGH_RATE_LIMIT);
    let browser = BrowserClient::new(gateway.client("dexar"));
    review(&browser, 12, 1, "Реклама").await;
    let id = site.sql_as("dexar", "select max(review_id) from review").expect("readable");
    site.run(&["reviews", "hide", "--brand", "dexar", &id]).success();
    gateway.await_propagation().await;
    review(&browser, 12, 2, "Реклама снова").await;
    assert_eq!((texts(&gateway, 12).await, rating(&site, 12).as_str()), (vec![], "0.0"));
}

#[tokio::test]
async fn export_contains_no_owner_and_importing_it_changes_nothing() {
    let (site, gateway) = shop(HIGH_RATE_LIMIT);
    let browser = BrowserClient::new(gateway.client("dexar"));
    let claimed = json!({"itemID": 12, "rating": 4, "comment": "Да", "userId": 987_654_321, "username": "anna"});
    browser.post("/comment", &claimed).await.ok_json();
    let hidden = review_of_new_visitor(&site, &gateway, 12, 1, "Брань").await;
    review_of_new_visitor(&site, &gateway, 11, 5, "Стоит").await;
    site.run(&["reviews", "hide", "--brand", "dexar", &hidden]).success();
    gateway.await_propagation().await;
    let export = site.export("dexar");
    let owners = site.sql_as("dexar", "select string_agg(split_part(owner, ':', 2), ' ') from reviewer");
    for secret in owners.expect("readable").split(' ').chain(["987654321", "visitor:", "owner", "claimed", "anna"]) {
        assert!(!export.contains(secret), "{secret} is in {export}");
    }
    let all = "select string_agg(to_jsonb(r)::text, '' order by review_id) || \
               (select string_agg((i.rating, i.imported_rating)::text, '' order by item_id) from item i) from review r";
    let before = site.sql_as("dexar", all).expect("readable");
    let callbacks_alone = {
        let mut export: Value = serde_json::from_str(&export).expect("JSON");
        for item in export["items"].as_array_mut().expect("a list") {
            if item["itemID"] == 12 {
                item.as_object_mut().expect("an object").remove("comments");
            }
        }
        export.to_string()
    };
    for text in [&export, &callbacks_alone] {
        let output = site.import_text("dexar", "again.json", text, &["--strict"]).success();
        assert_eq!(table(&output), [[0; 3]; 4], "{output}");
        assert_eq!(site.sql_as("dexar", all).as_deref(), Ok(before.as_str()));
    }
    // In another database they have no owner, and hidden ones are hidden.
    let elsewhere = Site::new(&["dexar"]);
    elsewhere.import_text("dexar", "whole.json", &export, &["--strict"]).success();
    let there = elsewhere.sql_as("dexar", "select count(*), count(owner), count(*) filter (where hidden) from review");
    assert_eq!(there.as_deref(), Ok("5|0|1"));
    assert_eq!((rating(&elsewhere, 11), rating(&elsewhere, 12)), (rating(&site, 11), rating(&site, 12)));
    assert_eq!(elsewhere.export("dexar"), export);
}

#[tokio::test]
async fn old_export_overwrites_no_newer_review_and_restores_deleted_ones() {
    let (site, gateway) = shop(HIGH_RATE_LIMIT);
    let browser = BrowserClient::new(gateway.client("dexar"));
    review(&browser, 12, 1, "Плохо").await;
    let old = site.export("dexar");
    review(&browser, 12, 5, "Хорошо").await;
    site.import_text("dexar", "old.json", &old, &["--strict"]).success();
    gateway.await_propagation().await;
    assert_eq!((texts(&gateway, 12).await, rating(&site, 12).as_str()), (vec!["Хорошо".to_owned()], "5.0"));

    let without = SHOP.lines().filter(|line| !line.contains("Лампа")).collect::<Vec<_>>().join("\n");
    site.import_text("dexar", "fewer.jsonl", without, &["--replace", "--max-removed", "100"]).success();
    site.sql_as(
        "dexar",
        "update item set retired_at = now() - interval '2 days' where retired_at is not null returning 1",
    )
    .expect("the lamp is hidden");
    site.run(&["catalog", "prune", "--brand", "dexar", "--older-than", "1"]).success();
    gateway.await_propagation().await;
    site.import_text("dexar", "old.json", &old, &["--strict"]).success();
    gateway.await_propagation().await;
    assert_eq!((texts(&gateway, 12).await, rating(&site, 12).as_str()), (vec!["Плохо".to_owned()], "1.0"));
    review(&browser, 12, 4, "Снова моё").await;
    assert_eq!((texts(&gateway, 12).await, rating(&site, 12).as_str()), (vec!["Снова моё".to_owned()], "4.0"));
}

#[tokio::test]
async fn import_adds_replies_to_visitors_reviews_and_its_own_ratings() {
    let (site, gateway) = shop(HIGH_RATE_LIMIT);
    review_of_new_visitor(&site, &gateway, 11, 5, "Стоит").await;
    let shown = item(&gateway, 11).await["comments"].clone();
    let own = shown.as_array().expect("a list").iter().find(|comment| comment["text"] == "Стоит").expect("it is there");
    let (id, author) = (&own["id"], &own["author"]);
    let news = json!({
        "itemID": 11, "rating": 1.1,
        "comments": [{"id": "cmt_9", "text": "Ещё", "stars": 5}, {"id": id, "text": "Подделка", "author": author, "stars": 1}],
        "callbacks": [{"content": "Подделка", "userID": author, "rating": 1, "answer": "Спасибо!"}],
    });
    site.import_text("dexar", "news.jsonl", news.to_string(), &["--strict"]).success();
    gateway.await_propagation().await;
    assert_eq!(
        rating(&site, 11),
        "4.0",
        "the mean of 2, 5 and 5: the file overrides neither the rating nor a visitor's stars"
    );
    let callbacks = item(&gateway, 11).await["callbacks"].clone();
    let own = callbacks.as_array().expect("a list").iter().find(|one| one["userID"] == *author).expect("it is there");
    assert_eq!((&own["content"], &own["rating"], &own["answer"]), (&json!("Стоит"), &json!(5), &json!("Спасибо!")));
    assert_rated(&site, 11);
    // The imported rating is stored, and applies without visitors' reviews.
    let all = site.sql_as("dexar", "update review set hidden = true where owner is not null returning 1");
    assert!(all.is_ok());
    assert_eq!(rating(&site, 11), "1.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_imports_and_reviews_lose_nothing() {
    let (site, gateway) = shop(HIGH_RATE_LIMIT);
    let browsers: Vec<_> = (0..4).map(|_| BrowserClient::new(gateway.client("dexar"))).collect();
    for browser in &browsers {
        review(browser, 11, 5, "Стул").await;
        review(browser, 12, 5, "Лампа").await;
    }
    let mut export: Value = serde_json::from_str(&site.export("dexar")).expect("JSON");
    let importing = tokio::task::spawn_blocking(move || {
        for round in 1..=6 {
            for item in export["items"].as_array_mut().expect("a list") {
                item["price"] = json!(round);
                item["rating"] = json!(f64::from(round) / 10.0);
                for callback in item["callbacks"].as_array_mut().expect("a list") {
                    callback["answer"] = json!(format!("Ответ {round}"));
                }
                let comments = item["comments"].as_array_mut().expect("a list");
                comments.push(json!({"id": format!("cmt_r{round}"), "text": "Ещё", "stars": round % 5 + 1}));
            }
            site.import_text("dexar", "again.json", export.to_string(), &["--strict"]).success();
        }
        site
    });
    let mut number = 0;
    while !importing.is_finished() {
        number += 1;
        let posts = browsers.iter().zip(number..).flat_map(|(browser, number)| {
            [(11, number), (12, number + 1)].map(|(item_id, number)| review(browser, item_id, number % 5 + 1, "Снова"))
        });
        futures_util::future::join_all(posts).await;
    }
    let site = importing.await.expect("all imports succeeded");
    for item_id in [11, 12] {
        assert_rated(&site, item_id);
        let own = format!("select count(*) from review where item_id = {item_id} and owner is not null");
        assert_eq!(site.sql_as("dexar", &own).as_deref(), Ok("4"));
    }
}

/// The brand of the site, as in the gateway.
async fn brand(site: &Site) -> Arc<Brand> {
    let credentials = site.directory.path().join("credentials");
    let config = config::load_file(&site.brand_path("dexar"), Some(&credentials)).expect("a good file");
    let brand = Brand::new(config, Purpose::Work).expect("a brand");
    brand.wait_until_ready().await.expect("a suitable database");
    brand
}

/// Moves reviews as a login does.
async fn merge(brand: &Brand, from: &Owner, into: &Owner) -> brandgate::foundation::error::Result<Vec<i64>> {
    let transaction = brand.transaction().await?;
    let moved = brandgate::reviews::merge(&transaction, from, into).await?;
    transaction.commit().await?;
    Ok(moved)
}

#[tokio::test]
async fn login_moves_the_visitors_reviews_to_the_user() {
    let (site, gateway) = shop(HIGH_RATE_LIMIT);
    let brand = brand(&site).await;
    let browser = BrowserClient::new(gateway.client("dexar"));
    let user = Owner::User(5);
    let review_at = async |item_id: u64, stars: u64, text: &str, minutes_ago: i64| {
        let time = (jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes_ago)).to_string();
        let body = json!({"itemID": item_id, "rating": stars, "comment": text, "userId": 77, "timestamp": time});
        browser.post("/comment", &body).await.ok_json();
        let hash =
            site.sql_as("dexar", "select split_part(owner, ':', 2) from review where owner like 'visitor:%' limit 1");
        Owner::Visitor(hash.expect("readable"))
    };
    let unknown = Owner::Visitor("0".repeat(64));
    merge(&brand, &unknown, &user).await.expect("nothing to move");
    assert_eq!(site.sql_as("dexar", "select count(*) from reviewer").as_deref(), Ok("0"));

    // The first merge moves the reviews; the second one finds none.
    review_at(11, 5, "Стул −40", 40).await;
    let visitor = review_at(12, 1, "Лампа −40", 40).await;
    for _ in 0..2 {
        merge(&brand, &visitor, &user).await.expect("merged");
        let owners = site.sql_as(
            "dexar",
            "select count(*), min(owner), max(owner), count(claimed_user_id) from review where owner is not null",
        );
        assert_eq!(owners.as_deref(), Ok("2|user:5|user:5|0"));
    }
    let pseudonym = site.sql_as("dexar", "select pseudonym from reviewer where owner = 'user:5'").expect("readable");
    assert_eq!(item(&gateway, 12).await["comments"][0]["author"], json!(pseudonym));

    // The visitor writes again after the session: the newer of two reviews is kept.
    review_at(11, 3, "Стул −50", 50).await;
    review_at(12, 4, "Лампа −30", 30).await;
    assert_eq!((rating(&site, 11), rating(&site, 12)), ("3.3".to_owned(), "2.5".to_owned()));
    merge(&brand, &visitor, &user).await.expect("merged");
    gateway.await_propagation().await;
    assert_eq!(texts(&gateway, 11).await, ["Без звёзд", "Стул −40", "Шатается"]);
    assert_eq!(texts(&gateway, 12).await, ["Лампа −30"]);
    assert_eq!((rating(&site, 11), rating(&site, 12)), ("3.5".to_owned(), "4.0".to_owned()));
    assert_eq!(item(&gateway, 12).await["comments"][0]["author"], json!(pseudonym));

    // A hidden review does not reappear after logging out and in again.
    let hidden = site.sql_as("dexar", "select review_id from review where item_id = 12").expect("readable");
    site.run(&["reviews", "hide", "--brand", "dexar", &hidden]).success();
    gateway.await_propagation().await;
    review_at(12, 5, "Лампа −20", 20).await;
    merge(&brand, &visitor, &user).await.expect("merged");
    assert_eq!((texts(&gateway, 12).await, rating(&site, 12).as_str()), (vec![], "0.0"));
}

#[tokio::test]
async fn concurrent_merges_and_reviews_lose_nothing() {
    let (site, gateway) = shop(HIGH_RATE_LIMIT);
    let brand = brand(&site).await;
    let browser = BrowserClient::new(gateway.client("dexar"));
    review(&browser, 11, 5, "Стул").await;
    let hash = site.sql_as("dexar", "select split_part(owner, ':', 2) from reviewer").expect("readable");
    let (visitor, user) = (Owner::Visitor(hash), Owner::User(5));
    for round in 0..6_u64 {
        let tabs = [browser.at(gateway.client("dexar")), browser.at(gateway.client("dexar"))];
        let (stars, other) = (round % 5 + 1, (round + 2) % 5 + 1);
        let (first, second, ..) = tokio::join!(
            merge(&brand, &visitor, &user),
            merge(&brand, &visitor, &user),
            review(&tabs[0], 11, stars, "Стул"),
            review(&tabs[1], 12, other, "Лампа"),
        );
        first.and(second).expect("merged");
        merge(&brand, &visitor, &user).await.expect("merged");
        let own = site.sql_as("dexar", "select count(*), min(owner), max(owner) from review where owner is not null");
        assert_eq!(own.as_deref(), Ok("2|user:5|user:5"));
        assert_rated(&site, 11);
        assert_rated(&site, 12);
    }
}
