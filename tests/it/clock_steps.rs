//! A machine whose clock is wrong: what lives, lives by the database's clock.

use serde_json::{Value, json};

use crate::harness::login::{now_s, sign, start_login};
use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, Gateway, MachineClock, bot_token_of, eventually, eventually_async, request};

const HOUR_S: i64 = 3_600;

async fn pay(browser: &BrowserClient, name: &str) -> String {
    let opened = browser.post("/cart", &order(name, "3", &[(14, "3", Some(1))])).await.ok_json();
    opened["qrId"].as_str().expect("a code").to_owned()
}

async fn status(browser: &BrowserClient, qr_id: &str) -> Value {
    browser.get(&format!("/qr/payment/{qr_id}")).await.ok_json()["paymentStatus"].clone()
}

/// Everything that expires, once with a gateway that runs while the clock is wrong.
async fn assert_nothing_expires(shop: &Shop, gateway: &Gateway, right: &Gateway, round: &str) {
    let browser = BrowserClient::new(gateway.client("dexar"));
    // Signed by a bot whose clock is right.
    let data = json!({"id": 42, "first_name": round, "auth_date": now_s()});
    let callback = request("/auth/telegram/callback").method("POST").header("content-type", "application/json");
    let signed = sign(data, &bot_token_of("dexar")).to_string();
    assert_eq!(browser.send(callback.body(signed)).await.status, 200, "{round}: a fresh login");
    start_login(&browser).await;
    let qr_id = pay(&browser, round).await;
    let at_right = browser.at(right.client("dexar"));
    for client in [&browser, &at_right] {
        assert_eq!(client.get("/auth/session").await.ok_json()["active"], true, "{round}");
        assert_eq!(status(client, &qr_id).await, "CREATED", "{round}");
    }
    let wrong_times = "select count(*) from payment where status = 'CREATED' and (
        expires_at not between now() + interval '10 minutes' and now() + interval '20 minutes'
        or abs(extract(epoch from created_at - now())) > 60 or looked_at > now() + interval '1 minute')";
    assert_eq!(shop.count(wrong_times), 0, "{round}");
    shop.sandbox.bank_action(&qr_id, "pay", json!({"notify": false})).await;
    eventually_async("the poll of the gateway with the wrong clock", 20, async || {
        (status(&browser, &qr_id).await == "COMPLETED").then_some(())
    })
    .await;
}

#[tokio::test]
async fn nothing_expires_by_the_wrong_clock_of_one_machine() {
    let mut shop = Shop::start();
    let right = shop.site.replica().start();
    let clock = MachineClock::install(&mut shop.site);
    shop.gateway.kill();
    for (name, offset_s) in [("ahead", HOUR_S), ("behind", -HOUR_S)] {
        // The clock steps under a running gateway.
        clock.step_to(0);
        let gateway = shop.site.start();
        let browser = BrowserClient::new(gateway.client("dexar"));
        let living = pay(&browser, &format!("living-{name}")).await;
        clock.step_to(offset_s);
        eventually("the metric shows the step", 20, || {
            let text = gateway.metrics();
            let value =
                text.lines().find_map(|line| line.strip_prefix("brandgate_clock_offset_seconds{brand=\"dexar\"} "));
            let value: f64 = value.expect("the series is there").parse().expect("seconds");
            ((value + offset_s as f64).abs() < 60.0).then_some(())
        });
        assert_eq!(status(&browser, &living).await, "CREATED", "{name}");
        assert_nothing_expires(&shop, &gateway, &right, &format!("stepped-{name}")).await;
        gateway.kill();
        // The gateway starts while the clock is wrong.
        let gateway = shop.site.start();
        let browser = browser.at(gateway.client("dexar"));
        assert_eq!(status(&browser, &living).await, "CREATED", "{name}");
        assert_nothing_expires(&shop, &gateway, &right, &format!("started-{name}")).await;
        gateway.kill();
        shop.site.sql_as("dexar", "update payment set status = 'CANCELLED' where status = 'CREATED'").expect("updated");
    }
}
