//! Isolation of brands: no route, no header and no SQL of one brand reaches the data of another.

use serde_json::Value;

use crate::harness::{Client, Site, TestRequest, request};

/// A catalogue of three items with the brand's marker in all texts. `base` separates the numeric ids of brands.
fn catalogue(marker: &str, base: u64) -> String {
    let mut lines = format!(
        "{{\"id\":\"moscow\",\"city\":\"Москва {marker}\",\"country\":\"Россия\",\"countryCode\":\"RU\"}}\n\
         {{\"categoryID\":{base},\"id\":\"cat_{marker}\",\"name\":\"Раздел {marker}\",\"parentID\":0}}\n\
         {{\"categoryID\":{sub},\"id\":\"sub_{marker}\",\"name\":\"Подраздел {marker}\",\"parentID\":{base}}}\n",
        sub = base + 1
    );
    for number in 1..=3 {
        lines += &format!(
            "{{\"itemID\":{id},\"id\":\"item_{marker}_{number}\",\"categoryID\":{sub},\"name\":\"Чайник {marker}\",\
              \"description\":\"Текст {marker}\",\"price\":{number},\"comments\":[{{\"text\":\"Отзыв {marker}\",\"stars\":5}}]}}\n",
            id = base * 10 + number,
            sub = base + 1
        );
    }
    lines
}

/// All reads of one brand's catalogue.
fn all_paths(marker: &str, base: u64) -> Vec<String> {
    let mut paths: Vec<String> =
        ["/regions", "/category", "/randomitems?count=200", "/searchitems?search=%D1%87%D0%B0%D0%B9%D0%BD%D0%B8%D0%BA"]
            .map(str::to_owned)
            .to_vec();
    paths.push(format!("/searchitems?search={marker}"));
    for key in [base.to_string(), (base + 1).to_string(), format!("cat_{marker}"), format!("sub_{marker}")] {
        paths.push(format!("/category/{key}"));
        paths.push(format!("/randomitems?category={key}"));
    }
    for number in 1..=3 {
        paths.push(format!("/item/{}", base * 10 + number));
        paths.push(format!("/item/item_{marker}_{number}"));
    }
    paths
}

fn two_brands() -> Site {
    let site = Site::new(&["dexar", "novo"]);
    site.import_text("dexar", "dexar.jsonl", catalogue("alphamark", 100), &[]).success();
    site.import_text("novo", "novo.jsonl", catalogue("betamark", 200), &[]).success();
    site
}

#[tokio::test]
async fn no_route_returns_rows_of_another_brand() {
    let site = two_brands();
    let gateway = site.start();
    for (brand, own, own_base, other, other_base) in
        [("dexar", "alphamark", 100, "betamark", 200), ("novo", "betamark", 200, "alphamark", 100)]
    {
        let client = gateway.client(brand);
        for path in all_paths(own, own_base) {
            let response = client.get(&path).await;
            let text = String::from_utf8_lossy(&response.body);
            assert_eq!(response.status, 200, "{brand} {path}: {text}");
            assert!(text.contains(own) && !text.contains(other), "{brand} {path}: {text}");
        }
        for path in all_paths(other, other_base) {
            for question in
                [request(&path), request(&path).region("moscow").language("en"), request(&path).method("HEAD")]
            {
                let response = client.send(question).await;
                let text = String::from_utf8_lossy(&response.body);
                assert!(!text.contains(other), "{brand} {path}: {text}");
                if path.starts_with("/item/") || path.starts_with("/category/") {
                    assert_eq!(response.status, 404, "{brand} {path}");
                }
            }
        }
    }
}

#[tokio::test]
async fn numeric_ids_are_per_brand() {
    let site = Site::new(&["dexar", "novo"]);
    for (brand, marker) in [("dexar", "alphamark"), ("novo", "betamark")] {
        site.import_text(brand, "same-numbers.jsonl", catalogue(marker, 100), &[]).success();
    }
    let gateway = site.start();
    for (brand, marker) in [("dexar", "alphamark"), ("novo", "betamark")] {
        let client = gateway.client(brand);
        assert_eq!(client.json("/item/1001").await["name"], format!("Чайник {marker}"));
        assert_eq!(client.json("/category/100").await.as_array().map(Vec::len), Some(3));
    }
    site.import_text("novo", "one.jsonl", "{\"itemID\":1001,\"price\":777}", &[]).success();
    gateway.await_propagation().await;
    assert_eq!(gateway.client("novo").json("/item/1001").await["price"], 777);
    assert_eq!(
        gateway.client("dexar").json("/item/1001").await["price"],
        1,
        "an import into one brand leaves the other unchanged"
    );
}

/// Requests with headers that name another brand.
fn misleading_requests(path: &str) -> Vec<TestRequest> {
    let other = "api.novo.market:444";
    vec![
        request(path).host(other),
        request(path).host("novo"),
        request(path).host("localhost:1"),
        request(path).host("a.b.c.d.example"),
        request(path).header("x-forwarded-host", other).header("forwarded", format!("host={other}")),
        request(path).header("x-brand", "novo").header("x-tenant", "novo").header("x-shop", "novo"),
        request(path).header("cookie", "__Host-novo_session=1; brand=novo"),
        request(path).header("x-original-url", format!("https://{other}/category")),
        request(path).origin("https://novo.market"),
    ]
}

