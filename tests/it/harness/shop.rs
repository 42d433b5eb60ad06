//! A shop where items can be bought: both brands, the sandbox and the gateway, without workers.

use serde_json::{Value, json};

use super::browser::BrowserClient;
use super::gateway::Gateway;
use super::sandbox::Sandbox;
use super::services::Services;
use super::site::Site;

/// Chairs (2000, 10 % off), lamps (five), rugs (sold out), mugs (unlimited stock), a hidden item, a last unit.
const ITEMS: &str = r#"{"categoryID":1,"name":"Дом","parentID":0}
{"itemID":11,"categoryID":1,"name":"Стул","price":100.50,"discount":10,"quantity":2000}
{"itemID":12,"categoryID":1,"name":"Лампа","price":20,"quantity":5,"translations":{"hy":{"name":"Լամպ"}}}
{"itemID":13,"categoryID":1,"name":"Ковёр","price":30,"quantity":0}
{"itemID":14,"categoryID":1,"name":"Кружка","price":3}
{"itemID":15,"categoryID":1,"name":"Тайна","price":5,"visible":false}
{"itemID":16,"categoryID":1,"name":"Последний","price":7,"quantity":1}
"#;

pub(crate) struct Shop {
    pub site: Site,
    pub sandbox: Sandbox,
    pub gateway: Gateway,
}

impl Shop {
    pub(crate) fn start() -> Shop {
        Shop::with_config("")
    }

    /// With additional sections in the brand file of dexar.
    pub(crate) fn with_config(more: &str) -> Shop {
        let brands = ["dexar", "novo"];
        let site = Site::copied(Services::shared(), &brands, "shop", Shop::fill);
        Shop::open(site, more)
    }

    /// On dedicated servers, which the test may stop.
    pub(crate) fn on(services: std::sync::Arc<Services>, more: &str) -> Shop {
        let site = Site::on(services, &["dexar", "novo"]);
        Shop::fill(&site);
        Shop::open(site, more)
    }

    fn fill(site: &Site) {
        site.migrate().success();
        site.import_text("dexar", "shop.jsonl", ITEMS, &[]).success();
    }

    fn open(mut site: Site, more: &str) -> Shop {
        let sandbox = Sandbox::start(&mut site);
        site.change_brand("dexar", |file| more.clone_into(&mut file.more));
        let gateway = site.start();
        Shop { site, sandbox, gateway }
    }

    pub(crate) fn browser(&self) -> BrowserClient {
        BrowserClient::new(self.gateway.client("dexar"))
    }

    /// The JSON of an item.
    pub(crate) async fn item(&self, id: u64) -> Value {
        self.gateway.client("dexar").json(&format!("/item/{id}")).await
    }

    /// The number that a query returns in dexar's schema.
    pub(crate) fn count(&self, sql: &str) -> i64 {
        let text = self.site.sql_as("dexar", sql).expect("the statement runs");
        text.trim().parse().unwrap_or_else(|_| panic!("{sql}: {text}"))
    }
}

/// The body of a payment: the order id, the amount, and item id, price and quantity of every line.
pub(crate) fn order(name: &str, amount: &str, items: &[(u64, &str, Option<u32>)]) -> Value {
    let number = |text: &str| serde_json::from_str::<Value>(text).expect("a number");
    let item = |(id, price, quantity): &(u64, &str, Option<u32>)| {
        let mut item = json!({"itemID": id, "price": number(price), "name": "x"});
        if let Some(quantity) = quantity {
            item["quantity"] = json!(quantity);
        }
        item
    };
    json!({"amount": number(amount), "currency": "RUB", "siteuserID": "tg_42", "siteorderID": name, "redirectUrl": "",
           "telegramUsername": "john_doe", "items": items.iter().map(item).collect::<Vec<_>>()})
}
