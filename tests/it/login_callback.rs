//! The login callback: signed data sent directly, by a navigation, or by an attacker.

use serde_json::{Value, json};

use crate::harness::login::{now_s, query, sign, start_login};
use crate::harness::{
    BrowserClient, Gateway, Sandbox, Site, TelegramUser, TestRequest, TestResponse, bot_token_of, request,
};

const CALLBACK: &str = "/auth/telegram/callback";

fn setup() -> (Site, Sandbox, Gateway) {
    let mut site = Site::new(&["dexar", "novo"]);
    let sandbox = Sandbox::start(&mut site);
    let gateway = site.start();
    (site, sandbox, gateway)
}

/// Login data of Anna, signed now by the bot of dexar.
fn anna(last_name: &str) -> Value {
    let data = json!({"id": 42, "first_name": "Анна", "last_name": last_name, "username": "anna", "auth_date": now_s(),
                      "photo_url": "https://t.me/i/userpic/320/a.jpg"});
    sign(data, &bot_token_of("dexar"))
}

fn json_body(method: &str, data: &Value) -> TestRequest {
    request(CALLBACK).method(method).header("content-type", "application/json").body(data.to_string())
}

/// A browser opens a link.
fn navigation(path: &str) -> TestRequest {
    let ask = request(path).header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    ask.header("sec-fetch-mode", "navigate").header("sec-fetch-site", "cross-site").header("accept-language", "en")
}

#[track_caller]
fn logs_in(answer: &TestResponse) -> String {
    let body = answer.ok_json();
    assert_eq!(body["message"], "Authenticated successfully");
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.starts_with("__Host-dexar_session=") && cookie.contains("Max-Age=86400"), "{cookie}");
    let id = body["sessionId"].as_str().expect("an id");
    assert!(id.starts_with("sess_") && !cookie.contains(id), "the id is not the secret");
    id.to_owned()
}

#[tokio::test]
async fn every_documented_form_logs_in_once() {
    let (_site, _sandbox, gateway) = setup();
    let forms: [&dyn Fn(&Value) -> TestRequest; 3] =
        [&|data| json_body("GET", data), &|data| json_body("POST", data), &|data| {
            request(&format!("{CALLBACK}?{}", query(data)))
        }];
    for (number, form) in forms.iter().enumerate() {
        for client in [gateway.client("dexar"), gateway.client("dexar").http1()] {
            let browser = BrowserClient::new(client);
            let data =
                anna(&format!("К. {number} {}", browser.get("/ping").await.header("x-request-id").expect("an id")));
            let id = logs_in(&browser.send(form(&data)).await);
            let session = browser.get("/auth/session").await.ok_json();
            assert_eq!((&session["sessionId"], &session["telegramUserId"]), (&json!(id), &json!(42)));
            assert!(session["displayName"].as_str().expect("a name").starts_with("Анна К."));
            let replayed = BrowserClient::new(gateway.client("dexar")).send(form(&data)).await;
            assert_eq!(replayed.error_code(401), "used_login");
            assert_eq!(replayed.header("set-cookie"), None);
        }
    }
}

#[tokio::test]
async fn concurrent_requests_with_one_hash_create_one_session() {
    let (site, _sandbox, gateway) = setup();
    let data = anna("raced");
    let present = || async { BrowserClient::new(gateway.client("dexar")).send(json_body("POST", &data)).await.status };
    let mut statuses = futures_util::future::join_all((0..12).map(|_| present())).await;
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1]), (200, 401), "{statuses:?}");
    assert_eq!(site.redis(&["--raw", "keys", "dexar:*:session"]).lines().count(), 1);
}

