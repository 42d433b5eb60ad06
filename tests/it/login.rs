//! Login attempts: on one or two devices, denied, concurrent, expired, and interrupted by a crash.

use serde_json::{Value, json};

use crate::harness::login::{button, log_in, press_start, start_login};
use crate::harness::{BrowserClient, Gateway, Process, Sandbox, Site, TelegramUser, buttons, eventually_async};

const SHOP: &str = r#"{"categoryID":1,"name":"Дом","parentID":0}
{"itemID":11,"categoryID":1,"name":"Стул","price":100,"quantity":2000}
{"itemID":12,"categoryID":1,"name":"Лампа","price":20,"quantity":5}
"#;

/// Both brands with running workers.
struct Setup {
    site: Site,
    sandbox: Sandbox,
    gateway: Gateway,
    workers: Process,
}

impl Setup {
    fn new() -> Setup {
        Setup::with("")
    }

    /// With further sections in the file of dexar.
    fn with(more: &str) -> Setup {
        let mut site = Site::new(&["dexar", "novo"]);
        let sandbox = Sandbox::start(&mut site);
        site.change_brand("dexar", |file| more.clone_into(&mut file.more));
        site.import_text("dexar", "shop.jsonl", SHOP, &[]).success();
        let gateway = site.start();
        let workers = site.start_workers();
        Setup { site, sandbox, gateway, workers }
    }

    fn browser(&self) -> BrowserClient {
        BrowserClient::new(self.gateway.client("dexar"))
    }
}

fn anna() -> TelegramUser {
    TelegramUser::new(7_700_001, "Анна", "ru")
}

#[tokio::test]
async fn a_phone_logs_the_desktop_in_and_the_cart_follows_the_user() {
    let setup = Setup::new();
    let desktop = setup.browser();
    desktop.add_to_cart(11, 2).await;
    let started = start_login(&desktop).await;
    assert_eq!(desktop.get("/auth/session").await.status, 401, "START is not pressed yet");

    let question = press_start(&setup.sandbox, "dexar", &anna(), &started).await;
    let text = question["text"].as_str().expect("a text");
    assert!(text.contains("Shop dexar") && text.contains("127.0.0.1") && text.contains("MSK"), "{text}");
    let labels: Vec<String> = buttons(&question).into_iter().map(|(label, _)| label).collect();
    assert_eq!(labels.len(), 4, "three numbers and No: {labels:?}");
    assert!(labels[..3].iter().all(|label| label.len() == 2 && label.parse::<u8>().is_ok()), "{labels:?}");
    assert_eq!(desktop.get("/auth/session").await.status, 401, "START alone logs no browser in");

    setup.sandbox.press_button("dexar", &anna(), &button(&question, &started.code)).await;
    setup.sandbox.await_text("dexar", anna().id(), "Вы вошли").await;
    let answer = desktop.get("/auth/session").await;
    let session = answer.ok_json();
    assert_eq!(
        (&session["telegramUserId"], &session["username"], &session["displayName"], &session["active"]),
        (&json!(7_700_001), &json!("user_7700001"), &json!("Анна"), &json!(true))
    );
    let cookies: Vec<&str> = answer.headers.get_all("set-cookie").iter().map(|c| c.to_str().expect("ASCII")).collect();
    let [session_cookie, attempt_cookie] = cookies[..] else { panic!("{cookies:?}") };
    let (pair, attributes) = session_cookie.split_once("; ").expect("attributes");
    let secret = pair.strip_prefix("__Host-dexar_session=").expect("the brand's cookie");
    assert!(secret.len() == 64 && !session.to_string().contains(secret));
    assert_eq!(attributes, "Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=None");
    assert_eq!(attempt_cookie, "__Host-dexar_attempt=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=None");
    assert_eq!(desktop.cart().await, [(11, 2)], "the visitor's cart is kept");

    let phone = setup.browser();
    log_in(&setup.sandbox, "dexar", &phone, &anna()).await;
    assert_eq!(phone.cart().await, [(11, 2)], "the user's cart is on every device");
    phone.add_to_cart(12, 1).await;
    assert_eq!(desktop.cart().await, [(11, 2), (12, 1)]);
    assert_eq!(setup.browser().get("/auth/session").await.status, 401, "no other browser is logged in");
}

