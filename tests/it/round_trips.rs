//! Round trips to PostgreSQL and Redis per request, counted on the connections.

use serde_json::json;

use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, Gateway, RoundTripProxy, login};

/// A second instance of the shop whose connections to both servers are counted.
struct Counted {
    _shop: Shop,
    gateway: Gateway,
    database: RoundTripProxy,
    redis: RoundTripProxy,
}

impl Counted {
    async fn new() -> Counted {
        let shop = Shop::start();
        let database = RoundTripProxy::to(shop.site.services.postgres_socket()).await;
        let redis = RoundTripProxy::to(shop.site.services.redis_socket()).await;
        let mut site = shop.site.replica();
        let name = site.database.clone();
        let redis_url = format!("redis://127.0.0.1:{}/{}", redis.port, site.redis_number());
        site.change_brand("dexar", |file| {
            file.database_url = format!("postgresql://127.0.0.1:{}/{name}", database.port);
            file.redis_url = redis_url;
            file.limits = "requests = 100\n".to_owned();
            file.pool = "pool_size = 1\n".to_owned();
        });
        let gateway = site.start();
        Counted { _shop: shop, gateway, database, redis }
    }

    fn browser(&self) -> BrowserClient {
        BrowserClient::new(self.gateway.client("dexar"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_stay_within_their_round_trips() {
    let counted = Counted::new().await;
    let browser = counted.browser();
    let mug = |name: &str| order(name, "3", &[(14, "3", Some(1))]);
    // The first request of a kind prepares its statements and loads its scripts.
    for round in ["warm", "counted"] {
        let count = |what: &str, max_database: u32, max_redis: u32| {
            let (database, redis) = (counted.database.take_round_trips(), counted.redis.take_round_trips());
            if round == "counted" {
                let within = database <= max_database && redis <= max_redis;
                assert!(within, "{what}: {database} round trips to PostgreSQL, {redis} to Redis");
            }
        };
        browser.get("/randomitems?count=200").await.ok_json();
        counted.database.take_round_trips();
        counted.redis.take_round_trips();
        browser.get("/randomitems?count=200").await.ok_json();
        count("random items from the cache", 0, 0);
        browser.post("/cart", &json!({"itemID": 11})).await.ok_json();
        count("adding to the cart", 1, 1);
        browser.write("PATCH", "/cart", &json!({"itemID": 11, "quantity": 2})).await.ok_json();
        count("changing the cart", 1, 1);
        browser.cart().await;
        count("reading the cart", 1, 0);
        let opened = counted.browser().post("/cart", &mug(round)).await.ok_json();
        count("opening a payment, with BEGIN and COMMIT", 4, 2);
        let path = format!("/qr/payment/{}", opened["qrId"].as_str().expect("a code"));
        browser.get(&path).await.ok_json();
        counted.database.take_round_trips();
        browser.get(&path).await.ok_json();
        count("polling a payment", 1, 0);
        browser.get("/orders").await.ok_json();
        browser.get("/orders/none").await;
        count("listing the orders and looking for one", 2, 0);
        let member = counted.browser();
        let data = login::sign(
            json!({"id": 1, "first_name": round, "auth_date": login::now_s()}),
            &crate::harness::bot_token_of("dexar"),
        );
        member.post("/auth/telegram/callback", &data).await.ok_json();
        counted.redis.take_round_trips();
        member.get("/auth/session").await.ok_json();
        count("checking a session", 0, 1);
    }
}