#[tokio::test]
async fn forged_stale_foreign_or_incomplete_data_is_rejected() {
    let (_site, _sandbox, gateway) = setup();
    let client = gateway.client("dexar");
    let signed = |change: &dyn Fn(&mut Value), token: &str| {
        let mut data = json!({"id": 42, "first_name": "Анна", "auth_date": now_s()});
        change(&mut data);
        sign(data, token)
    };
    let (own, foreign) = (bot_token_of("dexar"), bot_token_of("novo"));
    let tampered = |name: &str, value: Value| {
        let mut data = anna("К.");
        data[name] = value;
        data
    };
    for (data, status, code) in [
        (signed(&|_| {}, &foreign), 401, "bad_hash"),
        (tampered("id", json!(43)), 401, "bad_hash"),
        (tampered("username", json!("admin")), 401, "bad_hash"),
        (tampered("hash", json!("ab".repeat(32))), 401, "bad_hash"),
        (signed(&|data| data["auth_date"] = json!(now_s() - 301), &own), 401, "stale_login"),
        (signed(&|data| data["auth_date"] = json!(now_s() + 90), &own), 401, "stale_login"),
        (signed(&|data| data["is_admin"] = json!("1"), &own), 400, "bad_login"),
        (signed(&|data| data["id"] = json!(-1), &own), 400, "bad_login"),
        (signed(&|data| data["id"] = Value::Null, &own), 400, "bad_login"),
        (signed(&|data| data["first_name"] = Value::Null, &own), 400, "bad_login"),
        (signed(&|data| data["auth_date"] = json!("soon"), &own), 400, "bad_login"),
        (tampered("hash", json!("abc")), 400, "bad_login"),
        (json!({}), 400, "bad_login"),
        (json!([1]), 400, "bad_login"),
    ] {
        for method in ["GET", "POST"] {
            let answer = client.send(json_body(method, &data)).await;
            assert_eq!(answer.error_code(status), code, "{method} {data}");
            assert_eq!(answer.header("set-cookie"), None);
        }
    }
    let text = client.send(request(CALLBACK).method("POST").header("content-type", "text/plain").body("{}")).await;
    assert_eq!(text.error_code(415), "unsupported_media_type");
    assert_eq!(client.send(request(CALLBACK)).await.error_code(400), "bad_login");
    let foreign_page = request(&format!("{CALLBACK}?{}", query(&anna("old browser")))).origin("https://evil.example");
    assert_eq!(client.send(foreign_page).await.error_code(403), "not_for_browsers");
    assert_eq!(client.send(request(CALLBACK).method("HEAD")).await.status, 405);
    // Data signed by the other brand's bot is valid there, and only there.
    let novo = gateway.client("novo").send(json_body("POST", &signed(&|_| {}, &foreign))).await;
    assert!(novo.header("set-cookie").expect("a cookie").starts_with("__Host-novo_session="));
}

#[tokio::test]
async fn a_link_logs_a_browser_in_only_after_its_confirmation() {
    let (_site, _sandbox, gateway) = setup();
    let browser = BrowserClient::new(gateway.client("dexar"));
    let link = format!("{CALLBACK}?{}", query(&anna("<b>К.</b>")));
    let page = browser.send(navigation(&link)).await;
    let html = String::from_utf8(page.body.to_vec()).expect("UTF-8");
    assert_eq!(page.status, 200, "{html}");
    assert!(html.contains("Log in to Shop dexar as <bdi>Анна &lt;b&gt;К.&lt;/b&gt; (@anna)</bdi>?"), "{html}");
    assert_eq!(page.header("referrer-policy"), Some("same-origin"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("form-action 'self' https://dexarmarket.ru"));
    assert_eq!(browser.get("/auth/session").await.status, 401, "opening the page is not a login");

    let own = format!("https://localhost:{}", gateway.address("dexar").port());
    let send = |form: String| {
        let form = request(CALLBACK).method("POST").origin(&own).body(form);
        form.header("content-type", "application/x-www-form-urlencoded").header("sec-fetch-site", "same-origin")
    };
    let token = html.split("name=\"form_token\" value=\"").nth(1).expect("a token").get(..32).expect("32 digits");
    let (_, pairs) = link.split_once('?').expect("a query");
    let form = format!("{pairs}&form_token={token}");
    // The token is bound to the browser that opened the page.
    let other = BrowserClient::new(gateway.client("dexar"));
    assert_eq!(other.send(send(form.clone())).await.status, 403);

    let again = browser.send(navigation(&link)).await;
    let again = String::from_utf8(again.body.to_vec()).expect("UTF-8");
    let token = again.split("name=\"form_token\" value=\"").nth(1).expect("a token").get(..32).expect("32 digits");
    let form = format!("{pairs}&form_token={token}");
    let done = browser.send(send(form.clone())).await;
    assert_eq!((done.status, done.header("location")), (303, Some("https://dexarmarket.ru")));
    assert_eq!(browser.get("/auth/session").await.ok_json()["telegramUserId"], 42);
    for repeated in [send(form), navigation(&link)] {
        let answer = BrowserClient::new(gateway.client("dexar")).send(repeated).await;
        assert!(answer.header("set-cookie").is_none_or(|cookie| !cookie.contains("session")), "{answer:?}");
    }
}

/// The data of the bot's link, signed now.
fn link_data(first_name: &str) -> Value {
    sign(json!({"id": 42, "first_name": first_name, "auth_date": now_s(), "confirm": "page"}), &bot_token_of("dexar"))
}

/// The form of a confirmation page, as its button sends it.
fn confirmation(gateway: &Gateway, data: &Value, page: &TestResponse) -> TestRequest {
    let html = String::from_utf8_lossy(&page.body);
    let token = html.split("name=\"form_token\" value=\"").nth(1).expect("a token").get(..32).expect("32 digits");
    let form = request(CALLBACK).method("POST").body(format!("{}&form_token={token}", query(data)));
    let own = format!("https://localhost:{}", gateway.address("dexar").port());
    form.origin(&own).header("content-type", "application/x-www-form-urlencoded")
}

#[tokio::test]
async fn data_of_the_bots_link_logs_in_only_through_its_page() {
    let (site, _sandbox, gateway) = setup();
    let data = link_data("preview");
    let link = format!("{CALLBACK}?{}", query(&data));
    let cookies = |answer: &TestResponse| {
        answer.headers.get_all("set-cookie").iter().map(|c| c.to_str().expect("ASCII").to_owned()).collect::<String>()
    };
    for accept in ["*/*", "image/avif,*/*;q=0.8", "application/json"] {
        let answer = gateway.client("dexar").send(request(&link).header("accept", accept)).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")), "{accept}");
        assert!(!cookies(&answer).contains("session"), "{accept}: {answer:?}");
    }
    for method in ["GET", "POST"] {
        let answer = gateway.client("dexar").send(json_body(method, &data)).await;
        assert_eq!(answer.error_code(403), "confirmation_required");
    }
    let mut stripped = data.clone();
    stripped.as_object_mut().expect("an object").remove("confirm");
    assert_eq!(gateway.client("dexar").send(json_body("POST", &stripped)).await.error_code(401), "bad_hash");
    assert_eq!(site.redis(&["--raw", "keys", "*:session"]), "", "nobody is logged in");

    let browser = BrowserClient::new(gateway.client("dexar"));
    let page = browser.send(navigation(&link)).await;
    let done = browser.send(confirmation(&gateway, &data, &page)).await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, Some("https://dexarmarket.ru")),
        "the link is not used up"
    );
    assert_eq!(browser.get("/auth/session").await.ok_json()["telegramUserId"], 42);
}