#[tokio::test]
async fn the_started_attempt_has_the_documented_cookie_and_body() {
    let setup = Setup::new();
    let answer = setup.browser().post("/auth/telegram/start", &json!({})).await;
    let started = answer.ok_json();
    let cookie = answer.header("set-cookie").expect("a cookie");
    let (pair, attributes) = cookie.split_once("; ").expect("attributes");
    let secret = pair.strip_prefix("__Host-dexar_attempt=").expect("the brand's cookie");
    assert_eq!(attributes, "Max-Age=300; Path=/; Secure; HttpOnly; SameSite=None");
    let url = started["url"].as_str().expect("a text");
    let (_, parameter) = url.split_once("/dexarmarket_bot?start=").expect("the bot's link");
    assert!(parameter.len() <= 64 && parameter.starts_with("auth_") && !url.contains(secret), "{url}");
    assert_eq!(started["tgUrl"], format!("tg://resolve?domain=dexarmarket_bot&start={parameter}"));
    assert_eq!(started["command"], format!("/start {parameter}"));
    let expires: jiff::Timestamp = started["expiresAt"].as_str().expect("a text").parse().expect("RFC 3339");
    let left = expires.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((290..=300).contains(&left), "{left} s");
}

#[tokio::test]
async fn no_and_a_wrong_number_deny_the_attempt_for_good() {
    let setup = Setup::new();
    for wrong in [true, false] {
        let browser = setup.browser();
        let started = start_login(&browser).await;
        let question = press_start(&setup.sandbox, "dexar", &anna(), &started).await;
        let choices = buttons(&question);
        let (_, data) = match wrong {
            true => choices.iter().find(|(label, _)| label.len() == 2 && *label != started.code),
            false => choices.iter().find(|(label, _)| label.len() > 2),
        }
        .expect("a wrong number, and No");
        setup.sandbox.press_button("dexar", &anna(), data).await;
        setup.sandbox.await_text("dexar", anna().id(), if wrong { "Число не совпало" } else { "Вход отменён" }).await;
        // The right number is too late now.
        setup.sandbox.press_button("dexar", &anna(), &button(&question, &started.code)).await;
        setup.sandbox.await_text("dexar", anna().id(), "уже отменён").await;
        assert_eq!(browser.get("/auth/session").await.status, 401);
    }
}

#[tokio::test]
async fn a_button_pressed_by_another_user_changes_nothing() {
    let setup = Setup::new();
    let (browser, mallory) = (setup.browser(), TelegramUser::new(666, "Mallory", "en"));
    let started = start_login(&browser).await;
    let question = press_start(&setup.sandbox, "dexar", &anna(), &started).await;
    setup.sandbox.press_button("dexar", &mallory, &button(&question, &started.code)).await;
    let note = async || setup.sandbox.callback_answers("dexar", mallory.id()).await.pop();
    let note = eventually_async("a note", 20, note).await;
    assert_eq!(note, "This button is not for you.");
    assert_eq!(browser.get("/auth/session").await.status, 401);
    setup.sandbox.send_message("dexar", &mallory, &started.command).await;
    setup.sandbox.await_text("dexar", mallory.id(), "Somebody else is answering").await;

    setup.sandbox.press_button("dexar", &anna(), &button(&question, &started.code)).await;
    setup.sandbox.await_text("dexar", anna().id(), "Вы вошли").await;
    assert_eq!(browser.get("/auth/session").await.ok_json()["telegramUserId"], anna().id());
}

