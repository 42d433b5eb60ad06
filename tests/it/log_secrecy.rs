//! The logs at debug level hold no secret and no personal data of the journeys that they record.

use serde_json::json;

use crate::harness::login::{log_in, now_s, press_start, query, sign, start_login};
use crate::harness::shop::order;
use crate::harness::{
    BrowserClient, Gateway, Sandbox, Site, TelegramUser, bank_key_of, bot_token_of, eventually_async, password_of,
    request,
};

const ITEMS: &str = "{\"categoryID\":1,\"name\":\"Дом\",\"parentID\":0}\n\
                     {\"itemID\":12,\"categoryID\":1,\"name\":\"Лампа\",\"price\":20,\"quantity\":50}\n";

/// What must not be in the log, each with a name.
#[derive(Default)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let value = value.into();
        assert!(value.chars().count() >= 8, "{value:?} is too short to be searched for");
        self.0.push((name.into(), value));
    }

    fn add_cookies(&mut self, browser: &BrowserClient) {
        browser.cookie_values().into_iter().for_each(|value| self.add("a cookie", value));
    }
}

/// A visitor logs in through the chat, buys, asks for the email, writes a review and logs out; another logs in by a link.
async fn journey(brand: &str, gateway: &Gateway, sandbox: &Sandbox, secrets: &mut Secrets) {
    let user = TelegramUser::new(7_770_012_345, "Аннушка-Секретова", "ru");
    secrets.add("a name", "Аннушка-Секретова");
    secrets.add("a user name", "user_7770012345");
    let browser = BrowserClient::new(gateway.client(brand));
    browser.get("/cart").await.ok_json();
    secrets.add_cookies(&browser);
    let pending = start_login(&browser).await;
    secrets.add("a login token", pending.command.trim_start_matches("/start auth_"));
    secrets.add_cookies(&browser);
    let question = press_start(sandbox, brand, &user, &pending).await;
    let session = log_in(sandbox, brand, &browser, &user).await;
    secrets.add_cookies(&browser);
    for text in [&question["text"], &session["displayName"]] {
        let line = text.as_str().unwrap_or_default().lines().max_by_key(|line| line.len()).unwrap_or_default();
        if line.chars().count() >= 8 {
            secrets.add("a text", line);
        }
    }
    browser.add_to_cart(12, 1).await;
    let opened = browser.post("/cart", &order("journey", "20", &[(12, "20", Some(1))])).await.ok_json();
    let qr_id = opened["qrId"].as_str().expect("a code").to_owned();
    sandbox.bank_action(&qr_id, "pay", json!({"wait": true})).await;
    eventually_async("the payment is completed", 30, async || {
        let status = browser.get(&format!("/qr/payment/{qr_id}")).await.ok_json();
        (status["paymentStatus"] == "COMPLETED").then_some(())
    })
    .await;
    let email = "anna.secretova@example.com";
    browser.post("/purchase-email", &json!({"email": email, "items": [{"itemID": 12}]})).await.ok_json();
    secrets.add("an address", email);
    secrets.add("an address", "anna.secretova");
    let review = "Моё мнение с телефоном +7 912 345-67-89";
    browser.post("/comment", &json!({"itemID": 12, "rating": 5, "comment": review})).await.ok_json();
    secrets.add("a review", review);
    secrets.add("a telephone number", "912 345-67-89");
    refused_requests(brand, gateway, &browser).await;
    let data = json!({"id": 7_770_054_321_i64, "first_name": "Борис-Тайный", "auth_date": now_s()});
    let data = sign(data, &bot_token_of(brand));
    secrets.add("a name", "Борис-Тайный");
    secrets.add("a name", "%D0%91%D0%BE%D1%80%D0%B8%D1%81");
    secrets.add("the hash of a login", data["hash"].as_str().expect("a text"));
    let linked = BrowserClient::new(gateway.client(brand));
    linked.get(&format!("/auth/telegram/callback?{}", query(&data))).await.ok_json();
    secrets.add_cookies(&linked);
    sandbox.send_message(brand, &user, "/start частное сообщение").await;
    secrets.add("a message", "частное сообщение");
    sandbox.await_message(brand, user.id(), 3).await;
    browser.post("/auth/logout", &json!({})).await.ok_json();
    secrets.add_cookies(&browser);
}

/// Requests that are refused, whose errors name what was wrong.
async fn refused_requests(brand: &str, gateway: &Gateway, browser: &BrowserClient) {
    let post = |path: &str, body: &str| {
        request(path).method("POST").header("content-type", "application/json").body(body.to_owned())
    };
    for (path, body) in [
        ("/purchase-email", r#"{"email":"anna.secretova@example.com","items":[{"itemID":1}]}"#),
        ("/purchase-email", r#"{"email":"anna.secretova@@example.com","items":[{"itemID":12}]}"#),
        ("/comment", r#"{"itemID":12,"rating":9,"comment":"Моё мнение с телефоном +7 912 345-67-89"}"#),
        ("/comment", r#"{"comment":"Моё мнение с телефоном +7 912 345-67-89"#),
        ("/auth/telegram/callback", r#"{"id":7770012345,"first_name":["Аннушка-Секретова"],"auth_date":1,"hash":"x"}"#),
    ] {
        let status = browser.send(post(path, body)).await.status;
        assert!((400..500).contains(&status), "{path} {body}: {status}");
    }
    let forged = post("/payments/raiffeisen/notify", r#"{"amount":1,"sbpMerchantId":"x","order":"x"}"#);
    let forged = forged.header("x-api-signature-sha256", "ab".repeat(32));
    assert_eq!(gateway.client(brand).send(forged).await.status, 401);
}

#[tokio::test]
async fn debug_logs_hold_no_secret_and_no_personal_data() {
    let mut site = Site::new(&["dexar", "novo"]);
    let sandbox = Sandbox::start(&mut site);
    for brand in ["dexar", "novo"] {
        site.import_text(brand, "items.jsonl", ITEMS, &[]).success();
    }
    // The second filter would show the parameters of statements, were it not ignored.
    site.log_filter = Some("debug,tokio_postgres::query=debug");
    let gateway = site.start();
    let workers = site.start_workers();
    let mut secrets = Secrets::default();
    for brand in ["dexar", "novo"] {
        secrets.add("a bank key", bank_key_of(brand));
        secrets.add("a bot token", bot_token_of(brand));
        secrets.add("a password", password_of(brand));
        // Neighbours that fail are logged with their answers.
        sandbox.inject_mail_fault(json!({"how": "451", "times": 1})).await;
        sandbox.inject_telegram_fault(brand, json!({"method": "sendMessage", "how": "500", "times": 1})).await;
        sandbox.inject_bank_fault(json!({"call": "payment-info", "how": "500", "times": 1})).await;
        journey(brand, &gateway, &sandbox, &mut secrets).await;
    }
    let emails = sandbox.await_emails(2).await;
    secrets.add("an email", emails[0]["text"].as_str().expect("a text").lines().next().expect("a line"));
    gateway.terminate();
    workers.terminate();
    assert!(gateway.await_exit().success() && workers.await_exit().success());
    for (process, log) in [("gateway", gateway.log()), ("workers", workers.log())] {
        assert!(log.contains(" DEBUG "), "{process} logs at debug level");
        let leaks: Vec<String> = secrets
            .0
            .iter()
            .filter_map(|(name, value)| {
                let line = log.lines().find(|line| line.contains(value.as_str()))?;
                Some(format!("{name}, {value:?}: {line}"))
            })
            .collect();
        assert!(leaks.is_empty(), "the {process} log holds {leaks:#?}");
    }
}
