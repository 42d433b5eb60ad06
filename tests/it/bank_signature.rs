//! Payment notifications as the bank's own SDK signs them.

use serde_json::json;

use crate::harness::{Gateway, Sandbox, Site, merchant_of, request};

/// The notification, key and signature of `SbpUtilTest` in the bank's SDK for Java, version 1.0.8 (MIT, AO Raiffeisenbank).
const BODY: &str = concat!(
    r#"{"transactionId":17998,"qrId":"AS1000408BSPMRDI8IHBGO4DFQAISU9O","sbpMerchantId":"MA0000000552","#,
    r#""merchantId":123,"amount":101.01,"currency":"RUB","transactionDate":"2020-07-24T17:20:00.999232+03:00","#,
    r#""paymentStatus":"SUCCESS","additionalInfo":null,"order":"dfe0ff08-4796-46bb-a9fb-93fcd99ce748","#,
    r#""createDate":"2020-07-24T17:19:58+03:00"}"#,
);
const KEY: &str = concat!(
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.",
    "eyJzdWIiOiJNQTAwMDAwMDA1NTIiLCJqdGkiOiIwZTRhODI2ZC0zMTk3LTQ5YWUtYjRlYS0zZDllOGRkODIyOGEifQ.",
    "Q-AVaDBzvfkz6I8ZCVgvGIWpWTUgotRDmTcs4ysR0Qc",
);
const SIGNATURE: &str = "1eca6a084ff8a5b4f5740e0eeab2a72d8ff981bce5b5dea75a53bf44944a8c8d";
const MERCHANT: &str = "MA0000000552";

async fn notify(gateway: &Gateway, brand: &str, body: &str, signature: &str) -> (u16, serde_json::Value) {
    let request = request("/payments/raiffeisen/notify").method("POST").header("content-type", "application/json");
    let request = request.header("x-api-signature-sha256", signature).body(body.to_owned());
    let response = gateway.client(brand).send(request).await;
    (response.status, serde_json::from_slice(&response.body).expect("JSON"))
}

#[tokio::test]
async fn notification_of_the_banks_sdk_is_accepted_and_every_change_refused() {
    let mut site = Site::new(&["dexar", "novo"]);
    let _sandbox = Sandbox::start(&mut site);
    site.directory.write("credentials/dexar.bank-key", KEY);
    site.change_brand("dexar", |file| file.bank = file.bank.replace(&merchant_of("dexar"), MERCHANT));
    let gateway = site.start();

    let changes = [
        ("101.01", "101.02"),
        (MERCHANT, "MA0000000553"),
        ("93fcd99ce748", "93fcd99ce749"),
        ("SUCCESS", "success"),
        (".999232+03:00", ".999233+03:00"),
    ];
    for (signed, changed) in changes {
        let (status, answer) = notify(&gateway, "dexar", &BODY.replacen(signed, changed, 1), SIGNATURE).await;
        assert_eq!((status, &answer["code"]), (401, &json!("bad_signature")), "{changed}: {answer}");
    }
    assert_eq!(notify(&gateway, "dexar", BODY, &SIGNATURE[5..]).await.0, 401, "shortened, as in the SDK's own test");
    assert_eq!(notify(&gateway, "novo", BODY, SIGNATURE).await.0, 401, "another brand's money");
    let kept = "select count(*), min(bank_order_id), min(amount) from unknown_money";
    assert_eq!(site.sql_as("dexar", kept).expect("the statement runs").trim(), "0||");

    for _ in 0..2 {
        assert_eq!(notify(&gateway, "dexar", BODY, SIGNATURE).await, (200, json!({"message": "OK"})));
    }
    let order = "1|dfe0ff08-4796-46bb-a9fb-93fcd99ce748|101.01";
    assert_eq!(site.sql_as("dexar", kept).expect("the statement runs").trim(), order, "money without an order is kept");
}
