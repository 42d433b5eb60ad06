//! Sessions: expiry, logout, and an unavailable Redis.

use serde_json::{Value, json};

use crate::harness::login::{now_s, sign};
use crate::harness::{BrowserClient, Gateway, Sandbox, Services, Site, bot_token_of, eventually_async, request};

fn setup(session: &str) -> (Site, Sandbox, Gateway) {
    setup_on(Services::shared(), session)
}

fn setup_on(services: std::sync::Arc<Services>, session: &str) -> (Site, Sandbox, Gateway) {
    let mut site = Site::on(services, &["dexar", "novo"]);
    site.migrate().success();
    let sandbox = Sandbox::start(&mut site);
    site.change_brand("dexar", |file| file.more = format!("[session]\n{session}\n"));
    let shop = "{\"categoryID\":1,\"name\":\"Дом\",\"parentID\":0}\n{\"itemID\":11,\"categoryID\":1,\"name\":\"Стул\",\"price\":1}";
    site.import_text("dexar", "shop.jsonl", shop, &[]).success();
    let gateway = site.start();
    (site, sandbox, gateway)
}

/// Logs in with data that the test signs as the bot.
async fn log_in(browser: &BrowserClient, id: i64) -> Value {
    // Each login has a name of its own: data of the same second would be the same.
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let data = json!({"id": id, "first_name": "Анна", "last_name": number.to_string(), "auth_date": now_s()});
    let data = sign(data, &bot_token_of("dexar"));
    browser.post("/auth/telegram/callback", &data).await.ok_json()
}

fn expiry(session: &Value) -> jiff::Timestamp {
    session["expiresAt"].as_str().expect("a text").parse().expect("RFC 3339")
}