#[tokio::test]
async fn an_attempt_expires() {
    let setup = Setup::with("[session]\nattempt_s = 8\n");
    let browser = setup.browser();
    let started = start_login(&browser).await;
    let question = press_start(&setup.sandbox, "dexar", &anna(), &started).await;
    eventually_async("the attempt expires", 20, async || {
        let exists = setup.site.redis(&["exists", &format!("dexar:{{{}}}:attempt", &started.command[12..])]);
        (exists == "0").then_some(())
    })
    .await;
    setup.sandbox.press_button("dexar", &anna(), &button(&question, &started.code)).await;
    setup.sandbox.await_text("dexar", anna().id(), "Время этого входа истекло").await;
    setup.sandbox.send_message("dexar", &anna(), &started.command).await;
    setup.sandbox.await_message("dexar", anna().id(), 2).await;
    assert_eq!(browser.get("/auth/session").await.status, 401);
}

#[tokio::test]
async fn concurrent_presses_and_polls_create_one_session() {
    let setup = Setup::new();
    let browser = setup.browser();
    browser.add_to_cart(12, 4).await;
    let started = start_login(&browser).await;
    let question = press_start(&setup.sandbox, "dexar", &anna(), &started).await;
    let data = button(&question, &started.code);
    let anna = anna();
    tokio::join!(setup.sandbox.press_button("dexar", &anna, &data), setup.sandbox.press_button("dexar", &anna, &data));
    setup.sandbox.await_text("dexar", anna.id(), "Вы вошли").await;
    let poll = || async {
        let tab = browser.at(setup.gateway.client("dexar"));
        let session = tab.get("/auth/session").await.ok_json();
        (session["sessionId"].clone(), tab.cookie("__Host-dexar_session"), tab)
    };
    let tabs = futures_util::future::join_all((0..12).map(|_| poll())).await;
    assert!(tabs.iter().all(|(id, cookie, _)| *id == tabs[0].0 && *cookie == tabs[0].1), "one session, one cookie");
    assert_eq!(tabs[0].2.cart().await, [(12, 4)], "the cart was merged once");
    let sessions = setup.site.redis(&["--raw", "keys", "dexar:*:session"]);
    assert_eq!(sessions.lines().count(), 1, "{sessions}");
}

#[tokio::test]
async fn logins_on_two_devices_merge_both_carts_up_to_the_stock() {
    let setup = Setup::new();
    let (first, second) = (setup.browser(), setup.browser());
    first.add_to_cart(12, 3).await;
    second.add_to_cart(12, 4).await;
    second.add_to_cart(11, 1).await;
    let anna = anna();
    tokio::join!(log_in(&setup.sandbox, "dexar", &first, &anna), log_in(&setup.sandbox, "dexar", &second, &anna));
    let mut cart = first.cart().await;
    cart.sort_unstable();
    assert_eq!(cart, [(11, 1), (12, 5)], "quantities add up, capped by the five in stock");
    assert_eq!(
        setup.site.sql_as("dexar", "select count(*) from cart_line where owner like 'visitor:%'").expect("sql"),
        "0"
    );
}

#[tokio::test]
async fn a_login_leaves_whole_packs_in_the_cart() {
    let setup = Setup::new();
    let packs = "update item set min_quantity = 2, step_quantity = 2 where item_id = 12 returning 1";
    setup.site.sql_as("dexar", packs).expect("updated");
    let (first, second) = (setup.browser(), setup.browser());
    first.add_to_cart(12, 2).await;
    second.add_to_cart(12, 4).await;
    let anna = anna();
    log_in(&setup.sandbox, "dexar", &first, &anna).await;
    log_in(&setup.sandbox, "dexar", &second, &anna).await;
    assert_eq!(first.cart().await, [(12, 4)], "six are more than the five in stock, and five are no pairs");
}