#[tokio::test]
async fn no_request_header_changes_the_brand() {
    let site = two_brands();
    let gateway = site.start();
    let address = gateway.address("dexar");
    for path in ["/category", "/item/1001", "/item/2001", "/regions"] {
        let plain = gateway.client("dexar").get(path).await;
        for question in misleading_requests(path) {
            for client in [Client::new(address), Client::new(address).http1()] {
                let response = client.send(question.clone()).await;
                assert_eq!((response.status, &response.body), (plain.status, &plain.body), "{path}");
            }
        }
    }
    // The listener presents its own certificate for any SNI, so a client that expects Novo rejects it.
    let own_name = Client::new(address).sni("api.dexarmarket.ru").get("/item/1001").await;
    assert_eq!(own_name.ok_json()["name"], "Чайник alphamark");
    let refused =
        Client::new(address).sni("api.novo.market").try_send(request("/item/1001")).await.expect_err("another name");
    assert!(refused.to_string().contains("certificate"), "{refused}");
    let by_address = Client::new(address).sni("127.0.0.1").get("/item/1001").await;
    assert_eq!(by_address.ok_json()["name"], "Чайник alphamark", "without SNI");
}

#[test]
fn role_of_a_brand_has_no_access_to_another_schema() {
    let site = two_brands();
    assert_eq!(site.sql_as("dexar", "select count(*) from item").as_deref(), Ok("3"), "its own schema");
    for forbidden in [
        "select * from novo.item",
        "select * from novo.listed_item",
        "select * from novo.refinery_schema_history",
        "select novo.import_merge_translations('{}', '{}')",
        "table novo.review",
        "copy novo.item to stdout",
        "update novo.item set price = 0",
        "delete from novo.item",
        "insert into novo.region values ('x', 'x', 'x', 'RU', null, 1, '{}')",
        "truncate novo.item",
        "set search_path = novo; select * from item",
        "set search_path = novo, dexar; select 1 / (count(*) filter (where name like '%betamark%'))::int from item",
        "set role novo",
        "set session authorization novo",
        "grant usage on schema novo to dexar",
        "alter schema novo owner to dexar",
        "alter role novo password 'mine'",
        "alter role dexar superuser",
        "grant novo to dexar",
        "create role another",
        "create table public.trap (id int)",
        "create function public.lower(text) returns text language sql as 'select $1'",
        "create schema trap",
        "create table extensions.trap (id int)",
        "create table novo.trap (id int)",
        "create database another",
        "select pg_read_file('/etc/passwd')",
        "copy item to program 'cat'",
        "do $$ begin execute 'select * from novo.item'; end $$",
        "create view spy as select * from novo.item",
        "create function spy() returns bigint language sql security definer begin atomic select count(*) from novo.item; end",
        "select query_to_xml('select * from novo.item', true, false, '')",
        "select nextval('novo.review_review_id_seq')",
        "begin; lock table novo.item",
        "analyze novo.item; select 1 / 0",
    ] {
        let refused = site.sql_as("dexar", forbidden);
        let refused = refused.expect_err(&format!("{forbidden} succeeded"));
        let known = ["permission denied", "must ", "does not exist", "division by zero", "WARNING"];
        assert!(known.iter().any(|words| refused.contains(words)), "{forbidden}: {refused}");
    }
    // Statistics and system catalogues contain no values of the other schema either.
    let seen = "select count(*) from pg_catalog.pg_stats where schemaname = 'novo'";
    assert_eq!(site.sql_as("dexar", seen).as_deref(), Ok("0"));
    let usable =
        "select has_schema_privilege('dexar', 'novo', 'usage'), has_schema_privilege('dexar', 'novo', 'create')";
    assert_eq!(site.sql_as("dexar", usable).as_deref(), Ok("f|f"));
    let path = site.sql_as("dexar", "show search_path");
    assert_eq!(path.as_deref(), Ok("dexar, extensions"), "the path belongs to the role");
    assert_eq!(site.sql_as("novo", "select count(*), min(price) from item").as_deref(), Ok("3|1.00"), "untouched");
}

#[test]
fn other_brands_and_other_roles_are_isolated_too() {
    let site = two_brands();
    let refused = site.sql_as("novo", "select * from dexar.item").expect_err("no privilege");
    assert!(refused.contains("permission denied"), "{refused}");
    let stranger = format!("stranger_of_{}", site.database);
    site.services.admin_sql(&site.database, &format!("create role {stranger} login password 'p'"));
    let refused = crate::harness::psql(site.services.program("psql", &stranger, "p", &site.database), "select 1");
    assert!(refused.expect_err("no privilege").contains("permission denied for database"));
}

#[tokio::test]
async fn third_brand_needs_only_a_file_a_certificate_and_migrate() {
    let mut site = two_brands();
    site.add_brand("third");
    assert!(site.migrate().success().contains("third: applied"));
    site.import_text("third", "third.jsonl", catalogue("gammamark", 300), &[]).success();
    let gateway = site.start();
    let client = gateway.client("third").sni("api.third.example");
    assert_eq!(client.json("/item/3001").await["name"], "Чайник gammamark");
    assert_eq!(client.get("/item/1001").await.status, 404);
    let own = client.send(request("/category").origin("https://third.example")).await;
    assert_eq!(own.header("access-control-allow-origin"), Some("https://third.example"));
    let counts = |tree: Value| tree[0]["itemCount"].clone();
    for brand in ["dexar", "novo"] {
        assert_eq!(counts(gateway.client(brand).json("/category").await), 3, "{brand} is unchanged");
    }
    for (brand, other) in [("third", "dexar"), ("dexar", "third"), ("novo", "third")] {
        assert!(site.sql_as(brand, &format!("select * from {other}.item")).is_err(), "{brand} reads {other}");
    }
    let (_, ready) = gateway.admin("/readyz").expect("a response");
    assert_eq!(ready["brands"]["third"]["lacks"], serde_json::json!([]));
}