#[tokio::test]
async fn without_a_session_the_documented_401_issues_a_visitor_cookie() {
    let (_site, _sandbox, gateway) = setup("");
    let browser = BrowserClient::new(gateway.client("dexar"));
    let answer = browser.get("/auth/session").await;
    assert_eq!((answer.status, &answer.body[..]), (401, &br#"{"error":"No active session"}"#[..]));
    let cookie = answer.header("set-cookie").expect("a visitor's cookie");
    assert!(cookie.starts_with("__Host-dexar_visitor=") && cookie.contains("Max-Age=31536000"), "{cookie}");
    let visitor = browser.cookie("__Host-dexar_visitor");
    // Two concurrent first additions end up in the cart of that cookie.
    let tabs = [browser.at(gateway.client("dexar")), browser.at(gateway.client("dexar"))];
    tokio::join!(tabs[0].add_to_cart(11, 1), tabs[1].add_to_cart(11, 1));
    assert_eq!(browser.cart().await, [(11, 2)]);
    assert_eq!(browser.cookie("__Host-dexar_visitor"), visitor);
    let head = browser.send(request("/auth/session").method("HEAD")).await;
    assert_eq!((head.status, head.body.len()), (401, 0));
}

#[tokio::test]
async fn use_extends_a_session_up_to_its_lifetime() {
    let (_site, _sandbox, gateway) = setup("idle_s = 100\nlifetime_s = 101\n");
    let browser = BrowserClient::new(gateway.client("dexar"));
    log_in(&browser, 1).await;
    let first = expiry(&browser.get("/auth/session").await.ok_json());
    let last = eventually_async("use extends it", 20, async || {
        let answer = browser.get("/auth/session").await;
        assert!(answer.header("set-cookie").expect("the cookie slides").contains("_session="));
        let now = expiry(&answer.ok_json());
        (now > first).then_some(now)
    });
    let last = last.await;
    eventually_async("its lifetime expires", 20, async || {
        let now = expiry(&browser.get("/auth/session").await.ok_json());
        assert!(now.duration_since(first).as_secs() <= 2, "{first} → {now}");
        (jiff::Timestamp::now().duration_since(last).as_secs() >= -98).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_expired_session_is_reported_unchanged_and_then_unknown() {
    let (_site, _sandbox, gateway) = setup("idle_s = 1\ntold_s = 3\n");
    let browser = BrowserClient::new(gateway.client("dexar"));
    let id = log_in(&browser, 1).await["sessionId"].clone();
    browser.add_to_cart(11, 1).await;
    let expired = eventually_async("it expires", 20, async || {
        let stale = browser.at(gateway.client("dexar"));
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        let answer = stale.get("/auth/session").await;
        let set_cookie = answer.header("set-cookie").expect("a visitor cookie");
        assert!(set_cookie.starts_with("__Host-dexar_visitor="), "no poll extends it: {set_cookie}");
        (answer.ok_json()["active"] == false).then(|| answer.ok_json())
    });
    let expired = expired.await;
    assert_eq!((&expired["sessionId"], &expired["telegramUserId"]), (&id, &json!(1)));
    assert_eq!(browser.cart().await, [], "an expired session grants no cart");
    let unknown = eventually_async("it becomes unknown", 20, async || {
        let answer = browser.get("/auth/session").await;
        match answer.status {
            200 => {
                assert_eq!(answer.ok_json(), expired, "polling changes nothing");
                None
            }
            _ => Some(answer),
        }
    });
    let unknown = unknown.await;
    assert_eq!((unknown.status, &unknown.body[..]), (401, &br#"{"error":"No active session"}"#[..]));
    assert_eq!(browser.cookie("__Host-dexar_session"), None, "its cookie is deleted");
}

#[tokio::test]
async fn logout_ends_the_session_on_every_instance_at_once() {
    let (site, _sandbox, gateway) = setup("");
    let mut other_site = site.replica();
    other_site.change_brand("dexar", |_| {});
    let other = other_site.start();
    let browser = BrowserClient::new(gateway.client("dexar"));
    log_in(&browser, 1).await;
    browser.add_to_cart(11, 3).await;
    let elsewhere = browser.at(other.client("dexar"));
    assert_eq!(elsewhere.cart().await, [(11, 3)]);
    let visitor = browser.cookie("__Host-dexar_visitor");
    let answer = browser.post("/auth/logout", &json!({})).await;
    assert_eq!(answer.ok_json(), json!({"message": "Logged out"}));
    assert_ne!(browser.cookie("__Host-dexar_visitor"), visitor, "a new visitor");
    assert_eq!(browser.cookie("__Host-dexar_session"), None);
    assert_eq!(elsewhere.get("/auth/session").await.status, 401);
    assert_eq!(elsewhere.cart().await, [], "the user's cart is not accessible");
    assert_eq!(browser.cart().await, []);
    let stranger = BrowserClient::new(gateway.client("dexar"));
    assert_eq!(stranger.post("/auth/logout", &json!({})).await.ok_json(), json!({"message": "Logged out"}));
    let foreign = request("/auth/logout").method("POST").origin("https://evil.example");
    assert_eq!(stranger.send(foreign).await.error_code(403), "origin_not_allowed");
}

#[tokio::test]
async fn invalid_cookies_are_ignored() {
    let (_site, _sandbox, gateway) = setup("");
    for value in ["", "x", &"a".repeat(4_096), &"0".repeat(64), "%00", "deadbeef; __Host-dexar_session=cafe"] {
        let browser = BrowserClient::new(gateway.client("dexar"));
        for name in ["session", "visitor", "attempt"] {
            browser.set_cookie(&format!("__Host-dexar_{name}"), value);
        }
        assert_eq!(browser.get("/auth/session").await.status, 401, "{value:?}");
        assert_eq!(browser.cart().await, []);
        assert_eq!(browser.post("/auth/logout", &json!({})).await.status, 200);
    }
}

#[tokio::test]
async fn redis_stores_no_secret_and_every_key_has_the_brands_prefix() {
    let services = Services::dedicated("session-keys");
    let (site, _sandbox, gateway) = setup_on(services, "");
    let browser = BrowserClient::new(gateway.client("dexar"));
    browser.add_to_cart(11, 1).await;
    log_in(&browser, 1).await;
    crate::harness::login::start_login(&browser).await;
    let keys = site.redis(&["--raw", "keys", "*"]);
    assert!(keys.lines().count() >= 4, "{keys}");
    let secrets: Vec<String> = ["session", "visitor", "attempt"]
        .iter()
        .filter_map(|name| browser.cookie(&format!("__Host-dexar_{name}")))
        .collect();
    assert_eq!(secrets.len(), 3);
    assert!(keys.lines().all(|key| key.starts_with("dexar:{") || key == "novo:{probe}:written"), "{keys}");
    for key in keys.lines().filter(|key| !key.ends_with(":{probe}:written")) {
        let stored = format!("{key} {}", site.redis(&["--raw", "hgetall", key]));
        assert!(secrets.iter().all(|secret| !stored.contains(secret)), "{stored}");
        let ttl: i64 = site.redis(&["ttl", key]).trim().parse().expect("a number");
        assert!(ttl > 0, "{key} never expires");
    }
}

#[tokio::test]
async fn without_redis_anonymous_carts_work_and_sessions_survive() {
    let services = Services::dedicated("session-redis");
    let (_site, _sandbox, gateway) = setup_on(services.clone(), "");
    let (member, visitor) = (BrowserClient::new(gateway.client("dexar")), BrowserClient::new(gateway.client("dexar")));
    log_in(&member, 1).await;
    member.add_to_cart(11, 2).await;
    visitor.add_to_cart(11, 1).await;
    services.stop("redis");
    visitor.get("/category").await.ok_json();
    visitor.add_to_cart(11, 1).await;
    assert_eq!(visitor.cart().await, [(11, 2)], "anonymous carts work");
    for answer in [
        member.get("/auth/session").await,
        member.get("/cart").await,
        member.post("/auth/logout", &json!({})).await,
        visitor.post("/auth/telegram/start", &json!({})).await,
    ] {
        assert_eq!(answer.error_code(503), "unavailable");
        assert!(answer.header("retry-after").is_some());
    }
    services.restart("redis");
    eventually_async("sessions work again", 20, async || {
        (member.get("/auth/session").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(member.cart().await, [(11, 2)], "the user is still logged in");
}

#[tokio::test]
async fn logout_with_unknown_cookies_leaves_nothing_in_redis() {
    let (site, _sandbox, gateway) = setup("");
    for number in 0..200 {
        let browser = BrowserClient::new(gateway.client("dexar"));
        browser.set_cookie("__Host-dexar_session", &format!("{number:064x}"));
        browser.set_cookie("__Host-dexar_attempt", &format!("{number:064x}"));
        let answer = browser.post("/auth/logout", &json!({})).await;
        assert_eq!(answer.ok_json(), json!({"message": "Logged out"}));
    }
    let keys = site.redis(&["--raw", "keys", "*"]);
    // Each brand's readiness probe writes a key of its own.
    let by_clients: Vec<&str> = keys.lines().filter(|key| !key.ends_with(":{probe}:written")).collect();
    assert_eq!(by_clients, ["dexar:{127.0.0.1}:rate:logouts"], "only the address is counted");
}

#[tokio::test]
async fn logout_everywhere_ends_all_sessions_of_the_user_and_no_others() {
    let (site, _sandbox, gateway) = setup("");
    let browser = || BrowserClient::new(gateway.client("dexar"));
    let (laptop, phone, tablet, stranger) = (browser(), browser(), browser(), browser());
    for (device, id) in [(&laptop, 1), (&phone, 1), (&tablet, 1), (&stranger, 2)] {
        log_in(device, id).await;
    }
    let status = async |device: &BrowserClient| device.get("/auth/session").await.status;
    assert_eq!(laptop.post("/auth/logout", &json!({"everywhere": "yes"})).await.error_code(400), "bad_logout");
    assert_eq!(status(&laptop).await, 200);
    for body in [json!({}), json!({"everywhere": false}), json!({"everywhere": null})] {
        let device = browser();
        log_in(&device, 1).await;
        device.post("/auth/logout", &body).await.ok_json();
        assert_eq!((status(&device).await, status(&phone).await), (401, 200), "{body}");
    }
    laptop.post("/auth/logout", &json!({"everywhere": true})).await.ok_json();
    for device in [&laptop, &phone, &tablet] {
        assert_eq!(status(device).await, 401);
    }
    assert_eq!(status(&stranger).await, 200);
    assert_eq!(site.redis(&["exists", "dexar:{user-1}:sessions"]), "0", "the index is empty");
    log_in(&phone, 1).await;
    assert_eq!(status(&phone).await, 200, "the user can log in again");
    // A session that has ended says nothing about others.
    let late = browser();
    late.set_cookie("__Host-dexar_session", &"0".repeat(64));
    late.post("/auth/logout", &json!({"everywhere": true})).await.ok_json();
    assert_eq!(status(&phone).await, 200);
}

#[tokio::test]
async fn the_oldest_session_of_a_user_ends_when_there_are_too_many() {
    let (_site, _sandbox, gateway) = setup("most_per_user = 2\n");
    let devices: Vec<_> = (0..3).map(|_| BrowserClient::new(gateway.client("dexar"))).collect();
    for device in &devices {
        log_in(device, 1).await;
        log_in(&BrowserClient::new(gateway.client("dexar")), 2).await;
    }
    let statuses = futures_util::future::join_all(devices.iter().map(|device| device.get("/auth/session"))).await;
    assert_eq!(statuses.iter().map(|answer| answer.status).collect::<Vec<_>>(), [401, 200, 200]);
}

#[tokio::test]
async fn sessions_that_nobody_uses_any_more_are_not_counted() {
    let (site, _sandbox, gateway) = setup("most_per_user = 2\nidle_s = 4\ntold_s = 1\n");
    let [used, forgotten, new] = [(); 3].map(|()| BrowserClient::new(gateway.client("dexar")));
    log_in(&used, 1).await;
    log_in(&forgotten, 1).await;
    eventually_async("the unused session is gone", 30, async || {
        assert_eq!(used.get("/auth/session").await.ok_json()["active"], true);
        (site.redis(&["keys", "dexar:*:session"]).lines().count() == 1).then_some(())
    })
    .await;
    assert_eq!(site.redis(&["zcard", "dexar:{user-1}:sessions"]), "2");
    log_in(&new, 1).await;
    assert_eq!(site.redis(&["zcard", "dexar:{user-1}:sessions"]), "2", "the unused one has left the index");
    for browser in [&used, &new] {
        assert_eq!(browser.get("/auth/session").await.status, 200, "the limit is not exceeded");
    }
}