#[tokio::test]
async fn a_crash_between_approval_and_claim_loses_nothing() {
    let setup = Setup::new();
    let browser = setup.browser();
    browser.add_to_cart(11, 1).await;
    let started = start_login(&browser).await;
    let question = press_start(&setup.sandbox, "dexar", &anna(), &started).await;
    setup.sandbox.press_button("dexar", &anna(), &button(&question, &started.code)).await;
    setup.sandbox.await_text("dexar", anna().id(), "Вы вошли").await;
    setup.gateway.kill();
    let gateway = setup.site.start();
    let browser = browser.at(gateway.client("dexar"));
    let session = browser.get("/auth/session").await.ok_json();
    assert_eq!(session["telegramUserId"], anna().id());
    gateway.kill();
    let gateway = setup.site.start();
    let browser = browser.at(gateway.client("dexar"));
    let again = browser.get("/auth/session").await.ok_json();
    assert_eq!(again["sessionId"], session["sessionId"], "a restart loses no session");
    assert_eq!(browser.cart().await, [(11, 1)]);
    // The response with the session cookie may be lost: the attempt cookie can claim it again.
    let lost = BrowserClient::new(gateway.client("dexar"));
    lost.set_cookie("__Host-dexar_attempt", &browser.cookie("__Host-dexar_attempt").unwrap_or_default());
    assert_eq!(lost.get("/auth/session").await.status, 401, "an empty attempt cookie claims nothing");
}

#[tokio::test]
async fn a_login_of_one_brand_is_unknown_to_the_other() {
    let setup = Setup::new();
    let browser = setup.browser();
    let started = start_login(&browser).await;
    let person = TelegramUser::new(5, "John", "en");
    // The token is unknown to the other brand's bot.
    setup.sandbox.send_message("novo", &person, &started.command).await;
    setup.sandbox.await_text("novo", person.id(), "This login has expired").await;
    log_in(&setup.sandbox, "dexar", &browser, &anna()).await;
    let secret = browser.cookie("__Host-dexar_session").expect("logged in");
    let elsewhere = BrowserClient::new(setup.gateway.client("novo"));
    for name in ["__Host-dexar_session", "__Host-novo_session"] {
        elsewhere.set_cookie(name, &secret);
        assert_eq!(elsewhere.get("/auth/session").await.status, 401, "{name}");
    }
}

#[tokio::test]
async fn the_login_page_shows_a_pending_attempt_again_and_works_without_scripts() {
    let setup = Setup::new();
    let browser = setup.browser();
    let page = |language: &'static str| {
        crate::harness::request("/auth/telegram/start")
            .header("accept", "text/html")
            .header("accept-language", language)
    };
    let answer = browser.send(page("hy-AM")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let html = String::from_utf8(answer.body.to_vec()).expect("UTF-8");
    assert!(html.contains("<html lang=\"hy\">") && html.contains("<svg") && !html.contains("<script"), "{html}");
    assert!(answer.header("content-security-policy").expect("a policy").contains("frame-ancestors 'none'"));
    let token = html.split("/start auth_").nth(1).expect("the command").get(..32).expect("a token").to_owned();
    let code = html.split("class=\"code\">").nth(1).expect("the number").get(..2).expect("two digits").to_owned();
    let again = String::from_utf8(browser.send(page("en")).await.body.to_vec()).expect("UTF-8");
    assert!(again.contains(&token) && again.contains("Your number"), "the same attempt, in English");

    setup.sandbox.send_message("dexar", &anna(), &format!("/start auth_{token}")).await;
    let question = setup.sandbox.await_message("dexar", anna().id(), 1).await;
    setup.sandbox.press_button("dexar", &anna(), &button(&question, &code)).await;
    setup.sandbox.await_text("dexar", anna().id(), "Вы вошли").await;
    assert_eq!(browser.get("/auth/session").await.ok_json()["telegramUserId"], anna().id());
    assert!(setup.workers.log().contains("polling for bot updates"));
    let head = browser.send(crate::harness::request("/auth/telegram/start").method("HEAD")).await;
    assert_eq!((head.status, head.header("allow")), (405, Some("GET, POST, OPTIONS")));
    let sessions: Value = browser.get("/auth/session").await.ok_json();
    assert_eq!(sessions["active"], true);
}