#[tokio::test]
async fn a_confirmed_browser_returns_to_the_origin_of_the_brand_that_it_came_from() {
    let (_site, _sandbox, gateway) = setup();
    for (number, (origins, expected)) in [
        (&["http://localhost:4200"][..], "http://localhost:4200"),
        (&["http://localhost:4200", "https://dexarmarket.ru"], "https://dexarmarket.ru"),
        (&["https://evil.example"], "https://dexarmarket.ru"),
        (&["https://novo.market"], "https://dexarmarket.ru"),
    ]
    .into_iter()
    .enumerate()
    {
        let browser = BrowserClient::new(gateway.client("dexar"));
        for origin in origins {
            browser.send(request("/auth/session").origin(origin)).await;
        }
        let data = link_data(&format!("origin {number}"));
        let page = browser.send(navigation(&format!("{CALLBACK}?{}", query(&data)))).await;
        let policy = page.header("content-security-policy").expect("a policy").to_owned();
        assert!(policy.contains(&format!("form-action 'self' {expected};")), "{policy}");
        let done = browser.send(confirmation(&gateway, &data, &page)).await;
        assert_eq!((done.status, done.header("location")), (303, Some(expected)), "{origins:?}");
    }
    let forged = BrowserClient::new(gateway.client("dexar"));
    forged.set_cookie("__Host-dexar_origin", "https://evil.example");
    let data = link_data("forged");
    let page = forged.send(navigation(&format!("{CALLBACK}?{}", query(&data)))).await;
    let done = forged.send(confirmation(&gateway, &data, &page)).await;
    assert_eq!(done.header("location"), Some("https://dexarmarket.ru"));
}

#[tokio::test]
async fn a_name_cannot_turn_the_confirmation_page_around() {
    let (_site, _sandbox, gateway) = setup();
    let data = link_data("\u{202e}anna\u{2069}<i>");
    let page = gateway.client("dexar").send(navigation(&format!("{CALLBACK}?{}", query(&data)))).await;
    let html = String::from_utf8(page.body.to_vec()).expect("UTF-8");
    assert!(html.contains("as <bdi>anna&lt;i&gt;</bdi>?"), "{html}");
}

#[tokio::test]
async fn logout_prevails_over_a_poll_that_claims_the_session_at_the_same_time() {
    let (_site, _sandbox, gateway) = setup();
    for round in 0..25 {
        let browser = BrowserClient::new(gateway.client("dexar"));
        let started = start_login(&browser).await;
        let token = started.command.trim_start_matches("/start auth_");
        let data = json!({"id": 42, "first_name": format!("round {round}"), "auth_date": now_s(), "attempt": token});
        gateway.client("dexar").send(json_body("POST", &sign(data, &bot_token_of("dexar")))).await.ok_json();
        let (poll, logout) = (browser.at(gateway.client("dexar")), browser.at(gateway.client("dexar")));
        let (_, logged_out) = tokio::join!(poll.get("/auth/session"), logout.post("/auth/logout", &Value::Null));
        assert_eq!(logged_out.status, 200);
        for device in [&poll, &browser] {
            assert_eq!(device.get("/auth/session").await.status, 401, "round {round}");
        }
    }
}

