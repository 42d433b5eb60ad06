//! Failures of Redis other than its absence: out of memory, read-only, hanging, flushed.

use std::process::Command;

use serde_json::json;

use crate::dependency_failures::assert_unavailable;
use crate::harness::shop::Shop;
use crate::harness::{Gateway, Services, eventually, eventually_async};

fn lacks(gateway: &Gateway) -> (u16, serde_json::Value) {
    let (status, ready) = gateway.admin("/readyz").expect("a response");
    (status, ready["brands"]["dexar"]["lacks"].clone())
}

fn lines(gateway: &Gateway, words: &str) -> usize {
    gateway.log().lines().filter(|line| line.contains(words) && line.contains("brand=\"dexar\"")).count()
}

/// Sends SIGSTOP to the Redis server, and SIGCONT when dropped.
struct PausedRedis(String);

impl PausedRedis {
    fn new(shop: &Shop) -> PausedRedis {
        let info = shop.site.redis(&["info", "server"]);
        let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).expect("a PID").trim().to_owned();
        signal("-STOP", &pid);
        PausedRedis(pid)
    }
}

impl Drop for PausedRedis {
    fn drop(&mut self) {
        signal("-CONT", &self.0);
    }
}

fn signal(name: &str, pid: &str) {
    let sent = Command::new("sh").args(["-c", "kill \"$1\" \"$2\"", "sh", name, pid]).status().expect("sh runs");
    assert!(sent.success(), "{name} {pid}");
}

/// Checks the shop during an outage, `round` outages after its start.
async fn assert_outage(shop: &Shop, what: &str, round: usize) {
    let gateway = &shop.gateway;
    eventually(what, 10, || (lacks(gateway) == (200, json!(["redis"]))).then_some(()));
    let browser = shop.browser();
    for number in 0..5 {
        assert_unavailable(&browser.post("/auth/telegram/start", &json!({})).await);
        browser.add_to_cart(14, 1 + number).await;
        assert_eq!(browser.get(&format!("/category/1?count={}", 10 * round + number as usize)).await.status, 200);
    }
    gateway.await_metric("brandgate_up{brand=\"dexar\",part=\"redis\"} 0");
}

async fn assert_recovery(shop: &Shop, what: &str, round: usize) {
    let gateway = &shop.gateway;
    eventually_async("logins work", 10, async || {
        (shop.browser().post("/auth/telegram/start", &json!({})).await.status == 200).then_some(())
    })
    .await;
    eventually("the end is logged", 10, || (lines(gateway, "Redis recovered") == round).then_some(()));
    assert_eq!(lines(gateway, "Redis unavailable"), round, "{what}: {}", gateway.log());
    assert_eq!(lacks(gateway), (200, json!([])), "{what}");
}

#[tokio::test]
async fn redis_that_refuses_writes_is_unavailable() {
    let shop = Shop::on(Services::dedicated("redis-refuses"), "");
    let cases = [
        (["config", "set", "maxmemory", "1"], ["config", "set", "maxmemory", "0"]),
        // A replica of nothing: it serves what it has, and accepts no writes.
        (["replicaof", "127.0.0.1", "1", ""], ["replicaof", "no", "one", ""]),
    ];
    for (round, (fail, restore)) in cases.iter().enumerate() {
        let command = |arguments: &[&'static str]| {
            let arguments: Vec<&str> = arguments.iter().copied().filter(|argument| !argument.is_empty()).collect();
            assert_eq!(shop.site.redis(&arguments), "OK", "{arguments:?}");
        };
        command(fail);
        assert_outage(&shop, fail[0], round + 1).await;
        let checked = shop.site.run(&["check"]).failure(1);
        assert!(checked.contains("OOM") || checked.contains("read"), "{checked}");
        command(restore);
        assert_recovery(&shop, fail[0], round + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_and_flushed_redis() {
    let shop = Shop::on(Services::dedicated("redis-hangs"), "");
    let paused = PausedRedis::new(&shop);
    assert_outage(&shop, "SIGSTOP", 1).await;
    drop(paused);
    assert_recovery(&shop, "SIGSTOP", 1).await;
    assert_eq!(shop.site.redis(&["flushall"]), "OK");
    assert_eq!(shop.site.redis(&["script", "flush"]), "OK");
    assert_recovery(&shop, "FLUSHALL", 1).await;
}