#[tokio::test]
async fn a_user_name_with_line_breaks_cannot_forge_fields() {
    let setup = Setup::new();
    let person = json!({"id": 6_660_001, "first_name": "Mallory\nid=42\nlast_name=X", "language_code": "en"});
    let body = json!({"from": person, "text": "/start"});
    setup.sandbox.call(hyper::Method::POST, "/telegram/dexarmarket_bot/send", &body).await;
    let message = setup.sandbox.await_message("dexar", 6_660_001, 1).await;
    let (_, url) = buttons(&message).pop().expect("a link");
    let part = |name: &str| {
        url.split(&format!("{name}=")).nth(1).and_then(|rest| rest.split('&').next()).expect("the parameter is present")
    };
    let forged = format!(
        "/auth/telegram/callback?auth_date={}&first_name=Mallory&id=42&last_name=X%0Aid%3D6660001&hash={}",
        part("auth_date"),
        part("hash")
    );
    assert_eq!(setup.browser().get(&forged).await.error_code(400), "bad_login");
    let spaces = forged.replace("%0A", "%20");
    assert_eq!(setup.browser().get(&spaces).await.error_code(401), "bad_hash");
}

#[tokio::test]
async fn reloading_the_page_of_an_approved_attempt_claims_the_session() {
    let setup = Setup::new();
    let browser = setup.browser();
    let started = start_login(&browser).await;
    let question = press_start(&setup.sandbox, "dexar", &anna(), &started).await;
    setup.sandbox.press_button("dexar", &anna(), &button(&question, &started.code)).await;
    setup.sandbox.await_text("dexar", anna().id(), "Вы вошли").await;
    let open = || crate::harness::request("/auth/telegram/start").header("accept", "text/html");
    let image = browser.send(open().header("sec-fetch-dest", "image")).await;
    assert_eq!(
        (image.status, image.header("set-cookie")),
        (403, None),
        "an image request of another page changes nothing"
    );
    let reload = browser.send(open().header("sec-fetch-dest", "document")).await;
    assert_eq!((reload.status, reload.header("location")), (303, Some("https://dexarmarket.ru")));
    assert_eq!(browser.get("/auth/session").await.ok_json()["telegramUserId"], anna().id());
}

#[tokio::test]
async fn the_last_login_replaces_the_browsers_session() {
    let setup = Setup::new();
    let browser = setup.browser();
    let first = TelegramUser::new(1, "First", "en");
    log_in(&setup.sandbox, "dexar", &browser, &first).await;
    let old = browser.cookie("__Host-dexar_session").expect("logged in");
    // A pending attempt survives polls of the current session, and replaces it when it is approved.
    let started = start_login(&browser).await;
    assert_eq!(browser.get("/auth/session").await.ok_json()["telegramUserId"], 1);
    let question = press_start(&setup.sandbox, "dexar", &anna(), &started).await;
    let approved = browser.cookie("__Host-dexar_attempt").expect("pending");
    setup.sandbox.press_button("dexar", &anna(), &button(&question, &started.code)).await;
    setup.sandbox.await_text("dexar", anna().id(), "Вы вошли").await;
    assert_eq!(browser.get("/auth/session").await.ok_json()["telegramUserId"], anna().id());
    let stale = setup.browser();
    stale.set_cookie("__Host-dexar_session", &old);
    assert_eq!(stale.get("/auth/session").await.status, 401, "a browser has one session");
    // A logout in a tab that still holds the attempt ends the session that another tab has claimed.
    let tab = setup.browser();
    tab.set_cookie("__Host-dexar_attempt", &approved);
    tab.post("/auth/logout", &json!({})).await.ok_json();
    assert_eq!(browser.get("/auth/session").await.status, 401);
}

#[tokio::test]
async fn an_item_added_by_a_tab_from_before_the_login_is_the_users() {
    let setup = Setup::new();
    let browser = setup.browser();
    browser.add_to_cart(11, 1).await;
    let late_tab = browser.at(setup.gateway.client("dexar"));
    log_in(&setup.sandbox, "dexar", &browser, &anna()).await;
    late_tab.add_to_cart(12, 2).await;
    assert_eq!(browser.cart().await, [(11, 1), (12, 2)]);
    // Other cookies of the domain may hold any bytes.
    let secret = browser.cookie("__Host-dexar_session").expect("logged in");
    let cookies = format!("city=Москва; __Host-dexar_session={secret}");
    let answer =
        setup.gateway.client("dexar").send(crate::harness::request("/auth/session").header("cookie", cookies)).await;
    assert_eq!(answer.status, 200);
}
