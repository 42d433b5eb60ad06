//! `brandgate check --restart-of`, which an upgrade runs before it replaces a process; and migrations of the other brands.

use crate::harness::{Site, free_port};

#[test]
fn a_restart_that_would_lose_a_brand_is_refused() {
    let mut site = Site::new(&["dexar", "novo"]);
    let gateway = site.start();
    let admin = format!("127.0.0.1:{}", gateway.admin_port());
    let check = |site: &Site| site.run(&["check", "--restart-of", &admin]);
    assert_eq!(check(&site).success(), "dexar: a restart keeps it\nnovo: a restart keeps it\n");

    let good = site.brand("novo").clone();
    site.change_brand("novo", |brand| brand.limits = "connections = \"many\"".to_owned());
    let output = check(&site).failure(1);
    assert!(output.contains("novo is served now, and would not be after a restart"), "{output}");
    assert!(output.contains("dexar: a restart keeps it") && output.contains("limits.connections"), "{output}");
    site.change_brand("novo", |brand| {
        *brand = good.clone();
        brand.key = crate::harness::certificates().join("dexar.key");
    });
    assert!(check(&site).failure(1).contains("does not fit"));
    site.change_brand("novo", |brand| brand.database_url = format!("{}_of_another_shop", good.database_url));
    let output = check(&site).failure(1);
    assert!(output.contains("novo is served now"), "{output}");
}

#[test]
fn a_brand_that_is_not_served_keeps_no_upgrade_back() {
    let mut site = Site::new(&["dexar", "novo"]);
    site.change_brand("novo", |brand| brand.certificate = "/nowhere.pem".into());
    let gateway = site.start_without_waiting();
    gateway.await_log("degraded: novo: ");
    let admin = format!("127.0.0.1:{}", gateway.admin_port());
    assert_eq!(site.run(&["check", "--restart-of", &admin]).success(), "dexar: a restart keeps it\n");
    // Without a process there is nothing to lose.
    site.run(&["check", "--restart-of", &format!("127.0.0.1:{}", free_port())]).success();
}

#[test]
fn migrations_of_a_brand_do_not_depend_on_another_brand() {
    let mut site = Site::new(&["dexar", "novo"]);
    site.change_brand("novo", |brand| brand.limits = "connections = \"many\"".to_owned());
    let output = site.run(&["migrate"]).failure(1);
    assert!(output.contains("dexar: up to date") && output.contains("limits.connections"), "{output}");
}