#[tokio::test]
async fn pages_of_other_sites_cannot_log_a_browser_in() {
    let (_site, _sandbox, gateway) = setup();
    let client = gateway.client("dexar");
    let link = || format!("{CALLBACK}?{}", query(&anna("planted")));
    let cross = || request(&link()).header("sec-fetch-site", "cross-site");
    for planted in [
        cross()
            .header("sec-fetch-mode", "no-cors")
            .header("sec-fetch-dest", "image")
            .header("accept", "image/avif,*/*"),
        cross().header("sec-fetch-mode", "cors").origin("https://evil.example"),
    ] {
        let answer = client.send(planted).await;
        assert_eq!(answer.error_code(403), "not_for_browsers");
        assert_eq!(answer.header("set-cookie"), None);
    }
    let own = format!("https://localhost:{}", gateway.address("dexar").port());
    for origin in ["https://evil.example", "null", "https://novo.market", &own] {
        let answer = client.send(json_body("POST", &anna("planted")).origin(origin)).await;
        match origin == own {
            // Our own pages may send forms only.
            true => assert_eq!(answer.status, 403, "{origin}"),
            false => assert_eq!(answer.error_code(403), "origin_not_allowed", "{origin}"),
        }
    }
    let storefront = json_body("POST", &anna("ours")).origin("https://dexarmarket.ru").header("sec-fetch-mode", "cors");
    logs_in(&client.send(storefront).await);
    let form = request(CALLBACK).method("POST").origin("https://dexarmarket.ru").body(query(&anna("form")));
    let form = client.send(form.header("content-type", "application/x-www-form-urlencoded")).await;
    assert_eq!(form.status, 403, "only our own page may send the form");
    // No other path accepts the API's own origin.
    let cart = request("/cart").method("POST").origin(&own).header("content-type", "application/json").body("{}");
    assert_eq!(client.send(cart).await.error_code(403), "origin_not_allowed");
}

#[tokio::test]
async fn signed_data_with_an_attempt_approves_that_attempt_and_no_other_browser() {
    let (_site, _sandbox, gateway) = setup();
    let desktop = BrowserClient::new(gateway.client("dexar"));
    let started = start_login(&desktop).await;
    let token = started.command.trim_start_matches("/start auth_");
    let data = |token: &str| {
        let data = json!({"id": 42, "first_name": "Анна", "auth_date": now_s(), "attempt": token});
        sign(data, &bot_token_of("dexar"))
    };
    let bot = BrowserClient::new(gateway.client("dexar"));
    let answer = bot.send(json_body("GET", &data(token))).await;
    let approved = answer.ok_json();
    assert_eq!((&approved["message"], answer.header("set-cookie")), (&json!("Authenticated successfully"), None));
    assert_eq!(bot.get("/auth/session").await.status, 401, "the caller is not logged in");
    assert_eq!(desktop.get("/auth/session").await.ok_json()["sessionId"], approved["sessionId"]);
    let unknown = bot.send(json_body("GET", &data(&"0".repeat(32)))).await;
    assert_eq!(unknown.error_code(409), "attempt_gone");
    let opened = bot.send(navigation(&format!("{CALLBACK}?{}", query(&data(token))))).await;
    assert_eq!(opened.status, 403, "an attempt is approved in the chat");
}

#[tokio::test]
async fn the_link_in_reply_to_a_bare_start_opens_the_confirmation_page() {
    let (site, sandbox, gateway) = setup();
    let _workers = site.start_workers();
    let person = TelegramUser::new(9, "Արամ", "hy");
    for text in ["/start", "/start auth_https://dexarmarket.ru:445/auth/telegram/callback", "/start whatever"] {
        let before = sandbox.messages("dexar", person.id()).await.len();
        sandbox.send_message("dexar", &person, text).await;
        let message = sandbox.await_message("dexar", person.id(), before + 1).await;
        let (label, url) = crate::harness::buttons(&message).pop().expect("a button");
        assert_eq!(label, "Մուտք գործել Shop dexar");
        let public = format!("https://localhost:{}", gateway.address("dexar").port());
        let path = url.strip_prefix(&public).expect("the brand's own URL");
        let page = BrowserClient::new(gateway.client("dexar")).send(navigation(path)).await;
        assert!(page.status == 200 && String::from_utf8_lossy(&page.body).contains("Արամ"), "{page:?}");
    }
}
